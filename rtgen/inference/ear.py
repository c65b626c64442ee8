"""What a harmoniser is told of each half beat: the melody, the chord before, and the place in the bar.

All of it is by pitch class, so that a network can be the same in every key. Nothing depends on what comes later: a note
that is still held counts as far as it has sounded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rtgen.music.chord import Kind
from rtgen.music.time import HALF

EARLY = 20
"""Ticks by which a note may come before a half beat and still belong to it."""
HEARD = 5
"""Numbers that tell a pitch class of the melody: share of the half beat that it sounds, whether it is struck, whether
it sounds at the end, whether it is the lowest note, whether it is the highest."""
TOLD = 3
"""Numbers that tell a pitch class of the chord before: whether it is in it, its root, its bass."""
PLACE = 9
"""Numbers that tell the place of the half beat to come: sine and cosine of its position in the bar and in half a bar,
whether it is a downbeat, whether it is a beat, whether the melody before it is unknown, whether it is silent, and how
long the chord has been there."""
UNHEARD, SILENT, SINCE = 6, 7, 8
"""Which of them are the last three."""
LONGEST = 16
"""Half beats beyond which it does not matter how long a chord has been there."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def heard(onset: Ints, pitch: Ints, end: Ints, first: int, count: int) -> Floats:
    """Return what is heard of the melody in some half beats, shape (count, 12, `HEARD`).

    Args:
        onset: ticks, shape (notes).
        pitch: likewise.
        end: ticks, likewise; of a note that is still held, any tick from the end of the last half beat on.
        first: number of the first half beat.
        count: how many there are.
    """
    found = np.zeros((count, 12, HEARD), np.float32)
    begins = np.maximum((onset + EARLY) // HALF, first)
    stops = np.minimum((end - 1) // HALF, first + count - 1)
    spans = np.maximum(stops - begins + 1, 0)
    note = np.repeat(np.arange(len(onset)), spans)
    half = begins[note] + np.arange(len(note)) - np.repeat(np.cumsum(spans) - spans, spans)
    at, tone, row = half * HALF, pitch[note] % 12, half - first
    sounds = (np.minimum(end[note], at + HALF) - np.maximum(onset[note], at)) / HALF
    np.add.at(found[..., 0], (row, tone), sounds)
    np.minimum(found[..., 0], 1, out=found[..., 0])
    struck = (onset[note] + EARLY) // HALF == half
    found[row[struck], tone[struck], 1] = 1
    lasts = end[note] >= at + HALF - EARLY
    found[row[lasts], tone[lasts], 2] = 1
    for plane, reach, worst in ((3, np.minimum, 128), (4, np.maximum, -1)):
        outer = np.full(count, worst)
        reach.at(outer, row, pitch[note])
        there = outer != worst
        found[there, outer[there] % 12, plane] = 1
    return found


def table(kinds: Sequence[Kind]) -> Floats:
    """Return what is told of each chord, shape (12 * kinds + 1, 12, `TOLD`): kinds of C first, no chord last."""
    found = np.zeros((12 * len(kinds) + 1, 12, TOLD), np.float32)
    for root in range(12):
        for i, kind in enumerate(kinds):
            row = found[root * len(kinds) + i]
            row[[(root + step) % 12 for step in kind.steps], 0] = 1
            row[root, 1] = row[(root + kind.bass) % 12, 2] = 1
    return found


def place(position: Ints, bar: int, silent: NDArray[np.bool_], unheard: NDArray[np.bool_], held: Ints) -> Floats:
    """Return what is told of the place of half beats, shape (..., `PLACE`).

    Args:
        position: half beats since the downbeat, shape (...).
        bar: half beats in a bar.
        silent: whether the half beat before was heard, and silent; likewise.
        unheard: whether it was not heard; likewise.
        held: half beats that the chord has been there; likewise.
    """
    angle = 2 * np.pi * position / bar
    return np.stack(
        [
            np.sin(angle),
            np.cos(angle),
            np.sin(2 * angle),
            np.cos(2 * angle),
            position == 0,
            position % 2 == 0,
            unheard,
            silent,
            np.minimum(held, LONGEST) / LONGEST,
        ],
        axis=-1,
    ).astype(np.float32)


def held(chord: Ints) -> Ints:
    """Return for how many half beats the chord of each has been there, this one included, shape (half beats)."""
    index = np.arange(len(chord))
    begins = np.where(np.append(True, chord[1:] != chord[:-1])[: len(chord)], index, 0)
    return index - np.maximum.accumulate(begins) + 1
