"""The transport: song position, and the conversion between ticks and seconds.

`MidiClock` follows another program's MIDI clock, `LinkClock` an Ableton Link session, and `InternalClock` is our own.
All are given the time and never read a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rtgen.music.time import Metre, seconds_per_tick


class State(Enum):
    """State of the transport. Armed: started, and waiting for the clock that is its first tick."""

    STOPPED = "stopped"
    ARMED = "armed"
    ROLLING = "rolling"


class Change(Enum):
    """A discontinuity in the song's time, which voids whatever was planned."""

    ROLLED = "rolled"
    STOPPED = "stopped"
    LOST = "lost"
    LOCATED = "located"


@dataclass(frozen=True, slots=True)
class Health:
    """How well the clock can be followed, since it was first heard.

    Args:
        jitter_s: recent standard deviation of its clocks from their estimated times.
        lost: clocks that never came.
        extra: surplus clocks, of a second source or of one that is connected twice.
    """

    jitter_s: float = 0.0
    lost: int = 0
    extra: int = 0


class Transport:
    """Base of all transports: a state, and a linear map from ticks to seconds."""

    state = State.STOPPED

    offset_s = 0.0
    """Seconds by which the clock arrives late, as the player corrects for it; negative if early."""
    loop = 0
    """Length of the instrument's loops in ticks. A jump by whole loops is no discontinuity: the ticks go on."""
    metre = Metre()
    """Time signature of the instrument's loops."""
    give = 0.0
    """By what share of itself the tempo may change to follow the player, if it is ours to set."""
    anew = False
    """Whether the song begins for other programs wherever it rolls."""
    ahead = 0
    """By how many ticks `tick` is ahead of the song's own position, after such jumps; whole loops."""

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
        """The last tick known for certain: that of the latest clock."""
        return self._tick

    def tick_at(self, time: float) -> int:
        """Return the tick nearest to `time`, in seconds."""
        return self._tick + round((time + self.offset_s - self._time) / self._seconds_per_tick)

    def time_at(self, tick: int) -> float:
        """Return when `tick` is due, in seconds, by the current estimate."""
        return self._time - self.offset_s + (tick - self._tick) * self._seconds_per_tick

    @property
    def doubled(self) -> bool:
        """Whether every clock comes twice, as from a source that is connected twice."""
        return False

    @property
    def crowded(self) -> bool:
        """Whether more clocks come than one source sends."""
        return self.doubled

    @property
    def health(self) -> Health:
        """How well the clock can be followed."""
        return Health()

    @property
    def settled(self) -> bool:
        """Whether the tempo is known, so that ticks between clocks can be interpolated."""
        return True

    def feed(self, now: float, message: bytes) -> Change | None:
        """Process a system message that arrived at `now`; return the discontinuity it causes, if any."""
        raise NotImplementedError

    def expire(self, now: float) -> Change | None:
        """Advance to `now` without a message; return the discontinuity it causes, if any."""
        raise NotImplementedError

    @property
    def deadline(self) -> float | None:
        """The latest time to call `expire`, in seconds."""
        raise NotImplementedError

    def skip(self, now: float, gap: float) -> Change | None:  # noqa: ARG002
        """Handle `gap` seconds without events until `now`, when the machine slept or froze.

        Returns:
            The discontinuity in the song's time, if any.
        """
        return None

    @property
    def unstarted(self) -> float | None:
        """Since when a clock has come without a Start, in seconds; None unless it has for two beats."""
        return None

    def hears(self, now: float) -> bool:  # noqa: ARG002
        """Return whether there is a clock to roll with."""
        return True

    def roll(self, now: float, at: float, tick: int, bar: int) -> Change | None:  # noqa: ARG002
        """Roll at the next bar line although no Start came; does nothing while rolling.

        Args:
            now: seconds.
            at: a time, in seconds.
            tick: position of the song at that time; the bar line comes after it.
            bar: length of a bar in ticks.

        Returns:
            The discontinuity in the song's time, if it rolls at once.
        """
        return None

    def hear(self, now: float, message: bytes) -> bool:  # noqa: ARG002
        """Process music that was played at `now`; return whether it is kept here, as there is no tempo yet."""
        return False

    @property
    def entry(self) -> int:
        """The tick from which on what was played belongs to the song, when it rolls."""
        return self._tick

    @property
    def resumed(self) -> bool:
        """Whether it rolled right after a Stop, whole loops from where it was."""
        return False

    def rebase(self) -> int:
        """Count the ticks from the song's start again, and return by how many they went back."""
        return 0

    def set_tempo(self, now: float, tempo: float) -> None:
        """Set the tempo (BPM) from `now` on, if it is ours to set."""
