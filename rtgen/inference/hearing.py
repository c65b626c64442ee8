"""What a continuer has heard: the player's notes, one by one, while they are played."""

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
"""Notes from before the loop that a continuation goes by."""
LEAST = 0.05
"""What is less likely than this, in parts of the likeliest, is never drawn."""

_NONE: Mapping[str, float] = {}
Remembered = dict[str, Tensor]
"""States by name."""


class Hearing:
    """What a model has heard, and what it remembered before each note of that.

    Told more of the same it goes on where it was. Told anything else (another key, an edited past, a new beginning) it
    goes back to where that parts from what it heard. So what it remembers depends on what was played, and not on the
    pieces in which it was told.
    """

    def __init__(self, model: Model) -> None:
        self._states = model.card.states
        self._rows: NDArray[np.float64] = np.zeros((0, 0))
        self._first = 0
        self._before: list[Remembered] = []

    def hear(self, model: Model, told: Told, stop: Callable[[], bool] = lambda: False) -> Remembered | None:
        """What is remembered before the last note, when all others have been heard from the first one on that matters.

        Args:
            model: the one that it was made for.
            told: what was played.
            stop: asked before each note whether there is something better to do.

        Returns:
            The states by name; None if it was stopped.
        """
        rows, first = told.rows(), max(len(told.note) - told.last - HEARD, 0)
        alike = _alike(rows, self._rows) - first if first == self._first else -1
        self._rows, self._first = rows, first
        del self._before[max(alike + 1, 0) :]
        if not self._before:
            self._before.append({s.name: _zeros(s.shape) for s in self._states})
        past = told.struck(model.card.grid.pitches)
        # Only what is struck up to a note is its past.
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
    """The states among the outputs of a step, as the next one takes them."""
    return {name.removesuffix("_next"): value for name, value in outputs.items() if name.endswith("_next")}


def _alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> int:
    """How many rows at the beginning are the same."""
    both = min(len(a), len(b))
    other = np.flatnonzero((a[:both] != b[:both]).any(axis=1)) if both else np.zeros(0, int)
    return int(other[0]) if len(other) else both


def _zeros(shape: tuple[int | str, ...]) -> Tensor:
    return np.zeros([1 if d == "batch" else int(d) for d in shape], np.float32)


def plain(model: Model) -> dict[str, Tensor]:
    """Inputs of a step that is only heard, or that nothing is asked of but what the network finds likely."""
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
    """Hears what has been played of a loop so far, so that less is to be heard when it is to be continued.

    Args:
        model: what hears.
        past: what was played before the loop, the oldest first.
        loop: what was played of it so far.
        knobs: by name; those that name a key.
        stop: asked before each note whether there is something better to do.
    """
    scale = scale_of((n for heard in (*past, loop) for n in heard.notes), knobs)
    if scale is not None:
        hearing(model).hear(model, told_to(model, past, loop, into_c(scale)), stop)


def hearing(model: Model) -> Hearing:
    """What a model has heard so far."""
    if model not in _HEARINGS:
        _HEARINGS[model] = Hearing(model)
    return _HEARINGS[model]


def told_to(model: Model, past: Sequence[Loop], loop: Loop, up: int) -> Told:
    """What was played as a model is told it, `up` semitones from where it was."""
    return tell((*past, loop), up, spelling_of(model), model.card.grid, known=HEARD + len(loop))


def spelling_of(model: Model) -> Spelling:
    """How a model spells notes."""
    spelling = model.card.spelling
    assert spelling is not None  # a card of the role has one
    return spelling
