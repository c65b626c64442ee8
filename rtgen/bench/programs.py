"""The programs under test, as processes with JACK ports: the daemon, and the baselines it is compared with."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from rtgen.bench.server import PROBE_OUTPUT, PROBE_PLAY, Closing, Probe, RigError, Server, end, wait_until

_REPOSITORY = Path(__file__).parents[2]


class Program(Closing):
    """A process with the ports `NAME-in:NAME in` and `NAME-out:NAME out`.

    Args:
        server: where it runs.
        name: of its ports.
        command: what is run.
    """

    def __init__(self, server: Server, name: str, command: list[str]) -> None:
        self.input, self.output = f"{name}-in:{name} in", f"{name}-out:{name} out"
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=_REPOSITORY,
            env=server.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[tuple[float, str]] = []
        """What it said: (seconds since its start, line)."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.log.append((time.perf_counter() - self.started, line.rstrip()))

    @property
    def said(self) -> str:
        """Its log, as text."""
        return "\n".join(f"{at:8.3f} {line}" for at, line in self.log)

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
        """Ends it; its exit code."""
        code = end(self.process, signal_number)
        self._reader.join(1)
        return code

    def close(self) -> None:
        """Ends it, and closes the pipes."""
        self.end()
        for pipe in (self.process.stdin, self.process.stderr):
            if pipe:
                pipe.close()


def baseline(server: Server, kind: str) -> Program:
    """The bare `echo` or the bare `sleep` of `baseline.py`."""
    return Program(server, kind, [str(Path(__file__).with_name("baseline.py")), kind])


def daemon(server: Server, *flags: str, name: str = "rtgen") -> Program:
    """The daemon itself."""
    return Program(server, name, ["-m", "rtgen", "run", "--api", "jack", "--name", name, *flags])


def preset_file(folder: Path) -> Path:
    """The preset that tests run with: its model is the shipped one, or in a checkout that has none the tests' own."""
    shipped = _REPOSITORY / "models" / "loop_denoiser.onnx"
    model = shipped if shipped.is_file() else _REPOSITORY / "tests" / "data" / "tiny.onnx"
    preset = folder / "test.yaml"
    preset.write_text(f"model: {model}\nmode: vary\ndistance: 0\nuse: answer\nbars: 2\n", "utf-8")
    return preset


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
