"""What each latent dimension of a model moves: the feature of a loop that rises or falls most steadily along it.

    python -m train.measures.latents MODEL.onnx --data data/loops

A dimension sweeps its range while the others stay those of a loop, and the decoded loops are measured
(`train.measures.features`). The feature is chosen on validation loops and its rank correlation measured on test loops,
since the best of a hundred is good by chance on the loops on which it was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from rtgen.inference import latent
from rtgen.inference.frame import in_c
from rtgen.inference.lengths import parts
from rtgen.inference.model import Model
from rtgen.music.note import Loop
from rtgen.terminal import Terminal
from train.loops import dataset
from train.measures.features import Features, of_loop
from train.measures.knobs import POSITIONS, decoded
from train.measures.music import spearman

ENOUGH = 0.8
"""Rank correlation from which a dimension counts as one that moves something."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What a dimension moves.

    Args:
        latent: its name on the card.
        feature: what it moves, as in `train.measures.features`.
        rank: mean rank correlation with it on test loops, -1 to 1.
    """

    latent: str
    feature: str
    rank: float


def moved(model: Model, valid: Sequence[Loop], test: Sequence[Loop]) -> list[Moved]:
    """Find what every dimension of a model's code moves.

    Args:
        model: an autoencoder.
        valid: loops to choose the features on.
        test: loops to measure them on.
    """
    chosen, measured = (ranks(model, loops) for loops in (valid, test))
    found = []
    for i, dimension in enumerate(model.card.latents):
        best = max(chosen[i], key=lambda name: abs(chosen[i][name]))
        found.append(Moved(dimension.name, best, measured[i].get(best, 0.0)))
    return found


def ranks(model: Model, loops: Sequence[Loop]) -> list[Features]:
    """Mean rank correlation of every dimension with every feature of the loops that it decodes."""
    some = [in_c(model.card, parts(loop, model.card)[0])[1] for loop in loops if loop.notes]
    codes = [latent.code_of(model, loop) for loop in some]
    found: list[Features] = []
    for i, dimension in enumerate(model.card.latents):
        each: dict[str, list[float]] = {}
        for code in codes:
            way = np.repeat(code[None], len(POSITIONS), axis=0)
            way[:, i] = dimension.low + (dimension.high - dimension.low) * np.array(POSITIONS)
            for name, values in _features(decoded(model, way)).items():
                each.setdefault(name, []).append(spearman(POSITIONS, values.round(6).tolist()))
        found.append({name: sum(all_) / len(codes) for name, all_ in each.items()})
    return found


def _features(loops: Sequence[Loop]) -> dict[str, NDArray[np.float64]]:
    """Every feature that all of the loops have, along the loops, and the number of notes."""
    rows = [{**of_loop(loop), "notes": float(len(loop))} for loop in loops]
    common = set.intersection(*(set(row) for row in rows))
    columns = {name: np.array([row[name] for row in rows], float) for name in sorted(common)}
    return {name: values for name, values in columns.items() if np.isfinite(values).all()}


def main(
    model: Annotated[Path, typer.Argument(help="An .onnx file of the role autoencoder.")],
    data: Annotated[Path, typer.Option(help="Dataset written by prepare.")] = Path("data/loops"),
    count: Annotated[int, typer.Option(min=1, help="Loops of each split.")] = 40,
) -> None:
    """Print what each latent dimension of a model moves."""
    played, rng = Model(model), np.random.default_rng(0)
    sets = [d.name for d in played.card.data] or None
    valid, test = (dataset.load(data, split, sets) for split in ("valid", "test"))
    found = moved(played, *(loops.as_loops(rng.permutation(len(loops))[:count]) for loops in (valid, test)))
    table = Table("latent", "moves", "rank correlation on test loops", title=f"{played.card.name}, {count} loops")
    for one in found:
        table.add_row(one.latent, one.feature, f"{one.rank:+.2f}")
    Terminal().print(table)
    moving = sum(abs(one.rank) >= ENOUGH for one in found)
    print(f"{moving} of {len(found)} dimensions move something (rank correlation of {ENOUGH:.1f} or more)")


if __name__ == "__main__":
    typer.run(main)
