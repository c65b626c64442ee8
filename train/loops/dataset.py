"""Loops in memory as flat arrays, loaded from the Parquet files that `prepare` wrote, one row per loop.

No music leaks from training into testing: a whole song and its transpositions go to one split, and a loop that occurs
in several splits (in any key) is kept only in the most held-out one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtgen.errors import UserError
from rtgen.inference.card import Data
from rtgen.music.note import Loop, Note
from train.loops.storage import Folder
from train.prepare.sources.piece import BAR, EARLY

FORMAT = 2
"""Version of the file format; other versions are refused."""
MANIFEST = "manifest.json"
BARS = 2
LENGTH = BARS * BAR
"""Ticks per loop."""
SPLITS = ("test", "valid", "train")
"""Most held-out first."""
FIELDS = ("onset", "pitch", "duration", "velocity")
_BY_LOOP = ("sets", "songs", "tracks", "starts", "bars", "filled", "tempos")
_COLUMNS = ("set", "song", "track", "start", "length", "bar", "filled", "tempo", "split", "duplicate", *FIELDS)


class NoLoopsError(UserError):
    """The dataset has no loops of the requested kind."""


Notes = NDArray[np.int32]
"""Notes of many loops, shape (notes, 5): loop, onset, pitch, duration (ticks), velocity."""


@dataclass(frozen=True, slots=True)
class Set:
    """Licence and credit of a known set of music."""

    licence: str
    credit: str = ""
    ship: bool = True
    """Whether weights trained on it may be redistributed."""


SETS: dict[str, Set] = {
    "pop909": Set("MIT", "POP909 by Ziyu Wang and others, Music X Lab, 2020"),
    "free-midi-chords": Set("MIT", "free-midi-chords by Ludovic Drolez"),
    "openscore-lieder": Set("CC0-1.0", "OpenScore Lieder Corpus"),
    "js-fakes": Set("CC-BY-4.0", "JS Fake Chorales by Omar Peracha, 2021"),
    "freedoom": Set("BSD-3-Clause", "Freedoom, by the contributors to the Freedoom project"),
    "groove": Set("CC-BY-4.0", "Groove MIDI Dataset by Jon Gillick and others, Magenta, 2019"),
    "jsb-chorales": Set("public domain", "chorales by J. S. Bach", ship=False),
    "jsb-chorales-train-valid": Set("public domain", "chorales by J. S. Bach", ship=False),
    "lofi-samples": Set("none stated", ship=False),
}


def about(name: str) -> Set:
    """Licence and credit of a set; an unknown one is the user's own and not redistributed."""
    return SETS.get(name, Set("the user's own", ship=False))


def card_data(names: Iterable[str]) -> tuple[Data, ...]:
    """Entries on a model's card for the sets that it was trained on."""
    return tuple(Data(name, about(name).licence, about(name).credit) for name in names)


@dataclass(frozen=True, slots=True, eq=False)
class Loops:
    """Loops in memory, all of one length.

    Args:
        notes: rows `offsets[i]` to `offsets[i + 1]` belong to loop i; column 0 is i.
        offsets: shape (loops + 1).
        sets: set name of each loop, shape (loops).
        songs: song name, likewise.
        tracks: track name, likewise.
        starts: tick in the song where each loop begins, likewise.
        bars: ticks per bar, likewise.
        filled: ticks that contain music (the rest is padding), likewise.
        tempos: BPM, likewise.
        length: ticks per loop.
    """

    notes: Notes
    offsets: NDArray[np.int64]
    sets: NDArray[np.str_]
    songs: NDArray[np.str_]
    tracks: NDArray[np.str_]
    starts: NDArray[np.int32]
    bars: NDArray[np.int32]
    filled: NDArray[np.int32]
    tempos: NDArray[np.float32]
    length: int = LENGTH

    def __len__(self) -> int:
        """Number of loops."""
        return len(self.offsets) - 1

    def take(self, indices: NDArray[np.int64]) -> Notes:
        """Notes of some loops; column 0 numbers the loops from 0 in the order of `indices`."""
        counts = self.offsets[indices + 1] - self.offsets[indices]
        loop = np.repeat(np.arange(len(indices)), counts)
        rows = np.repeat(self.offsets[indices] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        notes = self.notes[rows + np.arange(len(loop))]
        notes[:, 0] = loop
        return notes

    def as_loops(self, indices: NDArray[np.int64]) -> list[Loop]:
        """Some of the loops as `Loop` objects."""
        return to_loops(self.take(indices), len(indices), self.length, int(self.bars[0]))

    def pick(self, indices: NDArray[np.int64]) -> Loops:
        """A subset of the loops."""
        offsets = np.concatenate([[0], np.cumsum(self.offsets[indices + 1] - self.offsets[indices])])
        columns = {name: getattr(self, name)[indices] for name in _BY_LOOP}
        return replace(self, notes=self.take(indices), offsets=offsets, **columns)


def manifest(data: Path | str) -> dict[str, Any]:
    """Reads the manifest of a dataset: format, shards, cutting and report.

    Raises:
        UserError: there is no dataset, or it has another format.
    """
    folder = Folder(data)
    cure = f"make it with 'rtgen-train prepare SOURCES --out {data}'"
    if not folder.has(MANIFEST):
        old = ", only one of an earlier rtgen" if folder.has("loops.parquet") else ""
        raise UserError(f"{data} has no dataset of loops{old}; {cure}")
    try:
        found: dict[str, Any] = json.loads(folder.system.cat_file(folder.at(MANIFEST)))
        if found["format"] != FORMAT:
            raise UserError(f"{data} has dataset format {found['format']}, but this rtgen reads {FORMAT}; {cure}")
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{data}/{MANIFEST} cannot be read ({error}); {cure}") from error


def sets_of(data: Path | str) -> list[str]:
    """Names of the sets in a dataset.

    Raises:
        UserError: there is no dataset, or it has another format.
    """
    return sorted(manifest(data)["report"]["loops"])


def load(
    data: Path | str,
    split: str,
    sets: Sequence[str] | None = None,
    *,
    length: int = LENGTH,
    bar: int = BAR,
    duplicates: bool = False,
) -> Loops:
    """Loads the loops of one split, in the order of set, song, track and start.

    Args:
        data: dataset written by `prepare`.
        split: one of `SPLITS`, or "all".
        sets: load only these; None loads all.
        length: load only loops of this length in ticks.
        bar: load only loops with bars of this length in ticks.
        duplicates: whether to include loops that repeat an earlier one of their split in any key.

    Raises:
        NoLoopsError: no loop matches.
        UserError: there is no dataset.
    """
    folder, shards = Folder(data), manifest(data)["shards"]

    def wanted(table: pa.Table) -> pa.Table:
        fits = pc.and_(pc.equal(table["length"], length), pc.equal(table["bar"], bar))
        if split != "all":
            fits = pc.and_(fits, pc.equal(table["split"].cast(pa.string()), split))
        if sets is not None:
            fits = pc.and_(fits, pc.is_in(table["set"].cast(pa.string()), pa.array(list(sets), pa.string())))
        if not duplicates:
            fits = pc.and_(fits, pc.invert(table["duplicate"]))
        return table.filter(fits)

    try:
        tables = [wanted(pq.read_table(folder.at(s), columns=list(_COLUMNS), filesystem=folder.system)) for s in shards]
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{data} cannot be read ({error}); create it again with 'rtgen-train prepare'") from error
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    if not len(table):
        what = ", ".join(sets or ["any set"])
        bars = f"{length / bar:g} bars of {bar / 480:g} beats"
        raise NoLoopsError(f"{data} has no loops of {what} for '{split}' with {bars}; prepare more music")
    counts = pc.list_value_length(table["onset"]).to_numpy()
    columns = [table[name].combine_chunks().flatten().to_numpy() for name in FIELDS]
    notes = np.stack([np.repeat(np.arange(len(table)), counts), *columns], axis=1).astype(np.int32)
    return Loops(
        notes,
        np.concatenate([[0], np.cumsum(counts)]),
        sets=_names(table["set"]),
        songs=_names(table["song"]),
        tracks=_names(table["track"]),
        starts=table["start"].to_numpy(),
        bars=table["bar"].to_numpy(),
        filled=table["filled"].to_numpy(),
        tempos=table["tempo"].to_numpy(),
        length=length,
    )


def load_bars(data: Path | str, split: str, sets: Sequence[str] | None, bar: int, bars: int) -> Loops:
    """Loads loops of `bars` bars, made from the two-bar loops of a dataset; other arguments as in `load`.

    A one-bar loop is the first of two bars. Longer ones are consecutive loops of a track, without overlap.

    Raises:
        UserError: there is no dataset, or no loop matches.
    """
    found = load(data, split, sets, length=BARS * bar, bar=bar, duplicates=bars > BARS)
    if bars == BARS:
        return found
    made = first_bars(found) if bars == 1 else joined(found, bars // BARS)
    if not len(made):
        raise NoLoopsError(f"{data} has no loops for '{split}' of {bars} bars of {bar / 480:g} beats; use fewer bars")
    return made


def first_bars(loops: Loops, fewest: int = 2) -> Loops:
    """The first bar of each loop that has at least `fewest` notes in it."""
    bar = int(loops.bars[0])
    notes = loops.notes[loops.notes[:, 1] < bar - EARLY]
    notes[:, 3] = np.minimum(notes[:, 3], bar - notes[:, 1])
    kept = np.flatnonzero(np.bincount(notes[:, 0], minlength=len(loops)) >= fewest)
    offsets = np.searchsorted(notes[:, 0], np.arange(len(loops) + 1))
    return replace(loops, notes=notes, offsets=offsets, filled=np.minimum(loops.filled, bar), length=bar).pick(kept)


def joined(loops: Loops, times: int) -> Loops:
    """Joins every `times` consecutive loops of a track into one; a remainder at the end of a track is dropped.

    Args:
        loops: in the order of set, song, track and start, including duplicates.
        times: loops per joined loop.
    """
    follows = loops.starts[1:] == loops.starts[:-1] + loops.length
    for names in loops.sets, loops.songs, loops.tracks:
        follows &= names[1:] == names[:-1]
    firsts = np.flatnonzero(np.concatenate([[True], ~follows]))
    counts = np.diff([*firsts, len(loops)]) // times
    starts = np.concatenate([first + times * np.arange(count) for first, count in zip(firsts, counts, strict=True)])
    indices = (starts[:, None] + np.arange(times)).ravel().astype(np.int64)
    some = loops.pick(indices)
    notes = some.notes.copy()
    notes[:, 1] += notes[:, 0] % times * loops.length
    notes[:, 0] //= times
    filled = some.filled.reshape(-1, times).sum(axis=1, dtype=np.int32)
    whole = some.pick(np.arange(0, len(indices), times))
    return replace(whole, notes=notes, offsets=some.offsets[::times], filled=filled, length=times * loops.length)


def _names(column: pa.ChunkedArray) -> NDArray[np.str_]:
    one = column.combine_chunks()
    names: NDArray[np.str_] = np.array(one.dictionary.to_pylist(), np.str_)[one.indices.to_numpy()]
    return names


def to_loops(notes: Notes, count: int, length: int = LENGTH, bar: int = BAR) -> list[Loop]:
    """Converts flat notes to `count` loops."""
    found: list[list[Note]] = [[] for _ in range(count)]
    for loop, *fields in notes.tolist():
        found[loop].append(Note(*fields))
    return [Loop(length, tuple(inside), bar) for inside in found]


def from_loops(loops: Sequence[Loop]) -> Notes:
    """Converts loops to flat notes."""
    rows = [(i, n.onset, n.pitch, n.duration, n.velocity) for i, loop in enumerate(loops) for n in loop.notes]
    return np.array(rows, np.int32).reshape(-1, 5)
