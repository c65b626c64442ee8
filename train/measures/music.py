"""Measures of loops, alone and relative to the training music."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rtgen.music import key
from rtgen.music.key import Key
from rtgen.music.note import Loop
from rtgen.music.time import PPQN
from train.loops.dataset import Loops, Notes, from_loops
from train.loops.sample import GRID
from train.measures.score import note_f1

RUN = 8
"""Consecutive notes that count as a copy if the training set has them too."""
_CHUNK = 2048


def in_key(loop: Loop, scale: Key | None = None) -> float:
    """Share of notes in a key, by default the loop's own estimated key; NaN for silence."""
    scale = scale or key.estimate(loop.notes)
    return float(np.mean([scale.contains(n.pitch) for n in loop.notes])) if scale and loop.notes else float("nan")


def density(loop: Loop) -> float:
    """Notes per beat."""
    return len(loop) * PPQN / loop.length


def repeats(loop: Loop) -> float:
    """How much of a bar comes again in the next: mean Jaccard index of neighbouring bars; NaN for one bar.

    Bars in which nothing begins count for nothing.
    """
    bars: list[set[tuple[int, int]]] = [set() for _ in range(max(loop.length // loop.bar, 1))]
    for n in loop.notes:
        bar, at = divmod(min(round(max(n.onset, 0) / GRID.step) * GRID.step, loop.length - 1), loop.bar)
        bars[min(bar, len(bars) - 1)].add((at, n.pitch))
    found = [len(a & b) / len(a | b) for a, b in pairwise(bars) if a | b]
    return float(np.mean(found)) if found else float("nan")


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Ranks from 0; ties share their mean rank."""
    array = np.asarray(values, float)
    below = (array[None] < array[:, None]).sum(axis=1)
    alike = (array[None] == array[:, None]).sum(axis=1)
    shared: NDArray[np.float64] = below + (alike - 1) / 2
    return shared


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 if either is constant."""
    a, b = ranks(xs), ranks(ys)
    if not a.std() or not b.std():
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


# ---- copying --------------------------------------------------------------------------------------------------------


def runs(notes: Notes, run: int = RUN) -> NDArray[np.uint64]:
    """Hash every run of `run` consecutive notes by its changes of pitch and step, so that transposed runs are equal.

    Args:
        notes: flat array, in any order.
        run: number of notes.
    """
    order = np.lexsort((notes[:, 2], notes[:, 1], notes[:, 0]))
    loop, onset, pitch = (notes[order, i].astype(np.int64) for i in range(3))
    step = np.rint(onset / GRID.step).astype(np.int64)
    # One number per change; the prime keeps changes of time and pitch apart.
    change = ((step[1:] - step[:-1]) * 257 + (pitch[1:] - pitch[:-1]) + 128).astype(np.uint64)
    count = len(change) - run + 2
    if count < 1:
        return np.zeros(0, np.uint64)
    total = np.zeros(count, np.uint64)
    for i in range(run - 1):
        total = total * np.uint64(0x9E3779B97F4A7C15) + change[i : i + count]
    found: NDArray[np.uint64] = total[loop[run - 1 :] == loop[: len(loop) - run + 1]]
    return found


class Library:
    """The training music of a model, to search for copies and similar loops.

    Args:
        loops: training split.
        more: loops of other metres, also searched for copies.
    """

    def __init__(self, loops: Loops, *more: Loops) -> None:
        self._loops = loops
        self._runs = np.unique(np.concatenate([runs(some.notes) for some in (loops, *more)]))

    def copies(self, loop: Loop) -> float:
        """Return 1 if `loop` has a run of `RUN` notes that the training set has in any key, else 0."""
        rows = np.array([(0, n.onset, n.pitch, n.duration, n.velocity) for n in loop.notes], np.int32).reshape(-1, 5)
        own = runs(rows)
        # Binary search in the sorted library avoids a full scan for every loop.
        at = np.minimum(np.searchsorted(self._runs, own), len(self._runs) - 1)
        return float(len(self._runs) > 0 and bool((self._runs[at] == own).any()))

    def nearest(self, loops: Sequence[Loop], most: int = 20_000) -> list[Loop]:
        """Find for each loop the training loop with the highest onset F1, among at most `most` random ones."""
        chosen = np.random.default_rng(0).permutation(len(self._loops))[:most]
        wanted = _cells(from_loops(loops), len(loops), self._loops.length)
        sizes = wanted.sum(axis=1)
        best = np.full(len(loops), -1.0)
        found = np.zeros(len(loops), int)
        for first in range(0, len(chosen), _CHUNK):
            some = chosen[first : first + _CHUNK]
            cells = _cells(self._loops.take(some), len(some), self._loops.length)
            f1 = 2 * (wanted @ cells.T) / np.maximum(sizes[:, None] + cells.sum(axis=1)[None], 1)
            top = f1.argmax(axis=1)
            better = f1[np.arange(len(loops)), top] > best
            best[better] = f1[np.arange(len(loops)), top][better]
            found[better] = some[top[better]]
        return self._loops.as_loops(found)


def _cells(notes: Notes, count: int, length: int) -> NDArray[np.float32]:
    """Onset cells, shape (count, pitches * steps)."""
    steps = GRID.steps(length)
    cells = np.zeros((count, GRID.pitches, steps), np.float32)
    row = notes[:, 2] - GRID.pitch_low
    inside = (row >= 0) & (row < GRID.pitches)
    column = np.clip(np.rint(notes[:, 1] / GRID.step).astype(int), 0, steps - 1)
    cells[notes[inside, 0], row[inside], column[inside]] = 1
    return cells.reshape(count, -1)


def onset_f1(made: Loop, meant: Loop) -> float:
    """Note F1 by pitch and onset step."""
    return note_f1(made, meant, GRID)
