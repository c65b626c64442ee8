"""Loops on disk: one Parquet file, one loop a row; and the same loops in memory as flat arrays.

No music leaks from training into testing: a song goes to one split as a whole, together with its transposed copies, and
a loop that also occurs in another split (in any key) stays in the most held-out one alone.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtgen.errors import UserError
from rtgen.inference.card import Data
from rtgen.music.note import Loop, Note
from train.sources import midi
from train.sources.piece import BAR, cut, windows

FILE = "loops.parquet"
BARS = 2
LENGTH = BARS * BAR
"""Ticks in a loop."""
SPLITS = ("test", "valid", "train")
"""The most held-out first."""
MIN_NOTES, MAX_NOTES = 4, 160
_STEP = 40
"""Ticks within which two loops count as the same."""
_FIELDS = ("onset", "pitch", "duration", "velocity")

Notes = NDArray[np.int32]
"""Notes of many loops, shape (notes, 5): loop, onset, pitch, duration (ticks), velocity."""


@dataclass(frozen=True, slots=True)
class Set:
    """A known set of music."""

    licence: str
    credit: str = ""
    ship: bool = True
    """Whether weights trained on it may be given away."""


SETS: dict[str, Set] = {
    "pop909": Set("MIT", "POP909 by Ziyu Wang and others, Music X Lab, 2020"),
    "free-midi-chords": Set("MIT", "free-midi-chords by Ludovic Drolez"),
    "openscore-lieder": Set("CC0-1.0", "OpenScore Lieder Corpus"),
    "js-fakes": Set("CC-BY-4.0", "JS Fake Chorales by Omar Peracha, 2021"),
    "freedoom": Set("BSD-3-Clause", "Freedoom, by the contributors to the Freedoom project"),
    "jsb-chorales": Set("public domain", "chorales by J. S. Bach", ship=False),
    "lofi-samples": Set("none stated", ship=False),
}


def about(name: str) -> Set:
    """What is known of a set; an unknown one is the user's own and not given away."""
    return SETS.get(name, Set("the user's own", ship=False))


def card_data(names: Iterable[str]) -> tuple[Data, ...]:
    """What a model's card says of the sets that it was trained on."""
    return tuple(Data(name, about(name).licence, about(name).credit) for name in names)


@dataclass(slots=True)
class Row:
    """A loop and where it comes from."""

    set: str
    song: str
    track: str
    start: int
    loop: Loop
    loop_class: str
    song_class: str
    split: str


@dataclass(slots=True)
class Report:
    """What `prepare` did.

    Args:
        loops: kept, by (set, split).
        skipped: (file, reason) of those that could not be read.
        other_metre: files by set that are not in 4/4.
        songs: files by set that gave loops.
    """

    loops: Counter[tuple[str, str]] = field(default_factory=Counter)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    other_metre: Counter[str] = field(default_factory=Counter)
    songs: Counter[str] = field(default_factory=Counter)


def transposition_class(notes: Iterable[Note]) -> str:
    """A hash that is the same for the same notes in any key and at any velocity, to the step."""
    cells = sorted({(round(n.onset / _STEP), n.pitch, round(n.duration / _STEP)) for n in notes})
    low = min((pitch for _, pitch, _ in cells), default=0)
    text = ";".join(f"{onset},{pitch - low},{duration}" for onset, pitch, duration in cells)
    return blake2b(text.encode(), digest_size=8).hexdigest()


def split_of(set_name: str, song: str, song_class: str) -> str:
    """The split of a song.

    POP909 by number: 701 and up test, 651-700 valid. Others by hash of their class: 5 % test, 5 % valid.
    """
    number = re.search(r"(\d{3})\.mid$", song)
    if set_name == "pop909" and number:
        return "test" if int(number[1]) > 700 else "valid" if int(number[1]) > 650 else "train"
    share = int(song_class, 16) / 2**64
    return "test" if share < 0.05 else "valid" if share < 0.10 else "train"


def _worth_learning(loop: Loop) -> bool:
    return MIN_NOTES <= len(loop) <= MAX_NOTES and len({round(n.onset / _STEP) for n in loop.notes}) > 1


def rows_of(source: midi.Source) -> list[Row]:
    """The loops of one file.

    Raises:
        UserError: it cannot be read.
    """
    piece = midi.read(source)
    song_class = transposition_class(n for _, notes in piece.tracks for n in notes)
    split = split_of(source.set_name, piece.name, song_class)
    starts = windows(piece.downbeats, BARS)
    return [
        Row(source.set_name, piece.name, track, start, loop, transposition_class(loop.notes), song_class, split)
        for track, notes in piece.voices()
        for start, loop in zip(starts, cut(notes, starts, BARS), strict=True)
        if _worth_learning(loop)
    ]


def _try_rows_of(source: midi.Source) -> list[Row] | UserError:
    try:
        return rows_of(source)
    except UserError as error:
        return error


def deduplicate(rows: Sequence[Row]) -> list[Row]:
    """The first of the loops that are equal up to transposition, the most held-out split before the others."""
    seen: set[str] = set()
    kept = []
    for row in sorted(rows, key=lambda r: (SPLITS.index(r.split), r.set, r.song, r.start, r.track)):
        if row.loop_class not in seen:
            seen.add(row.loop_class)
            kept.append(row)
    return kept


def prepare(sources: Sequence[midi.Source], out: Path, progress: Callable[[], None] = lambda: None) -> Report:
    """Reads `sources` on all cores and writes `out`/loops.parquet; the same sources give the same file.

    Args:
        sources: from `midi.find`.
        out: a folder; made when missing.
        progress: called after each file.

    Raises:
        UserError: nothing usable was found, or `out` cannot be written.
    """
    report = Report()
    rows: list[Row] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for source, found in zip(sources, pool.map(_try_rows_of, sources, chunksize=16), strict=True):
            if isinstance(found, midi.OtherMetreError):
                report.other_metre[source.set_name] += 1
            elif isinstance(found, UserError):
                report.skipped.append((source.name, str(found)))
            else:
                report.songs[source.set_name] += bool(found)
                rows += found
            progress()
    rows = deduplicate(rows)
    if not rows:
        raise UserError("no loops of two bars in 4/4 were found; name files or folders with more music in them")
    report.loops.update((row.set, row.split) for row in rows)
    write(rows, out)
    return report


def write(rows: Sequence[Row], out: Path) -> None:
    """Writes `rows` as `out`/loops.parquet, whole or not at all.

    Raises:
        UserError: `out` cannot be written.
    """
    columns: dict[str, pa.Array] = {
        name: pa.array([getattr(row, name) for row in rows]).dictionary_encode()
        for name in ("set", "song", "track", "loop_class", "song_class", "split")
    }
    columns["licence"] = pa.array([about(row.set).licence for row in rows]).dictionary_encode()
    columns["start"] = pa.array([row.start for row in rows], pa.int32())
    columns["length"] = pa.array([row.loop.length for row in rows], pa.int32())
    for name in _FIELDS:
        columns[name] = pa.array([[getattr(n, name) for n in row.loop.notes] for row in rows], pa.list_(pa.int16()))
    try:
        out.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), out / (FILE + ".part"), compression="zstd")
        (out / (FILE + ".part")).replace(out / FILE)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}); choose another folder") from error


@dataclass(frozen=True, slots=True, eq=False)
class Loops:
    """Loops in memory.

    Args:
        notes: those of loop i are rows `offsets[i]` to `offsets[i + 1]`; column 0 is i.
        offsets: shape (loops + 1).
        sets: name of each loop's set, shape (loops).
        songs: likewise.
    """

    notes: Notes
    offsets: NDArray[np.int64]
    sets: NDArray[np.str_]
    songs: NDArray[np.str_]

    def __len__(self) -> int:
        """Number of loops."""
        return len(self.offsets) - 1

    def take(self, indices: NDArray[np.int64]) -> Notes:
        """The notes of some loops; column 0 counts them from 0 in the order of `indices`."""
        counts = self.offsets[indices + 1] - self.offsets[indices]
        loop = np.repeat(np.arange(len(indices)), counts)
        rows = np.repeat(self.offsets[indices] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        notes = self.notes[rows + np.arange(len(loop))]
        notes[:, 0] = loop
        return notes


def load(data: Path, split: str, sets: Sequence[str] | None = None) -> Loops:
    """The loops of one split, in the order of the file.

    Args:
        data: what `prepare` wrote.
        split: one of `SPLITS`.
        sets: only these; None takes all.

    Raises:
        UserError: there is no such file, or nothing in it fits.
    """
    path = data / FILE if data.is_dir() else data
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read; make it with 'rtgen-train prepare SOURCES --out {data}'") from error
    wanted = pc.equal(table["split"].cast(pa.string()), split)
    if sets is not None:
        wanted = pc.and_(wanted, pc.is_in(table["set"].cast(pa.string()), pa.array(list(sets), pa.string())))
    table = table.filter(wanted).combine_chunks()
    if not len(table):
        raise UserError(f"{path} has no loops of {', '.join(sets or ['any set'])} for '{split}'; prepare more music")
    counts = pc.list_value_length(table["onset"]).to_numpy()
    columns = [table[name].combine_chunks().flatten().to_numpy() for name in _FIELDS]
    loop = np.repeat(np.arange(len(table)), counts)
    notes = np.stack([loop, *columns], axis=1).astype(np.int32)
    names = [np.array(table[name].cast(pa.string()).to_pylist()) for name in ("set", "song")]
    return Loops(notes, np.concatenate([[0], np.cumsum(counts)]), *names)


def to_loops(notes: Notes, count: int, length: int = LENGTH) -> list[Loop]:
    """Flat notes as `count` loops."""
    found: list[list[Note]] = [[] for _ in range(count)]
    for loop, *fields in notes.tolist():
        found[loop].append(Note(*fields))
    return [Loop(length, tuple(inside), BAR) for inside in found]


def from_loops(loops: Sequence[Loop]) -> Notes:
    """Loops as flat notes."""
    rows = [(i, n.onset, n.pitch, n.duration, n.velocity) for i, loop in enumerate(loops) for n in loop.notes]
    return np.array(rows, np.int32).reshape(-1, 5)
