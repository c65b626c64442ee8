"""The attribute knobs: a knob says how much, the network says which, and the edit keeps everything else.

A mode answers as it always does. Then, if a knob is turned, the model is asked what it believes of the answer if it had
the attributes that are wished for, and one edit for each attribute (`edits`) moves the notes there.
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
from rtgen.music.attributes import NAMES, PER_BEAT, SD, Attributes, columns, measure
from rtgen.music.note import Loop
from rtgen.music.roll import Roll
from rtgen.music.time import PPQN

SPAN = {"density": 1.5, "register": 1.5, "polyphony": 2.0, "length": 1.5, "syncopation": 2.5, "velocity": 1.5}
"""Standard deviations by which an attribute moves when its knob is turned all the way, if there is room."""
DEVIATION = dict(zip(NAMES, SD, strict=True))
_CLOSE = 0.02
"""Standard deviations within which an attribute whose knob is turned is where it shall be."""
_LEFT_ALONE = 0.1
"""And one whose knob is not ..."""
_COLUMNS = 3
"""By which the polyphony knob gathers or spreads a loop at the least, if there is room: of two chords, a little more or
less polyphony makes nothing."""
_UNMOVED = {"syncopation": 1.5, "polyphony": 1.5}
"""... but for these, as putting one right would put the other wrong, and move notes that nobody asked to move."""
_FEWEST = 0.25
"""Notes that are left at the least, of all: of fewer it could not be heard whose they were."""
_LEFT = 0.25
"""Syncopation that a column which finds no free beat keeps at the least; it has twice as much."""
_ROUNDS = 2
"""Each edit may disturb a little what the others did."""
Believes = Callable[[Model, Loop, Attributes, Knobs], Roll | None]
"""What a model believes of the notes of a loop when it is wished to have some attributes."""


def turned(knobs: Knobs) -> list[str]:
    """The attributes whose knobs are turned."""
    return [name for name in NAMES if knobs.get(name, 0.5) != 0.5]


def steer(model: Model, played: Loop, answered: Loop, knobs: Knobs, believes: Believes) -> Loop:
    """`answered` with its attributes moved away from those of `played` as the knobs say; itself where none is turned.

    Args:
        model: whose belief is asked for.
        played: the loop that an answer was asked to.
        answered: the answer.
        knobs: by name; 0.5 is as played.
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
    """Moves a sketch to attributes: all of `names`, and the others where they were disturbed."""
    for _ in range(_ROUNDS):
        for name, edit in EDITS.items():
            close = _CLOSE if name in names else _UNMOVED.get(name, _LEFT_ALONE)
            if abs(sketch.now(name) - wanted[name]) > close * DEVIATION[name]:
                edit(sketch, wanted[name])


def _target(played: Sketch, name: str, knob: float) -> float:
    """Where a knob wants an attribute: no farther than there is room, so that all of its way does something."""
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
    # Of what finds no free beat a part is struck with what is there; all of it would be chords instead of a rhythm.
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
"""How far each attribute of a loop could go down and up."""
