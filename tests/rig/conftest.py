"""The JACK rig for tests: one server, clock and probe for all, a daemon for each."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rtgen.bench.programs import Program, daemon, preset_file
from rtgen.bench.server import (
    CLOCK_OUT,
    PERIOD,
    PROBE_CLOCK,
    PROBE_PORTS,
    Capture,
    Clock,
    Probe,
    Server,
    TempoMap,
    missing,
    wait_until,
)
from rtgen.bench.streams import Run, Sounded, runs, sounded
from rtgen.music.files import note_events
from rtgen.music.note import Loop, Note
from rtgen.rig.worker import worker
from tests.busy import SERVER_STOOD_MS, void

_SETTLE_S = 0.15
ROOM_MS = 10.0
_MOST_ROOM_MS = 40.0
"""With more it would not be a test of time."""


@dataclass
class Heard:
    """What a performance sounded like."""

    capture: Capture
    runs: list[Run]
    notes: list[Sounded]

    @property
    def room_ms(self) -> float:
        """How far a note may be off: 10 ms, and for as long as the server itself was late.

        While it is, its frames stand still, and with them the clock, but not the time that the daemon goes by. That is
        so when a note is captured and again when its answer sounds.
        """
        return min(ROOM_MS + 2 * self.capture.stood_still_ms(), _MOST_ROOM_MS)


@dataclass
class Rig:
    """The rig that tests share, at the start of the song, with nothing connected but the clock."""

    server: Server
    probe: Probe
    test: pytest.Item  # whose rig it is

    def perform(
        self,
        tempos: TempoMap,
        loops: Sequence[tuple[int, Loop]],
        until: int,
        *,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Plays loops at their ticks, from the start of the song until a tick, and stops there.

        Args:
            tempos: the tempo map.
            loops: (tick at which it starts, loop).
            until: tick.
            meanwhile: called as soon as the transport has been started.
        """
        self.begin(tempos, loops)
        meanwhile()
        self.probe.wait_for_frame(tempos.frame(until))
        self.probe.stop()
        time.sleep(_SETTLE_S)

    def begin(self, tempos: TempoMap, loops: Sequence[tuple[int, Loop]]) -> None:
        """Begins to play loops at their ticks, from the start of the song."""
        events = [event for start, loop in loops for event in note_events(loop.notes, start=start)]
        self.probe.conduct(tempos)
        self.probe.play([(tempos.frame(event.tick), event.data) for event in events])
        self.probe.start()

    def heard(self) -> Heard:
        """All since the test began; the notes are safe, or this raises."""
        time.sleep(_SETTLE_S)
        capture = self.probe.take()
        self.test.stash[SERVER_STOOD_MS] = capture.stood_still_ms()
        if capture.gaps:
            void(self.test, "the probe missed cycles")
        return Heard(capture, runs(capture.clock), sounded(capture.output))

    def notes_ended(self) -> None:
        """All notes since this was last looked at have ended, or this raises."""
        time.sleep(_SETTLE_S)
        capture = self.probe.take()
        if not capture.gaps:  # the end of a note may have been in one
            sounded(capture.output)


@contextmanager
def joining() -> Iterator[None]:
    """Keeps the other processes of this test run from starting servers and clients of JACK meanwhile.

    All servers of a machine share one list. A client that is opened while another is, on another server, is refused now
    and then: one in eight, when four do nothing else.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with (Path(tempfile.gettempdir()) / f"rtgen-tests-{os.getuid()}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def stage(period: int = PERIOD) -> Iterator[tuple[Server, Probe]]:
    """A server, with the clock and the probe connected."""
    if reason := missing():
        # Where every program is meant to be there, its absence must not pass for success.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no JACK rig: {reason}")
    with ExitStack() as stack:
        with joining():
            server = stack.enter_context(Server.start(period))
            stack.enter_context(Clock(server))
            probe = stack.enter_context(Probe(server))
            probe.connect((CLOCK_OUT, PROBE_CLOCK))
        yield server, probe


@pytest.fixture(scope="session")
def _stage() -> Iterator[tuple[Server, Probe]]:
    with stage() as found:
        yield found


@pytest.fixture
def rig(_stage: tuple[Server, Probe], request: pytest.FixtureRequest) -> Iterator[Rig]:
    """The rig, rewound and with nothing captured yet."""
    server, probe = _stage
    # Of a program that was killed the server knows a moment later.
    wait_until(lambda: probe.ports() == [CLOCK_OUT, *PROBE_PORTS], "the end of the last test's ports")
    probe.play([])
    probe.rewind()
    time.sleep(_SETTLE_S)
    probe.take()
    yield Rig(server, probe, request.node)
    probe.rewind()


@pytest.fixture(autouse=True)
def _patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that this process started is not taken for hanging where others keep the machine busy."""
    if request.node.get_closest_marker("timed") is None:
        monkeypatch.setattr(worker, "ANSWER_S", 60.0)


StartDaemon = Callable[..., Program]


@pytest.fixture
def start_daemon(rig: Rig, tmp_path: Path) -> Iterator[StartDaemon]:
    """Starts the daemon with flags, connects it, and waits until its model is ready; ends it when the test is over.

    After every test the daemon must end of itself with status 0, and leave nothing sounding.
    """
    running: list[Program] = []

    def start(*flags: str, wait: bool = True, connect: bool = True) -> Program:
        program = daemon(rig.server, "--preset", str(preset_file(tmp_path)), "--seed", "1", *flags)
        running.append(program)
        if connect:
            program.attach(rig.probe, CLOCK_OUT)
        if wait:
            program.wait_for_line("model ready")
        return program

    yield start
    for program in running:
        try:
            code = program.end()
            assert code == 0, f"the daemon ended with {code}:\n{program.said}"
        finally:
            program.close()
    if running:
        rig.notes_ended()


def loop_of(*notes: Note, bars: int = 1) -> Loop:
    """A loop in 4/4."""
    return Loop(bars * 1920, notes)
