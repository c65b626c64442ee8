"""Real-time scheduling where the system permits it, and garbage collection at times when nothing is due."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_COMPUTATION_S, _CONSTRAINT_S = 0.0005, 0.002
"""The macOS time constraint: CPU time per wake-up, and the deadline for it after the wake-up."""


@dataclass(frozen=True, slots=True)
class Scheduling:
    """The scheduling of a thread.

    Args:
        name: the system's name of the policy; empty for ordinary scheduling.
        cure: how to get a better one.
    """

    name: str
    cure: str = ""

    @property
    def real_time(self) -> bool:
        """Whether the thread takes precedence over ordinary threads."""
        return bool(self.name)


def prefer_this_thread() -> Scheduling:
    """Requests real-time scheduling for the calling thread; changes nothing if the system refuses it."""
    # Limits how long another thread of this process may hold the GIL while a deadline passes.
    sys.setswitchinterval(0.0005)
    if sys.platform == "darwin":
        return _macos()
    if sys.platform == "win32":
        return _windows()
    return _posix()


def _posix() -> Scheduling:
    """Requests SCHED_FIFO, which child threads and processes do not inherit."""
    cure = "allow your user real-time threads (group 'audio' or 'realtime', rtprio in /etc/security/limits.d)"
    if sys.platform != "linux":
        return Scheduling("", cure)
    try:
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO) + 4))
    except (OSError, AttributeError):
        return Scheduling("", cure)
    return Scheduling("SCHED_FIFO")


def answer_promptly() -> None:
    """Gives a thread the lowest real-time priority (SCHED_RR), where Linux permits it.

    Threads that play MIDI or audio still take precedence. It is for threads that work on answers: without it, one takes
    at least twice as long beside a DAW, whose ordinary threads keep the cores busy too. And for one that is often busy
    in the real-time process: an ordinary thread is stopped by others while it has the interpreter lock.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            lowest = os.sched_param(os.sched_get_priority_min(os.SCHED_RR))
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, lowest)


@contextmanager
def at_leisure() -> Iterator[None]:
    """Gives the calling thread ordinary scheduling within the context, for work that nobody waits for."""
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
    """Sets a time constraint (Mach `thread_policy_set`, `THREAD_TIME_CONSTRAINT_POLICY`)."""
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
    """Registers for the MMCSS task "Pro Audio" and sets the timer resolution to 1 ms."""
    import ctypes

    ctypes.CDLL("winmm").timeBeginPeriod(1)
    register = ctypes.CDLL("avrt").AvSetMmThreadCharacteristicsW
    register.restype = ctypes.c_void_p
    task = register(ctypes.c_wchar_p("Pro Audio"), ctypes.byref(ctypes.c_uint32(0)))
    cure = "start the service 'Multimedia Class Scheduler'"
    return Scheduling("MMCSS Pro Audio") if task else Scheduling("", cure)


class Housekeeping:
    """Runs the garbage collector only while nothing is due.

    Few objects here are in reference cycles. Left to itself, the interpreter would collect after every so many
    allocations, in the middle of whatever is due then.
    """

    ROOM_S = 0.010
    """Free time needed for a collection."""
    EVERY_S = 1.0
    MANY = 700
    """Objects allocated and not freed since the last collection, below which another is not worthwhile."""

    def __init__(self) -> None:
        self._next = 0.0

    def start(self) -> None:
        """Disables automatic collection, and exempts all existing objects from it (`gc.freeze`)."""
        gc.collect()
        gc.freeze()
        gc.disable()

    def stop(self) -> None:
        """Restores automatic collection."""
        gc.enable()
        gc.unfreeze()

    def idle(self, seconds_free: float, now: float) -> None:
        """Collects if there is time.

        Args:
            seconds_free: for how long nothing is due.
            now: the current time in seconds.
        """
        if seconds_free < self.ROOM_S or now < self._next or gc.get_count()[0] < self.MANY:
            return
        self._next = now + self.EVERY_S
        gc.collect()
