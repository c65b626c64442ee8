"""`train.fit.fit` on a cluster: in each of several processes that Ray Train starts.

When one of them is lost, those that can be had go on from the last checkpoint of the run.
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
"""How often a training may lose a worker before it gives up."""
_LOOK_S = 0.5
"""Between looks at how far it is."""


class Board:
    """Where workers tell how far they are, and are told to stop; it lives beside whoever started the training."""

    def __init__(self) -> None:
        self._state: State | None = None
        self._failed = ""
        self._stop = ""

    def tell(self, state: State) -> str:
        """Says where the run is; the answer is why to stop, or nothing."""
        self._state = state
        return self._stop

    def fail(self, told: str) -> None:
        """Says what another worker could do no better."""
        self._failed = self._failed or told

    def stop(self, why: str) -> None:
        """Asks for an end."""
        self._stop = why

    def read(self) -> tuple[State | None, str]:
        """Where the run is, and what failed."""
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
    """As `train.fit.fit`, with workers of a cluster; a step is of as many loops, however many of them are left.

    Args:
        config: what to train.
        data: what `rtgen-train prepare` wrote, where every machine finds it.
        folder: of the run, likewise.
        address: as for `cluster`.
        resume: whether to go on with the run in `folder`.
        device: to train on; with `auto` GPUs, if the cluster has any.
        devices: how many workers at the most. One is enough to go on.
        threads: cores of each.
        progress: called twice a second.
        how: whatever else `train.fit.fit` takes.

    Raises:
        UserError: there is no such cluster, it is too small, or the data or the run do not fit.
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
    """What keeps an actor on this machine, whatever other is lost."""
    return {"ray.io/node-id": ray.get_runtime_context().get_node_id()}


def _room(there: Mapping[str, float], device: Device, devices: int, threads: int) -> bool:
    """Whether it is trained on GPUs.

    Raises:
        UserError: the cluster is too small.
    """
    gpus, cores = int(there.get("GPU", 0)), int(there.get("CPU", 0))
    gpu = device == "cuda" or (device == "auto" and gpus > 0)
    if device == "mps":
        raise UserError("--device mps is of one machine; with --engine ray say cpu or cuda")
    if gpu and gpus < devices:
        raise UserError(f"the cluster has {gpus} GPUs, fewer than --devices {devices}; ask for fewer, or --device cpu")
    if cores < devices * threads:
        raise UserError(f"the cluster has {cores} cores for --devices {devices} of {threads} each; ask for fewer")
    return gpu


def _trainer(settings: dict[str, Any], devices: int, gpu: bool, notes: str) -> Any:
    """What starts the workers, and others in their place.

    Args:
        settings: what they are told.
        devices: how many.
        gpu: for each.
        notes: folder for Ray Train's own; all that is of use is in the run.
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
    """Trains, looks at the board from time to time, and passes SIGTERM and Ctrl-C on; what went wrong is returned."""
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
    """All that a worker does: `train.fit.fit`, from the run's last checkpoint if there is one.

    Args:
        settings: `call`, what `train.fit.fit` is called with; `threads` of torch; the `board`.

    Raises:
        UserError: as `train.fit.fit`; the board knows it.
    """
    import ray
    import torch
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    from train import fit as fitting
    from train import trainer

    call, board = settings["call"], settings["board"]
    if ray.get(board.read.remote())[1]:
        return  # started anew it would fail again
    next_look = 0.0

    def tell(state: State) -> None:
        nonlocal next_look
        if time.monotonic() >= next_look:  # a step may take no longer than the way to the board
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
