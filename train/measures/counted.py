"""N-gram baselines of the role `composer`: probabilities of a note's choices from counts, given earlier choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]

NAMES = ("shift", "pitch", "duration", "velocity")
ORDERS = {"unigram": 0, "Markov, order 1": 1, "Markov, order 3": 3}
"""Number of previous notes that each baseline knows."""
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_BEFORE = 10_000
"""Class for a note before the beginning."""

Context = tuple[str, ...]
"""Context variables, most informative first: a choice and how many notes ago, e.g. `pitch1` for the last pitch."""


def known(notes: Ints, there: NDArray[np.bool_], back: int = 3) -> dict[str, Ints]:
    """Collect the context variables of every note of a stream but the first, by name as in `Context`; each flat.

    Args:
        notes: classes of shift, pitch, duration and velocity, then any others; shape (streams, notes, 4 or more).
        there: whether there is a note, shape (streams, notes).
        back: number of previous notes.
    """
    notes, count = notes[..., : len(NAMES)], notes.shape[1]
    padded = np.concatenate([np.full((len(notes), back - 1, len(NAMES)), _BEFORE), notes], axis=1)
    columns = {}
    for ago in range(back + 1):
        some = padded[:, back - ago : back - ago + count - 1]
        for i, name in enumerate(NAMES):
            columns[f"{name}{ago}"] = some[..., i][there[:, 1:]]
    return columns


@dataclass(frozen=True, slots=True)
class _Level:
    """Counts of classes after each context of one length: sorted keys of pairs and of contexts."""

    pairs: Keys
    times: Ints
    contexts: Keys
    total: Ints
    kinds: Ints


class Counted:
    """Probabilities of one choice given its context (Witten and Bell, The Zero-Frequency Problem, 1991).

    Args:
        columns: variables of the training music, as from `known`.
        choice: one of `NAMES`.
        context: context variables; unseen contexts back off by dropping the last one, and so on.
        classes: number of classes of the choice.
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
        """Hash of the first `length` context variables; collisions are practically impossible."""
        keys = np.full(count, length, np.uint64)
        for name in self._context[:length]:
            keys = (keys * _PRIME) ^ (columns[name].astype(np.uint64) + np.uint64(1))
        return keys

    def chances(self, columns: dict[str, Ints], classes: Ints) -> NDArray[np.float64]:
        """Probabilities of some classes for every note; classes and result have shape (notes, n)."""
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
"""Context of each choice by order: selected greedily on held-out music while the gain was at least .003 bits."""


def contexts(order: int) -> dict[str, Context]:
    """Context of each choice for a model of some order."""
    return dict(zip(NAMES, CONTEXTS[order], strict=True))
