"""MIDI thru, and tracking of held keys and pedals."""

from __future__ import annotations

from rtgen.instrument.player import THRU, Ledger
from rtgen.music import midi


class Thru:
    """Passes on what is played, by way of the ledger; messages of bound controls are not music and never get here."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def feed(self, message: bytes) -> list[bytes]:
        """Return what to send for a message that was played."""
        channel = message[0] & 0x0F
        if not self._ledger.plugged:
            return []
        if midi.is_note(message):
            key = (channel, message[1])
            if midi.is_note_on(message):
                return self._ledger.begin(key, message[2], THRU)
            return self._ledger.end(key, THRU)
        if midi.silences(message):
            return self._ledger.end_through(channel)  # one by one, so that the ledger stays complete
        if message[0] & 0xF0 == 0xB0 and message[1] == midi.SUSTAIN:
            self._ledger.pedal(channel, message[2] >= 64)
        return [message]


class Hands:
    """Tracks which keys and pedals are held on each input."""

    def __init__(self) -> None:
        self._down: dict[int, set[tuple[int, int]]] = {}
        self._pedals: dict[int, set[int]] = {}

    def feed(self, port: int, message: bytes) -> None:
        """Process a message from an input."""
        channel = message[0] & 0x0F
        if midi.is_note(message):
            down = self._down.setdefault(port, set())
            (down.add if midi.is_note_on(message) else down.discard)((channel, message[1]))
        elif message[0] & 0xF0 == 0xB0 and message[1] == midi.SUSTAIN:
            pedals = self._pedals.setdefault(port, set())
            (pedals.add if message[2] >= 64 else pedals.discard)(channel)

    def let_go(self, port: int) -> list[bytes]:
        """Return the releases that a keyboard did not get to send before it was unplugged."""
        keys, pedals = self._down.pop(port, set()), self._pedals.pop(port, set())
        ends = [midi.note_off(*key) for key in sorted(keys)]
        return ends + [midi.control(channel, midi.SUSTAIN, 0) for channel in sorted(pedals)]
