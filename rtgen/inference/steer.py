"""Attribute knobs: the knob sets the amount, the model chooses the notes, and the edit preserves everything else.

A mode first answers as usual. If a knob is turned, the model is asked for its belief in the answer given the wished
attributes, and one edit per attribute (`edits`) moves the notes accordingly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log2

import numpy as np

from rtgen.inference.cells import Knobs
from rtgen.inference.edits import EDITS
from rtgen.inference.exchange import anchors, scale_of
from rtgen.inference.model import Model
from rtgen.inference.sketch import SHORTEST, Sketch, by_column
from rtgen.music.attributes import NAMES, PER_BEAT, SD, SPAN, Attributes, columns, measure
from rtgen.music.note import Loop
from rtgen.music.roll import Roll
from rtgen.music.time import PPQN

DEVIATION = dict(zip(NAMES, SD, strict=True))
_CLOSE = 0.02
"""Tolerance, in standard deviations, of an attribute whose knob is turned."""
_LEFT_ALONE = 0.1
"""Tolerance of one whose knob is not turned ..."""
_COLUMNS = 3
"""Minimum number of columns by which the polyphony knob gathers or spreads a loop, if there is room: with only two
chords a smaller change has no effect."""
_UNMOVED = {"syncopation": 1.5, "polyphony": 1.5}
"""... but for these two, since correcting one disturbs the other, and moves notes for no reason."""
_FEWEST = 0.25
"""Smallest share of the notes to keep: with fewer, the loop would not be recognisable."""
_LEFT = 0.25
"""Syncopation that a column keeps at least if no beat is free, half of what it has."""
_ROUNDS = 2
"""Repeated, because each edit may slightly disturb the others."""
Believes = Callable[[Model, Loop, Attributes, Knobs], Roll | None]
"""Returns the model's belief in the notes of a loop, given wished attributes."""


def turned(knobs: Knobs) -> list[str]:
    """The attributes whose knobs are turned."""
    return [name for name in NAMES if knobs.get(name, 0.5) != 0.5]


def steer(model: Model, played: Loop, answered: Loop, knobs: Knobs, believes: Believes) -> Loop:
    """Moves the attributes of `answered` away from those of `played` by the knobs; no change if no knob is turned.

    Args:
        model: its belief guides the edits.
        played: the call.
        answered: the answer.
        knobs: by name; 0.5 means as played.
        believes: asks the model.
    """
    names = turned(knobs)
    if not names or not answered.notes or not played.notes:
        return answered
    before = Sketch(played, np.zeros((128, columns(played))))
    wanted = measure(answered) | {name: _target(before, name, knobs[name]) for name in names}
    roll = believes(model, answered, wanted, knobs)
    scale = scale_of(played.notes, knobs)
    onset = None if roll is None else roll.onset
    belief = by_column(onset, answered, model.card.grid, scale, knobs.get("key_lock", 0.0))
    sketch = Sketch(answered, belief, anchors(played, knobs), names)
    edited(sketch, wanted, names)
    return sketch.finished()


def edited(sketch: Sketch, wanted: Attributes, names: list[str]) -> None:
    """Moves a sketch to the wished attributes: those in `names`, and others only if they were disturbed."""
    for _ in range(_ROUNDS):
        for name, edit in EDITS.items():
            close = _CLOSE if name in names else _UNMOVED.get(name, _LEFT_ALONE)
            if abs(sketch.now(name) - wanted[name]) > close * DEVIATION[name]:
                edit(sketch, wanted[name])


def _target(played: Sketch, name: str, knob: float) -> float:
    """The target of an attribute knob, limited to the available room so that its whole range has an effect."""
    way = 2 * (knob - 0.5)
    room = max(_ROOM[name](played)[way > 0], 0.0)
    span = SPAN[name] * DEVIATION[name]
    if name == "polyphony":
        columns = max(len(played.at) + (_COLUMNS if way < 0 else -_COLUMNS), 1)
        span = max(span, abs(len(played) / columns - played.now(name)))
    return played.now(name) + way * min(span, room)


def _density(s: Sketch) -> tuple[float, float]:
    beats, most = s.loop.length / PPQN, len(s.places) * len(s) / len(s.at)
    return (1 - _FEWEST) * len(s) / beats, max(most - len(s), beats) / beats


def _register(s: Sketch) -> tuple[float, float]:
    return s.now("register") - 24, 108 - s.now("register")


def _polyphony(s: Sketch) -> tuple[float, float]:
    least = max(len(s) / len(s.places), 1)
    return s.now("polyphony") - least, len(s) - s.now("polyphony")


def _length(s: Sketch) -> tuple[float, float]:
    limits = s.limits()
    lasts = {n: min(n.duration, most) for n, most in limits.items()}
    shorter = sum(max(log2(lasts[n] / SHORTEST), 0) for n in lasts)
    return shorter / len(s), sum(log2(limits[n] / lasts[n]) for n in lasts) / len(s)


def _syncopation(s: Sketch) -> tuple[float, float]:
    beats = sum(c % PER_BEAT == 0 for c in s.at)
    # If no beat is free, only part moves onto taken beats; moving all would turn a rhythm into chords.
    crowded = max(len(s.at) - s.beats, 0)
    return s.now("syncopation") - _LEFT * crowded / len(s.at), beats / len(s.at) if beats else 1 - s.now("syncopation")


def _velocity(s: Sketch) -> tuple[float, float]:
    return s.now("velocity") - 1, 127 - s.now("velocity")


_ROOM: Mapping[str, Callable[[Sketch], tuple[float, float]]] = {
    "density": _density,
    "register": _register,
    "polyphony": _polyphony,
    "length": _length,
    "syncopation": _syncopation,
    "velocity": _velocity,
}
"""How far each attribute of a loop can go down and up."""
