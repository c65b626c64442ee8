"""The daemon conducts: its own clock goes to the output, and another program follows it."""

from __future__ import annotations

import signal
import time
from statistics import median

import pytest

from rtgen.bench.server import RATE
from rtgen.bench.streams import CLOCK, CONTINUE, POSITION, START, STOP
from tests.rig.conftest import Rig, StartDaemon

pytestmark = [pytest.mark.jack, pytest.mark.timed]


def test_our_own_clock_is_even_and_moves_with_the_buttons(rig: Rig, start_daemon: StartDaemon) -> None:
    program = start_daemon("--clock", "internal", "--tempo", "150", "--send-clock", wait=False, connect=False)
    program.attach(rig.probe)
    program.wait_for_line("rolling")  # a port is seen before it hears
    for message in bytes((STOP,)), bytes((POSITION, 16, 0)), bytes((CONTINUE,)):
        rig.probe.send(message)
        time.sleep(0.2)
    time.sleep(3)
    assert program.end(signal.SIGTERM) == 0
    heard = rig.heard()
    told = heard.capture.output
    last = next(i for i, (_, data) in enumerate(told) if data[0] == CONTINUE)
    commands = [data for _, data in told if data[0] != CLOCK]
    assert commands[-4:] == [bytes((STOP,)), bytes((POSITION, 16, 0)), bytes((CONTINUE,)), bytes((STOP,))]
    assert START not in {data[0] for _, data in told[last:]}
    clocks = [frame for frame, data in told[last:] if data[0] == CLOCK]
    period = 2.5 / 150 * RATE
    assert len(clocks) == pytest.approx(3.2 / 2.5 * 150, rel=0.1)
    # While the server is late its frames stand still, and time does not; and a single clock may be late.
    half = len(clocks) // 2
    stood = heard.capture.stood_still_ms(clocks[-1] - clocks[0]) * RATE / 1000
    spans = [b - a for a, b in zip(clocks, clocks[half:], strict=False)]
    assert median(spans) / half == pytest.approx(period, abs=0.002 * period + stood / half)
