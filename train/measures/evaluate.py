"""What a model is worth, by its role: measured on the `.onnx` as the daemon runs it, beside baselines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from rtgen.errors import UserError
from rtgen.inference.model import Model
from rtgen.music.attributes import NAMES
from rtgen.music.time import Metre
from train.loops import dataset
from train.loops.dataset import SPLITS, Loops
from train.measures import codes, drums, notes, repair, sequences
from train.measures.music import Library
from train.measures.table import Table, table

WORDS = {
    "f1_exact": "note F1, damaged loops",
    "f1_near": "±1 step",
    "f1_near_and_end": "±1 step and end",
    "as_measured_f1_exact": "damaged as where the goals come from: note F1",
    "as_measured_f1_near": "the same, ±1 step",
    "as_measured_f1_near_and_end": "the same, ±1 step and end",
    "do_no_harm": "note F1, clean loops",
    "distance_rank": "knob distance: rank correlation",
    "distance_off": "knob distance: off by",
    **{
        f"{kind}_{name}_{what}": f"{kind} {name}: {says}"
        for kind in ("knob", "latent")
        for name in NAMES
        for what, says in (
            ("rank", "rank correlation"),
            ("range", "range in sd of music"),
            ("leak", "the most that another attribute moves beside it"),
        )
    },
    "anchors_held": "anchors: share held",
    "infill_f1": "in-fill, onset F1",
    "infill_in_key": "in-fill: in key",
    "infill_notes": "in-fill: notes / true number",
    "reconstruction_f1": "reconstruction, onset F1",
    "blend_step": "blend: largest / mean step",
    "blend_in_key": "blend: in key",
    "blend_between": "blend: note count between",
    "generate_in_key": "generate: in key",
    "generate_density": "generate: density / that of the call",
    "generate_distance": "generate: distance to the call",
    "generate_copies": "generate: holds a copied run",
    "feel_velocity": "feel: velocity off by",
    "feel_timing": "feel: off by, ticks",
    "beat_f1": "beat to a tapped rhythm, onset F1",
    "beat_follows": "beat to a tapped rhythm: taps struck",
    "bits_a_note": "bits a note (shift, pitch, duration)",
    "bits_velocity": "bits a velocity",
    "next_pitch": "next pitch right",
    "bits": "bits a symbol",
    "accuracy": "next symbol right",
    "continue_in_key": "continue: in a key",
    "continue_in_call_key": "continue: in the key of the call",
    "continue_density": "continue: density / that of the call",
    "continue_copies": "continue: holds a copied run",
    "continue_copies_call": "continue: runs of the call",
    "continue_repeats": "continue: figures said before",
}
"""What the measures are called in a table."""
METRE = "4/4"
"""That loops are in unless another is named."""
BARS = (1, 2, 4, 8)
"""In loops that can be measured."""


def evaluate(
    model: Model,
    data: Path | str,
    split: str = "test",
    set_name: str | None = None,
    count: int = 300,
    seed: int = 0,
    *,
    metre: str = METRE,
    bars: int = dataset.BARS,
) -> Table:
    """The figures of a model and of the baselines of its role.

    Args:
        model: as the daemon loads it.
        data: what `rtgen-train prepare` wrote.
        split: whose loops it is measured on.
        set_name: only loops of this set; None takes those that the card names.
        count: loops, at most.
        seed: of the choice of loops, of damage and of answers.
        metre: of the loops.
        bars: in a loop, 1, 2, 4 or 8.

    Raises:
        UserError: there are no such loops.
    """
    if split not in (*SPLITS, "all"):
        raise UserError(f"split {split!r} is not known; say one of train, valid, test, all")
    sets = [set_name] if set_name else [d.name for d in model.card.data] or None
    try:
        bar = Metre.parse(metre).bar
    except ValueError as error:
        raise UserError(str(error)) from None
    if bars not in BARS:
        raise UserError(f"{bars} bars are not measured; say one of {', '.join(map(str, BARS))}")
    held_out, train = (dataset.load_bars(data, part, sets, bar, bars) for part in (split, "train"))
    library = Library(train, *([] if (metre, bars) == (METRE, dataset.BARS) else _learnt(data, sets, bar)))
    if model.card.kind.unit == "symbol":
        return table(sequences.scores(model, held_out, train, library, count, seed))
    if model.card.kind.listens:
        if bars == dataset.BARS:
            # Songs as they were played, with all that comes back in them.
            held_out, train = (
                dataset.load(data, part, sets, length=bars * bar, bar=bar, duplicates=True) for part in (split, "train")
            )
        return table(notes.scores(model, held_out, train, library, count, seed))
    chosen = np.random.default_rng(seed).permutation(len(held_out))[:count]
    loops = held_out.as_loops(chosen)
    if not model.card.kind.pitched:
        return table(drums.scores(model, loops, train, seed))
    role = repair if model.card.kind.fills else codes
    return table(role.scores(model, loops, library, seed))


def _learnt(data: Path | str, sets: list[str] | None, bar: int) -> Iterator[Loops]:
    """What a model may have learnt, whatever it is measured on: two bars of the usual metre, and of this one."""
    for ticks in {Metre.parse(METRE).bar, bar}:
        with suppress(dataset.NoLoopsError):
            yield dataset.load_bars(data, "train", sets, ticks, dataset.BARS)


def plain(figures: Table) -> dict[str, dict[str, dict[str, float]]]:
    """The figures as JSON holds them: by contender and measure, `mean`, `low`, `high` and `count`."""
    return {name: {m: asdict(figure) for m, figure in measures.items()} for name, measures in figures.items()}
