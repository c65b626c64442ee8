"""The transport that keeps its own tempo, and the MIDI clock it sends to others."""

from __future__ import annotations

from collections.abc import Callable

from rtgen.instrument.clocks.transport import Change, State, Transport
from rtgen.instrument.events import Planned
from rtgen.music import midi
from rtgen.music.time import TICKS_PER_CLOCK, TICKS_PER_SIXTEENTH, seconds_per_tick

_LEAD_IN_S = 0.002
"""From Start to the first clock: the MIDI 1.0 specification asks for at least 1 ms."""


class InternalClock(Transport):
    """Our own clock, which rolls from its first step on.

    A keyboard's transport buttons control it: Stop, and while stopped Start, Continue and Song Position. It ignores
    MIDI clock, and Start while rolling, so a program that echoes our own messages does no harm.

    Args:
        tempo: BPM.
    """

    def __init__(self, tempo: float = 120.0) -> None:
        super().__init__(tempo)
        self._begun = False

    def feed(self, now: float, message: bytes) -> Change | None:
        """Process a transport message that arrived at `now`."""
        kind = message[0]
        if self.state is State.ROLLING:
            if kind != midi.STOP:
                return None
            self._tick, self.state = max(self.tick_at(now), 0), State.STOPPED
            return Change.STOPPED
        if kind == midi.SONG_POSITION:
            self._tick = midi.song_position(message) * TICKS_PER_SIXTEENTH
        elif kind in (midi.START, midi.CONTINUE):
            return self._roll(now, 0 if kind == midi.START else self._tick)
        return None

    def expire(self, now: float) -> Change | None:
        """Start, at the first call."""
        if self._begun:
            return None
        return self._roll(now, 0)

    @property
    def deadline(self) -> float | None:
        """None: our own clock neither stops by itself nor gets lost."""
        return None

    def skip(self, now: float, gap: float) -> Change | None:
        """Resume the song where it was."""
        if self.state is not State.ROLLING:
            return None
        return self._roll(now, max(self.tick_at(now - gap), 0))

    def roll(self, now: float, at: float, tick: int, bar: int) -> Change | None:  # noqa: ARG002
        """Roll at once: the clock is ours."""
        return None if self.state is State.ROLLING else self._roll(now, self._tick)

    def set_tempo(self, now: float, tempo: float) -> None:
        """Set the tempo (BPM) from `now` on."""
        if self.state is State.ROLLING:
            tick = self.tick_at(now)
            self._tick, self._time = tick, self.time_at(tick) + self.offset_s
        self._seconds_per_tick = seconds_per_tick(tempo)

    def _roll(self, now: float, tick: int) -> Change:
        self._begun, self.state = True, State.ROLLING
        # Round up to a sixteenth: Song Position has no finer resolution.
        self._tick = -(-tick // TICKS_PER_SIXTEENTH) * TICKS_PER_SIXTEENTH
        self._time = now + self.offset_s + _LEAD_IN_S
        return Change.ROLLED


class ClockOut:
    """Sends our song position to other programs: Start, MIDI clock, Song Position, Continue and Stop.

    The clock runs only while the song does. Clocks are scheduled by tick like notes, so they are equally regular.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._earliest = float("-inf")

    def changed(self, change: Change, tick: int, *, anew: float | None = None) -> list[bytes]:
        """Return the messages for a discontinuity after which the song goes on at `tick`, a whole sixteenth.

        Args:
            change: the discontinuity.
            tick: where the song goes on.
            anew: when the song begins for others there, in seconds; None if it is where it is for us as well.
        """
        was_rolling, self._next = self._next is not None, None
        stop = [bytes((midi.STOP,))] if was_rolling else []
        if change is not Change.ROLLED:
            return stop
        self._next = tick
        # The first clocks may be due already, and come after Start all the same.
        self._earliest = float("-inf") if anew is None else anew + _LEAD_IN_S
        if tick == 0 or anew is not None:
            return [*stop, bytes((midi.START,))]
        return [*stop, midi.to_song_position(tick // TICKS_PER_SIXTEENTH), bytes((midi.CONTINUE,))]

    def next_tick(self) -> int | None:
        """Return the tick of the next clock; None if none is due."""
        return self._next

    def due(self, now: float, time_at: Callable[[int], float], ahead_s: float = 0.0) -> list[Planned]:
        """Return the clocks that are due, as `Player.due`."""
        clocks = []
        while self._next is not None and (at := time_at(self._next)) <= now + ahead_s:
            clocks.append(Planned(bytes((midi.CLOCK,)), max(at, self._earliest)))
            self._next += TICKS_PER_CLOCK
        return clocks
