"""Runs jobs on all cores of this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from rtgen.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")

_AHEAD = 2
"""Queued jobs per worker; there may be millions of jobs in total."""


def run(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int = 0) -> Iterator[tuple[Job, Result]]:
    """Runs jobs and yields each with its result, in order of completion.

    Args:
        work: a module-level function.
        jobs: anything that can be pickled.
        workers: number of processes; 0 for one per core.

    Raises:
        UserError: a worker died, for example out of memory.
    """
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count < 2:
        yield from ((job, work(job)) for job in jobs)
        return
    with ProcessPoolExecutor(count, initializer=_die_with, initargs=(os.getpid(),)) as pool:
        waiting: dict[Future[Result], Job] = {}
        rest = iter(jobs)
        try:
            while True:
                while len(waiting) < _AHEAD * count and (job := next(rest, None)) is not None:
                    waiting[pool.submit(work, job)] = job
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        except BrokenProcessPool:
            raise UserError(
                "a worker died, perhaps out of memory; run the command again with fewer --workers to resume"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _die_with(parent: int) -> None:
    """Ends this worker when its parent process is gone; leaves Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
