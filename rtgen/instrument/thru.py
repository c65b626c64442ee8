"""MIDI thru, and tracking of held keys and pedals."""

from __future__ import annotations

from rtgen.instrument.player import THRU, Ledger
from rtgen.music import midi


class Thru:
    """Passes on what is played, by way of the ledger; messages of bound controls are not music and never get here.

    Args:
        ledger: shared with the player of answers.
        gestures: whether bends, pressure and all controllers that shape notes go by way of the ledger, or pedals alone.
    """

    def __init__(self, ledger: Ledger, *, gestures: bool = True) -> None:
        self._ledger = ledger
        self._gestures = gestures

    def feed(self, message: bytes) -> list[bytes]:
        """Return what to send for a message that was played."""
        channel = message[0] & 0x0F
        if not self._ledger.plugged:
            return []
        if midi.is_note(message):
            key = (channel, message[1])
            if midi.is_note_on(message):
                return self._ledger.begin(key, message[2], THRU)
            return self._ledger.end(key, THRU, midi.release(message) if self._gestures else 0)
        if _shape(message, self._gestures):
            return self._ledger.shape(message, thru=True)
        ended: list[bytes] = []
        # One by one, so that the ledger stays complete, and the answers on this channel go on.
        if midi.cuts(message):
            return self._ledger.end_through(channel) + self._ledger.damp(channel)
        if midi.releases(message):
            ended = self._ledger.end_through(channel)
            if message[1] == midi.ALL_NOTES_OFF:
                return ended
        if midi.resets(message):
            self._ledger.reset(channel)
        return [*ended, message]


def _shape(message: bytes, gestures: bool) -> bytes:
    """Return `midi.shape` of a message; without `gestures` only of pedals that hold."""
    shape = midi.shape(message)
    holds = len(shape) == 2 and shape[0] & 0xF0 == 0xB0 and shape[1] in midi.HOLDS
    return shape if gestures or holds else b""


class Hands:
    """Tracks which keys, pedals, bends and pressures are held on each input.

    Args:
        gestures: whether more is tracked than keys and the pedals that hold.
    """

    def __init__(self, *, gestures: bool = True) -> None:
        self._gestures = gestures
        self._down: dict[int, set[tuple[int, int]]] = {}
        self._held: dict[int, set[bytes]] = {}

    def feed(self, port: int, message: bytes) -> None:
        """Process a message from an input."""
        channel = message[0] & 0x0F
        if midi.is_note(message):
            down = self._down.setdefault(port, set())
            (down.add if midi.is_note_on(message) else down.discard)((channel, message[1]))
        elif (shape := _shape(message, self._gestures)) and midi.returns(shape):
            held = self._held.setdefault(port, set())
            (held.discard if message == midi.at_rest(shape) else held.add)(shape)
        elif midi.resets(message) and port in self._held:
            self._held[port] = {shape for shape in self._held[port] if shape[0] & 0x0F != channel}

    def let_go(self, port: int) -> list[bytes]:
        """Return the releases that a keyboard did not get to send before it was unplugged."""
        keys, held = self._down.pop(port, set()), self._held.pop(port, set())
        ends = [midi.note_off(*key) for key in sorted(keys)]
        return ends + [midi.at_rest(shape) for shape in sorted(held)]
