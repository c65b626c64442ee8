"""The daemon as a process: how it starts, what it loads, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from rtgen.bench.music import BAR
from rtgen.bench.programs import Program, libraries, workers
from rtgen.bench.server import RATE, TempoMap, wait_until
from rtgen.music.note import Note
from tests.rig.conftest import Rig, StartDaemon, loop_of
from tests.rig.test_loops import PHRASE, assert_plays

pytestmark = [pytest.mark.jack, pytest.mark.timed]
HEAVY = "numpy", "onnxruntime", "torch"
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_ports_are_open_within_a_second_and_before_the_model_is_warm(rig: Rig, start_daemon: StartDaemon) -> None:
    times = []
    for _ in range(3):
        program = start_daemon(wait=False, connect=False)
        rig.probe.wait_for_ports(program.input, program.output)
        times.append(time.perf_counter() - program.started)
        assert program.wait_for_line("ports open") < program.wait_for_line("model ready")
        assert program.end() == 0
        wait_until(lambda p=program: p.input not in rig.probe.ports(), "the end of its ports")
    # One start of three may fall on a moment when the machine is busy with something else.
    assert min(times) < 1.0, times


@linux
def test_the_real_time_process_loads_no_numpy_and_no_model_runtime(rig: Rig, start_daemon: StartDaemon) -> None:
    program = start_daemon("--bars", "1")
    rig.perform(TempoMap((0, 174)), [(0, PHRASE)], 2 * BAR)
    assert len(rig.heard().notes) == len(PHRASE)
    heavy = [path for path in libraries(program.process.pid) if any(name in path for name in HEAVY)]
    assert heavy == []
    assert any("onnxruntime" in path for pid in workers(program.process.pid) for path in libraries(pid))


def end_in_the_middle_of_notes(rig: Rig, program: Program, signal_number: int) -> None:
    tempos = TempoMap((0, 120))
    held = loop_of(Note(0, 50, 1900, 90), Note(0, 62, 1900, 91), Note(480, 65, 1400, 70))

    def finish() -> None:
        rig.probe.wait_for_frame(tempos.frame(BAR + 1000))
        assert program.end(signal_number) == 0, program.said

    rig.perform(tempos, [(0, held)], BAR + 1500, meanwhile=finish)
    heard = rig.heard()
    ended = heard.runs[0].frame(BAR + 1000)
    assert sorted(n.pitch for n in heard.notes) == [50, 62, 65]
    assert all(0 <= n.off - ended < RATE for n in heard.notes), heard.notes


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_every_note_before_the_ports_close(
    rig: Rig, start_daemon: StartDaemon, signal_number: int
) -> None:
    end_in_the_middle_of_notes(rig, start_daemon("--bars", "1", "--no-thru"), signal_number)


def test_what_goes_through_is_ended_too(rig: Rig, start_daemon: StartDaemon) -> None:
    program = start_daemon("--thru")
    for pitch in 60, 64:
        rig.probe.send(bytes((0x90, pitch, 80)))
    time.sleep(0.1)
    assert program.end(signal.SIGTERM) == 0
    assert [n.pitch for n in rig.heard().notes] == [60, 64]


def test_it_ends_by_itself_when_asked_to(rig: Rig, start_daemon: StartDaemon) -> None:
    program = start_daemon("--seconds", "2", "--thru")
    rig.probe.send(bytes((0x90, 60, 80)))
    assert program.process.wait(5) == 0
    assert [n.pitch for n in rig.heard().notes] == [60]


@linux
def test_a_dead_worker_is_replaced_and_the_music_goes_on(rig: Rig, start_daemon: StartDaemon) -> None:
    program = start_daemon("--bars", "1", "--no-thru")
    (before,) = workers(program.process.pid)

    def kill() -> None:
        os.kill(before, signal.SIGKILL)

    rig.perform(TempoMap((0, 90)), [(0, PHRASE), (2 * BAR, PHRASE)], 4 * BAR, meanwhile=kill)
    assert workers(program.process.pid) != [before]
    assert_plays(rig.heard(), PHRASE, 3 * BAR)
