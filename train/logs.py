"""Reads the metrics that a run logged, over all its resumptions."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

from rtgen.errors import UserError


def read(run: Path) -> dict[str, dict[int, float]]:
    """Values of each metric by step.

    Raises:
        UserError: there is no log.
    """
    values: dict[str, dict[int, float]] = defaultdict(dict)
    # Each resumption logs into a folder of its own.
    for path in sorted(run.glob("log/version_*/metrics.csv"), key=lambda p: int(p.parent.name.split("_")[1])):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step"))
                for name, value in row.items():
                    if value:
                        values[name][step] = float(value)
    if not values:
        raise UserError(f"{run} has no log; train it first with 'rtgen-train fit'")
    return dict(values)
