"""Incremental input of a continuer: it hears the player's notes one by one while they are played."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.exchange import scale_of
from rtgen.inference.model import Model, Tensor, memory_of
from rtgen.inference.sequence import into_c
from rtgen.inference.stream import WINDOW, Spelling, Told, tell
from rtgen.music.note import Loop

HEARD = 64
"""Notes of context before the loop."""
LEAST = 0.05
"""Choices less likely than this fraction of the likeliest are never sampled."""

_NONE: Mapping[str, float] = {}
Remembered = dict[str, Tensor]
"""States by name."""


class Hearing:
    """What a model has heard, and its state before each note.

    If the input only grows, it continues from its last state. If anything else changes (the key, an edited past, a new
    beginning), it goes back to the first difference. So its state depends on what was played, not on the chunks in
    which it arrived.
    """

    def __init__(self, model: Model) -> None:
        self._states = model.card.states
        self._rows: NDArray[np.float64] = np.zeros((0, 0))
        self._first = 0
        self._before: list[Remembered] = []

    def hear(self, model: Model, told: Told, stop: Callable[[], bool] = lambda: False) -> Remembered | None:
        """The states before the last note, after hearing all relevant notes before it.

        Args:
            model: the model it was made for.
            told: what was played.
            stop: called before each note; true to abort for something more urgent.

        Returns:
            The states by name; None if aborted.
        """
        rows, first = told.rows(), max(len(told.note) - told.last - HEARD, 0)
        alike = _alike(rows, self._rows) - first if first == self._first else -1
        self._rows, self._first = rows, first
        del self._before[max(alike + 1, 0) :]
        if not self._before:
            self._before.append({s.name: _zeros(s.shape) for s in self._states})
        past = told.struck(model.card.grid.pitches)
        # A note's past contains only onsets up to it.
        at = first + len(self._before) - 1
        past[told.note[at:, 1], WINDOW + told.step[at:]] = 0
        feed = plain(model)
        for i in range(at, len(rows) - 1):
            if stop():
                return None
            step = int(told.step[i])
            past[told.note[i, 1], WINDOW + step] = told.note[i, 2] + 1
            feed |= {
                "note": told.note[i : i + 1],
                "place": told.place[i : i + 1],
                "context": told.context[i : i + 1],
                "past": past[None, :, step : step + WINDOW + 1],
            }
            self._before.append(remembered(model.run(feed | self._before[-1], memory_of(model.card))))
        return self._before[-1]


def remembered(outputs: Remembered) -> Remembered:
    """The output states of a step, renamed as inputs of the next."""
    return {name.removesuffix("_next"): value for name, value in outputs.items() if name.endswith("_next")}


def _alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> int:
    """Number of equal rows at the beginning."""
    both = min(len(a), len(b))
    other = np.flatnonzero((a[:both] != b[:both]).any(axis=1)) if both else np.zeros(0, int)
    return int(other[0]) if len(other) else both


def _zeros(shape: tuple[int | str, ...]) -> Tensor:
    return np.zeros([1 if d == "batch" else int(d) for d in shape], np.float32)


def plain(model: Model) -> dict[str, Tensor]:
    """Step inputs for listening only, or for sampling without any bias."""
    pitches = model.card.grid.pitches
    return {
        "given": np.full((1, 4), -1, np.int64),
        "noise": np.zeros((1, sum(model.card.classes())), np.float32),
        "temperature": np.ones((1, 1), np.float32),
        "least": np.full((1, 1), LEAST, np.float32),
        "bias": np.zeros((1, pitches), np.float32),
        "echo": np.ones((1, 1), np.float32),
    }


_HEARINGS: WeakKeyDictionary[Model, Hearing] = WeakKeyDictionary()


def hear(
    model: Model,
    past: Sequence[Loop],
    loop: Loop,
    knobs: Mapping[str, float] = _NONE,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Hears what has been played of a loop so far, so that less remains when it is continued.

    Args:
        model: the continuer.
        past: loops played before, oldest first.
        loop: what was played of it so far.
        knobs: by name; only those that set the key matter.
        stop: called before each note; true to abort for something more urgent.
    """
    scale = scale_of((n for heard in (*past, loop) for n in heard.notes), knobs)
    if scale is not None:
        hearing(model).hear(model, told_to(model, past, loop, into_c(scale)), stop)


def hearing(model: Model) -> Hearing:
    """The `Hearing` of a model."""
    if model not in _HEARINGS:
        _HEARINGS[model] = Hearing(model)
    return _HEARINGS[model]


def told_to(model: Model, past: Sequence[Loop], loop: Loop, up: int) -> Told:
    """Encodes what was played for a model, transposed by `up` semitones."""
    return tell((*past, loop), up, spelling_of(model), model.card.grid, known=HEARD + len(loop))


def spelling_of(model: Model) -> Spelling:
    """The note classes of a model."""
    spelling = model.card.spelling
    assert spelling is not None  # a card of the role has one
    return spelling
