"""How the program is told to end, and who is not told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rtgen.rig.worker.process import Process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
_HEARS = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
"""First in a program that is told to end: a test run under `nohup` hands on that SIGHUP is ignored."""
_WAITS = """
import sys, threading
from rtgen.rig.apart import ending
stopped = threading.Event()
with ending(stopped.set):
    print("waits", flush=True)
    while not stopped.wait(0.05):
        pass
    print("ends its notes", flush=True)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_whatever_ends_it_its_notes_are_ended_first(name: str) -> None:
    command = [sys.executable, "-c", _HEARS + _WAITS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "waits\n"
        process.send_signal(getattr(signal, name))
        assert process.stdout.readline() == "ends its notes\n"
    assert process.returncode == 0


def test_nohup_keeps_it_alive() -> None:
    command = ["import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)", _WAITS]
    with subprocess.Popen([sys.executable, "-c", "\n".join(command)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.terminate()
        assert process.stdout.readline() == "ends its notes\n"


_HOLDS = """
import time
from rtgen.rig.apart import unwind
unwind()
try:
    print("waits", flush=True)
    time.sleep(20)
finally:
    print("ends its notes", flush=True)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_command_that_is_killed_cleans_up(name: str) -> None:
    with subprocess.Popen([sys.executable, "-c", _HEARS + _HOLDS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "waits\n"
        process.send_signal(getattr(signal, name))
        assert process.stdout.readline() == "ends its notes\n"
    assert process.returncode == 128 + getattr(signal, name)


def test_ctrl_c_in_the_terminal_does_not_reach_the_worker(tmp_path: Path) -> None:
    process = Process(tmp_path / "none.onnx", "cpu", hurry=False, hear=lambda *_: None)
    try:
        assert os.getpgid(process.pid) != os.getpgid(0)
    finally:
        process.kill()
        process.wait()
