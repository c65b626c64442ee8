"""Samples of loops as flat notes, from which training tasks are made.

Augmentation and damage work on the flat notes of many loops at once and draw from a generator, so a task is a function
of its seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rtgen.music.note import Loop
from rtgen.music.time import Grid
from train.loops.dataset import Loops, Notes, to_loops

LOOP, ONSET, PITCH, DURATION, VELOCITY = range(5)
"""Columns of `Notes`."""
GRID = Grid()


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Some loops of one length.

    Args:
        notes: flat notes; column 0 numbers the loops from 0 and is ascending.
        count: number of loops.
        length: ticks per loop.
        bar: ticks per bar.
        filled: ticks of each loop that contain music (the rest is padding), shape (count).
        tempos: BPM, likewise.
        indices: of the loops in the `Loops` that they come from, likewise.
    """

    notes: Notes
    count: int
    length: int
    bar: int
    filled: NDArray[np.int32]
    tempos: NDArray[np.float32]
    indices: NDArray[np.int64]

    @classmethod
    def of(cls, loops: Loops, indices: NDArray[np.int64]) -> Sample:
        """Takes some of `loops`, unchanged."""
        notes, filled, tempos = loops.take(indices), loops.filled[indices], loops.tempos[indices]
        return cls(notes, len(indices), loops.length, int(loops.bars[0]), filled, tempos, indices)

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Which loops have no padding, shape (count)."""
        return self.filled >= self.length

    def loops(self) -> list[Loop]:
        """The loops as `Loop` objects."""
        return to_loops(self.notes, self.count, self.length, self.bar)

    def with_notes(self, notes: Notes) -> Sample:
        """The same loops with other notes, which are sorted by loop."""
        return replace(self, notes=notes[np.argsort(notes[:, LOOP], kind="stable")])


def changed(notes: Notes, columns: Mapping[int, NDArray[np.generic]]) -> Notes:
    """A copy of `notes` with some columns replaced."""
    found = notes.copy()
    for column, values in columns.items():
        found[:, column] = values
    return found
