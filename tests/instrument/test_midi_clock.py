from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.instrument.clocks.midi_clock import MidiClock
from rtgen.instrument.clocks.transport import Change, State
from rtgen.music.time import TICKS_PER_CLOCK

CLOCK, START, CONTINUE, STOP = (bytes((b,)) for b in (0xF8, 0xFA, 0xFB, 0xFC))


def spp(sixteenths: int) -> bytes:
    return bytes((0xF2, sixteenths & 0x7F, sixteenths >> 7))


def roll(transport: MidiClock, clocks: int, tempo: float = 120.0, start: float = 0.0) -> float:
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


@pytest.mark.parametrize(("message", "tick"), [(spp(16), 1920), (START, 0)])
def test_a_jump_while_rolling_is_made_with_the_next_clock_once_it_is_clear_whose_it_is(
    message: bytes, tick: int
) -> None:
    clock = MidiClock()
    clock.feed(0, START)
    now = roll(clock, 30)
    assert clock.feed(now - 0.001, message) is None
    assert [clock.feed(now + i * 2.5 / 120, CLOCK) for i in range(3)] == [None, None, Change.ROLLED]
    assert clock.tick == tick + 2 * TICKS_PER_CLOCK
    assert clock.time_at(tick) == pytest.approx(now)


@pytest.mark.parametrize(("message", "tick"), [(spp(16), 1920), (START, 0)])
def test_a_jump_while_the_clock_is_new_or_ceases_is_made_at_once(message: bytes, tick: int) -> None:
    clock = MidiClock()
    clock.feed(0, START)
    now = roll(clock, 5)
    assert clock.feed(now, message) is Change.LOCATED
    assert clock.feed(now, CLOCK) is Change.ROLLED
    assert clock.tick == tick
    now = roll(clock, 30, start=now + 2.5 / 120)
    clock.feed(now, spp(40))
    assert clock.deadline is not None
    assert clock.deadline < now + 0.06
    assert clock.expire(clock.deadline) is Change.LOCATED
    assert clock.feed(now + 0.4, CLOCK) is Change.ROLLED
    assert clock.tick == 40 * 120


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
        if i:  # at the first, the old beat's may be still to come
            assert clock.time_at(20 * i) == pytest.approx(now + i * period, abs=1e-6)


PERIOD = 2.5 / 120


def jittered(clock: MidiClock, clocks: int, start: float = 0.0, jitter_s: float = 0.0005) -> float:
    """Sends clocks that err by up to so much; returns when the next is meant to come."""
    chance = random.Random(clocks)
    for i in range(clocks):
        clock.feed(start + i * PERIOD + chance.uniform(-jitter_s, jitter_s), CLOCK)
    return start + clocks * PERIOD


def rolling(clocks: int = 100) -> tuple[MidiClock, float]:
    """A clock that has been started at 0, and when its next clock is meant to come."""
    clock = MidiClock()
    clock.feed(-0.001, START)
    return clock, jittered(clock, clocks)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_lost_clocks_move_the_song_on(count: int) -> None:
    clock, now = rolling()
    jittered(clock, 50, now + count * PERIOD)
    end = (149 + count) * PERIOD
    assert clock.tick_at(end) == pytest.approx((149 + count) * 20, abs=1)
    assert (clock.tick, clock.health.lost, clock.health.extra) == ((149 + count) * 20, count, 0)


def test_its_health_tells_how_uneven_it_is() -> None:
    def jitter_ms(by: float) -> float:
        clock, period, unlike = MidiClock(120), 60 / 120 / 24, random.Random(3)
        clock.feed(0.0, START)
        for i in range(400):
            clock.feed(1 + i * period + unlike.gauss(0, by), CLOCK)
        return 1e3 * clock.health.jitter_s

    assert jitter_ms(0.0) < 0.3
    assert jitter_ms(0.002) == pytest.approx(2.0, rel=0.4)


def test_what_is_not_yet_understood_moves_nothing() -> None:
    clock, now = rolling()
    before = clock.tick, clock.time_at(4800)
    assert clock.feed(now + 0.012, CLOCK) is None
    assert (clock.tick, clock.time_at(4800)) == before
    jittered(clock, 20, now + PERIOD)
    assert clock.tick == 120 * 20
    assert clock.time_at(4800) == pytest.approx(before[1], abs=0.002)


def test_a_doubled_clock_does_not_move_the_song() -> None:
    clock, now = rolling()
    clock.feed(now, CLOCK)
    clock.feed(now + 0.001, CLOCK)
    now = jittered(clock, 20, now + PERIOD)
    assert (clock.tick, clock.health.lost, clock.health.extra) == (120 * 20, 0, 1)
    assert not clock.doubled


@pytest.mark.parametrize("later_s", [0.0, 0.0015])
def test_a_source_that_is_connected_twice_plays_the_song_once(later_s: float) -> None:
    clock = MidiClock()
    twice = [(i * PERIOD, CLOCK) for i in range(300)]
    twice += [(100 * PERIOD - 0.004, START), (200 * PERIOD - 0.004, spp(64)), (200 * PERIOD - 0.004, CONTINUE)]
    twice += [(time + later_s, message) for time, message in twice]
    changes = [clock.feed(now, message) for now, message in sorted(twice, key=lambda timed: timed[0])]
    assert clock.doubled
    assert clock.health.extra == pytest.approx(300, abs=2)
    assert changes.count(Change.ROLLED) == 2
    assert clock.tick == (64 * 6 + 99) * 20
    assert clock.tempo == pytest.approx(120, rel=0.01)


@pytest.mark.parametrize("rolls", [False, True])
def test_a_start_that_comes_twice_around_its_clock_starts_once(rolls: bool) -> None:
    clock = MidiClock()
    if rolls:
        clock.feed(-0.001, START)
    for i in range(100):
        clock.feed(i * PERIOD, CLOCK)
        clock.feed(i * PERIOD + 0.002, CLOCK)
    now = 100 * PERIOD
    events = [(0.0, START), (0.0005, CLOCK), (0.002, START), (0.0025, CLOCK)]
    changes = [clock.feed(now + later, message) for later, message in events]
    # While it rolls the first may be a second source's; that it comes again shows that it is not.
    assert changes == ([None, None, Change.ROLLED, None] if rolls else [None, Change.ROLLED, None, None])
    clock.feed(now + PERIOD, CLOCK)
    assert clock.tick == TICKS_PER_CLOCK


def test_a_new_song_after_silence_starts_with_its_first_clock() -> None:
    clock, now = rolling()
    clock.feed(now, STOP)
    clock.feed(now + 7.3, START)
    assert clock.feed(now + 7.31, CLOCK) is Change.ROLLED
    assert clock.tick == 0
    assert clock.time_at(0) == now + 7.31
    assert clock.tempo == pytest.approx(120, rel=0.01)


def test_starting_on_the_beat_keeps_what_is_known_of_the_clock() -> None:
    clock, now = rolling(200)
    clock.feed(now - 0.005, START)
    clock.feed(now + 0.001, CLOCK)
    jittered(clock, 2, now + PERIOD)
    assert clock.tick == 40
    # The first clock was late, and is known to have been.
    assert clock.time_at(0) == pytest.approx(now, abs=0.0004)


def test_a_lost_clock_that_comes_back_at_another_tempo_is_followed() -> None:
    for share in 26.3, 30, 200:
        again = MidiClock()
        again.feed(-0.001, START)
        end, tick = jittered(again, 100), again.tick
        assert again.expire(end + 1.0) is Change.LOST
        back = end + share * PERIOD
        changes = [again.feed(back + i * 2.5 / 90, CLOCK) for i in range(40)]
        assert changes == [Change.ROLLED, *[None] * 39]
        assert again.tick == tick + 40 * 20
        assert again.tempo == pytest.approx(90, rel=0.01)


@pytest.mark.parametrize("frames", [64, 256, 1024])
def test_clocks_that_come_in_lumps_are_ticks_at_even_times(frames: int) -> None:
    clock, lump = MidiClock(), frames / 48_000
    clock.feed(0.0, START)
    late = []
    for i in range(600):
        clock.feed((i * PERIOD // lump + 1) * lump, CLOCK)
        if i > 300:
            late.append(clock.time_at(i * 20) - i * PERIOD)
    assert clock.tick == 599 * 20
    assert max(late) - min(late) < 0.001 + lump / 10
    assert clock._follower.lumps_s == (0.0 if frames == 64 else pytest.approx(lump, rel=0.01))
