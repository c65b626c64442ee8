"""What a model is worth, by its role: measured on the `.onnx` as the daemon runs it, beside baselines."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from rtgen.errors import UserError
from rtgen.inference.model import Model
from train import dataset
from train.dataset import SPLITS
from train.measures import codes, repair, sequences
from train.measures.music import Library
from train.measures.table import Table, table

WORDS = {
    "f1_exact": "note F1, damaged loops",
    "f1_near": "±1 step",
    "f1_near_and_end": "±1 step and end",
    "do_no_harm": "note F1, clean loops",
    "distance_rank": "knob distance: rank correlation",
    "distance_off": "knob distance: off by",
    "reconstruction_f1": "reconstruction, onset F1",
    "blend_step": "blend: largest / mean step",
    "blend_in_key": "blend: in key",
    "blend_between": "blend: note count between",
    "generate_in_key": "generate: in key",
    "generate_density": "generate: density / that of the call",
    "generate_distance": "generate: distance to the call",
    "generate_copies": "generate: holds a copied run",
    "bits": "bits a symbol",
    "accuracy": "next symbol right",
    "continue_in_key": "continue: in key",
    "continue_density": "continue: density / that of the call",
    "continue_copies": "continue: holds a copied run",
}
"""What the measures are called in a table."""
FEWEST_NOTES = 4


def evaluate(
    model: Model,
    data: Path | str,
    split: str = "test",
    set_name: str | None = None,
    count: int = 300,
    seed: int = 0,
) -> Table:
    """The figures of a model and of the baselines of its role.

    Args:
        model: as the daemon loads it.
        data: what `rtgen-train prepare` wrote.
        split: whose loops it is measured on.
        set_name: only loops of this set; None takes those that the card names.
        count: loops, at most.
        seed: of the choice of loops, of damage and of answers.

    Raises:
        UserError: there are no such loops.
    """
    if split not in (*SPLITS, "all"):
        raise UserError(f"split {split!r} is not known; say one of train, valid, test, all")
    sets = [set_name] if set_name else [d.name for d in model.card.data] or None
    held_out, train = dataset.load(data, split, sets), dataset.load(data, "train", sets)
    library = Library(train)
    if model.card.role == "sequence":
        return table(sequences.scores(model, held_out, train, library, count, seed))
    chosen = np.random.default_rng(seed).permutation(len(held_out))[:count]
    loops = dataset.to_loops(held_out.take(chosen), len(chosen), held_out.length)
    role = repair if model.card.role == "denoiser" else codes
    return table(role.scores(model, loops, library, seed))


def plain(figures: Table) -> dict[str, dict[str, dict[str, float]]]:
    """The figures as JSON holds them: by contender and measure, `mean`, `low`, `high` and `count`."""
    return {name: {m: asdict(figure) for m, figure in measures.items()} for name, measures in figures.items()}
