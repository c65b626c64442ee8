"""Measures of music by itself, and of music beside the music that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence

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
"""Notes in a row that are a copy when the training set has them, too."""
_CHUNK = 2048


def in_key(loop: Loop, scale: Key | None = None) -> float:
    """Share of the notes that are in a key; in the loop's own where none is given. Not a number for silence."""
    scale = scale or key.estimate(loop.notes)
    return float(np.mean([scale.contains(n.pitch) for n in loop.notes])) if scale and loop.notes else float("nan")


def density(loop: Loop) -> float:
    """Notes a beat."""
    return len(loop) * PPQN / loop.length


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """The rank of each value from 0 up; equal values share the mean of theirs."""
    array = np.asarray(values, float)
    below = (array[None] < array[:, None]).sum(axis=1)
    alike = (array[None] == array[:, None]).sum(axis=1)
    shared: NDArray[np.float64] = below + (alike - 1) / 2
    return shared


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where one of them does not change."""
    a, b = ranks(xs), ranks(ys)
    if not a.std() or not b.std():
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


# ---- copying --------------------------------------------------------------------------------------------------------


def runs(notes: Notes, run: int = RUN) -> NDArray[np.uint64]:
    """A hash of every `run` notes in a row, by how pitch and step change from one to the next: the same in any key.

    Args:
        notes: flat; rows by loop, then onset and pitch.
        run: notes.
    """
    order = np.lexsort((notes[:, 2], notes[:, 1], notes[:, 0]))
    loop, onset, pitch = (notes[order, i].astype(np.int64) for i in range(3))
    step = np.rint(onset / GRID.step).astype(np.int64)
    # One number for each change; a modest prime keeps changes of time and of pitch apart.
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
    """The music a model was trained on, to look copies and likenesses up in.

    Args:
        loops: of the training split.
        more: of other metres; copies are looked up in these, too.
    """

    def __init__(self, loops: Loops, *more: Loops) -> None:
        self._loops = loops
        self._runs = np.unique(np.concatenate([runs(some.notes) for some in (loops, *more)]))

    def copies(self, loop: Loop) -> float:
        """1 if `loop` holds a run of `RUN` notes that the training set holds in some key, else 0."""
        rows = np.array([(0, n.onset, n.pitch, n.duration, n.velocity) for n in loop.notes], np.int32).reshape(-1, 5)
        own = runs(rows)
        # The library is sorted once: looked up by halves it need not be gone through for every loop.
        at = np.minimum(np.searchsorted(self._runs, own), len(self._runs) - 1)
        return float(len(self._runs) > 0 and bool((self._runs[at] == own).any()))

    def nearest(self, loops: Sequence[Loop], most: int = 20_000) -> list[Loop]:
        """For each loop the training loop with the most notes of it (by the note F1 of their cells), of `most`."""
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
    """Where notes begin, shape (count, pitches * steps)."""
    steps = GRID.steps(length)
    cells = np.zeros((count, GRID.pitches, steps), np.float32)
    row = notes[:, 2] - GRID.pitch_low
    inside = (row >= 0) & (row < GRID.pitches)
    column = np.clip(np.rint(notes[:, 1] / GRID.step).astype(int), 0, steps - 1)
    cells[notes[inside, 0], row[inside], column[inside]] = 1
    return cells.reshape(count, -1)


def onset_f1(made: Loop, meant: Loop) -> float:
    """Note F1 by pitch and step of the onset."""
    return note_f1(made, meant, GRID)
