"""What the instrument listens to: channels, program changes, and channel 10, where General MIDI has drums.

A model of notes would take drums as pitches, so they are left out of its calls.
"""

from __future__ import annotations

from rtgen.instrument.options import Options
from rtgen.music import midi
from rtgen.music.drums import CHANNEL

_TIMBRE = 74
"""Control change of the third dimension of MPE."""


class Ear:
    """Decides which messages are for the instrument.

    Channel 10 is left out if the model plays notes, and if the player has not chosen that channel to listen to.
    Instruments that use MPE (MIDI Polyphonic Expression) give each note a channel of its own, and channel 10 is one of
    those: it is not drums where notes come on a channel beside it as well, and channel pressure or CC 74 comes on it.

    Args:
        options: what the player chose to listen to, and whether the model plays notes; None if that is not known yet:
            then nothing is left out.
    """

    def __init__(self, options: Options) -> None:
        self.listens = options.listens
        """The MIDI channel, 1-16, that is heard; None for all."""
        self.pitched = options.pitched
        """Whether the model plays notes; None if that is not known yet."""
        self._ignores_programs = frozenset(options.ignores_programs)
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
        if not self.pitched or self.listens == CHANNEL + 1 or self._beside & self._shaped:
            return None
        return CHANNEL

    def is_news(self, message: bytes) -> bool:
        """Return whether a note is left out, and the player has not been told yet that this happens."""
        if self._told or message[0] & 0x0F != self.left_out or not midi.is_note_on(message):
            return False
        self._told = True
        return True

    def listens_to(self, message: bytes) -> bool:
        """Return whether a message comes on a channel that is heard."""
        return self.listens in (None, (message[0] & 0x0F) + 1)

    def selects(self, port: int, message: bytes) -> bool:
        """Return whether a program change selects a preset; otherwise it is meant for whatever is behind the output."""
        is_drums = message[0] & 0x0F == self.left_out
        return port not in self._ignores_programs and self.listens_to(message) and not is_drums
