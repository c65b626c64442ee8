"""The Lightning module that trains an architecture, and the callback that keeps to a budget.

Tasks are reproducible, every part has an optimiser of its own, and the weights are averaged.
"""

from __future__ import annotations

import copy
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from math import ceil, cos, pi
from types import FrameType
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from rtgen.errors import UserError
from train import muon
from train.config import Config
from train.models import build
from train.models.base import Architecture, Source, Task

WARMUP = 0.02
"""Share of the budget over which the learning rate rises to its peak."""
LAST, BEST = "last.ckpt", "best.ckpt"


class Stop(Exception):  # noqa: N818
    """Raised by `progress` to save and end a run; its message is the reason."""


@dataclass(slots=True)
class State:
    """Progress of a run.

    Args:
        step: batches so far.
        elapsed_s: seconds of training, including those before a resumption.
        share: of the budget used so far, 0-1.
        loss: of the last step.
        valid: metrics of the last validation.
        stopped: why the run ended before its budget; empty if it did not.
    """

    step: int
    elapsed_s: float
    share: float
    loss: float
    valid: Mapping[str, float]
    stopped: str = ""


def learning_rate(share: float, config: Config) -> float:
    """Learning rate after `share` (0-1) of the budget: linear warm-up, then cosine decay to 1 % of the peak."""
    if config.schedule == "constant":
        return config.learning_rate
    if share < WARMUP:
        return config.learning_rate * max(share / WARMUP, 0.01)
    down = min((share - WARMUP) / (1 - WARMUP), 1.0)
    return config.learning_rate * (0.01 + 0.99 * (1 + cos(pi * down)) / 2)


class Training(LightningModule):
    """Lightning module that trains an architecture.

    Args:
        config: the configuration.
        settings: of the architecture, including those derived from the music.
        train: training loops; None to inspect a finished run.
        valid: validation loops.
        begun_with: training facts (`BEGINNING`) of the model that the weights were initialised from.
    """

    def __init__(
        self,
        config: Config,
        settings: Mapping[str, Any],
        train: Source | None = None,
        valid: Source | None = None,
        begun_with: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # an architecture may train its parts in turn
        self.save_hyperparameters(
            {"config": asdict(config), "settings": dict(settings), "begun_with": dict(begun_with or {})}
        )
        self.config, self.train_source, self.valid_source = config, train, valid
        self.net = build(config.model, settings)
        self.average: Architecture = copy.deepcopy(self.net).requires_grad_(False)
        self.seen: Tensor
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.batch = config.batch
        """Loops per step, over all processes."""
        self.share = 0.0
        self.elapsed_s = 0.0
        self.loss = float("nan")

    # ---- data -----------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> DataLoader[Task]:
        """An endless stream of tasks."""
        return DataLoader(_Tasks(self), batch_size=None)

    def val_dataloader(self) -> DataLoader[int]:
        """One dummy batch: `Architecture.judge` draws its own loops."""
        return DataLoader([0], batch_size=None)  # type: ignore[arg-type]

    # ---- learning -------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One optimiser per part, or two with Muon, which handles only matrices."""
        self._of_part: dict[str, slice] = {}
        every: list[torch.optim.Optimizer] = []
        for part, own in self.net.parts().items():
            found = self._optimisers(list(own))
            self._of_part[part] = slice(len(every), len(every) + len(found))
            every += found
        for optimiser in every:
            for group in optimiser.param_groups:
                group["peak"] = group["lr"]
        return every

    def _optimisers(self, weights: list[torch.nn.Parameter]) -> list[torch.optim.Optimizer]:
        c = self.config
        match c.optimiser:
            case "adam":
                return [torch.optim.Adam(weights, c.learning_rate, c.betas)]
            case "rmsprop":
                return [torch.optim.RMSprop(weights, c.learning_rate)]
        wide = muon.matrices(self.net, weights) if c.optimiser == "muon" else []
        turned = {id(p) for p in wide}
        rest = [p for p in weights if id(p) not in turned]
        found: list[torch.optim.Optimizer] = []
        if rest:
            found.append(torch.optim.AdamW(rest, c.learning_rate, c.betas, weight_decay=c.weight_decay))
        if wide:
            found.append(muon.Muon(wide, muon.FASTER * c.learning_rate, c.weight_decay))
        return found

    def training_step(self, task: Task, _number: int) -> None:
        """Takes an optimiser step on every loss of the architecture.

        Raises:
            UserError: a loss is not finite.
        """
        found: Any = self.optimizers()
        every = found if isinstance(found, list) else [found]
        rate = learning_rate(self.share, self.config)
        total = 0.0
        for aim in self.net.aims(task):
            value = float(aim.loss.detach())
            if not np.isfinite(value):
                raise UserError(
                    f"the loss ({aim.part}) became {value} at step {int(self.seen)}; the last good weights are in "
                    f"{LAST}: export them with 'rtgen-train export --last', and go on from there in a new run with "
                    "--from and a smaller learning_rate"
                )
            optimisers = every[self._of_part[aim.part]]
            for optimiser in optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = group["peak"] * rate / self.config.learning_rate
                optimiser.zero_grad()
            self.manual_backward(aim.loss)
            if self.config.clip:
                torch.nn.utils.clip_grad_norm_(list(self.net.parts()[aim.part]), self.config.clip)
            for optimiser in optimisers:
                optimiser.step()
            name = "loss" if aim.part == "all" else f"loss_{aim.part}"
            self.log_dict({f"train/{name}": value} | {f"train/{k}": float(v) for k, v in aim.log.items()})
            total += value
        self.log("train/rate", rate)
        self.loss = total
        self.seen += 1
        self._move_average()

    @torch.no_grad()
    def _move_average(self) -> None:
        # The memory is short at first, so that the untrained weights are soon forgotten.
        step, over = int(self.seen), self.config.average_over
        keep = min(1 - 1 / over, step / (step + 10)) if over else 0.0
        for kept, fresh in zip(self.average.parameters(), self.net.parameters(), strict=True):
            kept.lerp_(fresh, 1 - keep)
        for old, new in zip(self.average.buffers(), self.net.buffers(), strict=True):
            old.copy_(new)  # running statistics of batch norms

    def validation_step(self, *_: object) -> None:
        """Validates the averaged weights."""
        assert self.valid_source is not None
        self.average.eval()
        figures = self.average.judge(self.valid_source)
        self.log_dict({f"valid/{name}": value for name, value in figures.items()}, batch_size=1)


class _Tasks(IterableDataset[Task]):
    """Endless tasks; task n depends only on seed, n and rank, so a resumed run equals an uninterrupted one."""

    def __init__(self, training: Training) -> None:
        self._training = training

    def __iter__(self) -> Iterator[Task]:
        training = self._training
        assert training.train_source is not None
        step, share = int(training.seen), ceil(training.batch / training.trainer.world_size)
        while True:
            rng = np.random.default_rng([training.config.seed, step, training.global_rank])
            yield training.net.draw(training.train_source, share, rng)
            step += 1


class Budget(Callback):
    """Callback that measures training time, reports progress and ends the run at the end of its budget.

    Args:
        seconds: total training time; None: the epochs end the run.
        steps: total steps of all epochs.
        progress: called after each step.
    """

    def __init__(self, seconds: float | None, steps: int, progress: Callable[[State], None]) -> None:
        self._seconds, self._steps, self._progress = seconds, steps, progress
        self.elapsed_s = 0.0
        self.stopped = ""
        self._last = 0.0
        self._before: dict[int, Any] = {}

    def state_dict(self) -> dict[str, float]:
        """State for the checkpoint."""
        return {"elapsed_s": self.elapsed_s}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Restores the elapsed time."""
        self.elapsed_s = state_dict["elapsed_s"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes SIGTERM and Ctrl-C save and stop the run."""
        del trainer, pl_module

        def stop(number: int, _frame: FrameType | None) -> None:
            self.stopped = signal.Signals(number).name

        if threading.current_thread() is threading.main_thread():
            for number in signal.SIGTERM, signal.SIGINT:
                self._before[number] = signal.signal(number, stop)
        self._last = time.monotonic()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores the signal handlers."""
        del trainer, pl_module
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Excludes validation from the training time."""
        del trainer, pl_module
        self._last = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Passes the used share of the budget to the module."""
        del trainer, batch, batch_idx
        assert isinstance(pl_module, Training)
        pl_module.share = self._share(pl_module)

    def _share(self, training: Training) -> float:
        return min(self.elapsed_s / self._seconds if self._seconds else int(training.seen) / self._steps, 1.0)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Adds the step's time, reports progress and stops the run when it is due."""
        assert isinstance(pl_module, Training)
        now = time.monotonic()
        self.elapsed_s, self._last = self.elapsed_s + now - self._last, now
        over = self._share(pl_module) >= 1 or bool(self.stopped)
        # All devices must stop at the same step, or the remaining ones would wait for the others forever.
        if trainer.strategy.reduce_boolean_decision(over, all=False):
            trainer.should_stop = True
        if trainer.is_global_zero:
            try:
                self._progress(state_of(trainer, pl_module, self))
            except Stop as wish:
                self.stopped = str(wish)


def state_of(trainer: Trainer, training: Training, budget: Budget) -> State:
    """Progress of a run."""
    figures = {k.removeprefix("valid/"): float(v) for k, v in trainer.callback_metrics.items() if "valid/" in k}
    share = budget._share(training)
    return State(int(training.seen), budget.elapsed_s, share, training.loss, figures, budget.stopped)
