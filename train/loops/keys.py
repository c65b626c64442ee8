"""Transposes loops to C major or A minor, so that models need not learn everything in twelve keys."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtgen.music.key import KEYS, into_c, profile
from train.loops.dataset import Notes
from train.loops.sample import DURATION, GRID, LOOP, PITCH, Sample

_UP = np.array([into_c(scale) for scale in KEYS], np.int32)


def _normal(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = rows - rows.mean(axis=1, keepdims=True)
    found: NDArray[np.float64] = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    return found


_PROFILES = _normal(np.array([profile(scale) for scale in KEYS], float))


def lifts(notes: Notes, count: int) -> NDArray[np.int32]:
    """Semitones from each loop's key, estimated as by `rtgen.music.key.estimate`, to C major or A minor.

    Args:
        notes: flat notes.
        count: number of loops.

    Returns:
        Shape (count); 0 for silence.
    """
    classes = notes[:, LOOP] * 12 + notes[:, PITCH] % 12
    sounds = np.bincount(classes, notes[:, DURATION].astype(float), count * 12)
    weights = sounds.reshape(count, 12).astype(float)
    likely = (_normal(weights) @ _PROFILES.T).round(9).argmax(axis=1)
    found: NDArray[np.int32] = np.where(weights.any(axis=1), _UP[likely], 0)
    return found


def lifted(notes: Notes, up: NDArray[np.int32]) -> Notes:
    """Transposes each loop up by `up` semitones; a note that would leave the grid moves back by octaves."""
    notes = notes.copy()
    pitch = notes[:, PITCH] + up[notes[:, LOOP]]
    below, above = np.maximum(GRID.pitch_low - pitch, 0), np.maximum(pitch - GRID.pitch_high, 0)
    notes[:, PITCH] = pitch + 12 * (-(-below // 12) + above // -12)
    return notes


def in_c(sample: Sample) -> Sample:
    """Transposes each loop from its estimated key to C major or A minor."""
    return sample.with_notes(lifted(sample.notes, lifts(sample.notes, sample.count)))
