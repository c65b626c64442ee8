"""What is asked of a composer: the call, what came before it, the key, and the limits of an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.cells import Knobs
from rtgen.inference.exchange import scale_of
from rtgen.inference.hearing import recent
from rtgen.inference.model import Model
from rtgen.inference.sheet import Ints, cells
from rtgen.inference.spelling import within
from rtgen.music.attributes import NAMES, measure, standard
from rtgen.music.key import Key, into_c
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, TICKS_PER_SIXTEENTH, Grid

_TURN = 5.0
"""Standard deviations of music between what the two ends of an attribute knob ask for; about a third of it comes."""
_BEYOND = 7
"""Semitones that an answer may go beyond what was played."""
_FEW = (12, 1.5), (8, 1.0)
"""Notes in all, or a beat, up to which an answer keeps to the texture of the call: the first of all, and later ones."""
_CLUSTERS = 0.1
"""Share of chords with a second from which on new ones may have them."""


FIFTH, OCTAVE = 7, 12
"""Semitones."""


@dataclass(frozen=True, slots=True)
class Texture:
    """How a call of few notes is built. An answer keeps to it, since among few notes any other one stands out.

    Args:
        together: most notes that sound at once, overlaps of less than a sixteenth aside.
        apart: fewest steps from one onset to the next: half of the call's.
        leap: semitones that an outer voice may move: those of the call, or an octave.
        gap: semitones between neighbours that are struck at once, likewise.
        sounds: whether anything sounds in each beat.
        clashes: whether notes sound together a minor second or ninth apart.
        bass: the lowest pitch, if it is a fifth or more below all others.
    """

    together: int
    apart: int
    leap: int
    gap: int
    sounds: tuple[bool, ...]
    clashes: bool
    bass: int | None

    @classmethod
    def of(cls, loop: Loop, grid: Grid) -> Texture:
        """Return the texture of a loop with notes."""
        steps = grid.steps(loop.length)
        columns: dict[int, list[int]] = {}
        for n in loop.notes:
            columns.setdefault(grid.column(n.onset, steps), []).append(n.pitch)
        outer = [[each(columns[c]) for c in sorted(columns)] for each in (min, max)]
        low, *others = sorted({n.pitch for n in loop.notes})
        leaps = [abs(b - a) for voice in outer for a, b in pairwise(voice)]
        return cls(
            together=max(
                sum(m is n or m.onset <= n.onset < m.end - TICKS_PER_SIXTEENTH for m in loop.notes) for n in loop.notes
            ),
            apart=max(min(np.diff(sorted(columns)), default=steps) // 2, 1),
            leap=max([OCTAVE, *leaps]),
            gap=max([OCTAVE, *(b - a for column in columns.values() for a, b in pairwise(sorted(column)))]),
            sounds=tuple(
                any(n.onset < beat + PPQN and n.end > beat for n in loop.notes) for beat in range(0, loop.length, PPQN)
            ),
            clashes=any(
                abs(a.pitch - b.pitch) in (1, 13) and min(a.end, b.end) > max(a.onset, b.onset)
                for a, b in combinations(loop.notes, 2)
            ),
            bass=low if others and others[0] - low >= FIFTH else None,
        )


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

    def texture(self) -> Texture | None:
        """Return the texture of a call of few notes; None if there are many, or were before: then it may fill up again.

        How many notes there shall be is up to the knobs, if they ask for others.
        """
        few, sparse = _FEW[bool(self.past)]
        if any(len(each) > max(few, sparse * each.length / PPQN) for each in (*self.past, self.loop)):
            return None
        found = Texture.of(self.loop, self.grid)
        return replace(found, together=self.grid.pitches, apart=1) if self.turned() else found

    def has_clusters(self) -> bool:
        """Return whether seconds are common in chords of the call."""
        found = cells(self.loop, self.up, self.grid)
        same, chords = np.diff(found[:, 0]) == 0, len(found)
        near = same & (np.diff(found[:, 1]) <= 2)
        return bool(np.count_nonzero(near) > _CLUSTERS * (chords - np.count_nonzero(same)))

    def turned(self) -> bool:
        """Return whether a knob asks for other attributes than the call's."""
        return any(self.knobs.get(name, 0.5) != 0.5 for name in NAMES)
