"""The lead: how long before a boundary a loop goes to the model."""

from __future__ import annotations

from collections import deque

_LEAST_S, _MOST_S = 0.010, 1.0


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

    def measured(self, seconds: float) -> None:
        """Add a response time, from job to arrival, in seconds."""
        self._times.append(seconds)

    @property
    def seconds(self) -> float:
        """The lead, 10 ms to 1 s."""
        second, largest = sorted(self._times)[-2:]
        return min(max(1.1 * min(largest, 2 * second) + 0.003, _LEAST_S), _MOST_S)
