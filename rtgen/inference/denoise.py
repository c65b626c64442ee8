"""Modes of a denoiser: repairing a loop, or masking parts of it and filling them in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.card import PLANES, Card
from rtgen.inference.cells import Knobs, inside, raised
from rtgen.inference.exchange import anchors, exchange, hidden_beside, scale_of, to_exchange
from rtgen.inference.frame import in_c
from rtgen.inference.lengths import repeated, shown
from rtgen.inference.model import Model, Tensor
from rtgen.inference.repair import clean as repair
from rtgen.music.attributes import Attributes, measure, standard
from rtgen.music.note import Loop
from rtgen.music.roll import Plane, Roll, bar_phase, encode

CANDIDATES = 2
"""Variations computed in one batch; the best is played."""
_MASK_STEPS = 12
"""Steps masked together."""


def clean(model: Model, loop: Loop) -> Loop:
    """Corrects slips and timing; leaves everything else as it was."""
    roll = encode(loop, model.card.grid)
    (heard,) = run(model, loop, roll, np.zeros((1, *roll.onset.shape), np.float32))
    return repair(loop, heard, model.card.grid, model.card.threshold)


def vary(model: Model, loop: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Plays a variation at the distance set by the knob `distance` (one minus the Jaccard index of the cells).

    Parts of the loop are masked and filled in by the model; of several attempts the likeliest at the right distance is
    played. At distance 0 the result is identical to the loop.
    """
    grid = model.card.grid
    count = len(inside(loop, grid))
    wanted = to_exchange(count, knobs["distance"])
    if not wanted:
        return loop
    roll = encode(loop, grid)
    share = min(1.0, 1.4 * wanted / count)
    masks = hidden_beside(
        np.stack([_mask(rng, roll, share) for _ in range(CANDIDATES)]), loop, anchors(loop, knobs), grid
    )
    filled = run(model, loop, roll, masks, **_told(model.card, measure(loop), len(masks)))
    scale = scale_of(loop.notes, knobs)
    attempts = [
        exchange(loop, roll, mask, fill, wanted, scale, knobs, rng, grid)
        for mask, fill in zip(masks, filled, strict=True)
    ]
    return min(attempts, key=lambda a: (abs(a.exchanged - wanted), -a.belief)).loop


def _mask(rng: np.random.Generator, roll: Roll, share: float) -> Plane:
    """Masks at least `share` of the notes: beats in random order, whole or only above or below the median pitch."""
    mask = np.zeros_like(roll.onset)
    pitches, steps = mask.shape
    wanted = share * roll.onset.sum()
    split = int(np.median(np.nonzero(roll.onset)[0]))
    part = [slice(0, pitches), slice(split, pitches), slice(0, split)][rng.integers(3)]
    for region in (part, slice(0, pitches)):
        for start in rng.permutation(np.arange(0, steps, _MASK_STEPS)):
            if (mask * roll.onset).sum() >= wanted:
                return mask
            mask[region, start : start + _MASK_STEPS] = 1
    return mask


def run(model: Model, loop: Loop, roll: Roll, masks: NDArray[np.float32], **conditions: Tensor) -> list[Roll]:
    """Runs the model on a roll under several masks, of shape (masks, pitches, steps).

    Args:
        model: a denoiser.
        loop: gives length and bars.
        roll: the input.
        masks: 1 where the input is masked.
        conditions: further inputs by name, one row per mask.
    """
    grid, steps = model.card.grid, roll.onset.shape[1]
    planes = roll.stack()[None] * (1 - masks[:, None])
    phase = np.repeat(bar_phase(loop.length, loop.bar, grid)[None], len(masks), axis=0)
    inputs = {"roll": planes, "mask": masks, "phase": phase}
    wide = shown(model.card, steps)
    outputs = model.run({**{name: repeated(tensor, wide) for name, tensor in inputs.items()}, **conditions})
    return [Roll(*(outputs[plane][i, :, :steps] for plane in PLANES)) for i in range(len(masks))]


def wished(model: Model, loop: Loop, wanted: Attributes, knobs: Knobs) -> Roll:
    """The model's belief for a mostly untrusted loop that should have the attributes `wanted`."""
    up, lifted = in_c(model.card, loop, knobs)
    in_frame = wanted | {"register": wanted["register"] + up}
    roll = encode(lifted, model.card.grid)
    (heard,) = run(
        model, loop, roll, np.zeros((1, *roll.onset.shape), np.float32), **_told(model.card, in_frame, damage=1.0)
    )
    return raised(heard, -up)


def _told(card: Card, attributes: Attributes, rows: int = 1, damage: float | None = None) -> dict[str, Tensor]:
    """Conditions for the wanted loop, as far as the model has them: its attributes, and the input's damage."""
    told = {"wish": [*standard(attributes), *(1.0 for _ in attributes)]}
    if damage is not None:
        told["damage"] = [damage]
    sizes = {condition.name: condition.size for condition in card.conditions}
    return {name: np.tile(np.array(v, np.float32), (rows, 1)) for name, v in told.items() if sizes.get(name) == len(v)}


def imagined(model: Model, kept: Loop, mask: Plane) -> Roll:
    """The model's belief for a masked part, assuming that it resembles the rest."""
    roll, like = encode(kept, model.card.grid), measure(kept)
    there = 1 - float(mask.any(axis=0).mean())
    like["density"] /= max(there, 0.25)
    return run(model, kept, roll, mask[None], **_told(model.card, like))[0]
