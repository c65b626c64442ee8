"""Compares generative networks trained on corpora of growing size and variety: `python -m train.compare.corpora`.

The thesis that `dcgan` and `conv_vae` come from trained each on three corpora. On the two smaller ones the GAN failed:
the discriminator was almost perfect and the generator's loss kept rising. The configurations `thesis_*` repeat this;
this module shows their runs side by side:

- accuracy: of the discriminator, at the beginning and at the end of the training;
- loss: of the generator, likewise, or of the VAE;
- notes: per generated loop, if all notes more likely than not are played; in brackets, per held-out loop;
- likeness: of generated to held-out loops (`train.measures.likeness`); in brackets, of the corpus itself. From here on,
  loops are played as the daemon plays them: the likeliest notes, as many as in a held-out loop;
- in key, apart: means of generated loops; in brackets, of held-out ones. `apart` near 0 means that all are the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.random import Generator
from rich.table import Table

from rtgen.errors import UserError
from rtgen.music.note import Loop
from rtgen.terminal import Terminal
from train import fit, logs, plots, trainer
from train.loops import dataset, mix
from train.measures.likeness import likeness, measures
from train.models.base import Source
from train.models.dcgan import Dcgan, loops_of
from train.models.vae import Vae

DRAWN = 512
ENDS = 0.1
"""Share of the steps that counts as the beginning, and as the end."""


def history(run: Path, name: str) -> list[float]:
    """Values of a metric over the course of a run; empty if it was not logged.

    Raises:
        UserError: the run has no log.
    """
    return list(logs.read(run).get(name, {}).values())


def ends(values: Sequence[float]) -> tuple[float, float]:
    """Means over the first and the last `ENDS` of the values."""
    some = max(round(len(values) * ENDS), 1)
    return float(np.mean(values[:some])), float(np.mean(values[-some:]))


def figures(run: Path, data: Path) -> dict[str, Any]:
    """Results of a run.

    Args:
        run: of a GAN or a VAE.
        data: training dataset.

    Raises:
        UserError: there is no such run.
    """
    training = fit.load(run / trainer.LAST)
    net = training.average
    if not isinstance(net, Dcgan | Vae):
        raise UserError(f"{run} is a run of {training.config.model}, which draws no loops; give one of dcgan or a VAE")
    rng = np.random.default_rng(0)
    held_out, corpus = (_some(mix.source(data, split, training.config), rng) for split in ("valid", "train"))
    with torch.no_grad():
        planes = net.planes(torch.from_numpy(rng.standard_normal((DRAWN, net.latents), np.float32)))
    counts = [len(loop) for loop in held_out]
    made, real = measures(loops_of(planes, counts)), measures(held_out)
    alike = measures(loops_of(planes, [round(np.mean(counts))] * DRAWN))  # with equal counts, which play no part
    gan = isinstance(net, Dcgan)
    right = [history(run, f"train/accuracy_{of}") for of in ("real", "drawn")] if gan else []
    return {
        "run": run.name,
        "steps": int(training.seen),
        "minutes": training.elapsed_s / 60,
        "tells_apart": ends(np.mean(right, axis=0).tolist()) if gan else None,
        "loss": ends(history(run, "train/loss_generator" if gan else "train/loss")),
        "notes": (float(np.mean([len(loop) for loop in loops_of(planes)])), float(real["notes"].mean())),
        "like": (likeness(made, real), likeness(measures(corpus), real)),
        "in_key": (float(made["in_key"].mean()), float(real["in_key"].mean())),
        "apart": (float(alike["apart"].mean()), float(real["apart"].mean())),
    }


def pictures(runs: Sequence[Path], data: Path, folder: Path) -> None:
    """Writes `losses.png`, with curves of each run, and `drawn.png`, with generated loops as rtgen plays them.

    Args:
        runs: of GANs or VAEs.
        data: training dataset.
        folder: for the pictures.
    """
    panels: dict[str, plots.Series] = {}
    rows = []
    for run in runs:
        log = logs.read(run)
        shown = {words: log[name] for name, words in _LINES.items() if name in log}
        panels[run.name] = {words: ([*map(float, v)], list(v.values())) for words, v in shown.items()}
        training = fit.load(run / trainer.LAST)
        net = training.average
        assert isinstance(net, Dcgan | Vae)
        rng = np.random.default_rng(0)
        held_out = _some(mix.source(data, "valid", training.config), rng)[:_COLUMNS]
        with torch.no_grad():
            planes = net.planes(torch.from_numpy(rng.standard_normal((len(held_out), net.latents), np.float32)))
        drawn = loops_of(planes, [len(loop) for loop in held_out])
        rows.append([(run.name if not i else "", loop) for i, loop in enumerate(drawn)])
    plots.save(plots.curves(panels), folder / "losses.png")
    plots.save(plots.rolls(rows), folder / "drawn.png")


def _some(source: Source, rng: Generator) -> list[Loop]:
    sample = source.draw(DRAWN, rng)
    return dataset.to_loops(sample.notes, sample.count, sample.length)


def main(
    runs: Annotated[list[Path] | None, typer.Argument(metavar="RUN...", help="Runs; default: runs/thesis_*.")] = None,
    data: Annotated[Path, typer.Option(help="Dataset written by prepare.")] = Path("data/loops"),
    out: Annotated[Path | None, typer.Option(help="Folder for pictures of losses and generated loops.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Compare runs of generative networks side by side."""
    runs = runs or sorted(path for path in Path("runs").glob("thesis_*") if path.is_dir())
    if out:
        pictures(runs, data, out)
    found = [figures(run, data) for run in runs]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = Table("run", "steps", "minutes", "accuracy", "loss", "notes", "likeness", "in key", "apart")
    for one in found:
        told, lost = one["tells_apart"], one["loss"]
        table.add_row(
            one["run"],
            str(one["steps"]),
            f"{one['minutes']:.1f}",
            f"{told[0]:.2f} to {told[1]:.2f}" if told else "",
            f"{lost[0]:.1f} to {lost[1]:.1f}",
            *(
                f"{made:.{digits}f} ({real:.{digits}f})"
                for name, digits in _DIGITS.items()
                for made, real in [one[name]]
            ),
        )
    Terminal(width=140).print(table)


_COLUMNS = 4
_LINES = {
    "train/accuracy_real": "accuracy on real loops",
    "train/accuracy_drawn": "accuracy on generated loops",
    "train/loss_generator": "generator loss",
    "train/loss": "loss",
}
_DIGITS = {"notes": 1, "like": 2, "in_key": 2, "apart": 2}

if __name__ == "__main__":
    typer.run(main)
