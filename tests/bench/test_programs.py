"""What a process costs, and that it ends with us."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from rtgen.bench.programs import cpu_s, unique_set_mb
from rtgen.bench.server import end, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
OWNER = """
import signal, subprocess, sys, time
from rtgen.bench.server import ending_with_us
command = [sys.executable, "-c", "import time; time.sleep(60)"]
print(subprocess.Popen(command, preexec_fn=ending_with_us(signal.SIGTERM)).pid, flush=True)
time.sleep(60)
"""


def test_a_busy_process_uses_a_core_and_an_idle_one_nothing() -> None:
    began, used = time.perf_counter(), cpu_s(os.getpid())
    while time.process_time() < 0.3 or time.perf_counter() - began < 0.3:
        pass
    busy = cpu_s(os.getpid()) - used
    assert 0 < busy <= 1.1 * (time.perf_counter() - began)
    sleeper = subprocess.Popen([sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"], stdout=-1)
    try:
        assert sleeper.stdout
        sleeper.stdout.readline()
        time.sleep(0.1)
        used = cpu_s(sleeper.pid)
        time.sleep(0.3)
        assert cpu_s(sleeper.pid) - used < 0.01
        assert 1 < unique_set_mb(sleeper.pid) < 100
    finally:
        end(sleeper)


def test_what_we_start_ends_with_us_even_if_we_are_killed() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    wait_until(lambda: _gone(pid), "the child's end")


def _gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"  # ended, and its new parent has not looked yet
    except FileNotFoundError:
        return True
