"""The player's touch for written notes: how early or late, how loud and how long they are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain, pairwise

import numpy as np

from rtgen.inference.hearing import spelling_of
from rtgen.inference.pen import Cell
from rtgen.inference.request import Request
from rtgen.music.key import folded
from rtgen.music.note import Loop, Note
from rtgen.music.time import Grid

_LATE = 30
"""Ticks by which a hand is early or late at most; what is farther from a coarse grid is a rhythm of its own."""
_FEW = 3
"""A player who uses so few values, or fewer, uses no others."""


class Hand:
    """Strikes written notes with the player's touch.

    A class stands for several values. A note gets one between two that the player used: hands leave the grid and strike
    each note a little differently, while music that was written rather than played does not.

    Args:
        request: with what was played.
        rng: source of all randomness.
        beside: notes that stay beside those that are struck.
    """

    def __init__(self, request: Request, rng: np.random.Generator, beside: Iterable[Note] = ()) -> None:
        loop, grid, spelling = request.loop, request.grid, spelling_of(request.model)
        late, loud, long = zip(*chain(*(_habits(each, grid) for each in (*request.past, loop))), strict=True)
        self._late, self._loud = Touch(late, spelling.timings), Touch(loud, spelling.velocities)
        self._long = Touch(long, [steps * grid.step for steps in spelling.durations], grid.step)
        self._length, self._grid, self._up, self._rng = loop.length, grid, request.up, rng
        self._struck = {(n.onset, n.pitch) for n in beside}

    def strike(self, cell: Cell) -> Note | None:
        """Return a cell as a note; None if there is one of its pitch at the same tick."""
        grid, rng, (step, row, duration, velocity, timing) = self._grid, self._rng, cell
        onset = min(max(step * grid.step + self._late.of(timing, rng), 0), self._length - 1)
        lasts = max(min(self._long.of(duration, rng), self._length - onset), 1)
        loud = min(max(self._loud.of(velocity, rng), 1), 127)
        pitch = folded(row + grid.pitch_low - self._up)
        if (onset, pitch) in self._struck:
            return None
        self._struck.add((onset, pitch))
        return Note(onset, pitch, lasts, loud)


def as_played(notes: Iterable[Note], call: Loop, grid: Grid) -> list[Note]:
    """Return notes of a model that knows neither loudness nor timing, with those of the player.

    Each takes after the note of the call that is nearest in time and, of several, nearest in pitch.

    Args:
        notes: on the grid, within the call's length.
        call: what was played, not empty.
        grid: of the model.
    """
    habits = [(note, late) for note, (late, _, _) in zip(call.notes, _habits(call, grid), strict=True)]

    def played(note: Note) -> Note:
        like, late = min(habits, key=lambda h: (abs(h[0].onset - h[1] - note.onset), abs(h[0].pitch - note.pitch)))
        onset = min(max(note.onset + (late if abs(late) <= _LATE else 0), 0), call.length - 1)
        return replace(note, onset=onset, duration=min(note.duration, call.length - onset), velocity=like.velocity)

    return [played(note) for note in notes]


@lru_cache(maxsize=64)
def _habits(loop: Loop, grid: Grid) -> list[tuple[int, int, int]]:
    """Ticks after the grid, velocity and ticks of each note of a loop."""
    steps, step = grid.steps(loop.length), grid.step
    return [(n.onset - grid.column(n.onset, steps) * step, n.velocity, n.duration) for n in loop.notes]


class Touch:
    """How the player times notes, how loud and how long they are.

    Args:
        used: the values that the player used.
        classes: the values that stand for classes, rising.
        step: of lengths, which were written, not played, if all are multiples of it; 1 for anything else, of which a
            player who uses one value uses no other.
    """

    def __init__(self, used: Sequence[int], classes: Sequence[int], step: int = 1) -> None:
        self._used, self._classes, values = sorted(used), classes, set(used)
        self._one = len(values) == 1 and step == 1
        self._written = len(values) <= _FEW or (step > 1 and all(value % step == 0 for value in values))
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
        a, b = (self._used[int(rng.integers(first, beyond))] for _ in range(2))
        return a if self._written else round(a + (b - a) * rng.random())
