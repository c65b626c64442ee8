"""Plays along: hears a player half beat by half beat, harmonises, and writes the parts of a band.

What is written is committed a little before it sounds, and never changes then, but for a chord that the player's left
hand strikes. Beyond that it is a plan. All of it follows from what was heard, the knobs and the seed, and not from when
it was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rtgen.inference.band import Band, Touch, ends
from rtgen.inference.harmoniser import Harmoniser
from rtgen.inference.model import Model
from rtgen.instrument.job import HalfBeat, Piece, Plan
from rtgen.instrument.parameters import ALONE, PARAMETERS
from rtgen.music import key
from rtgen.music.chord import Chord, chord_of
from rtgen.music.note import Note
from rtgen.music.parts import PARTS, Part, Struck
from rtgen.music.time import HALF, Metre

MOST_MISSED = 64
"""So many half beats in a row that were not heard are told the model as such; after more it begins anew."""
_BOLD = 0.3
"""Temperature of the chords where the knob is at 1: drawn as likely as they are they would change too often."""
_KEY_BARS = 8
"""The key of an ending is that of so many last bars."""
_VAMP_BARS = 4
"""So many last bars go round while nothing is played."""


class Along:
    """Plays along with one player.

    Args:
        model: of the role `harmoniser`.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._epoch: int | None = None
        self._metre = Metre()
        self._bar = self._metre.bar // HALF
        # The half beat that the harmoniser calls 0, and the first for which nothing is committed yet.
        self._origin = self._written = 0
        self._one = Harmoniser(model, self._metre)
        self._touch = Touch()
        # How many half beats were not silent.
        self._sounded = 0
        # What was played in the last bars, by half beats.
        self._melody: list[Note] = []
        self._left: Chord | None = None
        self._state = _State(Band(self._metre))
        # As it was before what is committed was written.
        self._states: dict[int, _State] = {}
        self._plan: tuple[Chord | None, ...] = ()

    def hear(self, half: HalfBeat) -> Plan:
        """Return what to play in the half beats to come, now that one more was heard."""
        known = half.epoch == self._epoch and half.metre == self._metre and not half.before
        if not known or not 0 <= half.number - self._now <= MOST_MISSED:
            self._begin(half)
        while self._now < half.number:
            self._listen(None)
        ahead = round(_knob(half, "ahead"))
        self._one.tune(seed=half.seed, temperature=_BOLD * _knob(half, "temperature"), ahead=ahead)
        if half.notes is not None:
            self._listen(half.notes)
        self._take(half)
        self._written = first = max(self._written, self._now)
        self._plan = self._one.plan(self._bar + ahead + 1)
        pieces = []
        for number in range(first, self._now + ahead + 1):
            self._states[number] = self._state.copy()
            pieces.append(self._write(number, half))
        certain = len(pieces)
        self._written += certain
        state = self._state
        self._state = state.copy()
        pieces += [self._write(number, half) for number in range(self._written, self._now + self._bar)]
        self._state = state
        self._states = {number: state for number, state in self._states.items() if number >= self._now}
        return Plan(half.epoch, half.number, first, certain, tuple(pieces))

    @property
    def _now(self) -> int:
        """Number of the half beat that is to be heard next."""
        return self._origin + self._one.now

    # ---- what is heard ----------------------------------------------------------------------------------------------

    def _begin(self, half: HalfBeat) -> None:
        """Begin a stretch of the song, with what is known of the half beats before it."""
        self._epoch, self._metre = half.epoch, half.metre
        self._bar = half.metre.bar // HALF
        self._origin = half.number - len(half.before)
        self._one = Harmoniser(
            self._model,
            half.metre,
            seed=half.seed,
            temperature=_BOLD * _knob(half, "temperature"),
            ahead=round(_knob(half, "ahead")),
            position=self._origin % self._bar,
        )
        self._touch, self._sounded, self._melody, self._left = Touch(), 0, [], None
        self._state, self._states = _State(Band(half.metre)), {}
        for notes in half.before:
            # What was played along is not known, but what the model would have said.
            self._state.played[self._now] = self._one.plan(1)[0]
            self._listen(notes)
        # What is told at the end of a half beat comes too late for the one that begins then.
        self._written = half.number + (1 if half.notes is None else 2)

    def _listen(self, notes: Sequence[Note] | None) -> None:
        if notes is None:
            self._one.hear(None)
            return
        number = self._now
        at, shift = number * HALF, (number - self._origin) * HALF
        self._one.hear([replace(n, onset=n.onset + shift) for n in notes])
        self._touch = self._touch.heard([replace(n, onset=n.onset + at) for n in notes], number)
        if notes:
            self._sounded += 1
            self._state.over, self._state.ends_at = False, None
        oldest = at - _KEY_BARS * self._metre.bar
        self._melody = [n for n in self._melody if n.onset >= oldest]
        for n in notes:
            onset = max(n.onset, 0)
            self._melody.append(Note(onset + at, n.pitch, max(min(n.end, HALF) - onset, 1), n.velocity))

    def _take(self, half: HalfBeat) -> None:
        """Take the chord of the left hand, and write again what was written beyond where it begins."""
        chord = chord_of(half.left, self._model.card.chords) if half.left else None
        if chord == self._left:
            return
        self._left = chord
        since = max(half.since, self._now)
        self._one.take(chord, since - self._origin)
        if chord is not None and since < self._written:
            self._state, self._written = self._states[since], since

    # ---- what is written --------------------------------------------------------------------------------------------

    def _write(self, number: int, half: HalfBeat) -> Piece:
        """Return what is to be played in a half beat; those before it have been written."""
        state, place, bar = self._state, number % self._bar, self._bar
        before = state.played.get(number - 1)
        plan: Sequence[Chord | None] = self._plan[number - self._now :]
        if self._touch.silent is None and self._left is not None:
            self._touch = replace(self._touch, silent=0)
        silent = self._touch.silent
        if silent is None or (not state.plays and place % 2):
            return Piece()  # it comes in on a beat
        if silent >= round(_knob(half, "patience")) * bar and self._left is None and not state.over:
            match ALONE[round(_knob(half, "alone"))]:
                case "vamp":
                    plan = [self._again(number + i) for i in range(bar)]
                case "rest" if place == 0:
                    state.over = True
                case "end":
                    if state.ends_at is None and place <= bar // 2:
                        state.ends_at = number - place + bar
                    if number == state.ends_at:
                        return self._finish(number, before, half)
                    if state.ends_at is not None and place >= bar // 2:
                        plan = [self._leading(before)] * (state.ends_at - number) + [self._home(before)]
        state.plays = not state.over
        if state.over:
            return Piece()  # what sounds still sounds to its end
        if not state.knows:
            # Chords to a few notes would be guesses: after the drums they come in with a bar.
            enough = self._sounded >= (bar // 2 if place == 0 else bar)
            state.knows = enough or self._left is not None
        chord, plan = (plan[0], plan) if state.knows else (None, (None,))
        state.remember(number, chord, oldest=number - (_VAMP_BARS + 1) * bar)
        made = state.band.play(number, before, plan, self._touch, half.knobs)
        ended = [part for part, new in made.items() if ends(part, bool(new), chord != before)]
        return Piece(_name(chord), _struck(made, number), tuple(ended))

    def _finish(self, number: int, before: Chord | None, half: HalfBeat) -> Piece:
        """The last chord."""
        state, chord = self._state, self._home(before)
        state.over, state.plays, state.ends_at = True, False, None
        made = state.band.finish(number, chord, self._touch, half.knobs)
        return Piece(_name(chord), _struck(made, number), tuple(part for part in PARTS if part != "drums"))

    def _again(self, number: int) -> Chord | None:
        """The chord of a half beat while the last bars go round."""
        played = self._state.played
        for bars in (_VAMP_BARS, 2, 1):
            before = number - bars * self._bar
            while before > max(played, default=before):
                before -= bars * self._bar
            if played.get(before) is not None:
                return played[before]
        return None

    def _home(self, last: Chord | None) -> Chord | None:
        """The tonic if the last chord is of its key, else that chord."""
        found = key.estimate(self._melody)
        if last is None or found is None:
            return last
        scale = _MINOR if found.minor else _MAJOR
        if any((tone - found.tonic) % 12 not in scale for tone in last.classes):
            return last
        return self._chord(found.tonic, "m" if found.minor else "") or last

    def _leading(self, last: Chord | None) -> Chord | None:
        """The chord before the last one: its dominant, or what sounds if there is no tonic to go to."""
        home = self._home(last)
        if home is None or home == last or home.kind.name not in ("", "m"):
            return last
        return self._chord((home.root + 7) % 12, "7") or last

    def _chord(self, root: int, kind: str) -> Chord | None:
        """A chord, if the model knows its kind."""
        return next((Chord(root, each) for each in self._model.card.chords if each.name == kind), None)


class _State:
    """What changes as the band plays on.

    Args:
        band: plays the parts.
    """

    def __init__(self, band: Band) -> None:
        self.band = band
        self.played: dict[int, Chord | None] = {}
        """The chord that was played in each half beat of the last bars."""
        self.plays = self.knows = self.over = False
        """Whether it plays, whether it has heard enough for chords, and whether it is over as nothing is played."""
        self.ends_at: int | None = None
        """The half beat on which it ends, while nothing is played."""

    def copy(self) -> _State:
        """Return another one that goes on by itself."""
        found = _State(self.band.copy())
        found.played = dict(self.played)
        found.plays, found.knows, found.over, found.ends_at = self.plays, self.knows, self.over, self.ends_at
        return found

    def remember(self, number: int, chord: Chord | None, oldest: int) -> None:
        """Keep the chord of a half beat, and forget those before the oldest."""
        self.played = {n: c for n, c in self.played.items() if n >= oldest}
        self.played[number] = chord


def _name(chord: Chord | None) -> str:
    return "" if chord is None else str(chord)


def _struck(made: Mapping[Part, Sequence[Note]], number: int) -> tuple[Struck, ...]:
    """Notes of the parts with onsets from the beginning of a half beat."""
    return tuple((part, replace(n, onset=n.onset - number * HALF)) for part, new in made.items() for n in new)


def _knob(half: HalfBeat, name: str) -> float:
    return half.knobs.get(name, PARAMETERS[name].default)


_MAJOR = frozenset({0, 2, 4, 5, 7, 9, 11})
_MINOR = frozenset({0, 2, 3, 5, 7, 8, 10, 11})
