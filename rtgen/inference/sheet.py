"""What a composer sees when it writes: the notes so far, those that are given, and where new ones may be struck.

`read` turns what was played into the notes and numbers that the network hears; `Sheet` holds what it sees of the answer
while it is written. Both give the network what `train.models.passages` trained it with.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rtgen.inference import chords
from rtgen.inference.spelling import CONTEXT, LAGS, SPELLING, known_of, within
from rtgen.music.attributes import NAMES
from rtgen.music.note import Loop
from rtgen.music.time import PPQN, Grid

PAST_RHYTHM = 24
"""Steps ahead that are seen of the rhythm some bars ago, and of the recalled loop."""
GIVEN_RHYTHM = 96
"""Steps ahead that are seen of the given notes and open cells."""
LOOK = 97
"""Columns from the present one on that are seen."""
WISH = len(NAMES) + 1
"""Attributes that the loop shall have, and 1 as a flag that they are told."""
FOLLOWS, VARIES = 1, 2
"""What the recalled loop is to the present one: what followed earlier, or a relative."""
KINDS = 3
SOUNDING = 4
"""Features of each pitch that depend on the note before."""
STATIC = 2 * len(LAGS) + 9
"""Features of each pitch in a column that do not depend on the note before."""
RHYTHM = (len(LAGS) + 1) * (PAST_RHYTHM + 1) + 2 * (GIVEN_RHYTHM + 1) + 1
"""Numbers that tell of the rhythm ahead."""
KNOWN = CONTEXT + WISH + KINDS - 1 + chords.TOLD
"""Numbers that a step is told besides the note."""
FADE = 24.0
"""Steps in which the memory of a struck pitch halves."""
_DURATIONS = np.array(SPELLING.durations)
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Loops one after the other, as a composer hears them.

    Args:
        step: onset of each note from the beginning of the first loop, shape (notes).
        note: classes of shift, pitch, duration, velocity and timing, shape (notes, 5).
        place: step in the bar, and steps in the bar, shape (notes, 2).
        known: context, wish, kind of recall and chord at each note, shape (notes, `KNOWN`).
        ahead: context of a loop that follows, shape (`CONTEXT`).
        last: number of notes in the last loop.
        end: step at which the last loop ends.
    """

    step: Ints
    note: Ints
    place: Floats
    known: Floats
    ahead: Floats
    last: int
    end: int

    def rows(self) -> NDArray[np.float64]:
        """All values of each note, for comparison; shape (notes, numbers)."""
        return np.concatenate([self.step[:, None], self.note, self.place, self.known], axis=1, dtype=np.float64)


@lru_cache(maxsize=64)
def cells(loop: Loop, up: int, grid: Grid) -> Ints:
    """Return step, row, and the classes of duration, velocity and timing of each note; shape (notes, 5).

    They are ordered by step and row; of several notes in a cell the first is taken. Do not write to the array.
    """
    steps, step = grid.steps(loop.length), grid.step
    rows: dict[tuple[int, int], tuple[int, int, int]] = {}
    for n in loop.notes:
        column = grid.column(n.onset, steps)
        cell = column, within(n.pitch + up, grid) - grid.pitch_low
        rows.setdefault(cell, (round(n.duration / step), n.velocity, n.onset - column * step))
    found = np.array([(*cell, *rest) for cell, rest in sorted(rows.items())], np.int64).reshape(-1, 5)
    found[:, 2], found[:, 3] = SPELLING.duration(found[:, 2]), SPELLING.velocity(found[:, 3])
    found[:, 4] = SPELLING.timing(found[:, 4])
    return found


def harmony(loop: Loop, up: int) -> Ints:
    """Return the chord of each beat of a loop, an index of `chords.MEMBERS`; `chords.NONE` where nothing sounds."""
    beats = -(-loop.length // PPQN)
    notes = loop.notes
    onset = np.array([max(n.onset, 0) for n in notes], np.int64)
    end = np.array([min(n.end, loop.length) for n in notes], np.int64)
    pitch = np.array([n.pitch + up for n in notes], np.int64)
    sounds, bass = chords.heard(np.zeros(len(notes), np.int64), onset, end, pitch, 1, beats, PPQN)
    found: Ints = chords.estimated(sounds, bass, max(loop.bar // PPQN, 1))[0]
    return found


def read(loops: Sequence[Loop], up: int, grid: Grid) -> Read:
    """Encode loops.

    Neither their attributes nor their chords are told: they would change while the last loop is played, and all of it
    would have to be heard again.

    Args:
        loops: what was played, oldest first.
        up: semitones from their key to C major or A minor.
        grid: steps and pitches.
    """
    steps, notes, places, known = [], [], [], []
    begin = 0
    for before, loop in zip((None, *loops), loops, strict=False):
        found = cells(loop, up, grid)
        place, of_note = _beside(loop, before, up, grid)
        steps.append(found[:, 0] + begin)
        notes.append(found[:, 1:])
        places.append(place)
        known.append(of_note)
        begin += grid.steps(loop.length)
    step = np.concatenate(steps)
    shift = SPELLING.shift(np.diff(step, prepend=step[:1]))
    return Read(
        step,
        np.concatenate([shift[:, None], np.concatenate(notes)], axis=1),
        np.concatenate(places),
        np.concatenate(known),
        _context(loops[-1], up, grid),
        len(notes[-1]),
        begin,
    )


def _context(loop: Loop | None, up: int, grid: Grid) -> Floats:
    return known_of(loop, up, grid) if loop is not None and loop.notes else np.zeros(CONTEXT, np.float32)


@lru_cache(maxsize=64)
def _beside(loop: Loop, before: Loop | None, up: int, grid: Grid) -> tuple[Floats, Floats]:
    """Return place and context of each note of a loop that follows another; do not write to the arrays."""
    column, bar = cells(loop, up, grid)[:, 0], round(loop.bar / grid.step)
    of_note = np.concatenate([told(_context(before, up, grid), None, 0), np.zeros(chords.TOLD, np.float32)])
    place = np.stack([column % bar, np.full_like(column, bar)], axis=1).astype(np.float32)
    return place, np.tile(of_note, (len(column), 1))


def told(context: Floats, wish: Sequence[float] | None, kind: int) -> Floats:
    """Return what a note is told of its loop; shape (`KNOWN` - `chords.TOLD`)."""
    wished = np.zeros(WISH) if wish is None else np.array([*np.clip(wish, -4, 4), 1.0])
    recall = np.eye(KINDS)[kind, 1:]
    return np.concatenate([context, wished, recall]).astype(np.float32)


class Sheet:
    """What is seen of an answer while it is written.

    Args:
        heard: what was played before it.
        begin: first step of the answer.
        length: its steps.
        bar: steps in a bar.
        grid: steps and pitches.
        given: cells of the notes that are given, as of `cells`, from the answer's beginning; shape (notes, 5).
        opened: where new notes may be struck, shape (steps, pitches).
        recalled: cells of a loop that is recalled, likewise from the beginning of the answer; None for none.
        chord: chord of each beat of the answer; None if it is not told.
        lags: whether the bars before are shown.
    """

    def __init__(
        self,
        heard: Read,
        begin: int,
        length: int,
        bar: int,
        grid: Grid,
        given: Ints,
        opened: NDArray[np.bool_],
        recalled: Ints | None = None,
        chord: Ints | None = None,
        *,
        lags: bool = True,
    ) -> None:
        self._lags = [bar * lag for lag in LAGS] if lags else []
        self.first = min(int(heard.step[-1]), begin)
        """Step of the first column."""
        self.end = begin + length
        columns = self.end - self.first + LOOK
        pitches = grid.pitches
        self.columns = np.zeros((columns, STATIC, pitches), np.float32)
        self._struck = np.zeros((max(self._lags, default=0) + columns, pitches), np.uint8)
        self._before = len(self._struck) - columns
        # What was never struck was struck so long ago that nothing is left of it.
        self._ends, self._last = np.full(pitches, -1), np.full(pitches, -(10**6))
        self._chord, self._previous = np.zeros(pitches, np.float32), np.zeros(pitches, np.float32)
        at = begin - self.first
        self._recalled, self._given, self._open = (np.zeros((columns, pitches), bool) for _ in range(3))
        self._open[at + length :] = True
        self._open[at : at + length] = opened
        base = 2 * len(LAGS)
        durations = len(SPELLING.durations)
        for found, plane, there in ((recalled, base, self._recalled), (given, base + 2, self._given)):
            if found is not None and len(found):
                self.columns[at + found[:, 0], plane, found[:, 1]] = 1
                self.columns[at + found[:, 0], plane + 1, found[:, 1]] = (found[:, 2] + 1) / durations
                there[at + found[:, 0], found[:, 1]] = True
        self.given = {(begin + step, row): (d, v, t) for step, row, d, v, t in given.tolist()}
        """Classes of duration, velocity and timing of the given notes, by step and row."""
        self._order = sorted(self.given)
        anything, every = np.any(self._given, axis=1), np.arange(columns)
        ahead = np.minimum.accumulate(np.where(anything, every, columns + LOOK)[::-1])[::-1]
        self._until = np.minimum(np.append(ahead[1:], columns + LOOK) - every, LOOK)
        if self.given:
            self.columns[:, base + 4] = self._given[np.minimum(every + self._until, columns - 1)]
        self.columns[:, base + 5] = self._open
        self.harmony = np.zeros((columns, 2 * chords.TOLD), np.float32)
        if chord is not None:
            of_beat = chords.told(np.append(chord, chords.NONE))
            beat = np.clip((every - at) // grid.steps_per_beat, -1, len(chord))
            following = np.clip(beat + 1, -1, len(chord))
            self.harmony[:] = np.concatenate([of_beat[beat], of_beat[following]], axis=1)
            classes = (np.arange(pitches) + grid.pitch_low) % 12
            self.columns[:, base + 6] = self.harmony[:, classes]
            self.columns[:, base + 7] = self.harmony[:, 12 + classes]
            self.columns[:, base + 8] = self.harmony[:, chords.TOLD + classes]
        self._any: dict[str, NDArray[np.bool_]] = {
            "recalled": np.any(self._recalled, axis=1),
            "given": anything,
            "open": np.any(self._open, axis=1),
            "struck": np.zeros(len(self._struck), bool),
        }
        self.now = int(heard.step[-1])
        self.row = int(heard.note[-1, 1])
        self._strike_all(heard)

    def strike(self, step: int, row: int, duration: int) -> None:
        """Add a note, by the class of its duration; notes come in order."""
        if step != self.now or not self._chord.any():
            self._previous, self._chord = self._chord, np.zeros_like(self._chord)
        self.now = step
        self._chord[row] = 1
        self._ends[row] = step + SPELLING.durations[duration]
        self._last[row] = step
        self.row = row
        at = step - self.first + self._before
        if at < 0:
            return
        self._struck[at, row] = duration + 1
        self._any["struck"][at] = True
        for i, lag in enumerate(self._lags):
            column = at - self._before + lag
            if 0 <= column < len(self.columns):
                self.columns[column, 2 * i, row] = 1
                self.columns[column, 2 * i + 1, row] = (duration + 1) / len(SPELLING.durations)

    def _strike_all(self, heard: Read) -> None:
        """Add all that was heard, as `strike` would, note by note."""
        step, row, duration = heard.step, heard.note[:, 1], heard.note[:, 2]
        self._ends[row] = step + _DURATIONS[duration]
        self._last[row] = step
        chord = int(np.searchsorted(step, step[-1]))
        self._chord[row[chord:]] = 1
        if chord:
            self._previous[row[np.searchsorted(step, step[chord - 1]) : chord]] = 1
        at = step - self.first
        seen = slice(int(np.searchsorted(at, -self._before)), None)
        self._struck[at[seen] + self._before, row[seen]] = duration[seen] + 1
        self._any["struck"][at[seen] + self._before] = True
        lasts = (duration + 1) / len(SPELLING.durations)
        for i, lag in enumerate(self._lags):
            there = slice(*np.searchsorted(at, (-lag, len(self.columns) - lag)).tolist())
            self.columns[at[there] + lag, 2 * i, row[there]] = 1
            self.columns[at[there] + lag, 2 * i + 1, row[there]] = lasts[there]

    def is_open(self, step: int, row: int) -> bool:
        """Return whether a new note may be struck in a cell."""
        return bool(self._open[step - self.first, row])

    def close(self, begin: int, end: int) -> None:
        """Let no new note be struck from one step to another."""
        columns = slice(begin - self.first, end - self.first)
        self._open[columns] = False
        self._any["open"][columns] = False
        self.columns[columns, 2 * len(LAGS) + 5] = 0

    def is_free(self, step: int, row: int) -> bool:
        """Return whether a cell is open or has a given note."""
        return self.is_open(step, row) or (step, row) in self.given

    def can_reach(self, end: int) -> bool:
        """Return whether a note may follow before a step: in an open cell or as a given one."""
        at, end = self.now - self.first, end - self.first
        above = self._open[at, self.row + 1 :] | self._given[at, self.row + 1 :]
        ahead = self._any["open"][at + 1 : end] | self._any["given"][at + 1 : end]
        return at < end and bool(above.any() or ahead.any())

    def is_anything_open(self) -> bool:
        """Return whether a new note may still be struck before the end."""
        at, end = self.now - self.first, self.end - self.first
        ahead = self._any["open"][max(at + 1, 0) : end]
        return bool(ahead.any() or (0 <= at < end and self._open[at, self.row + 1 :].any()))

    def only_next(self) -> tuple[int, int] | None:
        """Return step and row of the next given note; None if there is none, or a new note may come before it."""
        at = self.now - self.first
        further = bisect_right(self._order, (self.now, self.row))
        if further == len(self._order):
            return None
        step, row = self._order[further]
        then = step - self.first
        if then == at:
            return None if self._open[at, self.row + 1 : row].any() else (step, row)
        before = self._open[at, self.row + 1 :].any() or self._any["open"][at + 1 : then].any()
        return None if before or self._open[then, :row].any() else (step, row)

    def rubs(self, steps: int, ahead: int) -> NDArray[np.bool_]:
        """Return which pitches are a minor second or ninth from one that sounds on, or will be struck.

        Args:
            steps: it sounds for more than these from now ...
            ahead: ... or is given within these.
        """
        at = max(self.now - self.first, 0)
        found = np.zeros(len(self._ends), bool)
        near = self._ends - self.now > steps
        if self.given:
            near |= self._given[at : at + ahead].any(axis=0)
        for row in np.flatnonzero(near).tolist():
            for other in (row - 13, row - 1, row + 1, row + 13):
                if 0 <= other < len(found):
                    found[other] = True
        return found

    def crowds(self, step: int, row: int) -> bool:
        """Return whether a new note would be within two semitones of another one that is struck with it."""
        if not 0 <= (at := step - self.first) < len(self._given) or self._given[at, row]:
            return False
        near = slice(max(row - 2, 0), row + 3)
        return bool(self._given[at, near].any() or (step == self.now and self._chord[near].any()))

    def silent_from(self) -> int:
        """Return the step from which nothing sounds any more."""
        return max(int(self._ends.max()), self.now)

    def chord_at(self, step: int) -> Floats:
        """Return what is told of the chord at a step."""
        return self.harmony[step - self.first, : chords.TOLD]

    def seen(self) -> dict[str, Floats]:
        """Return the network's inputs `rhythm`, `columns`, `harmony` and `sounding` for the choice of the next note."""
        at = self.now - self.first
        sounding = np.empty((SOUNDING, len(self._ends)), np.float32)
        sounding[0] = self._ends - self.now
        sounding[1] = np.exp2((self._last - self.now) / FADE)
        sounding[2], sounding[3] = self._chord, self._previous
        return {
            "rhythm": self._rhythm(at)[None],
            "columns": self.columns[None, at : at + LOOK],
            "harmony": self.harmony[None, at : at + LOOK],
            "sounding": sounding[None],
        }

    def _rhythm(self, at: int) -> Floats:
        found = np.zeros(RHYTHM, np.float32)
        above = slice(self.row + 1, None)
        i = 0
        for lag in self._lags or [0] * len(LAGS):
            if lag:
                begin = at + self._before - lag
                found[i : i + PAST_RHYTHM] = self._any["struck"][begin + 1 : begin + 1 + PAST_RHYTHM]
                found[i + PAST_RHYTHM] = np.count_nonzero(self._struck[begin, above]) / 2
            i += PAST_RHYTHM + 1
        found[i : i + PAST_RHYTHM] = self._any["recalled"][at + 1 : at + 1 + PAST_RHYTHM]
        found[i + PAST_RHYTHM] = np.count_nonzero(self._recalled[at, above]) / 2
        i += PAST_RHYTHM + 1
        found[i : i + GIVEN_RHYTHM] = self._any["given"][at + 1 : at + 1 + GIVEN_RHYTHM]
        found[i + GIVEN_RHYTHM] = np.count_nonzero(self._given[at, above]) / 2
        i += GIVEN_RHYTHM + 1
        found[i : i + GIVEN_RHYTHM] = self._any["open"][at + 1 : at + 1 + GIVEN_RHYTHM]
        found[i + GIVEN_RHYTHM] = self._open[at, above].any()
        found[-1] = self._until[at] / LOOK
        return found
