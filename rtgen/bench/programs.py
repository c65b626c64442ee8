"""The programs under test, as processes: the daemon, and the baselines it is compared with."""

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
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rtgen.bench import pipe
from rtgen.bench.server import (
    PROBE_OUTPUT,
    PROBE_PLAY,
    Closing,
    Probe,
    RigError,
    Server,
    end,
    ending_with_us,
    wait_until,
)
from rtgen.errors import UserError
from rtgen.shipped import find

_TINY = Path(__file__).parents[2] / "tests" / "data" / "tiny.onnx"


class Program(Closing):
    """A process, and what it says on standard error.

    With JACK its ports are `NAME-in:NAME in` and `NAME-out:NAME out`.

    Args:
        name: of its ports.
        command: what is run, after `python`.
        environment: None is ours.
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
        )
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        """Where it writes what goes with it."""
        self.log: list[tuple[float, str]] = []
        """What it said: (seconds since its start, line)."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.log.append((time.perf_counter() - self.started, line.decode(errors="replace").rstrip()))

    @property
    def said(self) -> str:
        """Its log, as text."""
        return "\n".join(f"{at:8.3f} {line}" for at, line in self.log)

    @property
    def news(self) -> list[dict[str, Any]]:
        """What a daemon with `--json` reported, as `rtgen.rig.told.telling.as_json` writes it."""
        return [json.loads(line) for _, line in self.log if line.startswith("{")]

    def wait_for_line(self, text: str, patience_s: float = 30.0) -> float:
        """Waits until it said something; when that was, in seconds from its start.

        Raises:
            RigError: it ended, or did not say it in time.
        """

        def heard() -> bool:
            if self.process.poll() is not None:
                raise RigError(f"the program ended with {self.process.returncode}:\n{self.said}")
            return any(text in line for _, line in self.log)

        wait_until(heard, f"{text!r}", patience_s)
        return next(at for at, line in self.log if text in line)

    def attach(self, probe: Probe, *clocks: str) -> None:
        """Connects its input with the probe and the clocks, and its output with the probe."""
        probe.connect((PROBE_PLAY, self.input), (self.output, PROBE_OUTPUT), *((clock, self.input) for clock in clocks))

    def end(self, signal_number: int = signal.SIGTERM) -> int:
        """Ends it; its exit code. What it has recorded it may take some seconds to write."""
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
    """A program that takes and sends MIDI over its standard input and output (`pipe.py`)."""

    def __init__(self, name: str, command: list[str]) -> None:
        super().__init__(name, command, stdout=subprocess.PIPE)
        self.sent: list[tuple[float, bytes]] = []
        """What it has sent, with the seconds of the steady clock at which it did."""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout
        self.sent.extend(pipe.messages(self.process.stdout.fileno()))

    def play(self, data: bytes) -> float:
        """Plays a message to it; the moment at which that was, in seconds."""
        assert self.process.stdin
        at = time.perf_counter()
        os.write(self.process.stdin.fileno(), pipe.pack(at, data))
        return at

    def close(self) -> None:
        """Ends it, when all that it has sent is here."""
        self.end()
        self._listener.join(1)
        super().close()


def baseline(server: Server, kind: str) -> Program:
    """The bare `echo` or the bare `sleep` of `baseline.py`, on a JACK server."""
    return Program(kind, ["-m", "rtgen.bench.baseline", kind, "jack"], server.environment)


def daemon(server: Server, *flags: str, name: str = "rtgen") -> Program:
    """The daemon itself, on a JACK server; its session is logged where nobody keeps anything."""
    # One that finds what another left when it was killed would write its music meanwhile.
    folder = tempfile.TemporaryDirectory(prefix="rtgen-sessions-", ignore_cleanup_errors=True)
    command = ["-m", "rtgen", "run", "--api", "jack", "--name", name, "--sessions", folder.name, *flags]
    program = Program(name, command, server.environment)
    program.folder = folder
    return program


def model_file() -> Path:
    """The shipped model, or in a checkout that has none the tests' own.

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
    """A preset to measure and test with: at distance 0 an answer is what was played."""
    preset = folder / "test.yaml"
    preset.write_text(f"model: {model_file()}\nmode: vary\ndistance: 0\nuse: answer\nbars: 2\n", "utf-8")
    return preset


# Where the system does not end them with us, they look for themselves.
_ALIVE = "import os\np = os.getppid()\nwhile os.getppid() == p:\n    "
_SPIN = [["-c", _ALIVE + "sum(range(10000))"]] * (os.cpu_count() or 1)
_STREAM = ["-c", f"import numpy as np\na = np.zeros(2**23)\n{_ALIVE}np.add(a, 1.0, out=a)"]
"""64 MB again and again: more than any cache holds."""


@contextmanager
def _running(*commands: list[str]) -> Iterator[None]:
    running = [
        subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.DEVNULL, preexec_fn=ending_with_us(signal.SIGTERM)
        )
        for command in commands
    ]
    try:
        yield
    finally:
        for process in running:
            end(process)


def load(model: Path) -> AbstractContextManager[None]:
    """Keeps every core busy with a process of ordinary priority, and a model answering all the time."""
    return _running(*_SPIN, ["-m", "rtgen.bench.hot", "--forever", str(model)])


def busy_cores() -> AbstractContextManager[None]:
    """Keeps every core busy with a process of ordinary priority."""
    return _running(*_SPIN)


def streamed_memory() -> AbstractContextManager[None]:
    """Streams through memory without end, as a DAW does with its samples: nothing of ours stays in the caches."""
    return _running(_STREAM)


BESIDE: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "alone": nullcontext,
    "memory streamed beside": streamed_memory,
    "cores busy beside": busy_cores,
}
"""What may run beside a program that is measured."""


# ---- what a process costs (Linux) -----------------------------------------------------------------------------------


def workers(pid: int) -> list[int]:
    """The processes below a process (Linux)."""
    below: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        children = (task / "children").read_text().split()
        below += [p for child in children for p in (int(child), *workers(int(child)))]
    return below


def libraries(pid: int) -> set[str]:
    """The files that a process has mapped into its memory (Linux)."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6 and fields[5].startswith("/")}


def unique_set_mb(pid: int) -> float:
    """Memory that a process shares with no other, in MB (Linux)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:"))]
    return sum(kilobytes) / 1024


def cpu_s(pid: int) -> float:
    """Seconds of a core that a process has used so far: to the nanosecond, or where that is not kept, to 10 ms (Linux).

    Threads that have ended are left out of the former.
    """
    if Path("/proc/self/schedstat").exists():
        threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
