"""Evaluation of the role `composer`: prediction of held-out music note by note, and continuations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.model import Model, Tensor
from rtgen.inference.sheet import FADE, FOLLOWS, LOOK, STATIC
from rtgen.inference.spelling import SPELLING
from train.loops.dataset import Loops
from train.loops.links import linked
from train.measures.codes import HELD_OUT
from train.measures.counted import NAMES, ORDERS, Counted, contexts, known
from train.measures.knobs import anchored, follows, steers
from train.measures.music import Library
from train.measures.repair import filled_in
from train.measures.sequences import Values, continuations, measured
from train.measures.table import Scores
from train.models import passages
from train.models.passages import PLANES, Passage, Shown

LONGEST = 320
"""Maximum number of notes of a stretch."""
AT_ONCE = 16
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
    chosen = np.sort(np.random.default_rng(seed).permutation(_stretches(held_out))[: max(count // 4, 1)])
    heard = list(_passages(held_out, chosen))
    name = model.card.name
    found: Scores = {name: _a_note([foretold(model, some) for some in heard])}
    learnt = [known(some.note, some.there > 0) for some in _passages(train, _stretches(train))]
    columns = {fact: np.concatenate([some.pop(fact) for some in learnt]) for fact in list(learnt[0])}
    for baseline, order in ORDERS.items():
        counted = {
            choice: Counted(columns, choice, contexts(order)[choice], size)
            for choice, size in zip(NAMES, model.card.classes(), strict=False)
        }
        found[baseline] = _a_note([_counted(counted, some, model.card.grid.pitches) for some in heard])
    songs = [held_out.as_loops(np.arange(first, passages.stretch(held_out, int(first), 5))) for first in chosen]
    continued = [x for song in songs for x in continuations(model, song, seed)][:count]
    calls = [call for call, *_ in continued]
    found[name] |= measured([made for _, made, _ in continued], calls, library)
    heard_before = [(song[:i], song[i]) for song in songs for i in range(1, len(song)) if song[i].notes][:count]
    pasts, some = [past for past, _ in heard_before], [loop for _, loop in heard_before]
    for contender, measures in filled_in(model, some, seed, pasts).items():
        found[contender] = found.get(contender, {}) | measures
    found[name] |= follows(model, some, seed) | steers(model, some, seed) | anchored(model, some, seed)
    found[HELD_OUT] = measured([true for *_, true in continued], calls, library)
    return found


def _stretches(loops: Loops) -> NDArray[np.int64]:
    """Start of each stretch of songs."""
    firsts, first = [], 0
    while first < len(loops):
        firsts.append(first)
        first = passages.stretch(loops, first, passages.AHEAD)
    return np.array(firsts)


def _passages(loops: Loops, firsts: NDArray[np.int64]) -> Iterator[Passage]:
    links, rng = linked(loops), np.random.default_rng(0)
    for i in range(0, len(firsts), AT_ONCE):
        some = firsts[i : i + AT_ONCE]
        yield passages.read(loops, links, some, LONGEST, np.full(len(some), FOLLOWS), rng, varied=False)


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


def foretold(model: Model, passage: Passage) -> Values:
    """Score predictions where nothing is given, with what is recalled in play; notes are fed one by one."""
    count, length = passage.there.shape
    plan = passages.hide(passage, np.ones(count, bool), np.random.default_rng(0))
    task = passages.lesson(passage, plan, Shown.only(passage, "lags", "context"))
    ends, last, chord, before = passages.sounding(passage)
    static = [*range(STATIC - 3), *range(PLANES - 3, PLANES)]
    classes = model.card.classes()
    bits, right = np.zeros((count, length - 1, len(classes))), np.zeros((count, length - 1))
    memory = {
        s.name: np.zeros([count if d == "batch" else int(d) for d in s.shape], np.float32) for s in model.card.states
    }
    every = np.arange(count)
    columns = np.zeros((count, LOOK, STATIC, model.card.grid.pitches), np.float32)
    harmony = np.zeros((count, LOOK, task["harmony"].shape[2]), np.float32)
    for i in range(int(passage.there.sum(axis=1).max()) - 1):
        true = passage.note[:, i + 1]
        shift = np.array(SPELLING.shifts)[true[:, 0]]
        columns[every, shift], harmony[every, shift] = task["planes"][:, i, static], task["harmony"][:, i]
        now = passage.step[:, i, None]
        since = np.where(last[:, i] >= 0, np.exp2(-(now - last[:, i]) / FADE), 0)
        seen = np.stack([ends[:, i] - now, since, chord[:, i], before[:, i]], axis=1).astype(np.float32)
        feed = {name: task[name][:, i] for name in ("note", "place", "known", "rhythm")}
        feed |= {"columns": columns, "harmony": harmony, "sounding": seen, **memory}
        guess = np.where(np.arange(len(classes)) == 0, true, -1)
        both = {n: np.concatenate([x, x]) for n, x in feed.items()} | _plain(model, 2 * count)
        outputs = model.run(both | {"given": np.concatenate([true, guess])})
        memory = {n: outputs[f"{n}_next"][:count] for n in memory}
        bits[:, i] = -outputs["chance"][:count] / np.log(2)
        right[:, i] = outputs["chosen"][count:, 1] == true[:, 1]
        columns[every, shift], harmony[every, shift] = 0, 0
    return _by_stretch(passage, bits, right)


def _plain(model: Model, count: int) -> dict[str, Tensor]:
    """Inputs that leave the probabilities unchanged and make sampling deterministic."""
    return {
        "noise": np.zeros((count, sum(model.card.classes())), np.float32),
        "temperature": np.full((count, 1), LIKELIEST, np.float32),
        "least": np.ones((count, 1), np.float32),
        "bias": np.zeros((count, model.card.grid.pitches), np.float32),
    }


def _counted(counted: dict[str, Counted], heard: Passage, pitches: int) -> Values:
    """Score the predictions of the n-gram baseline."""
    there = heard.there > 0
    columns = known(heard.note, there)
    bits = np.zeros((*there[:, 1:].shape, len(NAMES)))
    right = np.zeros(there[:, 1:].shape)
    for i, (choice, one) in enumerate(counted.items()):
        true = columns[f"{choice}0"]
        bits[there[:, 1:], i] = -np.log2(one.chances(columns, true[:, None])[:, 0])
        if choice == "pitch":
            every = one.chances(columns, np.broadcast_to(np.arange(pitches), (len(true), pitches)))
            right[there[:, 1:]] = every.argmax(axis=1) == true
    return _by_stretch(heard, bits, right)


def _by_stretch(heard: Passage, bits: Floats, right: Floats) -> Values:
    """Sums over the notes of each stretch but the first, with the numbers of notes and of played velocities."""
    there, loud = heard.there[:, 1:], heard.loud[:, 1:]
    sums = {
        "bits_a_note": bits[..., :3].sum(axis=2) * there,
        "bits_velocity": bits[..., 3] * loud,
        "next_pitch": right * there,
        "notes": there,
        "played": loud,
    }
    return {name: each.sum(axis=1).tolist() for name, each in sums.items()}
