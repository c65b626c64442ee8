"""Bytes of the MIDI wire (MIDI 1.0 specification): messages out of a stream, and the ones that we send."""

from __future__ import annotations

CLOCK, START, CONTINUE, STOP, SYSTEM_RESET = 0xF8, 0xFA, 0xFB, 0xFC, 0xFF
SONG_POSITION = 0xF2
SUSTAIN, ALL_SOUND_OFF, ALL_NOTES_OFF = 64, 120, 123

_REAL_TIME = frozenset({CLOCK, START, CONTINUE, STOP, SYSTEM_RESET})
_COMMON_SIZE = {0xF1: 2, 0xF2: 3, 0xF3: 2, 0xF6: 1}


def note_on(channel: int, pitch: int, velocity: int) -> bytes:
    """A note-on; channel 0-15."""
    return bytes((0x90 | channel, pitch, velocity))


def note_off(channel: int, pitch: int) -> bytes:
    """A note-off; channel 0-15."""
    return bytes((0x80 | channel, pitch, 0))


def control(channel: int, number: int, value: int) -> bytes:
    """A control change; channel 0-15."""
    return bytes((0xB0 | channel, number, value))


def song_position(data: bytes) -> int:
    """The sixteenths since the start that a song position message tells."""
    return data[1] | data[2] << 7


def to_song_position(sixteenths: int) -> bytes:
    """The song position message; past its end (2^14 sixteenths, 1,024 bars of 4/4) it begins anew."""
    return bytes((SONG_POSITION, sixteenths & 0x7F, sixteenths >> 7 & 0x7F))


def is_note_on(data: bytes) -> bool:
    """Whether `data` starts a note (a note-on of velocity 0 ends one)."""
    return data[0] & 0xF0 == 0x90 and data[2] > 0


def is_note(data: bytes) -> bool:
    """Whether `data` starts or ends a note."""
    return data[0] & 0xF0 in (0x80, 0x90)


def silences(data: bytes) -> bool:
    """Whether `data` ends all notes of its channel, as Live sends it around a stop."""
    return data[0] & 0xF0 == 0xB0 and data[1] in (ALL_SOUND_OFF, ALL_NOTES_OFF)


class Parser:
    """Cuts a byte stream into messages, however the stream is chunked.

    Knows running status and real-time bytes inside other messages. System exclusive, active sensing and undefined
    bytes are passed over; a message cut short by another status byte is dropped.
    """

    def __init__(self) -> None:
        self._message = bytearray()
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes, in order."""
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
        if status < 0xF0:
            self._size = 2 if status & 0xF0 in (0xC0, 0xD0) else 3
        else:
            # 0 stands for "pass over what follows": exclusive, its end, and undefined ones.
            self._size = _COMMON_SIZE.get(status, 0)

    def _end(self) -> None:
        if self._message[0] < 0xF0:
            del self._message[1:]  # running status: the next data byte begins another of the same
        else:
            self._size = 0
