from __future__ import annotations

import pytest

from rtgen.instrument.clocks.internal_clock import ClockOut, InternalClock
from rtgen.instrument.clocks.transport import Change

CLOCK = b"\xf8"


def test_the_internal_clock_rolls_at_once_and_stays_exact() -> None:
    clock = InternalClock(96)
    assert clock.expire(9.998) is Change.ROLLED
    assert clock.feed(11.0, CLOCK) is None
    assert clock.time_at(480 * 96 * 60) == pytest.approx(10 + 3600, abs=1e-9)
    assert clock.tick_at(10 + 3600) == 480 * 96 * 60


def test_where_the_song_begins_anew_no_clock_comes_before_its_start() -> None:
    clocks = ClockOut()
    assert clocks.changed(Change.ROLLED, 3840, anew=10.0) == [b"\xfa"]
    assert clocks.next_tick() == 3840
    times = [planned.at for planned in clocks.due(10.05, lambda tick: 9.98 + (tick - 3840) / 960)]
    assert times[:2] == [10.002, 10.002]
    assert times[2:] == [9.98 + 2 / 48, 9.98 + 3 / 48]
