"""The player: what sounds, what will, and the ledger that never forgets a note."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from rtgen.music import midi
from rtgen.music.note import Loop, Note

LATE_S = 0.05
"""A note that is later than this is not begun any more; its end is never dropped."""

_Key = tuple[int, int]
THRU = 0
"""The owner, in the ledger, of notes that go through; the player's own have numbers from 1."""


class Ledger:
    """Every note-on that is sent gets exactly one note-off.

    A pitch sounds once on a channel: struck again it is ended first, and the end of the earlier note is then no longer
    sent, whoever's it was.

    While the output is unplugged nothing begins, and what sounded is owed its end until it is back.
    """

    def __init__(self) -> None:
        self._sounding: dict[_Key, int] = {}
        self._pedals: set[int] = set()
        self._channels: set[int] = set()
        self._owed: list[bytes] | None = None

    @property
    def plugged(self) -> bool:
        """Whether there is an output."""
        return self._owed is None

    def unplug(self) -> None:
        """The output has gone."""
        if self._owed is None:
            self._owed = self.release(thru=True)

    def plug(self) -> list[bytes]:
        """The output is back: the messages that end what sounded when it went, or may have been lost on the way."""
        if self._owed is None:
            return []
        owed, self._owed = self._owed, None
        return owed + [
            midi.control(channel, number, 0)
            for channel in sorted(self._channels)
            for number in (midi.SUSTAIN, midi.ALL_NOTES_OFF)
        ]

    def begin(self, key: _Key, velocity: int, owner: int) -> list[bytes]:
        """The messages that begin a note on (channel, pitch); none while there is no output."""
        if not self.plugged:
            return []
        messages = [midi.note_off(*key)] if key in self._sounding else []
        self._sounding[key] = owner
        self._channels.add(key[0])
        return [*messages, midi.note_on(*key, velocity)]

    def end(self, key: _Key, owner: int) -> list[bytes]:
        """The message that ends the owner's note; none if it does not sound (any more)."""
        if self._sounding.get(key) != owner:
            return []
        del self._sounding[key]
        return [midi.note_off(*key)]

    def pedal(self, channel: int, down: bool) -> None:
        """Remembers that a sustain pedal went through."""
        if not self.plugged:
            return
        self._channels.add(channel)
        (self._pedals.add if down else self._pedals.discard)(channel)

    def end_through(self, channel: int) -> list[bytes]:
        """Ends the notes that went through on a channel."""
        keys = [key for key, owner in self._sounding.items() if owner == THRU and key[0] == channel]
        return [message for key in keys for message in self.end(key, THRU)]

    def release(self, *, thru: bool) -> list[bytes]:
        """Ends all notes of the player, and with `thru` also those that went through, pedals included."""
        ending = [key for key, owner in self._sounding.items() if thru or owner != THRU]
        messages = [midi.note_off(*key) for key in ending]
        for key in ending:
            del self._sounding[key]
        if thru:
            messages += [midi.control(channel, midi.SUSTAIN, 0) for channel in sorted(self._pedals)]
            self._pedals.clear()
        return messages

    def panic(self) -> list[bytes]:
        """Ends all that is known to sound, then whatever else may, on the channels used."""
        messages = self.release(thru=True)
        if not self.plugged:
            return messages
        for channel in sorted(self._channels):
            messages += [midi.control(channel, n, 0) for n in (midi.SUSTAIN, midi.ALL_NOTES_OFF, midi.ALL_SOUND_OFF)]
        return messages


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    """A note that begins, or ends. Sorted by tick; at equal ticks ends come first.

    Args:
        tick: when.
        begins: whether it does.
        owner: its number.
        note: as the loop has it.
        start: tick of its loop's beginning.
        key: as it sounds; of one that ends.
    """

    tick: int
    begins: bool
    owner: int
    note: Note = field(compare=False)
    start: int = field(compare=False)
    key: _Key = field(default=(0, 0), compare=False)


class Player:
    """A queue of notes ordered by tick. It knows no seconds but those it is asked with.

    `channel` (0-15), `transpose` (semitones), `gate` (of a note's length) and `loudness` (of its velocity) may be set
    at any time, and hold for the notes that begin from then on; while `muted` none does.

    Args:
        ledger: shared with whatever else sends notes to the same port.
        channel: on which it plays.
    """

    def __init__(self, ledger: Ledger, channel: int = 0) -> None:
        self._ledger = ledger
        self.channel = channel
        self.transpose = 0
        self.gate = self.loudness = 1.0
        self.muted = False
        self._queue: list[_Due] = []
        self._owner = THRU

    def replace(self, loop: Loop, start: int, from_tick: int) -> None:
        """Plays `loop`, whose tick 0 is at `start`; whatever else was planned ends at `from_tick`.

        Notes of the loop before `from_tick` are left out whole, save those that anticipate its first downbeat; but one
        that sounds already, and is in this loop as well, goes on.
        """
        earliest = from_tick - start if from_tick > start else -loop.length
        coming = {(start + note.onset, note.pitch): note for note in loop.notes}
        kept = []
        for due in self._queue:
            if due.begins:
                if due.tick < from_tick:
                    kept.append(due)
                continue
            ends = min(due.tick, from_tick)
            begun = due.start + due.note.onset, due.note.pitch
            if begun in coming and self._ends(coming[begun], start) > from_tick:
                ends = self._ends(coming.pop(begun), start)
            kept.append(dataclasses.replace(due, tick=ends))
        self._queue = kept
        for note in coming.values():
            if note.onset >= earliest:
                self._owner += 1
                self._queue.append(_Due(start + note.onset, True, self._owner, note, start))
        heapq.heapify(self._queue)

    def next_tick(self) -> int | None:
        """The tick of the next message; None when nothing is planned."""
        return self._queue[0].tick if self._queue else None

    def due(self, now: float, time_at: Callable[[int], float]) -> list[bytes]:
        """The messages that are due by `now` (seconds), ticks being at `time_at`."""
        messages: list[bytes] = []
        while self._queue and time_at(self._queue[0].tick) <= now:
            due = heapq.heappop(self._queue)
            if not due.begins:
                messages += self._ledger.end(due.key, due.owner)
            elif now - time_at(due.tick) <= LATE_S and not self.muted:
                messages += self._begin(due)
        return messages

    def _begin(self, due: _Due) -> list[bytes]:
        """A note begins: as it is turned now, it will end."""
        pitch = due.note.pitch + self.transpose
        if not 0 <= pitch <= 127:
            return []
        key = (self.channel, pitch)
        velocity = min(max(round(due.note.velocity * self.loudness), 1), 127)
        heapq.heappush(
            self._queue, dataclasses.replace(due, tick=self._ends(due.note, due.start), begins=False, key=key)
        )
        return self._ledger.begin(key, velocity, due.owner)

    def _ends(self, note: Note, start: int) -> int:
        return start + note.onset + max(round(note.duration * self.gate), 1)

    def clear(self) -> None:
        """Plans nothing any more; ending what sounds is the ledger's."""
        self._queue.clear()
