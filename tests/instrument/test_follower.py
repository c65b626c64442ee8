from __future__ import annotations

import math
import random
from collections.abc import Iterable
from statistics import fmean, median

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtgen.instrument.clocks.estimate import LONGEST_S, SHORTEST_S
from rtgen.instrument.clocks.follower import ClockFollower

Arrivals = list[tuple[float, int]]
"""When clocks arrive, and which ones they are."""


def even(tempo: float, clocks: int, jitter_s: float = 0.0005, seed: int = 0, first: float = 0.0) -> Arrivals:
    """A steady clock whose times err by up to so much."""
    chance = random.Random(seed)
    return [(first + i * 2.5 / tempo + chance.uniform(-jitter_s, jitter_s), i) for i in range(clocks)]


def lumpy(tempo: float, clocks: int, frames: int, seed: int = 0) -> Arrivals:
    """A steady clock out of a program that runs once per audio period, and is itself late by up to 0.1 ms."""
    chance = random.Random(seed)
    period, start = frames / 48_000, chance.random()
    true = (i * 2.5 / tempo for i in range(clocks))
    return [(math.ceil(t / period + start) * period + chance.uniform(0, 1e-4), i) for i, t in enumerate(true)]


class Listener:
    """A follower, and the number of the clock that it believes to be at."""

    def __init__(self, period_s: float = 0.02) -> None:
        self.follower = ClockFollower(period_s)
        self.number = -1

    def hear(self, arrivals: Iterable[tuple[float, int]]) -> Listener:
        for time, _ in arrivals:
            self.number += self.follower.clock(time)
        return self

    def time_of(self, number: int) -> float:
        """When it believes a clock to be."""
        return self.follower.time + (number - self.number) * self.follower.period


def close(listener: Listener, tempo: float, number: int, within_s: float = 0.002) -> bool:
    """Whether it knows when a clock of an even tempo is, and not only when some clock is."""
    return abs(listener.time_of(number) - number * 2.5 / tempo) < within_s


# ---- jitter and tempo -----------------------------------------------------------------------------------------------


def step(seed: int, jitter_s: float = 0.002) -> tuple[list[float], list[float]]:
    """Errors in ms while steady at 120 BPM, and after a step to 126."""
    listener, chance, time = Listener(), random.Random(seed), 0.0
    steady, after = [], []
    for number in range(400):
        time += 2.5 / (120 if number < 370 else 126)
        listener.hear([(time + chance.uniform(-jitter_s, jitter_s), number)])
        error = 1000 * (listener.time_of(number) - time)
        (steady if number < 370 else after).append(error)
    return steady[100:], after


def test_uniform_jitter_of_2_ms_is_smoothed_and_a_new_tempo_caught_within_12_clocks() -> None:
    runs = [step(seed) for seed in range(60)]
    steady = [error**2 for errors, _ in runs for error in errors]
    assert fmean(steady) ** 0.5 < 0.35  # wanted: 0.4; raw: 1.15
    for clock in range(12, 30):
        errors = [after[clock] for _, after in runs]
        assert median(abs(error) for error in errors) < 0.7
        assert fmean(error**2 for error in errors) ** 0.5 < 1.0


@pytest.mark.parametrize("tempo", [20, 60, 120, 174, 240, 400])
@pytest.mark.parametrize("guess", [60, 240])
def test_tempos_from_20_to_400_are_followed(tempo: float, guess: float) -> None:
    listener = Listener(2.5 / guess).hear(even(tempo, 200, 0.001))
    assert listener.follower.period == pytest.approx(2.5 / tempo, rel=0.005)
    assert close(listener, tempo, 199)


@pytest.mark.parametrize("to", [20, 60, 80, 119, 180, 240, 400])
def test_any_other_tempo_is_found_and_no_clock_is_miscounted(to: float) -> None:
    for seed in range(5):
        before = even(120, 200, 0.0007, seed)
        listener = Listener().hear(before)
        after = even(to, 80, 0.0007, seed, first=200 * 2.5 / 120)
        listener.hear(after)
        assert listener.follower.period == pytest.approx(2.5 / to, rel=0.03)
        assert listener.time_of(279) == pytest.approx(200 * 2.5 / 120 + 79 * 2.5 / to, abs=0.002)


@pytest.mark.parametrize(("before", "after"), [(120, 150), (120, 180), (150, 180), (180, 240), (140, 200), (200, 160)])
def test_a_leap_of_the_tempo_leaves_no_clock_behind_however_much_clocks_jitter(before: int, after: int) -> None:
    """At 240 BPM +-2 ms are a fifth of a clock each way, and now and then even the best guess is wrong."""
    behind = 0
    for seed in range(40):
        rng = random.Random(seed)
        follower, time, count = ClockFollower(2.5 / before), 0.0, 0
        for clock in range(320):
            time += 2.5 / (before if clock < 200 else after)
            count += follower.clock(time + rng.uniform(-0.002, 0.002))
        behind += abs(follower.time - time + (320 - count) * follower.period) > 0.005
    assert behind <= 1


@pytest.mark.parametrize("jitter_s", [0.0002, 0.001])
def test_a_ritardando_of_half_over_four_bars_is_followed(jitter_s: float) -> None:
    for seed in range(5):
        listener, chance, time, errors = Listener(), random.Random(seed), 0.0, []
        for number in range(700):
            time += 2.5 / (120 * (1 - 0.5 * min(max((number - 150) / 384, 0), 1)))
            listener.hear([(time + chance.uniform(-jitter_s, jitter_s), number)])
            errors.append(abs(listener.time_of(number) - time))
        assert max(errors[100:]) < 0.006
        assert sorted(errors)[630] < 0.0025
        assert listener.follower.lost == listener.follower.extra == 0


@given(st.integers(20, 400), st.floats(0, 0.15), st.integers(0, 999), st.floats(-1000, 1000))
def test_no_jitter_within_reason_makes_a_clock_lost_or_doubled(tempo: int, share: float, seed: int, at: float) -> None:
    arrivals = even(tempo, 250, min(share * 2.5 / tempo, 0.002), seed)
    listener = Listener().hear([(at + time, number) for time, number in arrivals])
    assert listener.number == 249
    assert listener.follower.lost == listener.follower.extra == 0
    assert abs(listener.time_of(249) - at - 249 * 2.5 / tempo) < 0.002
    assert listener.follower.lumps_s < 0.005


# ---- clocks that are late, lost, or too many ------------------------------------------------------------------------


@pytest.mark.parametrize("jitter_s", [0.0, 0.0007, 0.002])
@pytest.mark.parametrize("late_s", [0.012, 0.018, -0.012])
def test_one_clock_far_off_disturbs_nothing(jitter_s: float, late_s: float) -> None:
    arrivals = even(120, 300, jitter_s)
    arrivals[150] = (arrivals[150][0] + late_s, 150)
    listener = Listener().hear(arrivals[:150])
    for arrival in arrivals[150:]:
        listener.hear([arrival])
        assert close(listener, 120, arrival[1], 0.0012)
    assert listener.number == 299


@pytest.mark.parametrize("jitter_s", [0.0, 0.0007, 0.002])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_lost_clocks_are_counted(jitter_s: float, count: int) -> None:
    for seed in range(10):
        arrivals = even(120, 300, jitter_s, seed)
        listener = Listener().hear(arrivals[:150])
        # What waits to be understood leaves the line as it was.
        for arrival in arrivals[150 + count :]:
            listener.hear([arrival])
            assert close(listener, 120, arrival[1], 0.003)
        assert (listener.number, listener.follower.lost, listener.follower.extra) == (299, count, 0)


@pytest.mark.parametrize("jitter_s", [0.0, 0.0007, 0.002])
@pytest.mark.parametrize("later_s", [0.0, 0.001, 0.005])
def test_a_doubled_clock_is_counted_once(jitter_s: float, later_s: float) -> None:
    for seed in range(10):
        arrivals = even(120, 300, jitter_s, seed)
        arrivals.insert(151, (arrivals[150][0] + later_s, 150))
        listener = Listener().hear(arrivals)
        assert (listener.number, listener.follower.lost, listener.follower.extra) == (299, 0, 1)
        assert not listener.follower.doubled


@pytest.mark.parametrize("tempo", [60, 120, 174, 240])
@pytest.mark.parametrize("later_s", [0.0, 0.001, 0.002])
def test_a_source_that_is_connected_twice_is_followed_once(tempo: float, later_s: float) -> None:
    for start in 0, 100:
        arrivals = even(tempo, 300, 0.0003)
        twice = [(time + later_s, number) for time, number in arrivals[start:]]
        listener = Listener().hear(sorted(arrivals + twice))
        follower = listener.follower
        assert follower.doubled
        assert follower.period == pytest.approx(2.5 / tempo, rel=0.01)
        # Twice from the start, it takes a few to see; then the song is where it should be but for those.
        assert abs(listener.number - 299) <= (6 if start == 0 else 0)
        listener.hear(even(tempo, 60, 0.0003, first=300 * 2.5 / tempo))
        assert not follower.doubled


@pytest.mark.parametrize("phase", [0.2, 0.35, 0.6, 0.8])
def test_the_clocks_of_another_source_are_passed_over(phase: float) -> None:
    arrivals = even(120, 400)
    foreign = even(120, 300, seed=1, first=(60 + phase) * 2.5 / 120)
    listener = Listener().hear(sorted(arrivals + foreign))
    assert close(listener, 120, 399)
    assert listener.follower.extra == pytest.approx(300, abs=2)


def test_a_source_that_jumps_is_followed_from_there() -> None:
    later = even(120, 100, first=100 * 2.5 / 120 + 0.009)
    listener = Listener().hear(even(120, 100) + later)
    assert listener.time_of(199) == pytest.approx(199 * 2.5 / 120 + 0.009, abs=0.001)


@pytest.mark.parametrize("stalls_ms", [(10, 21.7, 24, 17, 19), (31, 21, 42), (6, 63, 20)])
@pytest.mark.parametrize("apart", [5, 20])
def test_a_source_that_stalls_again_and_again_has_lost_no_clock(stalls_ms: tuple[float, ...], apart: int) -> None:
    for seed in range(10):
        arrivals = even(120, 400, 0.0007, seed)
        for i, stall_ms in enumerate(stalls_ms):
            at = 150 + i * apart
            arrivals[at:] = [(time + stall_ms / 1000, number) for time, number in arrivals[at:]]
        listener = Listener().hear(arrivals)
        assert (listener.number, listener.follower.lost, listener.follower.extra) == (399, 0, 0)
        # Later on a gap of two periods is a lost clock again.
        listener.hear((time + 2 * 2.5 / 120, n) for time, n in even(120, 10, first=arrivals[-1][0]))
        assert (listener.number, listener.follower.lost) == (410, 1)


def held_up(arrivals: Arrivals, stalls: Iterable[tuple[float, float]], seed: int = 0) -> Arrivals:
    """Clocks that wait for the end of a stall (when it begins, how long it takes, seconds), and then come at once."""
    chance, free, late = random.Random(seed), -1.0, []
    for time, number in arrivals:
        for begin, length in stalls:
            if begin <= time < begin + length:
                time = begin + length
        free = max(time, free + chance.uniform(1e-5, 1e-4))
        late.append((free, number))
    return late


@pytest.mark.parametrize("tempo", [60, 96, 140, 220])
@pytest.mark.parametrize("frames", [0, 256, 1024])
@pytest.mark.parametrize("stalls_ms", [(70,), (110,), (180,), (250,), (90, 200, 60)])
def test_clocks_that_were_held_up_on_their_way_say_nothing_about_the_tempo(
    tempo: float, frames: int, stalls_ms: tuple[float, ...]
) -> None:
    for seed in range(5):
        arrivals = lumpy(tempo, 300, frames, seed) if frames else even(tempo, 300, 0.0003, seed)
        begin = arrivals[150][0] + 0.37 * seed * 2.5 / tempo
        listener = Listener().hear(arrivals[:100])
        known, tempos = listener.follower.period, []
        stalls = [(begin + 0.3 * i, ms / 1000) for i, ms in enumerate(stalls_ms)]
        for arrival in held_up(arrivals, stalls, seed)[100:]:
            listener.hear([arrival])
            tempos.append(known / listener.follower.period)
        assert (listener.number, listener.follower.lost, listener.follower.extra) == (299, 0, 0)
        # In long lumps every clock may be off by one; else by next to nothing.
        assert max(abs(t - 1) for t in tempos) < (0.03 if frames < 1024 else 0.35), max(tempos)
        assert not listener.follower.doubled


def test_a_pause_is_no_clock() -> None:
    listener = Listener().hear(even(120, 100) + even(120, 100, first=20.0))
    assert listener.number == 199
    assert listener.time_of(199) == pytest.approx(20 + 99 * 2.5 / 120, abs=0.001)


# ---- lumps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [64, 256, 1024])
def test_clocks_in_lumps_are_evened_out(frames: int) -> None:
    """A constant lateness is the player's to correct (`clock_offset_ms`); what remains must be small."""
    period, spreads = frames / 48_000, []
    for tempo in range(40, 300, 7):
        arrivals = lumpy(tempo, 500, frames, seed=tempo)
        listener = Listener().hear(arrivals[:250])
        late = []
        for arrival in arrivals[250:]:
            listener.hear([arrival])
            late.append(listener.time_of(arrival[1]) - arrival[1] * 2.5 / tempo)
        assert listener.number == 499, tempo
        # Nearly as far apart as lumps are, clocks tell for seconds nothing but that.
        assert max(late) - min(late) < 0.001 + 0.6 * period, tempo
        assert listener.follower.period == pytest.approx(2.5 / tempo, rel=0.01), tempo
        spreads.append(max(late) - min(late))
    assert median(spreads) < 0.0005 + 0.1 * period


@pytest.mark.parametrize(("tempo", "frames"), [(120, 256), (120, 1024), (240, 256), (240, 1024), (60, 1024)])
def test_lumps_are_known_as_such(tempo: float, frames: int) -> None:
    listener = Listener().hear(lumpy(tempo, 300, frames))
    follower = listener.follower
    assert follower.lumps_s == pytest.approx(frames / 48_000, rel=0.03)
    assert (follower.lost, follower.extra, follower.doubled) == (0, 0, False)
    listener.hear(even(tempo, 100, first=listener.time_of(300)))
    assert follower.lumps_s == 0


@pytest.mark.parametrize("frames", [256, 1024])
@pytest.mark.parametrize("to", [90, 126, 174])
def test_another_tempo_is_found_in_lumps(frames: int, to: float) -> None:
    for seed in range(5):
        listener = Listener().hear(lumpy(120, 300, frames, seed))
        first = listener.time_of(300)
        listener.hear((first + time, number) for time, number in lumpy(to, 200, frames, seed))
        assert abs(listener.number - 499) <= 1  # a leap from lump to lump may be taken for another clock
        assert listener.follower.period == pytest.approx(2.5 / to, rel=0.02)


# ---- whatever comes -------------------------------------------------------------------------------------------------

WAITS = st.one_of(
    st.sampled_from([0.0, 1e-9, 2.5 / 120, 2.5 / 120, 2.5 / 120, 1024 / 48_000, 5.0, 3600.0, 1e6]),
    st.floats(-100, 100),
    st.floats(0, 0.1),
)


@example([(0.0, 1), (0.125, 5), (1 / 48, 4), (0.0031689243907871544, 29)], 0.006)  # 789 BPM, taken for lumps
@given(st.lists(st.tuples(WAITS, st.integers(1, 30)), max_size=30), st.sampled_from([0.006, 0.02, 0.1]))
def test_any_times_leave_a_tempo_that_can_be_played(waits: list[tuple[float, int]], period_s: float) -> None:
    follower, now = ClockFollower(period_s), 0.0
    for wait, times in waits:
        for _ in range(times):
            now += wait
            moved = follower.clock(now)
            assert math.isfinite(follower.time)
            assert SHORTEST_S <= follower.period <= LONGEST_S
            assert -60 <= moved <= 120
            assert follower.lost >= 0
            assert follower.extra >= 0
            follower.expects(now + 0.01)


def test_starting_anew_keeps_the_tempo() -> None:
    follower = ClockFollower(0.02)
    assert not follower.locked
    assert not follower.expects(0.0)
    for time, _ in even(97, 60):
        follower.clock(time)
    assert follower.locked
    assert follower.expects(60 * 2.5 / 97)
    assert not follower.expects(60.5 * 2.5 / 97)
    follower.restart()
    assert not follower.locked
    assert follower.clock(100.0) == 1
    assert follower.time == 100.0
    assert follower.period == pytest.approx(2.5 / 97, rel=0.01)
