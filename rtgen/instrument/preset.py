"""A preset: the musical settings of a session, checked and frozen. `rtgen.rig.kept.presets` keeps them on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from reprlib import repr as shortened
from typing import Any, Literal, get_args

from rtgen.errors import did_you_mean
from rtgen.instrument.job import MODES, Mode
from rtgen.instrument.parameters import PARAMETERS, out_of_range
from rtgen.music.time import HALF, MAX_TEMPO, MIN_TEMPO, Metre

Use = Literal["answer", "follow", "hold", "along"]
USES: tuple[Use, ...] = get_args(Use)
MAX_BARS = 8
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Preset:
    """Musical settings.

    Args:
        name: of the preset.
        description: one line.
        model: name or path of the model.
        mode: what the model does.
        use: when answers are heard; `along` goes with the mode `accompany`, and only with it.
        bars: length of a loop.
        metre: time signature.
        tempo: BPM of the internal clock, and of an external one until its tempo is known.
        channel: MIDI channel of the answers, 1-16.
        program: the program number, 1-128, that selects the preset; 0 for none.
        knobs: the value of every parameter.
    """

    name: str = "default"
    description: str = ""
    model: str = "loop_denoiser"
    mode: Mode = "vary"
    use: Use = "answer"
    bars: int = 2
    metre: Metre = Metre()  # noqa: RUF009 (frozen)
    tempo: float = 120.0
    channel: int = 1
    program: int = 0
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {p.name: p.default for p in PARAMETERS.values()}, hash=False
    )

    @property
    def length(self) -> int:
        """Length of a loop in ticks."""
        return self.bars * self.metre.bar

    def changed(self, **settings: Any) -> Preset:
        """Return the preset with other settings, which are checked; None leaves a setting as it is.

        Raises:
            ValueError: a setting is unknown, of the wrong type or out of range.
        """
        checked = {name: _checked(name, value) for name, value in settings.items() if value is not None}
        knobs = {**self.knobs, **{name: checked.pop(name) for name in list(checked) if name in PARAMETERS}}
        found = replace(self, **{**checked, **_with_use(checked, self)}, knobs=knobs)
        if found.along and found.metre.bar % HALF:
            raise ValueError(f"metre is {found.metre}, whose bars are not whole half beats; nothing can play along")
        return found

    @property
    def along(self) -> bool:
        """Whether the model plays while the player does, and answers no loops."""
        return self.mode == "accompany"

    def mismatch(self, model: str, role: str, modes: Iterable[str]) -> str | None:
        """Return a sentence that says why a model cannot play this preset; None if it can.

        Args:
            model: name of the model.
            role: its role.
            modes: the modes it plays.
        """
        modes = tuple(modes)
        if self.mode in modes:
            return None
        return (
            f"Preset {self.name}: model {model} (role {role}) plays {', '.join(modes) or 'no mode'}, not {self.mode}; "
            "choose another mode, or a preset with another model"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as a preset file stores them."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("knobs", "metre")}
        return {**plain, "metre": str(self.metre), **{n: PARAMETERS[n].said(v) for n, v in self.knobs.items()}}


Check = Callable[[str, Any], Any]
"""Takes the name of a setting and a value; returns the value as `Preset` stores it, or raises ValueError."""


def _number(low: float, high: float) -> Check:
    def check(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} is {shortened(value)}, not a number")
        if not low <= value <= high:
            raise ValueError(out_of_range(name, value, low, high))
        return float(value)

    return check


def _whole(low: int, high: int) -> Check:
    def check(name: str, value: Any) -> int:
        number = _number(low, high)(name, value)
        if number != int(number):
            raise ValueError(f"{name} is {shortened(value)}, not a whole number")
        return int(number)

    return check


def _choice(choices: tuple[str, ...]) -> Check:
    def check(name: str, value: Any) -> str:
        if value in choices:
            return str(value)
        near = did_you_mean(value, choices)
        raise ValueError(f"{name} is {shortened(value)}; it is one of {', '.join(choices)}{near}")

    return check


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ValueError(f"{name} is {shortened(value)}, not a short text")
    return value


def _metre(name: str, value: Any) -> Metre:
    del name
    return value if isinstance(value, Metre) else Metre.parse(value if isinstance(value, str) else shortened(value))


def _parameter(name: str, value: Any) -> float:
    parameter = PARAMETERS[name]
    if isinstance(value, str) and parameter.choices:
        return parameter.check(value)
    return float(_number(parameter.low, parameter.high)(name, value))


SETTINGS: Mapping[str, Check] = {
    "description": _text,
    "model": _text,
    "mode": _choice(MODES),
    "use": _choice(USES),
    "bars": _whole(1, MAX_BARS),
    "metre": _metre,
    "tempo": _number(MIN_TEMPO, MAX_TEMPO),
    "channel": _whole(1, 16),
    "program": _whole(0, 128),
    **dict.fromkeys(PARAMETERS, _parameter),
}
"""Everything a preset can say, and how each setting is checked."""


def _with_use(checked: Mapping[str, Any], before: Preset) -> Mapping[str, Any]:
    """Return the mode and the use that go with new settings; what is not said follows from what is.

    Raises:
        ValueError: they do not go together.
    """
    mode, use = checked.get("mode"), checked.get("use")
    if use == "along" and mode is None:
        mode = "accompany"
    mode = mode or before.mode
    if use is None:
        use = "along" if mode == "accompany" else "answer" if before.use == "along" else before.use
    if (use == "along") != (mode == "accompany"):
        raise ValueError(f"use is {use}, mode {mode}: use along goes with mode accompany, and no other")
    return {"mode": mode, "use": use}


def _checked(name: str, value: Any) -> Any:
    if name not in SETTINGS:
        raise ValueError(f"there is no setting {shortened(name)}{did_you_mean(name, list(SETTINGS))}")
    return SETTINGS[name](name, value)
