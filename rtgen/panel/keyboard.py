"""What a page plays: checked, limited in its rate, and let go when the page leaves."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

from rtgen.music import midi

Send = Callable[[float, bytes], None]
SONG = {"start": midi.START, "continue": midi.CONTINUE, "stop": midi.STOP}
"""The words with which a page moves the song."""
_BURST, _PER_S = 100.0, 250.0
"""Most messages at once, and as many more a second: more than ten fingers and a wheel send."""


class Keyboard:
    """The keys of one page.

    Whatever the page does, each key that it pressed is let go: releases are always passed on, and what is still held
    when it leaves is released then.

    Args:
        send: passes on a message and when it was played, in seconds of `perf_counter`.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: dict[tuple[int, int], None] = {}
        self._pedals: dict[tuple[int, int], None] = {}
        self._room = _BURST
        self._at = 0.0

    def play(self, now: float, said: Any) -> None:
        """Take a message of the page, `[at, status, data, data]`; leave out what is none, or too much.

        Args:
            now: seconds of `perf_counter`.
            said: as the page sent it.
        """
        if not isinstance(said, list) or len(said) != 4:
            return
        at, *numbers = said
        if isinstance(at, bool) or not isinstance(at, int | float) or not abs(at) < 1e12 or not isfinite(at):
            return
        if any(type(number) is not int or not 0 <= number < 128 for number in numbers[1:]):
            return
        kind = numbers[0]
        if type(kind) is not int or not 0x80 <= kind < 0xC0 or kind & 0xF0 == 0xA0:
            return
        message = bytes(numbers)
        key = (kind & 0x0F, message[1])
        if kind & 0xF0 == 0xB0:
            self._turn(now, at, key, message)
        elif midi.is_note_on(message):
            if self._has_room(now):
                self._held[key] = None
                self._send(at, message)
        elif key in self._held:
            del self._held[key]
            self._send(at, message)

    def song(self, now: float, word: str) -> None:
        """Start, continue or stop the song: one of `SONG`."""
        if self._has_room(now):
            self._send(now, bytes((SONG[word],)))

    def let_go(self, now: float) -> None:
        """Release all that is held."""
        for channel, pitch in self._held:
            self._send(now, midi.note_off(channel, pitch))
        for channel, number in self._pedals:
            self._send(now, midi.control(channel, number, 0))
        self._held.clear()
        self._pedals.clear()

    def _turn(self, now: float, at: float, key: tuple[int, int], message: bytes) -> None:
        """Pass on a control change; a pedal that was pressed may always be lifted."""
        if key[1] in midi.HOLDS:
            down = message[2] >= 64
            if down and self._has_room(now):
                self._pedals[key] = None
                self._send(at, message)
            elif not down and key in self._pedals:
                del self._pedals[key]
                self._send(at, message)
        elif key[1] < midi.ALL_SOUND_OFF and self._has_room(now):
            self._send(at, message)

    def _has_room(self, now: float) -> bool:
        self._room = min(self._room + _PER_S * (now - self._at), _BURST)
        self._at = now
        if self._room < 1.0:
            return False
        self._room -= 1.0
        return True
