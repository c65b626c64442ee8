"""Notes as a continuer reads them: their spelling as classes, and the context beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtgen.music.attributes import MEAN, NAMES, SD, measure
from rtgen.music.note import Loop
from rtgen.music.time import TICKS_PER_SIXTEENTH, Grid

LAGS = (1, 2, 4)
"""Bars ago: the model sees the onsets there."""
WINDOW = 192
"""Steps before a note whose onsets the model sees."""
SIXTEENTHS, CLASSES = 16, 12
CONTEXT = len(NAMES) + SIXTEENTHS + CLASSES + 1
"""Size of the context, which describes the loop before: attributes, groove, pitch classes, and 1 as a flag that it is
known."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """Available shifts, durations and velocities, by class; other values are rounded to the nearest.

    Args:
        shifts: steps from one onset to the next, rising.
        durations: steps, rising.
        velocities: 1-127, rising.
    """

    shifts: tuple[int, ...]
    durations: tuple[int, ...]
    velocities: tuple[int, ...]

    def shift(self, steps: ArrayLike) -> NDArray[np.int64]:
        """Classes of shifts."""
        return _nearest(self.shifts, steps)

    def duration(self, steps: ArrayLike) -> NDArray[np.int64]:
        """Classes of durations."""
        return _nearest(self.durations, steps)

    def velocity(self, velocity: ArrayLike) -> NDArray[np.int64]:
        """Classes of velocities."""
        return _nearest(self.velocities, velocity)


def _nearest(values: tuple[int, ...], wanted: ArrayLike) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.searchsorted(_middles(values), np.asarray(wanted, float)).astype(np.int64)
    return found


@lru_cache(maxsize=16)
def _middles(values: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.array(values)
    middles: NDArray[np.float64] = (array[1:] + array[:-1]) / 2
    return middles


SPELLING = Spelling(
    shifts=(*range(49), 60, 72, 84, 96),
    durations=(*range(1, 13), 14, 15, 16, 18, 20, 21, 24, 27, 30, 33, 36, 42, 48, 60, 72, 84, 96),
    velocities=tuple(range(4, 128, 8)),
)


def context_of(attributes: ArrayLike, groove: ArrayLike, classes: ArrayLike) -> NDArray[np.float32]:
    """Context vectors of loops, shape (loops, `CONTEXT`).

    Args:
        attributes: as in `rtgen.music.attributes`, shape (loops, 6).
        groove: share of the notes at each sixteenth of the bar, shape (loops, 16).
        classes: share of each pitch class, shape (loops, 12).
    """
    values = (np.asarray(attributes, np.float32) - np.array(MEAN, np.float32)) / np.array(SD, np.float32)
    known = np.ones((len(values), 1), np.float32)
    return np.concatenate([np.clip(values, -4, 4), groove, classes, known], axis=1, dtype=np.float32)


# ---- model input ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """Consecutive loops as model input: notes ordered by onset, then pitch.

    Args:
        step: onset of each note, from the beginning of the first loop; shape (notes).
        note: classes of shift, pitch, duration and velocity, shape (notes, 4).
        place: step within the bar, and steps per bar, shape (notes, 2).
        context: context of the loop before the note's, zeros in the first; shape (notes, `CONTEXT`).
        ahead: context of the last loop, for its continuation; shape (`CONTEXT`).
        last: number of notes in the last loop.
        end: step at which the last loop ends.
    """

    step: NDArray[np.int64]
    note: NDArray[np.int64]
    place: NDArray[np.float32]
    context: NDArray[np.float32]
    ahead: NDArray[np.float32]
    last: int
    end: int

    def rows(self) -> NDArray[np.float64]:
        """All values of each note, for comparison; shape (notes, numbers)."""
        return np.concatenate([self.step[:, None], self.note, self.place, self.context], axis=1, dtype=np.float64)

    def struck(self, pitches: int, room: int = 0) -> NDArray[np.float32]:
        """Duration class plus 1 at each onset: shape (pitches, `WINDOW` + steps + `room`).

        The `WINDOW` + 1 columns from a step on are the past of a note struck at that step.
        """
        columns = np.zeros((pitches, WINDOW + self.end + room), np.float32)
        columns[self.note[:, 1], WINDOW + self.step] = self.note[:, 2] + 1
        return columns


def tell(loops: Sequence[Loop], up: int, spelling: Spelling, grid: Grid, known: int = 2**30) -> Told:
    """Encodes loops as model input.

    Args:
        loops: what was played, oldest first.
        up: semitones from their key to C major or A minor; pitches outside the grid are moved by octaves.
        spelling: note classes.
        grid: steps and pitches.
        known: only this many notes at the end get a context; the others are not heard.

    Raises:
        ValueError: a loop is not a whole number of steps long.
    """
    parts = [_spelt(loop, up, spelling, grid) for loop in loops]
    counts = np.array([len(part) for part in parts])
    lengths = np.array([grid.steps(loop.length) for loop in loops])
    bars = np.array([loop.bar / grid.step for loop in loops])
    of = np.repeat(np.arange(len(loops)), counts)
    rows = np.concatenate(parts)
    step = rows[:, 0] + (np.cumsum(lengths) - lengths)[of]
    note = np.concatenate([spelling.shift(np.diff(step, prepend=step[:1]))[:, None], rows[:, 1:]], axis=1)
    place = np.stack([rows[:, 0] % bars[of], bars[of]], axis=1).astype(np.float32)
    # Notes that are not heard need no context.
    heard = np.cumsum(counts[::-1])[::-1] - counts < known
    contexts = np.zeros((len(loops) + 1, CONTEXT), np.float32)
    for i in np.flatnonzero(heard).tolist():
        if i and loops[i - 1].notes:
            contexts[i] = known_of(loops[i - 1], up, grid)
    contexts[-1] = known_of(loops[-1], up, grid)
    return Told(step, note, place, contexts[of], contexts[-1], int(counts[-1]), int(lengths.sum()))


@lru_cache(maxsize=64)
def _spelt(loop: Loop, up: int, spelling: Spelling, grid: Grid) -> NDArray[np.int64]:
    """Notes of a loop: step, and classes of pitch, duration and velocity; the first of coinciding notes."""
    steps = grid.steps(loop.length)
    rows: dict[tuple[int, int], tuple[int, int]] = {}
    for n in loop.notes:
        cell = grid.column(n.onset, steps), within(n.pitch + up, grid) - grid.pitch_low
        rows.setdefault(cell, (round(n.duration / grid.step), n.velocity))
    found = np.array([(*cell, *rest) for cell, rest in sorted(rows.items())], np.int64).reshape(-1, 4)
    found[:, 2], found[:, 3] = spelling.duration(found[:, 2]), spelling.velocity(found[:, 3])
    return found


@lru_cache(maxsize=64)
def known_of(loop: Loop, up: int, grid: Grid) -> NDArray[np.float32]:
    """Context of a loop with notes, transposed by `up`; as in `context_of`, shape (`CONTEXT`)."""
    lifted = loop.with_notes(replace(n, pitch=within(n.pitch + up, grid)) for n in loop.notes)
    groove, classes = np.zeros(SIXTEENTHS), np.zeros(CLASSES)
    for n in lifted.notes:
        groove[round(n.onset % loop.bar / TICKS_PER_SIXTEENTH) % SIXTEENTHS] += 1
        classes[n.pitch % CLASSES] += n.duration
    attributes = [list(measure(lifted).values())]
    known = context_of(attributes, [groove / max(groove.sum(), 1)], [classes / max(classes.sum(), 1)])
    return known.reshape(-1)


def within(pitch: int, grid: Grid) -> int:
    """The nearest pitch of the same pitch class within the grid (or its end, if it has none)."""
    while pitch < grid.pitch_low:
        pitch += 12
    while pitch > grid.pitch_high:
        pitch -= 12
    return max(pitch, grid.pitch_low)
