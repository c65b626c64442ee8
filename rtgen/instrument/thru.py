"""What is played, on its way to the output, and which keys are down."""

from __future__ import annotations

from rtgen.instrument.player import THRU, Ledger
from rtgen.music import midi


class Thru:
    """Sends on what is played, by way of the ledger; knobs and buttons of ours are not music, and do not come here."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def feed(self, message: bytes) -> list[bytes]:
        """What a message that was played becomes."""
        channel = message[0] & 0x0F
        if not self._ledger.plugged:
            return []
        if midi.is_note(message):
            key = (channel, message[1])
            if midi.is_note_on(message):
                return self._ledger.begin(key, message[2], THRU)
            return self._ledger.end(key, THRU)
        if midi.silences(message):
            return self._ledger.end_through(channel)  # one by one, so that the ledger still knows all that sounds
        if message[0] & 0xF0 == 0xB0 and message[1] == midi.SUSTAIN:
            self._ledger.pedal(channel, message[2] >= 64)
        return [message]


class Hands:
    """Keeps in mind which keys and pedals of each input are down."""

    def __init__(self) -> None:
        self._down: dict[int, set[tuple[int, int]]] = {}
        self._pedals: dict[int, set[int]] = {}

    def feed(self, port: int, message: bytes) -> None:
        """A message was played on an input."""
        channel = message[0] & 0x0F
        if midi.is_note(message):
            down = self._down.setdefault(port, set())
            (down.add if midi.is_note_on(message) else down.discard)((channel, message[1]))
        elif message[0] & 0xF0 == 0xB0 and message[1] == midi.SUSTAIN:
            pedals = self._pedals.setdefault(port, set())
            (pedals.add if message[2] >= 64 else pedals.discard)(channel)

    def let_go(self, port: int) -> list[bytes]:
        """The messages that the keyboard would have sent, had it been let go before it went."""
        keys, pedals = self._down.pop(port, set()), self._pedals.pop(port, set())
        ends = [midi.note_off(*key) for key in sorted(keys)]
        return ends + [midi.control(channel, midi.SUSTAIN, 0) for channel in sorted(pedals)]
