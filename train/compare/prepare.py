"""Compares the speed of cutting files into loops with pretty_midi pipelines: `python -m train.compare.prepare SRC...`.

All of them parse each file and cut every track, and all tracks together, into two-bar loops at the downbeats. The
pipelines are what one would write with pretty_midi (Raffel and Ellis, 2014):

- arrays: only the notes of each loop as an array, cut with numpy;
- rolls: a piano roll of 12 steps per beat, cut, as in `conv_dae` as described;
- loops: the same loops that rtgen makes, note by note: ticks, notes ended at the next onset of their pitch, loops worth
  learning, and the class of each up to transposition.

rtgen's rate includes all of that, warping to true beats, and the table. Rates are per second of CPU time on one core,
so that other load does not affect them. The rate on all cores is in wall-clock time, from finding the files to the
dataset on disk.
"""

from __future__ import annotations

import io
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from rtgen.errors import UserError
from rtgen.music.note import Loop, Note
from rtgen.terminal import Terminal
from train.prepare import prepare
from train.prepare.cut import STEP, Cutting
from train.prepare.sources.find import Source, find
from train.prepare.sources.piece import BAR

BARS = 2
STEPS = 12
"""Steps per beat."""
CHUNK = 128
"""Files per chunk."""


def arrays(_song: Any, notes: Sequence[Any], downbeats: Any) -> Iterator[Any]:
    """Yields the notes of each loop as an array, with times in ticks."""
    fields = np.array([(n.start, n.pitch, n.end, n.velocity) for n in notes])
    for start, end in zip(downbeats[::BARS], downbeats[BARS::BARS], strict=False):
        inside = fields[(fields[:, 0] >= start) & (fields[:, 0] < end)]
        if len(inside):
            inside[:, [0, 2]] = np.rint((inside[:, [0, 2]] - start) / (end - start) * BARS * BAR)
            yield inside.astype(np.int64)


def rolls(song: Any, notes: Sequence[Any], downbeats: Any) -> Iterator[Any]:
    """Yields the piano roll of each loop."""
    import pretty_midi

    instrument = pretty_midi.Instrument(0)
    instrument.notes = list(notes)
    beats = song.get_beats()
    times = np.interp(np.arange(len(beats) * STEPS) / STEPS, np.arange(len(beats)), beats)
    roll = instrument.get_piano_roll(times=times)
    steps = np.searchsorted(times, downbeats)
    for start, end in zip(steps[::BARS], steps[BARS::BARS], strict=False):
        if roll[:, start:end].any():
            yield roll[:, start:end].copy()


def loops(_song: Any, notes: Sequence[Any], downbeats: Any) -> Iterator[Any]:
    """Yields each loop and its class."""
    length = BARS * BAR
    for start, end in zip(downbeats[::BARS], downbeats[BARS::BARS], strict=False):
        scale = length / (end - start)
        inside = []
        for note in notes:
            if start <= note.start < end:
                onset = round((note.start - start) * scale)
                duration = min(max(round((note.end - note.start) * scale), 1), length - onset)
                if duration > 0:
                    inside.append(Note(onset, note.pitch, duration, max(note.velocity, 1)))
        loop = Loop(length, tuple(inside)).monophonic_by_pitch()
        cells = sorted({(round(n.onset / STEP), n.pitch, round(n.duration / STEP)) for n in loop.notes})
        if len(loop) >= 4 and len({step for step, _, _ in cells}) > 1:
            low = min(pitch for _, pitch, _ in cells)
            text = ";".join(f"{step},{pitch - low},{duration}" for step, pitch, duration in cells)
            yield loop, blake2b(text.encode(), digest_size=8).hexdigest()


Pipeline = Callable[[Any, Sequence[Any], Any], Iterator[Any]]


def theirs(sources: Sequence[Source], pipeline: Pipeline) -> int:
    """Runs a pipeline and returns the number of loops."""
    import pretty_midi

    found = 0
    for source in sources:
        try:
            song = pretty_midi.PrettyMIDI(io.BytesIO(source.bytes() or b""))
        except Exception:  # pretty_midi raises anything on damaged files
            continue
        voices = [i.notes for i in song.instruments if not i.is_drum]
        if len(voices) > 1:
            voices.append([n for notes in voices for n in notes])
        downbeats = song.get_downbeats()
        # Add the end of the last bar.
        downbeats = np.append(downbeats, downbeats[-1:] + np.diff(downbeats)[-1:])
        found += sum(len(list(pipeline(song, notes, downbeats))) for notes in voices if notes)
    return found


def ours(sources: Sequence[Source]) -> int:
    """Runs rtgen in this process, into tables, and returns the number of loops."""
    chunks = (sources[i : i + CHUNK] for i in range(0, len(sources), CHUNK))
    return sum(len(prepare.rows(chunk, Cutting())[0]) for chunk in chunks)


def rate(
    work: Callable[[Sequence[Source]], object],
    sources: Sequence[Source],
    clock: Callable[[], float] = time.process_time,
) -> float:
    """Files per second of `clock`."""
    begun = clock()
    work(sources)
    return len(sources) / (clock() - begun)


def compare(sources: Sequence[Source], sample: int) -> dict[str, float]:
    """Files per second of each pipeline on an evenly spaced sample, and of rtgen on all files.

    rtgen is measured before and after the others; the lower rate counts.
    """
    some = sources[:: max(1, len(sources) // sample)][:sample]
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        ours(some[:4])
        theirs(some[:2], rolls)
        first = rate(ours, sources)
        found = {p.__name__: rate(partial(theirs, pipeline=p), some) for p in (arrays, rolls, loops)}
        found["rtgen"] = min(first, rate(ours, sources))
        found["all cores"] = rate(lambda s: prepare.prepare(s, Path(folder) / "out"), sources, time.perf_counter)
    return found


def main(
    names: Annotated[list[str], typer.Argument(metavar="SRC...", help="As in rtgen-train prepare; one row each.")],
    sample: Annotated[int, typer.Option(help="Files per SRC for pretty_midi to read.")] = 100,
) -> None:
    """Compare the speed of cutting files into loops with pretty_midi."""
    heads = ("arrays", "rolls", "loops", "rtgen", "all cores", "to arrays", "to rolls", "to loops")
    table = Table("source", "files", *heads, title="files per second; speed-up over each pipeline")
    for name in names:
        sources = [s for s in find([name]) if s.suffix != ".als"]
        try:
            found = compare(sources, sample)
        except ImportError:
            raise UserError("pretty_midi is not installed; install it with: pip install pretty_midi") from None
        times = (f"{found['rtgen'] / found[p]:.1f} x" for p in ("arrays", "rolls", "loops"))
        table.add_row(Path(name).stem, str(len(sources)), *(f"{v:,.0f}" for v in found.values()), *times)
    Terminal().print(table)


if __name__ == "__main__":
    typer.run(main)
