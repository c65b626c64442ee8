"""Damages loops for denoising: missed, moved, wrong and extra notes, timing jitter, pixel noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtgen.music.time import PPQN, Grid
from train.loops.dataset import Notes
from train.loops.sample import DURATION, GRID, LOOP, ONSET, PITCH, VELOCITY, changed
from train.prepare.sources.piece import EARLY

UNKNOWN = -1.0
"""Default of the damage condition: the model estimates the damage itself."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Probability of each kind of damage per note; extra notes are added to the played ones.

    With the defaults, damaged loops have a note F1 of about .69 against the originals.
    """

    missed: float = 0.08
    moved: float = 0.10
    slipped: float = 0.08
    split: float = 0.06
    length: float = 0.06
    extra: float = 0.15

    def per_note(self) -> NDArray[np.float64]:
        """Cumulative rates of missed, moved, slipped, split and length; shape (5)."""
        return np.cumsum([self.missed, self.moved, self.slipped, self.split, self.length])


EVALUATION = Rates()
EVALUATION_DAMAGE = 0.52
"""Gives POP909 the note F1 of .69 that earlier measurements started from; .5 applies the rates unchanged."""


def humanise(notes: Notes, count: int, damage: NDArray[np.float64], length: int, rng: Generator) -> Notes:
    """Adds normal jitter of up to 12 ticks (standard deviation) times `damage` (shape (count)) to onsets, not ends."""
    spread = (rng.uniform(0, 12, count) * damage)[notes[:, LOOP]]
    onset = np.rint(notes[:, ONSET] + rng.normal(0, 1, len(notes)) * spread)
    onset = np.clip(onset, np.minimum(notes[:, ONSET], 0), length - 1).astype(np.int32)
    ends = notes[:, ONSET] + notes[:, DURATION]
    return changed(notes, {ONSET: onset, DURATION: np.maximum(ends - onset, 1)})


def corrupt(
    notes: Notes,
    damage: NDArray[np.float64],
    length: int,
    rng: Generator,
    rates: Rates = EVALUATION,
    grid: Grid = GRID,
) -> Notes:
    """Damages notes (missed, moved, slipped to a neighbouring pitch, split, of wrong length) and adds extra ones.

    Args:
        notes: the original notes.
        damage: per loop, 0 (unchanged) to 1 (twice `rates`), shape (loops).
        length: ticks per loop.
        rng: random generator.
        rates: probabilities per note at a damage of 0.5.
        grid: pitches stay within it, and its step is the unit of moves.
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
    """Moves onsets by one to three steps, in place; durations are kept, up to the loop's end."""
    n = int(which.sum())
    steps = rng.choice([1, 2, 3], n, p=[0.5, 0.3, 0.2]) * rng.choice([-1, 1], n)
    onset = notes[which, ONSET] + steps * grid.step
    # A note that would leave the loop moves the other way.
    outside = (onset < -EARLY) | (onset >= length - EARLY)
    onset = np.where(outside, notes[which, ONSET] - steps * grid.step, onset)
    notes[which, ONSET] = onset
    notes[which, DURATION] = np.minimum(notes[which, DURATION], length - onset)


def _slip(notes: Notes, which: NDArray[np.bool_], rng: Generator, grid: Grid) -> None:
    """Moves pitches by one or two semitones, in place, as if a neighbouring key was hit."""
    n = int(which.sum())
    interval = rng.choice([1, 2], n, p=[0.6, 0.4]) * rng.choice([-1, 1], n)
    pitch = notes[which, PITCH] + interval
    outside = (pitch < grid.pitch_low) | (pitch > grid.pitch_high)
    notes[which, PITCH] = np.where(outside, pitch - 2 * interval, pitch)


def _split(notes: Notes, which: NDArray[np.bool_], rng: Generator, grid: Grid) -> Notes:
    """Splits notes of two or more steps: shortens them in place and returns the repeated notes that follow."""
    which = which & (notes[:, DURATION] >= 2 * grid.step)
    second = notes[which].copy()
    first = rng.integers(1, second[:, DURATION] // grid.step) * grid.step
    notes[which, DURATION] = first
    second[:, ONSET] += first
    second[:, DURATION] -= first
    second[:, VELOCITY] = np.clip(np.rint(second[:, VELOCITY] * rng.uniform(0.7, 1.1, len(second))), 1, 127)
    return second


def _misjudge_length(notes: Notes, which: NDArray[np.bool_], length: int, rng: Generator, grid: Grid) -> None:
    """Scales durations by 0.2 to 0.6 or 1.6 to 3, in place; they last at least half a step."""
    n = int(which.sum())
    factor = np.where(rng.random(n) < 0.5, rng.uniform(0.2, 0.6, n), rng.uniform(1.6, 3, n))
    duration = np.maximum(np.rint(notes[which, DURATION] * factor), grid.step // 2)
    notes[which, DURATION] = np.minimum(duration, length - notes[which, ONSET])


def _extra(notes: Notes, rate: NDArray[np.float64], length: int, rng: Generator, grid: Grid) -> Notes:
    """Draws extra notes, each modelled on a note of its loop: next to it, or elsewhere in pitch and time."""
    extra = notes[rng.random(len(notes)) < rate].copy()
    n = len(extra)
    beside = rng.random(n) < 0.5
    near = rng.choice([-2, -1, 1, 2], n)
    far = rng.integers(-12, 13, n)
    extra[:, PITCH] = np.clip(extra[:, PITCH] + np.where(beside, near, far), grid.pitch_low, grid.pitch_high)
    late = extra[:, ONSET] + rng.integers(-1, 2, n) * grid.step
    # Half of those elsewhere fall on sixteenths, where they are hardest to tell from music.
    unit = np.where(rng.random(n) < 0.5, PPQN // 4, grid.step)
    elsewhere = rng.integers(0, length // unit) * unit
    extra[:, ONSET] = np.clip(np.where(beside, late, elsewhere), 0, length - grid.step)
    extra[:, DURATION] = np.minimum(extra[:, DURATION], length - extra[:, ONSET])
    extra[:, VELOCITY] = np.clip(np.rint(extra[:, VELOCITY] * rng.uniform(0.5, 1.1, n)), 1, 127)
    return extra


def noisy(pictures: NDArray[np.float32], factor: float, rng: Generator) -> NDArray[np.float32]:
    """Adds normal noise times `factor` to every pixel of pictures with values of 0-1, and clips them."""
    noise = rng.standard_normal(pictures.shape, np.float32)
    found: NDArray[np.float32] = np.clip(pictures + np.float32(factor) * noise, 0, 1)
    return found
