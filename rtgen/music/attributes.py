"""What the attribute knobs turn: six numbers that say what a loop is like.

Each can be changed without any other: chords may be spread or gathered (polyphony) while the number of notes stays, and
notes drawn out (length) without more of them being struck.
"""

from __future__ import annotations

from collections import Counter
from math import ceil, log2
from statistics import fmean

from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, TICKS_PER_SIXTEENTH

NAMES = ("density", "register", "polyphony", "length", "syncopation", "velocity")
MEAN = (2.9, 63.1, 1.8, -0.4, 0.08, 89.0)
SD = (2.1, 8.2, 0.98, 0.8, 0.14, 12.5)
"""Of each in 112,482 loops of five sets."""
PER_BEAT = PPQN // TICKS_PER_SIXTEENTH
"""Columns in a beat."""
Attributes = dict[str, float]
"""By name; of silence all are 0.

density: notes a beat. register: mean pitch. polyphony: notes that are struck together, on the same sixteenth. length:
mean logarithm (base 2) of the beats that a note lasts. syncopation: share of the beats on which nothing is struck,
though something was since the beat before. velocity: mean, 1-127.
"""


def column(note: Note, loop: Loop) -> int:
    """The sixteenth of the loop that a note is struck on, as heard: just before the end is the downbeat."""
    return round(note.onset / TICKS_PER_SIXTEENTH) % columns(loop)


def columns(loop: Loop) -> int:
    """Sixteenths in a loop, whole beats of them."""
    return ceil(loop.length / PPQN) * PER_BEAT


def measure(loop: Loop) -> Attributes:
    """What a loop is like, by name."""
    if not loop.notes:
        return dict.fromkeys(NAMES, 0.0)
    struck = Counter(column(note, loop) for note in loop.notes)
    values = (
        len(loop) * PPQN / loop.length,
        fmean(note.pitch for note in loop.notes),
        len(loop) / len(struck),
        fmean(log2(note.duration / PPQN) for note in loop.notes),
        len(syncopated(struck, columns(loop))) * PER_BEAT / columns(loop),
        fmean(note.velocity for note in loop.notes),
    )
    return dict(zip(NAMES, values, strict=True))


def syncopated(struck: Counter[int] | set[int], columns: int) -> list[int]:
    """The beats (as columns) that nothing is struck on, though something was since the beat before."""
    return [
        beat
        for beat in range(0, columns, PER_BEAT)
        if beat not in struck and any((beat - i) % columns in struck for i in range(1, PER_BEAT))
    ]


def standard(attributes: Attributes) -> list[float]:
    """Attributes in standard deviations from their mean in music, within 4, in the order of `NAMES`."""
    return [
        min(max((attributes[name] - mean) / sd, -4.0), 4.0) for name, mean, sd in zip(NAMES, MEAN, SD, strict=True)
    ]
