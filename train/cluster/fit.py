"""Runs `train.fit.fit` on a cluster, in several processes started by Ray Train.

If one of them is lost, the available ones continue from the run's last checkpoint.
"""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rtgen.errors import UserError
from train.cluster.engine import absolute, cluster
from train.loops import dataset
from train.loops.storage import Folder

if TYPE_CHECKING:
    from train.config import Config
    from train.fit import Device
    from train.trainer import State

LOSSES = 16
"""Number of lost workers that a training survives."""
_LOOK_S = 0.5
"""Seconds between progress updates."""


class Board:
    """Ray actor where workers report progress and are told to stop; runs on the machine that started the training."""

    def __init__(self) -> None:
        self._state: State | None = None
        self._failed = ""
        self._stop = ""

    def tell(self, state: State) -> str:
        """Reports progress; returns the reason to stop, or an empty string."""
        self._state = state
        return self._stop

    def fail(self, told: str) -> None:
        """Records an error that would also occur on any other worker; the first one counts."""
        self._failed = self._failed or told

    def stop(self, why: str) -> None:
        """Requests a stop."""
        self._stop = why

    def read(self) -> tuple[State | None, str]:
        """Latest progress and recorded error."""
        return self._state, self._failed


def fit(
    config: Config,
    data: str | Path,
    folder: str | Path,
    *,
    address: str | None = None,
    resume: bool = False,
    device: Device = "auto",
    devices: int = 1,
    threads: int = 1,
    progress: Callable[[State], None] = lambda _state: None,
    **how: Any,
) -> State:
    """Like `train.fit.fit`, with workers of a cluster; a step has the same number of loops if some are lost.

    Args:
        config: the configuration.
        data: dataset written by `rtgen-train prepare`, reachable from every machine.
        folder: of the run, likewise.
        address: as in `cluster`.
        resume: whether to continue the run in `folder`.
        device: to train on; `auto` uses GPUs if the cluster has any.
        devices: largest number of workers; one is enough to continue.
        threads: cores per worker.
        progress: called up to twice a second.
        how: other arguments of `train.fit.fit`.

    Raises:
        UserError: there is no such cluster, it is too small, or the data or the run do not match the configuration.
    """
    from train.fit import unused

    dataset.manifest(data)
    if not resume:
        unused(folder)
    call = {"config": config, "data": absolute(data), "folder": absolute(folder), "devices": devices, **how}
    with cluster(address, devices * threads) as ray, tempfile.TemporaryDirectory() as notes:
        gpu = _room(ray.cluster_resources(), device, devices, threads)
        call |= {"resume": resume, "device": "cuda" if gpu else "cpu"}
        board = ray.remote(Board).options(num_cpus=0, label_selector=_here(ray)).remote()
        settings = {"call": call, "threads": threads, "board": board}
        failures = _watch(_trainer(settings, devices, gpu, notes).fit, ray, board, progress)
        state: State | None
        state, failed = ray.get(board.read.remote())
    if failed:
        raise UserError(failed)
    for failure in failures:
        raise failure
    assert state is not None
    return state


def _here(ray: Any) -> dict[str, str]:
    """Label selector that keeps an actor on this machine, so that it survives the loss of any other."""
    return {"ray.io/node-id": ray.get_runtime_context().get_node_id()}


def _room(there: Mapping[str, float], device: Device, devices: int, threads: int) -> bool:
    """Whether to train on GPUs.

    Raises:
        UserError: the cluster is too small.
    """
    gpus, cores = int(there.get("GPU", 0)), int(there.get("CPU", 0))
    gpu = device == "cuda" or (device == "auto" and gpus > 0)
    if device == "mps":
        raise UserError("--device mps does not work on a cluster; with --engine ray use cpu or cuda")
    if gpu and gpus < devices:
        raise UserError(f"the cluster has {gpus} GPUs, fewer than --devices {devices}; use fewer, or --device cpu")
    if cores < devices * threads:
        raise UserError(f"the cluster has only {cores} cores for --devices {devices} with {threads} each; use fewer")
    return gpu


def _trainer(settings: dict[str, Any], devices: int, gpu: bool, notes: str) -> Any:
    """Creates the trainer that starts workers and replaces lost ones.

    Args:
        settings: arguments of `worker`.
        devices: largest number of workers.
        gpu: whether each needs a GPU.
        notes: folder for Ray Train's own files, which are not needed later.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    needs = {"CPU": settings["threads"], **({"GPU": 1} if gpu else {})}
    return TorchTrainer(
        worker,
        train_loop_config=settings,
        scaling_config=ScalingConfig(num_workers=(1, devices), use_gpu=gpu, resources_per_worker=needs),
        run_config=RunConfig(name="run", storage_path=notes, failure_config=FailureConfig(max_failures=LOSSES)),
    )


def _watch(train: Callable[[], Any], ray: Any, board: Any, progress: Callable[[State], None]) -> list[Exception]:
    """Trains while polling the board, forwards SIGTERM and Ctrl-C, and returns the errors that occurred."""
    failures: list[Exception] = []

    def work() -> None:
        try:
            train()
        except Exception as error:
            failures.append(error)

    def stop(number: int, _frame: FrameType | None) -> None:
        board.stop.remote(signal.Signals(number).name)

    if threading.current_thread() is threading.main_thread():
        for number in signal.SIGTERM, signal.SIGINT:
            signal.signal(number, stop)
    thread, shown = threading.Thread(target=work, daemon=True), None
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_S)
        state, _ = ray.get(board.read.remote())
        if state is not None and state != shown:
            progress(state)
            shown = state
    return failures


def worker(settings: dict[str, Any]) -> None:
    """Runs `train.fit.fit` in a worker, from the run's last checkpoint if there is one.

    Args:
        settings: `call` (arguments of `train.fit.fit`), `threads` of torch, and the `board`.

    Raises:
        UserError: as `train.fit.fit`; it is also recorded on the board.
    """
    import ray
    import torch
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    from train import fit as fitting
    from train import trainer

    call, board = settings["call"], settings["board"]
    if ray.get(board.read.remote())[1]:
        return  # a restart would fail again
    next_look = 0.0

    def tell(state: State) -> None:
        nonlocal next_look
        if time.monotonic() >= next_look:  # a step may be as short as a call of the board
            next_look = time.monotonic() + _LOOK_S
            if why := ray.get(board.tell.remote(state)):
                raise trainer.Stop(why)

    torch.set_num_threads(settings["threads"])
    processes = {"strategy": RayDDPStrategy(find_unused_parameters=True), "plugins": [RayLightningEnvironment()]}
    call["resume"] |= Folder(call["folder"]).has(trainer.LAST)
    try:
        state = fitting.fit(**call, place={**processes, "devices": "auto"}, progress=tell)
    except UserError as error:
        ray.get(board.fail.remote(str(error)))
        raise
    if ray.train.get_context().get_world_rank() == 0:
        ray.get(board.tell.remote(state))
