"""Evaluation of the role `continuer`: prediction of held-out music note by note, and continuations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.model import Model, Tensor
from rtgen.inference.stream import WINDOW
from train.loops.dataset import Loops
from train.measures.codes import HELD_OUT
from train.measures.counted import NAMES, ORDERS, Counted, contexts, known
from train.measures.music import Library
from train.measures.sequences import Values, continuations, measured
from train.measures.table import Scores
from train.models import streams
from train.models.streams import Streams

LONGEST = 320
"""Maximum number of notes of a stretch."""
AT_ONCE = 64
"""Batch size, in stretches."""
LIKELIEST = 1e-3
"""A temperature near 0, which always gives the likeliest class."""
Floats = NDArray[np.float64]


def scores(model: Model, held_out: Loops, train: Loops, library: Library, count: int, seed: int) -> Scores:
    """Measure prediction, averaged over all notes, and continuations in mode `continue`.

    `bits_a_note`: bits for shift, pitch and duration. `bits_velocity`: bits for the velocity, where it was played.
    `next_pitch`: accuracy of the likeliest pitch, given the shift.

    Args:
        model: of the role.
        held_out: songs, with repeated loops.
        train: its training songs likewise, for the baselines.
        library: its training music, to search for copies.
        count: maximum number of loops to continue; a quarter as many stretches of songs are predicted.
        seed: of the choice of songs and of the answers.
    """
    firsts = _stretches(held_out)
    chosen = np.sort(np.random.default_rng(seed).permutation(firsts)[: max(count // 4, 1)])
    told = list(_told(held_out, chosen))
    name = model.card.name
    found: Scores = {name: _a_note([foretold(model, some) for some in told])}
    learnt = [known(some.note, some.there > 0) for some in _told(train, _stretches(train))]
    columns = {fact: np.concatenate([some.pop(fact) for some in learnt]) for fact in list(learnt[0])}
    for baseline, order in ORDERS.items():
        counted = {
            choice: Counted(columns, choice, contexts(order)[choice], size)
            for choice, size in zip(NAMES, model.card.classes(), strict=True)
        }
        found[baseline] = _a_note([_counted(counted, some, model.card.grid.pitches) for some in told])
    songs = [held_out.as_loops(np.arange(first, streams.stretch(held_out, int(first), 5))) for first in chosen]
    continued = [x for song in songs for x in continuations(model, song, seed)][:count]
    calls = [call for call, *_ in continued]
    found[name] |= measured([made for _, made, _ in continued], calls, library)
    found[HELD_OUT] = measured([true for *_, true in continued], calls, library)
    return found


def _stretches(loops: Loops) -> NDArray[np.int64]:
    """Start of each stretch of songs."""
    firsts, first = [], 0
    while first < len(loops):
        firsts.append(first)
        first = streams.stretch(loops, first, streams.AHEAD)
    return np.array(firsts)


def _told(loops: Loops, firsts: NDArray[np.int64]) -> Iterator[Streams]:
    for i in range(0, len(firsts), AT_ONCE):
        yield streams.told(loops, firsts[i : i + AT_ONCE], LONGEST)


def _a_note(parts: list[Values]) -> Values:
    """Scale the sums of each stretch so that their mean is the mean over all notes.

    The stretch remains the unit of resampling for the confidence interval.
    """
    joined = {name: np.array([value for part in parts for value in part[name]]) for name in parts[0]}
    notes, played = joined.pop("notes").mean(), joined.pop("played").mean()
    each = {name: played if name == "bits_velocity" else notes for name in joined}
    return {
        name: (sums / each[name] if each[name] else np.full(len(sums), np.nan)).tolist()
        for name, sums in joined.items()
    }


def foretold(model: Model, told: Streams) -> Values:
    """Score a model's predictions, feeding it the notes of stretches one by one."""
    count, length = told.there.shape
    bits = np.zeros((count, length - 1, len(NAMES)))
    right = np.zeros((count, length - 1))
    memory = {
        s.name: np.zeros([count if d == "batch" else int(d) for d in s.shape], np.float32) for s in model.card.states
    }
    pitches = model.card.grid.pitches
    struck = np.zeros((count, pitches, WINDOW + told.struck.shape[2]), np.float32)
    every = np.arange(count)
    for i in range(int(told.there.sum(axis=1).max()) - 1):
        here = told.there[:, i] > 0
        at, row = WINDOW + told.step[:, i], told.note[:, i, 1]
        struck[every[here], row[here], at[here]] = told.note[here, i, 2] + 1
        window = at[:, None] + np.arange(-WINDOW, 1)
        feed: dict[str, Tensor] = {
            "note": told.note[:, i],
            "place": told.place[:, i],
            "context": told.context[:, i],
            "past": struck[every[:, None], :, window].transpose(0, 2, 1),
            **memory,
        }
        true = told.note[:, i + 1]
        # Given all choices, for their probabilities; and given only the shift, for the likeliest pitch.
        guess = np.where(np.arange(len(NAMES)) == 0, true, -1)
        both = {n: np.concatenate([x, x]) for n, x in feed.items()} | _plain(model, 2 * count)
        outputs = model.run(both | {"given": np.concatenate([true, guess])})
        memory = {n: outputs[f"{n}_next"][:count] for n in memory}
        bits[:, i] = -outputs["chance"][:count] / np.log(2)
        right[:, i] = outputs["chosen"][count:, 1] == true[:, 1]
    return _by_stretch(told, bits, right)


def _plain(model: Model, count: int) -> dict[str, Tensor]:
    """Inputs that leave the probabilities unchanged and make sampling deterministic."""
    return {
        "noise": np.zeros((count, sum(model.card.classes())), np.float32),
        "temperature": np.full((count, 1), LIKELIEST, np.float32),
        "least": np.ones((count, 1), np.float32),
        "bias": np.zeros((count, model.card.grid.pitches), np.float32),
        "echo": np.ones((count, 1), np.float32),
    }


def _counted(counted: dict[str, Counted], told: Streams, pitches: int) -> Values:
    """Score the predictions of the n-gram baseline."""
    there = told.there > 0
    columns = known(told.note, there)
    bits = np.zeros((*there[:, 1:].shape, len(NAMES)))
    right = np.zeros(there[:, 1:].shape)
    for i, (choice, one) in enumerate(counted.items()):
        true = columns[f"{choice}0"]
        bits[there[:, 1:], i] = -np.log2(one.chances(columns, true[:, None])[:, 0])
        if choice == "pitch":
            every = one.chances(columns, np.broadcast_to(np.arange(pitches), (len(true), pitches)))
            right[there[:, 1:]] = every.argmax(axis=1) == true
    return _by_stretch(told, bits, right)


def _by_stretch(told: Streams, bits: Floats, right: Floats) -> Values:
    """Sums over the notes of each stretch but the first, with the numbers of notes and of played velocities."""
    there, loud = told.there[:, 1:], told.loud[:, 1:]
    sums = {
        "bits_a_note": bits[..., :3].sum(axis=2) * there,
        "bits_velocity": bits[..., 3] * loud,
        "next_pitch": right * there,
        "notes": there,
        "played": loud,
    }
    return {name: each.sum(axis=1).tolist() for name, each in sums.items()}
