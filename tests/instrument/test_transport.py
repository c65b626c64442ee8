from __future__ import annotations

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.instrument.follower import ClockFollower
from rtgen.instrument.internal_clock import InternalClock
from rtgen.instrument.midi_clock import MidiClock
from rtgen.instrument.transport import Change, State, Transport
from rtgen.music.time import TICKS_PER_CLOCK

CLOCK, START, CONTINUE, STOP = (bytes((b,)) for b in (0xF8, 0xFA, 0xFB, 0xFC))


def spp(sixteenths: int) -> bytes:
    return bytes((0xF2, sixteenths & 0x7F, sixteenths >> 7))


def roll(transport: Transport, clocks: int, tempo: float = 120.0, start: float = 0.0) -> float:
    """Sends clocks from `start`; returns when the next would come."""
    for i in range(clocks):
        transport.feed(start + i * 2.5 / tempo, CLOCK)
    return start + clocks * 2.5 / tempo


def test_the_first_clock_after_start_is_beat_0() -> None:
    clock = MidiClock()
    assert clock.feed(0.5, START) is None
    assert clock.state is State.ARMED
    assert clock.feed(1.0, CLOCK) is Change.ROLLED
    assert clock.tick_at(1.0) == 0
    after = roll(clock, 23, 120, 1.0 + 2.5 / 120)
    clock.feed(after, CLOCK)
    assert clock.tick_at(after) == 480
    assert clock.tempo == pytest.approx(120)
    assert clock.time_at(960) == pytest.approx(2.0)


def test_clocks_before_start_tell_the_tempo_already() -> None:
    clock = MidiClock(60)
    now = roll(clock, 24, 174)
    assert clock.state is State.STOPPED
    clock.feed(now - 0.001, START)
    clock.feed(now, CLOCK)
    assert clock.tempo == pytest.approx(174)


def test_stop_and_continue_go_on_where_it_was() -> None:
    clock = MidiClock()
    clock.feed(0, START)
    now = roll(clock, 10)
    assert clock.feed(now, STOP) is Change.STOPPED
    assert clock.feed(now, STOP) is None
    clock.feed(now + 1, CONTINUE)
    assert clock.feed(now + 2, CLOCK) is Change.ROLLED
    assert clock.tick == 10 * TICKS_PER_CLOCK


def test_song_position_counts_sixteenths() -> None:
    clock = MidiClock()
    clock.feed(0, spp(300))
    clock.feed(0, CONTINUE)
    clock.feed(1, CLOCK)
    assert clock.tick == 300 * 120


def test_locating_while_rolling_waits_for_the_next_clock() -> None:
    clock = MidiClock()
    clock.feed(0, START)
    now = roll(clock, 30)
    assert clock.feed(now, spp(16)) is Change.LOCATED
    assert clock.feed(now, CLOCK) is Change.ROLLED
    assert clock.tick == 1920


def test_start_while_rolling_begins_anew() -> None:
    clock = MidiClock()
    clock.feed(0, START)
    now = roll(clock, 30)
    assert clock.feed(now, START) is Change.LOCATED
    clock.feed(now, CLOCK)
    assert clock.tick == 0


def test_a_clock_that_stops_coming_is_held_for_a_beat_and_picked_up_again() -> None:
    clock = MidiClock()
    clock.feed(0, START)
    after = roll(clock, 48)
    last = after - 2.5 / 120
    assert clock.deadline == pytest.approx(last + 0.5)
    assert clock.expire(last + 0.49) is None
    assert clock.tick_at(last + 0.25) == 47 * 20 + 240
    assert clock.expire(last + 0.51) is Change.LOST
    assert clock.state is State.STOPPED
    assert clock.feed(last + 5, CLOCK) is Change.ROLLED
    assert clock.tick == 48 * 20


def test_after_a_real_stop_clocks_alone_do_not_roll() -> None:
    clock = MidiClock()
    clock.feed(0, START)
    now = roll(clock, 5)
    clock.feed(now, STOP)
    roll(clock, 30, start=now + 0.1)
    assert clock.state is State.STOPPED


MESSAGES = st.one_of(
    st.sampled_from([CLOCK, CLOCK, CLOCK, START, CONTINUE, STOP, b"\xff", b"\xf6"]), st.integers(0, 16383).map(spp)
)


@given(st.lists(st.tuples(st.floats(0, 3), MESSAGES), max_size=80))
def test_whatever_comes_in_whatever_order_time_and_ticks_agree(history: list[tuple[float, bytes]]) -> None:
    clock = MidiClock()
    now = 0.0
    for wait, message in history:
        now += wait
        clock.expire(now)
        clock.feed(now, message)
        assert 18.9 < clock.tempo < 421
        for tick in (clock.tick, clock.tick + 1, clock.tick + 12345):
            assert clock.tick_at(clock.time_at(tick)) == tick
        half = 30 / clock.tempo / 480
        assert clock.time_at(clock.tick_at(now)) == pytest.approx(now, abs=half * 1.001)


def jittered(tempo: float, clocks: int, jitter_s: float, seed: int) -> tuple[list[float], list[float]]:
    chance = random.Random(seed)
    true = [i * 2.5 / tempo for i in range(clocks)]
    return true, [t + chance.uniform(-jitter_s, jitter_s) for t in true]


@pytest.mark.parametrize("tempo", [60, 120, 174])
def test_jitter_is_smoothed(tempo: float) -> None:
    errors = []
    for seed in range(5):
        follower = ClockFollower(0.02)
        for true, heard in zip(*jittered(tempo, 400, 0.002, seed), strict=True):
            follower.clock(heard)
            errors.append((follower.time - true) ** 2)
        assert follower.period == pytest.approx(2.5 / tempo, rel=0.01)
        errors = errors[-300:]
    assert fmean(errors) ** 0.5 < 0.0007  # raw: 0.00115


def test_a_new_tempo_is_caught() -> None:
    follower = ClockFollower(0.02)
    time = 0.0
    for _ in range(100):
        time += 2.5 / 120
        follower.clock(time)
    for _ in range(24):
        time += 2.5 / 126
        follower.clock(time)
    assert follower.time == pytest.approx(time, abs=0.001)
    assert follower.period == pytest.approx(2.5 / 126, rel=0.01)


def test_the_internal_clock_rolls_at_once_and_stays_exact() -> None:
    clock = InternalClock(96)
    assert clock.expire(9.998) is Change.ROLLED
    assert clock.feed(11.0, CLOCK) is None
    assert clock.time_at(480 * 96 * 60) == pytest.approx(10 + 3600, abs=1e-9)
    assert clock.tick_at(10 + 3600) == 480 * 96 * 60


@pytest.mark.parametrize("share", [0.3, 0.5, 1.4])
def test_a_start_off_the_old_beat_begins_a_new_one(share: float) -> None:
    """As jack_midi_clock does when its transport is moved to the start while it rolls."""
    clock = MidiClock()
    clock.feed(0, START)
    period = 2.5 / 120
    now = roll(clock, 100) - period + share * period
    clock.feed(now, START)
    for i in range(4):
        clock.feed(now + i * period, CLOCK)
        assert clock.time_at(20 * i) == pytest.approx(now + i * period, abs=1e-6)
