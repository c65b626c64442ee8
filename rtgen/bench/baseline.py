"""Baselines: minimal Python programs that show the best possible timing, to compare the daemon with.

    python -m rtgen.bench.baseline echo jack    sends back what it receives, from the callback
    python -m rtgen.bench.baseline sleep jack   plays a note on every sixteenth: counts clocks, sleeps until a deadline

Their ports are named like the daemon's, with `echo` or `sleep` instead of `rtgen`. With `pipe` instead of `jack` they
use standard input and output, as described in `pipe.py`.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Any

_CLOCK, _START = 0xF8, 0xFA
_CLOCKS_PER_NOTE = 6
_MEMORY = 48


def _ports(name: str, over: str) -> tuple[Any, Any]:
    if over == "pipe":
        from rtgen.bench.pipe import BarePorts

        pipes = BarePorts()
        return pipes, pipes
    import rtmidi

    source = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name=f"{name}-in")
    source.ignore_types(timing=False)
    sink = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name=f"{name}-out")
    source.open_virtual_port(f"{name} in")
    sink.open_virtual_port(f"{name} out")
    return source, sink


def echo(over: str) -> None:
    """Sends back what it receives."""
    source, sink = _ports("echo", over)
    source.set_callback(lambda event, _: sink.send_message(event[0]))
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)


def sleep(over: str) -> None:
    """Plays a note on every sixteenth, at a deadline extrapolated linearly from the last clocks."""
    source, sink = _ports("sleep", over)
    clocks: deque[float] = deque(maxlen=_MEMORY)
    count = 0

    def hear(event: tuple[list[int], float], _: object) -> None:
        nonlocal count
        if event[0][0] == _START:
            count = 0
            clocks.clear()
        elif event[0][0] == _CLOCK:
            clocks.append(time.perf_counter())
            count += 1

    def deadline(clock: int) -> float:
        heard, last = list(clocks), count - 1
        interval = (heard[-1] - heard[0]) / (len(heard) - 1)
        middle = sum(heard) / len(heard)
        return middle + (clock - last + (len(heard) - 1) / 2) * interval

    source.set_callback(hear)
    note = _MEMORY
    parent = os.getppid()
    while os.getppid() == parent:
        if count < note - 1:
            note = _MEMORY if count < _MEMORY else note
            time.sleep(0.001)
            continue
        time.sleep(max(deadline(note) - time.perf_counter(), 0))
        sink.send_message([0x90, 60, 100])
        time.sleep(0.01)
        sink.send_message([0x80, 60, 0])
        note += _CLOCKS_PER_NOTE


if __name__ == "__main__":
    # The callback waits for this thread while it holds the GIL, so give it real-time priority too.
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(4))
    {"echo": echo, "sleep": sleep}[sys.argv[1]](sys.argv[2])
