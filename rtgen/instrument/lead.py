"""How long the model takes, and what follows from it: how long before a boundary to ask it."""

from __future__ import annotations

from collections import deque

from rtgen.instrument.answers import Asked

_LEAST_S, _MOST_S = 0.010, 1.0
_WARM_S, _COLD_S = 0.0145, 0.060
"""Expected response times until the model has been measured: right after another job, and after a pause."""
_DRAFT_S, _SPARE_S = 0.1, 0.05
"""A draft is requested this long before its answer, or this much more than a cold run takes."""


class Lead:
    """Adapts the lead to the measured response time of the model.

    The maximum of the last 64 times estimates their 99th percentile, unless it is an outlier: a long lead costs the
    last notes played.

    Args:
        seconds: expected response time until one is measured.
    """

    def __init__(self, seconds: float) -> None:
        self.expect(seconds)

    def expect(self, seconds: float) -> None:
        """Discard the measurements, for another model with an expected response time of `seconds`."""
        self._times = deque((seconds, seconds), maxlen=64)
        self._compute()

    def measured(self, seconds: float) -> None:
        """Add a response time, from job to arrival, in seconds."""
        self._times.append(seconds)
        self._compute()

    def _compute(self) -> None:
        second, largest = sorted(self._times)[-2:]
        self.seconds = min(max(1.1 * min(largest, 2 * second) + 0.003, _LEAST_S), _MOST_S)
        """The lead, 10 ms to 1 s."""


class Pace:
    """Response times of a warm and of a cold model.

    A model that was not called for a second is cold: caches, page tables and clock frequency have forgotten it. A draft
    warms it up, so that only the draft pays for the cold run.
    """

    def __init__(self) -> None:
        self.warm = Lead(_WARM_S)
        """For an answer that follows a draft."""
        self.cold = Lead(_COLD_S)
        """For a job after a pause: a draft, or an answer made anew."""
        self._ready_at = float("-inf")

    def ready(self, now: float, warm_s: float, cold_s: float) -> None:
        """A model was loaded at `now` and took these times, in seconds."""
        self.warm.expect(warm_s)
        self.cold.expect(cold_s)
        self._ready_at = now

    def measured(self, asked: Asked, now: float) -> None:
        """Add the response time of a job that was answered at `now`."""
        if asked.at > self._ready_at:
            # Otherwise it waited for a process to start, which says nothing about the next job.
            (self.warm if asked.warm else self.cold).measured(now - asked.at)

    def is_warm(self, draft: Asked | None) -> bool:
        """Return whether the model has answered this draft since it was loaded."""
        return draft is not None and draft.at > self._ready_at

    @property
    def draft_s(self) -> float:
        """How long before its answer to ask for a draft, in seconds."""
        return max(self.cold.seconds + _SPARE_S, _DRAFT_S)

    @property
    def remake_s(self) -> float:
        """How long it may take to make an answer anew, in seconds."""
        return max(self.warm.seconds, self.cold.seconds)
