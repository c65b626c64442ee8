"""What a composer recalls: what followed the last time that something like this was played."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from rtgen.music.note import Loop
from rtgen.music.time import TICKS_PER_SIXTEENTH

ALIKE = 0.25
"""Loops less alike than this are not recalled."""


@lru_cache(maxsize=64)
def struck(loop: Loop) -> int:
    """Return the sixteenths and pitches at which notes are struck: a bit each."""
    columns = max(loop.length // TICKS_PER_SIXTEENTH, 1)
    found = 0
    for n in loop.notes:
        found |= 1 << 128 * min(max(round(n.onset / TICKS_PER_SIXTEENTH), 0), columns - 1) + n.pitch
    return found


def likeness(a: Loop, b: Loop) -> float:
    """Return the Dice coefficient of the cells of two loops; 0 if their lengths differ."""
    if (a.length, a.bar) != (b.length, b.bar):
        return 0.0
    cells_a, cells_b = struck(a), struck(b)
    return 2 * (cells_a & cells_b).bit_count() / max(cells_a.bit_count() + cells_b.bit_count(), 1)


def followed(past: Sequence[Loop], call: Loop) -> Loop | None:
    """Return the loop that followed the earlier loop most like the call; None if none is alike."""
    best, found = ALIKE, None
    for before, after in pairwise((*past, call)):
        if after.length == call.length and (like := likeness(before, call)) >= best:
            best, found = like, after
    return found
