"""Tables of the scores of several contenders, with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from train.measures.score import bootstrap

Scores = dict[str, dict[str, list[float]]]
"""Values per loop, by contender and measure; NaN values are not counted."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over loops with its 95 % confidence interval."""

    mean: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """Mean and interval of the finite `values`."""
        array = np.array([v for v in values if np.isfinite(v)])
        if not len(array):
            return cls(float("nan"), float("nan"), float("nan"), 0)
        return cls(float(array.mean()), *bootstrap(array), len(array))

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f}-{self.high:.3f})" if self.count else "-"


Table = Mapping[str, Mapping[str, Figure]]
"""Figures by contender and measure."""


def table(scores: Scores) -> Table:
    """Summarise scores as figures."""
    return {name: {m: Figure.of(values) for m, values in measures.items()} for name, measures in scores.items()}


def flat(figures: Table, model: str) -> dict[str, float]:
    """Flatten `figures` for a card: the model's own with their intervals, and the means of the other contenders."""
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
