"""Key estimation over the 24 major and minor keys.

The Krumhansl-Schmuckler algorithm (Krumhansl, Cognitive Foundations of Musical Pitch, 1990) correlates the duration of
each pitch class with a profile of each key. The profiles are Temperley's (What's Key for Key?, 1999), which were made
for written music.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from operator import mul

from rtgen.music.note import Note

NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
_MAJOR = (5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0)
_MINOR = (5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0)
_MAJOR_SCALE = frozenset({0, 2, 4, 5, 7, 9, 11})
# Natural minor, plus the raised sixth and seventh of melodies and dominants.
_MINOR_SCALE = frozenset({0, 2, 3, 5, 7, 8, 9, 10, 11})


@dataclass(frozen=True, slots=True)
class Key:
    """A key.

    Args:
        tonic: pitch class, 0 (C) to 11 (B).
        minor: whether it is minor.
    """

    tonic: int
    minor: bool = False

    def contains(self, pitch: int) -> bool:
        """Return whether `pitch` is in the scale (for minor, in any of its three forms)."""
        return (pitch - self.tonic) % 12 in (_MINOR_SCALE if self.minor else _MAJOR_SCALE)

    def __str__(self) -> str:
        return f"{NAMES[self.tonic]} {'minor' if self.minor else 'major'}"


KEYS = tuple(Key(tonic, minor) for minor in (False, True) for tonic in range(12))


def profile(scale: Key) -> tuple[float, ...]:
    """Return the expected weight of each pitch class, from C, in a key."""
    values = _MINOR if scale.minor else _MAJOR
    return values[12 - scale.tonic :] + values[: 12 - scale.tonic]


def _unit(values: Sequence[float]) -> tuple[float, ...]:
    """Return the values centred on their mean and scaled to unit length; zeros if all are equal."""
    mean = sum(values) / len(values)
    length = sqrt(sum((x - mean) ** 2 for x in values))
    return tuple((x - mean) / length if length else 0.0 for x in values)


_UNITS = {scale: _unit(profile(scale)) for scale in KEYS}


def estimate(notes: Iterable[Note], among: Sequence[Key] = KEYS) -> Key | None:
    """Return the most likely key of `notes`, weighted by duration; None if there are none."""
    weights = [0.0] * 12
    for note in notes:
        weights[note.pitch % 12] += note.duration
    if not any(weights):
        return None
    heard = _unit(weights)
    # Round the correlation, so that a tie goes to the first key regardless of floating-point error.
    return max(among, key=lambda scale: round(sum(map(mul, heard, _UNITS[scale])), 9))


_DOUBTFUL, _CERTAIN = 0.7, 0.92
"""Share of the time that fits one scale: roughly that of random notes, and that of most music."""


def confidence(notes: Iterable[Note]) -> float:
    """Return the confidence that notes are in a key, 0 to 1: the share of their time that fits one scale, rescaled.

    The margin between the best correlation and the next says little: it is about the same for music and for random
    notes, as a clear key's neighbour is nearly as likely.
    """
    heard = list(notes)
    scale = estimate(heard)
    if scale is None:
        return 0.0
    tonic = (scale.tonic + 3 * scale.minor) % 12
    # Count the leading note of a minor key, so that harmonic minor is as certain as natural minor.
    explained = {(tonic + step) % 12 for step in _MAJOR_SCALE} | ({(scale.tonic - 1) % 12} if scale.minor else set())
    time = sum(n.duration for n in heard)
    share = sum(n.duration for n in heard if n.pitch % 12 in explained) / time
    return min(max((share - _DOUBTFUL) / (_CERTAIN - _DOUBTFUL), 0.0), 1.0)


def major_tonic(scale: Key) -> int:
    """Return the tonic of the relative major key, or of `scale` itself if it is major."""
    return (scale.tonic + 3 * scale.minor) % 12


def folded(pitch: int) -> int:
    """Return `pitch` moved by octaves into the MIDI range."""
    while pitch < 0:
        pitch += 12
    while pitch > 127:
        pitch -= 12
    return pitch
