"""Notes as a model reads them that says one after the other: how they are spelt, and what is known beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtgen.music.attributes import NAMES

LAGS = (1, 2, 4)
"""Bars ago: a model is told what was struck then."""
SIXTEENTHS, CLASSES = 16, 12
CONTEXT = len(NAMES) + SIXTEENTHS + CLASSES + 1
"""Numbers that tell what two bars were like: attributes, groove, pitch classes, and 1 as a sign that they are known."""
_MEAN = np.array([3.0, 63.0, 1.8, -0.4, 0.08, 88.0], np.float32)
_SD = np.array([2.0, 8.0, 1.0, 0.8, 0.14, 14.0], np.float32)
"""About the mean and the standard deviation of each attribute in music, so that a network sees small numbers."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """Which shifts, durations and velocities there are, by class; others are told by the nearest.

    Args:
        shifts: steps from one onset to the next, rising.
        durations: steps, rising.
        velocities: 1-127, rising.
    """

    shifts: tuple[int, ...]
    durations: tuple[int, ...]
    velocities: tuple[int, ...]

    def shift(self, steps: ArrayLike) -> NDArray[np.int64]:
        """The classes of shifts."""
        return _nearest(self.shifts, steps)

    def duration(self, steps: ArrayLike) -> NDArray[np.int64]:
        """The classes of durations."""
        return _nearest(self.durations, steps)

    def velocity(self, velocity: ArrayLike) -> NDArray[np.int64]:
        """The classes of velocities."""
        return _nearest(self.velocities, velocity)


def _nearest(values: tuple[int, ...], wanted: ArrayLike) -> NDArray[np.int64]:
    array = np.array(values)
    middles = (array[1:] + array[:-1]) / 2
    found: NDArray[np.int64] = np.searchsorted(middles, np.asarray(wanted, float)).astype(np.int64)
    return found


SPELLING = Spelling(
    shifts=(*range(49), 60, 72, 84, 96),
    durations=(*range(1, 13), 14, 15, 16, 18, 20, 21, 24, 27, 30, 33, 36, 42, 48, 60, 72, 84, 96),
    velocities=tuple(range(4, 128, 8)),
)


def context_of(attributes: ArrayLike, groove: ArrayLike, classes: ArrayLike) -> NDArray[np.float32]:
    """What is known of loops as a model reads it, shape (loops, `CONTEXT`).

    Args:
        attributes: as `rtgen.music.attributes` has them, shape (loops, 6).
        groove: share of the notes that each sixteenth of the bar has, shape (loops, 16).
        classes: share of each pitch class, shape (loops, 12).
    """
    values = (np.asarray(attributes, np.float32) - _MEAN) / _SD
    known = np.ones((len(values), 1), np.float32)
    return np.concatenate([np.clip(values, -4, 4), groove, classes, known], axis=1, dtype=np.float32)
