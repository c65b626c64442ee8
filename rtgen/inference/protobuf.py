"""Reads the wire format of Protocol Buffers, in which `.onnx` files are written.

What it accepts, every other reader reads the same way: anything on which readers might disagree is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

Bytes = bytes | memoryview
Field = tuple[int, Bytes, Bytes]
"""Field number, content if length-delimited (else empty), and the raw bytes of the whole field."""

_MAX_NUMBER = 2**29
_MAX_LENGTH = 2**31


def fields(message: Bytes) -> Iterator[Field]:
    """Yields the fields of a message.

    Raises:
        ValueError: it is malformed.
    """
    at = 0
    while at < len(message):
        start = at
        tag, at = number(message, at)
        # The reference implementation drops higher bits, and would take it for another field.
        if not 0 < tag >> 3 < _MAX_NUMBER:
            raise ValueError("a field number that cannot be")
        length = 0
        match tag & 7:
            case 0:
                _, at = number(message, at)
            case 1:
                at += 8
            case 2:
                length, at = number(message, at)
                if length >= _MAX_LENGTH:
                    raise ValueError("a field that is too long")
                at += length
            case 5:
                at += 4
            case kind:
                raise ValueError(f"a field of unknown wire type {kind}")
        if at > len(message):
            raise ValueError("a field runs past the end")
        yield tag >> 3, message[at - length : at] if length else b"", message[start:at]


def number(message: Bytes, at: int) -> tuple[int, int]:
    """Decodes a varint (seven bits per byte, lowest first); returns it and its end.

    Raises:
        ValueError: it does not end.
    """
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("an unterminated varint")


def varint(value: int) -> bytes:
    """Encodes a varint."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*digits, value))


def tagged(field: int, content: bytes) -> bytes:
    """Encodes a length-delimited field."""
    return varint(field << 3 | 2) + varint(len(content)) + content
