"""Whether a knob does what it says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtgen.inference.answer import answer, distance
from rtgen.inference.model import Model
from rtgen.instrument.controls import PARAMETERS
from rtgen.music.note import Loop
from train.augment import GRID
from train.measures.music import spearman

POSITIONS = tuple(i / 10 for i in range(1, 10))
FEWER = 60
"""Loops that are varied; each at all positions."""


def defaults(**changed: float) -> dict[str, float]:
    """All knobs where they stand by themselves, but for some."""
    return {**{p.name: p.default for p in PARAMETERS.values()}, **changed}


def follows(model: Model, loops: Sequence[Loop], seed: int) -> dict[str, list[float]]:
    """`distance_rank`: rank correlation of the knob and the distance of what is played; `distance_off`: how far off."""
    rank: list[float] = []
    off: list[float] = []
    for number, loop in enumerate(loops[:FEWER]):
        found = [
            distance(loop, answer(model, loop, "vary", defaults(distance=p), seed + number), GRID) for p in POSITIONS
        ]
        rank.append(spearman(POSITIONS, found))
        off.append(float(np.mean(np.abs(np.array(found) - POSITIONS))))
    return {"distance_rank": rank, "distance_off": off}
