"""Keys and scales, and key estimation over the 24 major and minor keys.

The Krumhansl-Schmuckler algorithm (Krumhansl, Cognitive Foundations of Musical Pitch, 1990) correlates the duration of
each pitch class with a profile of each key. The profiles are Temperley's (What's Key for Key?, 1999), which were made
for written music.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from math import sqrt
from operator import mul

from rtgen.music.note import Note

NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
_MAJOR = (5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0)
_MINOR = (5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0)
_MAJOR_SCALE = frozenset({0, 2, 4, 5, 7, 9, 11})
# Natural minor, plus the raised sixth and seventh of melodies and dominants.
_MINOR_SCALE = frozenset({0, 2, 3, 5, 7, 8, 9, 10, 11})
CHROMATIC = "chromatic"
SCALES: Mapping[str, frozenset[int]] = {
    name: frozenset(steps)
    for name, steps in {
        "natural_minor": (0, 2, 3, 5, 7, 8, 10),
        "harmonic_minor": (0, 2, 3, 5, 7, 8, 11),
        "melodic_minor": (0, 2, 3, 5, 7, 9, 11),
        "dorian": (0, 2, 3, 5, 7, 9, 10),
        "phrygian": (0, 1, 3, 5, 7, 8, 10),
        "lydian": (0, 2, 4, 6, 7, 9, 11),
        "mixolydian": (0, 2, 4, 5, 7, 9, 10),
        "locrian": (0, 1, 3, 5, 6, 8, 10),
        "major_pentatonic": (0, 2, 4, 7, 9),
        "minor_pentatonic": (0, 3, 5, 7, 10),
        "minor_blues": (0, 3, 5, 6, 7, 10),
        "whole_tone": (0, 2, 4, 6, 8, 10),
        CHROMATIC: range(12),
        "half_whole_dim": (0, 1, 3, 4, 6, 7, 9, 10),
        "whole_half_dim": (0, 2, 3, 5, 6, 8, 9, 11),
        "harmonic_major": (0, 2, 4, 5, 7, 8, 11),
        "dorian_sharp_4": (0, 2, 3, 6, 7, 9, 10),
        "phrygian_dominant": (0, 1, 4, 5, 7, 8, 10),
        "lydian_augmented": (0, 2, 4, 6, 8, 9, 11),
        "lydian_dominant": (0, 2, 4, 6, 7, 9, 10),
        "super_locrian": (0, 1, 3, 4, 6, 8, 10),
        "8_tone_spanish": (0, 1, 3, 4, 5, 6, 8, 10),
        "bhairav": (0, 1, 4, 5, 7, 8, 11),
        "hungarian_minor": (0, 2, 3, 6, 7, 8, 11),
        "hirajoshi": (0, 2, 3, 7, 8),
        "in_sen": (0, 1, 5, 7, 10),
        "iwato": (0, 1, 5, 6, 10),
        "kumoi": (0, 2, 3, 7, 9),
        "pelog_selisir": (0, 1, 3, 7, 8),
        "pelog_tembung": (0, 1, 5, 7, 8),
        "messiaen_3": (0, 2, 3, 4, 6, 7, 8, 10, 11),
        "messiaen_4": (0, 1, 2, 5, 6, 7, 8, 11),
        "messiaen_5": (0, 1, 5, 6, 7, 11),
        "messiaen_6": (0, 2, 4, 5, 6, 8, 10, 11),
        "messiaen_7": (0, 1, 2, 3, 5, 6, 7, 8, 9, 11),
    }.items()
}
"""The scales beside major and minor, as semitones above the tonic; the names follow those that Ableton Live uses."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key.

    Args:
        tonic: pitch class, 0 (C) to 11 (B).
        minor: whether it is minor, or of two keys is nearer to minor.
        scale: one of `SCALES`; empty for major or minor.
    """

    tonic: int
    minor: bool = False
    scale: str = ""

    @property
    def steps(self) -> frozenset[int]:
        """The scale, as semitones above the tonic (for minor, all of its three forms)."""
        return SCALES[self.scale] if self.scale else _MINOR_SCALE if self.minor else _MAJOR_SCALE

    def contains(self, pitch: int) -> bool:
        """Return whether `pitch` is in the scale."""
        return (pitch - self.tonic) % 12 in self.steps

    def moved(self, semitones: int) -> Key:
        """Return the key so many semitones above."""
        return replace(self, tonic=(self.tonic + semitones) % 12)

    def __str__(self) -> str:
        return f"{NAMES[self.tonic]} {self.scale.replace('_', ' ') or ('minor' if self.minor else 'major')}"


KEYS = tuple(Key(tonic, minor) for minor in (False, True) for tonic in range(12))


@cache
def of_scale(name: str) -> tuple[Key, ...]:
    """Return the keys of one of `SCALES`, the nearest to major or minor; of the chromatic scale both."""
    steps = SCALES[name]
    minors = (False, True) if name == CHROMATIC else (3 in steps and 4 not in steps,)
    return tuple(Key(tonic, minor, name) for minor in minors for tonic in range(12))


_WITHIN, _WITHOUT = 3.5, 2.0
"""The least weight of a pitch class within a scale other than major and minor, and the most of one outside it."""


def profile(scale: Key) -> tuple[float, ...]:
    """Return the expected weight of each pitch class, from C, in a key."""
    values: tuple[float, ...] = _MINOR if scale.minor else _MAJOR
    if scale.scale and scale.scale != CHROMATIC:
        values = tuple(
            max(weight, _WITHIN) if step in scale.steps else min(weight, _WITHOUT) for step, weight in enumerate(values)
        )
    return values[12 - scale.tonic :] + values[: 12 - scale.tonic]


def _unit(values: Sequence[float]) -> tuple[float, ...]:
    """Return the values centred on their mean and scaled to unit length; zeros if all are equal."""
    mean = sum(values) / len(values)
    length = sqrt(sum((x - mean) ** 2 for x in values))
    return tuple((x - mean) / length if length else 0.0 for x in values)


@cache
def _expected(scale: Key) -> tuple[float, ...]:
    return _unit(profile(scale))


def estimate(notes: Iterable[Note], among: Sequence[Key] = KEYS) -> Key | None:
    """Return the most likely key of `notes`, weighted by duration; None if there are none."""
    weights = _weights(notes)
    return _likeliest(weights, tuple(among)) if any(weights) else None


def _weights(notes: Iterable[Note]) -> tuple[float, ...]:
    """Return the ticks that each pitch class sounds."""
    weights = [0.0] * 12
    for note in notes:
        weights[note.pitch % 12] += note.duration
    return tuple(weights)


@lru_cache(maxsize=64)
def _likeliest(weights: tuple[float, ...], among: tuple[Key, ...]) -> Key:
    """Return the key that the weights of pitch classes correlate with best; the same is often asked twice."""
    heard = _unit(weights)
    # Round the correlation, so that a tie goes to the first key regardless of floating-point error.
    return max(among, key=lambda scale: round(sum(map(mul, heard, _expected(scale))), 9))


_DOUBTFUL, _CERTAIN = 0.7, 0.92
"""Share of the time that fits one scale: roughly that of random notes, and that of most music."""


def confidence(notes: Iterable[Note]) -> float:
    """Return the confidence that notes are in a key, 0 to 1: the share of their time that fits one scale, rescaled.

    The margin between the best correlation and the next says little: it is about the same for music and for random
    notes, as a clear key's neighbour is nearly as likely.
    """
    weights = _weights(notes)
    if not any(weights):
        return 0.0
    scale = _likeliest(weights, KEYS)
    tonic = (scale.tonic + 3 * scale.minor) % 12
    # Count the leading note of a minor key, so that harmonic minor is as certain as natural minor.
    explained = {(tonic + step) % 12 for step in _MAJOR_SCALE} | ({(scale.tonic - 1) % 12} if scale.minor else set())
    share = sum(weights[name] for name in explained) / sum(weights)
    return min(max((share - _DOUBTFUL) / (_CERTAIN - _DOUBTFUL), 0.0), 1.0)


def major_tonic(scale: Key) -> int:
    """Return the tonic of the relative major key, or of `scale` itself if it is major.

    Of another scale it is that of the major key with the same notes; if there is none, as of major or minor.
    """
    usual = 3 * scale.minor
    if scale.scale and scale.scale != CHROMATIC:
        fitting = [up for up in (usual, *range(12)) if all((step - up) % 12 in _MAJOR_SCALE for step in scale.steps)]
        usual = fitting[0] if fitting else usual
    return (scale.tonic + usual) % 12


def into_c(scale: Key) -> int:
    """Return the semitones from a key up to C major or A minor: half an octave at most either way."""
    return (5 - major_tonic(scale)) % 12 - 5


def folded(pitch: int) -> int:
    """Return `pitch` moved by octaves into the MIDI range."""
    while pitch < 0:
        pitch += 12
    while pitch > 127:
        pitch -= 12
    return pitch
