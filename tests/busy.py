"""Keeps the machine awake for tests of time, and tells whether it stood still while one ran.

A core with nothing to do goes to sleep, and on a machine that is itself a guest it is for the host to say when it runs
again: 5 to 60 ms later, some forty times a minute. So on each core something turns in a circle, behind everything else.
(A stage machine has other programs on it, or is told not to sleep.)

On each core a thread wants to run every two milliseconds, before everything else; what it is late by, the machine was
stopped for, whatever the programs on it did. (Without the right to real-time scheduling it may as well be that others
were busy.) A timed test that fails while that happened shows nothing, good or bad: it is run again, and if that is of
no use skipped. So it is if the frames of its JACK server stood still, and on a machine that computes so slowly that the
programs cannot keep up. One that fails for none of that has failed; and a stuck note, or a program that does not end as
it should, is a failure whatever the machine did.

All this is for tests marked `timed`, and only for them (`timed(void=False)` has the machine to itself, and a failure
is always one). The end of a run says how many of these were void. Where `CI`
is set, more than a tenth of them fails the run: it has shown too little.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from pytest_rerunfailures import get_reruns_count

from rtgen.bench.server import end, ending_with_us
from rtgen.bench.streams import UnsafeError

TOO_BUSY = "this machine is too busy to say anything about the daemon"
MOST_VOID = 0.1
"""The share of the timed tests that may be void where `CI` is set."""
STOOD_MS = 10.0
"""What a machine, or the JACK server on it, stands still for that no test of time has room for."""
_EVERY_S, _TOLD_S = 0.002, 0.003
SLOW_NS = 50.0
"""A turn of a loop of plain Python from which a machine is slow. On one of 45 the tests pass, on one of 55 to 75 the
programs did not always keep up."""
_VOID_TESTS = 12
"""Tests of the four hundred that may be given up though no core stood still; with more, nothing is shown about the
daemon. Those that are given up because one did are not counted: no program of ours can make it."""
_AGAIN = 60
"""How often tests are run again in all, after which one that a core has spoilt is given up at once: on a machine where
that is all the time it is of no use, and takes an hour."""
_OUTCOMES = "passed", "failed", "skipped"
_VOID = pytest.StashKey[set[str]]()
_RUN_AGAIN = pytest.StashKey[list[str]]()
_WATCH = pytest.StashKey["Watch"]()
_BEGAN = pytest.StashKey[float]()
SERVER_STOOD_MS = pytest.StashKey[float]()
"""For how long the frames of the test's JACK server stood still, as far as it was looked at."""


class Watch:
    """The process that watches the cores and keeps them awake, and what it has seen."""

    def __init__(self) -> None:
        handle, name = tempfile.mkstemp(prefix="rtgen-busy-")
        os.close(handle)
        self.path = Path(name)
        """A line for each time that a core stood still: the time of day when that was over, and for how many ms."""
        command = [sys.executable, str(Path(__file__)), name]
        self.process = subprocess.Popen(command, preexec_fn=ending_with_us(signal.SIGKILL))

    def _seen(self) -> list[tuple[float, float]]:
        lines = (line.split() for line in self.path.read_text().splitlines())
        return [(float(at), float(ms)) for at, ms in lines]

    @property
    def cores(self) -> int:
        """How many it watches by now."""
        return sum(ms == 0 for _, ms in self._seen())

    def stood_ms(self, since: float) -> float:
        """How long a core stood still at most since a time of the system's clock, in ms."""
        return max((ms for at, ms in self._seen() if at >= since), default=0.0)

    def close(self) -> None:
        end(self.process, signal.SIGKILL)
        self.path.unlink()


def _may_be_void(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("timed")
    return marker is not None and bool(marker.kwargs.get("void", True))


def turn_ns() -> float:
    """Nanoseconds of a turn of a loop of plain Python, at best."""
    turns, best = 100_000, float("inf")
    for _ in range(10):
        began, total = time.perf_counter(), 0
        for i in range(turns):
            total += i
        best = min(best, time.perf_counter() - began)
    return best / turns * 1e9


def void(item: pytest.Item, why: str) -> NoReturn:
    """A test that shows nothing, good or bad: it is run again, and if that is of no use skipped.

    Only a timed test may be skipped for that: any other has to pass on a busy machine.
    """
    if not _may_be_void(item):
        raise AssertionError(f"{why}: {TOO_BUSY}")
    stash = item.session.stash
    tests, again = stash.setdefault(_VOID, set()), stash.setdefault(_RUN_AGAIN, [])
    a_core_stood = _WATCH in stash and stash[_WATCH].stood_ms(item.stash[_BEGAN]) >= STOOD_MS
    if item.execution_count > get_reruns_count(item) or (a_core_stood and len(again) >= _AGAIN):
        if not a_core_stood:
            tests.add(item.nodeid)
        if a_core_stood or len(tests) <= _VOID_TESTS:
            pytest.skip(f"{why}: {TOO_BUSY} ({item.name})")
    again.append(item.nodeid)
    raise AssertionError(f"{why}: {TOO_BUSY}")


def pytest_report_header() -> str:
    return f"a turn of a loop of plain Python takes {turn_ns():.0f} ns; a machine is slow from {SLOW_NS:.0f} on"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if sys.platform == "linux" and _may_be_void(item):
        if _WATCH not in item.session.stash:
            item.session.stash[_WATCH] = Watch()
        item.stash[_BEGAN] = time.time()
        item.stash[SERVER_STOOD_MS] = 0.0


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    never = pytest.skip.Exception, KeyboardInterrupt, UnsafeError
    failed = call.when == "call" and call.excinfo is not None and not call.excinfo.errisinstance(never)
    if failed and _BEGAN in item.stash and TOO_BUSY not in str(call.excinfo.value):
        stood = {
            "machine": item.session.stash[_WATCH].stood_ms(item.stash[_BEGAN]),
            "server": item.stash[SERVER_STOOD_MS],
        }
        what = max(stood, key=stood.__getitem__)
        why = f"the {what} stood still for {stood[what]:.0f} ms" if stood[what] >= STOOD_MS else ""
        if not why and (turn := turn_ns()) >= SLOW_NS:
            why = f"the machine takes {turn:.0f} ns for a turn of a loop"
        if why:
            try:
                try:
                    raise call.excinfo.value
                finally:
                    void(item, why)
            except (AssertionError, pytest.skip.Exception) as error:
                call.excinfo = pytest.ExceptionInfo.from_exception(error)
    return (yield)


def _counts(config: pytest.Config) -> tuple[int, int]:
    """How many timed tests were run, and how many of them were void."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None:  # a worker of pytest-xdist: the process that started it counts
        return 0, 0
    ended = {what: [r for r in terminal.stats.get(what, ()) if "timed" in r.keywords] for what in _OUTCOMES}
    voided = {r.nodeid for r in ended["skipped"] if TOO_BUSY in str(r.longrepr)}
    return len({r.nodeid for what in ("passed", "failed") for r in ended[what]} | voided), len(voided)


def _shown_too_little(config: pytest.Config) -> bool:
    timed, voided = _counts(config)
    return bool(os.environ.get("CI")) and voided > MOST_VOID * timed


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _WATCH in session.stash:
        session.stash[_WATCH].close()
    if session.exitstatus == pytest.ExitCode.OK and _shown_too_little(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Iterator[None]:
    yield
    timed, voided = _counts(config)
    line = f"{voided} of {timed} timed tests were void"
    if voided:
        line += ": the machine was too busy for them to show anything"
    if _shown_too_little(config):
        line = f"FAILED: {line}, and more than a tenth is too many"
    terminalreporter.write_line(line, yellow=bool(voided))


def _keep_awake(core: int) -> None:
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        pass


def _watch(core: int, said: Path) -> None:
    os.sched_setaffinity(0, {core})
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    with said.open("a", buffering=1) as file:
        file.write(f"{time.time():.3f} 0\n")
        due = time.monotonic()
        while True:
            due += _EVERY_S
            time.sleep(max(due - time.monotonic(), 0))
            late = time.monotonic() - due
            if late >= _TOLD_S:
                file.write(f"{time.time():.3f} {late * 1000:.1f}\n")
                due += late


if __name__ == "__main__":
    cores = os.sched_getaffinity(0)
    end_with_us = ending_with_us(signal.SIGKILL)
    for number in cores:
        if os.fork() == 0:
            end_with_us()
            _keep_awake(number)
    for number in cores:
        threading.Thread(target=_watch, args=(number, Path(sys.argv[1]))).start()
