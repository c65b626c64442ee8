"""Answers of a composer: notes written one by one, after what was played or between notes that stay.

The network reads a note and samples the next one. What stays of a loop is given; where new notes may be struck is open;
what they shall resemble is recalled (`rtgen.inference.sheet`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.cells import OUT_OF_KEY, Knobs, distance
from rtgen.inference.chords import MEMBERS, NONE
from rtgen.inference.exchange import anchors, scale_of, to_exchange
from rtgen.inference.hearing import LEAST, hearing, recent, remembered, spelling_of
from rtgen.inference.model import Model, Tensor, memory_of, step_of
from rtgen.inference.sequence import into_c
from rtgen.inference.sheet import FOLLOWS, VARIES, Ints, Read, Sheet, cells, harmony, read, told
from rtgen.inference.spelling import CONTEXT, known_of, within
from rtgen.music.attributes import NAMES, measure, standard
from rtgen.music.key import Key, folded
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, TICKS_PER_SIXTEENTH, Grid

ALIKE = 0.25
"""Loops less alike than this are not recalled; as `train.loops.links.LEAST`."""
FIGURE = 4
"""Notes in a figure, each given by its shift from the previous onset and its pitch."""
_TURN = 2.5
"""Standard deviations of music between the two ends of an attribute knob."""
_FIRM = 4
"""Exponent of the key lock in the penalty of pitches outside the key, which the network knows by itself."""
_STALE = 8.0
"""Log-odds taken from a pitch that repeats a figure with the repetition knob at 0, and half of it given at 1."""
_MOST_A_BEAT = 12
"""New notes a beat after which an answer ends."""
_FEW = 3
"""A player who uses so few values, or fewer, uses no others."""
_CLASH, _LONG = 3.0, 3
"""Log-odds taken from a pitch a minor second or ninth from one that sounds for more than so many steps."""
_BEYOND = 7
"""Semitones that an answer may go beyond what was played."""
_SPARSE, _LEAST_REST = 1.5, 9
"""Notes a beat up to which rests of an answer are limited, and steps that it may rest in any case."""
_CLUSTERS = 0.1
"""Share of chords with a second from which on new ones may have them."""
_DRAWS, _NEVER = 3, -30.0
"""Draws of a note that would stand within two semitones of another one of its chord, and the log-odds it then has."""
_OUT = -1e4
"""Noise of a choice that is ruled out."""
_OVER = 1.15
"""Share of the wanted notes that a variation makes anew at first; what goes too far is taken back."""
_ABOVE = 2
"""Semitones that a variation may go beyond the highest note of the call."""
_NEAR = 7
"""Semitones that a voice may move away from where it was."""
_LIKED = {"top": 3.0, "inner": 2.0, "bass": 0.35}
"""How much more often a voice is made anew: musicians vary the tune, and leave the bass."""
_SHARED = 2
"""Pitch classes that two chords have in common if a tune over one fits the other."""
Figures = Sequence[tuple[int, str, list[Note]]]
"""Notes of a voice in a beat: beat, voice, notes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What an answer is written into.

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
    def of(cls, model: Model, past: Sequence[Loop], loop: Loop, knobs: Knobs) -> Frame | None:
        """Return the frame; None if nothing was played."""
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

    def wish(self) -> Sequence[float] | None:
        """Return the attributes that the answer shall have: those of the call, turned by the knobs."""
        turned = [_TURN * (self.knobs.get(name, 0.5) - 0.5) for name in NAMES]
        return [x + by for x, by in zip(standard(measure(self.loop)), turned, strict=True)]

    def in_range(self) -> NDArray[np.bool_]:
        """Return cells for new notes: all steps, in the range of what was played and a little beyond it."""
        rows = [self.row(n.pitch) for each in (*self.past, self.loop) for n in each.notes]
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
        found = self.cells(self.loop.notes)
        near = (np.diff(found[:, 0]) == 0) & (np.diff(found[:, 1]) <= 2)
        return bool(near.sum() > _CLUSTERS * len(np.unique(found[:, 0])))

    def turned(self) -> bool:
        """Return whether a knob asks for other attributes than the call's."""
        return any(self.knobs.get(name, 0.5) != 0.5 for name in NAMES)


def continued(model: Model, past: Sequence[Loop], loop: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Continue what was played, for the length of `loop`, its last part.

    What followed the last time that something like `loop` was played is recalled. Below its middle, the knob
    `repetition` shows the past less often, and takes from figures that were played; above, it prefers them.
    """
    frame = Frame.of(model, past, loop, knobs)
    if frame is None or not loop.notes:
        return loop
    heard = read((*frame.past, loop), frame.up, frame.grid)
    repetition = knobs.get("repetition", 0.5)
    shown = rng.random() < 2 * repetition
    recalled = followed(past, loop) if shown else None
    pen = _Pen(
        frame,
        heard,
        heard.end,
        opened=frame.in_range(),
        rest=frame.rest(),
        recalled=None if recalled is None else cells(recalled, frame.up, frame.grid),
        kind=FOLLOWS,
        wish=frame.wish() if frame.turned() else None,
        lags=shown,
    )
    pen.prefer_figures(heard, _STALE * (2 * repetition - 1) * (0.5 if repetition > 0.5 else 1.0))
    return _sounded(pen.write(rng), frame, rng) or loop


def generated(model: Model, past: Sequence[Loop], loop: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Write a new loop over the chords of the call, in its texture and key, without its notes in sight."""
    frame = Frame.of(model, past, loop, knobs)
    if frame is None or not loop.notes:
        return loop
    heard = read((*frame.past, loop), frame.up, frame.grid)
    pen = _Pen(
        frame,
        heard,
        heard.end,
        opened=frame.in_range(),
        rest=frame.rest(),
        chord=harmony(loop, frame.up),
        wish=frame.wish(),
        lags=False,
    )
    return _sounded(pen.write(rng), frame, rng) or loop


def filled(
    model: Model, past: Sequence[Loop], loop: Loop, begin: int, end: int, knobs: Knobs, rng: np.random.Generator
) -> Loop:
    """Write the notes between two ticks anew; only anchors stay.

    Args:
        model: the composer.
        past: what was played before.
        loop: the call.
        begin: first tick of the gap, a whole step.
        end: the tick after it.
        knobs: `temperature` and `key_lock`, and those that hold anchors.
        rng: source of all randomness.
    """
    frame = Frame.of(model, past, loop, knobs)
    early = model.card.grid.step // 2
    held = anchors(loop, knobs)
    before = [n for n in loop.notes if n.onset < begin - early]
    gone = [n for n in loop.notes if begin - early <= n.onset < end - early and (n.onset, n.pitch) not in held]
    if frame is None or not loop.notes or not (past or before):
        return loop
    heard = read((*frame.past, loop.with_notes(before)), frame.up, frame.grid)
    opened = np.zeros((frame.steps, frame.grid.pitches), bool)
    opened[begin // frame.grid.step : end // frame.grid.step] = True
    kept = [n for n in loop.notes if n not in gone]
    known = past[-1] if past and past[-1].notes else None
    pen = _Pen(
        frame,
        heard,
        heard.end - frame.steps,
        opened=opened,
        given=frame.cells(n for n in kept if n not in before),
        context=None if known is None else known_of(known, frame.up, frame.grid),
    )
    found = loop.with_notes([*kept, *_notes(pen.write(rng), frame, rng)]).monophonic_by_pitch()
    return found if found.notes else loop


def varied(model: Model, past: Sequence[Loop], loop: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Play a variation at the distance set by the knob `distance` (one minus the Jaccard index of the cells).

    Figures are made anew, each a voice's notes in a beat: most of them of the tune, few of the bass. The rest is given,
    and nothing that was taken away comes back. Nothing lies below the call, or far above it.
    """
    frame = Frame.of(model, past, loop, knobs)
    wanted = to_exchange(len(loop), knobs["distance"])
    if frame is None or not wanted:
        return loop
    held = anchors(loop, knobs)
    chosen: list[tuple[int, str, list[Note]]] = []
    taken = 0
    for beat, voice, notes in _figures(loop, frame.grid, rng):
        loose = [n for n in notes if (n.onset, n.pitch) not in held]
        if taken >= _OVER * wanted:
            break
        if loose:
            chosen.append((beat, voice, loose))
            taken += len(loose)
    return _nearest(frame, *_anew(frame, chosen, rng))


def _anew(frame: Frame, chosen: Figures, rng: np.random.Generator) -> tuple[Figures, list[Note]]:
    """Write figures anew; return those for which something new came, and the new notes.

    The others shall stay: variations of musicians leave no holes.
    """
    loop = frame.loop
    gone = {n for _, _, notes in chosen for n in notes}
    every = frame.cells(loop.notes)
    opened = _opened(frame, chosen)
    opened[every[:, 0], every[:, 1]] = False
    heard = read(frame.past or [loop], frame.up, frame.grid)
    pen = _Pen(
        frame,
        heard,
        heard.end,
        opened=opened,
        given=frame.cells(n for n in loop.notes if n not in gone),
        recalled=every,
        kind=VARIES,
        chord=harmony(loop, frame.up),
        wish=frame.wish(),
        lags=bool(frame.past),
        due=_due(frame, chosen),
        room=_room(chosen),
    )
    new = _notes(pen.write(rng), frame, rng)
    beats = {_beat(frame, n) for n in new}
    return [figure for figure in chosen if figure[0] in beats], new


def blended(model: Model, past: Sequence[Loop], a: Loop, b: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Play a loop between two of the same length: `a` at 0 of the knob `blend`, `b` at 1.

    Beat by beat, from the last to the first, `b` takes over: first its tune over the accompaniment of `a`, then all of
    it; but both at once where their chords have less than two notes in common. Where the tune changes hands, it is
    written anew.
    """
    share = knobs["blend"]
    mixed, seams = _mixed(a, b, share, model.card.grid)
    frame = Frame.of(model, past, mixed, knobs)
    if frame is None or not mixed.notes:
        return mixed
    voices = _voices(mixed, frame.grid)
    held = anchors(mixed, knobs)
    tunes = {
        beat: [
            n for n in mixed.notes if voices[n] == "top" and _beat(frame, n) == beat and (n.onset, n.pitch) not in held
        ]
        for beat in seams
    }
    return _exchanged(mixed, *_anew(frame, [(beat, "top", notes) for beat, notes in tunes.items() if notes], rng))


def _mixed(a: Loop, b: Loop, share: float, grid: Grid) -> tuple[Loop, list[int]]:
    """Return notes of two loops as they take turns, and the beats from which the tune is another's than before."""
    beats = -(-a.length // PPQN)
    of_beat = zip(harmony(a, 0).tolist(), harmony(b, 0).tolist(), strict=True)
    parts: list[tuple[float, int, tuple[str, ...]]] = []
    for beat, (one, other) in enumerate(of_beat):
        turn = (beats - 1 - beat) / beats
        if min(one, other) == NONE or MEMBERS[one] @ MEMBERS[other] >= _SHARED:
            parts += [(turn / 2, beat, ("top",)), ((1 + turn) / 2, beat, ("inner", "bass"))]
        else:
            parts.append((turn, beat, ("top", "inner", "bass")))
    parts.sort()
    taken = {(beat, voice) for _, beat, voices in parts[: round(share * len(parts))] for voice in voices}

    def of(loop: Loop, other: bool) -> list[Note]:
        steps = grid.steps(loop.length)
        places = ((n, grid.column(n.onset, steps) // grid.steps_per_beat, v) for n, v in _voices(loop, grid).items())
        return [n for n, beat, voice in places if ((beat, voice) in taken) is other]

    seams = [beat for beat in range(1, beats) if ((beat, "top") in taken) is not ((beat - 1, "top") in taken)]
    return a.with_notes([*of(a, False), *of(b, True)]).monophonic_by_pitch(), seams


def _opened(frame: Frame, chosen: Figures) -> NDArray[np.bool_]:
    """Where new notes may be struck: in the beats of the chosen figures, in the range of their voices."""
    grid, loop = frame.grid, frame.loop
    opened = np.zeros((frame.steps, grid.pitches), bool)
    of = _voices(loop, grid)
    lowest, highest = (frame.row(each(n.pitch for n in loop.notes)) for each in (min, max))
    bass = max((frame.row(n.pitch) for n in loop.notes if of[n] == "bass"), default=lowest - 1)
    for beat, voice, notes in chosen:
        columns = slice(beat * grid.steps_per_beat, (beat + 1) * grid.steps_per_beat)
        if voice == "bass":
            opened[columns, lowest : min(bass + 4, highest) + 1] = True
        else:
            rows = [frame.row(n.pitch) for n in notes]
            low = max(min(rows) - _NEAR, min(bass + 1, *rows), lowest)
            high = highest + _ABOVE if voice == "top" else min(max(rows) + _NEAR, highest)
            opened[columns, low : high + 1] = True
    return opened


def _due(frame: Frame, chosen: Figures) -> list[range]:
    """Steps from the beginning of each chosen beat to the last onset there that is taken away, in order."""
    last: dict[int, int] = {}
    for beat, _, notes in chosen:
        last[beat] = max([last.get(beat, 0), *(frame.grid.column(n.onset, frame.steps) for n in notes)])
    return [range(beat * frame.grid.steps_per_beat, step + 1) for beat, step in sorted(last.items())]


def _room(chosen: Figures) -> dict[int, int]:
    """Return how many new notes each chosen beat may get: as many as are taken away, and one more.

    So a variation touches many beats lightly, as those of musicians do, instead of filling one with notes.
    """
    found: Counter[int] = Counter()
    for beat, _, notes in chosen:
        found[beat] += len(notes)
    return {beat: count + 1 for beat, count in found.items()}


def _beat(frame: Frame, note: Note) -> int:
    """The beat in which a note is struck."""
    return frame.grid.column(note.onset, frame.steps) // frame.grid.steps_per_beat


def _nearest(frame: Frame, chosen: Figures, new: Sequence[Note]) -> Loop:
    """Return the variation, with the last beats as they were if it would go too far without that."""
    loop, grid, target = frame.loop, frame.grid, frame.knobs["distance"]
    order = list(dict.fromkeys(beat for beat, *_ in chosen))

    def with_beats(count: int) -> Loop:
        beats = order[:count]
        figures = [figure for figure in chosen if figure[0] in beats]
        return _exchanged(loop, figures, [n for n in new if _beat(frame, n) in beats])

    best = with_beats(len(order))
    off = distance(loop, best, grid) - target
    for count in range(len(order) - 1, 0, -1):
        if off <= 0:
            break
        other = with_beats(count)
        if abs(distance(loop, other, grid) - target) >= abs(off):
            break
        best, off = other, distance(loop, other, grid) - target
    return best


def _exchanged(loop: Loop, chosen: Figures, new: Sequence[Note]) -> Loop:
    gone = {n for _, _, notes in chosen for n in notes}
    return loop.with_notes([*(n for n in loop.notes if n not in gone), *new]).monophonic_by_pitch()


def _voices(loop: Loop, grid: Grid) -> dict[Note, str]:
    """The voice of each note: `bass` (lowest of its column, in the lowest third), `top` (highest) or `inner`."""
    steps = grid.steps(loop.length)
    columns: dict[int, list[Note]] = defaultdict(list)
    for n in loop.notes:
        columns[grid.column(n.onset, steps)].append(n)
    pitches = [n.pitch for n in loop.notes] or [0]
    third = min(pitches) + (max(pitches) - min(pitches)) / 3
    found = {}
    for notes in columns.values():
        low, high = min(n.pitch for n in notes), max(n.pitch for n in notes)
        for n in notes:
            found[n] = "bass" if n.pitch == low <= third else "top" if n.pitch == high else "inner"
    return found


def _figures(loop: Loop, grid: Grid, rng: np.random.Generator) -> Figures:
    """The notes of each voice in each beat, in random order, those of liked voices first: beat, voice, notes."""
    steps = grid.steps(loop.length)
    found: dict[tuple[int, str], list[Note]] = defaultdict(list)
    for n, voice in _voices(loop, grid).items():
        found[grid.column(n.onset, steps) // grid.steps_per_beat, voice].append(n)
    keys = sorted(found)
    scores = np.log([_LIKED[voice] for _, voice in keys]) + rng.gumbel(size=len(keys))
    return [(*keys[i], found[keys[i]]) for i in np.argsort(-scores, kind="stable").tolist()]


# ---- writing --------------------------------------------------------------------------------------------------------


class _Pen:
    """Writes the notes of an answer, one by one.

    Args:
        frame: what it is written into.
        heard: what was heard before it.
        begin: first step of the answer.
        opened: where new notes may be struck, shape (steps, pitches).
        given: cells of given notes.
        recalled: cells of the recalled loop.
        kind: what that loop is to the answer.
        chord: chord of each beat; None if it is not told.
        wish: attributes that the answer shall have; None if they are not told.
        context: of the bars before the answer; by default of the last loop that was heard.
        lags: whether what was struck some bars ago is shown.
        due: spans of steps of the answer, in order, of which each shall get a new note.
        rest: the longest silence, in steps; None for any.
        room: most new notes of each beat; beats without an entry have room for any number.
    """

    def __init__(
        self,
        frame: Frame,
        heard: Read,
        begin: int,
        *,
        opened: NDArray[np.bool_],
        given: Ints | None = None,
        recalled: Ints | None = None,
        kind: int = 0,
        chord: Ints | None = None,
        wish: Sequence[float] | None = None,
        context: Tensor | None = None,
        lags: bool = True,
        due: Sequence[range] = (),
        rest: int | None = None,
        room: Mapping[int, int] | None = None,
    ) -> None:
        unknown = np.zeros(CONTEXT, np.float32) if context is None else context
        before = heard.ahead if begin == heard.end else unknown
        begin = _within_reach(begin, int(heard.step[-1]), frame)
        self._model, self._begin, self._bar = frame.model, begin, frame.bar
        some = np.zeros((0, 5), np.int64) if given is None else given
        self._sheet = Sheet(heard, begin, frame.steps, frame.bar, frame.grid, some, opened, recalled, chord, lags=lags)
        self._of_loop = told(before, wish, 0 if recalled is None else kind)
        memory = hearing(frame.model).hear(frame.model, heard)
        assert memory is not None  # nothing stops it
        self._memory = memory
        self._heard: dict[str, Tensor] = {
            "note": heard.note[-1:],
            "place": heard.place[-1:],
            "known": heard.known[-1:],
        }
        pitches = np.arange(frame.grid.pitch_low, frame.grid.pitch_high + 1)
        outside = np.array([not frame.scale.contains(int(pitch) - frame.up) for pitch in pitches])
        self._bias = -OUT_OF_KEY * frame.knobs["key_lock"] ** _FIRM * outside
        self._plain: dict[str, Tensor] = {
            "given": np.full((1, len(frame.model.card.classes())), -1, np.int64),
            "temperature": np.full((1, 1), frame.knobs["temperature"], np.float32),
            "least": np.full((1, 1), LEAST, np.float32),
        }
        self._rest, self._room, self._beat = rest, dict(room or {}), frame.grid.steps_per_beat
        self._clusters = frame.has_clusters()
        self._due = [range(begin + span.start, begin + span.stop) for span in due]
        self._most = _MOST_A_BEAT * frame.steps // frame.grid.steps_per_beat
        self._shifts = np.array(spelling_of(frame.model).shifts)
        self._figures: dict[tuple[tuple[int, int], ...], Counter[int]] = defaultdict(Counter)
        self._latest: tuple[tuple[int, int], ...] = ()
        self._fresh = 0.0

    def prefer_figures(self, heard: Read, log_odds: float) -> None:
        """Add log-odds to pitches that repeat a figure of the last loop that was heard."""
        self._fresh = log_odds
        for shift, row in heard.note[len(heard.note) - heard.last :, :2].tolist():
            self._say(shift, row)

    def _say(self, shift: int, row: int) -> None:
        if len(self._latest) == FIGURE - 1:
            self._figures[self._latest][row] += 1
        self._latest = (*self._latest, (shift, row))[-(FIGURE - 1) :]

    def write(self, rng: np.random.Generator) -> Ints:
        """Return the new cells, as of `sheet.cells`."""
        sheet, classes = self._sheet, sum(self._model.card.classes())
        spelling = spelling_of(self._model)
        new: list[tuple[int, int, int, int, int]] = []
        while len(new) < self._most and sheet.is_anything_open():
            feed = {**self._heard, **self._memory}
            if (forced := sheet.only_next()) is not None:
                # No choice to make.
                outputs = self._model.run(feed, memory_of(self._model.card))
                step, row = forced
                shift, touch = int(spelling.shift(step - sheet.now)), []
            else:
                feed |= {**self._plain, **sheet.seen()}
                bias, drawn = self._biased(), None
                for _ in range(_DRAWS):
                    feed["noise"] = self._in_time(rng.gumbel(size=classes))[None].astype(np.float32)
                    feed["bias"] = bias[None].astype(np.float32)
                    outputs = self._model.run(feed, step_of(self._model.card))
                    shift, row, *touch = outputs["chosen"][0].tolist()
                    step = sheet.now + spelling.shifts[shift]
                    if drawn is not None and step < sheet.end and not sheet.is_free(step, row):
                        shift, row, touch = drawn  # there is nothing else
                        step = sheet.now + spelling.shifts[shift]
                        break
                    if self._clusters or not sheet.crowds(step, row):
                        break
                    drawn = shift, row, touch
                    bias[row] += _NEVER
            self._memory = remembered(outputs)
            if step >= sheet.end:
                break
            if (note := sheet.given.get((step, row))) is not None:
                touch = list(note)
            elif sheet.is_open(step, row):
                new.append((step - self._begin, row, touch[0], touch[1], touch[2]))
                self._due = [span for span in self._due if step not in span]
            else:
                break  # no choice of a model that keeps its contract
            self._say(shift, row)
            sheet.strike(step, row, touch[0])
            if note is None:
                self._fill_up((step - self._begin) // self._beat)
            self._heard = {
                "note": np.array([[shift, row, *touch]], np.int64),
                "place": np.array([[(step - self._begin) % self._bar, self._bar]], np.float32),
                "known": np.concatenate([self._of_loop, sheet.chord_at(step)])[None],
            }
        return np.array(new, np.int64).reshape(-1, 5)

    def _fill_up(self, beat: int) -> None:
        """Count a new note of a beat, and close the beat when it is full."""
        if beat in self._room:
            self._room[beat] -= 1
            if not self._room[beat]:
                self._sheet.close(self._begin + beat * self._beat, self._begin + (beat + 1) * self._beat)

    def _in_time(self, noise: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rule out shifts past the end of a span that still has to get a note, if it can get one, and longer rests."""
        sheet = self._sheet
        self._due = [span for span in self._due if sheet.can_reach(span.stop)]
        latest = self._due[0].stop - 1 if self._due else sheet.end + len(self._shifts)
        if self._rest is not None and (limit := sheet.silent_from() + self._rest) < sheet.end:
            latest = min(latest, max(limit, self._begin))
        noise[: len(self._shifts)][self._shifts + sheet.now > latest] = _OUT
        return noise

    def _biased(self) -> Tensor:
        """Return log-odds to add to each pitch."""
        bias = self._bias - _CLASH * self._sheet.rubs(_LONG)
        if self._fresh:
            for row, times in self._figures.get(self._latest, Counter[int]()).items():
                bias[row] += self._fresh * min(times, 3)
        return bias


def _within_reach(begin: int, last: int, frame: Frame) -> int:
    """Return the first step of an answer, without those bars of silence before it that no shift spans."""
    longest = spelling_of(frame.model).shifts[-1]
    while begin - last > longest and begin - frame.bar > last:
        begin -= frame.bar
    return min(begin, last + longest)


def _notes(new: Ints, frame: Frame, rng: np.random.Generator) -> list[Note]:
    """Return written cells as notes, with the player's touch.

    A class stands for several values. A note gets one between two that the player used: hands leave the grid and strike
    each note a little differently, while music that was written rather than played does not.
    """
    loop, grid, spelling = frame.loop, frame.grid, spelling_of(frame.model)
    played = [(n, grid.column(n.onset, grid.steps(each.length))) for each in (*frame.past, loop) for n in each.notes]
    late = _Touch([n.onset - column * grid.step for n, column in played], spelling.timings)
    loud = _Touch([n.velocity for n, _ in played], spelling.velocities)
    long = _Touch([n.duration for n, _ in played], [steps * grid.step for steps in spelling.durations], grid.step)
    notes = []
    for step, row, duration, velocity, timing in new.tolist():
        onset = min(max(step * grid.step + late.of(timing, rng), 0), loop.length - 1)
        lasts = max(min(long.of(duration, rng), loop.length - onset), 1)
        notes.append(
            Note(onset, folded(row + grid.pitch_low - frame.up), lasts, min(max(loud.of(velocity, rng), 1), 127))
        )
    return notes


class _Touch:
    """How the player times notes, how loud and how long they are.

    Args:
        used: the values that the player used.
        classes: the values that stand for classes, rising.
        step: of lengths, which were written, not played, if all are multiples of it; 1 for anything else, of which a
            player who uses one value uses no other.
    """

    def __init__(self, used: Sequence[int], classes: Sequence[int], step: int = 1) -> None:
        self._used, self._classes = sorted(used), classes
        self._one = len(set(used)) == 1 and step == 1
        self._written = len(set(used)) <= _FEW or (step > 1 and all(value % step == 0 for value in used))
        middles = [(a + b) / 2 for a, b in pairwise(classes)]
        self._bounds = [2 * classes[0] - middles[0], *middles, 2 * classes[-1] - middles[-1]]

    def of(self, number: int, rng: np.random.Generator) -> int:
        """Return a value of a class."""
        low, high = self._bounds[number : number + 2]
        if self._one:
            return self._used[0]
        first, beyond = bisect_left(self._used, low), bisect_left(self._used, high)
        if first == beyond:
            return self._classes[number] if self._written else round(rng.uniform(low, high))
        a, b = (self._used[int(i)] for i in rng.integers(first, beyond, 2))
        return a if self._written else round(a + (b - a) * rng.random())


def _sounded(new: Ints, frame: Frame, rng: np.random.Generator) -> Loop | None:
    notes = _notes(new, frame, rng)
    return frame.loop.with_notes(notes).monophonic_by_pitch() if notes else None


# ---- what is recalled -----------------------------------------------------------------------------------------------


def struck(loop: Loop) -> frozenset[tuple[int, int]]:
    """Return the sixteenth and the pitch of each note."""
    columns = max(loop.length // TICKS_PER_SIXTEENTH, 1)
    return frozenset((min(max(round(n.onset / TICKS_PER_SIXTEENTH), 0), columns - 1), n.pitch) for n in loop.notes)


def likeness(a: Loop, b: Loop) -> float:
    """Return the Dice coefficient of the cells of two loops; 0 if their lengths differ."""
    if (a.length, a.bar) != (b.length, b.bar):
        return 0.0
    cells_a, cells_b = struck(a), struck(b)
    return 2 * len(cells_a & cells_b) / max(len(cells_a) + len(cells_b), 1)


def followed(past: Sequence[Loop], call: Loop) -> Loop | None:
    """Return the loop that followed the earlier loop most like the call; None if none is alike."""
    best, found = ALIKE, None
    for before, after in pairwise((*past, call)):
        if after.length == call.length and (like := likeness(before, call)) >= best:
            best, found = like, after
    return found
