"""What is recalled of what was played before: many loops at a time, as one by one."""

from __future__ import annotations

import numpy as np
import pytest

from rtgen.inference.recall import recalled as one
from rtgen.music.note import Loop, Note
from train.dataset import from_loops, to_loops
from train.recall import PAST, recalled
from train.sample import GRID


def music(seed: int, length: int, bar: int) -> Loop:
    """Few pitches and sixteenths, so that bars have much in common, and some are a little early or late."""
    rng = np.random.default_rng(seed)
    notes = {}
    for _ in range(int(rng.integers(0, 14))):
        onset, pitch = int(rng.integers(0, length // 120)) * 120 + int(rng.integers(-15, 15)), int(rng.integers(60, 65))
        notes[round(onset / GRID.step), pitch] = Note(onset, pitch, int(rng.integers(1, min(960, length - onset))), 80)
    return Loop(length, tuple(notes.values()), bar)


@pytest.mark.parametrize(("length", "bar"), [(3840, 1920), (2880, 1440), (1920, 1920)])
def test_many_at_a_time_are_recalled_as_one_by_one(length: int, bar: int) -> None:
    count, bars = 40, 3
    loops = [music(seed, length, bar) for seed in range(count)]
    # The latest first, as a sample has them; of some loops little was played before.
    pasts = [[music(1000 + PAST * i + k, length, bar) for k in range(i % (PAST + 1))] for i in range(count)]
    there = [past + [Loop(length, (), bar)] * (PAST - len(past)) for past in pasts]
    flat = from_loops([loop for past in there for loop in past])
    found = recalled(from_loops(loops), flat, count, length, bar, bars)
    for rank, notes in enumerate(found):
        for made, loop, past in zip(to_loops(notes, count, length, bar), loops, pasts, strict=True):
            wanted = one(loop, past[::-1], bars, GRID)
            assert made == (wanted[rank] if wanted else Loop(length, (), bar))
