"""Continuations with a symbol model: it is fed the call as symbols, then sampled one symbol at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.card import Card
from rtgen.inference.cells import OUT_OF_KEY, Knobs
from rtgen.inference.exchange import scale_of
from rtgen.inference.model import Model, Tensor
from rtgen.inference.touch import as_played
from rtgen.music import key
from rtgen.music.key import folded, into_c
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, Grid

CONTEXT = 50
"""Symbols of context for a continuation."""
DENSER = 1.5
"""A continuation may use this many times as many symbols as the player's loop ..."""
SYMBOLS_PER_BEAT = 4, 8
"""... but always at least the first number per beat, and never more than the second: each symbol is a run of the
model."""
_LEAST = 0.05
"""A symbol less likely than this fraction of the likeliest is never sampled."""
_AT_ONCE = 6
"""Most simultaneous onsets."""
_REPEATS = 4
"""Longest run of the same symbol, unless the player's was longer."""
_STRIDE = 6
"""Minimum steps per symbol once a continuation uses too many symbols."""

Flags = NDArray[np.bool_]
"""One per symbol, by index."""
Groups = list[tuple[int, frozenset[int]]]
"""Columns with onsets, in order, and their pitches."""


class Book:
    """Lookup tables for a model's vocabulary."""

    def __init__(self, card: Card) -> None:
        self.steps = np.array([symbol.steps for symbol in card.vocabulary])
        self.strikes = np.zeros((len(card.vocabulary), 128), bool)
        self.waits: list[tuple[int, int]] = []
        self._by_pitches: dict[frozenset[int], list[tuple[int, int]]] = defaultdict(list)
        for number, symbol in enumerate(card.vocabulary):
            self.strikes[number, list(symbol.pitches)] = True
            if symbol.pitches:
                self._by_pitches[frozenset(symbol.pitches)].append((symbol.steps, number))
            elif symbol.steps:
                self.waits.append((symbol.steps, number))
        self.waits.sort(reverse=True)
        self._classes = _classes(self.strikes)
        self.struck: Flags = np.any(self.strikes, axis=1)
        self.drawn: Flags = self.struck | (self.steps > 0)
        """All but padding."""

    def said(self, groups: Groups, length: int) -> list[int]:
        """Encodes music of `length` steps as symbols, as closely as the vocabulary allows."""
        symbols: list[int] = []
        at = 0
        for (column, pitches), (following, _) in pairwise([*groups, (length, frozenset[int]())]):
            at += self._wait(column - at, symbols)
            at += self._strike(pitches, following - max(at, column), symbols)
        self._wait(length - at, symbols)
        return symbols

    def latest(self, symbols: list[int], bar: int) -> list[int]:
        """The last `CONTEXT` symbols, or fewer to start at the beginning of a bar (`bar` in steps) if there is one."""
        ends = np.cumsum(self.steps[symbols])
        for first in range(max(len(symbols) - CONTEXT, 0), len(symbols)):
            if not first or (ends[first - 1] % bar == 0 and self.steps[symbols[first - 1]]):
                return symbols[first:]
        return symbols[-CONTEXT:]

    def _wait(self, steps: int, symbols: list[int]) -> int:
        left = steps
        for size, number in self.waits:
            while 0 < size <= left:
                symbols.append(number)
                left -= size
        return max(steps - left, 0)

    def _strike(self, pitches: frozenset[int], gap: int, symbols: list[int]) -> int:
        """Encodes a chord: as a whole, note by note, or by the most similar chord; returns the steps it takes."""
        if pitches not in self._by_pitches:
            singles = [self._number(frozenset((pitch,)), 0) for pitch in sorted(pitches)]
            if all(number is not None and self.steps[number] == 0 for number in singles):
                symbols += [number for number in singles if number is not None]
                return 0
        number = self._number(pitches, gap)
        if number is None:
            number = self._nearest(pitches, gap)
        if number is None:
            return 0
        symbols.append(number)
        return int(self.steps[number])

    def _number(self, pitches: frozenset[int], gap: int) -> int | None:
        """The symbol with these pitches and the most steps up to `gap`, or else the fewest steps."""
        sizes = self._by_pitches.get(pitches)
        if not sizes:
            return None
        within = [size for size in sizes if size[0] <= gap]
        return max(within)[1] if within else min(sizes)[1]

    def _nearest(self, pitches: frozenset[int], gap: int) -> int | None:
        """The symbol most similar in pitches and pitch classes; None if none is similar."""
        wanted = np.zeros(128, bool)
        wanted[list(pitches)] = True
        likeness = _likeness(self.strikes, wanted) + _likeness(self._classes, _classes(wanted))
        best = int(np.argmax(likeness))
        if not likeness[best]:
            return None
        return self._number(frozenset(np.nonzero(self.strikes[best])[0].tolist()), gap)


def _likeness(these: Flags, one: Flags) -> NDArray[np.float64]:
    """Jaccard index of each row and `one`, which must not be empty."""
    result: NDArray[np.float64] = (these & one).sum(axis=-1) / (these | one).sum(axis=-1)
    return result


def _classes(strikes: Flags) -> Flags:
    """Pitch classes of pitches, (..., 128) -> (..., 12)."""
    octaves = np.pad(strikes, [(0, 0)] * (strikes.ndim - 1) + [(0, 4)]).reshape(*strikes.shape[:-1], 11, 12)
    result: Flags = np.any(octaves, axis=-2)
    return result


_BOOKS: WeakKeyDictionary[Model, Book] = WeakKeyDictionary()


def continued(model: Model, past: Sequence[Loop], loop: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Continues the past loops and this one, for the length of this one.

    The model reads what was played in one run, then symbols are sampled one at a time until the loop is full.
    Loudness and timing follow the player's notes at the same places, and durations the player's articulation.
    """
    scale = scale_of((note for heard in (*past, loop) for note in heard.notes), knobs)
    if not loop.notes or scale is None:
        return loop
    book = _book(model)
    up = into_c(scale) if model.card.in_key else 0
    grid = model.card.grid
    said = book.said(groups(loop, grid, up), grid.steps(loop.length))
    context = said
    for heard in reversed(past):
        if len(context) >= CONTEXT:
            break
        context = book.said(groups(heard, grid, up), grid.steps(heard.length)) + context
    pen = _Pen(book, loop, grid, said, _bias(book, scale, up, knobs))
    bar = round(loop.bar / grid.step)
    logits, states = _heard(model, book.latest(context, bar) or [int(np.argmax(book.drawn))])
    while not pen.full:
        symbol = pen.draw(logits, knobs["temperature"], rng)
        if not pen.full:
            logits, states = _run(model, [symbol], states)
    return _played(pen.strikes, loop, grid, up)


def _book(model: Model) -> Book:
    if model not in _BOOKS:
        _BOOKS[model] = Book(model.card)
    return _BOOKS[model]


def _bias(book: Book, scale: key.Key, up: int, knobs: Knobs) -> NDArray[np.float64]:
    """Logit penalties for symbols with pitches outside the key."""
    outside = np.array([not scale.contains(pitch - up) for pitch in range(128)])
    strays: Flags = np.any(book.strikes & outside, axis=1)
    return np.where(strays, -OUT_OF_KEY * knobs["key_lock"], 0.0)


class _Pen:
    """Writes a loop symbol by symbol, with limits so that it ends and stays musical.

    Args:
        book: the vocabulary.
        loop: the call; the player's habits limit what may be sampled.
        grid: of the vocabulary's steps.
        said: the loop as symbols.
        bias: added to the logits.
    """

    def __init__(self, book: Book, loop: Loop, grid: Grid, said: list[int], bias: NDArray[np.float64]) -> None:
        self.strikes: dict[int, set[int]] = {}
        """Struck pitches, by step."""
        self._book = book
        self._bias = bias
        self._length = grid.steps(loop.length)
        self._at = self._drawn = self._run = self._waited = 0
        self._last: int | None = None
        beats = loop.length / PPQN
        least, most = SYMBOLS_PER_BEAT
        self._most = round(min(max(DENSER * len(said), least * beats), most * beats)) + 1
        columns = [0, *(column for column, _ in groups(loop, grid, 0)), self._length]
        longest = max(b - a for a, b in pairwise(columns))
        self._patience = min(max(longest, grid.steps_per_beat), max(self._length // 2, 1))
        self._repeats = max(_REPEATS, _longest_run([s for s in said if book.struck[s]]))

    @property
    def full(self) -> bool:
        """Whether the loop is written, or has used up its symbols."""
        return self._at >= self._length or self._drawn >= 2 * self._most

    def draw(self, logits: NDArray[np.float32], temperature: float, rng: np.random.Generator) -> int:
        """Samples the next symbol and writes it."""
        book = self._book
        allowed = self._allowed()
        scores = (logits + self._bias * max(temperature, 1.0)) / temperature
        scores = np.where(allowed, scores, -np.inf)
        scores[scores < scores.max() + np.log(_LEAST)] = -np.inf
        # Gumbel-max sampling.
        symbol = int(np.argmax(scores + rng.gumbel(size=len(scores))))
        steps = int(book.steps[symbol])
        if book.struck[symbol]:
            self.strikes.setdefault(self._at, set()).update(np.nonzero(book.strikes[symbol])[0].tolist())
            self._run = self._run + 1 if symbol == self._last else 1
            self._last = symbol
            self._waited = 0
        self._waited += steps
        self._at += steps
        self._drawn += 1
        return symbol

    def _allowed(self) -> Flags:
        book = self._book
        allowed = book.drawn.copy()
        here = self.strikes.get(self._at)
        if here:
            allowed &= ~book.struck if len(here) >= _AT_ONCE else ~book.strikes[:, list(here)].any(axis=1)
        allowed &= book.struck | (self._waited + book.steps <= self._patience)
        if self._last is not None and self._run >= self._repeats:
            allowed[self._last] = False
        if self._drawn > 8 + self._most * self._at / self._length:
            allowed &= book.steps >= min(_STRIDE, int(book.steps.max()))
        return allowed if allowed.any() else book.steps > 0


def _longest_run(symbols: list[int]) -> int:
    longest = run = 1
    for a, b in pairwise(symbols):
        run = run + 1 if a == b else 1
        longest = max(longest, run)
    return longest


# ---- loops ----------------------------------------------------------------------------------------------------------


def groups(loop: Loop, grid: Grid, up: int) -> Groups:
    """Simultaneous onsets of a loop, transposed by `up` semitones."""
    steps = grid.steps(loop.length)
    struck: dict[int, set[int]] = defaultdict(set)
    for note in loop.notes:
        if 0 <= note.pitch + up <= 127:
            struck[grid.column(note.onset, steps)].add(note.pitch + up)
    return [(column, frozenset(struck[column])) for column in sorted(struck)]


def _played(strikes: dict[int, set[int]], loop: Loop, grid: Grid, up: int) -> Loop:
    """Notes at the struck steps, in the manner of `loop`."""
    columns = sorted(column for column in strikes if column < grid.steps(loop.length))
    legato = _legato(loop)
    notes = []
    for column, following in pairwise([*columns, grid.steps(loop.length)]):
        onset = column * grid.step
        lasts = max(round(legato * (following - column) * grid.step), grid.step)
        lasts = min(lasts, loop.length - onset)
        notes += [Note(onset, folded(pitch - up), lasts, 64) for pitch in strikes[column]]
    return loop.with_notes(as_played(notes, loop, grid)).monophonic_by_pitch()


def _legato(loop: Loop) -> float:
    """Median of the player's durations relative to the time until the next onset, within 0.25-4."""
    onsets = sorted({n.onset for n in loop.notes})
    following = dict(pairwise([*onsets, loop.length]))
    return min(max(median(n.duration / max(following[n.onset] - n.onset, 1) for n in loop.notes), 0.25), 4.0)


# ---- the model ------------------------------------------------------------------------------------------------------


def _heard(model: Model, symbols: list[int]) -> tuple[NDArray[np.float32], dict[str, Tensor]]:
    zeros = {s.name: np.zeros([1 if d == "batch" else int(d) for d in s.shape], np.float32) for s in model.card.states}
    return _run(model, symbols, zeros)


def _run(model: Model, symbols: list[int], states: dict[str, Tensor]) -> tuple[NDArray[np.float32], dict[str, Tensor]]:
    """Runs the model on symbols; returns the logits of the next symbol, and the new states."""
    outputs = model.run({"symbol": np.array([symbols], np.int64), **states})
    return outputs["logits"][0, -1], {name: outputs[f"{name}_next"] for name in states}
