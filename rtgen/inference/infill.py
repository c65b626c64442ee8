"""In-filling: part of a loop is the model's own, everything else stays exactly as played."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rtgen.inference.cells import Knobs, bold, in_key, log_odds, peaked, peaks, sounded
from rtgen.inference.exchange import anchors, hidden_beside, scale_of
from rtgen.inference.model import Model
from rtgen.music.attributes import columns
from rtgen.music.note import Loop
from rtgen.music.roll import Plane, Roll, encode
from rtgen.music.time import TICKS_PER_SIXTEENTH

Imagines = Callable[[Model, Loop, Plane], Roll]
"""Returns the model's belief in the notes of a loop where a mask is 1."""
_THIN, _THICK = 0.5, 1.5
"""Limits of the note count in the gap, relative to the density of the rest of the loop."""


def start(loop: Loop, share: float) -> int:
    """The tick where the last share of a loop begins, rounded to a sixteenth."""
    return min((columns(loop) - round(share * columns(loop))) * TICKS_PER_SIXTEENTH, loop.length)


def infill(
    model: Model, loop: Loop, begin: int, end: int, knobs: Knobs, rng: np.random.Generator, imagines: Imagines
) -> Loop:
    """Replaces the notes between two ticks by new ones; only anchors stay.

    Args:
        model: plays the new notes.
        loop: the call.
        begin: first tick of the gap, a whole step.
        end: the tick after it.
        knobs: `temperature` and `key_lock`, and those that hold anchors.
        rng: source of randomness.
        imagines: asks the model.
    """
    if not loop.notes:
        return loop
    grid = model.card.grid
    held = anchors(loop, knobs)
    early = grid.step // 2
    kept = loop.with_notes(
        n for n in loop.notes if not begin - early <= n.onset < end - early or (n.onset, n.pitch) in held
    )
    mask = np.zeros((grid.pitches, grid.steps(loop.length)), np.float32)
    mask[:, begin // grid.step : end // grid.step] = 1
    mask = hidden_beside(mask, loop, held, grid)
    filled = imagines(model, kept, mask)
    there = encode(kept, grid)
    free = np.where((mask > 0) & (there.hold == 0), filled.onset, 0)
    count = _count(float(free.sum()), kept, begin, end) if kept.notes else len(loop)
    belief = in_key(peaked(log_odds(free)), scale_of(kept.notes or loop.notes, knobs), knobs, grid)
    new = peaks(bold(belief, count, knobs, rng), count)
    added = sounded(new, filled, kept if kept.notes else loop, grid)
    return loop.with_notes([*kept.notes, *added.notes]).monophonic_by_pitch()


def _count(expected: float, kept: Loop, begin: int, end: int) -> int:
    """The model's expected note count, limited to a density not much lower or higher than the rest."""
    rest = kept.length - (end - begin)
    usual = len(kept) * (end - begin) / rest if rest else expected
    return max(round(min(max(expected, _THIN * usual), _THICK * usual)), 1)
