"""Real-time scheduling where the system permits it, and the interpreter's own delays kept out of the way."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_COMPUTATION_S, _CONSTRAINT_S = 0.0005, 0.002
"""What macOS is told: so much work at a time, done so soon after the thread is woken."""


@dataclass(frozen=True, slots=True)
class Scheduling:
    """How a thread is scheduled.

    Args:
        name: in the system's own word; empty for like any other thread.
        cure: what to do where it could be better.
    """

    name: str
    cure: str = ""

    @property
    def real_time(self) -> bool:
        """Whether the thread runs before ordinary ones."""
        return bool(self.name)


def prefer_this_thread() -> Scheduling:
    """Lets the calling thread run before others where the system permits it, quietly not where it does not."""
    # How long another thread of this process may keep the interpreter while a deadline passes.
    sys.setswitchinterval(0.0005)
    if sys.platform == "darwin":
        return _macos()
    if sys.platform == "win32":
        return _windows()
    return _posix()


def _posix() -> Scheduling:
    """POSIX first-in-first-out scheduling; what this thread starts does not inherit it."""
    cure = "let your user run real-time threads (group 'audio' or 'realtime', rtprio in /etc/security/limits.d)"
    if sys.platform != "linux":
        return Scheduling("", cure)
    try:
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO) + 4))
    except (OSError, AttributeError):
        return Scheduling("", cure)
    return Scheduling("SCHED_FIFO")


def answer_promptly() -> None:
    """Lets the calling thread, which has to do with answers, run before ordinary ones where Linux permits it.

    Whatever plays, or makes sound, still goes first: this is the lowest real-time priority. A DAW beside us keeps the
    cores busy with ordinary threads, too; behind those an answer takes twice as long, or longer.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            lowest = os.sched_param(os.sched_get_priority_min(os.SCHED_RR))
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, lowest)


@contextmanager
def at_leisure() -> Iterator[None]:
    """Lets the calling thread run like any other for a while: nobody waits for what it does."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, *before)


def _macos() -> Scheduling:
    """A time constraint (Mach `thread_policy_set`, `THREAD_TIME_CONSTRAINT_POLICY`)."""
    import ctypes

    system = ctypes.CDLL(None)
    base = (ctypes.c_uint32 * 2)()
    system.mach_timebase_info(base)
    numerator, denominator = base
    period, computation, constraint = (
        round(s * 1e9 * denominator / numerator) for s in (0, _COMPUTATION_S, _CONSTRAINT_S)
    )
    policy = (ctypes.c_uint32 * 4)(period, computation, constraint, True)
    refused = system.thread_policy_set(system.mach_thread_self(), 2, policy, 4)
    return Scheduling("", "close programs that play audio") if refused else Scheduling("time constraint")


def _windows() -> Scheduling:
    """The multimedia class scheduler's "Pro Audio", and timers of 1 ms."""
    import ctypes

    ctypes.CDLL("winmm").timeBeginPeriod(1)
    register = ctypes.CDLL("avrt").AvSetMmThreadCharacteristicsW
    register.restype = ctypes.c_void_p
    task = register(ctypes.c_wchar_p("Pro Audio"), ctypes.byref(ctypes.c_uint32(0)))
    cure = "start the service 'Multimedia Class Scheduler'"
    return Scheduling("MMCSS Pro Audio") if task else Scheduling("", cure)


class Housekeeping:
    """Collects garbage while nothing is due, and never else.

    What reference counts do not free (cycles) is little here; left to itself, the interpreter would look for it
    whenever it has made so many objects, in the middle of whatever is due then.
    """

    ROOM_S = 0.010
    """Nothing may be due for this long."""
    EVERY_S = 1.0
    MANY = 700
    """Objects made and not freed since the last time, below which it is not worth the while."""

    def __init__(self) -> None:
        self._next = 0.0

    def start(self) -> None:
        """From now on garbage is ours to collect; what is there already is left alone for good."""
        gc.collect()
        gc.freeze()
        gc.disable()

    def stop(self) -> None:
        """Leaves it to the interpreter again."""
        gc.enable()
        gc.unfreeze()

    def idle(self, seconds_free: float, now: float) -> None:
        """Nothing is due at `now` for so many seconds: there is time to collect."""
        if seconds_free < self.ROOM_S or now < self._next or gc.get_count()[0] < self.MANY:
            return
        self._next = now + self.EVERY_S
        gc.collect()
