"""Loops become tasks: music as it was meant, and the same music damaged as hands and cables damage it.

Everything works on the flat notes of many loops at once (`dataset.Notes`: loop, onset, pitch, duration, velocity) and
draws from a generator, so a batch is a function of its seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtgen.music.time import PPQN, Grid
from train.dataset import Loops, Notes
from train.sources.piece import BAR, EARLY

LOOP, ONSET, PITCH, DURATION, VELOCITY = range(5)
GRID = Grid()
UNKNOWN = -1.0
"""The damage condition's default: the model is to judge for itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Some loops of one length, to make a task of.

    Args:
        notes: flat; column 0 counts the loops from 0.
        count: loops.
        length: ticks of each.
        bar: ticks of a bar.
        filled: ticks of each that are music, the rest being padding; shape (count).
        tempos: BPM of each, likewise.
        indices: of each in the `Loops` that it comes from, likewise.
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
        """Some of `loops`, as they are."""
        notes, filled, tempos = loops.take(indices), loops.filled[indices], loops.tempos[indices]
        return cls(notes, len(indices), loops.length, int(loops.bars[0]), filled, tempos, indices)

    def with_notes(self, notes: Notes) -> Sample:
        """The same loops with other notes, which are put in order by loop."""
        return replace(self, notes=notes[np.argsort(notes[:, LOOP], kind="stable")])


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How loops are varied before anything is made of them; each switch is off by default.

    Args:
        transpose: by -5 to +6 semitones.
        shift: begin elsewhere, by bars or quarters, wrapping round.
        velocity: .7 to 1.2 times as loud.
    """

    transpose: bool = False
    shift: bool = False
    velocity: bool = False

    def apply(self, sample: Sample, rng: Generator) -> Sample:
        """`sample`, varied."""
        notes, count = sample.notes, sample.count
        if self.transpose:
            notes = transpose(notes, count, rng)
        if self.shift:
            notes = rotate(notes, count, sample.length, rng)
        if self.velocity:
            notes = scale_velocity(notes, count, rng)
        return sample.with_notes(notes)


@dataclass(frozen=True, slots=True)
class Rates:
    """How often each kind of damage befalls a note; extra notes come beside the played ones.

    The defaults leave an untouched loop with a note F1 of about .69 against what was meant.
    """

    missed: float = 0.08
    moved: float = 0.10
    slipped: float = 0.08
    split: float = 0.06
    length: float = 0.06
    extra: float = 0.15

    def per_note(self) -> NDArray[np.float64]:
        """Upper edges of the shares of the fates missed, moved, slipped, split, length; shape (5)."""
        return np.cumsum([self.missed, self.moved, self.slipped, self.split, self.length])


EVALUATION = Rates()
EVALUATION_DAMAGE = 0.52
"""Leaves POP909 with the note F1 of .69 that earlier measurements began from; .5 stands for the rates as they are."""


def transpose(notes: Notes, count: int, rng: Generator, grid: Grid = GRID) -> Notes:
    """Each loop moved by -5 to +6 semitones; left where it is if a note would leave the grid."""
    low, high = np.full(count, 127), np.zeros(count, int)
    np.minimum.at(low, notes[:, LOOP], notes[:, PITCH])
    np.maximum.at(high, notes[:, LOOP], notes[:, PITCH])
    shift = rng.integers(-5, 7, count)
    shift[(low + shift < grid.pitch_low) | (high + shift > grid.pitch_high)] = 0
    return _with(notes, PITCH, notes[:, PITCH] + shift[notes[:, LOOP]])


def rotate(notes: Notes, count: int, length: int, rng: Generator) -> Notes:
    """Loops begun elsewhere: half of them by whole bars, a quarter by quarters, wrapping round.

    A note that would sound over the end is ended there, as in a loop that was captured so.
    """
    kind = rng.random(count)
    bars = rng.integers(0, length // BAR, count) * BAR
    quarters = rng.integers(0, length // PPQN, count) * PPQN
    shift = np.where(kind < 0.5, bars, np.where(kind < 0.75, quarters, 0))
    onset = (notes[:, ONSET] + shift[notes[:, LOOP]] + EARLY) % length - EARLY
    moved = _with(notes, ONSET, onset)
    return _with(moved, DURATION, np.minimum(moved[:, DURATION], length - onset))


def scale_velocity(notes: Notes, count: int, rng: Generator) -> Notes:
    """Each loop between .7 and 1.2 times as loud."""
    scaled = np.rint(notes[:, VELOCITY] * rng.uniform(0.7, 1.2, count)[notes[:, LOOP]])
    return _with(notes, VELOCITY, np.clip(scaled, 1, 127))


def humanise(notes: Notes, count: int, damage: NDArray[np.float64], length: int, rng: Generator) -> Notes:
    """Onsets off by a normal deviate of up to 12 ticks times `damage` (shape (count)), the ends unmoved."""
    spread = (rng.uniform(0, 12, count) * damage)[notes[:, LOOP]]
    onset = np.rint(notes[:, ONSET] + rng.normal(0, 1, len(notes)) * spread)
    onset = np.clip(onset, np.minimum(notes[:, ONSET], 0), length - 1).astype(np.int32)
    ends = notes[:, ONSET] + notes[:, DURATION]
    return _with(_with(notes, ONSET, onset), DURATION, np.maximum(ends - onset, 1))


def corrupt(
    notes: Notes,
    damage: NDArray[np.float64],
    length: int,
    rng: Generator,
    rates: Rates = EVALUATION,
    grid: Grid = GRID,
) -> Notes:
    """Damages notes: missed, moved, slipped to a neighbour pitch, split, of wrong length; and adds extra ones.

    Args:
        notes: the music as meant.
        damage: by loop, 0 (none; such loops come back unchanged) to 1 (twice `rates`), shape (loops).
        length: ticks of each loop.
        rng: what draws.
        rates: of each kind, a note, at a damage of one half.
        grid: pitches stay in it, and its step is the unit of moves.
    """
    strength = 2 * damage[notes[:, LOOP]]
    fate = np.searchsorted(rates.per_note(), rng.random(len(notes)) / np.maximum(strength, 1e-9), side="right")
    damaged = notes[fate != 0]
    fate = fate[fate != 0]
    _move(damaged, fate == 1, length, rng, grid)
    _slip(damaged, fate == 2, rng, grid)
    halves = _split(damaged, fate == 3, rng, grid)
    _misjudge_length(damaged, fate == 4, length, rng, grid)
    extra = _extra(notes, rates.extra * strength, length, rng, grid)
    return np.concatenate([damaged, halves, extra])


def _move(notes: Notes, which: NDArray[np.bool_], length: int, rng: Generator, grid: Grid) -> None:
    """In place: onsets one to three steps early or late; the duration goes along, up to the loop's end."""
    n = int(which.sum())
    steps = rng.choice([1, 2, 3], n, p=[0.5, 0.3, 0.2]) * rng.choice([-1, 1], n)
    onset = notes[which, ONSET] + steps * grid.step
    # A note that would fall out of the loop goes the other way.
    outside = (onset < -EARLY) | (onset >= length - EARLY)
    onset = np.where(outside, notes[which, ONSET] - steps * grid.step, onset)
    notes[which, ONSET] = onset
    notes[which, DURATION] = np.minimum(notes[which, DURATION], length - onset)


def _slip(notes: Notes, which: NDArray[np.bool_], rng: Generator, grid: Grid) -> None:
    """In place: the wrong key, one or two semitones beside the right one."""
    n = int(which.sum())
    interval = rng.choice([1, 2], n, p=[0.6, 0.4]) * rng.choice([-1, 1], n)
    pitch = notes[which, PITCH] + interval
    outside = (pitch < grid.pitch_low) | (pitch > grid.pitch_high)
    notes[which, PITCH] = np.where(outside, pitch - 2 * interval, pitch)


def _split(notes: Notes, which: NDArray[np.bool_], rng: Generator, grid: Grid) -> Notes:
    """In place: notes of two steps or more end early; returned: what struck again in their stead."""
    which = which & (notes[:, DURATION] >= 2 * grid.step)
    second = notes[which].copy()
    first = rng.integers(1, second[:, DURATION] // grid.step) * grid.step
    notes[which, DURATION] = first
    second[:, ONSET] += first
    second[:, DURATION] -= first
    second[:, VELOCITY] = np.clip(np.rint(second[:, VELOCITY] * rng.uniform(0.7, 1.1, len(second))), 1, 127)
    return second


def _misjudge_length(notes: Notes, which: NDArray[np.bool_], length: int, rng: Generator, grid: Grid) -> None:
    """In place: durations .2 to .6 or 1.6 to 3 times as long, at least a step off."""
    n = int(which.sum())
    factor = np.where(rng.random(n) < 0.5, rng.uniform(0.2, 0.6, n), rng.uniform(1.6, 3, n))
    duration = np.maximum(np.rint(notes[which, DURATION] * factor), grid.step // 2)
    notes[which, DURATION] = np.minimum(duration, length - notes[which, ONSET])


def _extra(notes: Notes, rate: NDArray[np.float64], length: int, rng: Generator, grid: Grid) -> Notes:
    """Notes nobody meant, each drawn after a note of its loop: beside it in pitch, or somewhere else in time."""
    extra = notes[rng.random(len(notes)) < rate].copy()
    n = len(extra)
    beside = rng.random(n) < 0.5
    near = rng.choice([-2, -1, 1, 2], n)
    far = rng.integers(-12, 13, n)
    extra[:, PITCH] = np.clip(extra[:, PITCH] + np.where(beside, near, far), grid.pitch_low, grid.pitch_high)
    late = extra[:, ONSET] + rng.integers(-1, 2, n) * grid.step
    # Half of the others fall on the sixteenths, where they are hardest to tell from music.
    unit = np.where(rng.random(n) < 0.5, PPQN // 4, grid.step)
    elsewhere = rng.integers(0, length // unit) * unit
    extra[:, ONSET] = np.clip(np.where(beside, late, elsewhere), 0, length - grid.step)
    extra[:, DURATION] = np.minimum(extra[:, DURATION], length - extra[:, ONSET])
    extra[:, VELOCITY] = np.clip(np.rint(extra[:, VELOCITY] * rng.uniform(0.5, 1.1, n)), 1, 127)
    return extra


def _with(notes: Notes, column: int, values: NDArray[np.generic]) -> Notes:
    changed = notes.copy()
    changed[:, column] = values
    return changed
