"""Loops that are shorter or longer than a model takes, or of another metre: shown repeated, bar by bar, or in parts.

A model with a free time axis is shown whole repetitions. One that knows a single length has learnt where in it bars
begin: in a slot of four beats each. A shorter bar is laid into a slot, and the rest of the slot is silent.
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
"""Which step of a loop stands in each column that a model is shown; -1 where there is silence."""
SLOT_BEATS = 4
"""Beats in a slot: in the bar of most music."""
EARLY = 20
"""Ticks, half a step of a roll, by which a downbeat may come early."""


def shown(card: Card, steps: int) -> int:
    """How many steps a model is shown of a loop of `steps`: whole repetitions where it takes these, else a cut one."""
    times = ceil(card.min_steps / steps)
    while times * steps % card.step_multiple:
        times += 1
    if times * steps <= card.max_steps:
        return times * steps
    return ceil(max(steps, card.min_steps) / card.step_multiple) * card.step_multiple


def repeated(planes: Planes, steps: int) -> Planes:
    """Planes repeated along their last dimension until they are `steps` long, and cut there."""
    return planes[..., np.arange(steps) % planes.shape[-1]]


def slots(steps: int, bar: int, wide: int, grid: Grid) -> Columns:
    """A loop in `wide` columns, so that every bar begins with a slot, or with half of one if two bars fit into it.

    What is left of a slot, or of the several that a long bar takes, is silent. A loop with fewer bars begins again; one
    that has no room this way is cut, or repeated and cut.

    Args:
        steps: in the loop.
        bar: steps in a bar.
        wide: columns.
        grid: of these.
    """
    column = np.arange(wide)
    group, span = _slotted(min(bar, steps), grid)
    if wide // span * group < steps:
        return column % steps
    within = column % span
    return np.where(within < group, (column // span * group + within) % steps, -1)


def _slotted(bar: int, grid: Grid) -> tuple[int, int]:
    """Steps of the bars that are laid out together, and columns of the slots that they take."""
    slot = SLOT_BEATS * grid.steps_per_beat
    group = max(slot // bar, 1) * bar
    return group, ceil(group / slot) * slot


def columns(card: Card, loop: Loop) -> Columns:
    """What a model is shown of a loop that is no longer than it takes: slots if it knows a single length."""
    steps = card.grid.steps(loop.length)
    wide = shown(card, steps)
    if card.min_steps == card.max_steps:
        return slots(steps, max(loop.bar // card.grid.step, 1), wide, card.grid)
    return np.arange(wide) % steps


def laid(planes: Planes, columns: Columns) -> Planes:
    """Planes of a loop as a model is shown them."""
    if len(columns) == planes.shape[-1] and np.array_equal(columns, np.arange(len(columns))):
        return planes
    return planes[..., columns] * (columns >= 0).astype(np.float32)


def read(planes: Planes, columns: Columns) -> Planes:
    """Planes of a model as those of the loop that was laid out: each step from where it is first."""
    steps, first = np.unique(columns, return_index=True)
    return planes[..., first[steps >= 0]]


def parts(loop: Loop, card: Card) -> list[Loop]:
    """The loop in parts of as many whole bars as the model takes at once; of less than a bar if it takes no bar."""
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
    # An early downbeat belongs to the first part; elsewhere a note belongs to the part that it begins in.
    inside = [n for n in loop.notes if (n.onset >= start or start == 0) and n.onset < end]
    notes = (Note(n.onset - start, n.pitch, min(n.end, end) - n.onset, n.velocity) for n in inside)
    return Loop(end - start, tuple(notes), loop.bar)


def join(parts: Sequence[Loop], loop: Loop) -> Loop:
    """The parts one after the other, as a loop like `loop`; where they cut its notes and kept them, these are whole."""
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
    """`loop` repeated and cut to the length of `like`.

    Where their bars differ each bar is cut, or has a silent end, so that downbeats stay downbeats.
    """
    if loop.bar != like.bar:
        loop = _rebarred(loop, like.bar)
    starts = range(0, like.length, loop.length)
    notes = (replace(n, onset=n.onset + start) for start in starts for n in loop.notes)
    return _cut(Loop(len(starts) * loop.length, tuple(notes), like.bar), 0, like.length)


def _rebarred(loop: Loop, bar: int) -> Loop:
    """As many bars of `bar` ticks, with what fits into each."""
    notes: list[Note] = []
    for n in loop.notes:
        # An early downbeat belongs to the bar that it begins.
        number = (n.onset + EARLY) // loop.bar
        within = n.onset - number * loop.bar
        if within < bar:
            notes.append(Note(number * bar + within, n.pitch, min(n.duration, bar - within), n.velocity))
    return Loop(ceil(loop.length / loop.bar) * bar, tuple(notes), bar).monophonic_by_pitch()
