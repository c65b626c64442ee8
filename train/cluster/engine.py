"""A cluster (`--engine ray`), and the work of `train.prepare.pool` done on it by Ray Data.

Nothing is done otherwise than on one machine. A job goes wherever there is a core, and to another when that one is
lost; so what a job writes must appear whole or not at all, as the parts of `train.prepare.prepare` do.
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
"""How often a chunk may take a worker with it."""
_TOGETHER = 16
"""Jobs that a worker is given together, at the most: to be given any takes some tenths of a second."""
_ROWS = 8
"""How often each worker is given some, at the least, so that all of them end at about the same time."""
_ANSWER_S = 5.0
"""For an address to answer."""
_STORE = 256 << 20
"""Bytes of shared memory where ray is started here; what goes through it are names of files, and counts."""
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Of what is free Ray Train has a view that is up to 20 s old, and it waits so long for what is gone.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",
}

Job = TypeVar("Job")
Result = TypeVar("Result")


def check(engine: str, address: str | None) -> None:
    """Whether the options go together, and ray is installed where it is asked for.

    Raises:
        UserError: one cannot be used.
    """
    if engine not in ENGINES:
        raise UserError(f"--engine {engine} is not known; say {' or '.join(ENGINES)}")
    if engine == "local":
        if address:
            raise UserError(f"--address {address} is of a cluster; say --engine ray as well")
    elif find_spec("ray") is None:
        raise UserError("--engine ray needs ray; pip install 'rtgen[cluster]'")


def absolute(path: str | Path) -> str:
    """A path that means the same to processes that begin in another folder; a URL as it is."""
    return str(path) if "://" in str(path) else str(Path(path).absolute())


@contextmanager
def cluster(address: str | None, cores: int = 0) -> Iterator[Any]:
    """`ray`, connected to a cluster, or to one of this machine alone that ends with the context.

    Args:
        address: HOST:PORT, or `auto` for the cluster that this machine is a part of; None starts one here.
        cores: of one that is started here; 0 for those that there are.

    Raises:
        UserError: there is no such cluster.
    """
    for name, value in _SETTINGS.items():  # some are looked at when ray is imported
        os.environ.setdefault(name, value)
    how: dict[str, Any] = {"address": address, "logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        # Whatever it is called: all that listens then listens to this machine alone.
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
        raise UserError(f"--address {address} is no address; write HOST:PORT as 'ray start --head' says it, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(error)) from None


def _unreachable(address: str, why: str) -> UserError:
    return UserError(
        f"there is no ray cluster at {address} ({why}); start one by 'ray start --head', join it with this machine by "
        "'ray start --address HOST:PORT', and name that address"
    )


def run(
    work: Callable[[Job], Result], jobs: Sequence[Job], *, address: str | None = None, workers: int = 0
) -> Iterator[tuple[Job, Result]]:
    """Each job with its result, in the order in which they are done; as `train.prepare.pool.run`, on a cluster.

    Args:
        work: a plain function of a module that every machine has. It may be called twice for a job.
        jobs: whatever can be pickled; what they name lies where every machine finds it.
        address: as for `cluster`.
        workers: how many are done at a time at the most; 0 for as many as there are cores.

    Raises:
        UserError: there is no such cluster, `work` raised one, or a job takes one worker after another with it.
    """
    with cluster(address, workers) as ray:
        from ray import data

        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.target_max_block_size = 1 << 20  # by what may be on its way Ray Data reckons how much to begin
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        cores = workers or int(ray.cluster_resources().get("CPU", 1))
        size = max(1, min(_TOGETHER, len(jobs) // (_ROWS * max(cores, 1))))
        rows = [{"first": i, "jobs": pickle.dumps(list(jobs[i : i + size]))} for i in range(0, len(jobs), size)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the retries are of Ray before 2.64, which is what is asked for
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
                "workers died again and again, perhaps for want of memory; run it again with fewer --workers, it goes "
                "on from here"
            ) from None


def _row(work: Callable[[Any], Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Some jobs done, as a row of Ray Data's."""
    told, results = "", b""
    try:
        results = pickle.dumps([work(job) for job in pickle.loads(row["jobs"])])
    except UserError as error:
        told = str(error)
    return {"first": row["first"], "told": told, "results": results}
