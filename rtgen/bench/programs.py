"""The programs under test as processes: the daemon, its baselines, and background loads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from rtgen.bench import pipe
from rtgen.bench.server import (
    PROBE_OUTPUT,
    PROBE_PLAY,
    Closing,
    PipeWire,
    Probe,
    RigError,
    Server,
    end,
    ending_with_us,
    wait_until,
)
from rtgen.errors import UserError
from rtgen.rig.apart import GROUP
from rtgen.shipped import find

_TINY = Path(__file__).parents[2] / "tests" / "data" / "tiny.onnx"


class Program(Closing):
    """A process with its standard error as a log.

    With JACK its ports are `NAME-in:NAME in` and `NAME-out:NAME out`.

    Args:
        name: prefix of its ports.
        command: arguments to `python`.
        environment: None inherits ours.
        stdout: as in `subprocess.Popen`.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str] | None = None,
        stdout: int = subprocess.DEVNULL,
    ) -> None:
        self.input, self.output = f"{name}-in:{name} in", f"{name}-out:{name} out"
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            preexec_fn=ending_with_us(signal.SIGTERM),
            process_group=GROUP,
        )
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        """Temporary folder for the files it writes."""
        self.log: list[tuple[float, str]] = []
        """Standard error: (seconds since its start, line)."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.log.append((time.perf_counter() - self.started, line.decode(errors="replace").rstrip()))

    @property
    def said(self) -> str:
        """The log as text."""
        return "\n".join(f"{at:8.3f} {line}" for at, line in self.log)

    @property
    def news(self) -> list[dict[str, Any]]:
        """What a daemon with `--json` reported, as `rtgen.rig.told.telling.as_json` writes it."""
        return [json.loads(line) for _, line in self.log if line.startswith("{")]

    def wait_for_line(self, text: str, patience_s: float = 30.0) -> float:
        """Waits until `text` appears in the log; returns when it did, in seconds from the start.

        Raises:
            RigError: the process ended, or the text did not appear in time.
        """

        def heard() -> bool:
            if self.process.poll() is not None:
                raise RigError(f"the program ended with {self.process.returncode}:\n{self.said}")
            return any(text in line for _, line in self.log)

        wait_until(heard, f"{text!r}", patience_s)
        return next(at for at, line in self.log if text in line)

    def attach(self, probe: Probe, *clocks: str) -> None:
        """Connects its input to the probe and the clocks, and its output to the probe."""
        probe.connect((PROBE_PLAY, self.input), (self.output, PROBE_OUTPUT), *((clock, self.input) for clock in clocks))

    def end(self, signal_number: int = signal.SIGTERM) -> int:
        """Ends it and returns its exit code. It may take some seconds to write its recording."""
        code = end(self.process, signal_number, patience_s=30)
        self._reader.join(1)
        return code

    def close(self) -> None:
        """Ends it, and closes the pipes."""
        self.end()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


class Piped(Program):
    """A program that receives and sends MIDI over its standard input and output (`pipe.py`)."""

    def __init__(self, name: str, command: list[str]) -> None:
        super().__init__(name, command, stdout=subprocess.PIPE)
        self.sent: list[tuple[float, bytes]] = []
        """Messages it sent, with the send time in seconds of the steady clock."""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout
        self.sent.extend(pipe.messages(self.process.stdout.fileno()))

    def play(self, data: bytes) -> float:
        """Plays a message to it; returns the time in seconds."""
        assert self.process.stdin
        at = time.perf_counter()
        os.write(self.process.stdin.fileno(), pipe.pack(at, data))
        return at

    def close(self) -> None:
        """Ends it once all its output has been read."""
        self.end()
        self._listener.join(1)
        super().close()


def baseline(server: Server | PipeWire, kind: str) -> Program:
    """Runs the bare `echo` or `sleep` of `baseline.py` on a JACK server."""
    return Program(kind, ["-m", "rtgen.bench.baseline", kind, "jack"], server.environment)


def daemon(server: Server | PipeWire, *flags: str, name: str = "rtgen") -> Program:
    """Runs the daemon on a JACK server, logging its session to a temporary folder."""
    # A fresh folder: a daemon that finds the session of a killed one would write its music during the measurement.
    folder = tempfile.TemporaryDirectory(prefix="rtgen-sessions-", ignore_cleanup_errors=True)
    command = ["-m", "rtgen", "run", "--api", "jack", "--name", name, "--sessions", folder.name, *flags]
    program = Program(name, command, server.environment)
    program.folder = folder
    return program


def model_file() -> Path:
    """The shipped model, or the tests' model in a checkout without one.

    Raises:
        UserError: there is neither.
    """
    try:
        return find("models", "loop_denoiser")
    except UserError:
        if _TINY.is_file():
            return _TINY
        raise


def preset_file(folder: Path) -> Path:
    """Writes a preset for measurements and tests: at distance 0 an answer equals the call."""
    preset = folder / "test.yaml"
    preset.write_text(f"model: {model_file()}\nmode: vary\ndistance: 0\nuse: answer\nbars: 2\n", "utf-8")
    return preset


# Ends with its parent even where the system does not take care of that.
_ALIVE = "import os\np = os.getppid()\nwhile os.getppid() == p:\n    "
_SPIN = [["-c", _ALIVE + "sum(range(10000))"]] * (os.cpu_count() or 1)
_STREAM = ["-c", f"import numpy as np\na = np.zeros(2**23)\n{_ALIVE}np.add(a, 1.0, out=a)"]
"""Writes 64 MB over and over, more than any cache holds."""


@contextmanager
def _running(*commands: list[str]) -> Iterator[None]:
    running = [
        subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.DEVNULL,
            preexec_fn=ending_with_us(signal.SIGTERM),
            process_group=GROUP,
        )
        for command in commands
    ]
    try:
        yield
    finally:
        for process in running:
            end(process)


def load(model: Path) -> AbstractContextManager[None]:
    """Keeps every core busy at ordinary priority, with a model answering all the time."""
    return _running(*_SPIN, ["-m", "rtgen.bench.hot", "--forever", str(model)])


def busy_cores() -> AbstractContextManager[None]:
    """Keeps every core busy with a process of ordinary priority."""
    return _running(*_SPIN)


def streamed_memory() -> AbstractContextManager[None]:
    """Streams through memory, as a DAW does with samples, so that nothing of ours stays in the caches."""
    return _running(_STREAM)


BESIDE: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "alone": nullcontext,
    "memory streamed beside": streamed_memory,
    "cores busy beside": busy_cores,
}
"""Background loads during a measurement."""


# ---- what a process costs (Linux) -----------------------------------------------------------------------------------


def descendants(pid: int) -> list[int]:
    """The descendants of a process (Linux)."""
    below: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = (task / "children").read_text().split()
            below += [p for child in children for p in (int(child), *descendants(int(child)))]
    return below


def workers(pid: int) -> list[int]:
    """The worker processes of a daemon (Linux)."""
    return _below(pid, b"rtgen.rig.worker")


def port_processes(pid: int) -> list[int]:
    """The processes that have the ports of a daemon, where it is not the daemon itself (Linux)."""
    return _below(pid, b"rtgen.rig.midi")


def _below(pid: int, module: bytes) -> list[int]:
    found: list[int] = []
    for below in descendants(pid):
        with suppress(FileNotFoundError):  # it has just ended
            if module in Path(f"/proc/{below}/cmdline").read_bytes():
                found.append(below)
    return found


def libraries(pid: int) -> set[str]:
    """The files mapped into a process's memory (Linux)."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6 and fields[5].startswith("/")}


def unique_set_mb(pid: int) -> float:
    """Private memory of a process (unique set size), in MB (Linux)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:"))]
    return sum(kilobytes) / 1024


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used so far, with nanosecond resolution if available, else 10 ms (Linux).

    The former excludes threads that have ended.
    """
    if sys.platform == "win32":
        return 0.0
    if Path("/proc/self/schedstat").exists():
        threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
