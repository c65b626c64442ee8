"""Loops shorter or longer than a model takes, or in another metre: repeated, laid out bar by bar, or split.

A model with a free time axis gets whole repetitions. A model with a fixed length has learnt where bars begin: every
four beats, in slots. A shorter bar is padded with silence to a slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.card import Card
from rtgen.music.note import Loop, Note
from rtgen.music.time import Grid

Planes = NDArray[np.float32]
"""Steps are the last dimension."""
Columns = NDArray[np.intp]
"""The step of a loop in each input column of a model; -1 for silence."""
SLOT_BEATS = 4
"""Beats in a slot, the most common bar length."""
EARLY = 20
"""Ticks, half a step of a roll, by which a downbeat may come early."""


def shown(card: Card, steps: int) -> int:
    """Number of input steps for a loop of `steps`: whole repetitions if the model takes them, else cut."""
    times = ceil(card.min_steps / steps)
    while times * steps % card.step_multiple:
        times += 1
    if times * steps <= card.max_steps:
        return times * steps
    return ceil(max(steps, card.min_steps) / card.step_multiple) * card.step_multiple


def repeated(planes: Planes, steps: int) -> Planes:
    """Repeats planes along their last dimension and cuts them to `steps`."""
    return planes[..., np.arange(steps) % planes.shape[-1]]


def slots(steps: int, bar: int, wide: int, grid: Grid) -> Columns:
    """Lays a loop out in `wide` columns: every bar begins at a slot, or at half a slot if two bars fit into one.

    The rest of a slot, or of the several slots of a long bar, is silent. A loop with fewer bars repeats; one that does
    not fit this way is cut, or repeated and cut.

    Args:
        steps: in the loop.
        bar: steps per bar.
        wide: number of columns.
        grid: of the columns.
    """
    column = np.arange(wide)
    group, span = _slotted(min(bar, steps), grid)
    if wide // span * group < steps:
        return column % steps
    within = column % span
    return np.where(within < group, (column // span * group + within) % steps, -1)


def _slotted(bar: int, grid: Grid) -> tuple[int, int]:
    """Steps of the bars laid out together, and columns of their slots."""
    slot = SLOT_BEATS * grid.steps_per_beat
    group = max(slot // bar, 1) * bar
    return group, ceil(group / slot) * slot


def columns(card: Card, loop: Loop) -> Columns:
    """The input columns of a loop no longer than the model takes; uses slots if the model has a fixed length."""
    steps = card.grid.steps(loop.length)
    wide = shown(card, steps)
    if card.min_steps == card.max_steps:
        return slots(steps, max(loop.bar // card.grid.step, 1), wide, card.grid)
    return np.arange(wide) % steps


def laid(planes: Planes, columns: Columns) -> Planes:
    """Arranges a loop's planes in the input columns."""
    if len(columns) == planes.shape[-1] and np.array_equal(columns, np.arange(len(columns))):
        return planes
    return planes[..., columns] * (columns >= 0).astype(np.float32)


def read(planes: Planes, columns: Columns) -> Planes:
    """Rearranges output planes into the loop's steps, taking the first column of each."""
    steps, first = np.unique(columns, return_index=True)
    return planes[..., first[steps >= 0]]


def parts(loop: Loop, card: Card) -> list[Loop]:
    """Splits a loop into parts of as many whole bars as the model takes; below one bar if it takes no whole bar."""
    grid = card.grid
    most = card.max_steps // card.step_multiple * card.step_multiple * grid.step
    size = most // loop.bar * loop.bar
    if card.min_steps == card.max_steps:
        group, span = _slotted(max(loop.bar // grid.step, 1), grid)
        size = card.max_steps // span * group * grid.step
    size = size or most
    return [_cut(loop, start, min(start + size, loop.length)) for start in range(0, loop.length, size)]


def _cut(loop: Loop, start: int, end: int) -> Loop:
    if (start, end) == (0, loop.length):
        return loop
    # An early downbeat belongs to the first part; other notes belong to the part of their onset.
    inside = [n for n in loop.notes if (n.onset >= start or start == 0) and n.onset < end]
    notes = (Note(n.onset - start, n.pitch, min(n.end, end) - n.onset, n.velocity) for n in inside)
    return Loop(end - start, tuple(notes), loop.bar)


def join(parts: Sequence[Loop], loop: Loop) -> Loop:
    """Joins parts into a loop like `loop`; its notes that were cut by the split and kept are restored."""
    if len(parts) == 1:
        return loop.with_notes(parts[0].notes)
    whole = {(n.onset, n.pitch, n.velocity): n for n in loop.notes}
    notes: list[Note] = []
    start = 0
    for part in parts:
        for n in part.notes:
            cut = Note(n.onset + start, n.pitch, n.duration, n.velocity)
            played = whole.get((cut.onset, cut.pitch, cut.velocity), cut)
            notes.append(played if n.end == part.length else cut)
        start += part.length
    return loop.with_notes(notes).monophonic_by_pitch()


def refitted(loop: Loop, like: Loop) -> Loop:
    """Repeats and cuts `loop` to the length of `like`.

    Where the bars differ, each is cut or padded with silence, so that downbeats stay downbeats.
    """
    if loop.bar != like.bar:
        loop = _rebarred(loop, like.bar)
    starts = range(0, like.length, loop.length)
    notes = (replace(n, onset=n.onset + start) for start in starts for n in loop.notes)
    return _cut(Loop(len(starts) * loop.length, tuple(notes), like.bar), 0, like.length)


def _rebarred(loop: Loop, bar: int) -> Loop:
    """Changes every bar to `bar` ticks, keeping what fits."""
    notes: list[Note] = []
    for n in loop.notes:
        # An early downbeat belongs to the bar that it starts.
        number = (n.onset + EARLY) // loop.bar
        within = n.onset - number * loop.bar
        if within < bar:
            notes.append(Note(number * bar + within, n.pitch, min(n.duration, bar - within), n.velocity))
    return Loop(ceil(loop.length / loop.bar) * bar, tuple(notes), bar).monophonic_by_pitch()
