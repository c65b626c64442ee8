"""What a denoiser is worth while it is trained: how much nearer damaged loops come to what was meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from rtgen.inference.repair import clean
from rtgen.music.roll import Roll
from train import augment, batch
from train.augment import GRID, Sample
from train.models.base import JUDGED, Source
from train.models.images import Planes
from train.models.keys import lifted, lifts
from train.recall import PAST
from train.score import note_f1

THRESHOLDS = tuple(round(0.3 + 0.02 * i, 2) for i in range(18))
"""Onset thresholds to choose from."""
TUNED = 800
"""Loops that a threshold is chosen by: of fewer it would be chosen by chance."""
HARMLESS = 0.98
"""Note F1 that undamaged loops must keep."""
Denoise = Callable[..., Planes]
"""Roll, mask and phase, as the role wants them, to the planes of a roll; and what is recalled, where something is."""


def validation(
    source: Source, most: int = JUDGED, *, in_key: bool = False, past: bool = False
) -> tuple[Sample, Sample]:
    """A fixed draw of loops, `most` at most: damaged as in the evaluation, and as meant.

    With `in_key` all is moved from the key that the damaged loop seems to be in to C major or A minor; with `past` they
    have what came before them, damaged likewise.
    """
    rng = np.random.default_rng(0)
    chosen = rng.permutation(source.drawn)[:most]
    meant = source.take_with_past(chosen, rng) if past else source.take(chosen, rng)
    damage = np.full(meant.count, augment.EVALUATION_DAMAGE)
    heard = meant.with_notes(augment.corrupt(meant.notes, damage, meant.length, rng))
    if meant.past is not None:
        worn = augment.corrupt(meant.past, np.repeat(damage, PAST), meant.length, rng)
        heard = replace(heard, past=worn)
    if not in_key:
        return heard, meant
    up = lifts(heard.notes, heard.count)
    return _lifted(heard, up), _lifted(meant, up)


def _lifted(sample: Sample, up: NDArray[np.int32]) -> Sample:
    past = None if sample.past is None else lifted(sample.past, np.repeat(up, PAST))
    return replace(sample.with_notes(lifted(sample.notes, up)), past=past)


@torch.no_grad()
def answers(denoise: Denoise, heard: Sample, device: torch.device, recalls: int = 0) -> list[Roll]:
    """What a denoiser makes of whole loops, told so many bars for each of what was played before."""
    rolls = torch.from_numpy(batch.rasterise(heard.notes, heard.count, heard.length)).to(device)
    pasts = rolls[:, :0]
    if recalls and heard.past is not None:
        pasts = torch.from_numpy(batch.told(heard.notes, heard.past, heard, recalls)).to(device)
    found: list[Roll] = []
    for roll, past in zip(torch.split(rolls, 64), torch.split(pasts, 64), strict=True):
        phase = torch.from_numpy(batch.phases(len(roll), heard.length, heard.bar)).to(device)
        told = (past,) if recalls else ()
        planes = denoise(roll, torch.zeros_like(roll[:, 0]), phase, *told)
        found += [Roll(*parts) for parts in zip(*(p.float().cpu().numpy() for p in planes), strict=True)]
    return found


def repaired_f1(rolls: Sequence[Roll], heard: Sample, meant: Sample, threshold: float) -> float:
    """Mean exact note F1 of the loops `heard`, repaired after `rolls`, against `meant`."""
    pairs = zip(heard.loops(), meant.loops(), rolls, strict=True)
    return float(np.mean([note_f1(clean(played, roll, GRID, threshold), goal, GRID) for played, goal, roll in pairs]))


def played_f1(heard: Sample, meant: Sample) -> float:
    """Mean exact note F1 of the loops `heard` as they are, against `meant`."""
    pairs = zip(heard.loops(), meant.loops(), strict=True)
    return float(np.mean([note_f1(played, goal, GRID) for played, goal in pairs]))


def tune(
    denoise: Denoise,
    valid: Source,
    device: torch.device,
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    in_key: bool = False,
    recalls: int = 0,
) -> float:
    """The onset threshold with the best note F1 on damaged loops, of those that leave undamaged ones alone."""
    heard, meant = validation(valid, TUNED, in_key=in_key, past=bool(recalls))
    of_heard, of_meant = (answers(denoise, sample, device, recalls) for sample in (heard, meant))
    harmless = [t for t in thresholds if repaired_f1(of_meant, meant, meant, t) >= HARMLESS]
    return max(harmless or thresholds, key=lambda t: repaired_f1(of_heard, heard, meant, t))
