"""The clock follower's estimators: a Kalman filter over noisy clock times, and a CUSUM test for leaning errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rtgen.music.time import CLOCKS_PER_BEAT, MAX_TEMPO, MIN_TEMPO

SHORTEST_S = 60 / (MAX_TEMPO * 1.05 * CLOCKS_PER_BEAT)
LONGEST_S = 60 / (MIN_TEMPO * 0.95 * CLOCKS_PER_BEAT)
"""Range of plausible clock periods, seconds: 5 % beyond the tempo limits."""
_WANDER = 1e-4
"""Relative change of the period per clock (random walk), as no source is perfectly regular."""


def possible(period_s: float) -> float:
    """Return the nearest time between clocks that a tempo we follow has, in seconds."""
    return min(max(period_s, SHORTEST_S), LONGEST_S)


class Line(NamedTuple):
    """A Kalman filter's state: a clock's time and the period, with their covariance.

    The period does a random walk; the process noise is that of the continuous model, one clock apart.

    Args:
        time: of the clock, seconds.
        period: until the next clock, seconds.
        var: variance of the time, seconds squared.
        cov: covariance of time and period.
        pvar: variance of the period.
    """

    time: float
    period: float
    var: float
    cov: float
    pvar: float

    def ahead(self, clocks: int = 1) -> Line:
        """Return the line predicted `clocks` clocks later."""
        time, period, var, cov, pvar = self
        noise = (_WANDER * period) ** 2 * clocks
        return Line(
            time + clocks * period,
            period,
            max(var + clocks * (2 * cov + clocks * pvar) + noise / 3, 0.0),
            cov + clocks * pvar + noise / 2,
            pvar + noise,
        )

    def towards(self, time: float, variance: float) -> Line:
        """Return the line updated with its clock, observed at `time` (seconds) with this variance."""
        total = self.var + variance
        error = time - self.time
        gain, drift = self.var / total, self.cov / total
        period = possible(self.period + drift * error)
        pvar = max(self.pvar - drift * self.cov, 0.0)
        return Line(self.time + gain * error, period, self.var * (1 - gain), self.cov * (1 - gain), pvar)

    def through(self, times: Iterable[tuple[float, int]], variance: float) -> Line:
        """Return the line updated with several clocks.

        Args:
            times: (time in seconds, clocks since the one before).
            variance: of the times, seconds squared.
        """
        line = self
        for time, clocks in times:
            line = line.ahead(clocks).towards(time, variance)
        return line

    def at_most(self, var: float) -> Line:
        """Return the line with the variance of its time capped at `var`, and the rest scaled alike."""
        share = var / self.var if self.var > var else 1.0
        return self._replace(var=self.var * share, cov=self.cov * share, pvar=self.pvar * share)


class Clock(NamedTuple):
    """A received clock.

    Args:
        before: the line before it.
        time: of its arrival, seconds.
        steps: clocks by which it is ahead of that line.
    """

    before: Line
    time: float
    steps: int


def likeliest(clocks: Sequence[Clock], noise: float, least: int = 2) -> tuple[float, Line]:
    """Fit a line whose period changes at one of the first few clocks, wherever that fits best.

    Args:
        clocks: consecutive clocks.
        noise: variance of their times, seconds squared.
        least: minimum number of clocks at the end that have the new period.

    Returns:
        The cost (sum of squared errors in standard deviations), and the line.
    """
    onsets = range(max(min(4, len(clocks) - least + 1), 1))
    return min(_changing(clocks, noise, onset) for onset in onsets)


def steady(clocks: Sequence[Clock], noise: float) -> float:
    """Return the cost, as `likeliest` has it, of a line that keeps its period."""
    return _changing(clocks, noise, None)[0]


def _changing(clocks: Sequence[Clock], noise: float, onset: int | None) -> tuple[float, Line]:
    line, cost = clocks[0].before, 0.0
    for i, clock in enumerate(clocks):
        if i == onset:
            # The new period is unknown, so its first clock may be anywhere at no cost.
            line = Line(line.time, line.period, line.var, 0.0, line.period**2)
        ahead = line.ahead(clock.steps)
        if i != onset:
            cost += (clock.time - ahead.time) ** 2 / (ahead.var + noise)
        line = ahead.towards(clock.time, noise)
    return cost, line


class Drift:
    """Detects errors that lean to one side for longer than by chance: a two-sided CUSUM test (Page, 1954)."""

    _FREE = 0.7
    """Allowance: errors up to this many standard deviations add nothing."""
    _ALARM = 4.0
    _CLIP = 3.0

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset both sums."""
        self._sums = [0.0, 0.0]
        self._counts = [0, 0]

    def add(self, error: float) -> int:
        """Add an error in standard deviations.

        Returns:
            For how many clocks the errors have leaned to one side; 0 if they do not.
        """
        error = max(-self._CLIP, min(self._CLIP, error))
        for side, lean in enumerate((error, -error)):
            self._sums[side] = max(self._sums[side] + lean - self._FREE, 0.0)
            self._counts[side] = self._counts[side] + 1 if self._sums[side] else 0
        side = 0 if self._sums[0] > self._sums[1] else 1
        return self._counts[side] if self._sums[side] > self._ALARM else 0
