"""How long before a boundary a loop goes to the model."""

from __future__ import annotations

from collections import deque

_LEAST_S, _MOST_S = 0.010, 1.0


class Lead:
    """Learns from what answers took how early the next one must be asked for.

    The largest of the last 64 times stands for their 99th percentile, unless it is out of all proportion: asking early
    costs the notes that are played last.

    Args:
        seconds: what an answer is expected to take, as long as none was measured.
    """

    def __init__(self, seconds: float) -> None:
        self.expect(seconds)

    def expect(self, seconds: float) -> None:
        """Forgets what was measured: another model answers, and is expected to take `seconds`."""
        self._times = deque((seconds, seconds), maxlen=64)

    def measured(self, seconds: float) -> None:
        """An answer took `seconds` from job to arrival."""
        self._times.append(seconds)

    @property
    def seconds(self) -> float:
        """The lead, between 10 ms and 1 s."""
        second, largest = sorted(self._times)[-2:]
        return min(max(1.1 * min(largest, 2 * second) + 0.003, _LEAST_S), _MOST_S)
