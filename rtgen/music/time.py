"""Musical time in integer ticks, time signatures, and the grid of piano rolls.

There are 480 ticks per beat, as in Ableton Live and in most sequencers' files: a multiple of MIDI's 24 clocks and of a
roll's 12 steps per beat. Positions are never floats, so they cannot drift.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

PPQN = 480
"""Ticks per beat (quarter note)."""
HALF = PPQN // 2
"""Ticks in a half beat, which is a step of a harmoniser and of what plays along."""
CLOCKS_PER_BEAT = 24
"""MIDI clocks per beat (MIDI 1.0 specification, System Real Time)."""
TICKS_PER_CLOCK = PPQN // CLOCKS_PER_BEAT
TICKS_PER_SIXTEENTH = PPQN // 4
"""The unit of MIDI's Song Position Pointer."""
MIN_TEMPO, MAX_TEMPO = 20.0, 400.0
"""BPM range for following a clock and for setting a tempo."""


def seconds_per_tick(tempo: float) -> float:
    """Return the duration of a tick, in seconds, at `tempo` BPM."""
    return 60.0 / (tempo * PPQN)


@dataclass(frozen=True, slots=True)
class Metre:
    """A time signature.

    Args:
        beats: numerator, 1-32.
        unit: denominator: 1, 2, 4, 8 or 16.

    Raises:
        ValueError: the numbers do not form a valid time signature.
    """

    beats: int = 4
    unit: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.beats <= 32 or self.unit not in (1, 2, 4, 8, 16):
            raise ValueError(f"{self.beats}/{self.unit} is not a valid metre; use one like 4/4, 3/4 or 6/8")

    @property
    def bar(self) -> int:
        """Length of a bar in ticks."""
        return self.beats * 4 * PPQN // self.unit

    @classmethod
    def parse(cls, text: str) -> Metre:
        """Parse a time signature such as "3/4".

        Raises:
            ValueError: the text is not a valid time signature.
        """
        beats, slash, unit = text.partition("/")
        numbers = all(part.strip().isdecimal() and len(part.strip()) <= 3 for part in (beats, unit))
        if not (slash and numbers):
            raise ValueError(f"{text[:20]!r} is not a valid metre; use one like 4/4, 3/4 or 6/8")
        return cls(int(beats), int(unit))

    def __str__(self) -> str:
        return f"{self.beats}/{self.unit}"


def stretches(metres: Sequence[tuple[int, Metre]], end: int) -> list[tuple[int, int, Metre]]:
    """Return the stretches of whole bars in one metre as (start, length, metre), in ticks.

    A bar that the next metre cuts short belongs to none, such as a pick-up bar that is not written as a bar of its own
    length. The last bar is whole if `end` lies in it.

    Args:
        metres: (tick, metre), the first at tick 0.
        end: tick at which the music ends.
    """
    found = []
    for (start, metre), (stop, _) in pairwise([*_changes(metres), (end, Metre())]):
        if start >= end:
            break
        bars = -(-(end - start) // metre.bar) if end <= stop else (stop - start) // metre.bar
        if bars:
            found.append((start, bars * metre.bar, metre))
    return found


def _changes(metres: Sequence[tuple[int, Metre]]) -> Iterator[tuple[int, Metre]]:
    """Yield real metre changes; a metre repeated on one of its own downbeats is not one."""
    last: tuple[int, Metre] | None = None
    for tick, metre in metres:
        if last is None or metre != last[1] or (tick - last[0]) % metre.bar:
            last = (tick, metre)
            yield last


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid of a piano roll: steps along time, and pitches from `pitch_low` to `pitch_high` inclusive."""

    steps_per_beat: int = 12
    pitch_low: int = 24
    pitch_high: int = 119

    def __post_init__(self) -> None:
        if self.steps_per_beat < 1 or PPQN % self.steps_per_beat:
            raise ValueError(f"{self.steps_per_beat} steps per beat do not divide {PPQN} ticks evenly")
        if not 0 <= self.pitch_low <= self.pitch_high <= 127:
            raise ValueError(f"pitches {self.pitch_low} to {self.pitch_high} are not within 0 to 127")

    @property
    def step(self) -> int:
        """Ticks per step."""
        return PPQN // self.steps_per_beat

    @property
    def pitches(self) -> int:
        """Number of pitches."""
        return self.pitch_high - self.pitch_low + 1

    def steps(self, length: int) -> int:
        """Return the number of steps in a loop of `length` ticks.

        Raises:
            ValueError: the length is not a whole number of steps.
        """
        if length <= 0 or length % self.step:
            raise ValueError(f"{length} ticks are not a whole number of steps of {self.step} ticks")
        return length // self.step

    def column(self, tick: int, steps: int) -> int:
        """Return the nearest step to a tick, within a roll of so many steps."""
        return min(max(round(tick / self.step), 0), steps - 1)
