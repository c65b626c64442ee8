"""Ports that go and come back, and the whole JACK server with them: the daemon goes on, and no note is stuck."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from rtgen.bench.music import BAR
from rtgen.bench.programs import Program, daemon, port_processes, preset_file
from rtgen.bench.server import (
    CLOCK_OUT,
    PROBE_CLOCK,
    PROBE_OUTPUT,
    PROBE_PLAY,
    Clock,
    Probe,
    Server,
    TempoMap,
    end,
    missing,
    wait_until,
)
from rtgen.bench.streams import sounded
from rtgen.music.files import note_events
from rtgen.music.note import Note
from tests.rig.conftest import loop_of

pytestmark = [pytest.mark.jack, pytest.mark.timed]
PICKED_UP_S = 2.0
PHRASE = loop_of(Note(0, 60, 400, 90), Note(480, 64, 400, 80), Note(960, 67, 400, 70), Note(1440, 72, 400, 60))


class Peer:
    """A run of `peer.py`; its ports are `NAME-out:NAME out` and `NAME-in:NAME in`."""

    def __init__(self, server: Server, name: str = "peer") -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("peer.py")), name],
            env=server.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.ready = float(self.process.stdout.readline().split()[1])
        self.heard: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.heard.append(bytes.fromhex(line))

    def play(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data.hex() + "\n")
        self.process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process, signal.SIGKILL)
        self._reader.join(1)
        for pipe in self.process.stdin, self.process.stdout:
            assert pipe
            pipe.close()


def ons(messages: list[bytes]) -> list[int]:
    return [m[1] for m in messages if m[0] & 0xF0 == 0x90 and m[2]]


def on(pitch: int) -> bytes:
    return bytes((0x90, pitch, 80))


def off(pitch: int) -> bytes:
    return bytes((0x80, pitch, 0))


class Stage:
    """A server of the test's own, with clock and probe, that can be ended and started anew under its name."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.server = self._stack.enter_context(Server.start())
        self._furnish()

    def _furnish(self) -> None:
        self._stack.enter_context(Clock(self.server))
        self.probe = self._stack.enter_context(Probe(self.server))
        self.probe.connect((CLOCK_OUT, PROBE_CLOCK))

    def end_server(self, signal_number: int) -> None:
        end(self.server.process, signal_number)

    def start_again(self) -> float:
        """A new server under the name of the ended one; when it was there."""
        with self._stack.pop_all():
            self.server = self._stack.enter_context(Server.start(name=self.server.name))
            began = time.perf_counter()
        self._furnish()
        return began

    def close(self) -> None:
        self._stack.close()

    def perform(self) -> None:
        """A loop is played, and its answer's time waited for."""
        tempos = TempoMap((0, 120))
        self.probe.conduct(tempos)
        self.probe.play([(tempos.frame(e.tick), e.data) for e in note_events(PHRASE.notes)])
        self.probe.start()
        self.probe.wait_for_frame(tempos.frame(2 * BAR))
        self.probe.stop()
        time.sleep(0.2)


@pytest.fixture
def stage() -> Iterator[Stage]:
    if reason := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no JACK rig: {reason}")
    stage = Stage()
    yield stage
    stage.close()


def run_daemon(server: Server, folder: Path, *flags: str) -> Program:
    return daemon(server, "--preset", str(preset_file(folder)), "--bars", "1", "--thru", "--seed", "1", *flags)


def test_a_named_port_that_goes_and_returns_elsewhere_is_picked_up(stage: Stage, tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(Peer(stage.server))
        ports = ["--in", "peer-out", "--in", "jack_midi_clock", "--out", "peer-in"]
        program = stack.enter_context(run_daemon(stage.server, tmp_path, *ports))
        program.wait_for_line("model ready")
        first.play(on(50))
        wait_until(lambda: first.heard == [on(50)], "the note's way through")
        first.play(b"\xf0\x01\x02")  # an exclusive message that is cut short, too
        time.sleep(0.1)
        end(first.process, signal.SIGKILL)
        program.wait_for_line("peer-in is gone")
        program.wait_for_line("peer-out is gone")
        stack.enter_context(Peer(stage.server, "another"))  # takes the place in the list
        second = stack.enter_context(Peer(stage.server))

        def through() -> bool:
            second.play(on(51))
            second.play(off(51))
            return 51 in ons(second.heard)

        wait_until(through, "the port's return")
        took = time.perf_counter() - second.ready
        print(f"\npicked up {took:.2f} s after its return")
        assert took < PICKED_UP_S
        assert second.heard[0] == off(50), "what was owed is made good first"

        time.sleep(0.3)  # or the last of these would be an early downbeat
        stage.probe.conduct(TempoMap((0, 120)))
        stage.probe.start()
        program.wait_for_line("rolling")
        for pitch in 60, 64, 67:
            second.play(on(pitch))
            time.sleep(0.1)
            second.play(off(pitch))
        program.wait_for_line("answering in bar 2: 3 notes")
        stage.probe.wait_for_frame(TempoMap((0, 120)).frame(2 * BAR))
        stage.probe.stop()
        assert program.end() == 0, program.said
        time.sleep(0.1)
        assert [p for p in ons(second.heard) if p >= 60] == [60, 64, 67, 60, 64, 67]
        sounded(enumerate(first.heard + second.heard))


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_a_jack_server_that_is_started_anew_finds_all_ports_again(
    stage: Stage, tmp_path: Path, signal_number: int
) -> None:
    named = ["--in", PROBE_PLAY, "--in", CLOCK_OUT, "--out", PROBE_OUTPUT]
    with run_daemon(stage.server, tmp_path, *named) as program:
        program.wait_for_line("model ready")
        stage.probe.send(on(50))
        time.sleep(0.5)  # or it would be an early downbeat
        stage.perform()
        first = stage.probe.take()
        assert ons([data for _, data in first.output]) == [50, 60, 64, 67, 72, 60, 64, 67, 72]
        stage.end_server(signal_number)
        program.wait_for_line("probe:output is gone")

        began = stage.start_again()
        for port in PROBE_PLAY, CLOCK_OUT, PROBE_OUTPUT:
            program.wait_for_line(f"{port} is back")
        took = time.perf_counter() - began
        print(f"\npicked up {took:.2f} s after the server was back, and its programs after it")
        assert took < PICKED_UP_S
        stage.perform()
        assert program.end() == 0, program.said
        time.sleep(0.1)
        second = stage.probe.take()
        assert second.output[0][1] == off(50), "what was owed is made good first"
        assert ons([data for _, data in second.output]) == [60, 64, 67, 72, 60, 64, 67, 72]
        last = first.output[-1][0]
        sounded([*first.output, *((last + frame, data) for frame, data in second.output)])
        assert "time out" not in program.said


def test_virtual_ports_are_back_with_the_server_however_often(stage: Stage, tmp_path: Path) -> None:
    with run_daemon(stage.server, tmp_path) as program:
        program.wait_for_line("model ready")
        for _ in range(4):
            stage.end_server(signal.SIGKILL)
            began = stage.start_again()  # at once: it may be back before its end was noticed
            stage.probe.wait_for_ports(program.input, program.output)
            took = time.perf_counter() - began
            print(f"\nback {took:.2f} s after the server")
            assert took < PICKED_UP_S
        program.attach(stage.probe, CLOCK_OUT)
        stage.perform()
        assert ons([data for _, data in stage.probe.take().output]) == [60, 64, 67, 72] * 2, program.said
        assert program.end() == 0


def test_a_port_process_that_is_killed_is_replaced(stage: Stage, tmp_path: Path) -> None:
    with run_daemon(stage.server, tmp_path) as program:
        program.wait_for_line("model ready")
        (pid,) = port_processes(program.process.pid)
        os.kill(pid, signal.SIGKILL)
        began = time.perf_counter()
        program.wait_for_line("rtgen in is back")
        print(f"\nback {time.perf_counter() - began:.2f} s after its end")
        assert time.perf_counter() - began < PICKED_UP_S
        program.attach(stage.probe, CLOCK_OUT)
        stage.perform()
        assert ons([data for _, data in stage.probe.take().output]) == [60, 64, 67, 72] * 2, program.said
        assert program.end() == 0
