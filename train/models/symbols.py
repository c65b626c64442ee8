"""Songs as symbols: vocabularies, encoding and baseline predictors.

The conversion from notes to symbols is in `rtgen.inference.sequence`, since training and playing must agree on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from rtgen.inference.card import Card, Symbol
from rtgen.inference.sequence import Book, groups
from rtgen.music import key
from rtgen.music.key import into_c
from rtgen.music.note import Loop, Note
from train.loops.dataset import Loops
from train.loops.sample import DURATION, GRID, PITCH

WAITS = (*range(1, 13), 18, 24, 36, 48)
"""Available waits, in steps."""
HALF_BEAT = GRID.steps_per_beat // 2
MIDDLE_C = 60
AHEAD = 12
"""Maximum number of consecutive loops in a sequence."""
COUNTED = 10_000
"""Maximum number of loops counted for the vocabulary."""
Vocabulary = Sequence[tuple[Sequence[int], int]]
"""Pitches and steps of each symbol, by number; lists, so that they can be stored in a checkpoint."""


def book_of(vocabulary: Vocabulary) -> Book:
    """Look-up tables of a vocabulary."""
    return Book(Card("", "sequence", vocabulary=symbols_of(vocabulary)))


def symbols_of(vocabulary: Vocabulary) -> tuple[Symbol, ...]:
    """A vocabulary in the form of the card."""
    return tuple(Symbol(tuple(pitches), steps) for pitches, steps in vocabulary)


def count(loops: Loops, size: int, *, voiced: bool, rhythm: bool, in_key: bool) -> list[tuple[list[int], int]]:
    """Choose the vocabulary for some music by frequency; symbol 0 is padding.

    Args:
        loops: the music.
        size: maximum number of symbols; with `rhythm` all waits and all single notes are always included.
        voiced: whether a chord is its pitches, or its pitch classes in the octave of middle C.
        rhythm: encode time as waits; otherwise each strike lasts half a beat.
        in_key: transpose to C major or A minor.
    """
    found: Counter[tuple[int, ...]] = Counter()
    for i in np.unique(np.linspace(0, len(loops) - 1, min(len(loops), COUNTED)).astype(int)):
        up = lift(loops, i, i + in_a_row(loops, i)) if in_key else 0
        for _, pitches in groups(loop_at(loops, i), GRID, up):
            found[_named(pitches, voiced)] += 1
    padding: list[tuple[list[int], int]] = [([], 0)]
    if not rhythm:
        return padding + [(list(pitches), HALF_BEAT) for pitches, _ in found.most_common(size - 1)]
    # With all single notes, any chord can be spelt.
    fixed: list[tuple[list[int], int]] = [([], steps) for steps in WAITS]
    fixed += [([pitch], 0) for pitch in range(GRID.pitch_low, GRID.pitch_high + 1)]
    chords = [(list(pitches), 0) for pitches, _ in found.most_common() if len(pitches) > 1]
    return padding + fixed + chords[: max(size - len(padding + fixed), 0)]


def _named(pitches: frozenset[int], voiced: bool) -> tuple[int, ...]:
    if voiced or len(pitches) == 1:
        return tuple(sorted(pitches))
    return tuple(sorted({MIDDLE_C + pitch % 12 for pitch in pitches}))


def told(loops: Loops, first: int, symbols: int, book: Book, *, in_key: bool, apart: bool, up: int = 0) -> list[int]:
    """Encode music from loop `first` on, in at most so many symbols.

    Args:
        loops: the music.
        first: first loop.
        symbols: maximum number of symbols.
        book: the vocabulary.
        in_key: transpose to C major or A minor.
        apart: end with the song.
        up: semitones to transpose by, without `in_key`.
    """
    end = first + in_a_row(loops, first) if apart else min(first + AHEAD, len(loops))
    up = lift(loops, first, end) if in_key else up
    said: list[int] = []
    for i in range(first, end):
        if len(said) < symbols:
            said += book.said(groups(loop_at(loops, i), GRID, up), GRID.steps(loops.length))
    return said[:symbols]


def loop_at(loops: Loops, number: int) -> Loop:
    """A single loop by index."""
    rows = loops.notes[loops.offsets[number] : loops.offsets[number + 1], 1:]
    return Loop(loops.length, tuple(Note(*row) for row in rows.tolist()), int(loops.bars[number]))


def in_a_row(loops: Loops, first: int) -> int:
    """Number of loops from `first` on in the same track of the same song; at most `AHEAD`."""
    some = slice(first, first + AHEAD)
    same = [x[some] == x[first] for x in (loops.sets, loops.songs, loops.tracks)]
    other = np.flatnonzero(~np.all(same, axis=0))
    return int(other[0]) if len(other) else len(same[0])


def lift(loops: Loops, first: int, end: int) -> int:
    """Semitones from the key of consecutive loops to C major or A minor."""
    notes = loops.notes[loops.offsets[first] : loops.offsets[end]]
    weights = np.bincount(notes[:, PITCH] % 12, weights=notes[:, DURATION], minlength=12)
    scale = key.estimate(Note(0, i, max(int(weight), 1), 1) for i, weight in enumerate(weights))
    return into_c(scale) if scale else 0


# ---- baselines ------------------------------------------------------------------------------------------------------


def unigram(pairs: Tensor) -> Tensor:
    """Unigram probabilities of the symbols; shape (symbols).

    Args:
        pairs: bigram counts, (symbols, symbols); the column is the later symbol.
    """
    counts = pairs.sum(dim=0).double() + 1
    counts[0] = 0
    return counts / counts.sum()


def markov(pairs: Tensor, before: Tensor) -> Tensor:
    """Bigram probabilities after the symbols `before` (any shape); shape (..., symbols).

    Backs off to the unigram with Witten-Bell smoothing (Witten and Bell, The Zero-Frequency Problem, 1991).
    """
    rows = pairs[before].double()
    seen, kinds = rows.sum(dim=-1, keepdim=True), (rows > 0).sum(dim=-1, keepdim=True)
    return (rows + kinds * unigram(pairs) + (seen == 0) * unigram(pairs)) / (seen + kinds + (seen == 0))
