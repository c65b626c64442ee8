"""What the player hears when the process that answers breaks: the real daemon, in tempo with a real clock."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rtgen.bench.music import BAR, made_loop
from rtgen.bench.programs import Program, workers
from rtgen.bench.server import TempoMap
from rtgen.bench.streams import compare, milliseconds, within
from rtgen.music.note import Loop, Note
from tests.data.make_faulty import TRIGGER, Fault, faulty
from tests.rig.conftest import Heard, Rig, StartDaemon
from tests.rig.test_loops import assert_plays, assert_silent

pytestmark = [
    pytest.mark.jack,
    pytest.mark.timed,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

BPM = 130
FIRST, EVIL, LAST = (made_loop(seed, bars=1) for seed in (21, 22, 23))
EVIL = EVIL.with_notes([*EVIL.notes, Note(960, TRIGGER, 100)])


def play(
    rig: Rig, start_daemon: StartDaemon, model: Path, second: Loop, meanwhile: Callable[[Program], None]
) -> Program:
    """Follows three loops; the second is not answered, and the first goes on; the third is answered."""
    preset = model.with_suffix(".yaml")
    preset.write_text(f"model: {model}\nmode: clean\nuse: follow\nbars: 1\n", "utf-8")
    program = start_daemon("--preset", str(preset), "--no-thru")
    loops = [(0, FIRST), (BAR, second), (2 * BAR, LAST)]
    rig.perform(TempoMap((0, BPM)), loops, 4 * BAR, meanwhile=lambda: meanwhile(program))
    heard = rig.heard()
    assert_silent(heard, 0, BAR)
    assert_plays(heard, FIRST, BAR)
    assert_goes_on(heard, FIRST, 2 * BAR)
    assert_plays(heard, LAST, 3 * BAR)
    return program


def assert_goes_on(heard: Heard, loop: Loop, start: int) -> None:
    """As `assert_plays`; but the answer was waited for, and what goes on in its stead begins 10 ms late."""
    grid = heard.runs[0]
    differences = compare(loop.notes, within(heard.notes, grid, start, start + loop.length), grid, start)
    off = sorted((milliseconds(d.on), milliseconds(d.off)) for d in differences)
    assert all(-heard.room_ms <= ms <= heard.room_ms + 10 for pair in off for ms in pair), (heard.room_ms, off)


def is_back(program: Program, verdict: str) -> None:
    """Asserts that the player was told, once, and that the worker was back within a second."""
    (told_at,) = (at for at, line in program.log if verdict in line)
    back_at = next(at for at, line in program.log if "model ready" in line and at > told_at)
    print(f"{verdict}: ready after {(back_at - told_at) * 1e3:.0f} ms")
    assert back_at - told_at < 1.0


def test_killed_in_mid_answer(rig: Rig, start_daemon: StartDaemon, tmp_path: Path) -> None:
    def kill(program: Program) -> None:
        rig.probe.wait_for_frame(TempoMap((0, BPM)).frame(2 * BAR) + 4800)  # 0.1 s into what is not answered
        (pid,) = workers(program.process.pid)
        os.kill(pid, signal.SIGKILL)

    is_back(play(rig, start_daemon, faulty(tmp_path, "never"), EVIL, kill), "died (SIGKILL)")


def test_stopped_in_mid_song(rig: Rig, start_daemon: StartDaemon, tmp_path: Path) -> None:
    def stop(program: Program) -> None:
        rig.probe.wait_for_frame(TempoMap((0, BPM)).frame(BAR + 960))
        (pid,) = workers(program.process.pid)
        os.kill(pid, signal.SIGSTOP)

    is_back(play(rig, start_daemon, faulty(tmp_path, "well"), EVIL, stop), "did not answer for 1.0 s")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("never", "did not answer for 1.0 s"),
        ("slow", "did not answer for 1.0 s"),
        ("nan", "contains NaN or infinite values"),
        ("hog", "ran out of memory"),
    ],
)
def test_a_loop_that_the_model_breaks_on(
    rig: Rig, start_daemon: StartDaemon, tmp_path: Path, fault: Fault, words: str
) -> None:
    program = play(rig, start_daemon, faulty(tmp_path, fault), EVIL, lambda _: None)
    if fault in ("never", "slow"):
        is_back(program, words)
    else:
        assert sum(words in line for _, line in program.log) == 1
        assert sum("model ready" in line for _, line in program.log) == 1


def test_killed_again_and_again_the_music_goes_on(rig: Rig, start_daemon: StartDaemon, tmp_path: Path) -> None:
    model = faulty(tmp_path, "well")
    preset = model.with_suffix(".yaml")
    preset.write_text(f"model: {model}\nmode: clean\nuse: follow\nbars: 1\n", "utf-8")
    program = start_daemon("--preset", str(preset), "--no-thru")
    bars = 16

    def kill() -> None:
        for bar in range(1, bars - 1):
            rig.probe.wait_for_frame(TempoMap((0, BPM)).frame(bar * BAR + 480))
            for pid in workers(program.process.pid):
                os.kill(pid, signal.SIGKILL)

    rig.perform(TempoMap((0, BPM)), [(0, FIRST)], bars * BAR, meanwhile=kill)
    heard = rig.heard()
    assert_plays(heard, FIRST, BAR)
    assert any("the music goes on without answers, and the next try is in 30 s" in line for _, line in program.log)
