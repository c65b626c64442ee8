"""How like real music invented loops are: what is measured of each loop, and how far the distributions overlap.

After Yang and Lerch, On the Evaluation of Generative Models in Music, 2020: a model that has no one right answer is
held against the music that it learnt from by what can be counted in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.cells import distance
from rtgen.music import key
from rtgen.music.note import Loop
from train.loops.sample import GRID

Measures = dict[str, NDArray[np.float64]]
"""A number for each loop, by the name of what is measured."""
_BINS = 20


def measures(loops: Sequence[Loop]) -> Measures:
    """What is counted of loops: of a silent one, 0 each.

    notes: how many; in_key: share of them in the loop's likeliest key; pitch, beats: their mean pitch and length;
    classes: how many different pitch classes; apart: one minus the Jaccard index with the next of the loops, which is
    0 throughout where a model has collapsed and says the same again and again.
    """
    rows = [_of_one(loop) for loop in loops]
    names = ("notes", "in_key", "pitch", "beats", "classes")
    found = dict(zip(names, np.array(rows, float).reshape(-1, len(names)).T, strict=True))
    after = [*loops[1:], *loops[:1]]
    found["apart"] = np.array([distance(a, b, GRID) for a, b in zip(loops, after, strict=True)])
    return found


def _of_one(loop: Loop) -> tuple[float, ...]:
    scale = key.estimate(loop.notes)
    if scale is None:
        return (0.0,) * 5
    pitches = [n.pitch for n in loop.notes]
    return (
        len(pitches),
        float(np.mean([scale.contains(p) for p in pitches])),
        float(np.mean(pitches)),
        float(np.mean([n.duration for n in loop.notes])) / (GRID.step * GRID.steps_per_beat),
        len({p % 12 for p in pitches}),
    )


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The area that two distributions have in common, 0-1, of histograms over the range of both."""
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    if low == high:
        return 1.0
    of_a, of_b = (np.histogram(x, _BINS, (low, high))[0] / len(x) for x in (a, b))
    return float(np.minimum(of_a, of_b).sum())


def likeness(made: Measures, real: Measures) -> float:
    """The mean overlap of everything that is measured, 0-1. Two draws of the same music have about .9."""
    return float(np.mean([overlap(made[name], real[name]) for name in made]))
