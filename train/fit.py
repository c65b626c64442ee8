"""The training loop: reproducible tasks, an optimiser per part, averaged weights, resumable runs.

Lightning provides devices, checkpoints and logs; the architectures and their losses are in `train.models`.
"""

from __future__ import annotations

import copy
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from math import ceil, cos, pi
from pathlib import Path
from types import FrameType
from typing import Any, Literal, get_args

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from rtgen.errors import UserError
from rtgen.music.time import Metre
from train import muon, weights
from train.config import Config
from train.loops import dataset
from train.loops.augment import Augmentation
from train.loops.storage import Folder
from train.models import build, kind
from train.models.base import Architecture, Source, Task
from train.prepare.sources.find import open_file

WARMUP = 0.02
"""Share of the budget over which the learning rate rises to its peak."""
CHECK_EVERY_S = 180.0
"""Seconds between validations and checkpoints under a time budget."""
CHECK_AFTER = 50
"""Fewest steps between them when counting epochs, since an epoch of few loops is very short."""
LAST, BEST = "last.ckpt", "best.ckpt"
BEGINNING = ("commands", "config", "loops_seen", "wall_s")
"""Training facts of the base model that are kept on the card of a run initialised from it."""
Device = Literal["auto", "cpu", "cuda", "mps"]
DEVICES: tuple[Device, ...] = get_args(Device)


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
                    f"{LAST}: continue from there with --resume and a smaller learning_rate"
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


# ---- runs ------------------------------------------------------------------------------------------------------------


def source(data: Path | str, split: str, config: Config) -> Source:
    """Loads the two-bar loops of a split; those of `train` are augmented and in several metres, as configured.

    Raises:
        UserError: there are no loops in the first metre.
    """
    mix = shares(config, dataset.sets_of(data))
    whole = sum(config.metres.values())
    some = {name: share / whole for name, share in config.metres.items()}
    main, *others = some

    def loops(metre: str) -> dataset.Loops:
        bar, repeats = Metre.parse(metre).bar, kind(config.model).repeats
        sets = list(mix) if mix else None
        found = dataset.load(data, split, sets, length=dataset.BARS * bar, bar=bar, duplicates=repeats)
        most = max(round(config.loops * some[metre]), 1)
        if split == "train" and config.loops and most < len(found):
            found = found.pick(np.linspace(0, len(found) - 1, most).astype(np.int64))
        return found

    if split != "train":
        return Source(loops(main), mix)
    varied = Augmentation(**config.augmentation)
    further: list[tuple[Source, float]] = []
    for metre in others:
        with suppress(dataset.NoLoopsError):
            further.append((Source(loops(metre), mix, varied), some[metre]))
    return Source(loops(main), mix, varied, further)


def shares(config: Config, there: Sequence[str]) -> dict[str, float] | None:
    """Share of each set in a batch; None if all loops have equal weight.

    Configured sets that exist keep their shares; the player's own sets, which no configuration names, together get as
    much as these.

    Args:
        config: the configuration.
        there: names of the sets in the dataset.
    """
    if config.sets is None:
        return None
    named = {name: share for name, share in config.sets.items() if name in there}
    own = [name for name in there if name not in {*dataset.SETS, *config.sets}] if config.own else []
    half = (sum(named.values()) or 1.0) / max(len(own), 1)
    return named | dict.fromkeys(own, half) or {**config.sets}


def load(path: Path | str) -> Training:
    """Loads a run from a checkpoint, without its data.

    Raises:
        UserError: the checkpoint is missing, damaged, or from an incompatible version of rtgen.
    """
    try:
        with open_file(str(path)) as file:
            saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; train first with 'rtgen-train fit'") from None
    except Exception as error:
        raise UserError(f"{path} is not a readable checkpoint ({str(error).splitlines()[0]}); train again") from error
    try:
        config = Config.of(dict(saved["hyper_parameters"]["config"]))
        told = saved["hyper_parameters"]
        training = Training(config, told["settings"], begun_with=told.get("begun_with"))
        training.load_state_dict(saved["state_dict"])
        training.elapsed_s = saved["callbacks"][Budget.__name__]["elapsed_s"]
    except (KeyError, TypeError, ValueError, RuntimeError, UserError) as error:
        raise UserError(f"{path} is a checkpoint that this rtgen cannot use ({error}); train again") from error
    return training.eval()


def accelerator(device: Device) -> str:
    """Lightning's name of a device.

    Raises:
        UserError: the device is not available.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device, True):
        raise UserError(f"device {device} is not available; use --device cpu, or auto for the best available")
    if device == "auto":
        return next((name for name, here in there.items() if here), "cpu")
    return device


def precision(name: str) -> Literal["bf16-mixed", "32-true"]:
    """bfloat16 where the hardware computes in it, which is two to three times as fast; losses stay in float32."""
    fast = torch.cuda.is_bf16_supported() if name == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if name in ("cpu", "cuda") and fast else "32-true"


def fit(
    config: Config,
    data: Path | str | tuple[Source, Source],
    folder: Path | str,
    *,
    base: Path | None = None,
    budget_s: float | None = None,
    epochs: int | None = None,
    resume: bool = False,
    device: Device = "auto",
    devices: int = 1,
    place: Mapping[str, Any] | None = None,
    progress: Callable[[State], None] = lambda _state: None,
) -> State:
    """Trains until the budget or the epochs are used up, or SIGTERM or SIGINT arrives; saves in any case.

    Args:
        config: the configuration.
        data: dataset written by `rtgen-train prepare`; or the training and the validation loops.
        folder: of the run (`last.ckpt`, `best.ckpt`, logs); a path, or a URL that fsspec supports.
        base: `.onnx` file to initialise the weights from; None: random weights. Ignored on resumption.
        budget_s: seconds of training, including those before a resumption; None counts epochs.
        epochs: passes over the loops; None uses the configuration's.
        resume: whether to continue the run in `folder`.
        device: to train on.
        devices: number of devices, one process each. If some are lost, a step keeps its number of loops.
        place: Lightning trainer arguments if this is one of several processes started elsewhere; None: this machine.
        progress: called after each step; may raise `Stop`.

    Raises:
        UserError: the data or the run do not match the configuration.
    """
    train, valid = data if isinstance(data, tuple) else (source(data, split, config) for split in ("train", "valid"))
    per_epoch = max(ceil(len(train) / (config.batch * devices)), 1)
    last = f"{folder}/{LAST}"
    if not resume:
        unused(folder)
    before = _gone_on_with(config, last) if resume else None
    settings = dict(before.hparams["settings"]) if before else _settings(config, train)
    seed_everything(config.seed, verbose=False)
    begun_with = before.hparams["begun_with"] if before else None
    training = Training(config, settings, train, valid, begun_with)
    training.batch = config.batch * devices
    if base is not None and not resume:
        card, net = weights.rebuild(base)
        weights.begin(training.net, net, str(base))
        training.average.load_state_dict(training.net.state_dict())
        training.hparams["begun_with"] = {name: card.training.get(name) for name in BEGINNING}
    steps = per_epoch * (epochs or config.epochs)
    budget = Budget(budget_s, steps, progress)
    trainer = _trainer(config, folder, device, place or on_this_machine(devices), budget, per_epoch, budget_s)
    try:
        trainer.fit(training, ckpt_path=last if resume else None, weights_only=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror or error}); free some space, then continue with --resume: "
            "the last checkpoint is intact"
        ) from error
    return state_of(trainer, training, budget)


def unused(folder: Path | str) -> None:
    """Checks that a folder contains no run yet.

    Raises:
        UserError: it contains one.
    """
    if Folder(folder).has(LAST):
        raise UserError(f"{folder}/{LAST} exists; continue with --resume, or choose another folder with --out")


def on_this_machine(devices: int) -> dict[str, Any]:
    """Lightning trainer arguments for devices of this machine; Lightning itself starts the processes."""
    return {"devices": devices, "strategy": "ddp_find_unused_parameters_true" if devices > 1 else "auto"}


def _gone_on_with(config: Config, last: str) -> Training:
    """Loads the run to resume and checks that its configuration is the same."""
    before = load(last)
    if before.config != config:
        what = "architecture" if before.config.model != config.model else "configuration"
        raise UserError(f"{last} has another {what} ({before.config.model}); choose another folder with --out")
    return before


def _settings(config: Config, train: Source) -> dict[str, Any]:
    """Settings of the architecture, including those derived from the music."""
    return {**config.architecture, **kind(config.model).settings_from(train.loops, config.architecture)}


def _trainer(
    config: Config,
    folder: Path | str,
    device: Device,
    place: Mapping[str, Any],
    budget: Budget,
    per_epoch: int,
    budget_s: float | None,
) -> Trainer:
    logs: list[Logger] = [CSVLogger(folder, name="log", flush_logs_every_n_steps=10)]
    if "://" not in str(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        logs.append(TensorBoardLogger(folder, name="tensorboard"))  # appends, which object storage cannot do
    better, mode = kind(config.model).better
    saved: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False}
    callbacks: list[Callback] = [
        budget,
        ModelCheckpoint(**saved, filename=LAST.removesuffix(".ckpt"), monitor=None, save_top_k=1),
        ModelCheckpoint(**saved, filename=BEST.removesuffix(".ckpt"), monitor=f"valid/{better}", mode=mode),
    ]
    if config.patience:
        callbacks.append(EarlyStopping(f"valid/{better}", patience=config.patience, mode=mode))
    where = accelerator(device)
    _be_quiet()
    return Trainer(
        **place,
        accelerator=where,
        precision=precision(where),
        max_epochs=-1,
        limit_train_batches=max(per_epoch, CHECK_AFTER),
        val_check_interval=timedelta(seconds=CHECK_EVERY_S) if budget_s else None,
        callbacks=callbacks,
        logger=logs,
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _be_quiet() -> None:
    """Silences Lightning's hints (number of workers, devices found), which do not concern the user."""
    for name in "lightning.pytorch", "lightning.fabric":
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
