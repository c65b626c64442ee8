"""A transport message that came while the song rolls: is it our source's, or a second one's in the same port?

Bytes of two programs that play into one virtual port cannot be told apart, but their clocks can: ours are in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["ours", "moved", "both"]
"""Ours: only clocks in place came. Moved: those in place ceased. Both: the clocks of a second source came as well."""
_GONE = 2.5
"""After so many periods without a clock in place there is no more to come."""


@dataclass(slots=True)
class Doubt:
    """A transport message, and the clocks that came after it.

    Args:
        at: when it came, in seconds.
        to: the tick that it moves the song to; None for a Stop, and for a Continue.
        stops: whether it is a Stop.
        starts: whether it is a Start or a Continue, so that a Stop of the same source is to come.
        last: when the last clock in place came, in seconds.
    """

    at: float
    to: int | None
    stops: bool
    starts: bool
    last: float
    ours: int = 0
    others: int = 0
    times: list[float] = field(default_factory=list)
    first_tick: int | None = None

    def hear(self, now: float, period: float, in_place: bool) -> None:
        """Add a clock that came at `now`, seconds."""
        self.times.append(now)
        if in_place and now - self.last > 0.5 * period:
            self.ours += 1
            self.last = now
        else:
            self.others += 1

    def repeats(self, now: float, to: int, period: float) -> bool:
        """Return whether a message at `now` that moves the song to a tick is this one once more."""
        return to == self.to and now - self.at < 0.5 * period

    def ends(self, period: float) -> float:
        """Return when to judge if no clock comes, in seconds."""
        return max(self.last, self.at) + _GONE * period

    def verdict(self, now: float, period: float) -> Verdict | None:
        """Return whose message it was by all that is known at `now`; None if that is not clear yet."""
        if now >= self.ends(period):
            return "moved"
        if self.stops:
            # Whose clocks cease with it, his was the Stop.
            return ("both" if self.others else "ours") if self.ours >= 4 else None
        if self.ours >= 2 and self.others:
            return "both"
        if self.others >= 2 and now > self.last + 1.25 * period:
            return "moved"
        return "ours" if self.ours >= 3 else None
