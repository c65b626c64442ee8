"""What `rtgen.inference.recall` does, for many loops at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.recall import NEAR
from rtgen.music.time import Grid
from train.dataset import Notes
from train.sample import DURATION, GRID, LOOP, ONSET, PITCH, changed

PAST = 6
"""Loops before each that are looked at."""
Ints = NDArray[np.int64]


def recalled(now: Notes, past: Notes, count: int, length: int, bar: int, bars: int, grid: Grid = GRID) -> list[Notes]:
    """`bars` times the notes of `count` loops, each bar of which was played before; as `rtgen.inference.recall`.

    Args:
        now: of the loops.
        past: of the `PAST` loops before each, the latest first: those of loop i are numbers `i * PAST` and on.
        count: loops.
        length: ticks of each.
        bar: ticks in a bar, of which there is a whole number in a loop.
        bars: to be recalled of each.
        grid: whose steps are told apart.
    """
    there, wide = length // bar, grid.steps(bar)
    of_now, at_now = _placed(now, there, wide, grid)
    of_past, at_past = _placed(past, there, wide, grid)
    # Of each loop's past the latest bar is 0.
    of_past = of_past // there * there + there - 1 - of_past % there
    shape = count, PAST * there, 128, wide + 2 * NEAR
    played = np.zeros(shape, bool)
    near = np.zeros(shape, bool)
    owner, bar_of = np.divmod(of_past, PAST * there)
    played[owner, bar_of, past[:, PITCH], at_past + NEAR] = True
    for off in range(2 * NEAR + 1):
        near[owner, bar_of, past[:, PITCH], at_past + off] = True
    cells = np.unique(np.stack([of_now, now[:, PITCH], at_now], axis=1), axis=0)
    of_cell, pitch, at = cells.T
    shared = np.zeros((count * there, PAST * there))
    np.add.at(shared, of_cell, near[of_cell // there, :, pitch, at + NEAR])
    many = np.bincount(of_cell, minlength=count * there)[:, None]
    alike = shared / (1 + (many + np.repeat(played.sum(axis=(2, 3)), there, axis=0)) / 2)
    likest = np.argsort(-alike, axis=1, kind="stable")[:, :bars]
    order = np.argsort(of_past, kind="stable")
    bounds = np.searchsorted(of_past[order], np.arange(count * PAST * there + 1))
    return [_told(past, order, bounds, choice, alike, count, bar) for choice in likest.T]


def _placed(notes: Notes, there: int, wide: int, grid: Grid) -> tuple[Ints, Ints]:
    """The bar that each note is in, counted over all loops, and its step in it."""
    column = np.clip(np.rint(notes[:, ONSET] / grid.step).astype(np.int64), 0, there * wide - 1)
    return notes[:, LOOP] * there + column // wide, column % wide


def _told(
    past: Notes, order: Ints, bounds: Ints, choice: Ints, alike: NDArray[np.float64], count: int, bar: int
) -> Notes:
    """The notes of the bars that were chosen, one for each bar of the loops, where they are said again."""
    there = len(choice) // count
    number = np.flatnonzero(alike[np.arange(len(choice)), choice] > 0)
    source = number // there * (alike.shape[1]) + choice[number]
    counts = bounds[source + 1] - bounds[source]
    rows = np.repeat(bounds[source] - (np.cumsum(counts) - counts), counts)
    notes = past[order[rows + np.arange(len(rows))]]
    target = np.repeat(number, counts)
    # Bars are counted from the latest, so the first of a loop is the last of its bars.
    within = there - 1 - np.repeat(source, counts) % there
    onset = notes[:, ONSET] - within * bar
    end = np.minimum(onset + notes[:, DURATION], bar)
    moved = onset + target % there * bar
    columns = {LOOP: target // there, ONSET: moved, DURATION: np.maximum(end - onset, 1)}
    found = changed(notes, columns)
    return found[np.argsort(found[:, LOOP], kind="stable")]
