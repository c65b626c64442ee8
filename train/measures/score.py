"""Note F1 between two loops, and bootstrap confidence intervals.

The F1 is that of mir_eval's transcription scores (Raffel et al., mir_eval, 2014), in steps of the roll instead of
seconds.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from rtgen.music.note import Loop
from rtgen.music.time import Grid

Span = tuple[int, int]
"""First step of a note, and the step after its last."""


def note_f1(estimate: Loop, reference: Loop, grid: Grid, *, tolerance: int = 0, offsets: bool = False) -> float:
    """F1 of the notes of `estimate`, 0-1; two empty loops score 1.

    Args:
        estimate: loop to score.
        reference: target loop.
        grid: grid on which onsets are compared.
        tolerance: onset tolerance in steps.
        offsets: also compare the ends, with a tolerance of `tolerance` steps or a fifth of the note.
    """
    if not len(estimate) and not len(reference):
        return 1.0
    made, meant = _spans(estimate, grid), _spans(reference, grid)
    hits = sum(_matches(spans, meant[pitch], tolerance, offsets) for pitch, spans in made.items() if pitch in meant)
    return 2 * hits / (sum(map(len, made.values())) + sum(map(len, meant.values())))


def _spans(loop: Loop, grid: Grid) -> dict[int, list[Span]]:
    spans: dict[int, list[Span]] = defaultdict(list)
    for note in loop.notes:
        first = round(note.onset / grid.step)
        spans[note.pitch].append((first, max(round(note.end / grid.step), first + 1)))
    return spans


def _fits(made: Span, meant: Span, tolerance: int, offsets: bool) -> bool:
    if abs(made[0] - meant[0]) > tolerance:
        return False
    return not offsets or abs(made[1] - meant[1]) <= max(tolerance, 0.2 * (meant[1] - meant[0]))


def _matches(made: list[Span], meant: list[Span], tolerance: int, offsets: bool) -> int:
    """Size of the largest matching, each note used once (augmenting paths, Kuhn's algorithm)."""
    partner: dict[int, int] = {}

    def place(i: int, tried: set[int]) -> bool:
        for j in range(len(meant)):
            if j not in tried and _fits(made[i], meant[j], tolerance, offsets):
                tried.add(j)
                if j not in partner or place(partner[j], tried):
                    partner[j] = i
                    return True
        return False

    return sum(place(i, set()) for i in range(len(made)))


def bootstrap(values: NDArray[np.float64], seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """The 95 % confidence interval of the mean of `values` (one per loop), by the bootstrap (Efron, 1979)."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
