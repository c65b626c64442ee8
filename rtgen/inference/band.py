"""A band under a melody, by simple rules, from the chords that are planned for it.

Patterns that any player knows, thinner or busier, softer or louder with the melody. They are asked for half beat by
half beat, as chords are committed, and know nothing of the melody but how much, how loudly and how high is played.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rtgen.music.chord import Chord
from rtgen.music.note import Note
from rtgen.music.parts import PARTS, STYLES, Part
from rtgen.music.time import HALF, Metre

Chords = Sequence[Chord | None]

_BASS_LOW, _BASS_HIGH = 31, 50
_LOW, _HIGH = 50, 67
"""Where the lowest and the highest note of a voicing may be, if the melody leaves room."""
_KICK, _SNARE, _CLAP, _HAT, _PEDAL, _OPEN, _CRASH, _RIDE = 36, 38, 39, 42, 44, 46, 49, 51
_CALM, _BUSY = 0.9, 2.2
"""Notes per beat of the melody below which the band holds its notes, and above which it moves on half beats."""
_STILL = 0.5
"""Notes per beat below which the drums leave out the off-beats: less than a melody of crotchets ever has."""
_SWUNG = 80
"""Ticks by which a swung off-beat is later than a straight one: the last third of a beat."""
_HELD = 2
"""Half beats for which the melody holds a note until the second voice moves."""
_BELOW = {"thirds": (3, 4), "sixths": (8, 9), "free": (3, 4, 8, 9)}
"""Semitones by which the second voice may be below the melody."""
_SECOND_LOW, _SECOND_HIGH = 48, 84


@dataclass(frozen=True, slots=True)
class Touch:
    """How the melody is played at present.

    Args:
        density: notes per beat.
        velocity: mean velocity.
        lowest: lowest pitch.
        silent: half beats since something sounded; None if nothing has yet.
        pitch: the highest note that sounded last.
        held: half beats since a note was struck.
    """

    density: float = 1.0
    velocity: float = 80.0
    lowest: int = 72
    silent: int | None = None
    pitch: int = 72
    held: int = 0

    def heard(self, notes: Sequence[Note], half: int) -> Touch:
        """Return what it is after one more half beat.

        Args:
            notes: all that sound in the half beat, with onsets in ticks of the song.
            half: its number.
        """
        struck = [n for n in notes if n.onset >= half * HALF]
        if not notes:
            still = None if self.silent is None else self.silent + 1
            return replace(self, density=self.density * _KEEPS, silent=still, held=self.held + 1)
        density = self.density * _KEEPS + (1 - _KEEPS) * 2 * len(struck)
        loud = self.velocity
        for note in struck:
            loud = _KEEPS * loud + (1 - _KEEPS) * note.velocity
        low = min(n.pitch for n in notes)
        lowest = low if low < self.lowest else round(0.9 * self.lowest + 0.1 * low)
        last = max(notes, key=lambda n: (n.end, n.pitch))
        return Touch(density, loud, lowest, 0, last.pitch, 0 if struck else self.held + 1)


_KEEPS = 0.85
"""What the last half beats count, against the newest: about a bar is remembered."""


class Band:
    """Plays parts from chords, half beat by half beat. It is small, and can be copied to try something out.

    Args:
        metre: of the song, whose bars begin where the number of a half beat is a multiple of theirs.
        parts: which to play.
    """

    def __init__(self, metre: Metre, parts: Sequence[Part] = PARTS) -> None:
        self._bar = max(metre.bar // HALF, 1)
        # Strong places of a bar: its halves, or its dotted beats.
        compound = metre.unit == 8 and metre.beats % 3 == 0
        self._strong = 3 if compound else 4 if self._bar % 4 == 0 else self._bar
        self._beat = 3 if compound else 2
        # Where a snare is, against the kick at strong places.
        if compound:
            self._back = frozenset(range(3, self._bar, 6))
        elif self._bar % 4 == 0:
            self._back = frozenset(range(2, self._bar, 4))
        else:
            self._back = frozenset(range(2, self._bar, 2) if self._bar < 8 else range(4, self._bar, 4))
        self._parts = tuple(parts)
        self._voicing: tuple[int, ...] = (55, 60, 64)
        self._bass, self._up = 40, True
        self._second: int | None = None
        self._step = 0
        self._ends: Mapping[Part, int] = {}

    def copy(self) -> Band:
        """Return another one that would go on in the same way."""
        return copy.copy(self)

    def play(
        self,
        half: int,
        before: Chord | None,
        plan: Chords,
        touch: Touch,
        knobs: Mapping[str, float] | None = None,
    ) -> dict[Part, list[Note]]:
        """Return the notes that begin in a half beat, by part.

        Args:
            half: its number.
            before: the chord of the half beat before it.
            plan: the chords from this half beat on, at least one, of which later ones may change: notes are meant to
                last until the chord does, and are to be ended if it changes earlier.
            touch: how the melody is played.
            knobs: those of the parts; all in the middle by default.
        """
        if touch.silent is None:
            return {part: [] for part in self._parts}
        place = half % self._bar
        chord = plan[0]
        found: dict[Part, list[Note]] = {}
        for part in self._parts:
            now = self._now(part, half, place, before, plan, touch, knobs or {})
            match part:
                case "bass":
                    notes = self._bass_notes(now, chord) if chord else []
                case "comping":
                    notes = self._comping(now, chord) if chord else []
                case "second":
                    notes = self._second_voice(now, chord) if chord else []
                case "drums":
                    notes = self._drums(now)
            found[part] = notes
            if notes:
                self._ends = {**self._ends, part: max(n.end for n in notes)}
        return found

    def finish(
        self, half: int, chord: Chord | None, touch: Touch, knobs: Mapping[str, float] | None = None
    ) -> dict[Part, list[Note]]:
        """Return the last notes, which begin in a half beat and are held for a bar.

        Args:
            half: its number.
            chord: the last chord; None where there was none.
            touch: how the melody was played.
            knobs: as in `play`.
        """
        found: dict[Part, list[Note]] = {}
        on = half * HALF
        for part in self._parts:
            now = self._now(part, half, 0, None, (chord,), touch, knobs or {})
            notes: list[Note] = []
            if part == "drums":
                notes = [_note(on, _KICK, 1, now.loud(0.9)), _note(on, _CRASH, 2, now.loud(0.8))]
            elif chord is not None and part == "bass":
                self._bass = _near(chord.bass, self._bass, _BASS_LOW + now.up, _BASS_HIGH + now.up)
                notes = [_note(on, self._bass, self._bar, now.loud(0.9))]
            elif chord is not None and part == "comping":
                self._voicing = self._voiced(chord, now)
                notes = [_note(on, pitch, self._bar, now.loud(0.7)) for pitch in self._voicing]
            elif chord is not None:
                self._second = _near(chord.classes[1], self._second or 64, _SECOND_LOW, _SECOND_HIGH)
                notes = [_note(on, self._second, self._bar, now.loud(0.7))]
            found[part] = notes
        return found

    def _now(
        self,
        part: Part,
        half: int,
        place: int,
        before: Chord | None,
        plan: Chords,
        touch: Touch,
        knobs: Mapping[str, float],
    ) -> _Now:
        """What a part plays to, as its knobs have it."""
        styles = STYLES[part]
        return _Now(
            half,
            place,
            plan[0],
            before,
            plan,
            touch,
            self._bar,
            density=touch.density * 16 ** (knobs.get(f"{part}_density", 0.5) - 0.5),
            style=styles[min(max(round(knobs.get(f"{part}_style", 0)), 0), len(styles) - 1)],
            up=round(24 * (knobs.get(f"{part}_register", 0.5) - 0.5)),
            level=knobs.get(f"{part}_level", 1.0),
        )

    # ---- bass -------------------------------------------------------------------------------------------------------

    def _bass_notes(self, now: _Now, chord: Chord) -> list[Note]:
        low, high = _BASS_LOW + now.up, _BASS_HIGH + now.up
        pitch = _near(chord.bass, self._bass, low, high)
        loud, on = now.loud(0.9), now.half * HALF
        match now.style:
            case "walking":
                return self._walk(now, chord, low, high)
            case "pulse":
                self._bass = pitch
                return [_note(on, pitch, 0.8, loud - (8 if now.place % self._beat else 0))]
        if now.fresh or now.place == 0:
            self._bass = pitch
            if now.style == "roots":
                return [_note(on, pitch, now.lasts, loud)]
            step = now.lasts if now.density < _CALM else min(now.lasts, self._strong)
            return [_note(on, pitch, step if now.density < _BUSY else 1.6, loud)]
        if now.style == "roots":
            return []
        coming = now.plan[1] if len(now.plan) > 1 else None
        if coming is not None and coming != chord and now.density >= _BUSY and now.place % 2 == 1:
            # A half beat before the chord changes the bass leads to its new note, from a semitone or a tone off.
            target = _near(coming.bass, self._bass, low, high)
            steps = (-1, 1, -2, 2) if target >= self._bass else (1, -1, 2, -2)
            lead = next((target + s for s in steps if (target + s) % 12 in coming.classes + chord.classes), target - 1)
            return [_note(on, lead, 1, loud - 8)]
        if self._goes_on("bass", now):
            fifth = _near((chord.root + chord.kind.steps[2]) % 12, self._bass, low, high)
            last = min(now.lasts, self._strong)
            return [_note(on, fifth if chord.kind.bass == 0 else pitch, last, loud - 6)]
        if now.density >= _BUSY and now.place % self._beat == 0:
            return [_note(on, pitch, 1.6, loud - 8)]
        return []

    def _walk(self, now: _Now, chord: Chord, low: int, high: int) -> list[Note]:
        """A note on every beat: the bass of a new chord, then its notes one by one, and a step to the next chord."""
        on, loud = now.half * HALF, now.loud(0.9)
        if now.place % self._beat and not now.fresh:
            return []
        coming = now.plan[self._beat] if len(now.plan) > self._beat else None
        if now.fresh or now.place == 0:
            pitch = _near(chord.bass, self._bass, low, high)
        elif coming is not None and coming != chord:
            target = _near(coming.bass, self._bass, low, high)
            pitch = target + (1 if self._bass > target else -1)
        else:
            if not low + 3 <= self._bass <= high - 3:
                self._up = self._bass < low + 3
            way = range(1, 13) if self._up else range(-1, -13, -1)
            pitch = next((self._bass + s for s in way if (self._bass + s) % 12 in chord.classes), self._bass)
        self._bass = min(max(pitch, 0), 127)
        return [_note(on, self._bass, min(self._beat, max(now.lasts, 1)) * 0.95, loud)]

    # ---- chords -----------------------------------------------------------------------------------------------------

    def _voiced(self, chord: Chord, now: _Now) -> tuple[int, ...]:
        ceiling = min(max(now.touch.lowest - 1, 60), _HIGH + 5) + now.up
        return voicing(chord, self._voicing, ceiling, now.up)

    def _comping(self, now: _Now, chord: Chord) -> list[Note]:
        if now.fresh:
            self._voicing, self._step = self._voiced(chord, now), 0
        on, loud = now.half * HALF, now.loud(0.7)
        match now.style:
            case "held":
                begins = now.fresh or now.place == 0
                return [_note(on, pitch, now.lasts, loud) for pitch in self._voicing] if begins else []
            case "beats":
                if now.place % self._beat and not now.fresh:
                    return []
                return [_note(on, pitch, min(now.lasts, self._beat) * 0.85, loud) for pitch in self._voicing]
            case "off beats":
                if now.place % self._beat == 0:
                    return []
                return [_note(on, pitch, 0.6, loud) for pitch in self._voicing]
            case "broken":
                up = (*self._voicing, *self._voicing[-2:0:-1])
                count = 2 if now.density >= _BUSY else 1
                first, self._step = self._step, self._step + count
                return [
                    _note(on + i * HALF // count, up[(first + i) % len(up)], 1.5 / count, loud) for i in range(count)
                ]
        return self._figure(now)

    def _figure(self, now: _Now) -> list[Note]:
        """What pianists play beside a melody: few notes on the beats, single ones between them, softer.

        In POP909 two thirds of what a right hand strikes are single notes. There are six in a bar of a calm melody,
        and eight or nine in one of a busy melody.
        """
        struck = self._strikes(now, now.place, fresh=now.fresh)
        loud = now.loud(0.85) - (0 if now.place % self._strong % self._beat == 0 else 8)
        notes = []
        for pitch in struck:
            # It rings on until its key is struck again, or the chord changes.
            later = range(1, now.lasts)
            rings = next((i for i in later if pitch in self._strikes(now, now.place + i, fresh=False)), now.lasts)
            notes.append(_note(now.half * HALF, pitch, rings, loud))
        return notes

    def _strikes(self, now: _Now, at: int, *, fresh: bool) -> Sequence[int]:
        """Return the pitches of the voicing that are struck at a place of the bar."""
        lowest, *inner, highest = self._voicing
        place = at % self._strong
        calm, busy, on_beat = now.density < _CALM, now.density >= _BUSY, place % self._beat == 0
        if fresh or (busy and on_beat):
            return self._voicing
        if at % self._bar == 0:
            return lowest, highest
        if place == 0:
            return (lowest,) if calm else (lowest, highest)
        if on_beat:
            return inner[0], highest
        if calm and place == self._strong - 1 and self._strong > self._beat:
            return ()
        return (inner[-1] if place == 1 else inner[0] if place < self._beat else lowest,)

    def _goes_on(self, part: Part, now: _Now) -> bool:
        """Whether a part plays at a strong place within a chord: always if lively, and if calm where nothing sounds."""
        idle = self._ends.get(part, now.half * HALF) <= now.half * HALF
        return now.place % self._strong == 0 and (now.density >= _CALM or idle)

    # ---- second voice -----------------------------------------------------------------------------------------------

    def _second_voice(self, now: _Now, chord: Chord) -> list[Note]:
        """A third or a sixth below the melody, and a note further within the chord while the melody holds its own."""
        on, loud = now.half * HALF, now.loud(0.75)
        idle = self._ends.get("second", on) <= on
        moves = now.touch.held >= _HELD and now.place % self._beat == 0
        lively = now.place % self._beat == 0 if now.density < _BUSY else True
        if not (now.fresh or idle or moves or lively) or (now.density < _CALM and not (now.fresh or idle)):
            return []
        before = self._second
        top = now.touch.pitch + now.up
        below = [top - gap for gap in _BELOW[now.style] if (top - gap) % 12 in chord.classes]
        below = below or [p for p in range(top - 12, top - 2) if p % 12 in chord.classes]
        pitch = min(below, key=lambda p: (abs(p - (top - 4 if before is None else before)), p), default=top - 12)
        if moves and not now.fresh and pitch == before:
            # The melody stands still, so this goes on, to the chord's note beside its own.
            way = range(1, 13) if self._up else range(-1, -13, -1)
            near = next(pitch + s for s in way if (pitch + s) % 12 in chord.classes)
            self._up = not self._up
            pitch = near if near < top else pitch
        if pitch == before and not (now.fresh or idle):
            return []
        self._second = min(max(pitch, _SECOND_LOW), _SECOND_HIGH)
        return [_note(on, self._second, now.lasts, loud)]

    # ---- drums ------------------------------------------------------------------------------------------------------

    def _drums(self, now: _Now) -> list[Note]:
        on, place = now.half * HALF, now.place
        beat, strong, back = place % self._beat == 0, place % self._strong == 0, place in self._back
        found: list[tuple[int, float, int]] = []
        match now.style:
            case "four":
                found = [(_KICK, 0.9, 0)] if beat else [(_OPEN, 0.55, 0)]
                found += [(_CLAP, 0.75, 0)] if back else []
            case "half":
                found = [(_HAT, 0.5, 0)] if beat or now.density >= _CALM else []
                found += [(_KICK, 0.9, 0)] if place == 0 else []
                found += [(_SNARE, 0.85, 0)] if place == self._bar // 2 else []
            case "swing":
                found = [(_RIDE, 0.6, 0)] if beat else [(_RIDE, 0.45, _SWUNG)] if place - 1 in self._back else []
                found += [(_PEDAL, 0.55, 0)] if back else []
                found += [(_KICK, 0.4, 0)] if strong else []
            case _:
                straight = now.style == "straight"
                if straight or now.density >= _STILL or beat:
                    found.append((_HAT, 0.5, 0))
                if strong and not back:
                    found.append((_KICK, 0.9, 0))
                elif back and (straight or now.density >= _STILL):
                    found.append((_SNARE, 0.8 if self._strong != self._bar else 0.5, 0))
                elif now.density >= _BUSY and not straight and place == self._strong - 1:
                    found.append((_KICK, 0.7, 0))
        return [_note(on + later, pitch, 0.5, now.loud(share)) for pitch, share, later in found]


@dataclass(slots=True)
class _Now:
    """What a part plays to; it is made anew for each part of each half beat, which is quicker if it is not frozen.

    Args:
        half: number of the half beat.
        place: in its bar.
        chord: that sounds in it.
        before: the chord of the half beat before.
        plan: the chords from this half beat on.
        touch: how the melody is played.
        bar: half beats in a bar.
        density: notes per beat that the part goes with.
        style: how it is played.
        up: semitones by which it is higher than usual.
        level: factor on velocities.
    """

    half: int
    place: int
    chord: Chord | None
    before: Chord | None
    plan: Chords
    touch: Touch
    bar: int
    density: float
    style: str
    up: int
    level: float

    @property
    def fresh(self) -> bool:
        """Whether the chord is new."""
        return self.chord != self.before

    @property
    def lasts(self) -> int:
        """Half beats that the chord lasts, as far as is planned; whatever is held is struck again at the bar line."""
        lasts = next((i for i, other in enumerate(self.plan) if other != self.chord), len(self.plan))
        return min(lasts, self.bar - self.place)

    def loud(self, share: float) -> int:
        """Return a velocity, with an accent on the downbeat."""
        loud = min(max(round(self.touch.velocity * share) + 6 * (self.place == 0), 1), 127)
        return max(round(loud * self.level), 1)


def voicing(chord: Chord, before: Sequence[int], ceiling: int, up: int = 0) -> tuple[int, ...]:
    """Return a close voicing of a chord that is near the one before, below a ceiling where it can be.

    Args:
        chord: the chord.
        before: pitches of the voicing before.
        ceiling: highest pitch, if that can be.
        up: semitones by which all is higher than usual.
    """
    classes = sorted(chord.classes)
    best: tuple[float, tuple[int, ...]] | None = None
    for turn in range(len(classes)):
        order = classes[turn:] + classes[:turn]
        for octave in (36, 48, 60, 72):
            pitches = [octave + order[0]]
            for each in order[1:]:
                pitches.append(pitches[-1] + (each - pitches[-1]) % 12)
            moves = sum(min(abs(p - old) for old in before) for p in pitches)
            moves += sum(min(abs(p - old) for p in pitches) for old in before)
            outside = max(pitches[-1] - min(ceiling, _HIGH + 5 + up), 0) + max(_LOW + up - pitches[0], 0)
            cost = moves + 20 * outside
            if best is None or cost < best[0]:
                best = cost, tuple(pitches)
    assert best is not None
    return best[1]


def ends(part: Part, struck: bool, changed: bool) -> bool:
    """Whether what still sounds of a part ends: with a new chord, or a new note of a part that plays one at a time.

    Args:
        part: the part.
        struck: whether it has new notes.
        changed: whether the chord is a new one.
    """
    return part != "drums" and (changed or (struck and part != "comping"))


def _near(tone: int, pitch: int, low: int, high: int) -> int:
    """The pitch of a class within a range that is nearest to another pitch."""
    return min((p for p in range(low, high + 1) if p % 12 == tone), key=lambda p: (abs(p - pitch), p))


def _note(onset: int, pitch: int, halves: float, velocity: int) -> Note:
    """A note whose loudness is a little off, as by hand: always the same at one place, so that a plan stays a plan."""
    # Knuth's multiplicative hash.
    mixed = (onset * 128 + pitch) * 2654435761 & 0xFFFFFFFF
    off = (mixed >> 28) - (mixed >> 24 & 15)
    loud = velocity + round(velocity * off / 128)
    return Note(onset, pitch, max(round(halves * HALF) - 10, 30), min(max(loud, 1), 127))
