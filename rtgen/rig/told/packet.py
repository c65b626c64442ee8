"""OSC 1.0 packets: a strict parser, as packets come from strangers, and a builder.

It reads messages with values of the types i, h, f, d, s, b, T, F and N, and bundles of them. Time tags of bundles are
ignored: everything is carried out at once. (Specification: opensoundcontrol.stanford.edu/spec-1_0.html.)
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Any

Said = tuple[str, tuple[Any, ...]]
"""An OSC address and its values."""
ELEMENTS = 64
"""Most messages and bundles in one packet."""
VALUES = 16
"""Most values of a message from a controller."""
_DEPTH = 4
_BUNDLE = b"#bundle\0"
_TIME_TAG = 8
_AT_ONCE = bytes(7) + b"\x01"
"""The time tag of a bundle that is to be carried out at once."""
_ADDRESS = re.compile(r"/[!-~]{1,127}")
_NUMBERS = {tag: struct.Struct(f">{code}") for tag, code in {"i": "i", "h": "q", "f": "f", "d": "d"}.items()}
_CONSTANTS = {"T": True, "F": False, "N": None}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_MOST_FLOAT = (2 - 2**-23) * 2.0**127
_MANY = f"a packet has more than {ELEMENTS} messages and bundles"


def parse(data: bytes, values: int = VALUES) -> list[Said]:
    """Returns the messages of a packet, in order.

    The work is bounded by `ELEMENTS` and the length of `data`. Control characters in strings become U+FFFD, so that
    they never reach a terminal.

    Args:
        data: a datagram.
        values: most values of a message.

    Raises:
        ValueError: it is not a packet that is understood; the text says why.
    """
    found: list[Said] = []
    waiting = [(data, 0)]
    for _ in range(ELEMENTS):
        part, depth = waiting.pop()
        if part.startswith(_BUNDLE):
            if depth == _DEPTH:
                raise ValueError(f"bundles are nested more than {_DEPTH} deep")
            waiting.extend((element, depth + 1) for element in reversed(_elements(part)))
        else:
            found.append(_message(part, values))
        if not waiting:
            return found
    raise ValueError(_MANY)


def datagram(address: str, values: tuple[Any, ...]) -> bytes:
    """Returns the bytes of a message.

    Raises:
        ValueError: a value has no OSC type, or is an integer of more than 64 bits.
    """
    tags, parts = ",", [_padded(address)]
    for value in values:
        match value:
            case None | bool():
                tags += {True: "T", False: "F", None: "N"}[value]
            case int() if -(2**31) <= value < 2**31:
                tags += "i"
                parts.append(_NUMBERS["i"].pack(value))
            case int() if -(2**63) <= value < 2**63:
                tags += "h"
                parts.append(_NUMBERS["h"].pack(value))
            case float():
                tag = "d" if _MOST_FLOAT < abs(value) < float("inf") else "f"
                tags += tag
                parts.append(_NUMBERS[tag].pack(value))
            case str():
                tags += "s"
                parts.append(_padded(value))
            case bytes():
                parts += [_NUMBERS["i"].pack(len(value)), value, bytes(-len(value) % 4)]
                tags += "b"
            case _:
                raise ValueError(f"{value!r} cannot be sent as OSC")
    return b"".join([parts[0], _padded(tags), *parts[1:]])


def bundle(messages: Sequence[Said]) -> bytes:
    """Returns the bytes of a bundle, to be carried out at once; of a single message, its own.

    Raises:
        ValueError: as `datagram`.
    """
    parts = [datagram(*message) for message in messages]
    if len(parts) == 1:
        return parts[0]
    return b"".join([_BUNDLE, _AT_ONCE, *(_NUMBERS["i"].pack(len(part)) + part for part in parts)])


def _padded(text: str) -> bytes:
    """Returns an OSC string: UTF-8, ended by a zero, of a multiple of four bytes."""
    data = text.replace("\0", "").encode("utf-8", errors="replace") + b"\0"
    return data + bytes(-len(data) % 4)


def _elements(bundle: bytes) -> list[bytes]:
    """Returns the elements of a bundle.

    Raises:
        ValueError: a size is negative, zero, not a multiple of four, or larger than what is left; or they are too many.
    """
    found: list[bytes] = []
    at = len(_BUNDLE) + _TIME_TAG
    if len(bundle) < at:
        raise ValueError("a bundle is cut off")
    while at < len(bundle):
        if len(found) == ELEMENTS:
            raise ValueError(_MANY)
        size = _number("i", bundle, at)
        at += 4
        if size <= 0 or size % 4 or size > len(bundle) - at:
            raise ValueError(f"an element of a bundle has the size {size}")
        found.append(bundle[at : at + size])
        at += size
    return found


def _message(data: bytes, most: int) -> Said:
    address, at = _string(data, 0)
    if not _ADDRESS.fullmatch(address):
        raise ValueError("not an OSC message")
    if at == len(data):
        return address, ()  # without type tags, as old programs send it
    tags, at = _string(data, at)
    if not tags.startswith(","):
        raise ValueError("a message has no type tags")
    if len(tags) > most + 1:
        raise ValueError(f"a message has more than {most} values")
    values: list[Any] = []
    for tag in tags[1:]:
        value: Any
        if tag in _NUMBERS:
            value, at = _number(tag, data, at), at + _NUMBERS[tag].size
        elif tag in _CONSTANTS:
            value = _CONSTANTS[tag]
        elif tag == "s":
            value, at = _string(data, at)
        elif tag == "b":
            value, at = _blob(data, at)
        else:
            raise ValueError(f"values of the type {tag!r} are not understood; send f, i or s")
        values.append(value)
    if at != len(data):
        raise ValueError("a message is longer than its values")
    return address, tuple(values)


def _number(tag: str, data: bytes, at: int) -> Any:
    form = _NUMBERS[tag]
    if at + form.size > len(data):
        raise ValueError("a message is cut off")
    return form.unpack_from(data, at)[0]


def _string(data: bytes, at: int) -> tuple[str, int]:
    """Returns a string, and where the next value begins."""
    end = data.find(b"\0", at)
    after = (end // 4 + 1) * 4
    if end < 0 or after > len(data):
        raise ValueError("not an OSC message")
    try:
        text = data[at:end].decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("a string is not UTF-8") from None
    return _CONTROL.sub("\ufffd", text), after


def _blob(data: bytes, at: int) -> tuple[bytes, int]:
    size = _number("i", data, at)
    begins = at + 4
    after = begins + size + -size % 4
    if size < 0 or after > len(data):
        raise ValueError(f"a blob has the size {size}")
    return data[begins : begins + size], after
