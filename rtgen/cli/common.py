"""Shared code of the commands: options, finding presets and models, printing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rtgen.errors import UserError
from rtgen.instrument.binding import Layout
from rtgen.instrument.preset import Preset
from rtgen.rig.kept import presets
from rtgen.shipped import find

# Slow imports, and those for one command only, are inside the commands, so that `rtgen run` opens its ports quickly.

_MOST_SHOWN = 8
"""Longest list shown of a card, as a vocabulary may have hundreds of symbols."""

PresetOption = Annotated[
    str, typer.Option("--preset", "-p", help="Preset, by name or path; 'rtgen presets' lists them.", metavar="NAME")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        help="Model to use instead of the preset's, by name or path; 'rtgen models' lists them.", metavar="NAME"
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(min=0, max=2**31 - 1, help="Random seed; the same seed gives the same answers.", metavar="N"),
]
BarsOption = Annotated[int | None, typer.Option(help="Length of a loop in bars, 1 to 8.", metavar="N")]
ModeOption = Annotated[
    str | None,
    typer.Option(
        help="clean corrects what you played, vary makes a variation of it, continue carries on from it, blend "
        "interpolates between two loops, generate makes a new loop. Not every model plays every mode.",
        metavar="clean|vary|continue|blend|generate",
    ),
]
UseOption = Annotated[
    str | None,
    typer.Option(
        help="answer takes turns with you, follow plays along with you, hold repeats its answer.",
        metavar="answer|follow|hold",
    ),
]
DistanceOption = Annotated[
    float | None, typer.Option(help="How far a variation departs from your loop, 0 (not at all) to 1.", metavar="X")
]
ControlsOption = Annotated[
    Layout | None,
    typer.Option(
        help="What is bound without having been learned: knobs (the default) only knobs that nothing moves by itself, "
        "all every knob and button with a control change, learned nothing."
    ),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda", "coreml", "directml"], typer.Option(help="Device that runs the model.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")]
OscOption = Annotated[
    int | None, typer.Option("--osc", help="OSC port of the daemon, if several are running.", metavar="PORT")
]


def preset_of(name: str, **changes: Any) -> Preset:
    """Loads a preset by name, with changed settings.

    Raises:
        UserError: there is no such preset, or a setting is invalid.
    """
    chosen = presets.load(find("presets", name))
    try:
        return chosen.changed(**changes)
    except ValueError as error:
        raise UserError(f"{error}; see the command's --help") from error


def model_of(preset: Preset) -> Path:
    """Finds the file of a preset's model.

    Raises:
        UserError: there is no such model.
    """
    try:
        return find("models", preset.model)
    except UserError as error:
        cured = "check the path" in str(error) or "did you mean" in str(error)
        cure = "" if cured else "; train it (see 'rtgen-train --help'), or choose another preset"
        raise UserError(f"Preset {preset.name}: {error}{cure}") from error


def seed_of(seed: int | None) -> int:
    """Returns the given seed, or a random one."""
    from secrets import randbelow

    return randbelow(2**31) if seed is None else seed


def say(line: str) -> None:
    """Prints a line without markup, highlighting or wrapping."""
    Console(highlight=False).print(Text(line), soft_wrap=True)


def show(table: Table) -> None:
    """Prints a table."""
    Console().print(table)


def show_json(value: Any) -> None:
    """Prints JSON."""
    print(json.dumps(value, indent=2, default=str))


def show_card(card: dict[str, Any]) -> None:
    """Prints a table of names and values, without the empty ones."""
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in card.items():
        if value not in ("", (), {}, [], None):
            if isinstance(value, list | tuple) and len(value) > _MOST_SHOWN:
                value = [*value[:_MOST_SHOWN], f"... and {len(value) - _MOST_SHOWN} more; --json shows all"]
            text = value if isinstance(value, str) else json.dumps(value, indent=1, default=str)
            table.add_row(key, escape(text))
    show(table)
