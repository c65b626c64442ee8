"""The transport: where in the song we are, and how ticks and seconds relate.

Of its kinds `MidiClock` follows another program's MIDI clock, and `InternalClock` is our own. All are told the time and
never read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rtgen.music.time import seconds_per_tick


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


@dataclass(frozen=True, slots=True)
class Health:
    """How well what is followed can be followed, since it was first heard.

    Args:
        jitter_s: standard deviation of its clocks from where they should be, as of late.
        lost: clocks that never came.
        extra: clocks that were one too many: another source got in, or the same one is connected twice.
    """

    jitter_s: float = 0.0
    lost: int = 0
    extra: int = 0


class Transport:
    """What both clocks have: a state, and a line that relates ticks to seconds."""

    state = State.STOPPED

    offset_s = 0.0
    """By how many seconds what tells us the time comes late; the player's correction, negative if it comes early."""

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
        return self._tick + round((time + self.offset_s - self._time) / self._seconds_per_tick)

    def time_at(self, tick: int) -> float:
        """When `tick` is, in seconds, as far as can be told now."""
        return self._time - self.offset_s + (tick - self._tick) * self._seconds_per_tick

    @property
    def doubled(self) -> bool:
        """Whether every clock comes twice, as from a source that is connected twice."""
        return False

    @property
    def health(self) -> Health:
        """How well what is followed can be followed."""
        return Health()

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

    def skip(self, now: float, gap: float) -> Change | None:  # noqa: ARG002
        """Learns that nothing happened for `gap` seconds until `now`: the machine slept, or stood still.

        Says whether the song's time broke.
        """
        return None

    def set_tempo(self, now: float, tempo: float) -> None:
        """Takes a new tempo (BPM) from `now` on, if it is ours to choose."""
