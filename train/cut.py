"""Pieces become loops, many pieces at a time: the arithmetic is done once for all notes of some dozens of files.

A loop is what begins between two of its bars, ended at its end. Of a stretch of music (`Piece.stretches`) the loops lie
side by side; what remains at its end, shorter than a loop, is left out or kept with `filled` less than its length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from train.sources.piece import EARLY, Piece

Ints = NDArray[np.int64]
Classes = NDArray[np.uint64]

STEP = 40
"""Ticks within which two loops count as the same."""
_PART = 2**42
"""Ticks, far more than any piece has: voices are laid end to end at this distance."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """How music is cut into loops.

    Args:
        bars: in a loop.
        keep_last: whether the last loop of a stretch is kept when it is only partly filled.
        metres: "all", or the one that is kept, as "4/4".
        drums: whether files of nothing but drums are read.
    """

    bars: int = 2
    keep_last: bool = False
    metres: str = "all"
    drums: bool = False

    @property
    def notes(self) -> tuple[int, int]:
        """The fewest and the most notes of a loop that is worth learning."""
        return 2 * self.bars, 80 * self.bars


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Loops, sorted by voice and start.

    Args:
        voice: index of the voice that each loop is cut from, shape (loops).
        start: tick in the song, likewise.
        length: ticks, likewise.
        bar: ticks, likewise.
        filled: ticks that are music, likewise.
        offsets: the notes of loop i are rows `offsets[i]` to `offsets[i + 1]` of `notes`.
        notes: onset, pitch, duration, velocity; shape (notes, 4); by loop, onset and pitch.
    """

    voice: Ints
    start: Ints
    length: Ints
    bar: Ints
    filled: Ints
    offsets: Ints
    notes: Ints

    def take(self, which: NDArray[np.bool_]) -> Cut:
        """Some of the loops."""
        counts = np.diff(self.offsets)
        return Cut(
            self.voice[which],
            self.start[which],
            self.length[which],
            self.bar[which],
            self.filled[which],
            np.concatenate([[0], np.cumsum(counts[which])]),
            self.notes[np.repeat(which, counts)],
        )


def windows(piece: Piece, cutting: Cutting) -> list[tuple[int, int]]:
    """(start, filled) of the loops of a piece, in ticks."""
    length, found = cutting.bars * piece.bar, []
    for start, total in piece.stretches:
        whole, rest = divmod(total, length)
        found += [(start + i * length, length) for i in range(whole)]
        if rest and cutting.keep_last:
            found.append((start + whole * length, rest))
    return found


def cut(voices: Sequence[tuple[Piece, Ints]], cutting: Cutting) -> Cut:
    """The loops of some voices, those without enough or with too many notes left out.

    Args:
        voices: of each the piece that it is in and its notes (onset, pitch, duration, velocity).
        cutting: how.
    """
    places = [(i, *w, piece.bar) for i, (piece, _) in enumerate(voices) for w in windows(piece, cutting)]
    voice, start, filled, bar = np.array(places, np.int64).reshape(-1, 4).T
    notes = np.concatenate([np.empty((0, 4), np.int64), *(n for _, n in voices)])
    of_voice = np.repeat(np.arange(len(voices)), [len(n) for _, n in voices])
    # The window that each note lies in or after, over all voices at once.
    lane = _PART // 2
    window = np.searchsorted(voice * _PART + lane + start, of_voice * _PART + lane + notes[:, 0] + EARLY, "right") - 1
    inside = (window >= 0) & (voice[window] == of_voice if len(voice) else False)
    inside &= (notes[:, 0] - start[window] < filled[window] - EARLY) if len(voice) else False
    window, notes = window[inside], notes[inside]
    onset = notes[:, 0] - start[window]
    duration = np.minimum(notes[:, 2], filled[window] - onset)
    window, notes = monophonic(window, np.stack([onset, notes[:, 1], duration, notes[:, 3]], axis=1))
    counts = np.bincount(window, minlength=len(voice))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    loops = Cut(voice, start, cutting.bars * bar, bar, filled, offsets, notes)
    return loops.take(_worth_learning(loops, *cutting.notes))


def monophonic(loop: Ints, notes: Ints) -> tuple[Ints, Ints]:
    """Every note ended where its pitch starts again, of those on one tick the loudest kept, sorted by loop and onset.

    As `Loop.monophonic_by_pitch`, for many loops.

    Args:
        loop: of each note.
        notes: onset, pitch, duration, velocity; shape (notes, 4).
    """
    onset, pitch, duration, velocity = notes.T
    place = (loop << 31) | (pitch << 24) | (onset + EARLY)
    order = np.lexsort((-((velocity << 24) | duration), place))
    place = place[order]
    order = order[np.concatenate([[True], place[1:] != place[:-1]])] if len(order) else order
    loop, notes = loop[order], notes[order]
    follows = np.flatnonzero((loop[1:] == loop[:-1]) & (notes[1:, 1] == notes[:-1, 1]))
    notes[follows, 2] = np.minimum(notes[follows, 2], notes[follows + 1, 0] - notes[follows, 0])
    order = np.argsort((loop << 31) | ((notes[:, 0] + EARLY) << 7) | notes[:, 1])
    return loop[order], notes[order]


def _worth_learning(loops: Cut, fewest: int, most: int) -> NDArray[np.bool_]:
    """Which loops have enough notes, not too many, and more than one moment."""
    counts = np.diff(loops.offsets)
    found = (counts >= fewest) & (counts <= most)
    steps = np.rint(loops.notes[:, 0] / STEP)
    first, last = loops.offsets[:-1][found], loops.offsets[1:][found] - 1
    found[found] = steps[first] != steps[last]
    return found


def _cells(notes: Ints, loop: Ints, lowest: Ints) -> tuple[Ints, Ints]:
    """What a class is made of: the distinct (loop, step, pitch above the lowest, steps of duration) in order.

    Returns:
        The loop of each, and the other three in one number.
    """
    step, duration = (np.rint(notes[:, c] / STEP).astype(np.int64) for c in (0, 2))
    cell = ((step + 2**15) << 30) | ((notes[:, 1] - lowest[loop]) << 22) | np.minimum(duration, 2**22 - 1)
    order = np.lexsort((cell, loop))
    loop, cell = loop[order], cell[order]
    fresh = np.concatenate([[True], (cell[1:] != cell[:-1]) | (loop[1:] != loop[:-1])]) if len(cell) else order > 0
    return loop[fresh], cell[fresh]


def loop_classes(loops: Cut) -> Classes:
    """A number for each loop that is the same for the same notes in any key and at any velocity, to the step.

    The sum of its cells, each scrambled as in SplitMix64 (Steele, Lea and Flood, 2014), and of its length.
    """
    loop = np.repeat(np.arange(len(loops.start)), np.diff(loops.offsets))
    lowest = np.minimum.reduceat(loops.notes[:, 1], loops.offsets[:-1]) if len(loop) else loop
    loop, cell = _cells(loops.notes, loop, lowest)
    first = np.searchsorted(loop, np.arange(len(loops.start)))
    total = np.add.reduceat(_scrambled(cell.astype(np.uint64)), first) if len(loop) else np.empty(0, np.uint64)
    return _scrambled(total + loops.length.astype(np.uint64))


def _scrambled(x: Classes) -> Classes:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def song_class(tracks: Iterable[Ints]) -> int:
    """The same for a whole song. It decides the song's split, so how it is reckoned stays as it is."""
    notes = np.concatenate([np.empty((0, 4), np.int64), *tracks])
    if not len(notes):
        return 0
    loop = np.zeros(len(notes), np.int64)
    _, cell = _cells(notes, loop, notes[:, 1].min(keepdims=True))
    parts = np.stack([(cell >> 30) - 2**15, (cell >> 22) & 0xFF, cell & (2**22 - 1)], axis=1)
    text = ";".join(["%d,%d,%d"] * len(parts)) % tuple(parts.ravel().tolist())
    return int(blake2b(text.encode(), digest_size=8).hexdigest(), 16)
