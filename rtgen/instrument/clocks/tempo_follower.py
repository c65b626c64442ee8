"""Follows a player's tempo by the notes that are struck."""

from __future__ import annotations

from math import ceil, exp, floor, pi, sqrt
from typing import NamedTuple

_NOISE_S = 0.018
"""Deviation of a note from its place (standard deviation), seconds."""
_WANDER = 0.006
"""How much the tempo may change in a second, as a share of it (standard deviation of a random walk)."""
_FIRST = 0.01
"""Uncertainty of the tempo at first, as a share of it."""
_CHORD_S = 0.035
"""Notes within this time of one another are a chord, in seconds: the first of them is heard."""
_STRAY = 0.1
"""Share of the notes that are anywhere."""
_PLACES = {0: 0.5, 3: 0.08, 4: 0.03, 6: 0.28, 8: 0.03, 9: 0.08}
"""Shares of the other notes by place in the beat, in twelfths of it: sixteenths and triplets."""
_MOST = 12
"""So many explanations of what was played are kept."""
_LEAST = 1e-4
"""Explanations that are less likely than the best by this factor are dropped."""
_ALIKE = 0.02
"""Explanations that differ by less, in beats and beats a second, are one."""


class _Line(NamedTuple):
    """An explanation: where the player is, and how fast.

    Args:
        weight: its probability.
        beat: position, in beats.
        rate: beats a second.
        var: variance of the position.
        cov: covariance of position and rate.
        rate_var: variance of the rate.
    """

    weight: float
    beat: float
    rate: float
    var: float
    cov: float
    rate_var: float

    def after(self, span: float, walk: float) -> _Line:
        """Return the line so many seconds later; `walk` is how much the variance of the rate grows in a second."""
        return _Line(
            self.weight,
            self.beat + span * self.rate,
            self.rate,
            self.var + span * (2 * self.cov + span * self.rate_var) + walk * span**3 / 3,
            self.cov + span * self.rate_var + walk * span * span / 2,
            self.rate_var + walk * span,
        )

    def towards(self, place: float, noise: float, weight: float) -> _Line:
        """Return the line with a note on `place`, in beats; `noise` is the variance of its position."""
        total = self.var + noise
        gain, drift, error = self.var / total, self.cov / total, place - self.beat
        return _Line(
            weight,
            self.beat + gain * error,
            self.rate + drift * error,
            self.var * (1 - gain),
            self.cov * (1 - gain),
            self.rate_var - drift * self.cov,
        )


class TempoFollower:
    """Estimates where a player is, in beats, and how fast.

    Kalman filters of position and rate. Which sixteenth a note is on is not known, so each nearby one is an explanation
    of its own, and so is a note that is on none; what is played later decides (multiple hypothesis tracking: Reid, An
    Algorithm for Tracking Multiple Targets, 1979).

    Args:
        time: seconds.
        beat: position at that time, in beats.
        rate: beats a second.
        slowest: lowest rate.
        fastest: highest rate.
    """

    def __init__(self, time: float, beat: float, rate: float, slowest: float, fastest: float) -> None:
        self.slowest, self.fastest = slowest, fastest
        self._time, self._last = time, float("-inf")
        self._first = rate
        self._lines = [_Line(1.0, beat, rate, (_NOISE_S * rate) ** 2, 0.0, (_FIRST * rate) ** 2)]

    @property
    def rate(self) -> float:
        """The likeliest rate, in beats a second."""
        return self._lines[0].rate

    def beat_at(self, time: float) -> float:
        """Return the likeliest position at a time, in beats."""
        return self._lines[0].beat + (time - self._time) * self._lines[0].rate

    def hear(self, now: float) -> None:
        """A note was struck at `now`, in seconds."""
        if now - self._last <= _CHORD_S:
            return
        self._last = now
        span, self._time = now - self._time, now
        walk, noise = (_WANDER * self._first) ** 2, (_NOISE_S * self._first) ** 2
        found: list[_Line] = []
        for line in self._lines:
            found += self._explained(line.after(span, walk), noise)
        found.sort(reverse=True)
        kept: list[_Line] = []
        for line in found:
            if line.weight < _LEAST * found[0].weight or len(kept) == _MOST:
                break
            for i, other in enumerate(kept):
                if abs(line.beat - other.beat) < _ALIKE and abs(line.rate - other.rate) < _ALIKE:
                    kept[i] = other._replace(weight=other.weight + line.weight)
                    break
            else:
                kept.append(line)
        total = sum(line.weight for line in kept)
        kept.sort(reverse=True)
        self._lines = [line._replace(weight=line.weight / total) for line in kept]

    def _explained(self, line: _Line, noise: float) -> list[_Line]:
        """Return the explanations of a note that is struck now."""
        total = line.var + noise
        reach = min(3 * sqrt(total), 0.5)
        found = [line._replace(weight=line.weight * _STRAY)]
        for place in range(ceil((line.beat - reach) * 12), floor((line.beat + reach) * 12) + 1):
            share = _PLACES.get(place % 12)
            if share is None:
                continue
            error = place / 12 - line.beat
            likely = (1 - _STRAY) * share * exp(-0.5 * error * error / total) / sqrt(2 * pi * total)
            with_note = line.towards(place / 12, noise, line.weight * likely)
            if self.slowest <= with_note.rate <= self.fastest:
                found.append(with_note)
        return found
