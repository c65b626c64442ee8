"""The training loop, to be read in one sitting."""

from __future__ import annotations

import csv
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from rtgen.errors import UserError
from rtgen.inference.repair import clean
from rtgen.music.roll import Roll
from train import augment, batch, dataset
from train.dataset import LENGTH, Loops
from train.models.loop_denoiser import LoopDenoiser, loss
from train.score import note_f1

WARMUP = 0.02
"""Share of the time in which the learning rate rises to its peak."""
AVERAGE_OVER = 2000
"""Steps over which the weights that are kept are averaged."""
CHECK_EVERY_S = 180.0
"""Seconds between validations and checkpoints."""
VALID_LOOPS = 256
VALID_THRESHOLD = 0.4


@dataclass(frozen=True, slots=True)
class Config:
    """What a model's YAML says."""

    model: str
    sets: Mapping[str, float]
    architecture: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    seed: int = 1


@dataclass(slots=True)
class State:
    """Where a run is.

    Args:
        step: batches seen.
        elapsed_s: seconds of training, those before a resumption included.
        valid_f1: note F1 of the last validation.
    """

    step: int = 0
    elapsed_s: float = 0.0
    valid_f1: float = 0.0


def read_config(name: str | Path) -> Config:
    """The configuration in a YAML file, or the one that comes with rtgen under that name.

    Raises:
        UserError: there is none, or it does not fit.
    """
    own = files("train") / "configs" / f"{name}.yaml"
    path = Path(str(own)) if own.is_file() else Path(name)
    try:
        return Config(**yaml.safe_load(path.read_text()))
    except OSError:
        raise UserError(f"there is no configuration {name}; name a .yaml file or 'loop_denoiser'") from None
    except (TypeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not a configuration ({error}); compare it with those in train/configs") from None


def parse_time(text: str) -> float:
    """Seconds that "90s", "40m" or "1h" stand for.

    Raises:
        UserError: it is none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if not found:
        raise UserError(f"{text!r} is no span of time; write one like 90s, 40m or 1h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def learning_rate(share: float, peak: float) -> float:
    """The rate after `share` (0-1) of the time: up quickly, then down along a cosine to a hundredth."""
    if share < WARMUP:
        return peak * max(share / WARMUP, 0.01)
    down = min((share - WARMUP) / (1 - WARMUP), 1.0)
    return peak * (0.01 + 0.99 * (1 + cos(pi * down)) / 2)


class Sampler:
    """Draws loops so that every set has its share."""

    def __init__(self, loops: Loops, shares: Mapping[str, float]) -> None:
        self.loops = loops
        members = {name: np.flatnonzero(loops.sets == name) for name in shares}
        self.members = {name: found for name, found in members.items() if len(found)}
        weights = np.array([shares[name] for name in self.members])
        self.weights = weights / weights.sum()

    def draw(self, count: int, rng: np.random.Generator) -> dataset.Notes:
        """The notes of `count` loops."""
        names = rng.choice(list(self.members), count, p=self.weights)
        return self.loops.take(np.array([rng.choice(self.members[str(name)]) for name in names]))


def tensors(b: batch.Batch) -> tuple[tuple[Tensor, ...], Tensor]:
    """A batch as the model's inputs and its target."""
    inputs = (b.roll, b.mask, b.phase, b.damage)
    return tuple(torch.from_numpy(x) for x in inputs), torch.from_numpy(b.target)


@torch.no_grad()
def answers(model: LoopDenoiser, notes: dataset.Notes, count: int) -> list[Roll]:
    """What `model` makes of `count` whole loops when it is to judge the damage for itself."""
    rolls = torch.from_numpy(batch.rasterise(notes, count, LENGTH))
    found: list[Roll] = []
    for roll in torch.split(rolls, 64):
        phase = torch.from_numpy(batch.phases(len(roll), LENGTH))
        planes = model(roll, torch.zeros_like(roll[:, 0]), phase, torch.full((len(roll), 1), augment.UNKNOWN))
        found += [Roll(*parts) for parts in zip(*(p.numpy() for p in planes), strict=True)]
    return found


def repaired_f1(
    rolls: Sequence[Roll], heard: dataset.Notes, meant: dataset.Notes, threshold: float = VALID_THRESHOLD
) -> float:
    """Mean exact note F1 of the loops `heard`, repaired after `rolls`, against `meant`."""
    pairs = zip(dataset.to_loops(heard, len(rolls)), dataset.to_loops(meant, len(rolls)), rolls, strict=True)
    grid = augment.GRID
    return float(np.mean([note_f1(clean(played, roll, grid, threshold), goal, grid) for played, goal, roll in pairs]))


def validation(loops: Loops) -> tuple[int, dataset.Notes, dataset.Notes]:
    """A fixed draw of loops, at most `VALID_LOOPS`: how many, damaged as in the evaluation, and as meant."""
    rng = np.random.default_rng(0)
    count = min(VALID_LOOPS, len(loops))
    meant = loops.take(rng.permutation(len(loops))[:count])
    return count, augment.corrupt(meant, np.full(count, augment.EVALUATION_DAMAGE), LENGTH, rng), meant


def build(architecture: Mapping[str, Any]) -> LoopDenoiser:
    """The model that a configuration asks for.

    Raises:
        UserError: it has no such parts.
    """
    try:
        return LoopDenoiser(**architecture)
    except TypeError as error:
        raise UserError(f"the architecture in the configuration is not understood ({error}); correct it") from error


class Run:
    """A training run in a folder: its model, optimiser, average of the weights, and log.

    Args:
        config: what to train.
        folder: for `last.pt` and `log.csv`.
        resume: whether to go on from `last.pt`.

    Raises:
        UserError: there is nothing to resume, or a run would be overwritten.
    """

    def __init__(self, config: Config, folder: Path, resume: bool) -> None:
        self.config, self.path, self.log = config, folder / "last.pt", folder / "log.csv"
        torch.manual_seed(config.seed)
        self.model, self.average = build(config.architecture), build(config.architecture)
        self.average.load_state_dict(self.model.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.state = State()
        if resume:
            self._load()
        elif self.path.exists():
            raise UserError(f"{self.path} exists; go on with --resume, or name another folder with --run")
        folder.mkdir(parents=True, exist_ok=True)

    def _load(self) -> None:
        saved = load_checkpoint(self.path)
        if saved["config"] != asdict(self.config):
            raise UserError(f"{self.path} was made with another configuration; name another folder with --run")
        self.model.load_state_dict(saved["model"])
        self.average.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.state = State(**saved["state"])

    def save(self) -> None:
        """Writes `last.pt`, whole or not at all."""
        saved = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "state": asdict(self.state),
            "config": asdict(self.config),
        }
        partial = self.path.with_suffix(".part")
        torch.save(saved, partial)
        partial.replace(self.path)

    def note(self, **values: float) -> None:
        """Adds a line to `log.csv`."""
        new = not self.log.exists()
        with self.log.open("a", newline="") as file:
            writer = csv.DictWriter(file, values)
            if new:
                writer.writeheader()
            writer.writerow({name: f"{value:.5g}" for name, value in values.items()})

    def train_step(self, b: batch.Batch, rate: float) -> float:
        """One step of gradient descent; the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        inputs, target = tensors(b)
        # bfloat16 is two to three times as fast where the processor knows it; logits and loss stay in float32.
        with torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
            logits = self.model.logits(*inputs)
        value = loss(logits.float(), target)
        self.optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimiser.step()
        self.state.step += 1
        # A short memory at first, so that the average does not drag the untrained weights along.
        keep = min(1 - 1 / AVERAGE_OVER, self.state.step / (self.state.step + 10))
        with torch.no_grad():
            for kept, fresh in zip(self.average.parameters(), self.model.parameters(), strict=True):
                kept.lerp_(fresh, 1 - keep)
        return value.item()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `Run.save` wrote.

    Raises:
        UserError: there is none, or it is damaged.
    """
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; train first with 'rtgen-train fit'") from None
    except Exception as error:
        raise UserError(f"{path} is not a readable checkpoint ({error}); train again") from error
    return saved


def fit(
    config: Config,
    data: Path,
    folder: Path,
    budget_s: float,
    *,
    resume: bool = False,
    progress: Callable[[State, float], None] = lambda _state, _loss: None,
) -> State:
    """Trains until `budget_s` seconds have gone by, or SIGTERM or SIGINT asks for an end; saves either way.

    Args:
        config: what to train.
        data: what `rtgen-train prepare` wrote.
        folder: of the run.
        budget_s: seconds, those before a resumption included.
        resume: whether to go on with the run in `folder`.
        progress: called after each step with the state and the loss.

    Raises:
        UserError: the data or the run do not fit.
    """
    train = Sampler(dataset.load(data, "train", list(config.sets)), config.sets)
    count, heard, meant = validation(dataset.load(data, "valid", list(config.sets)))
    run = Run(config, folder, resume)
    state, stop = run.state, list[int]()
    previous = {
        s: signal.signal(s, lambda number, _frame: stop.append(number)) for s in (signal.SIGTERM, signal.SIGINT)
    }
    started = time.monotonic() - state.elapsed_s
    checked, losses = state.elapsed_s, list[float]()
    try:
        while not stop and state.elapsed_s < budget_s:
            # Seeded by the step, so that a resumed run sees what an unbroken one would have seen.
            rng = np.random.default_rng([config.seed, state.step])
            task = batch.draw(train.draw(config.batch, rng), config.batch, LENGTH, rng)
            rate = learning_rate(state.elapsed_s / budget_s, config.learning_rate)
            losses.append(run.train_step(task, rate))
            state.elapsed_s = time.monotonic() - started
            progress(state, losses[-1])
            if state.elapsed_s - checked >= CHECK_EVERY_S or stop or state.elapsed_s >= budget_s:
                state.valid_f1 = repaired_f1(answers(run.average, heard, count), heard, meant)
                run.note(
                    step=state.step,
                    elapsed_s=state.elapsed_s,
                    rate=rate,
                    loss=float(np.mean(losses)),
                    f1=state.valid_f1,
                )
                run.save()
                checked, losses = state.elapsed_s, []
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return state
