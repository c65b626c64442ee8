"""What was played so far: the last calls, and the two loops that a blend lies between."""

from __future__ import annotations

from collections import deque
from typing import Literal

from rtgen.music.note import Loop

PAST = 16 * 1920
"""Ticks of music that are remembered."""


class Memory:
    """Remembers calls that have notes; what was played outlasts stops, and presets."""

    def __init__(self) -> None:
        self._calls: deque[Loop] = deque()
        self._first: Loop | None = None
        self._stored: dict[Literal["a", "b"], Loop] = {}

    def hear(self, call: Loop) -> None:
        """Remembers a call, and forgets what is too long ago."""
        if not call.notes:
            return
        self._first = self._first or call
        self._calls.append(call)
        while len(self._calls) > 1 and sum(loop.length for loop in self._calls) > PAST:
            self._calls.popleft()

    def store(self, which: Literal["a", "b"]) -> Loop | None:
        """Keeps the latest call as A or B, and returns it; None if there is none yet."""
        if not self._calls:
            return None
        self._stored[which] = self._calls[-1]
        return self._calls[-1]

    @property
    def past(self) -> tuple[Loop, ...]:
        """The last calls, the oldest first."""
        return tuple(self._calls)

    @property
    def both(self) -> bool:
        """Whether A and B have both been stored."""
        return len(self._stored) == 2

    def ends(self, call: Loop) -> tuple[Loop, Loop]:
        """A and B for a call: as stored, else the first call that there was, and this one."""
        return self._stored.get("a", self._first or call), self._stored.get("b", call)
