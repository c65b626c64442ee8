"""Whether a sequence model has a sense of key and of what came before, measured by taking each away.

    python -m train.measures.senses models/note_lstm.onnx --data DATASET

Its authors missed both in `note_lstm`. The key: continuations by the model as it is played, by the same model told the
music in the key in which it is played instead of in C, and each without the knob `key_lock`, which helps it. What came
before: how well it predicts a loop that follows another with and without having heard that one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table as Printed

from rtgen.errors import UserError
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.inference.sequence import Book, groups
from rtgen.music import key
from rtgen.music.key import into_c
from rtgen.music.note import Loop
from rtgen.terminal import Terminal
from train.loops import dataset
from train.loops.dataset import Loops
from train.measures.knobs import defaults
from train.measures.music import in_key
from train.measures.sequences import probabilities_of
from train.measures.table import Scores, table

MUSIC = "the music itself"
WORDS = {"in_call_key": "in the call's key", "in_call_key_free": "the same, key lock 0", "bits": "bits per symbol"}
Pairs = Sequence[tuple[Loop, Loop]]


def pairs_of(loops: Loops) -> Pairs:
    """Every loop that is followed by another in the same track of the same song, with that one."""
    every = loops.as_loops(np.arange(len(loops)))
    names = list(zip(loops.sets, loops.songs, loops.tracks, strict=True))
    follows = [a == b for a, b in pairwise(names)]
    return [(a, b) for (a, b), same in zip(pairwise(every), follows, strict=True) if same and a.notes and b.notes]


def senses(model: Model, pairs: Pairs, seed: int = 0) -> Scores:
    """Measure a model on loops and those that follow them.

    `in_call_key`: share of the notes of a continuation in the key of the call. `bits`: per symbol of the next loop.
    """
    name = model.card.name
    deaf = copy.copy(model)
    deaf.card = replace(model.card, in_key=False)
    found: Scores = {name: {}, f"{name}, no key": {}}
    for contender, played in zip(found, (model, deaf), strict=True):
        for measure, knobs in ("in_call_key", defaults()), ("in_call_key_free", defaults(key_lock=0.0)):
            made = [answer(played, call, "continue", knobs, seed + i) for i, (call, _) in enumerate(pairs)]
            found[contender][measure] = _in_key(made, pairs)
    found[MUSIC] = {"in_call_key": _in_key([true for _, true in pairs], pairs)}
    for contender, heard in (name, True), (f"{name}, no history", False):
        found.setdefault(contender, {})["bits"] = [bits(model, *pair, heard=heard) for pair in pairs]
    return found


def _in_key(made: Sequence[Loop], pairs: Pairs) -> list[float]:
    return [in_key(x, key.estimate(call.notes)) for x, (call, _) in zip(made, pairs, strict=True)]


def bits(model: Model, before: Loop, loop: Loop, *, heard: bool) -> float:
    """Bits per symbol of a loop but its first, after the loop before it or, unless that was `heard`, after nothing.

    The key is that of both loops in either case.
    """
    book, card = Book(model.card), model.card
    scale = key.estimate([*before.notes, *loop.notes])
    up = into_c(scale) if card.in_key and scale else 0
    past, said = (book.said(groups(x, card.grid, up), card.grid.steps(x.length)) for x in (before, loop))
    song = past + said if heard else said
    chances = probabilities_of(model, song)[-(len(said) - 1) :]
    return float(-np.log2(np.maximum(chances[np.arange(len(said) - 1), said[1:]], 1e-12)).mean())


def main(
    model: Annotated[Path, typer.Argument(help="An .onnx file of the role sequence.")] = Path("models/note_lstm.onnx"),
    data: Annotated[Path, typer.Option(help="Dataset written by prepare.")] = Path("data/loops"),
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "all",
    count: Annotated[int, typer.Option(min=2, help="Pairs of loops to measure.")] = 120,
) -> None:
    """Print what the sense of key and of what came before are worth."""
    played = Model(model)
    if played.card.kind.unit != "symbol":
        raise UserError(f"{model} has the role {played.card.role}; give a model of the role sequence")
    pairs = pairs_of(dataset.load(data, split, duplicates=True))
    chosen = np.random.default_rng(0).permutation(len(pairs))[:count]
    figures = table(senses(played, [pairs[i] for i in chosen]))
    printed = Printed("", *WORDS.values(), title=f"{played.card.name}, {len(chosen)} pairs of loops of {data}")
    for contender, measures in figures.items():
        printed.add_row(contender, *(str(measures[m]) if m in measures else "" for m in WORDS))
    Terminal(width=140).print(printed)


if __name__ == "__main__":
    typer.run(main)
