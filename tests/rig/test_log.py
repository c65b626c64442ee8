"""What happens is told, and neither a full disk nor a folder that is gone stops the music."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rtgen.bench.music import BAR
from rtgen.bench.programs import preset_file
from rtgen.bench.server import CLOCK_OUT, PROBE_OUTPUT, PROBE_PLAY, TempoMap, end, wait_until
from rtgen.rig.kept.log import Log
from tests.rig.conftest import Rig, StartDaemon
from tests.rig.test_loops import PHRASE, assert_plays

FULL = Path("/dev/full")
"""Can be opened, and has no room for anything."""
full = pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")


def lines(path: Path) -> list[str]:
    return [line.split(" ", 1)[1] for line in path.read_text("utf-8").splitlines()]


def test_lines_are_added_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "rig.log"
    for words in ("one", "two"):
        log = Log(path)
        assert log.write(words) == ""
        log.close()
    assert lines(path) == ["one", "two"]


def test_a_folder_that_is_gone_is_told_of_once_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "there" / "rig.log"
    path.parent.mkdir()
    log = Log(path)
    log.write("before")
    shutil.rmtree(path.parent)
    assert "No such file or directory" in log.write("lost")
    assert log.write("lost too") == ""
    path.parent.mkdir()
    assert log.write("after") == ""
    assert lines(path) == ["2 lines are missing here, as the file could not be written", "after"]
    log.close()


@full
def test_a_full_disk_is_told_of_once() -> None:
    log = Log(FULL)
    assert "No space left" in log.write("lost")
    assert log.write("lost too") == ""
    log.close()


def test_a_log_that_cannot_be_begun_is_told_of_and_begun_later(tmp_path: Path) -> None:
    path = tmp_path / "later" / "rig.log"
    log = Log(path)
    assert "rig.log cannot be written (No such file or directory); check the disk, the music goes on" in log.write("a")
    path.parent.mkdir()
    assert log.write("b") == ""
    log.close()
    assert lines(path) == ["1 lines are missing here, as the file could not be written", "b"]


def test_no_text_forges_a_line_or_ends_the_log(tmp_path: Path) -> None:
    log = Log(tmp_path / "rig.log")
    assert log.write("one\ntwo \x1b[2J \udcff") == ""
    log.close()
    assert lines(tmp_path / "rig.log") == ["one two ?[2J ?"]


@pytest.mark.jack
@pytest.mark.timed
@full
def test_the_music_goes_on_when_the_disk_of_the_log_is_full(rig: Rig, start_daemon: StartDaemon) -> None:
    program = start_daemon("--bars", "1", "--no-thru", "--log", str(FULL))
    rig.perform(TempoMap((0, 174)), [(0, PHRASE)], 2 * BAR)
    assert_plays(rig.heard(), PHRASE, BAR)
    assert sum("cannot be written" in line for _, line in program.log) == 1


@pytest.mark.jack
@pytest.mark.timed
@pytest.mark.skipif(sys.platform == "win32", reason="closes a pipe")
def test_the_music_and_the_log_go_on_when_the_terminal_is_gone(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "rig.log"
    reads, writes = os.pipe()
    flags = ["--preset", str(preset_file(tmp_path)), "--bars", "1", "--no-thru", "--log", str(path)]
    command = [sys.executable, "-m", "rtgen", "run", "--api", "jack", *flags]
    process = subprocess.Popen(command, env=rig.server.environment, stderr=writes)
    try:
        os.close(writes)
        os.close(reads)
        inside, outside = "rtgen-in:rtgen in", "rtgen-out:rtgen out"
        rig.probe.connect((PROBE_PLAY, inside), (CLOCK_OUT, inside), (outside, PROBE_OUTPUT))
        wait_until(lambda: path.exists() and "model ready" in path.read_text("utf-8"), "its model")
        rig.perform(TempoMap((0, 174)), [(0, PHRASE), (2 * BAR, PHRASE)], 4 * BAR)
        heard = rig.heard()
        for start in BAR, 3 * BAR:
            assert_plays(heard, PHRASE, start)
        assert sum("answering in" in line for line in lines(path)) == 2
    finally:
        end(process)
