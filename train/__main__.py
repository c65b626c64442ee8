"""The command line of the workshop: prepare, fit, export, evaluate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rtgen.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Turns MIDI files into models that rtgen plays. The order of work: prepare, fit, export, evaluate.",
)
console = Console()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


@app.command()
def prepare(
    sources: Annotated[list[Path], typer.Argument(help="MIDI files, folders or .zip archives of them.")],
    out: Annotated[Path, typer.Option(help="Folder for loops.parquet.")] = Path("data/loops"),
) -> None:
    """Cut MIDI files into loops of two bars and split them into train, valid and test.

    A file that cannot be read is skipped and listed with the reason. Files that are not in 4/4 are counted and left
    out, and so are drums (channel 10). The name of each folder or archive becomes the name of its set.

    A song and its transposed copies always go to the same split; a loop that occurs twice, in whatever key, is kept
    once. Of POP909, songs 651-700 are for validation and 701 upwards for testing.

    [bold]Example[/bold]: rtgen-train prepare pop909.zip my-loops/ --out data/loops
    """
    from train import dataset
    from train.sources import midi

    found = midi.find(sources)
    with _progress() as bar:
        task = bar.add_task("reading", total=len(found))
        report = dataset.prepare(found, out, lambda: bar.advance(task))
    if report.skipped:
        skipped = Table("file", "why it was skipped", title=f"{len(report.skipped)} files skipped")
        for name, reason in report.skipped:
            skipped.add_row(name, reason)
        console.print(skipped)
    table = Table("set", "licence", "songs", "not in 4/4", "train", "valid", "test", title=f"loops in {out}")
    for name in sorted(set(report.songs) | set(report.other_metre)):
        counts = [str(report.loops[name, split]) for split in ("train", "valid", "test")]
        songs, other = str(report.songs[name]), str(report.other_metre[name])
        table.add_row(name, dataset.about(name).licence, songs, other, *counts)
    console.print(table)


def main() -> None:
    """Runs the command line; a `UserError` is one sentence on stderr and exit status 2."""
    try:
        app()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
