"""Scores of several contenders as a table, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from train.measures.score import bootstrap

Scores = dict[str, dict[str, list[float]]]
"""By contender and measure a value for each loop; values that are no number do not count."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over loops and its 95 % interval."""

    mean: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """The mean of those `values` that are numbers, and its interval."""
        array = np.array([v for v in values if np.isfinite(v)])
        if not len(array):
            return cls(float("nan"), float("nan"), float("nan"), 0)
        return cls(float(array.mean()), *bootstrap(array), len(array))

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f}-{self.high:.3f})" if self.count else "-"


Table = Mapping[str, Mapping[str, Figure]]
"""By contender and measure."""


def table(scores: Scores) -> Table:
    """The figures of scores."""
    return {name: {m: Figure.of(values) for m, values in measures.items()} for name, measures in scores.items()}


def flat(figures: Table, model: str) -> dict[str, float]:
    """`figures` as a card keeps them: the model's own with their intervals, and the means of the others."""
    metrics: dict[str, float] = {}
    for contender, measures in figures.items():
        for measure, figure in measures.items():
            if not figure.count:
                continue
            if contender == model:
                for suffix, value in ("", figure.mean), ("_low", figure.low), ("_high", figure.high):
                    metrics[f"{measure}{suffix}"] = round(value, 4)
            else:
                metrics[f"{measure}_{contender.replace(' ', '_')}"] = round(figure.mean, 4)
    return metrics
