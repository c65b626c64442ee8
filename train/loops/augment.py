"""Data augmentation of loops: time, pitch and velocity."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtgen.music.time import PPQN
from train.loops.sample import DURATION, GRID, LOOP, ONSET, PITCH, VELOCITY, Sample, changed
from train.prepare.sources.piece import EARLY

PLAIN_TEMPO = 120.0
"""BPM that `in_seconds` brings all loops to; a second is two beats long."""
_LIMITS = {"double_below": 100.0, "dynamics": 1.0}


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Settings of the augmentation; the defaults change nothing.

    Damage to a denoiser's input alone (`train.loops.corrupt`) is a setting of its architecture.

    Args:
        ignore_tempo: a beat has the same length at every tempo. Otherwise times are in seconds: slow loops are
            stretched, and cut off at the loop's end.
        repeat: fill the padding of a partly filled loop by repetition.
        double_below: notes per beat; sparser loops are repeated at double speed. 0 disables this.
        shift: rotate by 0 to 3 quarters of the loop; by whole bars if half a bar is not a whole number of beats, as in
            3/4.
        quantise: to 12 steps per beat.
        transpose: by -5 to +6 semitones.
        velocity: scale by 0.7 to 1.2.
        dynamics: 0-1, strength of random accents on beats, of changes of contrast, and of uneven velocities.

    Raises:
        ValueError: a value has the wrong type or is out of range.
    """

    ignore_tempo: bool = True
    repeat: bool = False
    double_below: float = 0.0
    shift: bool = False
    quantise: bool = False
    transpose: bool = False
    velocity: bool = False
    dynamics: float = 0.0

    def __post_init__(self) -> None:
        for f in fields(self):
            value, limit = getattr(self, f.name), _LIMITS.get(f.name)
            if limit is None and type(value) is not bool:
                raise ValueError(f"{f.name} is {value!r}, not true or false")
            if limit is not None and (type(value) not in (int, float) or not 0 <= value <= limit):
                raise ValueError(f"{f.name} is {value!r}, not a number from 0 to {limit:g}")

    def apply(self, sample: Sample, rng: Generator) -> Sample:
        """Returns `sample` with the enabled augmentations applied."""
        if not self.ignore_tempo:
            sample = in_seconds(sample)
        if self.repeat:
            sample = repeat(sample)
        if self.double_below:
            sample = double(sample, self.double_below)
        if self.shift:
            sample = rotate(sample, rng.integers(0, 4, sample.count))
        if self.quantise:
            sample = quantise(sample)
        if self.transpose:
            sample = transpose(sample, rng)
        if self.velocity:
            sample = scale_velocity(sample, rng)
        if self.dynamics:
            sample = shape_dynamics(sample, self.dynamics, rng)
        return sample


# ---- time ------------------------------------------------------------------------------------------------------------


def in_seconds(sample: Sample) -> Sample:
    """Plays all loops as if at 120 BPM: one of 60 BPM is stretched and cut off in its middle, one of 240 fills half."""
    factor = PLAIN_TEMPO / sample.tempos.astype(float)
    notes, length = sample.notes, sample.length
    each = factor[notes[:, LOOP]]
    onset = np.maximum(np.rint(notes[:, ONSET] * each), -EARLY).astype(np.int32)
    end = np.rint((notes[:, ONSET] + notes[:, DURATION]) * each).astype(np.int32)
    # As when loops are cut, a note just before the end belongs to the next downbeat.
    kept = (onset < length - EARLY) | (each <= 1)
    onset = np.minimum(onset, length - 1)
    duration = np.maximum(np.minimum(end, length) - onset, 1)
    sample = sample.with_notes(changed(notes, {ONSET: onset, DURATION: duration})[kept])
    filled = np.minimum(np.rint(sample.filled * factor), length).astype(np.int32)
    return replace(sample, filled=filled, tempos=np.full_like(sample.tempos, PLAIN_TEMPO))


def repeat(sample: Sample) -> Sample:
    """Fills padding by repeating the loop from its next bar on, or from its next beat if there is no other bar."""
    length, notes = sample.length, sample.notes
    unit = np.where(sample.filled <= length - sample.bar, sample.bar, PPQN)
    period = -(-np.maximum(sample.filled, 1) // unit) * unit
    copies = [notes]
    for offset in range(1, -(-length // int(period.min(initial=length)))):
        later = notes[:, ONSET] + offset * period[notes[:, LOOP]]
        inside = later < length - EARLY
        duration = np.minimum(notes[:, DURATION], length - later)
        copies.append(changed(notes, {ONSET: later, DURATION: duration})[inside])
    filled = np.where(period < length, length, sample.filled).astype(np.int32)
    return replace(sample.with_notes(np.concatenate(copies)), filled=filled)


def double(sample: Sample, below: float) -> Sample:
    """Repeats loops with fewer than `below` notes per beat at double speed; loops with padding stay unchanged."""
    notes, half = sample.notes, sample.length // 2
    density = np.bincount(notes[:, LOOP], minlength=sample.count) * PPQN / sample.length
    sparse = ((density < below) & sample.whole)[notes[:, LOOP]]
    few = notes[sparse]
    onset = few[:, ONSET] // 2
    duration = np.maximum((few[:, ONSET] + few[:, DURATION]) // 2 - onset, 1)
    first = changed(few, {ONSET: onset, DURATION: duration})
    second = changed(first, {ONSET: onset + half})
    return sample.with_notes(np.concatenate([notes[~sparse], first, second]))


def rotate(sample: Sample, quarters: NDArray[np.int64]) -> Sample:
    """Rotates loops by quarters of their length; loops with padding stay unchanged.

    The shift is rounded down to half bars, or to whole bars if half a bar is not a whole number of beats, so that
    downbeats stay on strong beats. A note that crosses the end is split and struck again at the beginning.

    Args:
        sample: the loops.
        quarters: shift of each loop in quarters of its length, shape (count).
    """
    length, notes = sample.length, sample.notes
    unit = sample.bar // 2 if sample.bar % (2 * PPQN) == 0 else sample.bar
    shift = np.where(sample.whole, length * quarters // (4 * unit) * unit, 0)[notes[:, LOOP]]
    onset = (notes[:, ONSET] + shift + EARLY) % length - EARLY
    over = onset + notes[:, DURATION] - length
    turned = changed(notes, {ONSET: onset, DURATION: np.minimum(notes[:, DURATION], length - onset)})
    # A remainder of up to half a step is only a late release.
    tails = changed(notes, {ONSET: np.zeros_like(onset), DURATION: over})[over > GRID.step // 2]
    return sample.with_notes(np.concatenate([turned, tails]))


def quantise(sample: Sample) -> Sample:
    """Quantises onsets and ends to 12 steps per beat, as in a piano roll; notes last at least one step."""
    notes, step = sample.notes, GRID.step
    onset = np.clip(np.rint(notes[:, ONSET] / step) * step, 0, sample.length - step)
    end = np.clip(np.rint((notes[:, ONSET] + notes[:, DURATION]) / step) * step, onset + step, sample.length)
    return sample.with_notes(changed(notes, {ONSET: onset, DURATION: end - onset}))


# ---- pitch -----------------------------------------------------------------------------------------------------------


def transpose(sample: Sample, rng: Generator) -> Sample:
    """Transposes each loop by -5 to +6 semitones, or not at all if a note would leave the grid."""
    notes, count = sample.notes, sample.count
    low, high = np.full(count, 127), np.zeros(count, int)
    np.minimum.at(low, notes[:, LOOP], notes[:, PITCH])
    np.maximum.at(high, notes[:, LOOP], notes[:, PITCH])
    shift = rng.integers(-5, 7, count)
    shift[(low + shift < GRID.pitch_low) | (high + shift > GRID.pitch_high)] = 0
    return sample.with_notes(changed(notes, {PITCH: notes[:, PITCH] + shift[notes[:, LOOP]]}))


# ---- velocity --------------------------------------------------------------------------------------------------------


def scale_velocity(sample: Sample, rng: Generator) -> Sample:
    """Scales the velocities of each loop by 0.7 to 1.2."""
    factor = rng.uniform(0.7, 1.2, sample.count)[sample.notes[:, LOOP]]
    return _with_velocity(sample, sample.notes[:, VELOCITY] * factor)


def shape_dynamics(sample: Sample, most: float, rng: Generator) -> Sample:
    """Accents beats, changes the contrast and makes velocities uneven, per loop, each at random up to `most` (0-1)."""
    contrast = 2 ** rng.uniform(-most, most, sample.count)
    accents, unevenness = rng.uniform(0, most, (2, sample.count))
    sample = accent(scale_contrast(sample, contrast), accents)
    return jitter_velocity(sample, 16 * unevenness, rng)


def accent(sample: Sample, amount: NDArray[np.float64]) -> Sample:
    """Raises velocities on downbeats by `amount` (shape (count)) and on other beats by half of it; lowers others."""
    step = np.rint(sample.notes[:, ONSET] / GRID.step).astype(int) * GRID.step
    weight = np.where(step % sample.bar == 0, 1.0, np.where(step % PPQN == 0, 0.5, -0.25))
    return _with_velocity(sample, sample.notes[:, VELOCITY] * (1 + weight * amount[sample.notes[:, LOOP]]))


def scale_contrast(sample: Sample, factor: NDArray[np.float64]) -> Sample:
    """Scales the distance of velocities from the mean of their loop by `factor` (shape (count))."""
    loop, velocity = sample.notes[:, LOOP], sample.notes[:, VELOCITY]
    notes = np.maximum(np.bincount(loop, minlength=sample.count), 1)
    mean = (np.bincount(loop, velocity, sample.count) / notes)[loop]
    return _with_velocity(sample, mean + (velocity - mean) * factor[loop])


def jitter_velocity(sample: Sample, spread: NDArray[np.float64], rng: Generator) -> Sample:
    """Adds normal noise with the standard deviation `spread` (shape (count)) to velocities."""
    off = rng.normal(0, 1, len(sample.notes)) * spread[sample.notes[:, LOOP]]
    return _with_velocity(sample, sample.notes[:, VELOCITY] + off)


def _with_velocity(sample: Sample, velocity: NDArray[np.float64]) -> Sample:
    return sample.with_notes(changed(sample.notes, {VELOCITY: np.clip(np.rint(velocity), 1, 127)}))
