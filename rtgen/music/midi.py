"""MIDI wire format (MIDI 1.0 specification): a stream parser, and constructors for the messages that we send."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

CLOCK, START, CONTINUE, STOP, SYSTEM_RESET = 0xF8, 0xFA, 0xFB, 0xFC, 0xFF
SONG_POSITION = 0xF2
SUSTAIN, SOSTENUTO, HOLD_2 = 64, 66, 69
ALL_SOUND_OFF, RESET_CONTROLLERS, ALL_NOTES_OFF = 120, 121, 123
HOLDS = (SUSTAIN, SOSTENUTO, HOLD_2)
"""The pedals that hold notes after their keys were released."""
SOFT, MODULATION, EXPRESSION, TIMBRE = 67, 1, 11, 74
AT_REST: Mapping[int, int] = {MODULATION: 0, EXPRESSION: 127, SUSTAIN: 0, SOSTENUTO: 0, SOFT: 0, HOLD_2: 0, TIMBRE: 64}
"""The controllers that shape notes, and where they are at rest: as Reset All Controllers leaves them (MIDI recommended
practice RP-015); CC 74, which it leaves alone, at its middle (MIDI Polyphonic Expression, RP-053)."""

_REAL_TIME = frozenset({CLOCK, START, CONTINUE, STOP, SYSTEM_RESET})
_SIZE = {status: 2 if status & 0xF0 in (0xC0, 0xD0) else 3 for status in range(0x80, 0xF0)}
"""Bytes of a channel message."""
_COMMON_SIZE = {0xF1: 2, 0xF2: 3, 0xF3: 2, 0xF6: 1}


def note_on(channel: int, pitch: int, velocity: int) -> bytes:
    """Return a note-on; channel 0-15."""
    return bytes((0x90 | channel, pitch, velocity))


def note_off(channel: int, pitch: int, velocity: int = 0) -> bytes:
    """Return a note-off; channel 0-15."""
    return bytes((0x80 | channel, pitch, velocity))


def release(data: bytes) -> int:
    """Return the velocity with which a message that ends a note releases its key; 0 if it says none."""
    return data[2] if data[0] & 0xF0 == 0x80 else 0


def control(channel: int, number: int, value: int) -> bytes:
    """Return a control change; channel 0-15."""
    return bytes((0xB0 | channel, number, value))


def shape(data: bytes) -> bytes:
    """Return which bend, pressure or controller a channel message moves, as the bytes that all its values begin with.

    Nothing for other messages.
    """
    kind = data[0] & 0xF0
    if kind in (0xD0, 0xE0):
        return data[:1]
    return data[:2] if kind == 0xA0 or (kind == 0xB0 and data[1] in AT_REST) else b""


@cache
def at_rest(shape: bytes) -> bytes:
    """Return the message that takes a bend, a pressure or a controller (`shape`) to where it is at rest."""
    match shape[0] & 0xF0:
        case 0xE0:
            return shape + b"\x00\x40"
        case 0xB0:
            return shape + bytes((AT_REST[shape[1]],))
    return shape + b"\x00"


@cache
def returns(shape: bytes) -> bool:
    """Return whether it is at rest when the hand lets go: bends, pressures and pedals; wheels stay where they are."""
    return shape[0] & 0xF0 != 0xB0 or shape[1] not in (MODULATION, EXPRESSION, TIMBRE)


def song_position(data: bytes) -> int:
    """Return the position, in sixteenths from the start, of a Song Position message."""
    return data[1] | data[2] << 7


def to_song_position(sixteenths: int) -> bytes:
    """Return a Song Position message; positions wrap after 2^14 sixteenths (1,024 bars of 4/4)."""
    return bytes((SONG_POSITION, sixteenths & 0x7F, sixteenths >> 7 & 0x7F))


def is_note_on(data: bytes) -> bool:
    """Return whether `data` starts a note (a note-on of velocity 0 ends one)."""
    return data[0] & 0xF0 == 0x90 and data[2] > 0


def is_note(data: bytes) -> bool:
    """Return whether `data` starts or ends a note."""
    return data[0] & 0xF0 in (0x80, 0x90)


def is_note_off(data: bytes) -> bool:
    """Return whether `data` ends a note."""
    return is_note(data) and not is_note_on(data)


def sustains(data: bytes) -> bool | None:
    """Return whether the sustain pedal of its channel is down after `data`; None if it says nothing about it.

    Reset All Controllers lifts it (MIDI recommended practice RP-015).
    """
    if data[0] & 0xF0 != 0xB0 or data[1] not in (SUSTAIN, RESET_CONTROLLERS):
        return None
    return data[1] == SUSTAIN and data[2] >= 64


def resets(data: bytes) -> bool:
    """Return whether `data` takes the controllers of its channel to rest (Reset All Controllers)."""
    return data[0] & 0xF0 == 0xB0 and data[1] == RESET_CONTROLLERS


def cuts(data: bytes) -> bool:
    """Return whether `data` ends all notes of its channel at once, whatever the pedal holds (All Sound Off)."""
    return data[0] & 0xF0 == 0xB0 and data[1] == ALL_SOUND_OFF


def releases(data: bytes) -> bool:
    """Return whether `data` releases all keys of its channel; what the pedal holds sounds on.

    All Notes Off does, as Live sends it around a stop, and so do the changes of mode after it: omni off and on, mono
    and poly.
    """
    return data[0] & 0xF0 == 0xB0 and data[1] >= ALL_NOTES_OFF


class Parser:
    """Splits a byte stream into messages, however it is chunked.

    Handles running status, and real-time bytes within other messages. Skips system exclusive, active sensing and
    undefined bytes; drops a message that another status byte cuts short.
    """

    def __init__(self) -> None:
        self._message = bytearray()
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that `data` completes, in order."""
        if data and len(data) == _SIZE.get(data[0]) and max(data[1:]) < 0x80:
            # One whole message, as nearly always.
            self._message[:], self._size = data[:1], len(data)
            return [data]
        messages: list[bytes] = []
        for byte in data:
            if byte >= 0xF8:
                if byte in _REAL_TIME:
                    messages.append(bytes((byte,)))
            elif byte >= 0x80:
                self._begin(byte)
            elif self._size:
                self._message.append(byte)
            if self._size and len(self._message) == self._size:
                messages.append(bytes(self._message))
                self._end()
        return messages

    def _begin(self, status: int) -> None:
        self._message[:] = (status,)
        # 0: skip the data bytes that follow (system exclusive and its end, undefined messages).
        self._size = _SIZE.get(status) or _COMMON_SIZE.get(status, 0)

    def _end(self) -> None:
        if self._message[0] < 0xF0:
            del self._message[1:]  # running status: the next data byte begins another message of this type
        else:
            self._size = 0
