"""Chords: a root, a kind and a bass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rtgen.music.key import NAMES


@dataclass(frozen=True, slots=True)
class Kind:
    """What a chord is above its root.

    Args:
        name: as it is written after the root, such as "m7" or "/3"; empty for a major triad.
        steps: semitones of its notes above the root, ascending from 0.
        bass: semitones of its lowest note above the root.
    """

    name: str
    steps: tuple[int, ...]
    bass: int = 0


KINDS = (
    Kind("", (0, 4, 7)),
    Kind("/3", (0, 4, 7), 4),
    Kind("/5", (0, 4, 7), 7),
    Kind("m", (0, 3, 7)),
    Kind("m/b3", (0, 3, 7), 3),
    Kind("m/5", (0, 3, 7), 7),
    Kind("sus2", (0, 2, 7)),
    Kind("sus4", (0, 5, 7)),
    Kind("7sus4", (0, 5, 7, 10)),
    Kind("7", (0, 4, 7, 10)),
    Kind("7/b7", (0, 4, 7, 10), 10),
    Kind("maj7", (0, 4, 7, 11)),
    Kind("maj7/7", (0, 4, 7, 11), 11),
    Kind("m7", (0, 3, 7, 10)),
    Kind("m7/b7", (0, 3, 7, 10), 10),
    Kind("dim", (0, 3, 6)),
    Kind("m7b5", (0, 3, 6, 10)),
    Kind("aug", (0, 4, 8)),
)
"""The kinds that are told apart in training; rarer ones are told as the nearest of these."""


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord.

    Args:
        root: pitch class, 0 (C) to 11 (B).
        kind: what is above it.
    """

    root: int
    kind: Kind

    @property
    def classes(self) -> tuple[int, ...]:
        """Pitch classes of its notes, from the root upwards."""
        return tuple((self.root + step) % 12 for step in self.kind.steps)

    @property
    def bass(self) -> int:
        """Pitch class of its lowest note."""
        return (self.root + self.kind.bass) % 12

    def moved(self, semitones: int) -> Chord:
        """Return the chord so many semitones above."""
        return Chord((self.root + semitones) % 12, self.kind)

    def __str__(self) -> str:
        name, slash, _ = self.kind.name.partition("/")
        return f"{NAMES[self.root]}{name}" + (f"/{NAMES[self.bass]}" if slash else "")


def chord_of(pitches: Sequence[int], kinds: Sequence[Kind] = KINDS) -> Chord | None:
    """Return the chord that some keys are, with the lowest as its bass as far as it can be.

    Args:
        pitches: of the keys, in any order.
        kinds: that it may be of; of two that fit as well the first is taken.

    Returns:
        None if they are none: fewer than three notes, and no third.
    """
    played = {pitch % 12 for pitch in pitches}
    if len(played) < 2 or (len(played) == 2 and _between(*played) not in (3, 4)):
        return None
    lowest = min(pitches) % 12
    best: tuple[float, Chord] | None = None
    for kind in kinds:
        for root in range(12):
            chord = Chord(root, kind)
            classes = chord.classes
            missing = sum(0.5 if (tone - root) % 12 == 7 else 1.0 for tone in set(classes) - played)
            cost = missing + len(played - set(classes)) + _OTHER_BASS * (chord.bass != lowest)
            if best is None or cost < best[0]:
                best = cost, chord
    return None if best is None else best[1]


_OTHER_BASS = 1.2
"""What it counts that a chord has another bass: more than a note that is not in it."""


def _between(one: int, other: int) -> int:
    """Semitones between two pitch classes, 0 to 6."""
    return min((one - other) % 12, (other - one) % 12)
