"""Schedules the notes and gestures of answers, and keeps a ledger of what sounds and what is bent, pressed or held."""

from __future__ import annotations

import dataclasses
import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from rtgen.instrument.events import Left, Planned
from rtgen.music import midi
from rtgen.music.hand import FIRST, LAST, Moved, Stroke, on_channel
from rtgen.music.note import Loop

LATE_S = 0.05
"""Note-ons later than this, in seconds, are dropped; note-offs never are."""

_Key = tuple[int, int]
_Place = tuple[int, int, int]
"""When something is due: its tick, where its loop starts, and its place among all that is due at that tick."""
_BEGINS, _CUT, _ENDS = FIRST + 1, FIRST + 2, LAST + 1
"""The places at which gestures begin, end because others take over, and end with their loop."""
_NEVER = -(2**62)
THRU = 0
"""The ledger's owner of thru notes; the player's own notes are numbered from 1."""


class Ledger:
    """The only way out for notes and gestures, so that nothing is left sounding, bent, pressed or held.

    Exactly one note-off is sent for every note-on. Each (channel, pitch) sounds only once: a repeated note-on ends the
    earlier note first, whoever owns it, and that note's own note-off is then not sent.

    Of each bend, pressure and controller it knows where the player's hand left it (thru) and where an answer did. While
    the hand bends, presses or holds a pedal, it has it, and the answer's values of that kind on that channel wait; when
    the hand lets go, the answer's are there again. A wheel that stays where it is put (CC 1, 11, 74) is where it was
    moved last. When an answer ends, everything that it moved goes back to where the hand left it, or to rest.

    While the output is unplugged no note begins, and the note-offs of what was sounding are kept until it is back.
    """

    def __init__(self) -> None:
        self._sounding: dict[_Key, int] = {}
        self._channels: set[int] = set()
        # By `midi.shape`.
        self._hand: dict[bytes, bytes] = {}
        self._answer: dict[bytes, bytes] = {}
        # What answers moved since the last release, as what took it to rest may be taken back; and all that ever moved.
        self._touched: set[bytes] = set()
        self._moved: set[bytes] = set()
        self._owed: list[bytes] | None = None
        self._took_back = False
        self.releases = 0
        """How often everything of the answers was ended."""

    @property
    def plugged(self) -> bool:
        """Whether the output is connected."""
        return self._owed is None

    def unplug(self) -> None:
        """Handle the loss of the output."""
        if self._owed is None:
            self._owed = self.release(thru=True)

    def plug(self) -> list[bytes]:
        """Handle the return of the output.

        Returns:
            Note-offs for the notes that were sounding when it went, and messages that end whatever was lost in transit.
        """
        if self._owed is None:
            return []
        owed, self._owed = self._owed, None
        ends = [
            midi.control(channel, number, 0)
            for channel in sorted(self._channels)
            for number in (midi.SUSTAIN, midi.ALL_NOTES_OFF)
        ]
        return owed + ends + self._all_back()

    def took_back(self) -> bool:
        """Return whether notes were ended since the last time, so that what is planned must not begin any more."""
        took, self._took_back = self._took_back, False
        return took

    def begin(self, key: _Key, velocity: int, owner: int) -> list[bytes]:
        """Return the messages that begin a note on (channel, pitch); none while there is no output."""
        if not self.plugged:
            return []
        messages = [midi.note_off(*key)] if key in self._sounding else []
        self._sounding[key] = owner
        self._channels.add(key[0])
        return [*messages, midi.note_on(*key, velocity)]

    def end(self, key: _Key, owner: int, release: int = 0) -> list[bytes]:
        """Return the note-off for the owner's note, with the velocity of its key; none if it no longer sounds."""
        if self._sounding.get(key) != owner:
            return []
        del self._sounding[key]
        return [midi.note_off(*key, release)]

    def end_through(self, channel: int) -> list[bytes]:
        """End the thru notes of a channel."""
        keys = [key for key, owner in self._sounding.items() if owner == THRU and key[0] == channel]
        return [message for key in keys for message in self.end(key, THRU)]

    # ---- bends, pressure, controllers -------------------------------------------------------------------------------

    def shape(self, message: bytes, *, thru: bool) -> list[bytes]:
        """Return what to send for a bend, a pressure or a controller, of the hand (`thru`) or of an answer.

        Nothing while there is no output.
        """
        if not self.plugged:
            return []
        shape = midi.shape(message)
        self._channels.add(shape[0] & 0x0F)
        self._moved.add(shape)
        if thru:
            self._hand[shape] = message
            lets_go = midi.returns(shape) and message == midi.at_rest(shape)
            return [self._answer.get(shape, message) if lets_go else message]
        self._answer[shape] = message
        self._touched.add(shape)
        return [] if self._holds(shape) else [message]

    def settle(self, wanted: Mapping[bytes, bytes]) -> list[bytes]:
        """Take what answers move to where it is wanted (by `midi.shape`), and all else back to where it was before."""
        ending = [each for each in self._answer.items() if each[0] not in wanted]
        for shape, _ in ending:
            del self._answer[shape]
        messages = [
            self._back(shape) for shape, message in ending if message != self._back(shape) and not self._holds(shape)
        ]
        for shape, message in wanted.items():
            if self._answer.get(shape) != message:
                messages += self.shape(message, thru=False)
        return messages

    def reset(self, channel: int) -> None:
        """Handle Reset All Controllers, which went through."""
        for of in (self._hand, self._answer):
            for shape in [s for s in of if s[0] & 0x0F == channel and s[1:] != bytes((midi.TIMBRE,))]:
                del of[shape]

    def damp(self, channel: int) -> list[bytes]:
        """End what the pedals of a channel hold: lift them and press them again."""
        messages = []
        for number in midi.HOLDS:
            shape = midi.control(channel, number, 0)[:2]
            stands = self._hand.get(shape) if self._holds(shape) else self._answer.get(shape)
            if stands is not None and stands[2]:
                messages += [midi.at_rest(shape), stands]
        return messages

    def _holds(self, shape: bytes) -> bool:
        """Return whether the hand bends, presses or holds it."""
        return midi.returns(shape) and self._hand.get(shape, rest := midi.at_rest(shape)) != rest

    def _back(self, shape: bytes) -> bytes:
        """Return where something goes back to when no answer moves it."""
        return self._hand.get(shape) or midi.at_rest(shape)

    def _all_back(self) -> list[bytes]:
        """Return everything that ever moved to rest, or wheels to where the hand left them; pedals are up already."""
        pedals = {bytes((0xB0 | channel, number)) for channel in self._channels for number in midi.HOLDS}
        return [self._back(shape) for shape in sorted(self._moved - pedals)]

    # ---- the end ----------------------------------------------------------------------------------------------------

    def release(self, *, thru: bool) -> list[bytes]:
        """End all notes of the player, and what they were shaped with; with `thru` also those of the hand."""
        self._took_back = True
        self.releases += 1
        ending = [key for key, owner in self._sounding.items() if thru or owner != THRU]
        messages = [midi.note_off(*key) for key in ending]
        for key in ending:
            del self._sounding[key]
        ending_shapes = {shape for shape in self._touched if thru or not self._holds(shape)}
        if thru:
            held = {shape for shape in self._hand if midi.returns(shape)}
            ending_shapes |= {shape for shape in held if self._holds(shape)}
            for shape in held:
                del self._hand[shape]
        self._answer.clear()
        self._touched.clear()
        return messages + [self._back(shape) for shape in sorted(ending_shapes)]

    def end_all(self, left: Left, *, gestures: bool = True) -> list[bytes]:
        """End the notes of a process that is gone, and whatever else it may have begun on its channels.

        Its log lacks the last half second, and not every synthesizer knows All Notes Off, so every pitch is ended, and
        everything that goes to rest by itself is taken there.

        Args:
            left: what it left.
            gestures: whether there was more to end than notes.
        """
        known = dict.fromkeys(left.sounding)
        messages = [midi.note_off(*key) for key in known]
        for channel in left.channels:
            messages += [midi.control(channel, number, 0) for number in (midi.SUSTAIN, midi.ALL_NOTES_OFF)]
            messages += [midi.note_off(channel, pitch) for pitch in range(128) if (channel, pitch) not in known]
        moved = {midi.shape(bytes((status, number, 0))) for status, number in left.moved} - {b""}
        if gestures:
            moved |= {bytes((status | c,)) for c in left.channels for status in (0xD0, 0xE0)}
            moved |= {
                bytes((0xB0 | c, number)) for c in left.channels for number in (midi.SOSTENUTO, midi.SOFT, midi.HOLD_2)
            }
        return messages + [midi.at_rest(shape) for shape in sorted(moved)]

    def panic(self) -> list[bytes]:
        """End all notes known to sound, then silence every channel in use, and take all that ever moved to rest."""
        messages = self.release(thru=True)
        if not self.plugged:
            return messages
        for channel in sorted(self._channels):
            messages += [midi.control(channel, n, 0) for n in (midi.SUSTAIN, midi.ALL_NOTES_OFF, midi.ALL_SOUND_OFF)]
        return messages + self._all_back()


@dataclass(frozen=True, slots=True)
class Voice:
    """How notes are played.

    Args:
        channel: 0-15, of notes that have none of their own.
        transpose: semitones.
        gate: factor on the duration.
        loudness: factor on the velocity.
    """

    channel: int = 0
    transpose: int = 0
    gate: float = 1.0
    loudness: float = 1.0


@dataclass(frozen=True, slots=True)
class Under:
    """A loop that plays under the one that is given to the player, in a voice of its own.

    Args:
        loop: what plays.
        start: tick at which it starts, which may be before or after the other's.
        voice: how it is played.
    """

    loop: Loop
    start: int
    voice: Voice


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    """A scheduled note-on or note-off, in the order in which they are sent; by default note-offs first at equal ticks.

    Args:
        tick: when it is due.
        start: tick at which its loop starts; of two loops that meet the earlier one ends first.
        place: among all that is due at the same tick.
        begins: whether it is a note-on.
        owner: number of the note.
        stroke: as in the loop.
        key: (channel, pitch) as played, for a note-off.
        part: who plays it, if it is put beside others.
        voice: how it is played; None for the voice that the player has by then.
    """

    tick: int
    start: int
    place: int
    begins: bool
    owner: int
    stroke: Stroke = field(compare=False)
    key: _Key = field(default=(0, 0), compare=False)
    part: str = field(default="", compare=False)
    voice: Voice | None = field(default=None, compare=False)


@dataclass(slots=True)
class _Curve:
    """The gestures of a loop that plays.

    Args:
        moves: place among all messages of the hand, and message, in order.
        start: tick at which the loop starts.
        begins: tick from which they are played; what stands then is sent first.
        ends: tick at which everything goes back.
        at: which of the moves is next.
        apart: whether the channels are as played.
        voice: as of a note.
        begun: whether what stands at the beginning was sent.
        cut: whether another loop takes over at its end.
        stands: what was moved so far, by `midi.shape`, as it is sent.
    """

    moves: list[tuple[int, Moved]]
    start: int
    begins: int
    ends: int
    at: int
    apart: bool
    voice: Voice | None = None
    begun: bool = False
    cut: bool = False
    stands: dict[bytes, bytes] = field(default_factory=dict)

    def next(self) -> _Place:
        """Return when something is due next."""
        if self.at < len(self.moves):
            place, (onset, _) = self.moves[self.at]
            tick = self.start + onset
            if tick < self.ends and (self.begun or tick < self.begins):
                return tick, self.start, place
        if not self.begun:
            return self.begins, self.start, _BEGINS
        return self.ends, self.start, _CUT if self.cut else _ENDS


class Player:
    """A queue of keys and gestures ordered by tick. It holds no times in seconds; these are passed in.

    `channel` (0-15), `transpose` (semitones), `gate` (factor on the duration) and `loudness` (factor on the velocity)
    may be set at any time, and apply to notes that begin from then on, but for those of loops that play `Under` the one
    that is given. While `muted`, none begin.

    Args:
        ledger: shared with everything else that sends notes to the same port.
        channel: output channel, 0-15.
    """

    def __init__(self, ledger: Ledger, channel: int = 0) -> None:
        self._ledger = ledger
        self.channel = channel
        self.transpose = 0
        self.gate = self.loudness = 1.0
        self.muted = False
        self._queue: list[_Due] = []
        self._curves: list[_Curve] = []
        # Up to where all was played, and how often the ledger had been released when what stands was last sent.
        self._played = _NEVER
        self._releases = 0
        self._owner = THRU
        self._start = self._earliest = 0
        self._loop: Loop | None = None
        self._under: tuple[Under, ...] = ()

    @property
    def voice(self) -> Voice:
        """How notes are played from now on."""
        return Voice(self.channel, self.transpose, self.gate, self.loudness)

    def replace(self, loop: Loop, start: int, from_tick: int, under: Iterable[Under] = ()) -> None:
        """Play `loop` with its tick 0 at `start`; everything else that was scheduled ends at `from_tick`.

        Notes of the loop before `from_tick` are skipped, except those that anticipate its first downbeat. A note that
        already sounds and is also in this loop carries on. Gestures go on from where the loop has them by then. The
        same goes for those that play under it. Of two that strike a key at once in the same voice, one does.
        """
        self._loop, self._start, self._under = loop, start, tuple(under)
        self._earliest = from_tick - start if from_tick > start else -loop.length
        voice = self.voice
        coming = {
            (at + stroke.onset, stroke.pitch, stroke.channel, own or voice): (stroke, at, own)
            for of, at, own in (*((u.loop, u.start, u.voice) for u in self._under), (loop, start, None))
            for stroke in of.strokes()
        }
        kept = []
        for due in self._queue:
            if due.begins:
                if due.tick < from_tick:
                    kept.append(due)
                continue
            begun = due.start + due.stroke.onset, due.stroke.pitch, due.stroke.channel, due.voice or voice
            if begun in coming and self._ends(*coming[begun])[0] > from_tick:
                kept.append(self._ending(due, *coming.pop(begun)))
            else:
                kept.append(due if due.tick <= from_tick else dataclasses.replace(due, tick=from_tick, place=FIRST))
        self._queue = kept
        for stroke, at, own in coming.values():
            if at >= from_tick or at + stroke.onset >= from_tick:
                self._add(stroke, at, own)
        heapq.heapify(self._queue)
        self._bend(from_tick, self._earliest)

    def extend(self, before: Loop, loop: Loop) -> None:
        """Play `loop` instead of `before`, which is a part of it; what plays goes on.

        Do nothing if `before` is not what was given last, or was cleared since.
        """
        if before != self._loop:
            return
        self._loop = loop
        start = self._start
        coming = {(stroke.onset, stroke.pitch, stroke.channel): stroke for stroke in loop.strokes()}
        for i, due in enumerate(self._queue):
            if due.voice is not None:
                continue
            stroke = coming.get((due.start + due.stroke.onset - start, due.stroke.pitch, due.stroke.channel))
            if stroke is None:
                continue
            if stroke.onset >= self._earliest:
                # A note may end sooner if its pitch is struck again; its place is another one among more.
                if stroke != due.stroke and due.begins:
                    self._queue[i] = dataclasses.replace(due, place=stroke.begins, stroke=stroke)
                elif stroke != due.stroke:
                    self._queue[i] = self._ending(due, stroke, start, None)
            elif not due.begins and self._ends(stroke, start, None)[0] > start + self._earliest:
                self._queue[i] = self._ending(due, stroke, start, None)  # it carries on, as in `replace`
        known = {(stroke.onset, stroke.pitch, stroke.channel) for stroke in before.strokes()}
        for place, stroke in coming.items():
            if place not in known and stroke.onset >= self._earliest:
                self._add(stroke, start, None)
        heapq.heapify(self._queue)
        if before.hand or loop.hand:
            goes_on = max(start + self._earliest, self._played + 1)
            self._bend(goes_on, goes_on - start)

    def put(self, part: str, strokes: Iterable[Stroke], from_tick: int, *, ends: bool) -> None:
        """Have a part of a band play more; of what it was to play before, nothing begins from `from_tick` on.

        Everything else that is scheduled goes on.

        Args:
            part: its name.
            strokes: with onsets in ticks of the song.
            from_tick: the first tick that is meant.
            ends: whether what it plays ends there, if it would go on.
        """
        kept = []
        for due in self._queue:
            if due.part != part:
                kept.append(due)
                continue
            stroke = due.stroke
            if due.begins and stroke.onset >= from_tick:
                continue
            # Notes that sound although they were to begin later were overtaken.
            if ends or stroke.onset >= from_tick:
                if not due.begins:
                    due = dataclasses.replace(due, tick=min(due.tick, from_tick))
                elif self._ends(stroke, 0, None)[0] > from_tick:
                    lasts = round((from_tick - stroke.onset) / self.gate)
                    due = dataclasses.replace(due, stroke=stroke._replace(duration=max(lasts, 1)))
            kept.append(due)
        self._queue = kept
        for stroke in strokes:
            self._owner += 1
            self._queue.append(_Due(stroke.onset, 0, stroke.begins, True, self._owner, stroke, part=part))
        heapq.heapify(self._queue)

    def move(self, channel: int) -> None:
        """Play on another channel from now on, but for what is scheduled already."""
        if channel == self.channel:
            return
        voice = self.voice
        self._queue = [due if due.voice else dataclasses.replace(due, voice=voice) for due in self._queue]
        for curve in self._curves:
            curve.voice = curve.voice or voice
        self.channel = channel

    def _add(self, stroke: Stroke, start: int, voice: Voice | None) -> None:
        self._owner += 1
        self._queue.append(_Due(start + stroke.onset, start, stroke.begins, True, self._owner, stroke, voice=voice))

    def _bend(self, from_tick: int, first: int) -> None:
        """Play the gestures of what was given, of the loop from a tick of its own on (`first`), and no others.

        Args:
            from_tick: tick from which this is so.
            first: tick of the loop.
        """
        self._curves = [curve for curve in self._curves if curve.begun or curve.begins < from_tick]
        for curve in self._curves:
            if curve.ends > from_tick:
                curve.ends, curve.cut = from_tick, True
        for each in self._under:
            own = from_tick - each.start if from_tick > each.start else -each.loop.length
            if own < each.loop.length:
                self._curve(each.loop, each.start, max(from_tick, each.start), own, each.voice)
        if self._loop is not None:
            self._curve(self._loop, self._start, from_tick, first, None)

    def _curve(self, loop: Loop, start: int, from_tick: int, first: int, voice: Voice | None) -> None:
        if not loop.hand:
            return
        moves = list(loop.hand.gestures())
        at = bisect_left(moves, first, key=lambda each: each[1].tick)
        curve = _Curve(moves, start, from_tick, start + loop.length, at, loop.hand.apart, voice)
        for _, (_, data) in moves[:at]:
            self._stand(curve, data)
        self._curves.append(curve)

    def _stand(self, curve: _Curve, data: bytes) -> bytes | None:
        """Add a gesture to what stands; return it as it is sent, None if it cannot be."""
        voice = curve.voice or self.voice
        if not curve.apart:
            data = on_channel(data, voice.channel)
        if data[0] & 0xF0 == 0xA0 and voice.transpose:
            if not 0 <= data[1] + voice.transpose <= 127:
                return None
            data = bytes((data[0], data[1] + voice.transpose, data[2]))
        curve.stands[midi.shape(data)] = data
        return data

    def next_tick(self) -> int | None:
        """Return the tick of the next message; None if nothing is scheduled."""
        place, _ = self._next()
        return place[0] if place is not None else None

    def _next(self) -> tuple[_Place | None, _Curve | None]:
        """Return when something is due next, and of which gestures; None if it is a note."""
        found: _Curve | None = None
        place: _Place | None = None
        for curve in self._curves:
            if place is None or curve.next() < place:
                place, found = curve.next(), curve
        if self._queue and (place is None or _place(self._queue[0]) < place):
            return _place(self._queue[0]), None
        return place, found

    def due(self, now: float, time_at: Callable[[int], float], ahead_s: float = 0.0) -> list[Planned]:
        """Return the messages that are due.

        Args:
            now: seconds.
            time_at: converts ticks to seconds.
            ahead_s: messages that are due so many seconds later are returned as well.
        """
        messages: list[Planned] = []
        while True:
            place, curve = self._next()
            if place is None or (at := time_at(place[0])) > now + ahead_s:
                return messages
            self._played = max(self._played, place[0])
            found: list[bytes] = []
            part = ""
            if curve is not None:
                found = self._shape(curve, place)
            elif not (due := heapq.heappop(self._queue)).begins:
                found = self._ledger.end(due.key, due.owner, due.stroke.release)
            elif now - at <= LATE_S and not self.muted:
                found, part = self._caught_up() + self._begin(due), due.part
            messages += (Planned(message, at, part) for message in found)

    def _shape(self, curve: _Curve, at: _Place) -> list[bytes]:
        """Play what is next of some gestures; a late one is played as well, as where things stand depends on it."""
        tick, _, place = at
        if place == _BEGINS:
            curve.begun = True
            return [] if self.muted else self._caught_up() or self._settled()
        if place in (_CUT, _ENDS):
            self._curves.remove(curve)
            follows = any(other.begins <= tick and not other.begun for other in self._curves)
            return [] if self.muted or follows else self._settled()
        data = self._stand(curve, curve.moves[curve.at][1].data)
        curve.at += 1
        if data is None or self.muted:
            return []
        sent = self._caught_up()
        return sent if sent and curve.begun else sent + self._ledger.shape(data, thru=False)

    def _settled(self) -> list[bytes]:
        """Return what takes everything to where the gestures that play have it."""
        wanted: dict[bytes, bytes] = {}
        for curve in self._curves:
            if curve.begun:
                wanted |= curve.stands
        return self._ledger.settle(wanted)

    def _caught_up(self) -> list[bytes]:
        """Return where things stand, if the ledger has been released since that was sent."""
        if self._releases == self._ledger.releases or not self._ledger.plugged:
            return []
        self._releases = self._ledger.releases
        return self._settled()

    def _begin(self, due: _Due) -> list[bytes]:
        """Begin a note with the settings of its voice, and schedule its note-off."""
        stroke, voice = due.stroke, due.voice or self.voice
        pitch = stroke.pitch + voice.transpose
        if not 0 <= pitch <= 127:
            return []
        key = (voice.channel if stroke.channel is None else stroke.channel, pitch)
        velocity = min(max(round(stroke.velocity * voice.loudness), 1), 127)
        ending = self._ending(due, stroke, due.start, due.voice)
        heapq.heappush(self._queue, dataclasses.replace(ending, begins=False, key=key))
        return self._ledger.begin(key, velocity, due.owner)

    def _ending(self, due: _Due, stroke: Stroke, start: int, voice: Voice | None) -> _Due:
        """Return when a note ends that is `stroke` in a loop that starts at `start`."""
        tick, place = self._ends(stroke, start, voice)
        return dataclasses.replace(due, tick=tick, place=place, stroke=stroke, start=start, voice=voice)

    def _ends(self, stroke: Stroke, start: int, voice: Voice | None) -> tuple[int, int]:
        gate = self.gate if voice is None else voice.gate
        if gate == 1:
            return start + stroke.onset + stroke.duration, stroke.ends
        return start + stroke.onset + max(round(stroke.duration * gate), 1), FIRST

    def clear(self) -> None:
        """Clear the queue; the ledger ends what sounds."""
        self._queue.clear()
        self._curves.clear()
        self._played = _NEVER
        self._loop, self._under = None, ()


def _place(due: _Due) -> _Place:
    return due.tick, due.start, due.place
