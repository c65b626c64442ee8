"""Music as symbols: which there are, how a song is told in them, and what guesses without learning are worth.

How notes become symbols stands in `rtgen.inference.sequence`, because what plays has to tell music as it was told here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from rtgen.inference.card import Card, Symbol
from rtgen.inference.sequence import Book, groups, into_c
from rtgen.music import key
from rtgen.music.note import Loop, Note
from train.loops.dataset import Loops
from train.loops.sample import DURATION, GRID, PITCH

WAITS = (*range(1, 13), 18, 24, 36, 48)
"""Steps that can be waited at once."""
HALF_BEAT = GRID.steps_per_beat // 2
MIDDLE_C = 60
AHEAD = 12
"""Most loops in a row that are told at once."""
COUNTED = 10_000
"""Loops that the vocabulary is counted in."""
Vocabulary = Sequence[tuple[Sequence[int], int]]
"""Pitches and steps of each symbol, by number; as lists, they can stand in a checkpoint."""


def book_of(vocabulary: Vocabulary) -> Book:
    """A vocabulary to look up in."""
    return Book(Card("", "sequence", vocabulary=symbols_of(vocabulary)))


def symbols_of(vocabulary: Vocabulary) -> tuple[Symbol, ...]:
    """A vocabulary as it stands on a card."""
    return tuple(Symbol(tuple(pitches), steps) for pitches, steps in vocabulary)


def count(loops: Loops, size: int, *, voiced: bool, rhythm: bool, in_key: bool) -> list[tuple[list[int], int]]:
    """The vocabulary that tells some music best; symbol 0 is padding.

    Args:
        loops: the music.
        size: symbols, if there are so many; with `rhythm` all waits and all single notes are among them.
        voiced: whether a chord is its pitches, or its pitch classes in the octave of middle C.
        rhythm: whether time is told by waits, or not at all: each strike lasts half a beat.
        in_key: whether music is told in C major or A minor.
    """
    found: Counter[tuple[int, ...]] = Counter()
    for i in np.unique(np.linspace(0, len(loops) - 1, min(len(loops), COUNTED)).astype(int)):
        up = lift(loops, i, i + in_a_row(loops, i)) if in_key else 0
        for _, pitches in groups(loop_at(loops, i), GRID, up):
            found[_named(pitches, voiced)] += 1
    padding: list[tuple[list[int], int]] = [([], 0)]
    if not rhythm:
        return padding + [(list(pitches), HALF_BEAT) for pitches, _ in found.most_common(size - 1)]
    # Any note can be told, so any chord can.
    fixed: list[tuple[list[int], int]] = [([], steps) for steps in WAITS]
    fixed += [([pitch], 0) for pitch in range(GRID.pitch_low, GRID.pitch_high + 1)]
    chords = [(list(pitches), 0) for pitches, _ in found.most_common() if len(pitches) > 1]
    return padding + fixed + chords[: max(size - len(padding + fixed), 0)]


def _named(pitches: frozenset[int], voiced: bool) -> tuple[int, ...]:
    if voiced or len(pitches) == 1:
        return tuple(sorted(pitches))
    return tuple(sorted({MIDDLE_C + pitch % 12 for pitch in pitches}))


def told(loops: Loops, first: int, symbols: int, book: Book, *, in_key: bool, apart: bool, up: int = 0) -> list[int]:
    """Music from loop `first` on, in up to so many symbols.

    Args:
        loops: the music.
        first: where to begin.
        symbols: most.
        book: the vocabulary.
        in_key: whether it is moved into C major or A minor.
        apart: whether it ends with the song.
        up: semitones to move it by, if not into a key.
    """
    end = first + in_a_row(loops, first) if apart else min(first + AHEAD, len(loops))
    up = lift(loops, first, end) if in_key else up
    said: list[int] = []
    for i in range(first, end):
        if len(said) < symbols:
            said += book.said(groups(loop_at(loops, i), GRID, up), GRID.steps(loops.length))
    return said[:symbols]


def loop_at(loops: Loops, number: int) -> Loop:
    """One of the loops."""
    rows = loops.notes[loops.offsets[number] : loops.offsets[number + 1], 1:]
    return Loop(loops.length, tuple(Note(*row) for row in rows.tolist()), int(loops.bars[number]))


def in_a_row(loops: Loops, first: int) -> int:
    """How many of the loops from `first` on are of the same track of the same song; `AHEAD` at most."""
    some = slice(first, first + AHEAD)
    same = [x[some] == x[first] for x in (loops.sets, loops.songs, loops.tracks)]
    other = np.flatnonzero(~np.all(same, axis=0))
    return int(other[0]) if len(other) else len(same[0])


def lift(loops: Loops, first: int, end: int) -> int:
    """Semitones from the key of some loops in a row to C major or A minor."""
    notes = loops.notes[loops.offsets[first] : loops.offsets[end]]
    weights = np.bincount(notes[:, PITCH] % 12, weights=notes[:, DURATION], minlength=12)
    scale = key.estimate(Note(0, i, max(int(weight), 1), 1) for i, weight in enumerate(weights))
    return into_c(scale) if scale else 0


# ---- guesses without learning ---------------------------------------------------------------------------------------


def unigram(pairs: Tensor) -> Tensor:
    """How likely each symbol is, if nothing is known of the one before; (symbols).

    Args:
        pairs: how often each symbol came after each, (symbols, symbols); the later one is the column.
    """
    counts = pairs.sum(dim=0).double() + 1
    counts[0] = 0
    return counts / counts.sum()


def markov(pairs: Tensor, before: Tensor) -> Tensor:
    """How likely each symbol is after those `before` (any shape), by the counts of pairs; (..., symbols).

    Smoothed with the unigram by as much as new symbols came after the one before (Witten and Bell, The Zero-Frequency
    Problem, 1991).
    """
    rows = pairs[before].double()
    seen, kinds = rows.sum(dim=-1, keepdim=True), (rows > 0).sum(dim=-1, keepdim=True)
    return (rows + kinds * unigram(pairs) + (seen == 0) * unigram(pairs)) / (seen + kinds + (seen == 0))
