"""Output of the readers: music aligned to the beat, and facts about the file."""

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
"""Ticks (half a step of a piano roll) by which a note may precede a downbeat and still belong to it."""

Part = NDArray[np.int64]
"""Notes, shape (4, notes): rows of onsets, pitches, durations (ticks, 480 a beat) and velocities, in any order."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Music in one metre whose ticks follow the true beat.

    Args:
        tracks: names and notes; names are unique within a file.
        stretches: (start, length) in ticks of the sections that loops are cut from; ascending, not overlapping.
        bar: ticks per bar.
        tempo: BPM.
        drums: whether `tracks` are drums.
    """

    tracks: tuple[tuple[str, Part], ...]
    stretches: tuple[tuple[int, int], ...]
    bar: int = BAR
    tempo: float = 120.0
    drums: bool = False

    def voices(self) -> list[tuple[str, Part]]:
        """Each track by itself and, if there are several, all together."""
        if len(self.tracks) < 2:
            return list(self.tracks)
        return [*self.tracks, ("together", np.concatenate([notes for _, notes in self.tracks], axis=1))]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a reader found in a file.

    Args:
        pieces: of the file, which is one song.
        facts: what was left out or assumed, in a few words each, with counts.
    """

    pieces: tuple[Piece, ...] = ()
    facts: Counter[str] = field(default_factory=Counter)


def part(notes: Iterable[Note]) -> Part:
    """Converts notes to an array."""
    rows = [(n.onset, n.pitch, n.duration, n.velocity) for n in notes]
    return np.array(rows, np.int64).reshape(-1, 4).T.copy()


def distinct(names: Iterable[str]) -> list[str]:
    """Makes names unique by appending a number to those that occurred before."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def sorted_rows(*columns: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Sorts rows of non-negative numbers by the first column, then the second, and so on.

    Rows that fit are packed into one number of 63 bits: sorting those is ten times as fast as computing an order.
    """
    widths = [int(c.max()).bit_length() for c in columns] if len(columns[0]) else [0] * len(columns)
    if sum(widths) > 63:
        order = np.lexsort(columns[::-1])
        return [c[order] for c in columns]
    key = columns[0].astype(np.int64)
    for column, width in zip(columns[1:], widths[1:], strict=True):
        key = (key << width) | column
    key.sort()
    found = []
    for width in widths[:0:-1]:
        found.append(key & ((1 << width) - 1))
        key = key >> width
    return [key, *found[::-1]]
