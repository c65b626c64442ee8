"""The command line interface."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.models import CommandInfo

from rtgen import __version__
from rtgen.errors import UserError
from rtgen.rig.apart import unwind
from rtgen.text import plain

_MODULES = "play", "look", "running"


class _Commands(Mapping[str, Any]):
    """The commands by name; each is built when it is asked for, which saves `rtgen run` the time for all others."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def infos(self) -> Iterator[tuple[str, CommandInfo]]:
        """Yield the names of all commands, with what they are built from."""
        for module in _MODULES:
            app: typer.Typer = import_module(f"rtgen.cli.{module}").app
            for info in app.registered_commands:
                assert info.callback is not None
                yield info.name or info.callback.__name__, info

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            # Only as many modules are imported as it takes to find it.
            found = next((info for each, info in self.infos() if each == name), None)
            if found is None:
                raise KeyError(name)
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.registered_commands = [found]
            self._built[name] = typer.main.get_command(alone)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.infos())

    def __len__(self) -> int:
        return len([*self.infos()])


class _Group(TyperGroup):
    """rtgen with its commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Commands()

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """List the commands, each with its first sentences."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _first(info.callback.__doc__)) for name, info in self.commands.infos()])


def _first(doc: str) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return " ".join(doc.split("\n\n")[0].split())


app = typer.Typer(
    cls=_Group,
    help=(
        "Play a loop, and a neural network answers it in tempo.\n\n"
        "rtgen listens on a MIDI port, cuts what you play into loops, has a model answer them, and plays the answers "
        "on another port, in time with the MIDI clock of your DAW.\n\n"
        "First steps: 'rtgen play' needs only a browser, 'rtgen demo' nothing. 'rtgen run' plays with your DAW, and "
        "'rtgen doctor' checks your set-up."
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Runs a command; prints a `UserError` as one sentence and exits with status 2."""
    _give_streams()
    unwind()
    try:
        app()
    except UserError as error:
        from rich.text import Text

        from rtgen.terminal import Terminal

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
        print(f"rtgen {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
