"""A JACK server, a MIDI clock and a probe for sample-accurate tests of a MIDI program.

    with Server.start() as server, Clock(server), Probe(server) as probe:
        probe.wait_for_ports("echo-in:", "jack_midi_clock:mclk_out")
        probe.connect(CLOCK_OUT, PROBE_CLOCK)
        ...

The server is private (its own name, the dummy driver), so it does not touch a server in use. The clock is
`jack_midi_clock`, which follows JACK's transport; the probe is the timebase master and sets the tempo.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import IO, Any, Self

from rtgen.rig.apart import GROUP

RATE = 48_000
PERIOD = 64
PROBE_PORTS = PROBE_PLAY, PROBE_OUTPUT, PROBE_CLOCK = "probe:play", "probe:output", "probe:clock"
CLOCK_OUT = "jack_midi_clock:mclk_out"
_PROGRAMS = "jackd", "jack_midi_clock"
_PATIENCE_S = 30.0
_PR_SET_PDEATHSIG = 1
_KILL = 9
"""SIGKILL, which Windows has not."""
_serial = itertools.count()
Timed = tuple[float, bytes]
"""A frame and its MIDI bytes."""


class RigError(Exception):
    """The test rig itself failed, so there is no result for the program under test."""


def missing() -> str | None:
    """Returns, as a sentence, why the rig cannot run on this machine; None if it can."""
    absent = [program for program in _PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"{' and '.join(absent)} not found; on Debian: apt-get install jackd2 jack-midi-clock"
    try:
        import jack  # noqa: F401
    except (ImportError, OSError) as error:
        return f"JACK-Client does not load ({error}); pip install 'rtgen[bench]', and JACK's library"
    return None


def wait_until(condition: Callable[[], bool], what: str, patience_s: float = _PATIENCE_S) -> float:
    """Waits until `condition` holds; returns the time this took, in seconds.

    Raises:
        RigError: it did not hold within `patience_s`.
    """
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > patience_s:
            raise RigError(f"{what} did not happen within {patience_s:g} s")
        time.sleep(0.005)
    return time.perf_counter() - began


def end(process: subprocess.Popen[Any], signal_number: int = signal.SIGTERM, patience_s: float = 5.0) -> int:
    """Ends a process that we started, by force if it does not react; returns its exit code."""
    if process.poll() is None:
        process.send_signal(signal_number)
    try:
        return process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def ending_with_us(signal_number: int) -> Callable[[], None] | None:
    """A `preexec_fn` that ends the process with the thread that started it, even if that is killed (Linux).

    JACK allows eight servers on a machine, including leftovers.
    """
    if sys.platform != "linux":
        return None
    # Look up `prctl` before the fork, so that only this one call remains after it.
    return partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, signal_number)


class Closing:
    """Base of context managers that call `close` on exit."""

    def close(self) -> None:
        """Ends or releases the resource."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def one_runs() -> bool:
    """Whether any JACK server runs on this machine, ours or not (Linux)."""
    return any(_program_of(process).startswith("jackd") for process in Path("/proc").glob("[0-9]*"))


def _forget_dead_servers() -> None:
    """Clears JACK's registry of servers if none is running.

    A killed server counts among the eight that JACK allows until another takes its name. (jackd has the option
    `--replace-registry` for this, but version 1.9.21 does not accept it.)
    """
    if not one_runs():
        with suppress(OSError):
            Path("/dev/shm/jack-shm-registry").unlink()


def _program_of(process: Path) -> str:
    try:
        return (process / "comm").read_text()
    except OSError:  # it has ended
        return ""


@dataclass
class Server(Closing):
    """A private JACK server with the dummy driver.

    Args:
        name: server name for clients.
        period: frames per cycle.
        realtime: whether its cycle has real-time scheduling.
        synchronous: whether its cycle waits for every client.
        process: the server process.
    """

    name: str
    period: int
    realtime: bool
    synchronous: bool
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, period: int = PERIOD, *, synchronous: bool = True, name: str | None = None) -> Server:
        """Starts a server, without real-time scheduling if that is refused; `name` may be that of a server that ended.

        Synchronous by default: an asynchronous server drops what a late client should have received. On a busy machine
        with two cores that is one clock in 300, even without a program under test. A synchronous server loses nothing
        and reports when it was late (`Capture.xruns`).

        Raises:
            RigError: it does not start either way.
        """
        if name is None:  # clients waiting for a named server to return need the old registry
            _forget_dead_servers()
        # jackd reports every late cycle; a pipe that nobody reads would fill up and block it.
        with tempfile.TemporaryFile() as said:
            for realtime in True, False:
                server = cls._launch(
                    name or f"rtgen-{os.getpid()}-{next(_serial)}", period, realtime, synchronous, said
                )
                try:
                    wait_until(server._answers, "the JACK server's start", 5.0)
                    server.realtime = server._has_realtime_thread()
                    return server
                except RigError:
                    end(server.process)
                    said.seek(0)
                    message = said.read().decode(errors="replace").strip()
            raise RigError(f"jackd does not start: {message}")

    @classmethod
    def _launch(cls, name: str, period: int, realtime: bool, synchronous: bool, said: IO[bytes]) -> Server:
        # Few ports, so that the server's shared memory fits into a container's 64 MB.
        engine = ["-n", name, "-R" if realtime else "-r", *(["-S"] if synchronous else []), "-p", "128"]
        driver = ["-d", "dummy", "-r", str(RATE), "-p", str(period)]
        process = subprocess.Popen(
            ["jackd", *engine, *driver],
            stdout=said,
            stderr=said,
            # The dummy driver needs no device reservation over the desktop's session bus.
            env={**os.environ, "JACK_NO_AUDIO_RESERVATION": "1"},
            start_new_session=True,
            preexec_fn=ending_with_us(signal.SIGTERM),
        )
        return cls(name, period, realtime, synchronous, process)

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which every JACK client finds this server and starts no other."""
        return {**os.environ, "JACK_DEFAULT_SERVER": self.name, "JACK_NO_START_SERVER": "1"}

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise RigError("jackd ended")
        knock = "import jack, sys; jack.Client('knock', no_start_server=True).close()"
        done = subprocess.run([sys.executable, "-c", knock], env=self.environment, capture_output=True, timeout=10)
        return done.returncode == 0

    def _has_realtime_thread(self) -> bool:
        tasks = Path(f"/proc/{self.process.pid}/task")
        if sys.platform != "linux" or not tasks.is_dir():
            return self.realtime
        return any(os.sched_getscheduler(int(task.name)) in (os.SCHED_FIFO, os.SCHED_RR) for task in tasks.iterdir())

    def __str__(self) -> str:
        scheduling = "real-time" if self.realtime else "ordinary"
        mode = "synchronous" if self.synchronous else "asynchronous"
        return f"jackd, dummy driver, {RATE} Hz, periods of {self.period} frames, {scheduling} scheduling, {mode}"

    def close(self) -> None:
        """Ends the server."""
        end(self.process)


_PIPEWIRE = """
context.properties = {{
    core.daemon = true  core.name = pipewire-0  support.dbus = false
    default.clock.rate = {rate}  default.clock.quantum = {quantum}  default.clock.force-quantum = {quantum}
    default.clock.min-quantum = 16  default.clock.max-quantum = 8192  settings.check-quantum = false
}}
context.spa-libs = {{ audio.convert.* = audioconvert/libspa-audioconvert  support.* = support/libspa-support }}
context.modules = [
    {{ name = libpipewire-module-rt  flags = [ ifexists nofail ] }}
    {{ name = libpipewire-module-protocol-native }}
    {{ name = libpipewire-module-metadata }}
    {{ name = libpipewire-module-spa-node-factory }}
    {{ name = libpipewire-module-client-node }}
    {{ name = libpipewire-module-access }}
    {{ name = libpipewire-module-adapter }}
    {{ name = libpipewire-module-link-factory }}
]
context.objects = [
    {{ factory = spa-node-factory args = {{
        factory.name = support.node.driver  node.name = driver  priority.driver = 20000
    }} }}
]
"""
"""A server of its own with a driver that needs no device; session manager and message bus have nothing to do."""


class PipeWire(Closing):
    """A private PipeWire server, as JACK clients see it by PipeWire's own libjack.

    Args:
        period: frames per cycle.

    Raises:
        RigError: it does not start.
    """

    def __init__(self, period: int) -> None:
        self.period = period
        program = shutil.which("pipewire")
        if program is None or not (places := self._libraries(program)):
            raise RigError("pipewire, or its libjack, not found; on Debian: apt-get install pipewire pipewire-jack")
        self._folder = tempfile.TemporaryDirectory(prefix="rtgen-pipewire-")
        folder = Path(self._folder.name)
        (folder / "server.conf").write_text(_PIPEWIRE.format(rate=RATE, quantum=period))
        before = os.environ.get("LD_LIBRARY_PATH")
        libraries = ":".join(filter(None, (*places, before)))
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "LD_LIBRARY_PATH": libraries}
        """Environment in which every JACK client finds this server and starts no other."""
        self.process = subprocess.Popen(
            [program, "-c", str(folder / "server.conf")],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=ending_with_us(signal.SIGTERM),
            process_group=GROUP,
        )
        try:
            wait_until((folder / "pipewire-0").exists, "the PipeWire server's start")
        except RigError:
            self.close()
            raise

    @staticmethod
    def _libraries(program: str) -> list[str]:
        """Return where its libjack is."""
        root = Path(program).parent.parent
        return [str(path.parent) for path in root.glob("lib*/**/pipewire-0.3/jack/libjack.so.0")]

    def __str__(self) -> str:
        return f"PipeWire, {RATE} Hz, quantum of {self.period} frames"

    def close(self) -> None:
        """Ends the server."""
        end(self.process)
        self._folder.cleanup()


class Clock(Closing):
    """`jack_midi_clock`: sends Start, Stop, clocks and song position as JACK's transport moves.

    Args:
        server: its JACK server.
        jitter: deliberate jitter, in percent of a clock.
        resync_s: seconds between a song position and the Continue after it.
    """

    def __init__(self, server: Server, jitter: float = 0.0, resync_s: float = 0.5) -> None:
        command = ["jack_midi_clock", "-d", str(resync_s), "-J", str(jitter)]
        self._process = subprocess.Popen(
            command,
            env=server.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=ending_with_us(_KILL),
            process_group=GROUP,
        )

    def close(self) -> None:
        """Ends the clock."""
        # It does not handle SIGTERM, and checks for signals once a second.
        end(self._process, signal.SIGINT)


@dataclass(frozen=True)
class Capture:
    """What a probe captured, in absolute frames, in order of arrival.

    Args:
        output: output of the program under test.
        clock: sent by the MIDI clock.
        played: played by the probe itself.
        gaps: frames at which the probe had missed a cycle, so that events may be missing.
        xruns: frames at which the server reported an xrun.
        lags: (frame, seconds): how far the steady clock is ahead of the server's frames, at each change. While it gets
            ahead, the frame count stands still.
    """

    output: list[Timed] = field(default_factory=list)
    clock: list[Timed] = field(default_factory=list)
    played: list[Timed] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    xruns: list[float] = field(default_factory=list)
    lags: list[tuple[float, float]] = field(default_factory=list)

    def stood_still_ms(self, window_s: float = 1.5) -> float:
        """Total time that the frame count stood still, in the worst window of `window_s` seconds."""
        worst, before = 0.0, deque[tuple[float, float]]()
        for at, lag in self.lags:
            # The last lag before the window still holds at its start.
            while len(before) > 1 and before[1][0] <= at - window_s * RATE:
                before.popleft()
            worst = max(worst, lag - min((lag for _, lag in before), default=lag))
            before.append((at, lag))
        return worst * 1000

    def __add__(self, other: Capture) -> Capture:
        """Appends a later capture."""
        return Capture(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


class Probe(Closing):
    """Controls `probe.py` in its own process: conducts, plays and records."""

    def __init__(self, server: Server | PipeWire) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("probe.py")), "probe"],
            env=server.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=GROUP,
        )

    def _ask(self, method: str, *arguments: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        try:
            pickle.dump((method, arguments), self._process.stdin)
            self._process.stdin.flush()
            good, reply = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError):
            raise RigError("the probe is gone") from None
        if not good:
            raise RigError(f"{method}: {reply}")
        return reply

    # Ports

    def ports(self) -> list[str]:
        """Names of all MIDI ports of the server."""
        return list(self._ask("ports"))

    def wait_for_ports(self, *prefixes: str, patience_s: float = _PATIENCE_S) -> float:
        """Waits until a port with each prefix exists; returns the time this took, in seconds."""

        def all_there() -> bool:
            ports = self.ports()
            return all(any(port.startswith(prefix) for port in ports) for prefix in prefixes)

        return wait_until(all_there, f"ports {', '.join(prefixes)}", patience_s)

    def connect(self, *pairs: tuple[str, str]) -> None:
        """Connects source to destination, once both exist and their clients are active."""
        for source, destination in pairs:
            wait_until(partial(self._ask, "connect", source, destination), f"connecting {source}, {destination}")

    # Transport

    def conduct(self, tempos: TempoMap) -> None:
        """Sets the tempo map."""
        self._ask("conduct", tempos.for_probe)

    def start(self) -> None:
        """Starts the transport where it is."""
        self._ask("start")

    def stop(self) -> None:
        """Stops the transport where it is."""
        self._ask("stop")

    def locate(self, frame: int) -> None:
        """Moves the transport."""
        self._ask("locate", frame)

    def rewind(self) -> None:
        """Stops the transport and moves it to its start."""
        self.stop()
        wait_until(lambda: not self.position()[0], "the transport's stop")
        self.locate(0)
        wait_until(lambda: self.position()[1] == 0, "the transport's return")

    def position(self) -> tuple[bool, int]:
        """Whether the transport is rolling, and its frame."""
        rolls, frame = self._ask("position")
        return rolls, frame

    def wait_for_frame(self, frame: float) -> None:
        """Sleeps until the rolling transport reaches a frame."""
        remaining = frame - self.position()[1]
        time.sleep(max(remaining / RATE, 0))
        wait_until(lambda: self.position()[1] >= frame, f"the transport's arrival at frame {frame}")

    # Music

    def play(self, script: Sequence[tuple[int, bytes]]) -> None:
        """Sets the script to play while the transport rolls: (transport frame, message)."""
        self._ask("play", sorted(script, key=lambda timed: timed[0]))

    def send(self, data: bytes) -> None:
        """Plays a message at once."""
        self._ask("send", data)

    def now(self) -> int:
        """The current absolute frame."""
        return int(self._ask("now"))

    def take(self) -> Capture:
        """Returns what was captured since the last call. Not during a measurement: a large reply delays the probe."""
        return Capture(*self._ask("take"))

    def close(self) -> None:
        """Leaves the server."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


class TempoMap:
    """Maps ticks (480 per beat) to frames of JACK's transport.

    Args:
        tempos: (tick, BPM), the first at tick 0, every tick on a MIDI clock (a multiple of 20).
    """

    def __init__(self, *tempos: tuple[int, float]) -> None:
        self._segments: list[tuple[float, float, float]] = []
        frame, last_tick, last_bpm = 0.0, 0, tempos[0][1]
        for tick, bpm in tempos:
            frame += _frames(tick - last_tick, last_bpm)
            last_tick, last_bpm = tick, bpm
            self._segments.append((frame, tick, bpm))

    @property
    def for_probe(self) -> list[tuple[int, float, float]]:
        """(transport frame, beat, BPM) of each change."""
        return [(round(frame), tick / 480, bpm) for frame, tick, bpm in self._segments]

    def frame(self, tick: float) -> int:
        """The transport frame of a tick."""
        frame, start, bpm = next(s for s in reversed(self._segments) if s[1] <= max(tick, 0))
        return round(frame + _frames(tick - start, bpm))


def _frames(ticks: float, bpm: float) -> float:
    return ticks / 480 * 60 * RATE / bpm
