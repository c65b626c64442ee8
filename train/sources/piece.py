"""What every reader makes of a file: music on the beat, and what there is to say about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtgen.music.note import Note

BAR = 1920
"""Ticks in a bar of 4/4."""
EARLY = 20
"""Ticks, half a step of a roll: a note that comes this much before a downbeat belongs to it."""

Part = NDArray[np.int64]
"""Notes, shape (notes, 4): onset, pitch, duration (ticks, 480 a beat), velocity."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Music whose ticks are true beats, in one metre.

    Args:
        tracks: by name; a name occurs once in a file.
        stretches: (start, length) in ticks of what loops are cut from; ascending and apart.
        bar: ticks in a bar.
        tempo: BPM.
        drums: whether `tracks` are drums.
    """

    tracks: tuple[tuple[str, Part], ...]
    stretches: tuple[tuple[int, int], ...]
    bar: int = BAR
    tempo: float = 120.0
    drums: bool = False

    def voices(self) -> list[tuple[str, Part]]:
        """Each track apart and, of several, all together."""
        if len(self.tracks) < 2:
            return list(self.tracks)
        return [*self.tracks, ("together", np.concatenate([notes for _, notes in self.tracks]))]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a reader found in a file.

    Args:
        pieces: of one song, which is the file.
        facts: how often what was left out or taken as given, in a few words each.
    """

    pieces: tuple[Piece, ...] = ()
    facts: Counter[str] = field(default_factory=Counter)


def part(notes: Iterable[Note]) -> Part:
    """Notes as an array."""
    return np.array([(n.onset, n.pitch, n.duration, n.velocity) for n in notes], np.int64).reshape(-1, 4)


def distinct(names: Iterable[str]) -> list[str]:
    """`names` with a number behind those that occurred before."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
