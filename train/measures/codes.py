"""Evaluation of the roles `autoencoder` and `generator`: reconstruction, blends and new loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import fmean

import numpy as np

from rtgen.inference.card import PLANES
from rtgen.inference.cells import distance
from rtgen.inference.frame import told_in_c
from rtgen.inference.lengths import columns, join, laid, parts, read
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.music import key
from rtgen.music.note import Loop, Note
from rtgen.music.roll import Roll, decode, encode
from train.loops.sample import GRID
from train.measures.knobs import defaults, follows, pure, steers, strays
from train.measures.likeness import alike, measures
from train.measures.music import Library, density, in_key, onset_f1, repeats
from train.measures.table import Scores

POINTS = tuple(i / 8 for i in range(9))
"""Positions of the knob `blend`."""
PAIRS = 60
HELD_OUT = "held-out music"
Blend = Callable[[Loop, Loop, float], Loop]
Values = dict[str, list[float]]


def scores(model: Model, loops: Sequence[Loop], library: Library, seed: int, *, knobs: bool = True) -> Scores:
    """Measure the role's modes, and the `knobs`, next to the nearest training loop, a cross-fade, music and chance."""
    name = model.card.name
    found = generated(model, loops, library, seed)
    if model.card.kind.encodes:
        back = [reconstructed(model, loop) for loop in loops]
        found[name]["reconstruction_f1"] = [onset_f1(a, b) for a, b in zip(back, loops, strict=True)]
        nearest = library.nearest(loops)
        found["nearest training loop"] = {
            "reconstruction_f1": [onset_f1(a, b) for a, b in zip(nearest, loops, strict=True)]
        }
        found[name] |= strays(model, loops, seed)
        if knobs:
            found[name] |= follows(model, loops, seed) | steers(model, loops, seed) | pure(model, loops)
        pairs = [(a, b) for a, b in pairwise(loops) if a.notes and b.notes][:PAIRS]
        found[name] |= blended(lambda a, b, at: _answer(model, a, b, at), pairs)
        found["cross-fade"] = blended(cross_fade, pairs)
    return found


def _answer(model: Model, a: Loop, b: Loop, at: float) -> Loop:
    return answer(model, b, "blend", defaults(blend=at), 0, ends=(a, b))


def reconstructed(model: Model, loop: Loop) -> Loop:
    """Reconstruct a loop from its own code, or from those of its parts: the likeliest notes, as many as it has."""

    def back(part: Loop) -> Loop:
        shown = columns(model.card, part)
        code = model.run({"roll": laid(encode(part, model.card.grid).stack()[None], shown)})["mean"]
        planes = model.run({"code": code})
        roll = Roll(*(read(planes[p][0], shown) for p in PLANES))
        return decode(roll, model.card.grid, part.length, bar=part.bar, count=len(part))

    def play(moved: Loop, _: object) -> Loop:
        return join([back(part) for part in parts(moved, model.card)], moved)

    return told_in_c(model.card, loop, {}, play)


def cross_fade(a: Loop, b: Loop, at: float) -> Loop:
    """Baseline: the beginning of one loop and the end of the other."""
    border = round((1 - at) * a.length)
    notes = [n for n in a.notes if n.onset < border] + [n for n in b.notes if n.onset >= border]
    return a.with_notes(notes).monophonic_by_pitch()


def blended(blend: Blend, pairs: Sequence[tuple[Loop, Loop]]) -> Values:
    """Measure blends.

    `blend_step`: the largest step over the mean step, so 1 is perfectly even. `blend_in_key`: share of notes in a key
    of either end. `blend_between`: whether the number of notes stays between those of the ends.
    """
    step: list[float] = []
    key_share: list[float] = []
    between: list[float] = []
    for a, b in pairs:
        way = [blend(a, b, at) for at in POINTS]
        steps = [distance(x, y, GRID) for x, y in pairwise(way)]
        step.append(max(steps) / fmean(steps) if any(steps) else float("nan"))
        keys = [key.estimate(loop.notes) for loop in (a, b)]
        inside = [max(in_key(x, scale) for scale in keys) for x in way[1:-1] if x.notes]
        key_share.append(fmean(inside) if inside else 0.0)
        few, many = sorted((len(a), len(b)))
        between.append(float(all(few <= len(x) <= many for x in way)))
    return {"blend_step": step, "blend_in_key": key_share, "blend_between": between}


def generated(model: Model, loops: Sequence[Loop], library: Library, seed: int) -> Scores:
    """Measure a new loop for each of `loops`: key, density and distance relative to it, and whether it copies."""
    rng = np.random.default_rng(seed)
    made = [answer(model, loop, "generate", defaults(), seed + i) for i, loop in enumerate(loops)]
    shuffled = [random_notes(loop, rng) for loop in loops]
    # Real music as a reference: another loop of the same split.
    other = [loops[i] for i in rng.permutation(len(loops))]
    found = {
        model.card.name: _beside(made, loops, library),
        HELD_OUT: _beside(other, other, library, like=loops),
        "random notes": _beside(shuffled, loops, library),
    }
    # One half of the music stands beside the other.
    for name, some, music in (
        (model.card.name, made, loops),
        (HELD_OUT, other[::2], other[1::2]),
        ("random notes", shuffled, loops),
    ):
        found[name]["generate_likeness"] = alike(measures(some), measures(music)).tolist()
    return found


def random_notes(loop: Loop, rng: np.random.Generator) -> Loop:
    """Baseline: random notes, as many and as long as in the loop, within its pitch range."""
    low, high = min(n.pitch for n in loop.notes), max(n.pitch for n in loop.notes)
    notes = []
    for note in loop.notes:
        onset = int(rng.integers(loop.length // GRID.step)) * GRID.step
        lasts = min(note.duration, loop.length - onset)
        notes.append(Note(onset, int(rng.integers(low, high + 1)), lasts, note.velocity))
    return loop.with_notes(notes).monophonic_by_pitch()


def _beside(
    made: Sequence[Loop], meant: Sequence[Loop], library: Library, *, like: Sequence[Loop] | None = None
) -> Values:
    """Measure loops, each relative to the one whose key and density it should have."""
    return {
        "generate_in_key": [in_key(x, key.estimate(y.notes)) for x, y in zip(made, meant, strict=True)],
        "generate_density": [density(x) / max(density(y), 1e-9) for x, y in zip(made, like or meant, strict=True)],
        "generate_distance": [distance(x, y, GRID) for x, y in zip(made, like or meant, strict=True)],
        "generate_repeats": [repeats(x) for x in made],
        "generate_copies": [library.copies(x) for x in made],
    }
