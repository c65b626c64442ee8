"""Evaluation of the role `sequence`: prediction of held-out music, and continuations."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.card import Card
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.inference.pen import FIGURE
from rtgen.inference.sequence import Book, groups
from rtgen.music import key
from rtgen.music.key import into_c
from rtgen.music.note import Loop
from train.loops.dataset import Loops, from_loops
from train.measures.codes import HELD_OUT
from train.measures.knobs import defaults
from train.measures.music import Library, density, in_key, runs
from train.measures.table import Scores

ORDERS = {"unigram": 0, "Markov, order 1": 1, "Markov, order 3": 3}
LEARNT = 12_000
"""Training loops counted for the baselines."""
LONGEST = 600
"""Maximum number of symbols of a song."""
Values = dict[str, list[float]]


class Streams:
    """Songs as symbols: the loops of each track in order.

    The songs are those of loops chosen at random. The first ones of a split would all be of one set.

    Args:
        loops: loops of a split.
        card: card with the vocabulary.
        most: number of loops from which on no further song is taken.
        seed: of the choice.
    """

    def __init__(self, loops: Loops, card: Card, most: int, seed: int) -> None:
        book = Book(card)
        self.songs: list[list[int]] = []
        self.loops: list[list[Loop]] = []
        for indices in _tracks(loops, most, seed):
            song = loops.as_loops(indices)
            scale = key.estimate(n for loop in song for n in loop.notes)
            up = into_c(scale) if card.in_key and scale else 0
            said = [s for x in song for s in book.said(groups(x, card.grid, up), card.grid.steps(x.length))]
            if len(said) > 1:
                self.songs.append(said[:LONGEST])
                self.loops.append(song)


def _tracks(loops: Loops, most: int, seed: int) -> list[NDArray[np.int64]]:
    """Indices of the loops of whole tracks, those of loops chosen at random, until there are `most` loops."""
    names = zip(loops.sets, loops.songs, loops.tracks, strict=True)
    tracks = [np.array([i for i, _ in same]) for _, same in groupby(enumerate(names), key=lambda row: row[1])]
    of = np.repeat(np.arange(len(tracks)), [len(track) for track in tracks])
    chosen = list(dict.fromkeys(of[np.random.default_rng(seed).permutation(len(loops))].tolist()))
    found = np.cumsum([len(tracks[i]) for i in chosen])
    return [tracks[i] for i in chosen[: int(np.searchsorted(found, most)) + 1]]


class BackOff:
    """An n-gram model with back-off to shorter contexts (Witten and Bell, The Zero-Frequency Problem, 1991).

    Args:
        songs: training songs.
        order: symbols of context.
        symbols: size of the vocabulary.
    """

    def __init__(self, songs: Sequence[Sequence[int]], order: int, symbols: int) -> None:
        self._order, self._symbols = order, symbols
        self._counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for song in songs:
            for i, symbol in enumerate(song):
                for length in range(min(order, i) + 1):
                    self._counts[tuple(song[i - length : i])][symbol] += 1

    def probabilities(self, context: Sequence[int]) -> NDArray[np.float64]:
        """Probability of every symbol after a context."""
        p = np.full(self._symbols, 1 / self._symbols)
        for length in range(min(self._order, len(context)) + 1):
            counts = self._counts.get(tuple(context[len(context) - length :]))
            if counts is None:
                break
            seen = np.zeros(self._symbols)
            seen[list(counts)] = list(counts.values())
            p = (seen + len(counts) * p) / (seen.sum() + len(counts))
        return p


def scores(model: Model, held_out: Loops, train: Loops, library: Library, count: int, seed: int) -> Scores:
    """Measure prediction and continuations in mode `continue`.

    `bits`: bits per symbol; `accuracy`: of the likeliest symbol; both per song.
    """
    card = model.card
    learnt, heard = Streams(train, card, LEARNT, seed), Streams(held_out, card, 8 * count, seed)
    chosen = range(len(heard.songs))[: max(count // 4, 1)]
    songs = [heard.songs[i] for i in chosen]
    found: Scores = {card.name: foretold([probabilities_of(model, song) for song in songs], songs)}
    for name, order in ORDERS.items():
        baseline = BackOff(learnt.songs, order, len(card.vocabulary))
        found[name] = foretold(
            [np.stack([baseline.probabilities(song[:i]) for i in range(1, len(song))]) for song in songs], songs
        )
    continued = [x for i in chosen for x in continuations(model, heard.loops[i], seed)][:count]
    found[card.name] |= measured([made for _, made, _ in continued], [call for call, *_ in continued], library)
    found[HELD_OUT] = measured([true for *_, true in continued], [call for call, *_ in continued], library)
    return found


def probabilities_of(model: Model, song: Sequence[int]) -> NDArray[np.float64]:
    """Probability of every symbol after each symbol but the last, shape (symbols - 1, vocabulary)."""
    states = {s.name: np.zeros([1 if d == "batch" else int(d) for d in s.shape], np.float32) for s in model.card.states}
    logits = model.run({"symbol": np.array([song[:-1]], np.int64), **states})["logits"][0].astype(np.float64)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = p / p.sum(axis=1, keepdims=True)
    return shares


def foretold(probabilities: Sequence[NDArray[np.float64]], songs: Sequence[Sequence[int]]) -> Values:
    """Bits per symbol and accuracy of the likeliest symbol, per song."""
    bits: list[float] = []
    accuracy: list[float] = []
    for p, song in zip(probabilities, songs, strict=True):
        true = np.array(song[1:])
        bits.append(float(-np.log2(np.maximum(p[np.arange(len(true)), true], 1e-12)).mean()))
        accuracy.append(float((p.argmax(axis=1) == true).mean()))
    return {"bits": bits, "accuracy": accuracy}


def continuations(model: Model, song: Sequence[Loop], seed: int) -> list[tuple[Loop, Loop, Loop]]:
    """Up to four triples of a loop of a song, the model's continuation and the true next loop."""
    found = []
    for i in range(min(len(song) - 1, 4)):
        if song[i].notes and song[i + 1].notes:
            made = answer(model, song[i], "continue", defaults(), seed + i, past=tuple(song[:i]))
            found.append((song[i], made, song[i + 1]))
    return found


def measured(made: Sequence[Loop], calls: Sequence[Loop], library: Library) -> Values:
    """Features of continuations, relative to the calls and the training music."""
    return {
        "continue_in_key": [in_key(x) for x in made],
        "continue_in_call_key": [in_key(x, key.estimate(call.notes)) for x, call in zip(made, calls, strict=True)],
        "continue_density": [density(x) / density(call) for x, call in zip(made, calls, strict=True)],
        "continue_copies": [library.copies(x) for x in made],
        "continue_copies_call": [_again(x, call) for x, call in zip(made, calls, strict=True)],
        "continue_repeats": [_repeats(x) for x in made],
    }


def _again(made: Loop, call: Loop) -> float:
    """Share of runs of `RUN` notes that the call has too, in any key; NaN if there are no runs."""
    own, heard = (runs(from_loops([loop])) for loop in (made, call))
    return float(np.isin(own, heard).mean()) if len(own) else float("nan")


def _repeats(made: Loop) -> float:
    """Share of runs of `FIGURE` notes that came before in the same loop; NaN if there are no runs."""
    own = runs(from_loops([made]), FIGURE)
    return 1 - len(np.unique(own)) / len(own) if len(own) else float("nan")
