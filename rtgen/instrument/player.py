"""Schedules the notes of answers, and keeps a ledger of sounding notes so that every note-on gets its note-off."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rtgen.instrument.events import Planned
from rtgen.music import midi
from rtgen.music.note import Loop, Note

LATE_S = 0.05
"""Note-ons later than this, in seconds, are dropped; note-offs never are."""

_Key = tuple[int, int]
THRU = 0
"""The ledger's owner of thru notes; the player's own notes are numbered from 1."""


class Ledger:
    """Guarantees exactly one note-off for every note-on sent.

    Each (channel, pitch) sounds only once: a repeated note-on ends the earlier note first, whoever owns it, and that
    note's own note-off is then not sent.

    While the output is unplugged no note begins, and the note-offs of what was sounding are kept until it is back.
    """

    def __init__(self) -> None:
        self._sounding: dict[_Key, int] = {}
        self._pedals: set[tuple[int, int]] = set()
        self._channels: set[int] = set()
        self._owed: list[bytes] | None = None
        self._took_back = False

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
        return owed + [
            midi.control(channel, number, 0)
            for channel in sorted(self._channels)
            for number in (midi.SUSTAIN, midi.ALL_NOTES_OFF)
        ]

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

    def end(self, key: _Key, owner: int) -> list[bytes]:
        """Return the note-off for the owner's note; none if it no longer sounds."""
        if self._sounding.get(key) != owner:
            return []
        del self._sounding[key]
        return [midi.note_off(*key)]

    def pedal(self, channel: int, down: bool, number: int = midi.SUSTAIN) -> None:
        """Record a pedal that was passed through: `number` is its control change, one of `midi.HOLDS`."""
        if not self.plugged:
            return
        self._channels.add(channel)
        (self._pedals.add if down else self._pedals.discard)((channel, number))

    def damp(self, channel: int) -> list[bytes]:
        """End what the pedals of a channel hold: lift them and press them again."""
        held = sorted(number for of, number in self._pedals if of == channel)
        return [midi.control(channel, number, value) for number in held for value in (0, 127)]

    def end_through(self, channel: int) -> list[bytes]:
        """End the thru notes of a channel."""
        keys = [key for key, owner in self._sounding.items() if owner == THRU and key[0] == channel]
        return [message for key in keys for message in self.end(key, THRU)]

    def release(self, *, thru: bool) -> list[bytes]:
        """End all notes of the player; with `thru` also the thru notes and their pedals."""
        self._took_back = True
        ending = [key for key, owner in self._sounding.items() if thru or owner != THRU]
        messages = [midi.note_off(*key) for key in ending]
        for key in ending:
            del self._sounding[key]
        if thru:
            messages += [midi.control(channel, number, 0) for channel, number in sorted(self._pedals)]
            self._pedals.clear()
        return messages

    def end_all(self, sounding: Iterable[_Key], channels: Iterable[int]) -> list[bytes]:
        """End the notes of a process that is gone, and whatever else it may have begun on these channels.

        Its log lacks the last half second, and not every synthesizer knows All Notes Off, so every pitch is ended.
        """
        known = dict.fromkeys(sounding)
        messages = [midi.note_off(*key) for key in known]
        for channel in channels:
            messages += [midi.control(channel, number, 0) for number in (midi.SUSTAIN, midi.ALL_NOTES_OFF)]
            messages += [midi.note_off(channel, pitch) for pitch in range(128) if (channel, pitch) not in known]
        return messages

    def panic(self) -> list[bytes]:
        """End all notes known to sound, then silence every channel in use."""
        messages = self.release(thru=True)
        if not self.plugged:
            return messages
        for channel in sorted(self._channels):
            messages += [midi.control(channel, n, 0) for n in (midi.SUSTAIN, midi.ALL_NOTES_OFF, midi.ALL_SOUND_OFF)]
        return messages


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    """A scheduled note-on or note-off. Sorted by tick; note-offs first at equal ticks.

    Args:
        tick: when it is due.
        begins: whether it is a note-on.
        owner: number of the note.
        note: as in the loop.
        start: tick at which its loop starts.
        key: (channel, pitch) as played, for a note-off.
    """

    tick: int
    begins: bool
    owner: int
    note: Note = field(compare=False)
    start: int = field(compare=False)
    key: _Key = field(default=(0, 0), compare=False)


class Player:
    """A queue of notes ordered by tick. It holds no times in seconds; these are passed in.

    `channel` (0-15), `transpose` (semitones), `gate` (factor on the duration) and `loudness` (factor on the velocity)
    may be set at any time, and apply to notes that begin from then on. While `muted`, none begin.

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
        self._owner = THRU

    def replace(self, loop: Loop, start: int, from_tick: int) -> None:
        """Play `loop` with its tick 0 at `start`; everything else that was scheduled ends at `from_tick`.

        Notes of the loop before `from_tick` are skipped, except those that anticipate its first downbeat. A note that
        already sounds and is also in this loop carries on.
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
        """Return the tick of the next message; None if nothing is scheduled."""
        return self._queue[0].tick if self._queue else None

    def due(self, now: float, time_at: Callable[[int], float], ahead_s: float = 0.0) -> list[Planned]:
        """Return the messages that are due.

        Args:
            now: seconds.
            time_at: converts ticks to seconds.
            ahead_s: messages that are due so many seconds later are returned as well.
        """
        messages: list[Planned] = []
        while self._queue and (at := time_at(self._queue[0].tick)) <= now + ahead_s:
            due = heapq.heappop(self._queue)
            if not due.begins:
                messages += (Planned(message, at) for message in self._ledger.end(due.key, due.owner))
            elif now - at <= LATE_S and not self.muted:
                messages += (Planned(message, at) for message in self._begin(due))
        return messages

    def _begin(self, due: _Due) -> list[bytes]:
        """Begin a note with the current settings, and schedule its note-off."""
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
        """Clear the queue; the ledger ends what sounds."""
        self._queue.clear()
