"""Incremental input of a composer: it hears the player's notes one by one while they are played."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.exchange import scale_of
from rtgen.inference.model import Model, Tensor, memory_of
from rtgen.inference.sheet import Read, read
from rtgen.inference.spelling import Spelling
from rtgen.music.key import into_c
from rtgen.music.note import Loop
from rtgen.music.time import PPQN

RECENT = 32 * PPQN
"""Ticks before the loop that a composer hears; what lies before can still be recalled."""

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
        self._before: list[Remembered] = []

    def hear(self, model: Model, heard: Read, stop: Callable[[], bool] = lambda: False) -> Remembered | None:
        """The states before the last note, after hearing all relevant notes before it.

        Args:
            model: the model it was made for.
            heard: what was played.
            stop: called before each note; true to abort for something more urgent.

        Returns:
            The states by name; None if aborted.
        """
        rows = heard.rows()
        alike = _alike(rows, self._rows)
        self._rows = rows
        # What is heard may also be less than before.
        del self._before[min(alike + 1, len(rows)) :]
        if not self._before:
            self._before.append({s.name: _zeros(s.shape) for s in self._states})
        for i in range(len(self._before) - 1, len(rows) - 1):
            if stop():
                return None
            of_note = {name: getattr(heard, name)[i : i + 1] for name in ("note", "place", "known")}
            self._before.append(remembered(model.run(of_note | self._before[-1], memory_of(model.card))))
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
        model: the composer.
        past: loops played before, oldest first.
        loop: what was played of it so far.
        knobs: by name; only those that set the key matter.
        stop: called before each note; true to abort for something more urgent.
    """
    past = recent(past)
    scale = scale_of((n for heard in (*past, loop) for n in heard.notes), knobs)
    if scale is not None:
        hearing(model).hear(model, read((*past, loop), into_c(scale), model.card.grid), stop)


def hearing(model: Model) -> Hearing:
    """The `Hearing` of a model."""
    if model not in _HEARINGS:
        _HEARINGS[model] = Hearing(model)
    return _HEARINGS[model]


def recent(past: Sequence[Loop]) -> Sequence[Loop]:
    """The last loops of at most `RECENT` ticks; at least one, if there is any."""
    first, left = len(past), RECENT
    while first and (first == len(past) or past[first - 1].length <= left):
        first -= 1
        left -= past[first].length
    return past[first:]


def spelling_of(model: Model) -> Spelling:
    """The note classes of a model."""
    spelling = model.card.spelling
    assert spelling is not None  # a card of the role has one
    return spelling
