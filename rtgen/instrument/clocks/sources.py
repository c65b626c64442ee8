"""Chooses which input's clock to follow when several inputs send one."""

from __future__ import annotations

from rtgen.instrument.clocks.transport import Transport
from rtgen.music import midi

_SILENT_S = 1.0
"""While stopped, a source that has been silent for this many seconds may be replaced by another."""


class ClockSources:
    """Follows a single clock source: the one that sent Start or Continue, or until then the first heard.

    While the song rolls, no other source can stop it, move it or disturb its tempo.
    """

    def __init__(self) -> None:
        self._followed: int | None = None
        self._heard = 0.0
        self._foreign: dict[int, float] = {}
        self._doubled = False

    def admits(self, now: float, port: int, message: bytes, rolling: bool) -> bool:
        """Return whether to follow a system message from an input.

        Args:
            now: seconds.
            port: number of the input.
            message: the message.
            rolling: whether the song is rolling.
        """
        starts = message[0] in (midi.START, midi.CONTINUE)
        silent = now - self._heard > _SILENT_S
        if self._followed is None or (not rolling and (starts or silent)):
            self._followed = port
        if port != self._followed:
            return False
        self._heard = now
        self._foreign.pop(port, None)
        return True

    def is_news(self, now: float, port: int) -> bool:
        """Return whether an ignored source is new, or has been silent since it was last reported."""
        last = self._foreign.get(port)
        self._foreign[port] = now
        return last is None or now - last > _SILENT_S

    def doubles(self, transport: Transport) -> bool:
        """Return whether the clock that is followed has begun to come twice."""
        is_news = transport.doubled and not self._doubled
        self._doubled = transport.doubled or (self._doubled and transport.crowded)
        return is_news
