"""Which output each message leaves by, where the parts of a band have outputs of their own."""

from __future__ import annotations

from collections.abc import Sequence

from rtgen.instrument.events import Planned
from rtgen.music import midi

MAIN = ""
"""Stands for the main output, where others are named by their parts."""


class Routing:
    """Leads the notes of a part to its own output, and everything else to the main one.

    A note ends where it began, whatever has become of its part since. What silences a channel goes to all outputs, and
    so does the end of a note that is not known to have begun: an rtgen that crashed has left it.

    Args:
        parts: those that have an output.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        self._all = (MAIN, *parts)
        # By channel and pitch.
        self._sounding: dict[tuple[int, int], str] = {}

    def outputs(self, message: bytes) -> Sequence[str]:
        """Return the outputs that a message leaves by."""
        if not midi.is_note(message):
            return self._all if _silences(message) else (MAIN,)
        key = message[0] & 0x0F, message[1]
        if midi.is_note_off(message):
            output = self._sounding.pop(key, None)
            return self._all if output is None else (output,)
        part = message.part if isinstance(message, Planned) else MAIN
        self._sounding[key] = output = part if part in self._all else MAIN
        return (output,)

    def ends(self) -> list[tuple[str, bytes]]:
        """Return what ends all notes at the outputs of parts, with the output.

        Their own ends still go there when they come: where the output was lost as well, these were not heard.
        """
        return [(output, midi.note_off(*key)) for key, output in self._sounding.items() if output != MAIN]


def _silences(message: bytes) -> bool:
    """Return whether a message ends all notes of a channel."""
    return message[0] & 0xF0 == 0xB0 and message[1] in (midi.ALL_SOUND_OFF, midi.ALL_NOTES_OFF)
