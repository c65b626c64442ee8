"""What is asked of a composer: the call, what came before it, the key, and the limits of an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.cells import Knobs
from rtgen.inference.exchange import scale_of
from rtgen.inference.hearing import recent
from rtgen.inference.model import Model
from rtgen.inference.sequence import into_c
from rtgen.inference.sheet import Ints, cells
from rtgen.inference.spelling import within
from rtgen.music.attributes import NAMES, measure, standard
from rtgen.music.key import Key
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, Grid

_TURN = 5.0
"""Standard deviations of music between what the two ends of an attribute knob ask for; about a third of it comes."""
_BEYOND = 7
"""Semitones that an answer may go beyond what was played."""
_SPARSE, _LEAST_REST = 1.5, 9
"""Notes a beat up to which rests of an answer are limited, and steps that it may rest in any case."""
_CLUSTERS = 0.1
"""Share of chords with a second from which on new ones may have them."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a composer.

    Args:
        model: the composer.
        loop: the call.
        past: the last of what was played before it, oldest first.
        knobs: by name.
        up: semitones from the key to C major or A minor.
        scale: the key.
    """

    model: Model
    loop: Loop
    past: Sequence[Loop]
    knobs: Knobs
    up: int
    scale: Key

    @classmethod
    def of(cls, model: Model, past: Sequence[Loop], loop: Loop, knobs: Knobs) -> Request | None:
        """Return the request; None if nothing was played."""
        past = recent(past)
        scale = scale_of((n for each in (*past, loop) for n in each.notes), knobs)
        return None if scale is None else cls(model, loop, past, knobs, into_c(scale), scale)

    @property
    def grid(self) -> Grid:
        """The model's grid."""
        return self.model.card.grid

    @property
    def steps(self) -> int:
        """Steps in the loop."""
        return self.grid.steps(self.loop.length)

    @property
    def bar(self) -> int:
        """Steps in a bar."""
        return round(self.loop.bar / self.grid.step)

    def cells(self, notes: Iterable[Note]) -> Ints:
        """Return notes as cells, as of `sheet.cells`."""
        return cells(self.loop.with_notes(notes), self.up, self.grid)

    def row(self, pitch: int) -> int:
        """Return the row of a pitch."""
        return within(pitch + self.up, self.grid) - self.grid.pitch_low

    def wish(self) -> Sequence[float]:
        """Return the attributes that the answer shall have: those of the call, turned by the knobs."""
        turned = [_TURN * (self.knobs.get(name, 0.5) - 0.5) for name in NAMES]
        return [x + by for x, by in zip(standard(measure(self.loop)), turned, strict=True)]

    def in_range(self) -> NDArray[np.bool_]:
        """Return cells for new notes: all steps, in the range of what was played and a little beyond it."""
        rows = [self.row(pitch) for pitch in {n.pitch for each in (*self.past, self.loop) for n in each.notes}]
        found = np.zeros((self.steps, self.grid.pitches), bool)
        found[:, max(min(rows) - _BEYOND, 0) : max(rows) + _BEYOND + 1] = True
        return found

    def rest(self) -> int | None:
        """Return the longest silence of an answer to few notes, in steps: that of the call, or nearly a beat.

        Where there are many, a rest is no hole.
        """
        if len(self.loop) > _SPARSE * self.loop.length / PPQN:
            return None
        silent, ends = 0, 0
        for n in sorted(self.loop.notes, key=lambda n: n.onset):
            silent, ends = max(silent, n.onset - ends), max(ends, n.end)
        return max(max(silent, self.loop.length - ends) // self.grid.step, _LEAST_REST)

    def has_clusters(self) -> bool:
        """Return whether seconds are common in chords of the call."""
        found = cells(self.loop, self.up, self.grid)
        same, chords = np.diff(found[:, 0]) == 0, len(found)
        near = same & (np.diff(found[:, 1]) <= 2)
        return bool(np.count_nonzero(near) > _CLUSTERS * (chords - np.count_nonzero(same)))

    def turned(self) -> bool:
        """Return whether a knob asks for other attributes than the call's."""
        return any(self.knobs.get(name, 0.5) != 0.5 for name in NAMES)
