"""The JACK rig for tests: one server, clock and probe for all, a daemon for each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from pytest_rerunfailures import get_reruns_count

from rtgen.bench.programs import Program, daemon, preset_file
from rtgen.bench.server import (
    CLOCK_OUT,
    PROBE_CLOCK,
    PROBE_PORTS,
    RATE,
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

_SETTLE_S = 0.15
_ROOM_MS = 10.0
_LATE_MS, _CLOCK_S = 15.0, 0.02
"""A server that is this late within a clock has stood still for more than a test's room.

And a clock that stands still for the time of one cannot be told from one that has lost one.
"""
_STOOD_MS = 20.0
"""And so has one that was late so much in all within `_WINDOW_S`."""
_WINDOW_S = 1.5
_VOID = pytest.StashKey[set[str]]()
_VOID_TESTS = 6
"""Tests that may be given up for that; with more, the machine is not fit to test on."""
_TOO_BUSY = "this machine is too busy to say anything about the daemon"


def stood_still_ms(capture: Capture, window_s: float = _WINDOW_S) -> float:
    """For how long the server's frames stood still, in all, in the worst second and a half."""
    xruns, window = capture.xruns, window_s * RATE
    return max((sum(ms for x, ms in xruns if at <= x < at + window) for at, _ in xruns), default=0.0)


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
        return _ROOM_MS + 2 * stood_still_ms(self.capture)


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
        events = [event for start, loop in loops for event in note_events(loop.notes, start=start)]
        self.probe.conduct(tempos)
        self.probe.play([(tempos.frame(event.tick), event.data) for event in events])
        self.probe.start()
        meanwhile()
        self.probe.wait_for_frame(tempos.frame(until))
        self.probe.stop()
        time.sleep(_SETTLE_S)

    def heard(self, stood_ms: float = _STOOD_MS) -> Heard:
        """All since the test began; the notes are safe, or this raises.

        Args:
            stood_ms: how long the server's frames may have stood still, in all, within any second and a half.
        """
        time.sleep(_SETTLE_S)
        capture = self.probe.take()
        late = stood_still_ms(capture, _CLOCK_S)
        stood = stood_still_ms(capture)
        if capture.gaps:
            self.void("the probe missed cycles")
        if late >= _LATE_MS:
            self.void(f"the server was {late:.0f} ms late")
        if stood >= stood_ms:
            self.void(f"the server's frames stood still for {stood:.0f} ms")
        return Heard(capture, runs(capture.clock), sounded(capture.output))

    def notes_ended(self) -> None:
        """All notes since this was last looked at have ended, or this raises."""
        time.sleep(_SETTLE_S)
        capture = self.probe.take()
        if not capture.gaps:  # the end of a note may have been in one
            sounded(capture.output)

    def void(self, why: str) -> NoReturn:
        """A performance that shows nothing, good or bad: the test is run again, and if that is of no use skipped."""
        tests = self.test.session.stash.setdefault(_VOID, set())
        if self.test.execution_count > get_reruns_count(self.test) and len(tests) < _VOID_TESTS:
            tests.add(self.test.nodeid)
            pytest.skip(f"{why}: {_TOO_BUSY}")
        raise AssertionError(f"{why}: {_TOO_BUSY}")


@pytest.fixture(scope="session")
def _stage() -> Iterator[tuple[Server, Probe]]:
    if reason := missing():
        # Where every program is meant to be there, its absence must not pass for success.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no JACK rig: {reason}")
    with ExitStack() as stack:
        server = stack.enter_context(Server.start())
        stack.enter_context(Clock(server))
        probe = stack.enter_context(Probe(server))
        probe.connect((CLOCK_OUT, PROBE_CLOCK))
        yield server, probe


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
