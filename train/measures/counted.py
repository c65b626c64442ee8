"""What a continuer is held against: chances of the choices of a note, counted in music, by what came before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]

NAMES = ("shift", "pitch", "duration", "velocity")
ORDERS = {"unigram": 0, "Markov, order 1": 1, "Markov, order 3": 3}
"""How many notes back each knows."""
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_BEFORE = 10_000
"""A class that stands for there being no note so far back."""

Context = tuple[str, ...]
"""What is known, the most telling first; the name of a choice and how many notes ago: `pitch1` is that of the last."""


def known(notes: Ints, there: NDArray[np.bool_], back: int = 3) -> dict[str, Ints]:
    """What is known of every note but the first of a stream, by name as in `Context`; each flat.

    Args:
        notes: classes, shape (streams, notes, 4).
        there: whether there is a note, shape (streams, notes).
        back: notes.
    """
    count = notes.shape[1]
    padded = np.concatenate([np.full((len(notes), back - 1, 4), _BEFORE), notes], axis=1)
    columns = {}
    for ago in range(back + 1):
        some = padded[:, back - ago : back - ago + count - 1]
        for i, name in enumerate(NAMES):
            columns[f"{name}{ago}"] = some[..., i][there[:, 1:]]
    return columns


@dataclass(frozen=True, slots=True)
class _Level:
    """How often each class came after each context: sorted keys of both, and of contexts alone."""

    pairs: Keys
    times: Ints
    contexts: Keys
    total: Ints
    kinds: Ints


class Counted:
    """Chances of one choice by its context (Witten and Bell, The Zero-Frequency Problem, 1991).

    Args:
        columns: of the music to count in, as `known` has them.
        choice: of `NAMES`.
        context: what is looked at; all of it, or if that never came all but the last, and so on.
        classes: that there are.
    """

    def __init__(self, columns: dict[str, Ints], choice: str, context: Context, classes: int) -> None:
        self._context, self._classes = context, classes
        true = columns[f"{choice}0"].astype(np.uint64)
        self._levels = []
        for length in range(len(context) + 1):
            keys = self._keys(columns, length, len(true))
            pairs, first, times = np.unique(keys * _PRIME + true, return_index=True, return_counts=True)
            contexts, total = np.unique(keys, return_counts=True)
            kinds = np.bincount(np.searchsorted(contexts, keys[first]), minlength=len(contexts))
            self._levels.append(_Level(pairs, times, contexts, total, kinds))

    def _keys(self, columns: dict[str, Ints], length: int, count: int) -> Keys:
        """A number for each context of so many facts; that two get the same is as good as impossible."""
        keys = np.full(count, length, np.uint64)
        for name in self._context[:length]:
            keys = (keys * _PRIME) ^ (columns[name].astype(np.uint64) + np.uint64(1))
        return keys

    def chances(self, columns: dict[str, Ints], classes: Ints) -> NDArray[np.float64]:
        """Of some classes of every note, (notes, n): shape (notes, n)."""
        found = np.full(classes.shape, 1 / self._classes)
        for length, level in enumerate(self._levels):
            keys = self._keys(columns, length, len(classes))
            at, there = _found(level.contexts, keys)
            total, kinds = level.total[at] * there, level.kinds[at] * there
            pair, came = _found(level.pairs, keys[:, None] * _PRIME + classes.astype(np.uint64))
            times = level.times[pair] * came
            weight = np.maximum(total + kinds, 1)[:, None]
            found = np.where(there[:, None], (times + kinds[:, None] * found) / weight, found)
        return found


def _found(these: Keys, wanted: Keys) -> tuple[Ints, NDArray[np.bool_]]:
    at = np.minimum(np.searchsorted(these, wanted), len(these) - 1)
    return at, these[at] == wanted


CONTEXTS: dict[int, Sequence[Context]] = {
    0: ((), (), (), ()),
    1: (
        ("shift1", "duration1", "pitch1"),
        ("pitch1", "shift0", "shift1"),
        ("duration1", "shift0", "shift1"),
        ("velocity1", "pitch1", "shift0"),
    ),
    3: (
        ("shift1", "duration1", "duration2", "shift2", "duration3"),
        ("pitch1", "pitch2", "shift0", "pitch3"),
        ("duration1", "duration2", "shift0", "shift1"),
        ("velocity1", "velocity2", "velocity3"),
    ),
}
"""By order what each choice looks at: found on held-out music, fact by fact, as long as it got better by .003 bits."""


def contexts(order: int) -> dict[str, Context]:
    """By choice what a model of some order looks at."""
    return dict(zip(NAMES, CONTEXTS[order], strict=True))
