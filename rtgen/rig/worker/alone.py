"""A worker process for work that is not in real time: one job after the other, each waited for."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self, TypeVar

from rtgen.errors import UserError
from rtgen.instrument.job import Answer, HalfBeat, Job, Plan
from rtgen.music.note import Loop
from rtgen.rig.worker.process import Process
from rtgen.rig.worker.wire import Failed, Ready, Said
from rtgen.rig.worker.worker import LOAD_S

ANSWER_S = 60.0
"""Timeout for an answer; nobody waits for it in tempo."""
_Kind = TypeVar("_Kind", Ready, Answer, Plan)


_NICE = 15


def _make_way(pid: int) -> None:
    """Lowers the priority of a process; it has begun only now, so all its threads get it."""
    if sys.platform != "win32":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, _NICE)


class Alone:
    """A model in a process of its own, with the limits that it has in play.

    Args:
        model: the `.onnx` file.
        device: as in `rtgen.inference.model.Device`.
        gently: whether somebody plays meanwhile, so that it has the lowest priority.

    Raises:
        UserError: on entering the context, if the model cannot be run.
    """

    def __init__(self, model: Path, device: str, *, gently: bool = False) -> None:
        self._model, self._gently = model, gently
        self._said: SimpleQueue[Said | None] = SimpleQueue()
        self._device = device

    def __enter__(self) -> Self:
        try:
            self._process = Process(
                self._model, self._device, hurry=True, hear=lambda _, said: self._said.put(said), offline=True
            )
        except OSError as error:
            raise UserError(
                f"The process of model {self._model.stem} could not be started ({error.strerror}); close other programs"
            ) from error
        if self._gently:
            _make_way(self._process.pid)
        try:
            self.ready = self._wait(LOAD_S, Ready)
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def answer(self, job: Job) -> Loop:
        """Answers a job.

        Raises:
            UserError: the model could not answer.
        """
        self._process.ask(job)
        return self._wait(ANSWER_S, Answer).loop

    def plan(self, half: HalfBeat) -> Plan:
        """Plans what is played along after a half beat.

        Raises:
            UserError: the model could not plan it.
        """
        self._process.ask(half)
        return self._wait(ANSWER_S, Plan)

    def _wait(self, seconds: float, kind: type[_Kind]) -> _Kind:
        """Waits for a message, whatever else the process says."""
        name = self._model.stem
        while True:
            try:
                said = self._said.get(timeout=seconds)
            except Empty:
                raise UserError(f"Model {name} did not answer in {seconds:.0f} s; choose another model") from None
            if isinstance(said, kind):
                return said
            if isinstance(said, Failed):
                raise UserError(said.reason)
            if said is None:
                raise UserError(f"The process of model {name} died ({self._process.status}); choose another model")
