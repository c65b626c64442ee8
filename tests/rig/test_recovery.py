"""The music of sessions that were killed: damaged logs hang nothing, and keep no other from its music."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rtgen.bench.server import wait_until
from rtgen.instrument.events import Step
from rtgen.rig.kept import journal, recovery, replay
from rtgen.rig.kept.journal import Journal
from rtgen.rig.kept.lock import hold, is_held
from rtgen.rig.kept.recovery import FAILED, Recovery, attempt, sessions_in, unfinished
from tests.rig.test_journal import OPENING, performed

Begin = Callable[[], "subprocess.Popen[str]"]
_PATIENCE_S = 200.0
"""Recovery has the lowest priority: on a busy machine it takes its time."""


def damaged(path: Path) -> Path:
    path.write_bytes(journal._MAGIC + b"H\xff\xff\xff\xff")
    return path


def test_a_damaged_log_is_set_aside_and_the_later_ones_are_written(tmp_path: Path) -> None:
    bad = damaged(tmp_path / "a.rtlog")
    good, _ = performed(tmp_path / "b.rtlog")
    (tmp_path / "c.rtlog").mkdir()
    said: list[str] = []
    with Recovery(tmp_path, said.append):
        wait_until(lambda: good.with_suffix(".mid").exists() and len(said) == 2, "the music", _PATIENCE_S)
    assert [f"{name}.rtlog is damaged" in line for name, line in zip("ac", said, strict=True)] == [True, True]
    assert "has no readable start" in bad.with_suffix(FAILED).read_text("utf-8")
    assert unfinished(tmp_path) == []
    assert [each.music for each in sessions_in(tmp_path)] == ["damaged", "b.mid", "damaged"]
    with Recovery(tmp_path, said.append) as again:
        assert again._process is None
    bad.with_suffix(FAILED).unlink()
    assert unfinished(tmp_path) == [bad]


def test_a_replay_that_raises_or_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that no check has thought of."""
    good, _ = performed(tmp_path / "a.rtlog")
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\n"
        "from rtgen.instrument.session import Session\n"
        "def step(self, *_):\n"
        "    if os.environ['RTGEN_TEST'] == 'raise': raise KeyError('x')\n"
        "    while True: time.sleep(1)\n"
        "Session.step = step\n"
    )
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), root)))
    monkeypatch.setenv("RTGEN_TEST", "raise")
    assert attempt(good) == "replaying it failed: KeyError: 'x'"
    monkeypatch.setenv("RTGEN_TEST", "hang")
    assert attempt(good, 3.0) == "it was not replayed in 3 s"
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", root)
    assert attempt(good) == ""


def test_a_disk_that_is_full_is_not_the_fault_of_the_log(tmp_path: Path) -> None:
    good, _ = performed(tmp_path / "a.rtlog")
    good.with_suffix(".mid").mkdir()
    (good.with_suffix(".mid") / "in the way").touch()
    assert attempt(good) is None


def test_one_process_recovers_and_not_the_log_of_a_session_that_runs(tmp_path: Path) -> None:
    killed, _ = performed(tmp_path / "a.rtlog")
    with Journal(tmp_path / "b.rtlog", OPENING) as running:
        running.note(Step(1.0, None, (b"\x90\x3c\x50",)))
        assert is_held(running.path)
        with (tmp_path / recovery._LOCK).open("ab") as lock:
            assert hold(lock)
            assert begun(tmp_path).wait(_PATIENCE_S) == 0
            assert not killed.with_suffix(".mid").exists()
        assert begun(tmp_path).wait(_PATIENCE_S) == 0
        assert killed.with_suffix(".mid").exists()
        assert unfinished(tmp_path) == [running.path]
    assert not is_held(running.path)


def begun(folder: Path) -> subprocess.Popen[str]:
    """The process that recovers, with an input that stays open."""
    command = [sys.executable, "-m", "rtgen.rig.kept.recovery", str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="reads /proc")
def test_recovery_ends_with_rtgen_in_the_middle_of_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    performed(tmp_path / "a.rtlog")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\n"
        "if any('replay' in word for word in sys.orig_argv):\n"
        f"    open({str(tmp_path / 'begun')!r}, 'w').close()\n"
        "    from rtgen.rig.kept import replay\n"
        "    from rtgen.instrument.session import Session\n"
        "    Session.step = lambda *_: time.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(Path(__file__).parents[2]))))
    process = begun(tmp_path)
    wait_until((tmp_path / "begun").exists, "the replay", _PATIENCE_S)
    time.sleep(0.5)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(_PATIENCE_S) == 0
    name = f"{replay.__name__}\0{tmp_path / 'a.rtlog'}".encode()

    def is_gone() -> bool:
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if name in file.read_bytes():
                    return False
            except OSError:
                continue
        return True

    wait_until(is_gone, "the end of the replay", _PATIENCE_S)
    assert unfinished(tmp_path) == [tmp_path / "a.rtlog"]
