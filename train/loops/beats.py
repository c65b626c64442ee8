"""Training tasks of a drummer: humanising a stiff beat, making a beat from a tapped rhythm, and in-filling."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtgen.music.drums import GENERAL_MIDI, TAP
from rtgen.music.time import Grid
from train.loops import batch
from train.loops.augment import rotate
from train.loops.batch import Batch
from train.loops.corrupt import UNKNOWN, Rates, corrupt
from train.loops.dataset import Notes
from train.loops.sample import GRID, LOOP, ONSET, PITCH, VELOCITY, Sample, changed

KINDS = {"feel": 0.3, "tapped": 0.35, "gap": 0.2, "worn": 0.15}
"""Kinds of tasks and their shares of the loops."""
WORN = Rates(missed=0.15, moved=0.05, slipped=0.0, split=0.0, length=0.0, extra=0.15)
LEFT_OUT = 0.1
"""Probability that a drum is left out of a "feel" task, since programmed beats seldom use all drums."""
_HANDS = ((36, 37, 38, 40), (36,), (37, 38, 40), (42, 44, 46), (51, 53, 59))
"""Drums whose rhythm may be tapped alone."""


def on_general_midi(sample: Sample) -> Sample:
    """Maps drum pitches to those of General MIDI; notes that become equal are merged when rasterised."""
    table = np.arange(128, dtype=np.int32)
    for pitch, meant in GENERAL_MIDI.items():
        table[pitch] = meant
    notes = changed(sample.notes, {PITCH: table[sample.notes[:, PITCH]]})
    return sample.with_notes(notes)


def stiffened(notes: Notes, count: int, length: int, grid: Grid = GRID) -> Notes:
    """Quantises notes to the steps and sets all velocities of a loop to their mean."""
    loop, step = notes[:, LOOP], grid.step
    onset = np.clip(np.rint(notes[:, ONSET] / step) * step, 0, length - step).astype(np.int32)
    mean = np.bincount(loop, notes[:, VELOCITY], count) / np.maximum(np.bincount(loop, minlength=count), 1)
    return changed(notes, {ONSET: onset, VELOCITY: np.rint(mean)[loop].astype(np.int32)})


def tapped(notes: Notes, drums: NDArray[np.bool_]) -> Notes:
    """The rhythm of some drums as it is tapped: on one pitch.

    Args:
        notes: flat notes.
        drums: which pitches of each loop are included, shape (loops, 128).
    """
    some = notes[drums[notes[:, LOOP], notes[:, PITCH]]]
    return changed(some, {PITCH: np.full(len(some), TAP, np.int32)})


def beat_task(sample: Sample, rng: Generator) -> Batch:
    """Makes a drummer's training task.

    Args:
        sample: the targets.
        rng: random generator.
    """
    # Rotate by whole bars: a beat that starts in the middle of a bar is a different beat.
    sample = on_general_midi(rotate(sample, 2 * rng.integers(0, 2, sample.count)))
    count, length = sample.count, sample.length
    kind = rng.choice(list(KINDS), count, p=list(KINDS.values()))
    left_out = (rng.random((count, 128)) < LEFT_OUT) & (kind == "feel")[:, None]
    meant = sample.notes[~left_out[sample.notes[:, LOOP], sample.notes[:, PITCH]]]
    damage = rng.random(count) * (kind == "worn")
    heard = corrupt(meant, damage, length, rng, WORN)
    stiff = (kind == "feel") | (rng.random(count) < 0.4)
    heard = np.where(stiff[heard[:, LOOP]][:, None], stiffened(heard, count, length), heard)
    target, roll = (batch.rasterise(notes, count, length) for notes in (meant, heard))
    is_tapped = kind == "tapped"
    taps = batch.rasterise(tapped(heard, _hands(count, rng)), count, length)
    roll[is_tapped] = taps[is_tapped]
    mask = batch.draw_masks(meant, count, target.shape[3], rng, hidden=0.9) * (kind == "gap")[:, None, None]
    everything_else = np.ones_like(mask[0])
    everything_else[TAP - GRID.pitch_low] = 0
    mask[is_tapped] = everything_else
    told = np.where(rng.random(count) < 0.5, UNKNOWN, damage).astype(np.float32)[:, None]
    phase = batch.phases(count, length, sample.bar)
    wish = batch.wishes(meant, count, length, rng)
    task = Batch(batch.hide(roll, mask), mask, phase, told, target, wish)
    return batch.first_bar(task, sample.bar) if rng.random() < 0.1 else batch.shown(task, target.shape[3])


def _hands(count: int, rng: Generator) -> NDArray[np.bool_]:
    """Drums of a tapped rhythm, shape (count, 128): all of them, or in half of the cases one group."""
    heard = np.ones((count, 128), bool)
    for i in np.flatnonzero(rng.random(count) < 0.5):
        heard[i] = np.isin(np.arange(128), _HANDS[rng.integers(len(_HANDS))])
    return heard
