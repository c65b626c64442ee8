"""The supervisor of the worker processes: starts them, watches them with timeouts, and replaces those that fail.

The real-time loop only puts jobs into a queue. Everything else is decided in one thread, which waits for messages from
the processes and for their deadlines.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from pathlib import Path
from queue import Empty, SimpleQueue
from time import perf_counter

from rtgen.instrument.job import Answer, HalfBeat, Heard, Job, Placed, Plan
from rtgen.rig.worker.process import Process
from rtgen.rig.worker.wire import Failed, Ready, Report, Said, Skipped

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
"""Length in ticks of the loop that `Ready.times` were measured with."""


@dataclass(slots=True)
class _Slot:
    """A model in use, and the process that answers with it.

    Args:
        model: the `.onnx` file.
        process: None while the next attempt to start it is waited for.
        ready: what the process said when it was loaded; None if it cannot answer yet.
        asked: for each job that it has not answered yet, whether the job was meant for this model.
        bad: loops of its own in a row that it could not answer.
        patience: timeout of the current answer in seconds.
        ready_by: when the process must be ready; inf when it is.
        answer_by: when the next answer must have come; inf if none is due.
        retry_at: when to start a process; inf if there is one.
    """

    model: Path
    process: Process | None = None
    ready: Ready | None = None
    asked: deque[bool] = field(default_factory=deque)
    bad: int = 0
    patience: float = ANSWER_S
    ready_by: float = inf
    answer_by: float = inf
    retry_at: float = inf

    @property
    def deadline(self) -> float:
        """When something must have happened, in seconds."""
        return min(self.ready_by, self.answer_by, self.retry_at)


class Worker:
    """The worker as seen by the real-time process; none of its calls block, except `stop`.

    Every model in use has a process of its own. A job is answered by the model that it was meant for, so that another
    model can be loaded, and wait for its first job, while the present one answers.

    Args:
        model: the `.onnx` file that plays first.
        device: as in `rtgen.inference.model.Device`.
        report: called from the worker's threads with every report.
    """

    def __init__(self, model: Path, device: str, report: Callable[[Report], None]) -> None:
        self._device = device
        self._report = report
        self._stopping = False
        # Calls to make in the worker's thread, which alone changes the attributes below, but for `_playing`.
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._keep_watch, name="worker", daemon=True)
        self._playing = model
        self._kept: tuple[Path, ...] = (model,)
        # The model that was chosen last and is not kept yet.
        self._wanted: Path | None = None
        self._slots: dict[Path, _Slot] = {}
        # Who answers the jobs of a model; replaced whole, as `ask` reads it from another thread.
        self._serving: Mapping[Path, Process] = {}
        # Who answers the jobs of a model that was set aside.
        self._instead: dict[Path, Path] = {}
        # The models that have played, to fall back to; the last one plays now.
        self._models = [model]
        self._names: dict[Path, str] = {}
        self._deaths: dict[Path, list[float]] = {}
        self._waiting: dict[Path, tuple[float, Job | HalfBeat]] = {}

    def start(self) -> None:
        """Starts the process; `Ready` follows."""
        self._thread.start()

    def ask(self, job: Job | HalfBeat, model: Path | None = None) -> None:
        """Sends a job, or a half beat to be played along with; never blocks.

        The job is lost if the process dies while answering it. While there is no process, the newest job waits for one
        for up to `STALE_S`.

        Args:
            job: the job.
            model: the model to answer it; None for the one that plays.
        """
        model = model or self._playing
        process = self._serving.get(model)
        self._events.put(partial(self._asked, perf_counter(), job, model, process))
        if process is not None:
            process.ask(job)

    def tell(self, heard: Heard) -> None:
        """Sends the model that plays what is being played, if it is ready; never blocks, and has no reply."""
        process = self._serving.get(self._playing)
        if process is not None:
            process.ask(heard)

    def use(self, model: Path | None) -> None:
        """Loads another model, unless it is loaded; never blocks. In both cases `Ready` or `Failed` follows.

        It is kept until the next `use`, and beyond that if `keep` was told to; None only lets the last one go.
        """
        self._events.put(partial(self._choose, model))

    def keep(self, playing: Path, chosen: Path | None = None) -> None:
        """Lets the processes of all other models finish their jobs and exit; never blocks.

        Args:
            playing: the model that plays.
            chosen: the model that plays next, if it is loaded already.
        """
        self._playing = playing
        self._events.put(partial(self._keep, playing, chosen))

    def stop(self) -> None:
        """Ends the processes and waits for them."""
        self._stopping = True
        self._events.put(lambda: None)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def pid(self) -> int | None:
        """Process id of the process that answers, or else of one being started; None without either."""
        process = self._serving.get(self._playing)
        if process is None:
            process = next((slot.process for slot in list(self._slots.values()) if slot.process is not None), None)
        return process.pid if process else None

    # ---- the worker's thread --------------------------------------------------------------------------------------

    def _keep_watch(self) -> None:
        self._begin(self._playing)
        while not self._stopping:
            deadline = min((slot.deadline for slot in self._slots.values()), default=inf)
            try:
                self._events.get(timeout=None if deadline == inf else max(deadline - perf_counter(), 0.0))()
            except Empty:
                self._watch(perf_counter())
        for process in [slot.process for slot in self._slots.values() if slot.process is not None]:
            process.kill()
            process.wait()

    def _watch(self, now: float) -> None:
        """Handles the deadlines that have passed."""
        for slot in list(self._slots.values()):
            if self._slots.get(slot.model) is not slot:
                continue  # another one's failure has dismissed it
            if slot.process is not None and now >= slot.answer_by:
                slot.process.kill()
                self._lost(slot, f"did not answer for {slot.patience:.1f} s and was stopped")
            elif slot.process is not None and now >= slot.ready_by:
                slot.process.kill()
                self._lost(slot, "was not ready in time and was stopped")
            elif now >= slot.retry_at:
                self._begin(slot.model)

    def _begin(self, model: Path) -> None:
        """Starts the process of a model."""
        slot = self._slots.setdefault(model, _Slot(model))
        slot.retry_at = inf
        slot.ready_by = perf_counter() + (RELOAD_S if model in self._names else LOAD_S)
        try:
            slot.process = Process(model, self._device, hurry=self._playing not in self._serving, hear=self._said)
        except OSError as error:
            slot.ready_by = inf
            self._died(slot, f"could not be started ({error.strerror})")

    def _choose(self, model: Path | None) -> None:
        self._wanted = model
        self._dismiss()
        if model is None:
            return
        slot = self._slots.get(model)
        if slot is None or slot.process is None:
            self._deaths.pop(model, None)
            self._begin(model)
        elif slot.ready is not None:
            self._report(slot.ready)

    def _keep(self, playing: Path, chosen: Path | None) -> None:
        self._kept = (playing,) if chosen is None else (playing, chosen)
        if self._wanted in self._kept and self._wanted not in self._instead:
            self._wanted = None
        if playing in self._slots:
            self._models = [*(m for m in self._models if m != playing), playing]
        self._instead = {model: other for model, other in self._instead.items() if model in self._kept}
        self._waiting = {model: waiting for model, waiting in self._waiting.items() if model in self._kept}
        self._dismiss()

    def _dismiss(self) -> None:
        """Lets processes exit whose model is needed no more."""
        for slot in [slot for slot in self._slots.values() if not self._needs(slot.model)]:
            del self._slots[slot.model]
            if slot.process is not None and slot.ready:
                slot.process.leave()
            elif slot.process is not None:
                slot.process.kill()
        self._publish()

    def _needs(self, model: Path) -> bool:
        """Returns whether a model is to be loaded: it plays, was chosen, or stands in for one of these."""
        return model == self._wanted or model in (self._instead.get(kept, kept) for kept in self._kept)

    def _publish(self) -> None:
        """Lets `ask` know which processes answer."""
        ready = {slot.model: slot.process for slot in self._slots.values() if slot.process is not None and slot.ready}
        stand_ins = {model: ready[other] for model, other in self._instead.items() if other in ready}
        self._serving = {**stand_ins, **ready}

    # ---- messages of the processes --------------------------------------------------------------------------------

    def _said(self, process: Process, said: Said | None) -> None:
        """Reports an answer at once from the process's thread; leaves the rest to the worker's thread."""
        if isinstance(said, Answer | Plan) or (
            isinstance(said, Placed) and process is self._serving.get(self._playing)
        ):
            self._report(said)
        self._events.put(partial(self._heard, process, said))

    def _asked(self, at: float, job: Job | HalfBeat, model: Path, process: Process | None) -> None:
        serving = self._serving.get(model)
        if serving is None:
            self._waiting[model] = at, job
        elif process is not serving:
            self.ask(job, model)  # the process changed after the job was sent
        else:
            slot = next(slot for slot in self._slots.values() if slot.process is serving)
            seconds = slot.ready.whole_s if slot.ready is not None else 0.0
            longer = max(1.0, job.loop.length / _WARMED_ON) if isinstance(job, Job) else 1.0
            slot.patience = max(ANSWER_S, 4 * seconds * longer)
            slot.asked.append(model == slot.model)
            if len(slot.asked) == 1:
                slot.answer_by = perf_counter() + slot.patience

    def _heard(self, process: Process, said: Said | None) -> None:
        slot = next((slot for slot in self._slots.values() if slot.process is process), None)
        if slot is None:
            return  # it was dismissed
        match said:
            case None:
                self._lost(slot, f"died ({process.status})")
            case Ready() if not slot.ready:
                self._take_over(slot, process, said)
            case Failed() if not slot.ready:
                self._set_aside(slot.model, said.reason)
            case Answer(part="first" | "next"):
                pass
            case Answer() | Plan() | Failed() | Skipped() if slot.ready:
                own = slot.asked.popleft() if slot.asked else True
                slot.answer_by = perf_counter() + slot.patience if slot.asked else inf
                self._judge(slot, said, own=own)

    def _take_over(self, slot: _Slot, process: Process, ready: Ready) -> None:
        slot.ready, slot.ready_by, slot.bad = replace(ready, file=slot.model), inf, 0
        self._names[slot.model] = ready.model
        self._instead.pop(slot.model, None)
        self._dismiss()  # what stood in for it
        self._report(slot.ready)
        for model in list(self._waiting):
            if self._serving.get(model) is process:
                at, job = self._waiting.pop(model)
                if perf_counter() - at < STALE_S:
                    self.ask(job, model)

    def _judge(self, slot: _Slot, said: Answer | Plan | Failed | Skipped, *, own: bool) -> None:
        """Updates the record of crashes and failures of a model that answers.

        Args:
            slot: the model's.
            said: the outcome of a job.
            own: whether the job was meant for this model; it is not blamed for those of a model that it stands in for.
        """
        if isinstance(said, Answer | Plan):
            slot.bad = 0
            now = perf_counter()
            self._deaths[slot.model] = [at for at in self._deaths.get(slot.model, []) if now - at < FORGIVE_S]
        elif isinstance(said, Failed):
            self._report(said)
            slot.bad += own
            if own and slot.bad >= BAD_ANSWERS and self._heir(slot.model) is not None:
                name = self._name(slot.model)
                self._set_aside(slot.model, f"Model {name} could not answer {BAD_ANSWERS} loops in a row")

    # ---- restarts and fallbacks -----------------------------------------------------------------------------------

    def _lost(self, slot: _Slot, how: str) -> None:
        """Handles the end of a process; its unanswered jobs are lost."""
        slot.process = slot.ready = None
        slot.ready_by = slot.answer_by = inf
        slot.asked.clear()
        self._publish()
        self._died(slot, how)

    def _died(self, slot: _Slot, how: str) -> None:
        """Restarts a model's process, unless it has died too often."""
        deaths = self._deaths.setdefault(slot.model, [])
        deaths.append(perf_counter())
        what = f"The process of model {self._name(slot.model)} {how}"
        if len(deaths) > RESTARTS:
            self._set_aside(slot.model, f"{what} for the {len(deaths)}th time")
        else:
            self._report(Failed(f"{what}; it is being restarted, and the music goes on"))
            self._begin(slot.model)

    def _heir(self, model: Path) -> Path | None:
        """Returns the model to replace another with: the last one that played, or else one that is being loaded."""
        others = [m for m in (*self._slots, *self._models) if m != model]
        return others[-1] if others else None

    def _set_aside(self, model: Path, why: str) -> None:
        """Stops using a model, and falls back to another if there is one.

        Args:
            model: the model that cannot be used.
            why: the first part of the sentence for the player.
        """
        gone = self._slots.pop(model)
        if gone.process is not None:
            gone.process.kill()
        if self._wanted == model:
            self._wanted = None
        heir = self._heir(model)
        if not self._needs(model):
            plays = self._instead.get(self._playing, self._playing)
            self._report(Failed(f"{why}; {self._name(plays)} answers instead", file=model))
        elif heir is not None:
            self._models = [m for m in self._models if m != model]
            self._instead = {m: heir if other == model else other for m, other in self._instead.items()}
            self._instead[model] = heir
            slot = self._slots.get(heir)
            how = "replaces it" if slot is None else "answers instead" if slot.ready else "takes over once it is loaded"
            self._report(Failed(f"{why}; {self._name(heir)} {how}", file=model, heir=heir))
            if slot is None:
                self._begin(heir)
        elif not self._names:
            self._report(Failed(why, final=True))
        else:
            again = model
            if model not in self._names:
                # It was to stand in and cannot be loaded: what it was to stand in for was loaded once.
                again, self._instead = self._playing, {}
            self._models = [again]
            self._slots[again] = _Slot(again, retry_at=perf_counter() + RETRY_S)
            why += f"; the music goes on without answers, and the next try is in {RETRY_S:.0f} s"
            self._report(Failed(why, file=model if again != model else None))
        self._dismiss()

    def _name(self, model: Path) -> str:
        return self._names.get(model, model.stem)
