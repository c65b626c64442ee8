"""Playing along, as a session does it: it tells half beat by half beat what is played, and plays what is planned.

The model is told when a half beat is over, and says what to play in one to come (`ahead` half beats later). That is
planned in ticks like any answer, each part on its channel. What comes late leaves a rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from rtgen.instrument.clocks.transport import Transport
from rtgen.instrument.job import HalfBeat, Piece, Plan
from rtgen.instrument.looper import Looper
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.sound import Sound
from rtgen.music import midi
from rtgen.music.hand import Hand, Moved, Stroke
from rtgen.music.note import Loop, Note
from rtgen.music.parts import PARTS, Part
from rtgen.music.time import HALF, Metre

_REMEMBERS = 64
"""Half beats that a model which knows nothing of the song is told of."""
_KEEPS = 3 * _REMEMBERS
"""Half beats of what was played along that are kept, for a clip of a loop that has ended."""
_SETTLES_S = 0.03
"""So long after its last key went down a chord of the left hand is all there."""
_LEAST_S = 0.02
"""Shortest time before a half beat begins in which its chord can still be another one; longer if plans take longer."""
_SURE_S = 0.01
"""What is added to the longest of the last times that a plan took."""
_FAR = _REMEMBERS * HALF
"""Ticks before a half beat beyond which it does not matter when a note began that still sounds."""


@dataclass(frozen=True, slots=True)
class Coming:
    """What is planned to be played along, for display.

    Args:
        start: tick of the song at which the first piece begins.
        certain: how many pieces are committed.
        pieces: for each half beat.
    """

    start: int = 0
    certain: int = 0
    pieces: tuple[Piece, ...] = ()


class LeftHand:
    """The chord that is held below *split*; after it is let go it stays for a bar, or until the next one."""

    def __init__(self) -> None:
        self._down: dict[tuple[int, int], None] = {}
        self._let_go_at: int | None = None
        self._chord: tuple[int, ...] = ()
        self.settles_at = inf
        """When keys that were struck are a chord, in seconds."""

    def feed(self, now: float, message: bytes, split: float) -> bool:
        """Handle a message, and return whether it is a note of the left hand, below the split."""
        key = (message[0] & 0x0F, message[1])
        if midi.is_note_on(message):
            if message[1] >= split:
                return False
            self._down[key] = None
            self.settles_at = now + _SETTLES_S
            return True
        if midi.is_note_off(message):
            self._down.pop(key, None)
        return False

    def chord(self, now: float, tick: int, bar: int) -> tuple[int, ...]:
        """Return the pitches that count as the chord at a tick."""
        if now >= self.settles_at:
            self.settles_at = inf
            self._chord = tuple(sorted({pitch for _, pitch in self._down})) or self._chord
        if self._down:
            self._let_go_at = None
        elif self._let_go_at is None:
            self._let_go_at = tick
        elif tick >= self._let_go_at + bar:
            self._chord = ()
        return self._chord


class Along:
    """Plays along while the song rolls, between `begin` and `halt`.

    Args:
        transport: says when a tick is.
        sound: plays what is planned.
        options: of the session.
    """

    def __init__(self, transport: Transport, sound: Sound, options: Options) -> None:
        self._transport, self._player = transport, sound.player
        # How long before a message sounds it has to be known.
        self._before_s = max(options.output_offset_s, 0.0) + options.ahead_s + options.delivery_s
        self.looper = Looper(gestures=False)
        """Takes what is played, in ticks of the song."""
        self.left = LeftHand()
        """The player's left hand."""
        self.on = False
        """Whether it plays along now."""
        self._epoch = 0
        # The half beat that ends next, and the last ones that ended.
        self._next = 0
        self._past: deque[tuple[Note, ...]] = deque(maxlen=_REMEMBERS)
        # By how much the half beats were renumbered since they ended.
        self._skew = 0
        # Whether the model may not know what was before.
        self._fresh = True
        self._told_left: tuple[int, ...] = ()
        # When which half beat was told, and how long the last plans took, in seconds.
        self._told_at: dict[int, float] = {}
        self._took: deque[float] = deque((_LEAST_S,), maxlen=64)
        # What is to be played by half beats, and before which of them it is committed.
        self._pieces: dict[int, Piece] = {}
        self._certain = 0
        self._knobs: Mapping[str, float] = {}

    def begin(self, epoch: int, tick: int) -> None:
        """Begin a stretch of the song at a tick, with what is known of what was played before.

        Args:
            epoch: its number.
            tick: in the song.
        """
        number = tick // HALF
        self._epoch = epoch
        self._fresh, self.on = True, True
        self._skew, self._next = number - self._next, number
        self.looper.begin(0)
        self._told_at.clear()
        self._pieces.clear()
        self._certain = number

    def halt(self) -> None:
        """Play along no more; what is planned is not its to end."""
        self.on = False
        self.looper.cancel()

    def forget(self) -> None:
        """Forget what was played so far."""
        self._past.clear()
        self._fresh = True

    def unknown(self) -> None:
        """Handle a model that was loaded just now and knows nothing of the song."""
        self._fresh = True

    # ---- what is told -----------------------------------------------------------------------------------------------

    @property
    def next_at(self) -> float:
        """When there is something to tell, in seconds."""
        return min(self._transport.time_at((self._next + 1) * HALF), self.left.settles_at)

    def _soonest(self, now: float, after_s: float = 0.0) -> int:
        """Return the first tick at which what is known `after_s` from now can be heard."""
        return self._transport.tick_at(now + after_s + self._before_s)

    def tell(self, now: float, preset: Preset, knobs: Mapping[str, float], seed: int) -> list[HalfBeat]:
        """Return what the model is to be told by now.

        Args:
            now: seconds.
            preset: that plays.
            knobs: value of every parameter.
            seed: of all chance.
        """
        found: list[HalfBeat] = []
        tick, soonest = self._transport.tick_at(now), self._soonest(now, self.lead_s)
        settled = now >= self.left.settles_at
        left = self.left.chord(now, tick, preset.metre.bar)

        def half(number: int, notes: tuple[Note, ...] | None) -> HalfBeat:
            before = self._before(preset.metre) if self._fresh else ()
            self._fresh, self._told_left = False, left
            since = -(-soonest // HALF)
            told = dict(knobs)
            return HalfBeat(number, self._epoch, notes, preset.metre, left, since, before, seed, told, preset.model)

        while tick >= (self._next + 1) * HALF:
            notes = self._within(self._next)
            self._told_at[self._next] = now
            found.append(half(self._next, notes))
            self._past.append(notes)
            self._next += 1
            self.looper.forget(self._next * HALF)
        if settled and not found and left != self._told_left:
            found.append(half(self._next, None))
        return found

    def _within(self, number: int) -> tuple[Note, ...]:
        """Return what sounds in a half beat, with onsets from its beginning."""
        at = number * HALF
        return tuple(
            replace(n, onset=max(n.onset - at, -_FAR), duration=n.end - at - max(n.onset - at, -_FAR))
            for n in self.looper.notes(at + HALF)
            if n.onset < at + HALF and n.end > at
        )

    def _before(self, metre: Metre) -> tuple[tuple[Note, ...], ...]:
        """Return the last half beats, with the last of them where it lies in the bar by now."""
        over = -self._skew % max(metre.bar // HALF, 1)
        past = list(self._past)
        self._skew = 0
        return tuple(past[: len(past) - over] if over else past)

    # ---- what is planned --------------------------------------------------------------------------------------------

    def take(self, now: float, plan: Plan, knobs: Mapping[str, float]) -> bool:
        """Plan what the model says.

        Args:
            now: seconds.
            plan: what it says.
            knobs: value of every parameter.

        Returns:
            Whether it came too late for the first of what it commits.
        """
        if not self.on or plan.epoch != self._epoch:
            return False
        told_at = self._told_at.pop(plan.heard, None)
        if told_at is not None:
            self._took.append(now - told_at)
        self._told_at = {number: at for number, at in self._told_at.items() if number > plan.heard}
        self._knobs = dict(knobs)
        self._pieces = {n: piece for n, piece in self._pieces.items() if self._next - _KEEPS <= n < plan.since}
        self._pieces |= {plan.since + i: piece for i, piece in enumerate(plan.pieces)}
        self._certain = plan.since + plan.certain
        for number in range(plan.since, self._certain):
            for part in PARTS:
                self._put(part, number, number * HALF)
        return told_at is not None and plan.certain > 0 and plan.since * HALF < self._soonest(now)

    def _put(self, part: Part, number: int, from_tick: int) -> None:
        """Have a part play a piece, and what was planned of it before nothing from there on."""
        piece = self._pieces[number]
        ends = part in piece.ends
        muted = bool(self._knobs.get(f"{part}_mute"))
        channel = round(self._knobs.get(f"{part}_channel", 1)) - 1
        at = number * HALF
        strokes = [
            Stroke(n.onset + at, n.pitch, n.duration, n.velocity, channel)
            for who, n in piece.notes
            if who == part and not muted and n.onset + at >= from_tick
        ]
        self._player.put(part, strokes, max(at, from_tick), ends=ends or muted)

    def tune(self, now: float, knobs: Mapping[str, float], from_tick: int | None = None) -> None:
        """Play what is committed as knobs have it that act at once: those that mute a part, or move it elsewhere.

        Args:
            now: seconds.
            knobs: value of every parameter.
            from_tick: the first tick that is meant; None: at once.
        """
        from_tick = self._soonest(now) if from_tick is None else from_tick
        changed = {n for n in knobs if n.endswith(("_mute", "_channel")) and knobs[n] != self._knobs.get(n, knobs[n])}
        self._knobs = dict(knobs)
        for part in PARTS if self.on else ():
            if not changed & {f"{part}_mute", f"{part}_channel"}:
                continue
            self._player.put(part, (), from_tick, ends=True)
            for number in range(from_tick // HALF, self._certain):
                if number in self._pieces:
                    self._put(part, number, from_tick)

    @property
    def lead_s(self) -> float:
        """How long before it begins the chord of a half beat can be another one, in seconds."""
        return max(*self._took, _LEAST_S) + _SURE_S

    def coming(self, now: float) -> Coming:
        """Return what is planned from the present half beat on."""
        if not self.on:
            return Coming()
        first = self._transport.tick_at(now) // HALF
        pieces = []
        for number in range(first, first + len(self._pieces)):
            if number not in self._pieces:
                break
            pieces.append(self._pieces[number])
        return Coming(
            first * HALF - self._transport.ahead, min(max(self._certain - first, 0), len(pieces)), tuple(pieces)
        )

    def loop(self, now: float, preset: Preset) -> Loop:
        """Return what is committed of the present loop of the song, each part on its channel."""
        return self._loop(self._transport.tick_at(now) // preset.length, preset)

    def kept(self, preset: Preset) -> Loop | None:
        """Return the last loop that has ended, or else what was played of the present one; None if nothing was."""
        index = self._next * HALF // preset.length
        loops = (self._loop(each, preset) for each in (index - 1, index))
        return next((loop for loop in loops if loop.notes), None)

    def _loop(self, index: int, preset: Preset) -> Loop:
        """Return what is committed of a loop of the song, each part on its channel."""
        length, bar = preset.length, preset.metre.bar
        start = index * length
        keys: list[tuple[int, int, bytes]] = []
        notes: list[Note] = []
        last: dict[Part, list[Note]] = {part: [] for part in PARTS}
        for number in range(start // HALF, min(self._certain, (start + length) // HALF)):
            piece, at = self._pieces.get(number), number * HALF - start
            if piece is None:
                continue
            for part in piece.ends:
                last[part] = [replace(n, duration=min(n.duration, max(at - n.onset, 1))) for n in last[part]]
            for part, n in piece.notes:
                if not self._knobs.get(f"{part}_mute"):
                    last[part].append(replace(n, onset=n.onset + at))
        for part, played in last.items():
            channel = round(self._knobs.get(f"{part}_channel", 1)) - 1
            for n in Loop(length, tuple(played), bar).monophonic_by_pitch().notes:
                end = min(n.end, length)
                notes.append(replace(n, duration=end - n.onset))
                keys.append((n.onset, 1, midi.note_on(channel, n.pitch, n.velocity)))
                keys.append((end, 0, midi.note_off(channel, n.pitch)))
        messages = tuple(Moved(tick, data) for tick, _, data in sorted(keys))
        return Loop(length, tuple(notes), bar, Hand(messages, apart=True))
