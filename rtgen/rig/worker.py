"""The process that answers: it receives a job and returns an answer, so that the model never holds up the music.

The two ends speak JSON, a line a message, over the worker's standard input and output. A worker whose input ends, ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rtgen.errors import UserError
from rtgen.instrument.job import Answer, Job, Mode
from rtgen.music.note import Loop, Note

_RESTARTS = 3
"""A worker that dies this often within `_WITHIN_S` is not started again."""
_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded and warm.

    Args:
        model: its name.
        device: what runs it.
        seconds: the longest of a few whole answers.
        remark: a sentence for the player, or nothing.
    """

    model: str
    device: str
    seconds: float
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker could not do what was asked.

    Args:
        reason: one sentence.
        final: whether it has given up.
    """

    reason: str
    final: bool = False


Report = Ready | Answer | Failed


class Worker:
    """The worker process, seen from the real-time process, which never waits for it.

    Args:
        model: the `.onnx` file.
        device: as in `rtgen.inference.model.Device`.
        report: called, from a thread of the worker's, with whatever it has to say.
    """

    def __init__(self, model: Path, device: str, report: Callable[[Report], None]) -> None:
        self._command = [sys.executable, "-m", "rtgen.rig.worker", str(model), device]
        self._report = report
        self._stopping = False
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._keep, name="worker", daemon=True)

    def start(self) -> None:
        """Starts the process; `Ready` follows."""
        self._thread.start()

    def ask(self, job: Job) -> None:
        """Sends a job. If the worker is dead the job is lost, and the music goes on with what there is."""
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError, ValueError):
                process.stdin.write(_line(_from_job(job)))
                process.stdin.flush()

    def stop(self) -> None:
        """Ends the process."""
        self._stopping = True
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
            try:
                process.wait(1.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def pid(self) -> int | None:
        """Process id, while there is one."""
        return self._process.pid if self._process else None

    def _keep(self) -> None:
        """Starts the process, hears it out, and starts it again when it dies."""
        deaths: list[float] = []
        while not self._stopping:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
            )
            assert self._process.stdout is not None
            gave_up = self._hear(self._process.stdout)
            status = self._process.wait()
            if self._stopping or gave_up:
                return
            deaths = [t for t in deaths if time.monotonic() - t < _WITHIN_S] + [time.monotonic()]
            if len(deaths) > _RESTARTS:
                self._report(
                    Failed(f"The model's process died {len(deaths)} times (status {status}); run it again", True)
                )
                return
            self._report(Failed(f"The model's process died (status {status}); it is being started again"))

    def _hear(self, stream: IO[str]) -> bool:
        """Passes on what the process says until it ends; says whether it gave up of its own accord."""
        gave_up = False
        for line in stream:
            report = _to_report(json.loads(line))
            gave_up = gave_up or (isinstance(report, Failed) and report.final)
            self._report(report)
        return gave_up


# ---- what goes over the wire ----------------------------------------------------------------------------------------


def _line(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":")) + "\n"


def _from_loop(loop: Loop) -> dict[str, Any]:
    return {
        "length": loop.length,
        "bar": loop.bar,
        "notes": [(n.onset, n.pitch, n.duration, n.velocity) for n in loop.notes],
    }


def _to_loop(fields: dict[str, Any]) -> Loop:
    return Loop(fields["length"], tuple(Note(*note) for note in fields["notes"]), fields["bar"])


def _from_job(job: Job) -> dict[str, Any]:
    return {
        "loop": _from_loop(job.loop),
        "mode": job.mode,
        "seed": job.seed,
        "target": job.target,
        "epoch": job.epoch,
        "knobs": dict(job.knobs),
    }


def _to_report(message: dict[str, Any]) -> Report:
    match message.pop("kind"):
        case "ready":
            return Ready(**message)
        case "answer":
            return Answer(_to_loop(message["loop"]), message["target"], message["epoch"])
        case _:
            return Failed(**message)


# ---- the process itself ---------------------------------------------------------------------------------------------


def _example() -> Loop:
    """Two bars of chords and melody, as many notes as a busy player's, to warm the model with."""
    notes = [Note(i * 240, 60 + i % 12, 240) for i in range(16)]
    notes += [Note(i * 960, pitch, 960) for i in range(4) for pitch in (36, 48, 52, 55)]
    return Loop(3840, tuple(notes))


def main(model_path: str, device: str) -> int:
    """Answers jobs from standard input until it ends."""
    # The terminal's Ctrl-C reaches every process; ours ends when its input does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(5)
    # Whatever a library prints must not end up among the messages.
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(kind: str, **fields: Any) -> None:
        messages.write(_line({"kind": kind, **fields}))
        messages.flush()

    from rtgen.inference.answer import answer
    from rtgen.inference.model import DEVICES, Model
    from rtgen.instrument.controls import PARAMETERS
    from rtgen.instrument.job import MODES

    def timed(loop: Loop, mode: Mode) -> float:
        knobs = {p.name: p.default for p in PARAMETERS.values()}
        start = time.perf_counter()
        answer(model, loop, mode, knobs, seed=0)
        return time.perf_counter() - start

    try:
        model = Model(Path(model_path), next(d for d in DEVICES if d == device))
        for mode in MODES:
            timed(_example(), mode)
        longest = max(timed(_example(), mode) for mode in MODES for _ in range(3))
    except UserError as error:
        say("failed", reason=str(error), final=True)
        return 2
    say("ready", model=model.card.name, device=model.device, seconds=longest, remark=model.remark)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            loop = answer(model, _to_loop(job["loop"]), job["mode"], job["knobs"], job["seed"])
        except Exception as error:
            # One loop that the model cannot answer must not cost the next ones.
            say("failed", reason=f"The model could not answer this loop ({type(error).__name__}: {error})")
        else:
            say("answer", loop=_from_loop(loop), target=job["target"], epoch=job["epoch"])
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
