"""What several commands share: options, finding what they name, printing."""

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
from rtgen.instrument.preset import Preset
from rtgen.rig.kept import presets
from rtgen.shipped import find

# Imports that are slow, or that one command alone needs, stand in that command: `rtgen run` opens its ports at once.

_MOST_SHOWN = 8
"""Of a list in a card: a vocabulary may have hundreds of symbols."""

PresetOption = Annotated[
    str, typer.Option("--preset", "-p", help="Preset by name or path; 'rtgen presets' lists them.", metavar="NAME")
]
ModelOption = Annotated[
    str | None,
    typer.Option(help="Model by name or path instead of the preset's; 'rtgen models' lists them.", metavar="NAME"),
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, max=2**31 - 1, help="Seed of all chance: same seed, same answers.", metavar="N")
]
BarsOption = Annotated[int | None, typer.Option(help="Length of a loop in bars, 1 to 8.", metavar="N")]
ModeOption = Annotated[
    str | None,
    typer.Option(
        help="clean repairs what was played, vary plays a relative of it, continue what could come next, blend a point "
        "between two loops, generate a new one. Each needs a model that plays it.",
        metavar="clean|vary|continue|blend|generate",
    ),
]
UseOption = Annotated[
    str | None,
    typer.Option(
        help="answer alternates with you, follow plays under you, hold repeats its answer.",
        metavar="answer|follow|hold",
    ),
]
DistanceOption = Annotated[
    float | None, typer.Option(help="How far a variation strays, 0 (not at all) to 1.", metavar="X")
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda", "coreml", "directml"], typer.Option(help="What runs the model.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print for a program: a list of objects.")]
OscOption = Annotated[
    int | None, typer.Option("--osc", help="Port of the daemon, where several are running.", metavar="PORT")
]


def preset_of(name: str, **changes: Any) -> Preset:
    """The preset of a name, with other settings.

    Raises:
        UserError: it is not there, or a setting cannot be.
    """
    chosen = presets.load(find("presets", name))
    try:
        return chosen.changed(**changes)
    except ValueError as error:
        raise UserError(f"{error}; see 'rtgen --help' of the command") from error


def model_of(preset: Preset) -> Path:
    """The file of a preset's model.

    Raises:
        UserError: it is not there.
    """
    try:
        return find("models", preset.model)
    except UserError as error:
        cured = "check the path" in str(error) or "did you mean" in str(error)
        cure = "" if cured else "; train it ('rtgen-train --help'), or choose another preset"
        raise UserError(f"Preset {preset.name}: {error}{cure}") from error


def seed_of(seed: int | None) -> int:
    """The seed asked for, or one by chance."""
    from secrets import randbelow

    return randbelow(2**31) if seed is None else seed


def say(line: str) -> None:
    """Prints a line as it is."""
    Console(highlight=False).print(Text(line), soft_wrap=True)


def show(table: Table) -> None:
    """Prints a table."""
    Console().print(table)


def show_json(value: Any) -> None:
    """Prints for a program."""
    print(json.dumps(value, indent=2, default=str))


def show_card(card: dict[str, Any]) -> None:
    """Prints all that is known of one thing, but for what is empty."""
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in card.items():
        if value not in ("", (), {}, [], None):
            if isinstance(value, list | tuple) and len(value) > _MOST_SHOWN:
                value = [*value[:_MOST_SHOWN], f"... and {len(value) - _MOST_SHOWN} more; --json has them all"]
            text = value if isinstance(value, str) else json.dumps(value, indent=1, default=str)
            table.add_row(key, escape(text))
    show(table)
