"""Fine-tunes a shipped denoiser on the player's own loops, as far as it forgets nothing.

After gentle fine-tuning, the old and new weights are interpolated (Wortsman et al., Robust Fine-Tuning of Zero-Shot
Models, 2022), with the largest share of new weights that leaves good playing alone and repairs other music as before.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rtgen.errors import UserError
from rtgen.inference.card import Card, Data
from rtgen.music.note import Loop, Note
from train import export, fit, trainer, weights
from train.config import Config
from train.loops import dataset
from train.loops.augment import Augmentation
from train.loops.dataset import LENGTH, Loops
from train.loops.sample import Sample
from train.models import repairs
from train.models.base import Architecture, Source
from train.models.images import Planes
from train.prepare import prepare
from train.prepare.cut import Cutting
from train.prepare.sources.find import find

SHARES = (1.0, 0.75, 0.5, 0.25)
"""Shares of the new weights in the mixture, tried in this order."""
HARM, FORGOTTEN = 0.005, 0.01
"""Largest acceptable loss of note F1 on undamaged loops, and on other music."""
HELD_OUT = 0.15
"""Share of the songs that is held out; with fewer than four songs, share of the loops."""
LEARNING_RATE = 3e-4
FEWEST = 40
"""Fewest loops that are worth training on."""


@dataclass(frozen=True, slots=True)
class Worth:
    """Note F1 (exact) of a model.

    Args:
        yours: on the player's held-out loops, damaged and repaired.
        clean: on the same loops, undamaged.
        other: on other music, damaged and repaired.
    """

    yours: float
    clean: float
    other: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of `personal`.

    Args:
        path: of the new model.
        loops: number of training loops.
        held_out: number of held-out loops.
        share: of the new weights in the mixture; 0 if none could be used.
        base: note F1 of the base.
        own: note F1 of the new model.
    """

    path: Path
    loops: int
    held_out: int
    share: float
    base: Worth
    own: Worth


def personal(
    sources: Sequence[str | Path],
    base: Path,
    out: Path,
    *,
    name: str,
    budget_s: float = 180.0,
    other: Path | None = None,
    progress: Callable[[trainer.State], None] = lambda _: None,
) -> Outcome:
    """Fine-tunes a denoiser on a player's music and writes the result as a new model.

    Args:
        sources: files, folders or archives of the player's music.
        base: the `.onnx` to start from.
        out: folder for the new model.
        name: of the new model.
        budget_s: seconds of training.
        other: a dataset of other music that must not be forgotten; None: generated exercises.
        progress: called after each step.

    Raises:
        UserError: the base cannot be trained, or there is too little music.
    """
    card, net = weights.rebuild(base)
    if card.role != "denoiser":
        raise UserError(f"{base} has the role {card.role}; only denoisers can be fine-tuned so far")
    with tempfile.TemporaryDirectory(prefix="rtgen-personal-") as folder:
        prepare.prepare(find(sources), Path(folder) / "data", Cutting())
        loops = dataset.load(Path(folder) / "data", "all")
        if len(loops) < FEWEST:
            raise UserError(
                f"there are only {len(loops)} two-bar loops in this music, and fine-tuning needs {FEWEST} or more; add "
                "some files"
            )
        train, valid = halves(loops)
        judges = Source(valid), Source(_other(other))
        before = worth(net, card, *judges)
        config = Config(
            card.training["config"]["model"],
            architecture=card.training["settings"],
            batch=32,
            learning_rate=LEARNING_RATE,
            average_over=200,
        )
        varied = Source(train, augmentation=Augmentation(transpose=True, shift=True, velocity=True))
        run = Path(folder) / "run"
        fit.fit(config, (varied, judges[0]), run, base=base, budget_s=budget_s, progress=progress)
        trained = fit.load(run / trainer.LAST).average
    share, mixture, after = choose(net, trained, card, before, judges)
    own = replace(
        card,
        name=name,
        description=f"{card.description} Fine-tuned on {', '.join(Path(s).stem for s in sources)}.",
        data=(*card.data, Data(", ".join(Path(s).name for s in sources), "the user's own")),
        metrics={f"{k}_{of}": round(getattr(w, k), 4) for of, w in (("base", before), ("own", after)) for k in _WORTH},
        training={**card.training, "base": card.name, "share": share, "own_loops": len(train)},
    )
    path = out / f"{name}.onnx"
    export.write(mixture.player(), own, path)
    return Outcome(path, len(train), len(valid), share, before, after)


_WORTH = ("yours", "clean", "other")


def halves(loops: Loops) -> tuple[Loops, Loops]:
    """Splits loops into training and held-out ones: by whole songs, or the last loops if there are few songs."""
    songs = sorted(set(loops.songs.tolist()))
    if len(songs) < 4:
        border = round(len(loops) * (1 - HELD_OUT))
        return loops.pick(np.arange(border)), loops.pick(np.arange(border, len(loops)))
    chosen = np.random.default_rng(0).permutation(len(songs))[: max(round(len(songs) * HELD_OUT), 1)]
    held = np.isin(loops.songs, [songs[i] for i in chosen])
    return loops.pick(np.flatnonzero(~held)), loops.pick(np.flatnonzero(held))


def _other(data: Path | None) -> Loops:
    return dataset.load(data, "valid") if data else as_loops([exercise(seed) for seed in range(96)])


def as_loops(loops: Sequence[Loop]) -> Loops:
    """Wraps loops as if they had been loaded from a dataset."""
    notes = dataset.from_loops(loops)
    offsets = np.searchsorted(notes[:, 0], np.arange(len(loops) + 1))
    names = np.array(["exercises"] * len(loops))
    bars, filled = np.full(len(loops), loops[0].bar, np.int32), np.full(len(loops), LENGTH, np.int32)
    starts, tempos = np.zeros(len(loops), np.int32), np.full(len(loops), 120, np.float32)
    return Loops(notes, offsets, names, names, names, starts, bars, filled, tempos)


def exercise(seed: int) -> Loop:
    """Generates a two-bar exercise: a chord per half bar in the left hand, the same chord broken in the right."""
    rng = np.random.default_rng(seed)
    tonic, steps = int(rng.integers(48, 60)), rng.choice([1, 2], 4)
    scale = (0, 2, 4, 5, 7, 9, 11) if rng.random() < 0.5 else (0, 2, 3, 5, 7, 8, 10)
    unit = int(rng.choice([240, 320, 480]))
    notes: list[Note] = []
    for half in range(4):
        root = int(rng.integers(7))
        chord = [tonic + scale[(root + i) % 7] + 12 * ((root + i) // 7) for i in (0, 2, 4)]
        notes += [Note(960 * half, pitch - 12, 900, 70) for pitch in chord]
        for i in range(960 // unit):
            notes.append(Note(960 * half + i * unit, chord[i * int(steps[half]) % 3] + 12, unit - 40, 84))
    return Loop(LENGTH, tuple(notes)).monophonic_by_pitch()


def worth(net: Architecture, card: Card, yours: Source, other: Source) -> Worth:
    """Measures a denoiser on the player's music and on other music."""
    player, threshold = net.player(), card.threshold
    defaults = [torch.tensor([c.default]) for c in card.conditions]

    def denoise(roll: Tensor, mask: Tensor, phase: Tensor) -> Planes:
        planes: Planes = player(roll, mask, phase, *(x.expand(len(roll), -1) for x in defaults))
        return planes

    def f1(heard: Sample, meant: Sample) -> float:
        return repairs.repaired_f1(repairs.answers(denoise, heard, net.device), heard, meant, threshold)

    of_yours, of_other = (repairs.validation(some, in_key=card.in_key) for some in (yours, other))
    return Worth(f1(*of_yours), f1(of_yours[1], of_yours[1]), f1(*of_other))


def choose(
    net: Architecture, trained: Architecture, card: Card, before: Worth, judges: tuple[Source, Source]
) -> tuple[float, Architecture, Worth]:
    """The mixture with most new weights that is as good on the player's loops and, within limits, on all others.

    Returns:
        The share of new weights (0 if no mixture qualifies), the mixture, and its note F1.
    """
    for share in SHARES:
        mixed = mix(net, trained, share)
        after = worth(mixed, card, *judges)
        harmless = after.clean >= before.clean - HARM and after.other >= before.other - FORGOTTEN
        if harmless and after.yours >= before.yours:
            return share, mixed, after
    return 0.0, net, before


@torch.no_grad()
def mix(a: Architecture, b: Architecture, share: float) -> Architecture:
    """A network with weights interpolated linearly from `a` (share 0) to `b` (share 1)."""
    mixed = copy.deepcopy(a)
    for kept, old, new in zip(mixed.parameters(), a.parameters(), b.parameters(), strict=True):
        kept.copy_(old + (new - old) * share)
    return mixed.eval()
