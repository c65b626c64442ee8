"""Remembers recent calls, and the loops A and B of a blend."""

from __future__ import annotations

from collections import deque
from typing import Literal

from rtgen.music.note import Loop

PAST = 64 * 1920
"""Length of the memory, in ticks."""


class Memory:
    """Remembers non-empty calls, across stops and preset changes.

    What the hand did to make the notes is kept of the loops that can be blended alone.
    """

    def __init__(self) -> None:
        self._calls: deque[Loop] = deque()
        self._first: Loop | None = None
        self._latest: Loop | None = None
        self._stored: dict[Literal["a", "b"], Loop] = {}

    def hear(self, call: Loop) -> None:
        """Add a call, and drop the oldest ones beyond the memory's length."""
        if not call.notes:
            return
        self._first = self._first or call
        self._latest = call
        self._calls.append(call.without_hand())
        while len(self._calls) > 1 and sum(loop.length for loop in self._calls) > PAST:
            self._calls.popleft()

    def store(self, which: Literal["a", "b"]) -> Loop | None:
        """Store the latest call as A or B, and return it; None if there is none yet."""
        if self._latest is None:
            return None
        self._stored[which] = self._latest
        return self._latest

    @property
    def past(self) -> tuple[Loop, ...]:
        """The notes of recent calls, the oldest first."""
        return tuple(self._calls)

    @property
    def both(self) -> bool:
        """Whether both A and B are stored."""
        return len(self._stored) == 2

    @property
    def stored(self) -> tuple[Loop | None, Loop | None]:
        """What a blend would lie between now; None where there is nothing yet."""
        latest = self._calls[-1] if self._calls else None
        return self._stored.get("a", self._first), self._stored.get("b", latest)

    def ends(self, call: Loop) -> tuple[Loop, Loop]:
        """Return A and B: the stored loops, or by default the first call and `call`."""
        return self._stored.get("a", self._first or call), self._stored.get("b", call)
