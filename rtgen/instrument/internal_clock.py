"""The transport that is our own clock."""

from __future__ import annotations

from rtgen.instrument.transport import Change, State, Transport


class InternalClock(Transport):
    """Our own clock at a fixed tempo; rolls from the first moment it is told of. MIDI clock is not heard.

    Args:
        tempo: BPM.
    """

    def feed(self, now: float, message: bytes) -> Change | None:  # noqa: ARG002
        """Hears nothing: an internal clock is its own master."""
        return None

    def expire(self, now: float) -> Change | None:
        """Starts at the first call."""
        if self.state is State.ROLLING:
            return None
        self._time, self.state = now, State.ROLLING
        return Change.ROLLED

    @property
    def deadline(self) -> float | None:
        """None: our own clock neither stops nor gets lost."""
        return None
