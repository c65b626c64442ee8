"""Reduces loops to melodies, for models of single lines."""

from __future__ import annotations

import numpy as np

from rtgen.music.time import TICKS_PER_SIXTEENTH
from train.loops.sample import DURATION, LOOP, ONSET, PITCH, Sample, changed


def top_line(sample: Sample) -> Sample:
    """The highest notes of loops, one at a time, on sixteenths.

    A note that begins below one that still sounds is left out; one that begins above it, or strikes it again, ends it.
    """
    notes, unit = sample.notes, TICKS_PER_SIXTEENTH
    onset = np.clip(np.rint(notes[:, ONSET] / unit) * unit, 0, sample.length - unit)
    end = np.rint((notes[:, ONSET] + notes[:, DURATION]) / unit) * unit
    end = np.clip(end, onset + unit, sample.length)
    notes = changed(notes, {ONSET: onset, DURATION: end - onset})
    notes = notes[np.lexsort((-notes[:, PITCH], notes[:, ONSET], notes[:, LOOP]))]
    kept: list[int] = []
    for i, (loop, first, pitch) in enumerate(notes[:, [LOOP, ONSET, PITCH]].tolist()):
        last = notes[kept[-1]] if kept else None
        if last is not None and last[LOOP] == loop and last[ONSET] + last[DURATION] > first:
            if pitch < last[PITCH] or last[ONSET] == first:
                continue
            last[DURATION] = first - last[ONSET]
        kept.append(i)
    return sample.with_notes(notes[kept])
