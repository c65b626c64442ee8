"""The transport that follows an Ableton Link session."""

from __future__ import annotations

from math import ceil, floor

from rtgen.instrument.clocks.transport import Change, State, Transport
from rtgen.instrument.events import Linked
from rtgen.music.time import PPQN, seconds_per_tick

_SLEW_S = 0.005
"""Smaller errors, in seconds, are corrected gradually, so that no note jumps."""
_GAIN = 0.2
_JUMP = PPQN // 2
"""Jumps from this many ticks up are a new song position. A tempo change is noticed late, but jumps by less."""
_ROOM_BEATS = 0.001
"""A start this many beats after a bar line is taken to be on it, as two peers' clocks differ by some microseconds."""


class LinkClock(Transport):
    """Follows tempo, beat, start and stop of an Ableton Link session; ignores MIDI clock.

    Tick 0 of the song is a bar line: the one on which the session starts to play, or the next. A session that is never
    started (start/stop sync is off) rolls as soon as it has a peer, and keeps rolling when all peers leave.

    Args:
        tempo: BPM until the session has given its own.
    """

    def __init__(self, tempo: float = 120.0) -> None:
        super().__init__(tempo)
        self._origin = 0.0
        self._bar = 0.0
        self._told = tempo
        self._playing = False
        self._obeys = False

    def feed(self, now: float, message: bytes) -> Change | None:  # noqa: ARG002
        """Ignore MIDI clock: a session has one beat, which is Link's."""
        return None

    def follow(self, event: Linked) -> Change | None:
        """Follow the session's state; return the discontinuity it causes, if any."""
        starts, self._playing = event.playing and not self._playing, event.playing
        self._obeys = self._obeys or event.playing
        rolls = event.playing if self._obeys else event.peers > 0 or self.state is not State.STOPPED
        if not rolls:
            return self._stop(event.tempo)
        if starts or self.state is State.STOPPED:
            return self._start(event)
        return self._adjust(event)

    def expire(self, now: float) -> Change | None:
        """Roll once the first tick of the song is due."""
        if self.deadline is None or now < self.deadline:
            return None
        tick = self.tick_at(now)
        self._time += (tick - self._tick) * self._seconds_per_tick
        self._tick, self.state = tick, State.ROLLING
        return Change.ROLLED

    @property
    def deadline(self) -> float | None:
        """When the first tick of the song is due, in seconds; None unless armed."""
        return self.time_at(0) if self.state is State.ARMED else None

    def skip(self, now: float, gap: float) -> Change | None:  # noqa: ARG002
        """Rejoin the session where it is now, as it went on meanwhile."""
        if self.state is not State.ROLLING:
            return None
        self.state = State.ARMED
        return Change.LOCATED

    def _stop(self, tempo: float) -> Change | None:
        was_stopped = self.state is State.STOPPED
        self._seconds_per_tick, self.state = seconds_per_tick(tempo), State.STOPPED
        return None if was_stopped else Change.STOPPED

    def _start(self, event: Linked) -> Change | None:
        was_rolling = self.state is State.ROLLING
        start = event.since if event.playing else event.beat
        self._origin, self._bar = ceil((start - _ROOM_BEATS) / event.bar) * event.bar, event.bar
        self._place(event, (event.beat - self._origin) * PPQN)
        self.state = State.ARMED
        return Change.LOCATED if was_rolling else None

    def _adjust(self, event: Linked) -> Change | None:
        expected = self._tick + (event.at - self._time) / self._seconds_per_tick
        error = (event.beat - self._origin) * PPQN - expected
        if abs(error) > _JUMP or event.bar != self._bar:
            # Each peer counts its own beats, and only the phase in the bar is shared: keep the bars.
            bars = min(round((event.beat - expected / PPQN) / event.bar), floor(event.beat / event.bar))
            self._origin, self._bar = bars * event.bar, event.bar
            error = (event.beat - self._origin) * PPQN - expected
        small = abs(error) * self._seconds_per_tick < _SLEW_S and event.tempo == self._told
        self._place(event, expected + error * (_GAIN if small else 1.0))
        if abs(error) <= _JUMP or self.state is not State.ROLLING:
            return None
        self.state = State.ARMED
        return Change.LOCATED

    def _place(self, event: Linked, position: float) -> None:
        """Re-anchor the line: at the time of `event` the song is at `position`, in ticks."""
        self._told, self._seconds_per_tick = event.tempo, seconds_per_tick(event.tempo)
        self._tick = round(position)
        self._time = event.at + (self._tick - position) * self._seconds_per_tick
