from __future__ import annotations

import pytest

from rtgen.instrument.clocks.internal_clock import InternalClock
from rtgen.instrument.clocks.transport import Change

CLOCK = b"\xf8"


def test_the_internal_clock_rolls_at_once_and_stays_exact() -> None:
    clock = InternalClock(96)
    assert clock.expire(9.998) is Change.ROLLED
    assert clock.feed(11.0, CLOCK) is None
    assert clock.time_at(480 * 96 * 60) == pytest.approx(10 + 3600, abs=1e-9)
    assert clock.tick_at(10 + 3600) == 480 * 96 * 60
