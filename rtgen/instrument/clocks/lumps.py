"""Detects clocks that arrive in lumps: a program that runs once per audio period delays them all to its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from rtgen.instrument.clocks.estimate import LONGEST_S, SHORTEST_S

_AUDIO_PERIODS_S = tuple(64 * 2**octave / rate for rate in (44_100, 48_000) for octave in range(6))


def is_audio_period(seconds: float, tolerance: float = 0.0015) -> bool:
    """Return whether `seconds` is a usual audio period: 64 to 2048 frames at 44.1 or 48 kHz.

    Args:
        seconds: the period.
        tolerance: relative.
    """
    return any(abs(seconds / period - 1) < tolerance for period in _AUDIO_PERIODS_S)


class Lumps:
    """Finds the period, if any, of which every gap between clocks is a multiple.

    Clocks sent `p` apart that wait for the end of an audio period `q` arrive `k q` or `(k + 1) q` apart, where `k` is
    the integer part of `p / q`, and never in between. So `q` is the difference of the two gaps.
    """

    _SHORTEST_S = 0.0015
    """Shorter periods look like jitter."""
    _LONGEST_S = 0.2

    def __init__(self) -> None:
        self.period = 0.0
        """Seconds; 0 while the clocks come one by one."""
        self._gaps: deque[float] = deque(maxlen=24)
        self._fit = 1.0

    def interrupted(self) -> None:
        """Discard the gaps so far: the next one is unrelated to them."""
        self._gaps.clear()

    def know(self, period: float) -> None:
        """Adopt a known period, in seconds."""
        self.period, self._fit = period, 1.0

    def hear(self, gap: float) -> None:
        """Add the gap since the last clock, in seconds; drop the period if the gaps no longer fit it."""
        self._gaps.append(gap)
        if self.period:
            periods = gap / self.period
            self._fit += ((abs(periods - round(periods)) < 0.15) - self._fit) / 16
            if self._fit < 0.6 or self._between():
                self.period = 0.0

    def _between(self) -> bool:
        """Return whether the clocks come evenly, with a gap that is clearly no multiple of the period."""
        if len(self._gaps) < 24 or max(self._gaps) - min(self._gaps) > 0.5 * self.period:
            return False
        periods = sum(self._gaps) / len(self._gaps) / self.period
        return abs(periods - round(periods)) > 0.02

    def find(self) -> float:
        """Return the period that the latest gaps imply, in seconds; 0 if none."""
        gaps = self._gaps
        if len(gaps) < 10:
            return 0.0
        low, high = min(gaps), max(gaps)
        if not self._SHORTEST_S < high - low < self._LONGEST_S:
            return 0.0
        middle = (low + high) / 2
        short = [gap for gap in gaps if gap < middle]
        long = [gap for gap in gaps if gap >= middle]
        mean = sum(short) / len(short)
        period = sum(long) / len(long) - mean
        multiple = mean / period
        two_kinds = max(max(short) - low, high - min(long)) < 0.35 * period and abs(multiple - round(multiple)) < 0.1
        # A lost or doubled clock also leaves a double gap or none.
        enough = 2 if multiple > 1.5 or is_audio_period(period, 0.01) else 4
        usual = sum(long) / len(long) if len(long) > len(short) else mean
        if is_audio_period(usual / max(round(usual / period), 1)):
            enough = 1  # nearly a whole number of periods apart: the other gap is rare
        if not two_kinds or min(len(short), len(long)) < enough:
            return 0.0
        return sum(gaps) / sum(round(gap / period) for gap in gaps)


class Pairs(NamedTuple):
    """Clocks that all came twice.

    Args:
        clocks: number of pairs.
        period: from pair to pair, seconds.
    """

    clocks: int
    period: float


def in_pairs(times: Sequence[float], period: float) -> Pairs | None:
    """Detect clocks that lately all came twice, as from a source that is connected twice.

    The last clock must begin a pair. Pairs in step with an audio period could be lumps of two, so these take more
    evidence.

    Args:
        times: arrival times, seconds.
        period: current estimate of the clock period, seconds; if it already matches that of the pairs, there is nothing
            to find.

    Returns:
        The pairs, or None.
    """
    for gaps in 8, 24:
        if len(times) <= gaps:
            return None
        between = [later - earlier for earlier, later in pairwise(times[-gaps - 1 :])]
        short, long = between[::2], between[1::2]
        both = [a + b for a, b in zip(short, long, strict=True)]
        mean, spread = sum(both) / len(both), max(both) - min(both)
        if max(short) > 0.45 * min(long) or spread > mean / 4:
            return None
        if not SHORTEST_S < mean < LONGEST_S or abs(mean / period - 1) < 0.25:
            return None
        # Clocks of one audio period arrive back to back, however late the machine is.
        if not (is_audio_period(mean, 0.048 / gaps) and max(short) < 0.02 * mean):
            return Pairs(gaps // 2, mean)
    return None
