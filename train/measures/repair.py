"""The role `denoiser`: held-out loops are damaged, repaired as the daemon would repair them, and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rtgen.inference.answer import answer
from rtgen.inference.model import Model
from rtgen.music import key
from rtgen.music.note import Loop
from rtgen.music.time import TICKS_PER_SIXTEENTH
from train import augment
from train.augment import GRID
from train.dataset import from_loops, to_loops
from train.measures.knobs import follows
from train.measures.music import Library
from train.measures.table import Scores
from train.score import note_f1

Repair = Callable[[Loop], Loop]
MEASURES: dict[str, tuple[int, bool]] = {"f1_exact": (0, False), "f1_near": (1, False), "f1_near_and_end": (1, True)}
"""Steps that an onset may be off, and whether the end counts."""


def nearest_sixteenth(loop: Loop) -> Loop:
    """Baseline: every onset on the nearest sixteenth."""
    notes = (
        replace(n, onset=min(round(n.onset / TICKS_PER_SIXTEENTH) * TICKS_PER_SIXTEENTH, loop.length - 1))
        for n in loop.notes
    )
    return loop.with_notes(notes)


def in_scale(loop: Loop) -> Loop:
    """Baseline: without the notes that are not in the key that the loop seems to be in."""
    found = key.estimate(loop.notes)
    return loop if found is None else loop.with_notes(n for n in loop.notes if found.contains(n.pitch))


BASELINES: Mapping[str, Repair] = {
    "identity": lambda loop: loop,
    "nearest sixteenth": nearest_sixteenth,
    "in scale": in_scale,
}


def damaged(loops: Sequence[Loop], seed: int) -> list[Loop]:
    """Loops of one length as hands and cables damage them, with the strength of every evaluation."""
    rng = np.random.default_rng(seed)
    length, bar = loops[0].length, loops[0].bar
    heard = augment.corrupt(from_loops(loops), np.full(len(loops), augment.EVALUATION_DAMAGE), length, rng)
    return to_loops(heard, len(loops), length, bar)


def scores(model: Model, loops: Sequence[Loop], library: Library, seed: int) -> Scores:
    """Note F1 of repaired loops by each of `MEASURES`, `do_no_harm`: that of undamaged ones; and `distance_rank`."""
    del library
    heard = damaged(loops, seed)
    repairs: dict[str, Repair] = {**BASELINES, model.card.name: lambda loop: answer(model, loop, "clean", {}, 0)}
    found: Scores = {}
    for name, repair in repairs.items():
        made = [repair(loop) for loop in heard]
        found[name] = {
            measure: [note_f1(a, b, GRID, tolerance=t, offsets=ends) for a, b in zip(made, loops, strict=True)]
            for measure, (t, ends) in MEASURES.items()
        }
        found[name]["do_no_harm"] = [note_f1(repair(loop), loop, GRID) for loop in loops]
    found[model.card.name] |= follows(model, loops, seed)
    return found
