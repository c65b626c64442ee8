"""How fast files become loops, beside a pipeline on pretty_midi that does the same: `python -m train.compare_prepare`.

Both parse each file, take every track apart and all together, and cut them into loops of two bars. The pipeline is what
one would write with pretty_midi (Raffel and Ellis, 2014): its notes, cut at its downbeats with numpy, once as notes and
once as its piano rolls of 12 steps a beat. It neither warps to beats, nor makes notes monophonic, nor finds out what is
a duplicate, nor writes; rtgen does all of it.
"""

from __future__ import annotations

import io
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from rtgen.errors import UserError
from train import prepare
from train.cut import Cutting
from train.sources.find import Source, find

BARS = 2
STEPS = 12
"""A beat."""
ROUNDS = 3


def pretty(data: bytes, rolls: bool) -> list[Any]:
    """The loops of a file by way of pretty_midi, as notes or as piano rolls."""
    import pretty_midi

    song = pretty_midi.PrettyMIDI(io.BytesIO(data))
    downbeats = song.get_downbeats()
    voices = [i.notes for i in song.instruments if not i.is_drum]
    if len(voices) > 1:
        voices.append([n for notes in voices for n in notes])
    found: list[Any] = []
    for notes in voices:
        fields = np.array([(n.start, n.pitch, n.end, n.velocity) for n in notes])
        if rolls:
            found += _rolls(pretty_midi.Instrument(0), notes, song, downbeats)
            continue
        for start, end in zip(downbeats[::BARS], downbeats[BARS::BARS], strict=False):
            inside = fields[(fields[:, 0] >= start) & (fields[:, 0] < end)]
            if len(inside) >= 4:
                inside[:, [0, 2]] = np.rint((inside[:, [0, 2]] - start) / (end - start) * BARS * 1920)
                found.append(inside.astype(np.int64))
    return found


def _rolls(instrument: Any, notes: Sequence[Any], song: Any, downbeats: Any) -> Iterator[Any]:
    instrument.notes = list(notes)
    beats = song.get_beats()
    times = np.interp(np.arange(len(beats) * STEPS) / STEPS, np.arange(len(beats)), beats)
    roll = instrument.get_piano_roll(times=times)
    steps = np.searchsorted(times, downbeats)
    for start, end in zip(steps[::BARS], steps[BARS::BARS], strict=False):
        if roll[:, start:end].any():
            yield roll[:, start:end].copy()


def seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The least time that `work` took in some rounds."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


def ours(sources: Sequence[Source]) -> None:
    """The loops of `sources` in this process, as tables."""
    for chunk in prepare.chunks(sources, "", Cutting()):
        prepare.rows(chunk.sources, chunk.cutting)


def theirs(sources: Sequence[Source], rolls: bool) -> int:
    """The same by way of pretty_midi; the number of files that it can read."""
    read = 0
    for source in sources:
        try:
            pretty(source.bytes() or b"", rolls)
            read += 1
        except Exception:  # what it makes of damaged files
            continue
    return read


def compare(sources: Sequence[Source]) -> dict[str, float]:
    """Files a second: both pipelines of pretty_midi and rtgen, each in one process, and `prepare` on all cores."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        theirs(sources[:2], True)
        ours(sources[:2])
        took = {
            "pretty_midi, notes": seconds(lambda: theirs(sources, False), 1),
            "pretty_midi, rolls": seconds(lambda: theirs(sources, True), 1),
            "rtgen, one process": seconds(lambda: ours(sources)),
            "rtgen, all cores, written": seconds(lambda: prepare.prepare(sources, Path(folder) / "out")),
        }
    return {name: len(sources) / t for name, t in took.items()}


def main(
    names: Annotated[list[str], typer.Argument(metavar="SRC...", help="As for rtgen-train prepare; each is a row.")],
    files: Annotated[int, typer.Option(help="Taken of each, evenly.")] = 200,
) -> None:
    """Measure how fast files become loops, beside pretty_midi."""
    table = Table("source", "files", title="files a second")
    for name in names:
        sources = [s for s in find([name]) if s.suffix != ".als"]
        sources = sources[:: max(1, len(sources) // files)][:files]
        try:
            found = compare(sources)
        except ImportError:
            raise UserError("pretty_midi is not installed; install it with: pip install pretty_midi") from None
        if not table.rows:
            for column in (*found, "one process to notes", "to rolls", "all cores to notes"):
                table.add_column(column, justify="right")
        notes, rolls, one, every = found.values()
        ratios = (one / notes, one / rolls, every / notes)
        table.add_row(
            Path(name).name, str(len(sources)), *(f"{v:,.0f}" for v in found.values()), *(f"{r:.1f} x" for r in ratios)
        )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
