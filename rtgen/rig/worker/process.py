"""A worker process with one model, and two threads for its pipes, so that no other thread blocks on them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from rtgen.instrument.job import HalfBeat, Heard, Job
from rtgen.rig.apart import FLAGS, GROUP
from rtgen.rig.realtime import answer_promptly
from rtgen.rig.worker import wire
from rtgen.rig.worker.wire import Said

_MAX_LINE = 4 * 2**20
_LEAVE_S = 3.0
"""Timeout for a process that was asked to exit; a little longer than the process's own grace period."""


class Process:
    """A worker process that answers jobs with one model.

    Args:
        model: the `.onnx` file.
        device: as in `rtgen.inference.model.Device`.
        hurry: whether to load at full priority.
        offline: whether nothing is played, so that the model need not be warm; it is loaded at full priority.
        hear: called from a thread with every valid message of the process, and with None when it has ended.
    """

    def __init__(
        self,
        model: Path,
        device: str,
        *,
        hurry: bool,
        hear: Callable[[Process, Said | None], None],
        offline: bool = False,
    ) -> None:
        self.model = model
        self._hear = hear
        self._jobs: SimpleQueue[Job | Heard | HalfBeat | None] = SimpleQueue()
        patience = "offline" if offline else "hurry" if hurry else "gently"
        command = [sys.executable, "-m", "rtgen.rig.worker.main", str(model), device, patience]
        pipe = subprocess.PIPE
        self._popen = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            encoding="utf-8",
            errors="replace",
            process_group=GROUP,
            creationflags=FLAGS,
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        for pump, stream in ((self._write, self._popen.stdin), (self._read, self._popen.stdout)):
            threading.Thread(target=pump, args=(stream,), name=f"worker {pump.__name__}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def status(self) -> str:
        """The exit status, or the name of the signal that ended it, for the player."""
        code = self._popen.returncode
        if code is None or code >= 0:
            return f"status {code}"
        with suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    def ask(self, job: Job | Heard | HalfBeat) -> None:
        """Queues a job, or music to hear or to play along with; never blocks, even if the process does not read."""
        self._jobs.put(job)

    def leave(self) -> None:
        """Lets the process finish its jobs and exit; kills it after a timeout."""
        self._jobs.put(None)
        timer = threading.Timer(_LEAVE_S, self.kill)
        timer.daemon = True
        timer.start()

    def kill(self) -> None:
        """Kills the process at once."""
        self._popen.kill()
        self._jobs.put(None)

    def wait(self) -> None:
        """Waits until the process has ended."""
        self._popen.wait()

    def _write(self, stream: IO[str]) -> None:
        answer_promptly()
        with suppress(OSError, ValueError):
            while (job := self._jobs.get()) is not None:
                stream.write(wire.from_task(job))
                stream.flush()
        with suppress(OSError, ValueError):
            stream.close()

    def _read(self, stream: IO[str]) -> None:
        answer_promptly()
        while line := stream.readline(_MAX_LINE):
            said = wire.to_said(line)
            if said is not None:
                self._hear(self, said)
        self._popen.kill()  # it has closed its output, so it cannot answer any more
        self._popen.wait()
        stream.close()
        self._hear(self, None)
