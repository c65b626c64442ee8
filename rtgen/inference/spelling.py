"""Notes as a composer reads them: their spelling as classes, and the context beside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtgen.music.attributes import MEAN, NAMES, SD, measure
from rtgen.music.note import Loop, Note
from rtgen.music.time import TICKS_PER_SIXTEENTH, Grid

LAGS = (1, 2, 4)
"""Bars ago: the model sees the onsets there."""
SIXTEENTHS, CLASSES = 16, 12
CONTEXT = len(NAMES) + SIXTEENTHS + CLASSES + 1
"""Size of the context, which describes the loop before: attributes, groove, pitch classes, and 1 as a flag that it is
known."""


_MEAN, _SD = np.array(MEAN, np.float32), np.array(SD, np.float32)


@dataclass(frozen=True, slots=True)
class Spelling:
    """Available shifts, durations, velocities and timings, by class; other values are rounded to the nearest.

    Args:
        shifts: steps from one onset to the next, rising.
        durations: steps, rising.
        velocities: 1-127, rising.
        timings: ticks from the grid, rising.
    """

    shifts: tuple[int, ...]
    durations: tuple[int, ...]
    velocities: tuple[int, ...]
    timings: tuple[int, ...]

    def shift(self, steps: ArrayLike) -> NDArray[np.int64]:
        """Classes of shifts."""
        return _nearest(self.shifts, steps)

    def duration(self, steps: ArrayLike) -> NDArray[np.int64]:
        """Classes of durations."""
        return _nearest(self.durations, steps)

    def velocity(self, velocity: ArrayLike) -> NDArray[np.int64]:
        """Classes of velocities."""
        return _nearest(self.velocities, velocity)

    def timing(self, ticks: ArrayLike) -> NDArray[np.int64]:
        """Classes of timings."""
        return _nearest(self.timings, ticks)


def _nearest(values: tuple[int, ...], wanted: ArrayLike) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.searchsorted(_middles(values), np.asarray(wanted, float)).astype(np.int64)
    return found


@lru_cache(maxsize=16)
def _middles(values: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.array(values)
    middles: NDArray[np.float64] = (array[1:] + array[:-1]) / 2
    return middles


SPELLING = Spelling(
    shifts=tuple(range(97)),
    durations=(*range(1, 13), 14, 15, 16, 18, 20, 21, 24, 27, 30, 33, 36, 42, 48, 60, 72, 84, 96),
    velocities=tuple(range(4, 128, 8)),
    timings=(-17, -12, -8, -4, 0, 4, 8, 12, 17),
)


def context_of(attributes: ArrayLike, groove: ArrayLike, classes: ArrayLike) -> NDArray[np.float32]:
    """Context vectors of loops, shape (loops, `CONTEXT`).

    Args:
        attributes: as in `rtgen.music.attributes`, shape (loops, 6).
        groove: share of the notes at each sixteenth of the bar, shape (loops, 16).
        classes: share of each pitch class, shape (loops, 12).
    """
    values = (np.asarray(attributes, np.float32) - _MEAN) / _SD
    known = np.ones((len(values), 1), np.float32)
    return np.concatenate([np.clip(values, -4, 4), groove, classes, known], axis=1, dtype=np.float32)


@lru_cache(maxsize=64)
def known_of(loop: Loop, up: int, grid: Grid) -> NDArray[np.float32]:
    """Context of a loop with notes, transposed by `up`; as in `context_of`, shape (`CONTEXT`)."""
    lifted = loop.with_notes(Note(n.onset, within(n.pitch + up, grid), n.duration, n.velocity) for n in loop.notes)
    struck, lasts = [0] * SIXTEENTHS, [0] * CLASSES
    for n in lifted.notes:
        struck[round(n.onset % loop.bar / TICKS_PER_SIXTEENTH) % SIXTEENTHS] += 1
        lasts[n.pitch % CLASSES] += n.duration
    groove, classes = (np.array(each, float) / max(sum(each), 1) for each in (struck, lasts))
    known = context_of([list(measure(lifted).values())], [groove], [classes])
    return known.reshape(-1)


def within(pitch: int, grid: Grid) -> int:
    """The nearest pitch of the same pitch class within the grid (or its end, if it has none)."""
    while pitch < grid.pitch_low:
        pitch += 12
    while pitch > grid.pitch_high:
        pitch -= 12
    return max(pitch, grid.pitch_low)
