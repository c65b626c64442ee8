"""The command line interface."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from rtgen import __version__
from rtgen.cli import look, play, running
from rtgen.cli.common import say
from rtgen.errors import UserError
from rtgen.rig.apart import unwind
from rtgen.terminal import Terminal
from rtgen.text import plain

app = typer.Typer(
    help=(
        "Play a loop, and a neural network answers it in tempo.\n\n"
        "rtgen listens on a MIDI port, cuts what you play into loops, has a model answer them, and plays the answers "
        "on another port, in time with the MIDI clock of your DAW.\n\n"
        "First steps: 'rtgen demo' needs no MIDI device. 'rtgen doctor' checks your set-up. 'rtgen run' plays."
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _part in (play, look, running):
    app.add_typer(_part.app)


def main() -> None:
    """Runs a command; prints a `UserError` as one sentence and exits with status 2."""
    _give_streams()
    unwind()
    try:
        app()
    except UserError as error:
        line = Text.assemble(("rtgen:", "bold red"), " ", plain(str(error)))
        Terminal(stderr=True, highlight=False).print(line, soft_wrap=True)
        sys.exit(2)


def _give_streams() -> None:
    """Reads from and writes to nowhere where there is no terminal and no pipe, as with pythonw on Windows."""
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def _version(wanted: bool) -> None:
    if wanted:
        say(f"rtgen {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
