"""A loop under edit: its notes by sixteenth column, and the model's belief."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from math import log, log2
from statistics import median

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.cells import OUT_OF_KEY, Belief, Spot, log_odds
from rtgen.music import key
from rtgen.music.attributes import NAMES, PER_BEAT, column, columns, off_beat
from rtgen.music.note import Loop, Note
from rtgen.music.roll import Plane
from rtgen.music.time import PPQN, TICKS_PER_SIXTEENTH, Grid

SHORTEST = 30
"""Ticks; notes are not made shorter than this."""
_SURE = 8.0
"""The model's log-odds are clipped here."""
_LEAST = 1e-9


class Sketch:
    """A loop under edit.

    Args:
        loop: the notes.
        belief: log-odds of a note, shape (128, columns); see `by_column`.
        held: notes that may not be moved or removed.
        wished: attributes to change; the others are only corrected if disturbed.
    """

    def __init__(
        self, loop: Loop, belief: Belief, held: frozenset[Spot] = frozenset(), wished: Sequence[str] = NAMES
    ) -> None:
        self.loop, self.belief, self.held, self.wished = loop, belief, held, wished
        self.count = columns(loop)
        self.beats = self.count // PER_BEAT
        self.places = [c for c in range(self.count) if c * TICKS_PER_SIXTEENTH < loop.length]
        """Columns where a note may begin."""
        self.at: dict[int, list[Note]] = {}
        self._of_pitch: list[list[Note]] = [[] for _ in range(128)]
        for note in loop.notes:
            self._add(column(note, loop), note)
        late: dict[int, list[int]] = {}
        for note in loop.notes:
            off = round(note.onset / TICKS_PER_SIXTEENTH)
            late.setdefault(off % PER_BEAT, []).append(note.onset - off * TICKS_PER_SIXTEENTH)
        self._late = {place: round(median(ticks)) for place, ticks in late.items()}
        used = [sum(c % PER_BEAT == place for c in self.at) for place in range(PER_BEAT)]
        self._habit = [log((each + 0.5) / (len(self.at) + 2)) for each in used]

    @cached_property
    def believed(self) -> list[list[float]]:
        """`belief` as nested lists for single look-ups: `believed[pitch][column]`."""
        found: list[list[float]] = self.belief.tolist()
        return found

    # ---- properties -------------------------------------------------------------------------------------------------

    def notes(self) -> Iterator[Note]:
        """All notes."""
        return (note for notes in self.at.values() for note in notes)

    def __len__(self) -> int:
        """Number of notes."""
        return sum(map(len, self.at.values()))

    def pitches(self) -> list[int]:
        """The pitches of all notes."""
        return [note.pitch for note in self.notes()]

    def now(self, name: str) -> float:
        """Current value of an attribute; for length, with every note cut at the next onset of its pitch."""
        return _NOW[name](self)

    def limits(self) -> dict[Note, int]:
        """Longest duration of each note: until the next onset of its pitch, or the loop's end."""
        following: dict[int, int] = {}
        found: dict[Note, int] = {}
        for note in sorted(self.notes(), key=lambda n: -n.onset):
            limit = following.get(note.pitch, self.loop.length)
            found[note] = max(limit - note.onset, 1)
            following[note.pitch] = note.onset
        return found

    def weight(self) -> float:
        """Sum of the off-beat weights of all columns."""
        return sum(off_beat(c, self.at, self.count) for c in self.at)

    def syncopation_with(self, c: int, weight: float) -> float:
        """The syncopation after adding or removing column `c`, given the current `weight`."""
        added = c not in self.at
        if c % PER_BEAT:
            change = off_beat(c, self.at, self.count)
        else:
            # The columns before a struck beat no longer anticipate it.
            change = -0.5 * sum((c - i) % self.count in self.at for i in range(1, PER_BEAT))
        sign = 1 if added else -1
        return (weight + sign * change) / max(len(self.at) + sign, 1)

    def habit(self, c: int) -> float:
        """Log share of this loop's onsets at this position in the beat."""
        return self._habit[c % PER_BEAT]

    def holds(self, c: int) -> bool:
        """Whether the column has a note that may not be moved."""
        return bool(self.held) and any(self.is_held(note) for note in self.at.get(c, ()))

    def is_held(self, note: Note) -> bool:
        """Whether a note may not be moved or removed."""
        return (note.onset, note.pitch) in self.held

    # ---- changes ----------------------------------------------------------------------------------------------------

    def onset(self, c: int) -> int:
        """Onset for a note in a column: that of its other notes, or with the usual delay at this place in the beat."""
        tick = c * TICKS_PER_SIXTEENTH
        for note in self.at.get(c, ()):
            if abs(note.onset - tick) <= TICKS_PER_SIXTEENTH // 2:
                return note.onset
        late = self._late.get(c % PER_BEAT, 0)
        return min(max(tick + late, 0), self.loop.length - 1)

    def has_room(self, c: int, pitch: int, leaving: Note | None = None) -> bool:
        """Whether a pitch can be struck in a column without cutting a note; `leaving` is ignored."""
        onset = self.onset(c)
        if any(note.pitch == pitch for note in self.at.get(c, ()) if note is not leaving):
            return False
        return not any(
            note.onset <= onset + TICKS_PER_SIXTEENTH // 2 and onset < note.end
            for note in self._of_pitch[pitch]
            if note is not leaving
        )

    def put(self, c: int, pitch: int, duration: int, velocity: int) -> None:
        """Adds a note."""
        onset = self.onset(c)
        lasts = max(min(duration, self.loop.length - onset), 1)
        self._add(c, Note(onset, pitch, lasts, velocity))

    def take(self, c: int, note: Note) -> None:
        """Removes a note."""
        self.at[c].remove(note)
        self._of_pitch[note.pitch].remove(note)
        if not self.at[c]:
            del self.at[c]

    def move(self, c: int, note: Note, to: int) -> None:
        """Moves a note to another column."""
        self.take(c, note)
        self.put(to, note.pitch, note.duration, note.velocity)

    def transpose(self, c: int, note: Note, semitones: int) -> Note:
        """Moves a note to another pitch."""
        new = Note(note.onset, note.pitch + semitones, note.duration, note.velocity)
        self.take(c, note)
        self._add(c, new)
        return new

    def change(self, new: Callable[[Note], Note]) -> None:
        """Replaces every note by one of the same pitch in the same column."""
        self.at = {c: [new(note) for note in notes] for c, notes in self.at.items()}
        self._of_pitch = [[] for _ in range(128)]
        for note in self.notes():
            self._of_pitch[note.pitch].append(note)

    def _add(self, c: int, note: Note) -> None:
        self.at.setdefault(c, []).append(note)
        self._of_pitch[note.pitch].append(note)

    def finished(self) -> Loop:
        """The edited loop."""
        return self.loop.with_notes(self.notes()).monophonic_by_pitch()


_NOW: Mapping[str, Callable[[Sketch], float]] = {
    "density": lambda s: len(s) * PPQN / s.loop.length,
    "register": lambda s: sum(s.pitches()) / len(s),
    "polyphony": lambda s: len(s) / len(s.at),
    "length": lambda s: sum(log2(min(n.duration, most) / PPQN) for n, most in s.limits().items()) / len(s),
    "syncopation": lambda s: s.weight() / len(s.at),
    "velocity": lambda s: sum(n.velocity for n in s.notes()) / len(s),
}


def by_column(onset: Plane | None, loop: Loop, grid: Grid, scale: key.Key | None, lock: float) -> Belief:
    """The model's belief per sixteenth of a loop: log-odds of a note, shape (128, columns).

    Args:
        onset: probabilities, shape (pitches, steps); None for a uniform belief.
        loop: the loop it is about.
        grid: of the probabilities.
        scale: key of the notes.
        lock: strength of the key lock, 0-1.
    """
    belief = np.zeros((128, columns(loop)))
    if onset is not None:
        found = np.clip(log_odds(np.maximum(onset, _LEAST)), -_SURE, _SURE)
        folded = np.full((grid.pitches, belief.shape[1]), -_SURE)
        for steps, where in _turns(found.shape[1], grid.step, belief.shape[1]):
            folded[:, where] = np.maximum(folded[:, where], found[:, steps])
        belief = np.pad(folded, ((grid.pitch_low, 127 - grid.pitch_high), (0, 0)), mode="edge")
    if scale is not None and lock:
        outside = np.resize([not scale.contains(name) for name in range(12)], 128)
        belief = belief - OUT_OF_KEY * lock * outside[:, None]
    return belief


@cache
def _turns(steps: int, step: int, columns: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Steps and their columns, grouped: the first step of every column, then the second, and so on."""
    where = np.rint(np.arange(steps) * (step / TICKS_PER_SIXTEENTH)).astype(np.intp) % columns
    turn = np.array([(where[:i] == c).sum() for i, c in enumerate(where.tolist())])
    return [(np.flatnonzero(turn == i), where[turn == i]) for i in range(int(turn.max()) + 1)]
