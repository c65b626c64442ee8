"""The settings of a machine, as opposed to the music: ports, offsets and learned controllers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import platformdirs
import yaml

from rtgen.errors import UserError, did_you_mean
from rtgen.instrument.binding import LAYOUTS, TAKEOVERS, Binding, Layout, Takeover, was_learned
from rtgen.rig.kept.edited import edited
from rtgen.settings import read
from rtgen.whole import written

ALL = "all"
"""Stands for every input."""


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a machine.

    Args:
        inputs: names of the inputs to listen to; empty for a virtual one.
        output: name of the output; None for a virtual one.
        shown: names of the outputs back to the controllers at the inputs, in the same order.
        parts: whether each part of a band gets an output of its own.
        clock_offset_ms: delay of the incoming clock, to be compensated.
        output_offset_ms: how much earlier to send messages.
        takeover: what a knob does while its position differs from its parameter's value.
        listens: the MIDI channel to listen to, 1-16; None for all.
        clips: folder for kept answers; None for the default.
        controllers: learned bindings, by the name of the input.
        controls: what controllers do that has not been learned; for all, or by the name of the input.
        ignore_programs: names of the inputs whose program changes select no preset, in part, or `all`.
        live: whether to speak with Ableton Live, by way of AbletonOSC.
        live_track: the name of Live's track for kept answers; None for the one that takes its input from rtgen.
        live_fire: whether an answer that was kept is launched in Live.
    """

    inputs: tuple[str, ...] = ()
    output: str | None = None
    shown: tuple[str, ...] = ()
    parts: bool = False
    clock_offset_ms: float = 0.0
    output_offset_ms: float = 0.0
    takeover: Takeover = "none"
    listens: int | None = None
    clips: str | None = None
    controllers: Mapping[str, tuple[Binding, ...]] = field(default_factory=dict)
    controls: Layout | Mapping[str, Layout] = "knobs"
    ignore_programs: tuple[str, ...] = ()
    live: bool = False
    live_track: str | None = None
    live_fire: bool = False

    def learned(self, controller: str, to: str, bindings: tuple[Binding, ...]) -> Config:
        """Returns the settings with a newly learned binding.

        Args:
            controller: the name of the controller's input.
            to: the parameter or button that was learned.
            bindings: all bindings of the controller in the session that learned it; without one to `to`, it was
                forgotten. Apart from those to `to`, they are used only if these settings have none for the controller.
                Default bindings are not stored.
        """
        new = [b for b in bindings if b.to == to]
        old = self.controllers.get(controller, tuple(b for b in bindings if was_learned(b)))
        kept = (b for b in old if b.to != to and not any(b.clashes(other) for other in new))
        controllers = {**self.controllers, controller: (*kept, *new)}
        return replace(self, controllers={name: each for name, each in controllers.items() if each})


def clip_folder() -> Path:
    """Return the default folder for clips."""
    return platformdirs.user_music_path() / "rtgen"


def session_folder() -> Path:
    """Return the default folder for session logs."""
    return clip_folder() / "sessions"


def usual_path() -> Path:
    """Returns the default path of the settings."""
    return platformdirs.user_config_path("rtgen", appauthor=False) / "config.yaml"


def load(path: Path) -> Config:
    """Loads the settings from a file; returns the defaults if there is none.

    Raises:
        UserError: the file cannot be read, or has invalid settings.
    """
    with suppress(OSError):  # `read` then reports the error
        if not path.exists():
            return Config()
    said = read(path, str(path), "correct it, or delete it to start from the defaults")
    try:
        return Config(**{name: _checked(name, value) for name, value in said.items()})
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {error}; correct it, or delete it to start from the defaults") from error


def save(config: Config, path: Path) -> None:
    """Writes the settings atomically.

    Raises:
        UserError: the file cannot be written.
    """
    with written(path, "check its permissions", parents=True, private=True) as partial:
        text = _changed(config, path)
        if text is not None:
            partial.write_bytes(text.encode())
            with suppress(UserError):
                if load(partial) == config:
                    return
        partial.write_text(_dumped(config), "utf-8")


def _changed(config: Config, path: Path) -> str | None:
    """Returns the text of a settings file in which only what has been learned is changed; None if more has to be."""
    try:
        if not path.exists():
            return None
        before, text = load(path), path.read_bytes().decode()
        for name in {**before.controllers, **config.controllers}:
            old, new = (_rows(each.controllers.get(name, ())) for each in (before, config))
            if old != new:
                changed = edited(text, "controllers", name, old, new)
                if changed is None:
                    return None
                text = changed
    except (UserError, OSError, UnicodeDecodeError):
        return None
    return text


def _rows(bindings: Iterable[Binding]) -> list[str]:
    """Returns bindings as YAML flow mappings."""
    return [
        yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000).strip()
        for plain in map(_plain, bindings)
    ]


def _plain(binding: Binding) -> dict[str, Any]:
    return {k: v for k, v in asdict(binding).items() if v not in (None, False, "cc")}


def _dumped(config: Config) -> str:
    """Returns the text of a settings file: what differs from the defaults."""
    said = {f.name: getattr(config, f.name) for f in fields(config) if getattr(config, f.name) != f.default}
    said |= {name: list(getattr(config, name)) for name in _LISTS}
    said["controllers"] = {
        name: [_plain(b) for b in bindings] for name, bindings in config.controllers.items() if bindings
    }
    text: str = yaml.safe_dump(
        {k: v for k, v in said.items() if k == "controls" or v not in ([], {})}, sort_keys=False, allow_unicode=True
    )
    return text


_LISTS = ("inputs", "shown", "ignore_programs")
_NAMES = tuple(f.name for f in fields(Config))


def _checked(name: str, value: Any) -> Any:
    match name:
        case "ignore_programs" if value == ALL:
            return (ALL,)
        case _ if name in _LISTS and isinstance(value, list) and all(isinstance(each, str) for each in value):
            return tuple(value)
        case "clips" if isinstance(value, str):
            try:
                Path(value).expanduser()
            except RuntimeError as error:
                raise ValueError(f"clips is {value!r}, and there is no such home folder") from error
            return value
        case "parts" | "live" | "live_fire" if type(value) is bool:
            return value
        case "output" | "clips" | "live_track" if value is None or isinstance(value, str):
            return value
        case "clock_offset_ms" | "output_offset_ms" if type(value) in (int, float) and -500 <= value <= 500:
            return float(value)
        case "takeover" if value in TAKEOVERS:
            return value
        case "listens" if value is None or (type(value) is int and 1 <= value <= 16):
            return value
        case "controls" if value in LAYOUTS:
            return value
        case "controls" if isinstance(value, dict) and all(each in LAYOUTS for each in value.values()):
            return {str(controller): layout for controller, layout in value.items()}
        case "controllers" if isinstance(value, dict):
            return {str(controller): _bindings(controller, rows) for controller, rows in value.items()}
    if name not in _NAMES:
        raise ValueError(f"there is no setting {shortened(name)}{did_you_mean(name, _NAMES)}")
    raise ValueError(f"{name} is {shortened(value)}, which is not a valid value")


def _bindings(controller: str, rows: Any) -> tuple[Binding, ...]:
    """Parses the bindings of a controller.

    Raises:
        ValueError: `rows` is not a list of bindings, or two of them use the same message.
    """
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"controller {controller} is not a list of bindings")
    found: list[Binding] = []
    for row in rows:
        try:
            binding = Binding(**row)
        except TypeError as error:
            raise ValueError(f"controller {controller}: {shortened(row)} is not a binding") from error
        except ValueError as error:
            raise ValueError(f"controller {controller}: {error}") from error
        for other in found:
            if binding.clashes(other):
                raise ValueError(
                    f"controller {controller}: {other.to} and {binding.to} both use {binding.kind} {binding.number}"
                )
        found.append(binding)
    return tuple(found)
