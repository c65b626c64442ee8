"""The clock follower: the true times of clocks that arrive with jitter."""

from __future__ import annotations

from rtgen.music.time import CLOCKS_PER_BEAT, MAX_TEMPO, MIN_TEMPO


class ClockFollower:
    """The true times of evenly meant clocks that arrive with jitter.

    A second-order tracker of time and period (an alpha-beta filter). Its gains are those of a least-squares line
    through all clocks since the lock (the expanding-memory polynomial filter: Morrison, Introduction to Sequential
    Smoothing and Prediction, 1969), so it is right after two clocks and gets steadier with each; past `MEMORY` clocks
    the gains stay, so it goes on following. Three errors of one sign and beyond the jitter in a row mean that the tempo
    changed: the memory is cut, and it locks anew.
    """

    MEMORY = 36
    RELOCK = 5

    def __init__(self, period_s: float) -> None:
        self.time = 0.0
        """Estimated time of the latest clock, seconds."""
        self.period = period_s
        """Estimated seconds between clocks."""
        self._count = 0
        self._jitter = 0.0
        self._drift = 0

    @property
    def locked(self) -> bool:
        """Whether there were clocks enough to tell their period."""
        return self._count > 1

    def expects(self, now: float) -> bool:
        """Whether a clock at `now` goes on where the last ones were."""
        return abs(now - (self.time + self.period)) < max(4 * self._jitter, 0.002)

    def restart(self) -> None:
        """Forgets where the clocks were, but not how fast."""
        self._count = 0

    def clock(self, now: float) -> None:
        """A clock arrived at `now`."""
        error = now - (self.time + self.period)
        if self._count == 0 or not -0.75 * self.period < error < 4 * self.period:
            # The first, or one after a pause: nothing to smooth it with.
            self.time = now
            self._count = 1
            self._drift = 0
            return
        self._watch(error)
        self._count = n = min(self._count + 1, self.MEMORY)
        self.time += self.period + error * 2 * (2 * n - 1) / (n * (n + 1))
        self.period += error * 6 / (n * (n + 1))
        shortest = 60 / (MAX_TEMPO * 1.05 * CLOCKS_PER_BEAT)
        longest = 60 / (MIN_TEMPO * 0.95 * CLOCKS_PER_BEAT)
        self.period = min(max(self.period, shortest), longest)

    def _watch(self, error: float) -> None:
        beyond = abs(error) > max(2.5 * self._jitter, 0.0005)
        same_way = (error > 0) == (self._drift > 0)
        self._drift = (self._drift if same_way else 0) + (1 if error > 0 else -1) if beyond else 0
        if abs(self._drift) >= 3 and self._count > self.RELOCK:
            self._count = self.RELOCK
            self._drift = 0
        if self._count > self.RELOCK:
            self._jitter += (min(abs(error), 0.01) - self._jitter) / 12
