"""Similarity of generated loops to real music: overlap of the distributions of features.

After Yang and Lerch, On the Evaluation of Generative Models in Music, 2020: where there is no single right answer, a
model is compared with its training music in features that can be computed of both.
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
"""A value per loop, by feature."""
_BINS = 20


def measures(loops: Sequence[Loop]) -> Measures:
    """Compute the features of loops; all 0 for a silent loop.

    notes: number of notes; in_key: share of them in the loop's likeliest key; pitch, beats: mean pitch and length;
    classes: number of pitch classes; apart: one minus the Jaccard index with the next loop, which is 0 throughout if a
    model has collapsed to a single output.
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


def shared(made: NDArray[np.float64], real: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each of the values `made`, how often there are such in `real`, relative to `made`, and at most 1.

    Such are those in the same bin of a histogram over the joint range. The mean is the overlapping area of the two
    distributions, 0-1.
    """
    low, high = min(made.min(), real.min()), max(made.max(), real.max())
    if low == high:
        return np.ones(len(made))
    edges = np.linspace(low, high, _BINS + 1)
    of_made, of_real = (np.minimum(np.searchsorted(edges, x, "right") - 1, _BINS - 1) for x in (made, real))
    many, wanted = (np.bincount(x, minlength=_BINS) / len(x) for x in (of_made, of_real))
    found: NDArray[np.float64] = np.minimum(wanted[of_made] / many[of_made], 1)
    return found


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Overlapping area of two distributions, 0-1, from histograms over their joint range."""
    return float(shared(a, b).mean())


def alike(made: Measures, real: Measures) -> NDArray[np.float64]:
    """What each loop contributes to `likeness`, their mean."""
    found: NDArray[np.float64] = np.mean([shared(made[name], real[name]) for name in made], axis=0)
    return found


def likeness(made: Measures, real: Measures) -> float:
    """Mean overlap over all features, 0-1. Two samples of the same music have about .9."""
    return float(alike(made, real).mean())
