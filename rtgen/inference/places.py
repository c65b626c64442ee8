"""Where loops lie: their attributes and positions in the model's latent dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from rtgen.inference import latent
from rtgen.inference.card import Card
from rtgen.inference.cells import Knobs
from rtgen.inference.frame import in_c
from rtgen.inference.lengths import parts
from rtgen.inference.model import Model
from rtgen.instrument.job import Place
from rtgen.instrument.parameters import LATENTS
from rtgen.music.attributes import NAMES, REACH, measure, standard
from rtgen.music.note import Loop


def dimensions(card: Card) -> tuple[str, ...]:
    """Names of a place's coordinates: the attributes, then the model's own latents that have a knob."""
    return (*NAMES, *(card.latents[i].name for i in _own(card)))


def place(model: Model, loops: Sequence[Loop], knobs: Knobs) -> list[Place]:
    """Coordinates of loops, in the order of `dimensions`; empty for a silent loop.

    Attributes are measured on the notes, not on the model's output. A loop longer than the model takes is encoded by
    its beginning only. All loops are encoded in the key set by the knobs, if any.
    """
    return [_placed(model, loop, knobs) if loop.notes else () for loop in loops]


def _placed(model: Model, loop: Loop, knobs: Knobs) -> Place:
    like = [0.5 + value / (2 * REACH) for value in standard(measure(loop))]
    if own := _own(model.card):
        code = latent.code_of(model, in_c(model.card, parts(loop, model.card)[0], knobs)[1])
        of = model.card.latents
        like += [float((code[i] - of[i].low) / (of[i].high - of[i].low)) for i in own]
    return tuple(round(min(max(share, 0.0), 1.0), 4) for share in like)


def _own(card: Card) -> list[int]:
    """Indices of the latents with a `latent` knob, for a model that can encode loops."""
    return latent.own(card)[: len(LATENTS)] if "mean" in card.outputs() else []
