"""Models with a code under test: trained for a few steps, exported, and played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from rtgen.inference.cells import distance
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.music.note import Loop
from tests.inference.models import KNOBS, melody
from train import config, export, fit, trainer
from train.loops import dataset
from train.loops.dataset import Loops
from train.loops.sample import GRID


def song(loops: list[Loop], *, set_name: str = "set") -> Loops:
    """Loops one after the other, as one track of one song."""
    count = len(loops)
    notes = dataset.from_loops(loops)
    offsets = np.concatenate([[0], np.cumsum([len(loop) for loop in loops])])
    names = np.full(count, set_name)
    return Loops(
        notes,
        offsets,
        sets=names,
        songs=names,
        tracks=names,
        starts=np.arange(count, dtype=np.int32) * dataset.LENGTH,
        bars=np.full(count, 1920, np.int32),
        filled=np.full(count, dataset.LENGTH, np.int32),
        tempos=np.full(count, 120, np.float32),
    )


def trained(
    name: str, data: Path, folder: Path, epochs: int = 1, **architecture: object
) -> tuple[trainer.Training, list[float]]:
    """A run of a configuration made small, and the loss of every step."""
    shipped = config.read(name)
    small = replace(shipped, sets=None, batch=8, architecture={**shipped.architecture, **architecture})
    losses: list[float] = []
    fit.fit(small, data, folder, epochs=epochs, device="cpu", progress=lambda state: losses.append(state.loss))
    return fit.load(folder / trainer.LAST), losses


def exported(run: trainer.Training, data: Path, path: Path) -> tuple[Model, export.Report]:
    """A run as an `.onnx`, read as the daemon reads it."""
    report = export.write(run.average.player(), export.card_of(run, run.average, data), path)
    return Model(path), report


def plays(model: Model) -> None:
    """Every mode of a code gives notes that are neither silence nor a copy, and the same ones when asked again."""
    loop, other = melody(), melody(every=480, up=-5)
    relative = answer(model, loop, "vary", {**KNOBS, "distance": 0.5}, 1)
    assert 0.3 < distance(relative, loop, GRID) < 0.7
    new = answer(model, loop, "generate", KNOBS, 1)
    assert len(loop) // 2 <= len(new) <= len(loop)
    assert distance(new, loop, GRID) > 0.5
    assert new == answer(model, loop, "generate", KNOBS, 1)
    between = answer(model, loop, "blend", {**KNOBS, "blend": 0.5}, 1, ends=(loop, other))
    assert len(other) <= len(between) <= len(loop)
    assert not _same(between, loop)
    assert not _same(between, other)


def _same(a: Loop, b: Loop) -> bool:
    return distance(a, b, GRID) < 0.1
