"""The supervisor of the worker process: starts it, watches it with timeouts, and replaces it when it fails.

The real-time loop only puts jobs into a queue. Everything else is decided in one thread, which waits for messages from
the processes and for their deadlines.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from queue import Empty, SimpleQueue
from time import perf_counter

from rtgen.instrument.job import Answer, Heard, Job, Placed
from rtgen.rig.worker.process import Process
from rtgen.rig.worker.wire import Failed, Ready, Report, Said, Skipped

__all__ = ["Failed", "Ready", "Report", "Worker"]

LOAD_S, RELOAD_S = 60.0, 15.0
"""Timeouts for loading, for the first time and again. The first use of a GPU may take half a minute."""
ANSWER_S = 1.0
"""Timeout for an answer; longer if four times the model's measured answer time is longer."""
RESTARTS = 3
"""A model whose process dies more often than this is no longer used."""
FORGIVE_S = 30.0
"""A crash no longer counts after this long, if the model has answered since."""
RETRY_S = 30.0
"""Wait before retrying a model that crashes too often, if there is no other to use."""
BAD_ANSWERS = 3
"""A model that fails on this many loops in a row is no longer used, if there is another."""
STALE_S = 1.0
"""A job that waited this long for a process is dropped."""
_WARMED_ON = 3840
"""Length in ticks of the loop that `Ready.seconds` was measured with."""


class Worker:
    """The worker as seen by the real-time process; none of its calls block, except `stop`.

    To change the model, or to fall back to an earlier one, a second process is started. The first one answers until the
    second is ready.

    Args:
        model: the `.onnx` file.
        device: as in `rtgen.inference.model.Device`.
        report: called from the worker's threads with every report.
    """

    def __init__(self, model: Path, device: str, report: Callable[[Report], None]) -> None:
        self._device = device
        self._report = report
        self._stopping = False
        # Calls to make in the worker's thread, which alone changes the attributes below.
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._keep, name="worker", daemon=True)
        self._serving: Process | None = None
        self._coming: Process | None = None
        # The models to fall back to; the last one answers now, or did last.
        self._models = [model]
        self._names: dict[Path, str] = {}
        self._deaths: dict[Path, list[float]] = {}
        self._waiting: tuple[float, Job] | None = None
        self._unanswered = self._bad = 0
        self._seconds = 0.0
        self._patience = ANSWER_S
        self._ready_by = self._answer_by = self._retry_at = inf

    def start(self) -> None:
        """Starts the process; `Ready` follows."""
        self._thread.start()

    def ask(self, job: Job) -> None:
        """Sends a job; never blocks.

        The job is lost if the process dies while answering it. While there is no process, the newest job waits for one
        for up to `STALE_S`.
        """
        process = self._serving
        self._events.put(partial(self._asked, perf_counter(), job, process))
        if process is not None:
            process.ask(job)

    def tell(self, heard: Heard) -> None:
        """Sends the model what is being played, if a process is ready; never blocks, and has no reply."""
        process = self._serving
        if process is not None:
            process.ask(heard)

    def use(self, model: Path) -> None:
        """Switches to another model as soon as it is ready; never blocks. `Ready` or `Failed` follows."""
        self._events.put(partial(self._choose, model))

    def stop(self) -> None:
        """Ends the processes and waits for them."""
        self._stopping = True
        self._events.put(lambda: None)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def pid(self) -> int | None:
        """Process id of the process that answers, or else of the one being started; None without either."""
        process = self._serving or self._coming
        return process.pid if process else None

    # ---- the worker's thread --------------------------------------------------------------------------------------

    def _keep(self) -> None:
        self._begin(self._models[-1])
        while not self._stopping:
            deadline = min(self._ready_by, self._answer_by, self._retry_at)
            try:
                self._events.get(timeout=None if deadline == inf else max(deadline - perf_counter(), 0.0))()
            except Empty:
                self._watch(perf_counter())
        for process in (self._serving, self._coming):
            if process is not None:
                process.kill()
                process.wait()

    def _watch(self, now: float) -> None:
        """Handles the deadlines that have passed."""
        if self._serving is not None and now >= self._answer_by:
            self._serving.kill()
            self._lost(self._serving, f"did not answer for {self._patience:.1f} s and was stopped")
        if self._coming is not None and now >= self._ready_by:
            self._coming.kill()
            self._lost(self._coming, "was not ready in time and was stopped")
        if now >= self._retry_at:
            self._begin(self._models[-1])

    def _begin(self, model: Path) -> None:
        """Starts a process with a model; the present process answers until it is ready."""
        self._abandon()
        self._retry_at = inf
        self._ready_by = perf_counter() + (RELOAD_S if model in self._names else LOAD_S)
        try:
            self._coming = Process(model, self._device, hurry=self._serving is None, hear=self._said)
        except OSError as error:
            self._died(model, f"could not be started ({error.strerror})")

    def _abandon(self) -> None:
        """Kills a process that is not ready yet."""
        if self._coming is not None:
            self._coming.kill()
        self._coming, self._ready_by = None, inf

    def _choose(self, model: Path) -> None:
        present = self._coming or self._serving
        if present is None or present.model != model:
            self._deaths.pop(model, None)
            if self._serving is not None and self._serving.model == model:
                self._abandon()
            else:
                self._begin(model)

    # ---- messages of the processes --------------------------------------------------------------------------------

    def _said(self, process: Process, said: Said | None) -> None:
        """Reports an answer at once from the process's thread; leaves the rest to the worker's thread."""
        if isinstance(said, Answer | Placed):
            self._report(said)
        self._events.put(partial(self._heard, process, said))

    def _asked(self, at: float, job: Job, process: Process | None) -> None:
        if self._serving is None:
            self._waiting = (at, job)
        elif process is not self._serving:
            self.ask(job)  # the process changed after the job was sent
        else:
            self._patience = max(ANSWER_S, 4 * self._seconds * max(1.0, job.loop.length / _WARMED_ON))
            self._unanswered += 1
            if self._unanswered == 1:
                self._answer_by = perf_counter() + self._patience

    def _heard(self, process: Process, said: Said | None) -> None:
        match said:
            case _ if process not in (self._serving, self._coming):
                pass
            case None:
                self._lost(process, f"died ({process.status})")
            case Ready() if process is self._coming:
                self._take_over(process, said)
            case Failed() if process is self._coming:
                self._abandon()
                self._set_aside(process.model, said.reason)
            case Answer() | Failed() | Skipped() if process is self._serving:
                self._unanswered = max(self._unanswered - 1, 0)
                self._answer_by = perf_counter() + self._patience if self._unanswered else inf
                self._judge(process.model, said)

    def _take_over(self, process: Process, ready: Ready) -> None:
        if self._serving is not None:
            self._serving.leave()
        self._serving, self._coming = process, None
        self._ready_by = self._answer_by = inf
        self._unanswered = self._bad = 0
        self._seconds = ready.seconds
        self._models = [*(m for m in self._models if m != process.model), process.model]
        self._names[process.model] = ready.model
        self._report(replace(ready, file=process.model))
        if self._waiting is not None and perf_counter() - self._waiting[0] < STALE_S:
            self.ask(self._waiting[1])
        self._waiting = None

    def _judge(self, model: Path, said: Answer | Failed | Skipped) -> None:
        """Updates the record of crashes and failures of the model that answers."""
        if isinstance(said, Answer):
            self._bad = 0
            now = perf_counter()
            self._deaths[model] = [at for at in self._deaths.get(model, []) if now - at < FORGIVE_S]
        elif isinstance(said, Failed):
            self._report(said)
            self._bad += 1
            if self._bad == BAD_ANSWERS and len(self._models) > 1:
                self._set_aside(model, f"Model {self._name(model)} could not answer {BAD_ANSWERS} loops in a row")

    # ---- restarts and fallbacks -----------------------------------------------------------------------------------

    def _lost(self, process: Process, how: str) -> None:
        """Handles the end of a process; its unanswered jobs are lost."""
        if process is self._serving:
            self._serving, self._answer_by = None, inf
        else:
            self._coming, self._ready_by = None, inf
        self._died(process.model, how)

    def _died(self, model: Path, how: str) -> None:
        """Restarts a model's process, unless it has died too often."""
        deaths = self._deaths.setdefault(model, [])
        deaths.append(perf_counter())
        what = f"The process of model {self._name(model)} {how}"
        if len(deaths) > RESTARTS:
            self._set_aside(model, f"{what} for the {len(deaths)}th time")
        elif self._coming is not None:
            self._report(Failed(f"{what}; {self._name(self._coming.model)} takes over as soon as it is loaded"))
        else:
            self._report(Failed(f"{what}; it is being restarted, and the music goes on"))
            self._begin(model)

    def _set_aside(self, model: Path, why: str) -> None:
        """Stops using a model, and falls back to another if there is one.

        Args:
            model: the model that cannot be used.
            why: the first part of the sentence for the player.
        """
        others = [m for m in self._models if m != model]
        present = self._serving or self._coming
        if present is not None and present.model != model:
            self._models = others
            self._report(Failed(f"{why}; {self._name(present.model)} answers instead"))
        elif others:
            self._models = others
            self._report(Failed(f"{why}; {self._name(others[-1])} replaces it"))
            self._begin(others[-1])
        elif not self._names:
            self._report(Failed(why, final=True))
        else:
            self._report(Failed(f"{why}; the music goes on without answers, and the next try is in {RETRY_S:.0f} s"))
            self._retry_at = perf_counter() + RETRY_S

    def _name(self, model: Path) -> str:
        return self._names.get(model, model.stem)
