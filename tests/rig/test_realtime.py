"""Scheduling and garbage. What macOS and Windows are asked is held against what their manuals say, not run there."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.rig.daemon import Daemon
from rtgen.rig.midi.ports import LoopbackPorts
from rtgen.rig.realtime import Housekeeping, Scheduling, answer_promptly, at_leisure, prefer_this_thread

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="POSIX scheduling as Linux has it")


def in_a_thread(what: Callable[[], object]) -> Any:
    """What a function returns in a thread of its own, so that ours stays as it is."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(what()))
    thread.start()
    thread.join()
    return results[0]


@pytest.fixture(autouse=True)
def _switch_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


@linux
def test_what_answers_runs_before_ordinary_threads_and_after_the_music_but_at_leisure_like_any_other() -> None:
    def prefer() -> list[tuple[int, int]]:
        found = []
        for each in answer_promptly, at_leisure().__enter__:
            each()
            found.append((os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.sched_getparam(0).sched_priority))
        return found

    def lend() -> list[int]:
        answer_promptly()
        with at_leisure():
            pass
        return [os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, in_a_thread(lambda: os.sched_getscheduler(0))]

    (prompt, priority), (leisurely, _) = in_a_thread(prefer)
    assert leisurely == os.SCHED_OTHER
    if prompt == os.SCHED_OTHER:
        pytest.skip("real-time priority is not permitted here")
    assert (prompt, priority) == (os.SCHED_RR, os.sched_get_priority_min(os.SCHED_RR))
    assert in_a_thread(lend) == [os.SCHED_RR, os.SCHED_OTHER]


@linux
def test_a_preferred_thread_runs_first_in_first_out_and_what_it_starts_does_not() -> None:
    def prefer() -> tuple[Scheduling, int, int]:
        scheduling = prefer_this_thread()
        return scheduling, os.sched_getscheduler(0), in_a_thread(lambda: os.sched_getscheduler(0))

    scheduling, ours, started = in_a_thread(prefer)
    if not scheduling.real_time:
        assert "rtprio" in scheduling.cure
        assert ours == os.SCHED_OTHER
        pytest.skip("real-time priority is not permitted here")
    assert scheduling == Scheduling("SCHED_FIFO")
    assert ours & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    assert started == os.SCHED_OTHER
    assert sys.getswitchinterval() == pytest.approx(0.0005)


@linux
def test_a_refusal_is_quiet_and_has_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert not prefer_this_thread().real_time
    assert "rtprio" in prefer_this_thread().cure


@pytest.mark.parametrize(("status", "name"), [(0, "time constraint"), (4, "")])
def test_macos_is_asked_for_a_time_constraint(monkeypatch: pytest.MonkeyPatch, status: int, name: str) -> None:
    asked: list[tuple[object, ...]] = []

    def timebase(info: Any) -> int:
        info[0], info[1] = 125, 3  # of Apple silicon: a unit is 125/3 ns
        return 0

    def policy_set(thread: int, flavour: int, policy: Any, count: int) -> int:
        asked.append((thread, flavour, list(policy), count))
        return status

    system = SimpleNamespace(mach_timebase_info=timebase, mach_thread_self=lambda: 0x207, thread_policy_set=policy_set)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda library: {None: system}[library])
    scheduling = prefer_this_thread()
    monkeypatch.undo()
    # mach/thread_policy.h: THREAD_TIME_CONSTRAINT_POLICY is 2; period, computation, constraint, preemptible.
    assert asked == [(0x207, 2, [0, 500_000 * 3 // 125, 2_000_000 * 3 // 125, 1], 4)]
    assert scheduling.name == name
    assert bool(scheduling.cure) is not scheduling.real_time


@pytest.mark.parametrize(("handle", "name"), [(0x1234, "MMCSS Pro Audio"), (None, "")])
def test_windows_is_asked_for_pro_audio(monkeypatch: pytest.MonkeyPatch, handle: int | None, name: str) -> None:
    calls: list[tuple[object, ...]] = []

    def register(task: ctypes.c_wchar_p, index: Any) -> int | None:
        calls.append(("AvSetMmThreadCharacteristicsW", task.value, index._obj.value))
        return handle

    libraries = {
        "winmm": SimpleNamespace(timeBeginPeriod=lambda ms: calls.append(("timeBeginPeriod", ms))),
        "avrt": SimpleNamespace(AvSetMmThreadCharacteristicsW=register),
    }
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", libraries.__getitem__)
    scheduling = prefer_this_thread()
    monkeypatch.undo()
    assert calls == [("timeBeginPeriod", 1), ("AvSetMmThreadCharacteristicsW", "Pro Audio", 0)]
    assert register.restype is ctypes.c_void_p  # a handle is as wide as a pointer
    assert scheduling.name == name


# ---- garbage --------------------------------------------------------------------------------------------------------


class Knot:
    """Refers to itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def housekeeping() -> Iterator[Housekeeping]:
    keeper = Housekeeping()
    keeper.start()
    yield keeper
    keeper.stop()
    assert gc.isenabled()


def knots(count: int) -> weakref.WeakSet[Knot]:
    """Garbage."""
    return weakref.WeakSet([Knot() for _ in range(count)])


def test_garbage_waits_until_nothing_is_due_and_a_second_has_passed(housekeeping: Housekeeping) -> None:
    many = knots(2000)
    assert len(many) == 2000  # not collected of itself, although these are enough for the interpreter
    housekeeping.idle(0.009, 10.0)
    assert len(many) == 2000
    housekeeping.idle(0.5, 10.0)
    assert len(many) == 0
    more = knots(2000)
    housekeeping.idle(0.5, 10.9)
    assert len(more) == 2000
    housekeeping.idle(float("inf"), 11.1)
    assert len(more) == 0
    few = knots(5)
    housekeeping.idle(0.5, 20.0)
    assert len(few) == 5


@pytest.mark.timed
def test_what_was_there_at_the_start_is_not_looked_through(housekeeping: Housekeeping) -> None:
    def cost() -> float:
        times = []
        for _ in range(20):
            rubbish = [Knot() for _ in range(1000)]
            del rubbish
            began = time.perf_counter()
            gc.collect()
            times.append(time.perf_counter() - began)
        return sorted(times)[10] * 1e3

    frozen = cost()
    gc.unfreeze()
    print(f"a collection takes {frozen:.3f} ms; it would take {cost():.3f} ms")
    assert frozen < cost() / 2


@pytest.mark.timed
def test_garbage_does_not_pile_up_while_the_daemon_plays() -> None:
    session = Session(Preset().changed(bars=1, metre="1/4", tempo=240.0), Options(clock="internal"))
    daemon = Daemon(session, LoopbackPorts(lambda _now, _data: None), TINY, "cpu", lambda _: None)
    daemon.open()
    thread = threading.Thread(target=daemon.run, args=(30,), daemon=True)
    thread.start()
    alive: weakref.WeakSet[Knot] = weakref.WeakSet()
    most, made = 0, 0
    until = time.perf_counter() + 4
    while time.perf_counter() < until:
        for _ in range(50):
            alive.add(Knot())
        made += 50
        time.sleep(0.01)
        most = max(most, len(alive))
    daemon.stop()
    thread.join(10)
    assert not thread.is_alive()
    print(f"{made} made, {most} at most at a time")
    assert made > 8000
    assert most < made / 2
