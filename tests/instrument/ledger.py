"""Holds a stream of sent messages against the first rule: every note-on gets exactly one note-off."""

from __future__ import annotations

from collections.abc import Iterable


def check(messages: Iterable[bytes], *, ended: bool = True) -> int:
    """Asserts that no note is struck while it sounds, no off lacks its on, and (if ended) nothing sounds at last.

    Returns:
        The number of notes.
    """
    sounding: set[tuple[int, int]] = set()
    count = 0
    for data in messages:
        key = (data[0] & 0x0F, data[1]) if len(data) > 1 else (0, 0)
        if data[0] & 0xF0 == 0x90 and data[2] > 0:
            assert key not in sounding, f"{key} struck while it sounds"
            sounding.add(key)
            count += 1
        elif data[0] & 0xF0 in (0x80, 0x90):
            assert key in sounding, f"an end for {key}, which does not sound"
            sounding.remove(key)
    if ended:
        assert not sounding, f"still sounding: {sounding}"
    return count
