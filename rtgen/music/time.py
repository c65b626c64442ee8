"""Musical time: integer ticks, and the few conversions between units.

Positions are integer ticks (480 to the beat, as in Ableton Live's and most sequencers' files, and a multiple of the 24
clocks of MIDI and of the 12 steps of a roll). Floats never hold a position, so nothing drifts.
"""

from __future__ import annotations

from dataclasses import dataclass

PPQN = 480
"""Ticks in a beat (a quarter note)."""
CLOCKS_PER_BEAT = 24
"""MIDI clocks in a beat (MIDI 1.0 specification, System Real Time)."""
TICKS_PER_CLOCK = PPQN // CLOCKS_PER_BEAT
TICKS_PER_SIXTEENTH = PPQN // 4
"""The unit of MIDI's Song Position Pointer."""
MIN_TEMPO, MAX_TEMPO = 20.0, 400.0
"""BPM between which a clock is followed and a tempo may be set."""


def seconds_per_tick(tempo: float) -> float:
    """Seconds that a tick lasts at `tempo` BPM."""
    return 60.0 / (tempo * PPQN)


@dataclass(frozen=True, slots=True)
class Metre:
    """A time signature.

    Args:
        beats: the upper figure.
        unit: the lower figure: 1, 2, 4, 8 or 16.

    Raises:
        ValueError: the figures are no time signature.
    """

    beats: int = 4
    unit: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.beats <= 32 or self.unit not in (1, 2, 4, 8, 16):
            raise ValueError(f"{self.beats}/{self.unit} is no metre: use one like 4/4, 3/4 or 6/8")

    @property
    def bar(self) -> int:
        """Length of a bar in ticks."""
        return self.beats * 4 * PPQN // self.unit

    @classmethod
    def parse(cls, text: str) -> Metre:
        """The metre that "3/4" names.

        Raises:
            ValueError: the text is no time signature.
        """
        beats, slash, unit = text.partition("/")
        if not (slash and beats.strip().isdecimal() and unit.strip().isdecimal()):
            raise ValueError(f"{text!r} is no metre: use one like 4/4, 3/4 or 6/8")
        return cls(int(beats), int(unit))

    def __str__(self) -> str:
        return f"{self.beats}/{self.unit}"


@dataclass(frozen=True, slots=True)
class Grid:
    """The raster of a roll: steps along time, pitches from `pitch_low` to `pitch_high`, both included."""

    steps_per_beat: int = 12
    pitch_low: int = 24
    pitch_high: int = 119

    def __post_init__(self) -> None:
        if self.steps_per_beat < 1 or PPQN % self.steps_per_beat:
            raise ValueError(f"{self.steps_per_beat} steps a beat do not divide {PPQN} ticks")
        if not 0 <= self.pitch_low <= self.pitch_high <= 127:
            raise ValueError(f"pitches {self.pitch_low} to {self.pitch_high} are not within 0 to 127")

    @property
    def step(self) -> int:
        """Ticks in a step."""
        return PPQN // self.steps_per_beat

    @property
    def pitches(self) -> int:
        """Number of pitches."""
        return self.pitch_high - self.pitch_low + 1

    def steps(self, length: int) -> int:
        """Steps in a loop of `length` ticks.

        Raises:
            ValueError: the length is not a whole number of steps.
        """
        if length <= 0 or length % self.step:
            raise ValueError(f"{length} ticks are not a whole number of steps of {self.step} ticks")
        return length // self.step
