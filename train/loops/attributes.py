"""Musical attributes of many loops at once: `rtgen.music.attributes`, vectorised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtgen.music.attributes import MEAN, NAMES, PER_BEAT, SD
from rtgen.music.time import PPQN, TICKS_PER_SIXTEENTH
from train.loops.dataset import Notes
from train.loops.sample import DURATION, LOOP, ONSET, PITCH, VELOCITY


def measured(notes: Notes, count: int, length: int) -> NDArray[np.float32]:
    """Attributes of loops, shape (count, 6), in the order of `NAMES`; all 0 for silence.

    Args:
        notes: flat notes.
        count: number of loops.
        length: ticks per loop.
    """
    columns = -(-length // PPQN) * PER_BEAT
    loop = notes[:, LOOP]
    struck = np.zeros((count, columns), bool)
    struck[loop, np.rint(notes[:, ONSET] / TICKS_PER_SIXTEENTH).astype(int) % columns] = True
    beats = struck.reshape(count, -1, PER_BEAT)
    off = beats[:, :, 1:].sum(axis=2)
    # A loop wraps round: its first beat follows its last.
    left_out = ~np.roll(beats[:, :, 0], -1, axis=1)
    far = (0.5 * off * (1 + left_out)).sum(axis=1)
    number = np.bincount(loop, minlength=count)
    each = np.maximum(number, 1)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.bincount(loop, values, count) / each
        return found

    found = np.stack(
        [
            number * PPQN / length,
            mean(notes[:, PITCH].astype(float)),
            number / np.maximum(struck.sum(axis=1), 1),
            mean(np.log2(notes[:, DURATION] / PPQN)),
            far / np.maximum(struck.sum(axis=1), 1),
            mean(notes[:, VELOCITY].astype(float)),
        ],
        axis=1,
    )
    assert found.shape[1] == len(NAMES)
    return found.astype(np.float32)


def standard(attributes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standardises attributes, shape (..., 6), by their mean and deviation in music, and clips them to -4 to 4."""
    found: NDArray[np.float32] = np.clip((attributes - np.array(MEAN, np.float32)) / np.array(SD, np.float32), -4, 4)
    return found
