"""What was played before and is like what is played now: for each bar, those that have most in common with it.

Music says things again. A note that is missing here may be there in the bar that this one repeats, and a slip is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rtgen.music.note import Loop, Note
from rtgen.music.time import Grid

NEAR = 1
"""Steps by which an onset may be off."""
_Bar = dict[tuple[int, int], Note]
"""Notes by step in the bar, and pitch."""


def recalled(loop: Loop, past: Sequence[Loop], count: int, grid: Grid) -> list[Loop]:
    """`count` loops as long as this one, in each of which every bar is one that was played before; none without a past.

    The first has of each bar the likest: that which has most of its notes, beside how many either has. Of equals it is
    the latest. The next loop has the next, and silence where nothing is alike.

    Args:
        loop: what is played now.
        past: what was played before, the oldest first; loops of other bars are passed over.
        count: bars to be recalled of each.
        grid: whose steps are told apart.
    """
    if not count or not past:
        return []
    bars = [bar for before in past if before.bar == loop.bar for bar in _bars(before, grid)][::-1]
    found: list[list[Note]] = [[] for _ in range(count)]
    for number, now in enumerate(_bars(loop, grid)):
        likest = sorted((-_alike(now, bar), i) for i, bar in enumerate(bars))[:count]
        for notes, (alike, i) in zip(found, likest, strict=False):
            if alike:
                begin = number * loop.bar
                notes += (_moved(n, begin, loop) for n in bars[i].values() if begin + n.onset < loop.length)
    return [loop.with_notes(notes) for notes in found]


def _bars(loop: Loop, grid: Grid) -> list[_Bar]:
    """The bars of a loop; a note in the bar in which its step is, its onset counted from there."""
    steps, wide = grid.steps(loop.length), grid.steps(loop.bar)
    found: list[_Bar] = [{} for _ in range(-(-steps // wide))]
    for n in loop.notes:
        column = min(max(round(n.onset / grid.step), 0), steps - 1)
        begin = column // wide * loop.bar
        found[column // wide][column % wide, n.pitch] = replace(n, onset=n.onset - begin)
    return found


def _alike(now: _Bar, bar: _Bar) -> float:
    shared = sum(any((step + off, pitch) in bar for off in range(-NEAR, NEAR + 1)) for step, pitch in now)
    return shared / (1 + (len(now) + len(bar)) / 2)


def _moved(note: Note, begin: int, loop: Loop) -> Note:
    """A note of a bar in the bar that begins there; it ends with it at the latest."""
    end = min(note.end, loop.bar, loop.length - begin)
    return replace(note, onset=begin + note.onset, duration=max(end - note.onset, 1))
