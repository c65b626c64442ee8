"""Which loops of a song are alike: what a model may recall when it plays the next one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtgen.inference.recall import ALIKE
from rtgen.music.time import TICKS_PER_SIXTEENTH
from train.loops.dataset import Loops
from train.loops.sample import GRID

NEAR = 4
"""Candidates that are kept for each loop."""
_MOST = 400
"""Loops of a track that are compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Relations between the loops of each track.

    Args:
        follows: for each loop, the loop that followed an earlier likeness of the one before it; -1 if there is none.
        alike: up to `NEAR` loops of the track that are most like it without being the same; -1 where there are fewer.
    """

    follows: NDArray[np.int64]
    alike: NDArray[np.int64]

    def draw(self, loop: NDArray[np.int64], rng: Generator) -> NDArray[np.int64]:
        """Return one of the loops like each of `loop`, at random; -1 where there is none."""
        found = self.alike[loop]
        count = (found >= 0).sum(axis=1)
        some: NDArray[np.int64] = found[
            np.arange(len(loop)), (rng.random(len(loop)) * np.maximum(count, 1)).astype(int)
        ]
        return some


def linked(loops: Loops) -> Links:
    """Compare the loops of each track with each other.

    Args:
        loops: in the order of set, song, track and start, with repeated loops.
    """
    follows, alike = np.full(len(loops), -1), np.full((len(loops), NEAR), -1)
    other = np.zeros(len(loops), bool)
    for names in loops.sets, loops.songs, loops.tracks:
        other[1:] |= names[1:] != names[:-1]
    begins = [0, *np.flatnonzero(other).tolist(), len(loops)]
    for first, end in pairwise(begins):
        for begin in range(first, end, _MOST):
            _link(loops, begin, min(begin + _MOST, end), follows, alike)
    return Links(follows, alike)


def _link(loops: Loops, first: int, end: int, follows: NDArray[np.int64], alike: NDArray[np.int64]) -> None:
    like = likeness(cells(loops, first, end))
    count = end - first
    before = np.tril(like[:-1], -1) if count > 1 else np.zeros((0, count))
    for j in range(2, count):
        # Of those equally alike, the latest: it is fresher in the memory.
        candidates = before[j - 1, : j - 1]
        best = len(candidates) - 1 - int(candidates[::-1].argmax())
        if candidates[best] >= ALIKE:
            follows[first + j] = first + best + 1
    np.fill_diagonal(like, 0)
    like = np.where((like >= ALIKE) & (like < 0.999), like, 0)
    order = np.argsort(-like, axis=1, kind="stable")[:, :NEAR]
    some = np.take_along_axis(like, order, axis=1) > 0
    alike[first:end, : order.shape[1]] = np.where(some, first + order, -1)


def cells(loops: Loops, first: int, end: int) -> NDArray[np.float32]:
    """Which sixteenth and pitch is struck, of consecutive loops: shape (loops, cells)."""
    rows = loops.notes[loops.offsets[first] : loops.offsets[end]]
    columns = -(-loops.length // TICKS_PER_SIXTEENTH)
    column = np.clip(np.rint(rows[:, 1] / TICKS_PER_SIXTEENTH).astype(int), 0, columns - 1)
    pitch = np.clip(rows[:, 2] - GRID.pitch_low, 0, GRID.pitches - 1)
    found = np.zeros((end - first, columns * GRID.pitches), np.float32)
    found[rows[:, 0] - first, column * GRID.pitches + pitch] = 1
    return found


def likeness(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Dice coefficient of the cells of each pair of loops, shape (loops, loops)."""
    counts = found.sum(axis=1)
    both: NDArray[np.float32] = 2 * (found @ found.T) / np.maximum(counts[:, None] + counts, 1)
    return both
