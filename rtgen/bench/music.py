"""Synthetic loops with known ticks, to play to the program under test."""

from __future__ import annotations

import random

from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN

BAR = 4 * PPQN
"""Ticks in a bar of 4/4."""


def made_loop(seed: int, bars: int = 2) -> Loop:
    """A synthetic loop: a bass on the beats, chords, and a line off the grid, to test every kind of tick."""
    rng = random.Random(seed)
    length = bars * BAR
    root = rng.randrange(36, 48)
    notes = [Note(0, root, 400, 90)]
    notes += [
        Note(beat * PPQN + rng.randrange(-12, 13), root, rng.randrange(100, 400), rng.randrange(60, 120))
        for beat in range(1, bars * 4)
    ]
    for beat in range(0, bars * 4, 2):
        onset = beat * PPQN + rng.randrange(0, 20)
        notes += [Note(onset + 3 * i, root + 12 + step, 700, 70 + i) for i, step in enumerate((0, 4, 7))]
    for sixteenth in rng.sample(range(bars * 16), bars * 6):
        onset = max(sixteenth * PPQN // 4 + rng.randrange(-15, 16), 0)
        notes.append(
            Note(onset, root + 24 + rng.choice((0, 2, 4, 7, 9)), rng.randrange(40, 240), rng.randrange(30, 127))
        )
    return playable(length, [n for n in notes if n.onset >= 0])


def playable(length: int, notes: list[Note]) -> Loop:
    """Drops notes close to the end, where they would count as early notes of the next loop."""
    return Loop(length, tuple(n for n in notes if n.onset <= length - PPQN // 4)).monophonic_by_pitch()
