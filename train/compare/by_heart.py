"""Learns your own loops by heart and cleans them, as the first system was meant to.

    python -m train.compare.by_heart SET.als

Its author overfitted a denoising autoencoder on the clips of his own Live sets, then tried default settings and little
noise. Here each configuration learns all loops of some sets, and then repairs damaged copies of the same loops. The
damage is that of an evaluation, and new to the network; nothing is held out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rtgen.inference.repair import clean
from rtgen.music.note import Loop
from rtgen.terminal import Terminal
from train import config as configuration
from train import fit, plots, trainer
from train.loops import dataset
from train.loops.augment import Augmentation
from train.loops.dataset import Loops
from train.loops.sample import GRID
from train.models import repairs
from train.models.base import Architecture, Source
from train.prepare import prepare
from train.prepare.cut import Cutting
from train.prepare.sources import find

EXPERIMENTS = ("conv_dae_overfit", "conv_dae_default", "conv_dae_little_noise", "conv_dae")
"""The author's three, and the repaired system."""
STEPS = 600
"""Of the repaired system, which counts none of its own on so few loops."""
SHOWN = 4


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a configuration is worth on the loops that it learnt.

    Args:
        name: of the configuration.
        steps: of training.
        squared_error: per pixel of the picture.
        damaged: note F1 of damaged loops after the repair.
        as_played: the same before it.
        undamaged: note F1 of undamaged loops after a repair.
        rows: damaged loops, what came of them, and what was meant.
    """

    name: str
    steps: int
    squared_error: float
    damaged: float
    as_played: float
    undamaged: float
    rows: Sequence[Sequence[tuple[str, Loop]]]


def loops_of(sets: Sequence[str | Path]) -> Loops:
    """The loops of some Live sets or MIDI files.

    Raises:
        UserError: there are none.
    """
    with tempfile.TemporaryDirectory(prefix="rtgen-by-heart-") as folder:
        prepare.prepare(find.find(sets), Path(folder), Cutting())
        return dataset.load(folder, "all")


def learn(name: str, loops: Loops, steps: int = 0) -> Learnt:
    """Trains a configuration on loops and measures it on the same.

    Args:
        name: of the configuration.
        loops: to learn by heart.
        steps: of training; 0 for the configuration's epochs.
    """
    config = replace(configuration.read(name), sets=None, loops=0)
    by_heart = Source(loops)
    with tempfile.TemporaryDirectory(prefix="rtgen-by-heart-") as folder:
        varied = Source(loops, augmentation=Augmentation(**config.augmentation))
        epochs = -(-steps // -(-len(loops) // config.batch)) if steps else None
        fit.fit(config, (varied, by_heart), folder, epochs=epochs, device="cpu")
        training = fit.load(Path(folder) / trainer.LAST)
    found = training.average.judge(by_heart)
    return Learnt(
        name,
        int(training.seen),
        found.get("squared_error", found["loss"]),
        found["note_f1"],
        found["note_f1_as_played"],
        found["note_f1_undamaged"],
        list(_rows(training.average, by_heart)),
    )


def _rows(net: Architecture, source: Source) -> Sequence[Sequence[tuple[str, Loop]]]:
    """Damaged loops, what the network made of them, and what was meant."""
    settings = net.card(source, source)
    heard, meant = repairs.validation(source, SHOWN, in_key=settings["in_key"])
    rolls = repairs.answers(net.player(), heard, net.device)
    made = [clean(loop, roll, GRID, settings["threshold"]) for loop, roll in zip(heard.loops(), rolls, strict=True)]
    return [
        [("damaged", a), ("repaired", b), ("meant", c)]
        for a, b, c in zip(heard.loops(), made, meant.loops(), strict=True)
    ]


def main(
    sets: Annotated[list[str], typer.Argument(metavar="SET...", help="Live sets, MIDI files, folders, archives.")],
    out: Annotated[Path | None, typer.Option(help="Folder for pictures of damaged and repaired loops.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of the repaired system.")] = STEPS,
) -> None:
    """Learn loops by heart with the first system's three configurations and with the repaired one, and clean them."""
    loops = loops_of(sets)
    table = Table("configuration", "steps", "squared error", "damaged", "as played", "undamaged")
    table.title = f"note F1 of {len(loops)} loops that were learnt by heart"
    for name in EXPERIMENTS:
        one = learn(name, loops, steps if name == EXPERIMENTS[-1] else 0)
        figures = (one.damaged, one.as_played, one.undamaged)
        table.add_row(name, str(one.steps), f"{one.squared_error:.4f}", *(f"{figure:.3f}" for figure in figures))
        if out:
            plots.save(plots.rolls(one.rows), out / f"{name}_by_heart.png")
    Terminal(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
