"""The rig itself: what it says about others is worth as much as what is known about it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from rtgen.bench.programs import baseline
from rtgen.bench.server import PERIOD, RATE, Capture, TempoMap, wait_until
from rtgen.bench.streams import CONTINUE, POSITION, START, STOP, Run, UnsafeError, compare, runs, sounded
from rtgen.music.note import Note
from tests.busy import Watch
from tests.rig.conftest import Rig

SETTINGS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
ADDOPTS = SETTINGS["tool"]["pytest"]["ini_options"]["addopts"]
ON, OFF = bytes((0x90, 60, 100)), bytes((0x80, 60, 0))


def test_grid_is_what_a_receiver_of_the_clock_would_count() -> None:
    tick, start, stop = bytes((0xF8,)), bytes((START,)), bytes((STOP,))
    clock = [(0, tick), (5, start), (10, tick), (20, tick), (30, tick), (33, stop), (40, tick)]
    clock += [(41, bytes((POSITION, 16, 0))), (50, bytes((CONTINUE,))), (50, tick), (70, tick)]
    first, second = runs(clock)
    assert first == Run(0, (10, 20, 30), 33)
    assert second == Run(1920, (50, 70), None)
    assert [first.frame(t) for t in (0, 10, 40, 60)] == [10, 15, 30, 40]
    assert second.position(60) == 1930


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        ([(0, ON)], "still sounding"),
        ([(0, OFF)], "did not sound"),
        ([(0, ON), (5, OFF), (6, OFF)], "did not sound"),
        ([(0, ON), (5, ON), (6, OFF)], "while it sounded"),
    ],
)
def test_unsafe_notes_are_found(stream: list[tuple[int, bytes]], complaint: str) -> None:
    with pytest.raises(UnsafeError, match=complaint):
        sounded(stream)


def test_missing_notes_and_wrong_velocities_are_found() -> None:
    run = Run(0, tuple(range(0, 2000, 20)), None)
    heard = sounded([(100, ON), (200, OFF)])
    assert compare([Note(98, 60, 100, 100)], heard, run, 0) == [(2, 2, 98)]
    with pytest.raises(AssertionError, match="velocity 100, not 99"):
        compare([Note(98, 60, 100, 99)], heard, run, 0)
    with pytest.raises(AssertionError, match="pitch 60: meant at ticks"):
        compare([Note(98, 61, 100, 100)], heard, run, 0)


def test_the_servers_frames_stood_still_by_what_the_steady_clock_got_ahead_of_them() -> None:
    second = float(RATE)
    assert Capture().stood_still_ms() == 0
    # 20 ms, of which it catches up 15, and 10 more soon after and much later.
    lags = [(0.0, 5.0), (second, 5.02), (1.1 * second, 5.005), (2 * second, 5.015), (9 * second, 5.025)]
    capture = Capture(lags=lags)
    assert capture.stood_still_ms() == pytest.approx(20)
    assert Capture(lags=lags[2:]).stood_still_ms() == pytest.approx(10)
    assert capture.stood_still_ms(20) == pytest.approx(25)


@pytest.mark.jack
@pytest.mark.timed
def test_a_server_that_is_stopped_stands_still(rig: Rig) -> None:
    rig.server.process.send_signal(signal.SIGSTOP)
    time.sleep(0.05)
    rig.server.process.send_signal(signal.SIGCONT)
    assert 45 <= rig.heard().capture.stood_still_ms() < 150


@pytest.mark.timed
@pytest.mark.skipif(sys.platform != "linux", reason="cores are watched on Linux only")
def test_a_machine_that_stands_still_is_noticed() -> None:
    watch = Watch()
    try:
        wait_until(lambda: watch.cores == len(os.sched_getaffinity(0)), "the watch of every core")
        watch.process.send_signal(signal.SIGSTOP)
        time.sleep(0.06)
        watch.process.send_signal(signal.SIGCONT)
        time.sleep(0.02)
        assert watch.stood_ms(time.time() - 1) >= 50
        assert watch.stood_ms(time.time() + 1) == 0
    finally:
        watch.close()


def run_in(folder: Path, **environment: str) -> tuple[int, str]:
    """Runs the tests in a folder as those here are run: the exit status, and what was said."""
    options = [o for o in shlex.split(ADDOPTS) if "strict" not in o]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rs",
            "-p",
            "no:cacheprovider",
            "-o",
            "markers=timed",
            *options,
            str(folder),
        ],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "CI": "", **environment},
        capture_output=True,
        text=True,
        cwd=folder,
    )
    return done.returncode, done.stdout


@pytest.mark.timed
def test_a_timed_test_that_fails_while_it_does_or_is_slow_is_void_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests import busy\nfrom tests.conftest import *\nbusy._VOID_TESTS, busy._AGAIN = 1, 10\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import time\nimport pytest\nfrom rtgen.bench.streams import UnsafeError\nfrom tests import busy\n\n\n"
        "@pytest.mark.timed\n@pytest.mark.parametrize('ms', [5, 6, 7, 30, 31, 40, None])\n"
        "def test_it(request, ms):\n"
        "    busy.SLOW_NS = 0 if ms in (6, 7) else 1e9\n"
        "    watch = request.session.stash[busy._WATCH]\n"
        "    with watch.path.open('a') as file:\n"
        "        file.write(f'{time.time()} {ms or 50}\\n')\n"
        "    if ms == 40:\n        raise UnsafeError('a stuck note')\n"
        "    assert ms is None\n"
    )
    said = run_in(tmp_path)[1]
    assert "the machine stood still for 30 ms: this machine is too busy" in said
    assert "the machine stood still for 31 ms: this machine is too busy" in said
    assert "ns for a turn of a loop: this machine is too busy" in said
    assert "3 failed, 1 passed, 3 skipped, 9 rerun" in said, said
    assert {"FAILED test_it.py::test_it[5]", "FAILED test_it.py::test_it[7]", "FAILED test_it.py::test_it[40]"} <= {
        line.split(" - ")[0] for line in said.splitlines()
    }


@pytest.mark.parametrize(("voided", "ci", "status"), [(2, "", 0), (2, "true", 1), (1, "true", 0), (0, "", 0)])
def test_a_run_tells_how_many_timed_tests_were_void_and_fails_where_that_shows_too_little(
    tmp_path: Path, voided: int, ci: str, status: int
) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_it.py").write_text(
        "import pytest\nfrom tests import busy\n\n\n"
        "@pytest.mark.timed\n@pytest.mark.parametrize('number', range(10))\n"
        "def test_it(request, number):\n"
        f"    if number < {voided}:\n        busy.void(request.node, 'so it is')\n"
        "def test_another():\n    pass\n"
    )
    found, said = run_in(tmp_path, CI=ci)
    assert found == status, said
    assert f"{'FAILED: ' if status else ''}{voided} of 10 timed tests were void" in said.splitlines()[-2]


def test_a_test_that_is_not_timed_is_run_again_where_nothing_was_heard_and_never_skipped(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_it.py").write_text(
        "from tests import busy\n\n\ndef test_it(request):\n    busy.void(request.node, 'so it is')\n"
    )
    status, said = run_in(tmp_path)
    assert status == 1
    assert "1 failed, 3 rerun" in said


@pytest.mark.jack
@pytest.mark.timed
def test_probe_plays_and_records_to_the_sample_and_the_clock_follows_its_tempo(rig: Rig) -> None:
    tempos = TempoMap((0, 120.0), (1000, 174.0), (1920, 60.0))
    rig.probe.conduct(tempos)
    with baseline(rig.server, "echo") as echo:
        echo.attach(rig.probe)
        rig.probe.play([(480 * i, OFF if i % 2 else ON) for i in range(40)])
        rig.probe.start()
        rig.probe.wait_for_frame(tempos.frame(2400))
        rig.probe.stop()
        heard = rig.heard()
    (run,) = heard.runs
    assert len(run.clocks) > 2400 // 20
    meant = [tempos.frame(20 * clock) for clock in range(len(run.clocks))]
    assert [frame - run.clocks[0] for frame in run.clocks] == pytest.approx(meant, abs=2)
    played = [frame - run.clocks[0] for frame, _ in heard.capture.played]
    assert played == [480 * i for i in range(40)]
    latency = [out - into for (into, _), (out, _) in zip(heard.capture.played, heard.capture.output, strict=True)]
    assert sorted(latency)[20] <= PERIOD


@pytest.mark.jack
@pytest.mark.timed
def test_after_a_locate_the_clock_says_where_it_goes_on(rig: Rig) -> None:
    tempos = TempoMap((0, 120.0))
    rig.probe.conduct(tempos)
    rig.probe.start()
    rig.probe.wait_for_frame(tempos.frame(480))
    rig.probe.locate(tempos.frame(4800))
    time.sleep(1)
    rig.probe.stop()
    first, second = rig.heard().runs
    assert first.tick == 0
    assert second.tick >= 4800
    assert (second.clocks[0] - second.clocks[1]) == -1000
