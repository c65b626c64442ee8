"""Presets: musical settings by name, strict and frozen, from YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, Literal, get_args

import yaml

from rtgen.errors import UserError, did_you_mean
from rtgen.instrument.job import MODES, Mode
from rtgen.instrument.parameters import PARAMETERS
from rtgen.music.time import MAX_TEMPO, MIN_TEMPO, Metre
from rtgen.settings import read

Use = Literal["answer", "follow", "hold"]
USES: tuple[Use, ...] = get_args(Use)
MAX_BARS = 8


@dataclass(frozen=True, slots=True)
class Preset:
    """What is to be played, and how.

    Args:
        name: what the player calls it.
        description: one line.
        model: name or path of the model.
        mode: what the model does.
        use: when its answer is heard.
        bars: length of a loop.
        metre: of the bars.
        tempo: BPM of the internal clock, and of an external one until it has told its own.
        channel: MIDI channel of the answer, 1-16.
        program: the program change, 1-128, that chooses it; 0 for none.
        knobs: a value for every parameter.
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
    knobs: Mapping[str, float] = field(default_factory=lambda: {p.name: p.default for p in PARAMETERS.values()})

    @property
    def length(self) -> int:
        """Ticks of a loop."""
        return self.bars * self.metre.bar

    def changed(self, **settings: Any) -> Preset:
        """This preset with other settings, checked; those that are None stay as they are.

        Raises:
            ValueError: a setting is unknown, of the wrong kind or out of range.
        """
        checked = {name: _check(name, value) for name, value in settings.items() if value is not None}
        knobs = {**self.knobs, **{name: checked.pop(name) for name in list(checked) if name in PARAMETERS}}
        return replace(self, **checked, knobs=knobs)

    def mismatch(self, model: str, role: str, modes: Iterable[str]) -> str | None:
        """A sentence that says why a model cannot play this; None if it can.

        Args:
            model: its name.
            role: what kind it is.
            modes: what it plays.
        """
        modes = tuple(modes)
        if self.mode in modes:
            return None
        return (
            f"Preset {self.name}: model {model} (role {role}) plays {', '.join(modes)}, not {self.mode}; "
            "choose another mode, or a preset with another model"
        )

    def as_dict(self) -> dict[str, Any]:
        """The settings as a preset file holds them."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("knobs", "metre")}
        return {**plain, "metre": str(self.metre), **{n: PARAMETERS[n].said(v) for n, v in self.knobs.items()}}


_SETTINGS = (*(f.name for f in fields(Preset) if f.name not in ("name", "knobs")), *PARAMETERS)


def saved(preset: Preset) -> str:
    """The text of a preset's file: what is not as it is by itself."""
    usual = Preset().as_dict()
    said = {
        k: v for k, v in preset.as_dict().items() if k != "name" and (v != usual[k] or k in ("model", "mode", "use"))
    }
    # Of what comes over the wire the last digits are noise.
    plain = {k: round(v, 4) if isinstance(v, float) else v for k, v in said.items()}
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    return text


def _number(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {shortened(value)}, not a number")
    if not low <= value <= high:
        raise ValueError(f"{name} is {value:g}; it goes from {low:g} to {high:g}")
    return value


def _whole(name: str, value: Any, low: int, high: int) -> int:
    number = _number(name, value, low, high)
    if number != int(number):
        raise ValueError(f"{name} is {shortened(value)}, not a whole number")
    return int(number)


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value in choices:
        return str(value)
    raise ValueError(f"{name} is {shortened(value)}; it is one of {', '.join(choices)}{did_you_mean(value, choices)}")


def _check(name: str, value: Any) -> Any:
    if name in PARAMETERS:
        parameter = PARAMETERS[name]
        if isinstance(value, str) and parameter.choices:
            return parameter.check(value)
        return float(_number(name, value, parameter.low, parameter.high))
    match name:
        case "mode":
            return _choice(name, value, MODES)
        case "use":
            return _choice(name, value, USES)
        case "bars":
            return _whole(name, value, 1, MAX_BARS)
        case "channel":
            return _whole(name, value, 1, 16)
        case "program":
            return _whole(name, value, 0, 128)
        case "tempo":
            return float(_number(name, value, MIN_TEMPO, MAX_TEMPO))
        case "metre":
            return value if isinstance(value, Metre) else Metre.parse(str(value))
        case "description" | "model":
            if not isinstance(value, str) or len(value) > 500:
                raise ValueError(f"{name} is {shortened(value)}, not a short text")
            return value
    raise ValueError(f"there is no setting {name!r}{did_you_mean(name, _SETTINGS)}")


def load(path: Path) -> Preset:
    """The preset in a YAML file.

    Raises:
        UserError: the file cannot be read, is no mapping, or has an unknown key or a value out of range.
    """
    settings = read(path, f"Preset {path}", "mend it; 'rtgen presets' shows some that are right")
    if not settings:
        raise UserError(f"Preset {path} says nothing; see 'rtgen presets' for examples")
    empty = [key for key, value in settings.items() if value is None]
    if empty:
        raise UserError(f"Preset {path}: {empty[0]} has no value; give it one or take the line out")
    try:
        return Preset(name=path.stem).changed(**settings)
    except (ValueError, TypeError) as error:
        raise UserError(f"Preset {path}: {error}") from error
