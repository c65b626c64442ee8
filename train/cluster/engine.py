"""Connects to a Ray cluster (`--engine ray`) and runs the jobs of `train.prepare.pool` on it with Ray Data.

The work is the same as on one machine. A job runs on any free core, and again on another if that one is lost, so its
output must be written atomically, as the parts of `train.prepare.prepare` are.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from rtgen.errors import UserError

ENGINES = ("local", "ray")
_RETRIES = 3
"""Retries of a task whose worker died."""
_TOGETHER = 16
"""Most jobs per task; starting a task takes some tenths of a second."""
_ROWS = 8
"""Fewest tasks per worker, so that all workers end at about the same time."""
_ANSWER_S = 5.0
"""Timeout in seconds for an address to answer."""
_STORE = 256 << 20
"""Bytes of shared memory if Ray is started here; only file names and counts pass through it."""
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray Train's view of free resources is up to 20 s old; this limits how long it waits for those that are gone.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",
}

Job = TypeVar("Job")
Result = TypeVar("Result")


def check(engine: str, address: str | None) -> None:
    """Checks that the options fit together and that Ray is installed if requested.

    Raises:
        UserError: an option cannot be used.
    """
    if engine not in ENGINES:
        raise UserError(f"--engine {engine} is invalid; use {' or '.join(ENGINES)}")
    if engine == "local":
        if address:
            raise UserError(f"--address {address} is for a cluster; add --engine ray")
    elif find_spec("ray") is None:
        raise UserError("--engine ray needs Ray; install it with: pip install 'rtgen[cluster]'")


def absolute(path: str | Path) -> str:
    """Makes a path absolute, for processes with another working directory; URLs stay unchanged."""
    return str(path) if "://" in str(path) else str(Path(path).absolute())


@contextmanager
def cluster(address: str | None, cores: int = 0) -> Iterator[Any]:
    """Connects `ray` to a cluster, or to one started on this machine that ends with the context.

    Args:
        address: HOST:PORT, or `auto` for the cluster that this machine belongs to; None starts one here.
        cores: of a cluster that is started here; 0 for all cores.

    Raises:
        UserError: there is no such cluster.
    """
    for name, value in _SETTINGS.items():  # Ray reads some of them on import
        os.environ.setdefault(name, value)
    how: dict[str, Any] = {"address": address, "logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        # Despite its name, this makes Ray listen on this machine only.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        how |= {"address": "local", "num_cpus": cores or os.cpu_count(), "object_store_memory": _STORE}
        how |= {"include_dashboard": False}
    elif address != "auto":
        _answers(address)
    import ray

    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ray.init(**how)
    except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
        raise _unreachable(address or "this machine", str(error).strip().splitlines()[0]) from error
    try:
        yield ray
    finally:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _answers(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not colon or "/" in host or not port.isdigit():
        raise UserError(f"--address {address} is invalid; use HOST:PORT as printed by 'ray start --head', or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(error)) from None


def _unreachable(address: str, why: str) -> UserError:
    return UserError(
        f"no Ray cluster at {address} ({why}); start one with 'ray start --head', join it from this machine with "
        "'ray start --address HOST:PORT', and give that address"
    )


def run(
    work: Callable[[Job], Result], jobs: Sequence[Job], *, address: str | None = None, workers: int = 0
) -> Iterator[tuple[Job, Result]]:
    """Runs jobs on a cluster and yields each with its result, in order of completion, as `train.prepare.pool.run`.

    Args:
        work: a module-level function that every machine has; may be called twice for a job.
        jobs: anything that can be pickled; files that they name must be reachable from every machine.
        address: as in `cluster`.
        workers: most jobs at a time; 0 for one per core.

    Raises:
        UserError: there is no such cluster, `work` raised one, or a job kills one worker after another.
    """
    with cluster(address, workers) as ray:
        from ray import data

        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.target_max_block_size = 1 << 20  # Ray Data derives from it how many tasks to start
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        cores = workers or int(ray.cluster_resources().get("CPU", 1))
        size = max(1, min(_TOGETHER, len(jobs) // (_ROWS * max(cores, 1))))
        rows = [{"first": i, "jobs": pickle.dumps(list(jobs[i : i + size]))} for i in range(0, len(jobs), size)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the retries, which the required Ray (before 2.64) supports
            done = data.from_items(rows, override_num_blocks=len(rows)).map(
                partial(_row, work), concurrency=workers or None, max_retries=_RETRIES
            )
        try:
            for row in done.iter_rows():
                if row["told"]:
                    raise UserError(row["told"])
                yield from zip(jobs[row["first"] : row["first"] + size], pickle.loads(row["results"]), strict=True)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.ObjectLostError):
            raise UserError(
                "workers died repeatedly, perhaps out of memory; run the command again with fewer --workers to resume"
            ) from None


def _row(work: Callable[[Any], Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Runs the jobs in a row of Ray Data and returns their results as a row."""
    told, results = "", b""
    try:
        results = pickle.dumps([work(job) for job in pickle.loads(row["jobs"])])
    except UserError as error:
        told = str(error)
    return {"first": row["first"], "told": told, "results": results}
