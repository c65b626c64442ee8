"""The transport: where in the song we are, and how ticks and seconds relate.

`MidiClock` follows another program's MIDI clock, `InternalClock` is our own. Both are told the time and never read it.
"""

from __future__ import annotations

from enum import Enum

from rtgen.instrument import midi
from rtgen.music.time import (
    CLOCKS_PER_BEAT,
    MAX_TEMPO,
    MIN_TEMPO,
    TICKS_PER_CLOCK,
    TICKS_PER_SIXTEENTH,
    seconds_per_tick,
)


class State(Enum):
    """What the transport does. Armed: started, and waiting for the clock that is its first tick."""

    STOPPED = "stopped"
    ARMED = "armed"
    ROLLING = "rolling"


class Change(Enum):
    """A break in the song's time, after which whatever was planned is void."""

    ROLLED = "rolled"
    STOPPED = "stopped"
    LOST = "lost"
    LOCATED = "located"


class ClockFilter:
    """The true times of evenly meant clocks that arrive with jitter.

    A second-order tracker of time and period (an alpha-beta filter). Its gains are those of a least-squares line
    through all clocks since the lock (the expanding-memory polynomial filter: Morrison, Introduction to Sequential
    Smoothing and Prediction, 1969), so it is right after two clocks and gets steadier with each; past `MEMORY` clocks
    the gains stay, so it goes on following. Three errors of one sign and beyond the jitter in a row mean that the tempo
    changed: the memory is cut, and it locks anew.
    """

    MEMORY = 36
    RELOCK = 5

    def __init__(self, period_s: float) -> None:
        self.time = 0.0
        """Estimated time of the latest clock, seconds."""
        self.period = period_s
        """Estimated seconds between clocks."""
        self._count = 0
        self._jitter = 0.0
        self._drift = 0

    @property
    def locked(self) -> bool:
        """Whether there were clocks enough to tell their period."""
        return self._count > 1

    def expects(self, now: float) -> bool:
        """Whether a clock at `now` goes on where the last ones were."""
        return abs(now - (self.time + self.period)) < max(4 * self._jitter, 0.002)

    def restart(self) -> None:
        """Forgets where the clocks were, but not how fast."""
        self._count = 0

    def clock(self, now: float) -> None:
        """A clock arrived at `now`."""
        error = now - (self.time + self.period)
        if self._count == 0 or not -0.75 * self.period < error < 4 * self.period:
            # The first, or one after a pause: nothing to smooth it with.
            self.time = now
            self._count = 1
            self._drift = 0
            return
        self._watch(error)
        self._count = n = min(self._count + 1, self.MEMORY)
        self.time += self.period + error * 2 * (2 * n - 1) / (n * (n + 1))
        self.period += error * 6 / (n * (n + 1))
        shortest = 60 / (MAX_TEMPO * 1.05 * CLOCKS_PER_BEAT)
        longest = 60 / (MIN_TEMPO * 0.95 * CLOCKS_PER_BEAT)
        self.period = min(max(self.period, shortest), longest)

    def _watch(self, error: float) -> None:
        beyond = abs(error) > max(2.5 * self._jitter, 0.0005)
        same_way = (error > 0) == (self._drift > 0)
        self._drift = (self._drift if same_way else 0) + (1 if error > 0 else -1) if beyond else 0
        if abs(self._drift) >= 3 and self._count > self.RELOCK:
            self._count = self.RELOCK
            self._drift = 0
        if self._count > self.RELOCK:
            self._jitter += (min(abs(error), 0.01) - self._jitter) / 12


class Transport:
    """What both clocks have: a state, and a line that relates ticks to seconds."""

    state = State.STOPPED

    def __init__(self, tempo: float) -> None:
        self._tick = 0
        self._time = 0.0
        self._seconds_per_tick = seconds_per_tick(tempo)

    @property
    def tempo(self) -> float:
        """BPM."""
        return seconds_per_tick(1.0) / self._seconds_per_tick

    @property
    def tick(self) -> int:
        """The tick that is known for certain: that of the latest clock."""
        return self._tick

    def tick_at(self, time: float) -> int:
        """The tick nearest to `time`, in seconds."""
        return self._tick + round((time - self._time) / self._seconds_per_tick)

    def time_at(self, tick: int) -> float:
        """When `tick` is, in seconds, as far as can be told now."""
        return self._time + (tick - self._tick) * self._seconds_per_tick

    @property
    def settled(self) -> bool:
        """Whether the tempo is known, so that ticks between clocks can be told."""
        return True

    def feed(self, now: float, message: bytes) -> Change | None:
        """Hears a system message that arrived at `now`; says whether the song's time broke."""
        raise NotImplementedError

    def expire(self, now: float) -> Change | None:
        """Lets time pass without a message; says whether the song's time broke."""
        raise NotImplementedError

    @property
    def deadline(self) -> float | None:
        """When `expire` wants to be called at the latest."""
        raise NotImplementedError


class MidiClock(Transport):
    """Follows MIDI clock, Start, Continue, Stop and Song Position.

    Positions are counted in clocks and interpolated between them. A clock that stops coming without a Stop is held at
    its tempo for a beat; then the transport stops, and rolls on from there if the clock comes back.

    Args:
        tempo: BPM that is taken until two clocks have told the real one.
    """

    def __init__(self, tempo: float = 120.0) -> None:
        super().__init__(tempo)
        self._filter = ClockFilter(self._seconds_per_tick * TICKS_PER_CLOCK)
        self._next_tick = 0
        self._last_clock: float | None = None
        self._lost = False

    def feed(self, now: float, message: bytes) -> Change | None:
        """Hears a system message that arrived at `now`; others are passed over."""
        kind = message[0]
        if kind == midi.CLOCK:
            return self._clock(now)
        if kind == midi.START:
            return self._arm(0)
        if kind == midi.CONTINUE:
            return self._arm(self._next_tick) if self.state is not State.ROLLING else None
        if kind in (midi.STOP, midi.SYSTEM_RESET):
            return self._stop()
        if kind == midi.SONG_POSITION:
            tick = (message[1] | message[2] << 7) * TICKS_PER_SIXTEENTH
            if self.state is State.ROLLING:
                return self._arm(tick)
            self._next_tick = tick
            return None
        return None

    def _clock(self, now: float) -> Change | None:
        self._last_clock = now
        if self.state is State.ARMED and not self._filter.expects(now):
            # A song that starts anew need not keep to the beat of the one before.
            self._filter.restart()
        self._filter.clock(now)
        if self.state is State.STOPPED and not self._lost:
            self._seconds_per_tick = self._filter.period / TICKS_PER_CLOCK
            return None
        self._tick, self._time = self._next_tick, self._filter.time
        self._seconds_per_tick = self._filter.period / TICKS_PER_CLOCK
        self._next_tick += TICKS_PER_CLOCK
        if self.state is State.ROLLING:
            return None
        self.state, self._lost = State.ROLLING, False
        return Change.ROLLED

    def _arm(self, tick: int) -> Change | None:
        was_rolling = self.state is State.ROLLING
        self._next_tick, self.state = tick, State.ARMED
        return Change.LOCATED if was_rolling else None

    def _stop(self) -> Change | None:
        was_stopped = self.state is State.STOPPED
        self.state, self._lost = State.STOPPED, False
        return None if was_stopped else Change.STOPPED

    def expire(self, now: float) -> Change | None:
        """Stops when no clock has come for a beat."""
        if self.deadline is None or now < self.deadline:
            return None
        self.state, self._lost = State.STOPPED, True
        return Change.LOST

    @property
    def deadline(self) -> float | None:
        """A beat after the last clock, while rolling."""
        if self.state is not State.ROLLING or self._last_clock is None:
            return None
        return self._last_clock + self._filter.period * CLOCKS_PER_BEAT

    @property
    def settled(self) -> bool:
        """Whether two clocks have come in a row."""
        return self._filter.locked


class InternalClock(Transport):
    """Our own clock at a fixed tempo; rolls from the first moment it is told of. MIDI clock is not heard.

    Args:
        tempo: BPM.
    """

    def feed(self, now: float, message: bytes) -> Change | None:  # noqa: ARG002
        """Hears nothing: an internal clock is its own master."""
        return None

    def expire(self, now: float) -> Change | None:
        """Starts at the first call."""
        if self.state is State.ROLLING:
            return None
        self._time, self.state = now, State.ROLLING
        return Change.ROLLED

    @property
    def deadline(self) -> float | None:
        """None: our own clock neither stops nor gets lost."""
        return None
