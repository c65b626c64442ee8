"""What the clock follower reckons with: a line through noisy times, and the sum that tells when it no longer holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rtgen.music.time import CLOCKS_PER_BEAT, MAX_TEMPO, MIN_TEMPO

SHORTEST_S = 60 / (MAX_TEMPO * 1.05 * CLOCKS_PER_BEAT)
LONGEST_S = 60 / (MIN_TEMPO * 0.95 * CLOCKS_PER_BEAT)
"""Between these a clock's period is believed."""
_WANDER = 1e-4
"""By how much of itself a period changes from clock to clock when nothing happens: no clock is quite even."""


class Line(NamedTuple):
    """A clock's time and the time between clocks, with how sure they are (a Kalman filter's state).

    The period does a random walk; the covariances are those of the continuous model, one clock apart.

    Args:
        time: of the clock, seconds.
        period: seconds to the next one.
        var: variance of the time, seconds squared; `cov` and `pvar` are its covariance with the period, and the
            period's variance.
    """

    time: float
    period: float
    var: float
    cov: float
    pvar: float

    def ahead(self, clocks: int = 1) -> Line:
        """The line so many clocks later."""
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
        """The line after its clock was heard at `time`, give or take."""
        total = self.var + variance
        error = time - self.time
        gain, drift = self.var / total, self.cov / total
        period = min(max(self.period + drift * error, SHORTEST_S), LONGEST_S)
        pvar = max(self.pvar - drift * self.cov, 0.0)
        return Line(self.time + gain * error, period, self.var * (1 - gain), self.cov * (1 - gain), pvar)

    def through(self, times: Iterable[tuple[float, int]], variance: float) -> Line:
        """The line after clocks were heard: (time, how many clocks after the one before)."""
        line = self
        for time, clocks in times:
            line = line.ahead(clocks).towards(time, variance)
        return line

    def at_most(self, var: float) -> Line:
        """The line, no less sure than this."""
        share = var / self.var if self.var > var else 1.0
        return self._replace(var=self.var * share, cov=self.cov * share, pvar=self.pvar * share)


class Clock(NamedTuple):
    """A clock that was heard.

    Args:
        before: the line before it.
        time: when it was heard.
        steps: by how many clocks it is after the line.
    """

    before: Line
    time: float
    steps: int


def likeliest(clocks: Sequence[Clock], noise: float, least: int = 2) -> tuple[float, Line]:
    """The line through clocks that takes another period at one of the first of them, so that all fit best.

    Returns how badly they fit (errors in standard deviations, squared and added up), and the line.

    Args:
        clocks: one after the other.
        noise: variance of their times.
        least: how many at the end the new period holds for at least.
    """
    onsets = range(max(min(4, len(clocks) - least + 1), 1))
    return min(_changing(clocks, noise, onset) for onset in onsets)


def steady(clocks: Sequence[Clock], noise: float) -> float:
    """How badly a line fits the clocks that keeps its period, as `likeliest` tells it."""
    return _changing(clocks, noise, None)[0]


def _changing(clocks: Sequence[Clock], noise: float, onset: int | None) -> tuple[float, Line]:
    line, cost = clocks[0].before, 0.0
    for i, clock in enumerate(clocks):
        if i == onset:
            # Nothing is known of the new period, so its first clock is no surprise wherever it is.
            line = Line(line.time, line.period, line.var, 0.0, line.period**2)
        ahead = line.ahead(clock.steps)
        if i != onset:
            cost += (clock.time - ahead.time) ** 2 / (ahead.var + noise)
        line = ahead.towards(clock.time, noise)
    return cost, line


class Drift:
    """Tells when errors lean to one side for longer than chance would have it (Page's cumulative sums, 1954)."""

    _FREE = 0.7
    """Standard deviations that an error may lean to a side at no cost."""
    _ALARM = 4.0
    _CLIP = 3.0

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets all errors."""
        self._sums = [0.0, 0.0]
        self._counts = [0, 0]

    def add(self, error: float) -> int:
        """Takes an error in standard deviations; for how many clocks they have been leaning, 0 if they do not."""
        error = max(-self._CLIP, min(self._CLIP, error))
        for side, lean in enumerate((error, -error)):
            self._sums[side] = max(self._sums[side] + lean - self._FREE, 0.0)
            self._counts[side] = self._counts[side] + 1 if self._sums[side] else 0
        side = 0 if self._sums[0] > self._sums[1] else 1
        return self._counts[side] if self._sums[side] > self._ALARM else 0
