"""Loops that are shorter or longer than a model takes, or of another metre: shown repeated and cut, or in parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy as np

from rtgen.inference.card import Card
from rtgen.inference.model import Tensor
from rtgen.music.note import Loop, Note


def shown(card: Card, steps: int) -> int:
    """How many steps a model is shown of a loop of `steps`: whole repetitions where it takes these, else a cut one."""
    times = ceil(card.min_steps / steps)
    while times * steps % card.step_multiple:
        times += 1
    if times * steps <= card.max_steps:
        return times * steps
    return ceil(max(steps, card.min_steps) / card.step_multiple) * card.step_multiple


def repeated(planes: Tensor, steps: int) -> Tensor:
    """Planes repeated along their last dimension until they are `steps` long, and cut there."""
    return planes[..., np.arange(steps) % planes.shape[-1]]


def parts(loop: Loop, card: Card) -> list[Loop]:
    """The loop in parts of as many whole bars as the model takes at once; of less than a bar if it takes no bar."""
    most = card.max_steps // card.step_multiple * card.step_multiple * card.grid.step
    size = most // loop.bar * loop.bar or most
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
    """`loop` repeated and cut to the length and the bars of `like`."""
    starts = range(0, like.length, loop.length)
    notes = (replace(n, onset=n.onset + start) for start in starts for n in loop.notes)
    return _cut(Loop(len(starts) * loop.length, tuple(notes), like.bar), 0, like.length)
