"""Evaluation of the knobs: whether a knob changes what its name says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtgen.inference import latent
from rtgen.inference.card import PLANES
from rtgen.inference.cells import distance
from rtgen.inference.exchange import anchors
from rtgen.inference.frame import in_c
from rtgen.inference.lengths import parts
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.instrument.parameters import PARAMETERS
from rtgen.music.attributes import NAMES, SD, measure
from rtgen.music.note import Loop
from rtgen.music.roll import Roll, decode
from train.loops.sample import GRID
from train.measures.music import spearman

POSITIONS = tuple(i / 10 for i in range(1, 10))
FEWER = 60
"""Loops to vary, each at all positions."""


def defaults(**changed: float) -> dict[str, float]:
    """Default values of all knobs, with some changed."""
    return {**{p.name: p.default for p in PARAMETERS.values()}, **changed}


def follows(model: Model, loops: Sequence[Loop], seed: int) -> dict[str, list[float]]:
    """Measure the knob `distance` against the distance of the answer.

    `distance_rank`: their rank correlation. `distance_off`: their mean absolute difference.
    """
    rank: list[float] = []
    off: list[float] = []
    for number, loop in enumerate(loops[:FEWER]):
        found = [
            distance(loop, answer(model, loop, "vary", defaults(distance=p), seed + number), GRID) for p in POSITIONS
        ]
        rank.append(spearman(POSITIONS, found))
        off.append(float(np.mean(np.abs(np.array(found) - POSITIONS))))
    return {"distance_rank": rank, "distance_off": off}


def strays(model: Model, loops: Sequence[Loop], seed: int) -> dict[str, list[float]]:
    """`noise_rank`: rank correlation of the noise in a code with how far the loop that it decodes to strays.

    The noise has one direction for each loop, and grows up to the standard deviation of the codes. What is compared are
    loops as they are decoded, with as many notes as the original, from the first without noise; in play the knob
    `distance` says both the noise and the number of notes that are exchanged.
    """
    rng = np.random.default_rng(seed)
    sd = np.array([x.sd for x in model.card.latents])
    rank: list[float] = []
    for loop in [loop for loop in loops if loop.notes][:FEWER]:
        part = in_c(model.card, parts(loop, model.card)[0])[1]
        noise = rng.standard_normal(len(sd)) * sd
        way = latent.code_of(model, part) + noise * np.array((0.0, *POSITIONS))[:, None]
        here, *others = decoded(model, way, len(part))
        rank.append(spearman(POSITIONS, [distance(here, other, GRID) for other in others]))
    return {"noise_rank": rank}


def steers(model: Model, loops: Sequence[Loop], seed: int, at: float = 0.0) -> dict[str, list[float]]:
    """Measure the effect of each attribute knob on the notes of a variation; see `moved`.

    Args:
        model: a denoiser or an autoencoder.
        loops: calls.
        seed: of the answers.
        at: distance of the variation; at 0 only the knob changes the call.
    """
    some = [loop for loop in loops if loop.notes][:FEWER]
    found: dict[str, list[float]] = {}
    for name in NAMES:
        tried = [
            [answer(model, loop, "vary", defaults(**{"distance": at, name: p}), seed + i) for p in POSITIONS]
            for i, loop in enumerate(some)
        ]
        found |= moved(f"knob_{name}", name, tried)
    return found


def moved(prefix: str, name: str, tried: Sequence[Sequence[Loop]]) -> dict[str, list[float]]:
    """Measure how the attributes of loops change along the knob of one attribute.

    `rank`: rank correlation of knob and attribute. `range`: change of the attribute from the first position to the
    last, in standard deviations of music. `leak`: change of the attribute that changes most besides it, summed from the
    middle to both ends, relative to the mean change of this one.

    Args:
        prefix: prefix of the measures' names.
        name: the attribute.
        tried: for each loop the answers at all positions.
    """
    values = np.array([[list(measure(loop).values()) for loop in way] for way in tried])
    values = values.reshape(len(tried), len(POSITIONS), len(NAMES))
    which = NAMES.index(name)
    far = np.abs(values[:, -1] - values[:, 0]) / np.array(SD)
    # The ends alone would miss a change to the same side at both.
    middle = values[:, len(POSITIONS) // 2]
    strays = (np.abs(values[:, -1] - middle) + np.abs(middle - values[:, 0])) / np.array(SD)
    others = [i for i in range(len(NAMES)) if i != which]
    worst = max(others, key=lambda i: strays[:, i].mean() if len(strays) else 0)
    mean = float(strays[:, which].mean()) if len(strays) else 0.0
    return {
        f"{prefix}_rank": [spearman(POSITIONS, way[:, which].round(6).tolist()) for way in values],
        f"{prefix}_range": far[:, which].tolist(),
        f"{prefix}_leak": (strays[:, worst] / mean).tolist() if mean else [float("nan")] * len(far),
    }


def pure(model: Model, loops: Sequence[Loop]) -> dict[str, list[float]]:
    """Same as `moved`, for loops that an autoencoder decodes as an attribute's latent sweeps its range.

    The number of notes is the expected one: the sum of the onset probabilities.
    """
    named = {x.name: i for i, x in enumerate(model.card.latents) if x.name in NAMES}
    found: dict[str, list[float]] = {}
    some = [in_c(model.card, parts(loop, model.card)[0])[1] for loop in loops if loop.notes][:FEWER]
    codes = [latent.code_of(model, loop) for loop in some]
    for name, which in named.items():
        low, high = model.card.latents[which].low, model.card.latents[which].high
        tried = []
        for code in codes:
            way = np.repeat(code[None], len(POSITIONS), axis=0)
            way[:, which] = low + (high - low) * np.array(POSITIONS)
            tried.append(decoded(model, way))
        found |= moved(f"latent_{name}", name, tried)
    return found


def decoded(model: Model, codes: latent.Code, count: int = 0) -> list[Loop]:
    """Two-bar loops that codes (loops, latents) decode to, of `count` notes, or of as many as the model expects."""
    planes = model.run({"code": codes.astype(np.float32)})
    rolls = [Roll(*(planes[p][i] for p in PLANES)) for i in range(len(codes))]
    length = model.card.max_steps * model.card.grid.step
    counts = [count or max(round(float(r.onset.sum())), 1) for r in rolls]
    return [decode(r, model.card.grid, length, count=n) for r, n in zip(rolls, counts, strict=True)]


def anchored(model: Model, loops: Sequence[Loop], seed: int) -> dict[str, list[float]]:
    """`anchors_held`: share of downbeats and bass notes kept in a far variation with attribute knobs turned."""
    share: list[float] = []
    for i, loop in enumerate([loop for loop in loops if loop.notes][:FEWER]):
        turned = {NAMES[i % len(NAMES)]: 0.2 if i % 2 else 0.8}
        knobs = defaults(distance=0.8, keep_downbeats=1.0, keep_bass=1.0, **turned)
        held = anchors(loop, knobs)
        kept = {(n.onset, n.pitch) for n in answer(model, loop, "vary", knobs, seed + i).notes}
        share.append(len(held & kept) / len(held) if held else float("nan"))
    return {"anchors_held": share}
