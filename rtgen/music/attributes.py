"""What the attribute knobs turn: six numbers that say what a loop is like.

Each can be changed without any other: chords may be spread or gathered (polyphony) while the number of notes stays, and
notes drawn out (length) without more of them being struck.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from math import ceil, log2
from statistics import fmean

from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, TICKS_PER_SIXTEENTH

NAMES = ("density", "register", "polyphony", "length", "syncopation", "velocity")
MEAN = (2.93, 63.1, 1.79, -0.38, 0.27, 89.0)
SD = (2.11, 8.21, 0.98, 0.8, 0.164, 12.5)
"""Of each in 112,482 loops of five sets."""
PER_BEAT = PPQN // TICKS_PER_SIXTEENTH
"""Columns in a beat."""
Attributes = dict[str, float]
"""By name; of silence all are 0.

density: notes a beat. register: mean pitch. polyphony: notes that are struck together, on the same sixteenth. length:
mean logarithm (base 2) of the beats that a note lasts. syncopation: how far off the beat it is struck; mean over the
struck sixteenths of 0 on a beat, 1/2 off the beat, and 1 if the beat that follows is left out besides, as in an
anticipation. velocity: mean, 1-127.
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
        sum(off_beat(c, struck, columns(loop)) for c in struck) / len(struck),
        fmean(note.velocity for note in loop.notes),
    )
    return dict(zip(NAMES, values, strict=True))


def off_beat(c: int, struck: Container[int], columns: int) -> float:
    """How far off the beat a column is: 0, 1/2, or 1 if the beat that follows is not struck."""
    if not c % PER_BEAT:
        return 0.0
    following = (c // PER_BEAT + 1) * PER_BEAT % columns
    return 0.5 if following in struck else 1.0


def standard(attributes: Attributes) -> list[float]:
    """Attributes in standard deviations from their mean in music, within 4, in the order of `NAMES`."""
    return [min(max((attributes[name] - mean) / sd, -4.0), 4.0) for name, mean, sd in zip(NAMES, MEAN, SD, strict=True)]
