"""Key estimation: which of the 24 major and minor keys some notes are in.

Method: Krumhansl and Schmuckler's (Krumhansl, Cognitive Foundations of Musical Pitch, 1990): correlate how long each
pitch class sounds with a profile of each key. The profiles are Temperley's (What's Key for Key?, 1999), which were made
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
# Natural minor with the raised sixth and seventh that melodies and dominants use.
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
        """Whether `pitch` belongs to the scale (for minor, in any of its three forms)."""
        return (pitch - self.tonic) % 12 in (_MINOR_SCALE if self.minor else _MAJOR_SCALE)

    def __str__(self) -> str:
        return f"{NAMES[self.tonic]} {'minor' if self.minor else 'major'}"


KEYS = tuple(Key(tonic, minor) for minor in (False, True) for tonic in range(12))


def profile(scale: Key) -> tuple[float, ...]:
    """How much each pitch class, C first, is expected to sound in a key."""
    values = _MINOR if scale.minor else _MAJOR
    return values[12 - scale.tonic :] + values[: 12 - scale.tonic]


def _unit(values: Sequence[float]) -> tuple[float, ...]:
    """What values differ by from their mean, as a vector of length 1; zeros where they do not."""
    mean = sum(values) / len(values)
    length = sqrt(sum((x - mean) ** 2 for x in values))
    return tuple((x - mean) / length if length else 0.0 for x in values)


_UNITS = {scale: _unit(profile(scale)) for scale in KEYS}


def estimate(notes: Iterable[Note], among: Sequence[Key] = KEYS) -> Key | None:
    """The likeliest key of `notes`, each weighed by its duration; None when there are none."""
    weights = [0.0] * 12
    for note in notes:
        weights[note.pitch % 12] += note.duration
    if not any(weights):
        return None
    heard = _unit(weights)
    # A correlation, rounded, so that of keys that are equally likely the first is taken, whatever the last digit says.
    return max(among, key=lambda scale: round(sum(map(mul, heard, _UNITS[scale])), 9))


_DOUBTFUL, _CERTAIN = 0.7, 0.92
"""Shares of the time that fits into a scale: about that of notes by chance, and what most music has."""


def confidence(notes: Iterable[Note]) -> float:
    """How sure it is that notes are in a key, 0 to 1: how much of their time one scale explains.

    How far the best correlation is from that of the next key does not tell it: it is about the same for music and for
    notes by chance, since the key next to a clear one is nearly as likely.
    """
    heard = list(notes)
    scale = estimate(heard)
    if scale is None:
        return 0.0
    tonic = (scale.tonic + 3 * scale.minor) % 12
    # A minor key is in its harmonic form as sure as in the natural one: its leading note counts.
    explained = {(tonic + step) % 12 for step in _MAJOR_SCALE} | ({(scale.tonic - 1) % 12} if scale.minor else set())
    time = sum(n.duration for n in heard)
    share = sum(n.duration for n in heard if n.pitch % 12 in explained) / time
    return min(max((share - _DOUBTFUL) / (_CERTAIN - _DOUBTFUL), 0.0), 1.0)


def major_tonic(scale: Key) -> int:
    """The tonic of the major key that has the notes of `scale`."""
    return (scale.tonic + 3 * scale.minor) % 12


def folded(pitch: int) -> int:
    """The nearest pitch of the same name that MIDI has."""
    while pitch < 0:
        pitch += 12
    while pitch > 127:
        pitch -= 12
    return pitch
