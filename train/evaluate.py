"""What a model is worth: held-out loops are damaged, repaired as the daemon would repair them, and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.answer import answer
from rtgen.inference.model import Model
from rtgen.music import key
from rtgen.music.note import Loop
from rtgen.music.time import TICKS_PER_SIXTEENTH
from train import augment, dataset
from train.augment import GRID
from train.dataset import LENGTH
from train.score import bootstrap, note_f1

Repair = Callable[[Loop], Loop]
MEASURES: dict[str, tuple[int, bool]] = {"exact": (0, False), "near": (1, False), "near_and_end": (1, True)}
"""Steps that an onset may be off, and whether the end counts."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over loops and its 95 % interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """The mean of `values` and its interval."""
        array = np.array(values)
        return cls(float(array.mean()), *bootstrap(array))

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f}-{self.high:.3f})"


def nearest_sixteenth(loop: Loop) -> Loop:
    """Baseline: every onset on the nearest sixteenth."""
    notes = (
        replace(n, onset=min(round(n.onset / TICKS_PER_SIXTEENTH) * TICKS_PER_SIXTEENTH, loop.length - 1))
        for n in loop.notes
    )
    return loop.with_notes(notes)


def in_scale(loop: Loop) -> Loop:
    """Baseline: without the notes that are not in the key that the loop seems to be in."""
    found = key.estimate(loop.notes)
    return loop if found is None else loop.with_notes(n for n in loop.notes if found.contains(n.pitch))


BASELINES: Mapping[str, Repair] = {
    "identity": lambda loop: loop,
    "nearest sixteenth": nearest_sixteenth,
    "in scale": in_scale,
}


def tasks(data: Path, split: str, name: str, count: int, seed: int) -> list[tuple[Loop, Loop]]:
    """Loops as damaged and as meant, by a fixed draw.

    Args:
        data: what `rtgen-train prepare` wrote.
        split: of which loops.
        name: of the set.
        count: loops; all of them if there are fewer.
        seed: of the choice and of the damage.

    Raises:
        UserError: there are no such loops.
    """
    loops = dataset.load(data, split, [name])
    rng = np.random.default_rng(seed)
    chosen: NDArray[np.int64] = rng.permutation(len(loops))[:count]
    meant = loops.take(chosen)
    damage = np.full(len(chosen), augment.EVALUATION_DAMAGE)
    heard = augment.corrupt(meant, damage, LENGTH, rng)
    return list(
        zip(dataset.to_loops(heard, len(chosen)), dataset.to_loops(meant, len(chosen)), strict=True),
    )


def measure(repair: Repair, pairs: Sequence[tuple[Loop, Loop]]) -> dict[str, Figure]:
    """Note F1 by each of `MEASURES`, and `clean`: exact note F1 on undamaged loops, which should stay as they are."""
    answers = [repair(heard) for heard, _ in pairs]
    figures = {
        name: Figure.of(
            [
                note_f1(made, meant, GRID, tolerance=tolerance, offsets=offsets)
                for made, (_, meant) in zip(answers, pairs, strict=True)
            ]
        )
        for name, (tolerance, offsets) in MEASURES.items()
    }
    figures["clean"] = Figure.of([note_f1(repair(meant), meant, GRID) for _, meant in pairs])
    return figures


def evaluate(model: Model, pairs: Sequence[tuple[Loop, Loop]]) -> dict[str, dict[str, Figure]]:
    """The figures of each baseline and of `model`, played as the daemon plays it in the mode `clean`."""
    repairs = {**BASELINES, model.card.name: lambda loop: answer(model, loop, "clean", {}, 0)}
    return {name: measure(repair, pairs) for name, repair in repairs.items()}


def card_metrics(figures: Mapping[str, Mapping[str, Figure]], name: str) -> dict[str, float]:
    """`figures` as a card keeps them: the model's own with their intervals, and the means of the baselines."""
    metrics: dict[str, float] = {}
    for repair, measures in figures.items():
        for measure_name, figure in measures.items():
            if repair == name:
                metrics[f"f1_{measure_name}"] = round(figure.mean, 4)
                metrics[f"f1_{measure_name}_low"] = round(figure.low, 4)
                metrics[f"f1_{measure_name}_high"] = round(figure.high, 4)
            else:
                metrics[f"f1_{measure_name}_{repair.replace(' ', '_')}"] = round(figure.mean, 4)
    return metrics
