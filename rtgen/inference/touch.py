"""The player's touch for written notes: how early or late, how loud and how long they are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from rtgen.inference.hearing import spelling_of
from rtgen.inference.request import Request
from rtgen.inference.sheet import Ints
from rtgen.music.key import folded
from rtgen.music.note import Note

_FEW = 3
"""A player who uses so few values, or fewer, uses no others."""


def touched(new: Ints, request: Request, rng: np.random.Generator) -> list[Note]:
    """Return written cells as notes, with the player's touch.

    A class stands for several values. A note gets one between two that the player used: hands leave the grid and strike
    each note a little differently, while music that was written rather than played does not.
    """
    loop, grid, spelling = request.loop, request.grid, spelling_of(request.model)
    played = [(n, grid.column(n.onset, grid.steps(each.length))) for each in (*request.past, loop) for n in each.notes]
    late = Touch([n.onset - column * grid.step for n, column in played], spelling.timings)
    loud = Touch([n.velocity for n, _ in played], spelling.velocities)
    long = Touch([n.duration for n, _ in played], [steps * grid.step for steps in spelling.durations], grid.step)
    notes = []
    for step, row, duration, velocity, timing in new.tolist():
        onset = min(max(step * grid.step + late.of(timing, rng), 0), loop.length - 1)
        lasts = max(min(long.of(duration, rng), loop.length - onset), 1)
        notes.append(
            Note(onset, folded(row + grid.pitch_low - request.up), lasts, min(max(loud.of(velocity, rng), 1), 127))
        )
    return notes


class Touch:
    """How the player times notes, how loud and how long they are.

    Args:
        used: the values that the player used.
        classes: the values that stand for classes, rising.
        step: of lengths, which were written, not played, if all are multiples of it; 1 for anything else, of which a
            player who uses one value uses no other.
    """

    def __init__(self, used: Sequence[int], classes: Sequence[int], step: int = 1) -> None:
        self._used, self._classes = sorted(used), classes
        self._one = len(set(used)) == 1 and step == 1
        self._written = len(set(used)) <= _FEW or (step > 1 and all(value % step == 0 for value in used))
        middles = [(a + b) / 2 for a, b in pairwise(classes)]
        self._bounds = [2 * classes[0] - middles[0], *middles, 2 * classes[-1] - middles[-1]]

    def of(self, number: int, rng: np.random.Generator) -> int:
        """Return a value of a class."""
        low, high = self._bounds[number : number + 2]
        if self._one:
            return self._used[0]
        first, beyond = bisect_left(self._used, low), bisect_left(self._used, high)
        if first == beyond:
            return self._classes[number] if self._written else round(rng.uniform(low, high))
        a, b = (self._used[int(i)] for i in rng.integers(first, beyond, 2))
        return a if self._written else round(a + (b - a) * rng.random())
