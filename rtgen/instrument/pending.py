"""Input that waits for its tick, and recent input that may prove to belong to a Start or a jump."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from rtgen.instrument.clocks.transport import Transport
from rtgen.instrument.looper import Looper
from rtgen.music import midi

_RECENT_S = 1.0
"""How long input is remembered that may prove to belong to a Start or a jump: offset and earliness together."""


class Pending:
    """Keeps input until its tick is known; bounded, in case no clock ever comes."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, bytes]] = deque(maxlen=1024)
        self._recent: deque[tuple[float, bytes]] = deque(maxlen=1024)

    def __len__(self) -> int:
        """Number of messages that wait for their ticks."""
        return len(self._waiting)

    def add(self, now: float, message: bytes) -> None:
        """Add a message that was played at `now`."""
        self._waiting.append((now, message))

    def place(self, transport: Transport, loopers: Sequence[Looper], earliest: int) -> None:
        """Hand everything to the loopers; notes before tick `earliest` belong to nothing that is captured."""
        for then, message in self._waiting:
            tick = transport.tick_at(then)
            if tick >= earliest or not midi.is_note_on(message):
                for looper in loopers:
                    looper.feed(tick, message)
        self._recent += self._waiting
        self._waiting.clear()

    def take_back(self, now: float) -> None:
        """Let recent input wait again: an early downbeat was played before the Start or the jump was told."""
        self._waiting.extendleft(reversed([each for each in self._recent if now - each[0] < _RECENT_S]))
        self._recent.clear()
