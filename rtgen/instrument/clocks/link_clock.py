"""The transport that follows an Ableton Link session."""

from __future__ import annotations

from math import ceil, floor

from rtgen.instrument.clocks.transport import Change, State, Transport
from rtgen.instrument.events import Linked
from rtgen.music.time import PPQN, seconds_per_tick

_SLEW_S = 0.005
"""An error below this is taken off little by little, so that no note is pushed about."""
_GAIN = 0.2
_JUMP = PPQN // 2
"""Ticks from which on a jump is another place in the song. A change of tempo is heard of late, and jumps by less."""
_ROOM_BEATS = 0.001
"""A start this much after a bar line is meant on it; some microseconds are lost between two peers' clocks."""


class LinkClock(Transport):
    """Follows tempo, beat, and start and stop of an Ableton Link session; MIDI clock is not heard.

    The first tick of the song is on a bar line: the one on which the session starts to play, or the next. A session
    that nobody ever starts (its players have not switched on start/stop sync) rolls as soon as there is somebody in it.
    It goes on when all others leave.

    Args:
        tempo: BPM that is shown until a session has told its own.
    """

    def __init__(self, tempo: float = 120.0) -> None:
        super().__init__(tempo)
        self._origin = 0.0
        self._bar = 0.0
        self._told = tempo
        self._playing = False
        self._obeys = False

    def feed(self, now: float, message: bytes) -> Change | None:  # noqa: ARG002
        """Hears nothing: a session has one beat, and this is Link's."""
        return None

    def follow(self, event: Linked) -> Change | None:
        """Hears where the session is; says whether the song's time broke."""
        starts, self._playing = event.playing and not self._playing, event.playing
        self._obeys = self._obeys or event.playing
        rolls = event.playing if self._obeys else event.peers > 0 or self.state is not State.STOPPED
        if not rolls:
            return self._stop(event.tempo)
        if starts or self.state is State.STOPPED:
            return self._start(event)
        return self._adjust(event)

    def expire(self, now: float) -> Change | None:
        """Rolls when the first tick of the song is there."""
        if self.deadline is None or now < self.deadline:
            return None
        tick = self.tick_at(now)
        self._time += (tick - self._tick) * self._seconds_per_tick
        self._tick, self.state = tick, State.ROLLING
        return Change.ROLLED

    @property
    def deadline(self) -> float | None:
        """The first tick of the song, until it rolls."""
        return self.time_at(0) if self.state is State.ARMED else None

    def skip(self, now: float, gap: float) -> Change | None:  # noqa: ARG002
        """The session went on meanwhile: we do so where it is now."""
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
            # Beats are counted by each for himself, and only their place in the bar is common: bars are kept.
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
        """Draws the line anew: at the moment of `event` we are at `position`, in ticks."""
        self._told, self._seconds_per_tick = event.tempo, seconds_per_tick(event.tempo)
        self._tick = round(position)
        self._time = event.at + (self._tick - position) * self._seconds_per_tick
