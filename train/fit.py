"""Training runs: started, resumed and loaded.

Lightning provides devices, checkpoints and logs; the architectures and their losses are in `train.models`.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from rtgen.errors import UserError
from train import weights
from train.config import Config
from train.loops.storage import Folder
from train.models import kind
from train.models.base import Source
from train.precision import precision
from train.prepare.sources.find import open_file
from train.trainer import BEST, LAST, Budget, State, Training, state_of

CHECK_EVERY_S = 180.0
"""Seconds between validations and checkpoints under a time budget."""
CHECK_AFTER = 50
"""Fewest steps between them when counting epochs, since an epoch of few loops is very short."""
BEGINNING = ("commands", "config", "loops_seen", "wall_s")
"""Training facts of the base model that are kept on the card of a run initialised from it."""
Device = Literal["auto", "cpu", "cuda", "mps"]
DEVICES: tuple[Device, ...] = get_args(Device)


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
    architecture = kind(config.model)
    if not isinstance(data, tuple):
        data = architecture.source(data, "train", config), architecture.source(data, "valid", config)
    train, valid = data
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
    architecture = kind(config.model)
    derived = architecture.settings_from(train.loops, config.architecture) if architecture.cuts else {}
    return {**config.architecture, **derived}


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
