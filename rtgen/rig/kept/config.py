"""What belongs to a machine and not to the music: ports, offsets, and what was learned from controllers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import platformdirs
import yaml

from rtgen.errors import UserError, did_you_mean
from rtgen.instrument.binding import Binding
from rtgen.instrument.controls import TAKEOVERS, Takeover
from rtgen.settings import read
from rtgen.whole import written


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a machine.

    Args:
        inputs: names of the inputs that are listened to; none for a virtual one.
        output: name of the output; None for a virtual one.
        shown: names of the outputs that lead to the controllers at the inputs, in their order.
        clock_offset_ms: by how much the clock comes late.
        output_offset_ms: by how much messages leave early.
        takeover: what a knob does that does not stand where its parameter is.
        listens: the MIDI channel that is heard, 1-16; None for all.
        clips: folder for answers that are kept; None for the usual one.
        controllers: what was learned, by the name of the input.
    """

    inputs: tuple[str, ...] = ()
    output: str | None = None
    shown: tuple[str, ...] = ()
    clock_offset_ms: float = 0.0
    output_offset_ms: float = 0.0
    takeover: Takeover = "none"
    listens: int | None = None
    clips: str | None = None
    controllers: Mapping[str, tuple[Binding, ...]] = field(default_factory=dict)

    def learned(self, controller: str, to: str, bindings: tuple[Binding, ...]) -> Config:
        """With what was learned from a controller.

        Args:
            controller: the name of its input.
            to: the parameter or button that was learned.
            bindings: all that is known of the controller where it was learned; what is known here goes before.
        """
        new = [b for b in bindings if b.to == to]
        old = self.controllers.get(controller, bindings)
        kept = (b for b in old if b.to != to and not any(b.clashes(other) for other in new))
        return replace(self, controllers={**self.controllers, controller: (*kept, *new)})


def usual_path() -> Path:
    """Where the settings of this machine are."""
    return platformdirs.user_config_path("rtgen", appauthor=False) / "config.yaml"


def load(path: Path) -> Config:
    """The settings in a file; the usual ones if there is none.

    Raises:
        UserError: the file cannot be read, or says what cannot be.
    """
    with suppress(OSError):  # what keeps it from being looked at keeps it from being read
        if not path.exists():
            return Config()
    said = read(path, str(path), "mend it, or delete it to begin anew")
    try:
        return Config(**{name: _checked(name, value) for name, value in said.items()})
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {error}; mend it, or delete it to begin anew") from error


def save(config: Config, path: Path) -> None:
    """Writes the settings; the file is there whole or as it was.

    Raises:
        UserError: it cannot be written.
    """
    said = {f.name: getattr(config, f.name) for f in fields(config) if getattr(config, f.name) != f.default}
    said |= {"inputs": list(config.inputs), "shown": list(config.shown)}
    said["controllers"] = {
        name: [{k: v for k, v in asdict(b).items() if v not in (None, False)} for b in bindings]
        for name, bindings in config.controllers.items()
    }
    text = yaml.safe_dump({k: v for k, v in said.items() if v not in ([], {})}, sort_keys=False, allow_unicode=True)
    with written(path, "check its permissions") as partial:
        partial.write_text(text, "utf-8")


_NAMES = tuple(f.name for f in fields(Config))


def _checked(name: str, value: Any) -> Any:
    match name:
        case "inputs" | "shown" if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return tuple(value)
        case "output" | "clips" if value is None or isinstance(value, str):
            return value
        case "clock_offset_ms" | "output_offset_ms" if type(value) in (int, float) and -500 <= value <= 500:
            return float(value)
        case "takeover" if value in TAKEOVERS:
            return value
        case "listens" if value is None or (type(value) is int and 1 <= value <= 16):
            return value
        case "controllers" if isinstance(value, dict):
            return {str(controller): _bindings(controller, rows) for controller, rows in value.items()}
    if name not in _NAMES:
        raise ValueError(f"there is no setting {name!r}{did_you_mean(name, _NAMES)}")
    raise ValueError(f"{name} is {value!r}, which it cannot be")


def _bindings(controller: str, rows: Any) -> tuple[Binding, ...]:
    """What was learned from a controller.

    Raises:
        ValueError: it is no list of bindings, or two of them claim one message.
    """
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"controller {controller} is no list of knobs")
    found: list[Binding] = []
    for row in rows:
        try:
            binding = Binding(**row)
        except TypeError as error:
            raise ValueError(f"controller {controller}: {row} is no knob") from error
        except ValueError as error:
            raise ValueError(f"controller {controller}: {error}") from error
        for other in found:
            if binding.clashes(other):
                raise ValueError(
                    f"controller {controller}: {other.to} and {binding.to} are both on {binding.kind} {binding.number}"
                )
        found.append(binding)
    return tuple(found)
