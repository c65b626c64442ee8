"""Evaluation of a model by its role, on the `.onnx` as in play, next to baselines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from rtgen.errors import UserError
from rtgen.inference.card import modes_of
from rtgen.inference.model import Model
from rtgen.music.attributes import NAMES
from rtgen.music.time import Metre
from train.loops import dataset
from train.loops.dataset import SPLITS, Loops
from train.loops.melody import top_line
from train.loops.sample import Sample
from train.measures import codes, drums, notes, repair, sequences
from train.measures.music import Library
from train.measures.table import Table, table

WORDS = {
    "f1_exact": "note F1, damaged loops",
    "f1_near": "±1 step",
    "f1_near_and_end": "±1 step and end",
    "as_measured_f1_exact": "damaged as in the source of the goals: note F1",
    "as_measured_f1_near": "the same, ±1 step",
    "as_measured_f1_near_and_end": "the same, ±1 step and end",
    "do_no_harm": "note F1, clean loops",
    "distance_rank": "knob distance: rank correlation",
    "distance_off": "knob distance: mean error",
    "noise_rank": "noise in the code: rank correlation with the distance",
    **{
        f"{kind}_{name}_{what}": f"{kind} {name}: {says}"
        for kind in ("knob", "latent")
        for name in NAMES
        for what, says in (
            ("rank", "rank correlation"),
            ("range", "range in sd of music"),
            ("leak", "largest change of another attribute, relative"),
        )
    },
    "anchors_held": "anchors: share kept",
    "infill_f1": "in-filling, onset F1",
    "infill_in_key": "in-filling: in key",
    "infill_notes": "in-filling: notes / original",
    "reconstruction_f1": "reconstruction, onset F1",
    "blend_step": "blend: largest / mean step",
    "blend_in_key": "blend: in key",
    "blend_between": "blend: note count between",
    "generate_in_key": "generate: in key",
    "generate_density": "generate: density / call",
    "generate_distance": "generate: distance from the call",
    "generate_repeats": "generate: what of a bar comes again in the next",
    "generate_likeness": "generate: likeness to music",
    "generate_copies": "generate: contains a copied run",
    "feel_velocity": "feel: velocity error",
    "feel_timing": "feel: timing error, ticks",
    "beat_f1": "beat from a tapped rhythm, onset F1",
    "beat_follows": "beat from a tapped rhythm: taps followed",
    "bits_a_note": "bits per note (shift, pitch, duration)",
    "bits_velocity": "bits per velocity",
    "next_pitch": "next pitch, accuracy",
    "bits": "bits per symbol",
    "accuracy": "next symbol, accuracy",
    "continue_in_key": "continue: in a key",
    "continue_in_call_key": "continue: in the call's key",
    "continue_density": "continue: density / call",
    "continue_copies": "continue: contains a copied run",
    "continue_copies_call": "continue: runs copied from the call",
    "continue_repeats": "continue: repeated figures",
}
"""Labels of the measures in a table."""
METRE = "4/4"
"""Default metre."""
BARS = (1, 2, 4, 8)
"""Supported loop lengths in bars."""


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
    knobs: bool = True,
) -> Table:
    """Compute the figures of a model and of its role's baselines.

    Args:
        model: loaded as in play.
        data: dataset written by `rtgen-train prepare`.
        split: split to measure on.
        set_name: only loops of this set; None takes the sets on the model's card.
        count: maximum number of loops.
        seed: of the choice of loops, of damage and of answers.
        metre: metre of the loops.
        bars: bars in a loop: 1, 2, 4 or 8.
        knobs: whether to measure the knobs of a denoiser or an autoencoder, which takes most of the time.

    Raises:
        UserError: unknown options, or no such loops.
    """
    if not modes_of(model.card):
        raise UserError(
            f"{model.path} answers no loops; measure its chords with 'python -m train.measures.chords {model.path}'"
        )
    if split not in (*SPLITS, "all"):
        raise UserError(f"unknown split {split!r}; choose train, valid, test or all")
    sets = [set_name] if set_name else [d.name for d in model.card.data] or None
    bar = bar_of(metre)
    if bars not in BARS:
        raise UserError(f"{bars} bars are not supported; choose one of {', '.join(map(str, BARS))}")
    held_out, train = (dataset.load_bars(data, part, sets, bar, bars) for part in (split, "train"))
    library = Library(train, *([] if (metre, bars) == (METRE, dataset.BARS) else _learnt(data, sets, bar)))
    if model.card.kind.unit in ("symbol", "note"):
        if bars == dataset.BARS:
            # Whole songs, with repeated loops.
            held_out, train = (
                dataset.load(data, part, sets, length=bars * bar, bar=bar, duplicates=True) for part in (split, "train")
            )
        scores = sequences.scores if model.card.kind.unit == "symbol" else notes.scores
        return table(scores(model, held_out, train, library, count, seed))
    chosen = np.random.default_rng(seed).permutation(len(held_out))[:count]
    sample = Sample.of(held_out, chosen)
    loops = (top_line(sample) if model.card.training.get("settings", {}).get("melody") else sample).loops()
    if not model.card.kind.pitched:
        return table(drums.scores(model, loops, train, seed))
    role = repair if model.card.kind.fills else codes
    return table(role.scores(model, loops, library, seed, knobs=knobs))


def bar_of(metre: str) -> int:
    """Return the ticks in a bar.

    Raises:
        UserError: it is no metre.
    """
    try:
        return Metre.parse(metre).bar
    except ValueError as error:
        raise UserError(str(error)) from None


def _learnt(data: Path | str, sets: list[str] | None, bar: int) -> Iterator[Loops]:
    """Music that a model may have been trained on in any case: two bars of the default metre, and of this one."""
    for ticks in {Metre.parse(METRE).bar, bar}:
        with suppress(dataset.NoLoopsError):
            yield dataset.load_bars(data, "train", sets, ticks, dataset.BARS)


def plain(figures: Table) -> dict[str, dict[str, dict[str, float]]]:
    """Figures for JSON: by contender and measure, `mean`, `low`, `high` and `count`."""
    return {name: {m: asdict(figure) for m, figure in measures.items()} for name, measures in figures.items()}
