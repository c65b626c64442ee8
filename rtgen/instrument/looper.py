"""The looper: records what is played into loops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

from rtgen.instrument.recorder import Recorder
from rtgen.music import midi
from rtgen.music.hand import Moved
from rtgen.music.note import Loop, Note

_Key = tuple[int, int]


class Looper:
    """Records notes with velocity, timing and sustain pedal, in ticks, from `begin` to `take`.

    A note held across the end of the loop is cut there. Notes struck before `begin` are not recorded.

    Args:
        gestures: whether bends, pressure and controllers are part of a loop (`Loop.hand`).
    """

    def __init__(self, *, gestures: bool = True) -> None:
        self.without: int | None = None
        """A channel, 0-15, whose notes are not part of the loop; may change at any time."""
        self._start: int | None = None
        # With their channels.
        self._notes: list[tuple[int, Note]] = []
        self._open: dict[_Key, tuple[int, int]] = {}
        self._released: set[_Key] = set()
        self._pedals: set[int] = set()
        self._recorder = Recorder() if gestures else None

    @property
    def capturing(self) -> bool:
        """Whether recording is on."""
        return self._start is not None

    @property
    def heard(self) -> bool:
        """Whether any note has been recorded."""
        # Asked at every step, and answered by the first note as a rule: no generator for that.
        for channel, _ in chain(self._notes, self._open):  # noqa: SIM110
            if channel != self.without:
                return True
        return False

    def begin(self, start: int, length: int = 1920) -> None:
        """Start recording a loop of so many ticks that begins at tick `start` (slightly in the future)."""
        self.cancel()
        self._start = start
        if self._recorder is not None:
            self._recorder.begin(start + length)

    def cancel(self) -> None:
        """Stop recording and discard the notes."""
        self._start = None
        self._notes.clear()
        self._open.clear()
        self._released.clear()
        if self._recorder is not None:
            self._recorder.cancel()

    def feed(self, tick: int, message: bytes) -> None:
        """Process a note, a gesture or a channel mode message at `tick`; ignore other messages."""
        if self._recorder is not None:
            self._recorder.feed(tick, message)
        channel = message[0] & 0x0F
        if midi.is_note(message):
            key = (channel, message[1])
            if midi.is_note_on(message):
                self._end(key, tick)
                if self._start is not None:
                    self._open[key] = (tick, message[2])
            else:
                self._release(key, tick)
        elif (down := midi.sustains(message)) is not None:
            self._pedal(tick, channel, down)
        elif midi.cuts(message) or midi.releases(message):
            stops = self._end if midi.cuts(message) else self._release
            for key in [k for k in self._open if k[0] == channel]:
                stops(key, tick)

    def _pedal(self, tick: int, channel: int, down: bool) -> None:
        if down:
            self._pedals.add(channel)
            return
        self._pedals.discard(channel)
        for key in [k for k in self._released if k[0] == channel]:
            self._end(key, tick)

    def _release(self, key: _Key, tick: int) -> None:
        if key[0] in self._pedals:
            self._released.add(key)
        else:
            self._end(key, tick)

    def _end(self, key: _Key, tick: int) -> None:
        self._released.discard(key)
        started = self._open.pop(key, None)
        if started is not None and self._start is not None:
            onset, velocity = started
            self._notes.append((key[0], Note(onset - self._start, key[1], max(tick - onset, 1), velocity)))

    def forget(self, tick: int) -> None:
        """Drop the notes that ended up to `tick` ticks from the start."""
        self._notes = [(channel, note) for channel, note in self._notes if note.end > tick]

    def notes(self, tick: int) -> tuple[Note, ...]:
        """Return the notes recorded so far, with those still sounding cut at `tick`."""
        if self._start is None:
            return ()
        still = [Note(on - self._start, pitch, max(tick - on, 1), v) for pitch, on, v in self._sounding()]
        return (*self._ended(), *still)

    def gestures(self) -> tuple[Moved, ...]:
        """Return what has moved so far, for display."""
        if self._recorder is None or self._start is None:
            return ()
        return self._recorder.gestures(self._start)

    def complete(self, length: int, bar: int) -> Loop:
        """Return the part of the loop that is final: notes that have ended, up to the first that still sounds."""
        still = min((on - (self._start or 0) for _, on, _ in self._sounding()), default=length)
        return _cut([n for n in self._ended() if n.onset < still], length, bar)

    def take(self, length: int, bar: int) -> Loop:
        """Return the recorded loop, cut at `length` ticks, and stop recording.

        As times are estimates, a note may come just after the end; it is moved to the last tick.
        """
        loop = self.so_far(length, bar)
        if self._recorder is not None and self._start is not None:
            hand = self._recorder.take(self._start + length, self._start, self.without)
            loop = replace(loop, hand=hand) if hand else loop
        self.cancel()
        return loop

    def so_far(self, length: int, bar: int) -> Loop:
        """Return the notes that `take` would return if nothing more were played."""
        assert self._start is not None
        return _cut(self.notes(self._start + length), length, bar)

    def _ended(self) -> list[Note]:
        return [note for channel, note in self._notes if channel != self.without]

    def _sounding(self) -> list[tuple[int, int, int]]:
        """Return pitch, onset (tick) and velocity of the notes that still sound."""
        return [(key[1], on, v) for key, (on, v) in self._open.items() if key[0] != self.without]


def _cut(notes: Iterable[Note], length: int, bar: int) -> Loop:
    cut = []
    for note in notes:
        onset = min(note.onset, length - 1)
        cut.append(Note(onset, note.pitch, max(min(note.end, length) - onset, 1), note.velocity))
    return Loop(length, tuple(cut), bar).monophonic_by_pitch()
