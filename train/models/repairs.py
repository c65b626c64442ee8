"""Validation of denoisers during training: note F1 of damaged loops after repair, and threshold tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from rtgen.inference.repair import clean
from rtgen.music.roll import Roll
from train.loops import batch, corrupt
from train.loops.keys import lifted, lifts
from train.loops.sample import GRID, Sample
from train.measures.score import note_f1
from train.models.base import JUDGED, Source
from train.models.images import Planes

THRESHOLDS = tuple(round(0.3 + 0.02 * i, 2) for i in range(18))
"""Candidate onset thresholds."""
TUNED = 800
"""Loops used to tune a threshold; with fewer the choice would be noise."""
HARMLESS = 0.98
"""Note F1 that undamaged loops must keep."""
Denoise = Callable[[Tensor, Tensor, Tensor], Planes]
"""Maps roll, mask and phase, as defined by the role, to the planes of a roll."""


def validation(source: Source, most: int = JUDGED, *, in_key: bool = False) -> tuple[Sample, Sample]:
    """A fixed sample of at most `most` loops: damaged as in the evaluation, and the originals.

    With `in_key` both are transposed to C major or A minor from the estimated key of the damaged loop.
    """
    rng = np.random.default_rng(0)
    meant = source.take(rng.permutation(len(source.loops))[:most], rng)
    damage = np.full(meant.count, corrupt.EVALUATION_DAMAGE)
    heard = meant.with_notes(corrupt.corrupt(meant.notes, damage, meant.length, rng))
    if not in_key:
        return heard, meant
    up = lifts(heard.notes, heard.count)
    return heard.with_notes(lifted(heard.notes, up)), meant.with_notes(lifted(meant.notes, up))


@torch.no_grad()
def answers(denoise: Denoise, heard: Sample, device: torch.device) -> list[Roll]:
    """Run a denoiser on whole loops, with nothing hidden."""
    rolls = torch.from_numpy(batch.rasterise(heard.notes, heard.count, heard.length)).to(device)
    found: list[Roll] = []
    for roll in torch.split(rolls, 64):
        phase = torch.from_numpy(batch.phases(len(roll), heard.length, heard.bar)).to(device)
        planes = denoise(roll, torch.zeros_like(roll[:, 0]), phase)
        found += [Roll(*parts) for parts in zip(*(p.float().cpu().numpy() for p in planes), strict=True)]
    return found


def repaired_f1(rolls: Sequence[Roll], heard: Sample, meant: Sample, threshold: float) -> float:
    """Mean exact note F1 of the loops `heard`, repaired with `rolls`, against `meant`."""
    pairs = zip(heard.loops(), meant.loops(), rolls, strict=True)
    return float(np.mean([note_f1(clean(played, roll, GRID, threshold), goal, GRID) for played, goal, roll in pairs]))


def played_f1(heard: Sample, meant: Sample) -> float:
    """Mean exact note F1 of the loops `heard`, unrepaired, against `meant`."""
    pairs = zip(heard.loops(), meant.loops(), strict=True)
    return float(np.mean([note_f1(played, goal, GRID) for played, goal in pairs]))


def tune(
    denoise: Denoise,
    valid: Source,
    device: torch.device,
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    in_key: bool = False,
) -> float:
    """Find the onset threshold with the best note F1 on damaged loops among those that leave undamaged loops alone."""
    heard, meant = validation(valid, TUNED, in_key=in_key)
    of_heard, of_meant = (answers(denoise, sample, device) for sample in (heard, meant))
    harmless = [t for t in thresholds if repaired_f1(of_meant, meant, meant, t) >= HARMLESS]
    return max(harmless or thresholds, key=lambda t: repaired_f1(of_heard, heard, meant, t))
