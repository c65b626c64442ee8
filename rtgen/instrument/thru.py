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
        ended: list[bytes] = []
        # One by one, so that the ledger stays complete, and the answers on this channel go on.
        if midi.cuts(message):
            return self._ledger.end_through(channel) + self._ledger.damp(channel)
        if midi.releases(message):
            ended = self._ledger.end_through(channel)
            if message[1] == midi.ALL_NOTES_OFF:
                return ended
        for number, down in _pedals(message):
            self._ledger.pedal(channel, down, number)
        return [*ended, message]


def _pedals(message: bytes) -> list[tuple[int, bool]]:
    """Return the pedals that hold notes and that `message` moves: their control changes, and whether they are down."""
    if message[0] & 0xF0 != 0xB0:
        return []
    if message[1] == midi.RESET_CONTROLLERS:
        return [(number, False) for number in midi.HOLDS]
    return [(message[1], message[2] >= 64)] if message[1] in midi.HOLDS else []


class Hands:
    """Tracks which keys and pedals are held on each input."""

    def __init__(self) -> None:
        self._down: dict[int, set[tuple[int, int]]] = {}
        self._pedals: dict[int, set[tuple[int, int]]] = {}

    def feed(self, port: int, message: bytes) -> None:
        """Process a message from an input."""
        channel = message[0] & 0x0F
        if midi.is_note(message):
            down = self._down.setdefault(port, set())
            (down.add if midi.is_note_on(message) else down.discard)((channel, message[1]))
        for number, is_down in _pedals(message):
            pedals = self._pedals.setdefault(port, set())
            (pedals.add if is_down else pedals.discard)((channel, number))

    def let_go(self, port: int) -> list[bytes]:
        """Return the releases that a keyboard did not get to send before it was unplugged."""
        keys, pedals = self._down.pop(port, set()), self._pedals.pop(port, set())
        ends = [midi.note_off(*key) for key in sorted(keys)]
        return ends + [midi.control(channel, number, 0) for channel, number in sorted(pedals)]
