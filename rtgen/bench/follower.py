"""Simulates MIDI clocks, and compares the clock follower's error with that of simpler followers.

    python -m rtgen.bench.follower [--quick]

Every scenario is a list of arrivals with known true times. The error is that of a follower's time for the latest clock,
by the clock's true number: a follower that has miscounted is off by whole clocks. A constant delay is not an error
(`clock_offset_ms` corrects it), so a run's median is subtracted where clocks wait for an audio period.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import NamedTuple, Protocol

from rtgen.instrument.clocks.follower import ClockFollower

RTGEN = "rtgen"
_RATE = 48_000
_NEAR_MS = 1.0


class Arrival(NamedTuple):
    """A clock: time of arrival, number (repeated for a duplicate), and true time."""

    heard: float
    number: int
    true: float


class Follower(Protocol):
    """Interface of a clock follower."""

    time: float
    period: float

    def clock(self, now: float) -> int:
        """Handles a clock that arrived at `now`; returns the number of clocks by which the song moves."""
        ...


class Loop:
    """A plain second-order delay-locked loop with fixed bandwidth, as used for audio and clock timing.

    Args:
        period_s: expected period of the clock.
        bandwidth: in Hz.
    """

    def __init__(self, period_s: float, bandwidth: float) -> None:
        self.time, self.period = math.nan, period_s
        self._omega = 2 * math.pi * bandwidth

    def clock(self, now: float) -> int:
        """Counts every clock as one."""
        if math.isnan(self.time):
            self.time = now
            return 1
        omega = self._omega * self.period
        error = now - (self.time + self.period)
        self.time += self.period + math.sqrt(2) * omega * error
        self.period = min(max(self.period + omega * omega * error, 0.004), 0.2)
        return 1


class Average:
    """The simplest follower: an exponential average of the clock interval, added to the last clock.

    Args:
        period_s: expected period of the clock.
        share: weight of the newest interval.
    """

    def __init__(self, period_s: float, share: float = 0.1) -> None:
        self.time, self.period = math.nan, period_s
        self._share, self._last = share, math.nan

    def clock(self, now: float) -> int:
        """Counts every clock as one."""
        if math.isnan(self._last):
            self._last = self.time = now
            return 1
        self.time = self._last + self.period
        self.period += self._share * (now - self._last - self.period)
        self._last = now
        return 1


FOLLOWERS: dict[str, Callable[[float], Follower]] = {
    RTGEN: ClockFollower,
    "loop, slow": lambda period: Loop(period, 0.6),
    "loop, fast": lambda period: Loop(period, 1.2),
    "averaging": Average,
}


# ---- scenarios ------------------------------------------------------------------------------------------------------


def even(chance: random.Random, tempo: float = 120, clocks: int = 400, jitter_ms: float = 2.0) -> list[Arrival]:
    """A steady clock with uniform jitter."""
    return bent(chance, lambda _: tempo, clocks, jitter_ms)


def bent(
    chance: random.Random, tempo: Callable[[int], float], clocks: int = 400, jitter_ms: float = 2.0
) -> list[Arrival]:
    """A clock with a given tempo (BPM) at each clock, with uniform jitter."""
    arrivals, time = [], 0.0
    for number in range(clocks):
        arrivals.append(Arrival(time + chance.uniform(-jitter_ms, jitter_ms) / 1000, number, time))
        time += 2.5 / tempo(number)
    return arrivals


def ritardando(number: int) -> float:
    """From 120 to 60 BPM over four bars."""
    return 120 * (1 - 0.5 * min(max((number - 150) / 384, 0), 1))


def _late(chance: random.Random) -> list[Arrival]:
    arrivals = even(chance, jitter_ms=0.7)
    arrivals[200] = arrivals[200]._replace(heard=arrivals[200].heard + 0.012)
    return arrivals


def _lost(chance: random.Random) -> list[Arrival]:
    arrivals = even(chance, jitter_ms=0.7)
    return arrivals[:200] + arrivals[203:]


def _doubled(chance: random.Random) -> list[Arrival]:
    arrivals = even(chance, jitter_ms=0.7)
    return [*arrivals[:201], arrivals[200]._replace(heard=arrivals[200].heard + 0.001), *arrivals[201:]]


def _twice(chance: random.Random) -> list[Arrival]:
    arrivals = even(chance, jitter_ms=0.3)
    return sorted(arrivals + [a._replace(heard=a.heard + 0.0015) for a in arrivals[100:]])


def _another(chance: random.Random) -> list[Arrival]:
    arrivals = even(chance, jitter_ms=0.7)
    return sorted(arrivals + [a._replace(heard=a.heard + 0.007) for a in arrivals[100:]])


def lumpy(chance: random.Random, frames: int, tempo: float, jitter: float = 0.0) -> list[Arrival]:
    """A steady clock from a program that runs once per audio period, itself up to 0.1 ms late.

    Args:
        chance: randomness of the period phase and the jitter.
        frames: per audio period, at 48 kHz.
        tempo: BPM.
        jitter: uniform, in clocks.
    """
    period, start, arrivals = frames / _RATE, chance.random(), []
    for clock in even(chance, tempo, 600, 1000 * jitter * 2.5 / tempo):
        heard = (math.ceil(clock.heard / period + start) - start) * period + chance.uniform(0, 1e-4)
        arrivals.append(clock._replace(heard=heard, true=clock.true + period / 2))
    return arrivals


def held_up(arrivals: list[Arrival]) -> list[Arrival]:
    """Delivery stalls for 0.2 s from the 300th clock on, then delivers all waiting clocks at once."""
    end = arrivals[300].heard + 0.2
    return [a._replace(heard=max(a.heard, end + 1e-5 * a.number)) if a.number >= 300 else a for a in arrivals]


@dataclass(frozen=True)
class Scenario:
    """A disturbance of a clock.

    Args:
        name: description.
        arrivals: makes the clocks.
        first: first clock whose error counts.
        step: whether to measure the number of clocks until the error stays below 1 ms.
        level: whether to subtract a constant delay.
    """

    name: str
    arrivals: Callable[[random.Random], list[Arrival]]
    first: int = 100
    step: bool = False
    level: bool = False


def _stepping(to: float) -> Callable[[random.Random], list[Arrival]]:
    return lambda chance: bent(chance, lambda number: 120 if number < 199 else to, 260)


def _lumpy(frames: int, tempo: float) -> Scenario:
    name = f"periods of {frames} frames, {tempo:g} BPM"
    return Scenario(name, lambda chance: lumpy(chance, frames, tempo), 250, level=True)


SCENARIOS = (
    Scenario("jitter of ±2 ms, 120 BPM", even),
    Scenario("jitter of ±2 ms, 20 BPM", lambda chance: even(chance, 20)),
    Scenario("jitter of ±2 ms, 400 BPM", lambda chance: even(chance, 400)),
    Scenario("the same, 120 to 126 BPM", _stepping(126), 200, step=True),
    Scenario("the same, 120 to 90 BPM", _stepping(90), 200, step=True),
    Scenario("ritardando, half in 4 bars", lambda chance: bent(chance, ritardando, 700, 0.7)),
    Scenario("a clock is 12 ms late", _late),
    Scenario("3 clocks are lost", _lost),
    Scenario("9 clocks at once, 0.2 s late", lambda chance: held_up(even(chance, jitter_ms=0.7))),
    Scenario("a clock comes twice", _doubled),
    Scenario("all clocks come twice", _twice),
    Scenario("another source gets in", _another),
    _lumpy(64, 120),
    _lumpy(256, 120),
    _lumpy(256, 174),
    _lumpy(1024, 120),
    _lumpy(1024, 174),
    Scenario("the same, 0.2 s of them at once", lambda chance: held_up(lumpy(chance, 1024, 174)), 250, level=True),
    Scenario("20 % of a clock, 64 frames", lambda chance: lumpy(chance, 64, 120, 0.2), 250, level=True),
)


# ---- results --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """A follower's result in a scenario, over all seeds.

    Args:
        scenario: its name.
        follower: its name.
        rms_ms: of the errors.
        p99_ms: of their magnitudes.
        clocks_median: clocks after a step until the median error over all seeds stays below 1 ms; None without a step,
            or if it never does.
        clocks_rms: the same for the rms over all seeds.
        miscounted: runs that ended at a wrong clock number.
        runs: number of seeds.
        events: the follower's own counts per run on average: lost clocks, extra clocks, tempos learnt anew.
        errors_ms: the magnitudes.
    """

    scenario: str
    follower: str
    rms_ms: float
    p99_ms: float
    clocks_median: int | None
    clocks_rms: int | None
    miscounted: int
    runs: int
    events: str
    errors_ms: Sequence[float] = field(repr=False)


def follow(follower: Follower, arrivals: Iterable[Arrival]) -> list[float]:
    """The error after each arrival, in ms: the follower's time for that clock minus its true time."""
    errors, number = [], -1
    for heard, true_number, true in arrivals:
        number += follower.clock(heard)
        errors.append(1000 * (follower.time + (true_number - number) * follower.period - true))
    return errors


def simulate(*, quick: bool = False, seeds: int | None = None) -> list[Result]:
    """Runs every follower in every scenario; the same seeds give the same figures.

    Args:
        quick: fewer seeds, a few seconds in all.
        seeds: number of runs of each, overriding `quick`.
    """
    count = seeds or (12 if quick else 60)
    return [_result(scenario, name, count) for scenario in SCENARIOS for name in FOLLOWERS]


def _result(scenario: Scenario, name: str, seeds: int) -> Result:
    errors, told, miscounted = [], [0, 0, 0], 0
    for seed in range(seeds):
        arrivals = scenario.arrivals(random.Random(seed))
        follower = FOLLOWERS[name](0.02)
        run = follow(follower, arrivals)
        kept = [error for error, arrival in zip(run, arrivals, strict=True) if arrival.number >= scenario.first]
        middle = median(kept)
        miscounted += abs(median(kept[-48:])) > 750 * follower.period
        errors.append([error - middle * scenario.level for error in kept])
        if isinstance(follower, ClockFollower):
            told = [a + b for a, b in zip(told, (follower.lost, follower.extra, follower.relocks), strict=True)]
    every = sorted(abs(error) for run in errors for error in run)
    rms = math.sqrt(fmean(error * error for error in every))
    p99 = every[int(0.99 * len(every))]
    by_clock = list(zip(*errors, strict=False)) if scenario.step else []
    at_median = _settled([median(abs(e) for e in clock) for clock in by_clock])
    at_rms = _settled([math.sqrt(fmean(e * e for e in clock)) for clock in by_clock])
    lost, extra, anew = (n / seeds for n in told)
    events = f"{lost:.3g} lost, {extra:.3g} too many, {anew:.2g} tempos" if name == RTGEN else ""
    return Result(scenario.name, name, rms, p99, at_median, at_rms, miscounted, seeds, events, every)


def _settled(errors: Sequence[float]) -> int | None:
    """Number of clocks until the error stays below 1 ms; None if it does not."""
    beyond = [clock for clock, error in enumerate(errors) if error > _NEAR_MS]
    clocks = (beyond[-1] + 1 if beyond else 0) + 1
    return clocks if clocks <= len(errors) else None


def table(results: Iterable[Result]) -> str:
    """The results as text."""
    lines = [f"{'':33}{'':12}{'rms ms':>8}{'p99 ms':>9}{'< 1 ms: median':>16}{'rms':>5}{'miscounted':>12}"]
    last = ""
    for r in results:
        name, last = "" if r.scenario == last else r.scenario, r.scenario
        steps = "".join(f"{'' if n is None else n:>{w}}" for n, w in ((r.clocks_median, 16), (r.clocks_rms, 5)))
        missed = f"{r.miscounted}/{r.runs}" if r.miscounted else ""
        line = f"{name:33}{r.follower:12}{r.rms_ms:8.2f}{r.p99_ms:9.2f}{steps}{missed:>12}   {r.events}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="The clock follower in simulation.")
    parser.add_argument("--quick", action="store_true", help="use fewer seeds")
    arguments = parser.parse_args()
    print(table(simulate(quick=arguments.quick)))


if __name__ == "__main__":
    main()
