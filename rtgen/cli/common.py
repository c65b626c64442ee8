"""Shared code of the commands: options, finding presets and models, printing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rtgen.errors import UserError
from rtgen.shipped import available, find

if TYPE_CHECKING:
    from rich.table import Table

    from rtgen.instrument.preset import Preset

# Slow imports, and those for one command only, are inside the commands, so that `rtgen run` opens its ports quickly.

_MOST_SHOWN = 8
"""Longest list shown of a card, as a vocabulary may have hundreds of symbols."""


def _presets(begun: str) -> list[str]:
    """Returns the presets that a shell may complete a word to."""
    return [item.name for item in available("presets") if item.name.startswith(begun)]


def _models(begun: str) -> list[str]:
    """Returns the models that a shell may complete a word to."""
    return [item.name for item in available("models") if item.name.startswith(begun)]


PresetOption = Annotated[
    str,
    typer.Option(
        "--preset",
        "-p",
        help="Preset, by name or path; 'rtgen presets' lists them.",
        metavar="NAME",
        autocompletion=_presets,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        help="Model to use instead of the preset's, by name or path; 'rtgen models' lists them.",
        metavar="NAME",
        autocompletion=_models,
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
    Literal["knobs", "all", "learned"] | None,
    typer.Option(
        help="What is bound without having been learned: knobs (the default) only knobs that nothing moves by itself, "
        "all every knob and button with a control change, learned nothing."
    ),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda", "coreml", "directml"], typer.Option(help="Device that runs the model.")
]
ClipsOption = Annotated[
    Path | None, typer.Option(help="Folder for kept answers; in your music folder by default.", metavar="DIR")
]
SessionsOption = Annotated[
    str | None, typer.Option(help="Folder for session logs, or off; in your music folder by default.", metavar="DIR")
]
SecondsOption = Annotated[float | None, typer.Option(min=0, help="Stop after this time, not at Ctrl-C.", metavar="N")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")]
OscOption = Annotated[
    int | None,
    typer.Option("--osc", min=1, max=65535, help="OSC port of the daemon, if several are running.", metavar="PORT"),
]


def preset_of(name: str, **changes: Any) -> Preset:
    """Loads a preset by name, with changed settings.

    Raises:
        UserError: there is no such preset, or a setting is invalid.
    """
    from rtgen.rig.kept import presets

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


def refuse_same(source: Path, target: Path) -> None:
    """Refuses to write a result over the file that it is made from, also by another name of that file.

    Raises:
        UserError: the two are one file.
    """
    try:
        same = target.samefile(source)
    except OSError:
        same = False
    if same:
        raise UserError(f"{target} is the file that is read; choose another name for the result")


def say(line: str) -> None:
    """Prints a line without markup, highlighting or wrapping."""
    from rich.text import Text

    from rtgen.terminal import Terminal

    Terminal(highlight=False).print(Text(line), soft_wrap=True)


def show(table: Table) -> None:
    """Prints a table."""
    from rtgen.terminal import Terminal

    Terminal().print(table)


def show_rows(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints text in columns."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*heading, box=None, header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    show(table)


def show_json(value: Any) -> None:
    """Prints JSON."""
    print(json.dumps(value, indent=2, default=str))


def show_card(card: dict[str, Any]) -> None:
    """Prints a table of names and values, without the empty ones."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in card.items():
        if value not in ("", (), {}, [], None):
            if isinstance(value, list | tuple) and len(value) > _MOST_SHOWN:
                value = [*value[:_MOST_SHOWN], f"... and {len(value) - _MOST_SHOWN} more; --json shows all"]
            text = value if isinstance(value, str) else json.dumps(value, indent=1, default=str)
            table.add_row(key, Text(text))
    show(table)
