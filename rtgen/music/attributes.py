"""Six musical attributes of a loop, which the attribute knobs control.

Each can be changed independently of the others: polyphony gathers or spreads chords at a constant number of notes, and
length draws notes out without any more onsets.
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
"""Mean and standard deviation of each attribute over 112,482 loops from five data sets."""
REACH = 2.5
"""Standard deviations from the mean of an attribute to either end of the map of loops."""
SPAN = {"density": 1.5, "register": 1.5, "polyphony": 2.0, "length": 1.5, "syncopation": 2.5, "velocity": 1.5}
"""Standard deviations by which a fully turned knob moves its attribute, if there is room."""
PER_BEAT = PPQN // TICKS_PER_SIXTEENTH
"""Columns per beat."""
Attributes = dict[str, float]
"""Attributes by name; all are 0 for an empty loop.

density: notes per beat.
register: mean pitch.
polyphony: mean number of notes with the same onset, to a sixteenth.
length: mean of log2(duration in beats).
syncopation: mean over the sixteenths with onsets of 0 on a beat, 1/2 off the beat, and 1 off the beat if the next beat
has no onset, as in an anticipation.
velocity: mean, 1-127.
"""


def column(note: Note, loop: Loop) -> int:
    """Return the sixteenth of the loop nearest to a note's onset; just before the end, that is the downbeat."""
    return round(note.onset / TICKS_PER_SIXTEENTH) % columns(loop)


def columns(loop: Loop) -> int:
    """Return the number of sixteenths in a loop, rounded up to whole beats."""
    return ceil(loop.length / PPQN) * PER_BEAT


def measure(loop: Loop) -> Attributes:
    """Return the attributes of a loop."""
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
    """Return the syncopation of a column: 0 on a beat, else 1/2, or 1 if the next beat has no onset."""
    if not c % PER_BEAT:
        return 0.0
    following = (c // PER_BEAT + 1) * PER_BEAT % columns
    return 0.5 if following in struck else 1.0


def standard(attributes: Attributes) -> list[float]:
    """Return z-scores of the attributes (over `MEAN` and `SD`), clipped to -4 to 4, in the order of `NAMES`."""
    return [min(max((attributes[name] - mean) / sd, -4.0), 4.0) for name, mean, sd in zip(NAMES, MEAN, SD, strict=True)]
