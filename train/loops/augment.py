"""Loops are varied before anything is made of them, so that there is more to learn from than was recorded."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtgen.music.time import PPQN
from train.loops.sample import DURATION, GRID, LOOP, ONSET, PITCH, VELOCITY, Sample, changed
from train.prepare.sources.piece import EARLY

PLAIN_TEMPO = 120.0
"""BPM at which a second is two beats long."""
_LIMITS = {"double_below": 100.0, "dynamics": 1.0}


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How loops are varied; with the defaults they stay as they are.

    What befalls only what a denoiser hears (`train.loops.corrupt`) is a setting of its architecture.

    Args:
        ignore_tempo: a beat is as long at every tempo. Otherwise times are as in seconds: a slow loop is drawn out, and
            what then lies behind the end is left out.
        repeat: the padding of a partly filled loop becomes its own repetition.
        double_below: notes a beat; loops with fewer are played twice, at double speed. 0: none is.
        shift: begin a quarter, a half or three quarters of the loop later, wrapping round; where a bar has no half of
            whole beats, as in 3/4, whole bars later.
        quantise: to 12 a beat.
        transpose: by -5 to +6 semitones.
        velocity: .7 to 1.2 times as loud.
        dynamics: 0-1, how strongly beats are accented, loud and soft drawn apart or together, and hits made uneven.

    Raises:
        ValueError: a value is of the wrong kind or out of range.
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
        """`sample`, varied."""
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
    """Times as at 120 BPM: a loop of 60 BPM takes twice as long and is ended in its middle, one of 240 fills half."""
    factor = PLAIN_TEMPO / sample.tempos.astype(float)
    notes, length = sample.notes, sample.length
    each = factor[notes[:, LOOP]]
    onset = np.maximum(np.rint(notes[:, ONSET] * each), -EARLY).astype(np.int32)
    end = np.rint((notes[:, ONSET] + notes[:, DURATION]) * each).astype(np.int32)
    # As where loops are cut: what comes just before the end belongs to the downbeat after it.
    kept = (onset < length - EARLY) | (each <= 1)
    onset = np.minimum(onset, length - 1)
    duration = np.maximum(np.minimum(end, length) - onset, 1)
    sample = sample.with_notes(changed(notes, {ONSET: onset, DURATION: duration})[kept])
    filled = np.minimum(np.rint(sample.filled * factor), length).astype(np.int32)
    return replace(sample, filled=filled, tempos=np.full_like(sample.tempos, PLAIN_TEMPO))


def repeat(sample: Sample) -> Sample:
    """Loops with padding played again from the next bar on, or from the next beat if there is no other bar."""
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
    """Loops with fewer than `below` notes a beat, played twice at double speed; those with padding stay."""
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
    """Loops begun later by quarters of the loop, wrapping round; those with padding stay.

    A quarter that is no multiple of half a bar, or of a bar that has no half of whole beats, is less by what is over: a
    downbeat stays on a strong beat. What sounds over the end goes on at the beginning, where it is struck again.

    Args:
        sample: the loops.
        quarters: of each, shape (count).
    """
    length, notes = sample.length, sample.notes
    unit = sample.bar // 2 if sample.bar % (2 * PPQN) == 0 else sample.bar
    shift = np.where(sample.whole, length * quarters // (4 * unit) * unit, 0)[notes[:, LOOP]]
    onset = (notes[:, ONSET] + shift + EARLY) % length - EARLY
    over = onset + notes[:, DURATION] - length
    turned = changed(notes, {ONSET: onset, DURATION: np.minimum(notes[:, DURATION], length - onset)})
    # Less than half a step is no more than a late finger.
    tails = changed(notes, {ONSET: np.zeros_like(onset), DURATION: over})[over > GRID.step // 2]
    return sample.with_notes(np.concatenate([turned, tails]))


def quantise(sample: Sample) -> Sample:
    """Onsets and ends on the nearest of 12 steps a beat, as a roll shows them; a note has at least one step."""
    notes, step = sample.notes, GRID.step
    onset = np.clip(np.rint(notes[:, ONSET] / step) * step, 0, sample.length - step)
    end = np.clip(np.rint((notes[:, ONSET] + notes[:, DURATION]) / step) * step, onset + step, sample.length)
    return sample.with_notes(changed(notes, {ONSET: onset, DURATION: end - onset}))


# ---- pitch -----------------------------------------------------------------------------------------------------------


def transpose(sample: Sample, rng: Generator) -> Sample:
    """Each loop moved by -5 to +6 semitones; left where it is if a note would leave the grid."""
    notes, count = sample.notes, sample.count
    low, high = np.full(count, 127), np.zeros(count, int)
    np.minimum.at(low, notes[:, LOOP], notes[:, PITCH])
    np.maximum.at(high, notes[:, LOOP], notes[:, PITCH])
    shift = rng.integers(-5, 7, count)
    shift[(low + shift < GRID.pitch_low) | (high + shift > GRID.pitch_high)] = 0
    return sample.with_notes(changed(notes, {PITCH: notes[:, PITCH] + shift[notes[:, LOOP]]}))


# ---- velocity --------------------------------------------------------------------------------------------------------


def scale_velocity(sample: Sample, rng: Generator) -> Sample:
    """Each loop between .7 and 1.2 times as loud."""
    factor = rng.uniform(0.7, 1.2, sample.count)[sample.notes[:, LOOP]]
    return _with_velocity(sample, sample.notes[:, VELOCITY] * factor)


def shape_dynamics(sample: Sample, most: float, rng: Generator) -> Sample:
    """Beats accented, contrast raised or lowered and hits made uneven, by loop, each by a draw up to `most` (0-1)."""
    contrast = 2 ** rng.uniform(-most, most, sample.count)
    accents, unevenness = rng.uniform(0, most, (2, sample.count))
    sample = accent(scale_contrast(sample, contrast), accents)
    return jitter_velocity(sample, 16 * unevenness, rng)


def accent(sample: Sample, amount: NDArray[np.float64]) -> Sample:
    """Notes on a downbeat louder by `amount` (shape (count)), on another beat by half of it, all others softer."""
    step = np.rint(sample.notes[:, ONSET] / GRID.step).astype(int) * GRID.step
    weight = np.where(step % sample.bar == 0, 1.0, np.where(step % PPQN == 0, 0.5, -0.25))
    return _with_velocity(sample, sample.notes[:, VELOCITY] * (1 + weight * amount[sample.notes[:, LOOP]]))


def scale_contrast(sample: Sample, factor: NDArray[np.float64]) -> Sample:
    """Velocities `factor` (shape (count)) times as far from the mean of their loop."""
    loop, velocity = sample.notes[:, LOOP], sample.notes[:, VELOCITY]
    notes = np.maximum(np.bincount(loop, minlength=sample.count), 1)
    mean = (np.bincount(loop, velocity, sample.count) / notes)[loop]
    return _with_velocity(sample, mean + (velocity - mean) * factor[loop])


def jitter_velocity(sample: Sample, spread: NDArray[np.float64], rng: Generator) -> Sample:
    """Velocities off by a normal deviate times `spread` (shape (count))."""
    off = rng.normal(0, 1, len(sample.notes)) * spread[sample.notes[:, LOOP]]
    return _with_velocity(sample, sample.notes[:, VELOCITY] + off)


def _with_velocity(sample: Sample, velocity: NDArray[np.float64]) -> Sample:
    return sample.with_notes(changed(sample.notes, {VELOCITY: np.clip(np.rint(velocity), 1, 127)}))
