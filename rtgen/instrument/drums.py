"""Leaves drums out of calls: General MIDI has them on channel 10, where a model of notes would take them as pitches."""

from __future__ import annotations

from rtgen.music import midi
from rtgen.music.drums import CHANNEL

_TIMBRE = 74
"""Control change of the third dimension of MPE."""


class DrumChannel:
    """Decides whether channel 10 is left out.

    It is if the model plays notes, and if the player has not chosen that channel to listen to. Instruments that use MPE
    (MIDI Polyphonic Expression) give each note a channel of its own, and channel 10 is one of those: it is not drums
    where notes come on a channel beside it as well, and channel pressure or CC 74 comes on it.

    Args:
        pitched: whether the model plays notes; None if that is not known yet: then nothing is left out.
        chosen: whether the player listens to channel 10 alone.
    """

    def __init__(self, pitched: bool | None, *, chosen: bool) -> None:
        self.pitched = pitched
        self._chosen = chosen
        self._beside: set[int] = set()
        self._shaped: set[int] = set()
        self._told = False

    def feed(self, port: int, message: bytes) -> None:
        """Process a channel message from an input."""
        kind, channel = message[0] & 0xF0, message[0] & 0x0F
        if channel == CHANNEL:
            if kind == 0xD0 or (kind == 0xB0 and message[1] == _TIMBRE):
                self._shaped.add(port)
        elif channel in (CHANNEL - 1, CHANNEL + 1) and midi.is_note_on(message):
            self._beside.add(port)

    @property
    def left_out(self) -> int | None:
        """The channel that is left out, 0-15; None if none is."""
        if not self.pitched or self._chosen or self._beside & self._shaped:
            return None
        return CHANNEL

    def is_news(self, message: bytes) -> bool:
        """Return whether a note is left out, and the player has not been told yet that this happens."""
        if self._told or message[0] & 0x0F != self.left_out or not midi.is_note_on(message):
            return False
        self._told = True
        return True
