"""What the parts of answers cost: runs of the network, notes, and processor time.

    python -m train.measures.cost models/composer.onnx --card

Runs are the same on any machine; times are of one machine, which the card names.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import onnxruntime
import typer
from rich.table import Table

from rtgen.bench.figures import quantile
from rtgen.bench.hot import Watched, samples
from rtgen.inference.card import Card
from rtgen.terminal import Terminal

PARTS = ("first", "further")
_COUNT, _TAKES = 100, 3
"""Answers in each mode, and how often each is given: its shortest time counts, as other programs make it longer."""
app = typer.Typer(add_completion=False)


class _OwnTime(Watched):
    """Counts the time of its own thread."""

    clock = staticmethod(time.thread_time)


def costs(path: Path, count: int = _COUNT) -> dict[str, float]:
    """What the first and each further part of an answer costs, in every mode: mean runs and notes, and milliseconds.

    Args:
        path: of the model; if its answers do not come in parts, nothing is found.
        count: answers in each mode.
    """
    found: dict[str, float] = {}
    model = _OwnTime(path)
    if not model.card.kind.hears:
        return found
    for takes in zip(*(samples([("onnxruntime", model)], count) for _ in range(_TAKES)), strict=True):
        for part in PARTS:
            name, each = f"{takes[0]['mode']}_{part}", takes[0][part]
            if not each:
                continue
            found |= {f"{name}_{what}": round(fmean(cost[what] for cost in each), 2) for what in ("runs", "notes")}
            took = [min(cost["ms"] for cost in same) for same in zip(*(take[part] for take in takes), strict=True)]
            found |= {f"{name}_ms": round(quantile(took, 0.5), 2), f"{name}_ms_p99": round(quantile(took, 0.99), 2)}
    return found


def timed_on() -> str:
    """What a card says of this machine."""
    return f"{os.cpu_count()} cores, {platform.machine()}, onnxruntime {onnxruntime.__version__}"


def rows(card: Card) -> list[tuple[str, ...]]:
    """A table of what parts cost, from a card; the first row is the heading."""
    found: list[tuple[str, ...]] = [("mode", "part", "runs", "notes", "ms, p50", "p99")]
    for mode in card.kind.modes:
        for part in PARTS:
            figures = [card.metrics.get(f"{mode}_{part}_{what}") for what in ("runs", "notes", "ms", "ms_p99")]
            if None not in figures:
                found.append((mode, part, *(f"{x:.1f}" for x in figures if x is not None)))
    return found


@app.command()
def main(
    model: Annotated[Path, typer.Argument(help="An .onnx file.")] = Path("models/composer.onnx"),
    count: Annotated[int, typer.Option(min=1, help="Answers in each mode.")] = _COUNT,
    card: Annotated[bool, typer.Option("--card", help="Write the results into the model's card.")] = False,
) -> None:
    """Measure what the parts of a model's answers cost."""
    before = Watched(model).card
    found = costs(model, count)
    changes: dict[str, Any] = {
        "metrics": {**before.metrics, **found},
        "training": {**before.training, "timed_on": timed_on()},
    }
    heading, *others = rows(replace(before, **changes))
    table = Table(*heading, title=f"{before.name}, {timed_on()}")
    for row in others:
        table.add_row(*row)
    Terminal().print(table)
    if card:
        from train.export import rewrite_card

        rewrite_card(model, **changes)


if __name__ == "__main__":
    app()
