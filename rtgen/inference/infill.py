"""A part of a loop that is the model's own, and everything else exactly as it was played."""

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
"""What a model makes of a loop where a mask is 1."""
_THIN, _THICK = 0.5, 1.5
"""How many notes there may be beside those of the rest of the loop, in the same time."""


def start(loop: Loop, share: float) -> int:
    """The tick from which the last share of a loop is the model's own: a whole sixteenth."""
    return min((columns(loop) - round(share * columns(loop))) * TICKS_PER_SIXTEENTH, loop.length)


def infill(
    model: Model, loop: Loop, begin: int, end: int, knobs: Knobs, rng: np.random.Generator, imagines: Imagines
) -> Loop:
    """A loop with new notes from one tick to another; there is nothing left of those that were there, but for anchors.

    Args:
        model: whose notes these are.
        loop: what was played.
        begin: first tick of the gap, a whole step.
        end: the tick after it.
        knobs: `temperature` and `key_lock`, and what holds anchors.
        rng: for what is drawn by chance.
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
    """As many notes as the model expects, if that is not much thinner or thicker than the rest."""
    rest = kept.length - (end - begin)
    usual = len(kept) * (end - begin) / rest if rest else expected
    return max(round(min(max(expected, _THIN * usual), _THICK * usual)), 1)
