"""Loops as if all of them were in C major or A minor, so that nothing need be learnt in twelve keys."""

from __future__ import annotations

import numpy as np

from rtgen.inference.sequence import into_c
from rtgen.music import key
from train import dataset
from train.augment import LOOP, PITCH, Sample


def in_c(sample: Sample) -> Sample:
    """The loops, each transposed from its likeliest key.

    A note that would be no MIDI pitch stays within by an octave.
    """
    loops = dataset.to_loops(sample.notes, sample.count, sample.length)
    keys = [key.estimate(loop.notes) for loop in loops]
    up = np.array([into_c(k) if k else 0 for k in keys], np.int32)
    notes = sample.notes.copy()
    notes[:, PITCH] += up[notes[:, LOOP]]
    notes[:, PITCH] += 12 * (notes[:, PITCH] < 0) - 12 * (notes[:, PITCH] > 127)
    return sample.with_notes(notes)
