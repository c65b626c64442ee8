"""Gives an answer the gestures of the notes that it keeps."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rtgen.music import midi
from rtgen.music.hand import FIRST, Hand, Moved, Stroke, on_channel
from rtgen.music.note import Loop, Note
from rtgen.music.time import TICKS_PER_SIXTEENTH

_Spot = tuple[int, int]
_UP, _MOVES, _ENDS, _NEW = range(4)
"""What happens at the same tick, in this order: new notes end; the hand plays; kept notes fade; new notes begin."""
_AROUND = 4
_SEMITONE = 30
"""How many ticks count as much as a semitone, where the key nearest to a new note is looked for."""


def shaped(answer: Loop, calls: Sequence[Loop]) -> Loop:
    """Return an answer with what the hand did for the notes that it keeps of its calls.

    An answer with all notes of a call, and no other, gets its whole hand. Otherwise a note is kept if it has the pitch
    and the onset of one that was played, or was moved by less than a sixteenth. Its key is on its channel and goes up
    when it did. From its onset to its end the gestures of its channel are played; what they begin with is sent just
    before it. A new note that sounds by itself begins with everything at rest; beside a kept note of its channel it
    shares its gestures, as two keys under one wheel do.

    The pedals that hold notes are not among these: they would hold the new notes as well, and those that were made
    shorter. As in the notes that models hear, they make the kept ones long.

    Args:
        answer: the notes.
        calls: what was played; where two shape the same channel at once, the first does.
    """
    if not any(call.hand for call in calls):
        return answer
    for call in calls:
        if (answer.notes, answer.length) == (call.notes, call.length):
            return replace(answer, hand=call.hand)
    return _woven(answer, calls)


def folded(loop: Loop) -> Loop:
    """Return a loop whose notes are as long as they sound, without the pedals that hold them."""
    return _woven(loop, [loop]) if loop.hand else loop


def _woven(answer: Loop, calls: Sequence[Loop]) -> Loop:
    found = _Weave(answer, calls).hand()
    plain = not found.apart and all(midi.is_note(data) and not midi.release(data) for _, data in found.messages)
    return answer.without_hand() if plain else replace(answer, hand=found)


def _kept(waiting: dict[_Spot, Note], call: Loop) -> list[tuple[Note, Note]]:
    """Return the notes of a call that are kept, each with that of the answer, which is taken from `waiting`."""
    own = {(note.onset, note.pitch): note for note in call.notes}
    pairs = [(own.pop(spot), waiting.pop(spot)) for spot in [s for s in waiting if s in own]]
    by_pitch: dict[int, list[Note]] = {}
    for note in own.values():
        by_pitch.setdefault(note.pitch, []).append(note)
    for spot in list(waiting):
        near = [n for n in by_pitch.get(spot[1], ()) if abs(n.onset - spot[0]) < TICKS_PER_SIXTEENTH]
        if near:
            nearest = min(near, key=lambda n: abs(n.onset - spot[0]))
            by_pitch[spot[1]].remove(nearest)
            pairs.append((nearest, waiting.pop(spot)))
    return pairs


def _until(call: Loop) -> dict[int, int]:
    """Return up to which tick each key sounds that the pedal holds, by the place at which it went down.

    The pedal of a channel without keys, as of an MPE zone, holds those of all others.
    """
    found: dict[int, int] = {}
    down: dict[_Spot, int] = {}
    held: dict[int, dict[int, int]] = {}
    pedals: set[int] = set()
    own = {data[0] & 0x0F for _, data in call.hand.messages if midi.is_note_on(data)}
    for place, (tick, data) in enumerate(call.hand.messages):
        channel = data[0] & 0x0F
        if midi.is_note(data):
            key = channel, data[1]
            if (begun := down.pop(key, None)) is not None:
                if midi.is_note_off(data) and not pedals.isdisjoint({channel} | (pedals - own)):
                    held.setdefault(channel, {})[data[1]] = begun
                found[begun] = tick
            if midi.is_note_on(data):
                down[key] = place
                if (before := held.get(channel, {}).pop(data[1], None)) is not None:
                    found[before] = tick
        elif (pressed := midi.sustains(data)) is not None:
            (pedals.add if pressed else pedals.discard)(channel)
            for each in [] if pressed else list(held):
                if pedals.isdisjoint({each} | (pedals - own)):
                    found |= dict.fromkeys(held.pop(each).values(), tick)
    for still in held.values():
        found |= dict.fromkeys(still.values(), call.length)
    return found


class _Weave:
    """The keys and gestures of an answer, from those of its calls.

    Args:
        answer: the notes.
        calls: what was played.
    """

    def __init__(self, answer: Loop, calls: Sequence[Loop]) -> None:
        self._apart = any(call.hand.apart for call in calls)
        # When, which of these comes first, from which call, its place there (or its channel, if it fades), the message.
        self._events: list[tuple[int, int, int, int, bytes]] = []
        self._spans: dict[int, list[tuple[int, int]]] = {}
        self._struck: list[frozenset[int]] = []
        strokes: list[tuple[Stroke, int]] = []
        new: list[Note] = []
        waiting = {(note.onset, note.pitch): note for note in answer.notes}
        for number, call in enumerate(calls):
            channels = [self._channel(data) for _, data in call.hand.messages]
            self._struck.append(
                frozenset(c for c, m in zip(channels, call.hand.messages, strict=True) if midi.is_note_on(m.data))
            )
            pairs = _kept(waiting, call)
            if not call.hand:
                new += (note for _, note in pairs)
                continue
            keys: dict[_Spot, list[tuple[Stroke, int]]] = {}
            until = _until(call)
            for stroke in call.hand.strokes():
                key = stroke, channels[stroke.begins]
                keys.setdefault((stroke.onset, stroke.pitch), []).append(key)
                strokes.append(key)
            for played, note in pairs:
                for stroke, channel in keys.get((played.onset, played.pitch), ()):
                    self._keep(number, played, note, stroke, channel, until[stroke.begins])
            for place, (tick, data) in call.hand.gestures():
                if data[0] & 0xF0 == 0xB0 and data[1] in midi.HOLDS:
                    continue
                self._events.append((tick, _MOVES, number, place, self._placed(data)))
        strokes.sort(key=lambda each: each[0].onset)
        for note in (*new, *waiting.values()):
            channel = self._nearest(note, strokes)
            self._events.append((note.onset, _NEW, 0, 0, bytes((0x90 | channel, note.pitch, note.velocity))))
            self._events.append((note.end, _UP, 0, 0, midi.note_off(channel, note.pitch)))
        self._events.sort()

    def _channel(self, data: bytes) -> int:
        return data[0] & 0x0F if self._apart else 0

    def _placed(self, data: bytes) -> bytes:
        return data if self._apart else on_channel(data, 0)

    def _keep(self, number: int, played: Note, note: Note, stroke: Stroke, channel: int, until: int) -> None:
        """Add a key of a call, which sounded up to a tick."""
        velocity = stroke.velocity if note.velocity == played.velocity else note.velocity
        up = note.onset + until - stroke.onset if note.duration == played.duration else note.end
        as_played = up == note.onset + stroke.duration
        rank, place = (_MOVES, stroke.ends) if as_played else (_UP, FIRST)
        self._events.append((note.onset, _MOVES, number, stroke.begins, midi.note_on(channel, note.pitch, velocity)))
        self._events.append((up, rank, number, place, midi.note_off(channel, note.pitch, stroke.release)))
        self._events.append((max(up, note.end), _ENDS, number, channel, b""))
        self._spans.setdefault(channel, []).append((note.onset, max(up, note.end)))

    def _nearest(self, note: Note, strokes: list[tuple[Stroke, int]]) -> int:
        """Return the channel for a new note: of a key near by, if possible one whose channel is free meanwhile."""
        if not self._apart or not strokes:
            return 0
        at = bisect_left(strokes, note.onset, key=lambda each: each[0].onset)
        near = strokes[max(at - _AROUND, 0) : at + _AROUND]

        def far(each: tuple[Stroke, int]) -> tuple[bool, int]:
            stroke, channel = each
            taken = any(begin < note.end and note.onset < end for begin, end in self._spans.get(channel, ()))
            return taken, abs(stroke.onset - note.onset) + _SEMITONE * abs(stroke.pitch - note.pitch)

        return min(near, key=far)[1]

    def hand(self) -> Hand:
        """Return what is played."""
        found: list[Moved] = []
        real: list[dict[int, dict[bytes, bytes]]] = [{} for _ in self._struck]
        out: dict[int, dict[bytes, bytes]] = {}
        sounding: list[Counter[int]] = [Counter() for _ in self._struck]

        def owner(channel: int) -> int | None:
            """The call that shapes a channel now; one without keys, with an MPE zone's pedals, goes with all others."""
            for number, of in enumerate(sounding):
                if of[channel] if channel in self._struck[number] else of.total():
                    return number
            return None

        def settle(tick: int, channel: int, wanted: dict[bytes, bytes]) -> None:
            has = out.setdefault(channel, {})
            for shape in (*has, *(s for s in wanted if s not in has)):
                goal = wanted.get(shape) or midi.at_rest(shape)
                if has.get(shape, midi.at_rest(shape)) != goal:
                    found.append(Moved(tick, goal))
                    has[shape] = goal

        for tick, rank, number, place, data in self._events:
            if rank == _ENDS:
                sounding[number][place] -= 1
                if (other := owner(place)) not in (None, number):
                    settle(tick, place, real[other].get(place, {}))
                continue
            channel = data[0] & 0x0F
            if rank == _MOVES and not midi.is_note(data):
                shape = midi.shape(data)
                real[number].setdefault(channel, {})[shape] = data
                if owner(channel) == number:
                    out.setdefault(channel, {})[shape] = data
                    found.append(Moved(tick, data))
                continue
            if midi.is_note_on(data):
                kept = rank == _MOVES
                sounding[number][channel] += kept
                for each in sorted({channel, *(c for c in (*out, *real[number]) if c not in self._struck[number])}):
                    if owner(each) == (number if kept else None):
                        settle(tick, each, real[number].get(each, {}) if kept else {})
            found.append(Moved(tick, data))
        return Hand(tuple(found), self._apart)
