"""Whose clock is followed, when it comes from several inputs."""

from __future__ import annotations

from rtgen.music import midi

_SILENT_S = 1.0
"""A source that is not heard for so long may be replaced by another, while nothing rolls."""


class ClockSources:
    """Chooses one clock: the one that started, and until one starts, the first that is heard.

    While the song rolls nobody else can stop it, move it or blur its tempo.
    """

    def __init__(self) -> None:
        self._followed: int | None = None
        self._heard = 0.0
        self._foreign: dict[int, float] = {}

    def admits(self, now: float, port: int, message: bytes, rolling: bool) -> bool:
        """Whether a system message that arrived at an input is to be followed.

        Args:
            now: seconds.
            port: number of the input.
            message: the message.
            rolling: whether a song is under way.
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
        """Whether an input that is not followed has not been reported yet, or not since it was silent last."""
        last = self._foreign.get(port)
        self._foreign[port] = now
        return last is None or now - last > _SILENT_S
