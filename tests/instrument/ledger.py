"""Holds a stream of sent messages against the first rule: every note-on gets exactly one note-off."""

from __future__ import annotations

from collections.abc import Iterable

from rtgen.music import midi

_Key = tuple[int, int]


def sounding(messages: Iterable[bytes]) -> set[_Key]:
    """The notes, as channel and pitch, that sound after some messages; an end too many is none too many here."""
    found: set[_Key] = set()
    for data in filter(midi.is_note, messages):
        (found.add if midi.is_note_on(data) else found.discard)((data[0] & 0x0F, data[1]))
    return found


def check(messages: Iterable[bytes], *, ended: bool = True) -> int:
    """Asserts that no note is struck while it sounds, no off lacks its on, and (if ended) nothing sounds at last.

    Returns:
        The number of notes.
    """
    down: set[_Key] = set()
    count = 0
    for data in messages:
        key = (data[0] & 0x0F, data[1]) if len(data) > 1 else (0, 0)
        if data[0] & 0xF0 == 0x90 and data[2] > 0:
            assert key not in down, f"{key} struck while it sounds"
            down.add(key)
            count += 1
        elif data[0] & 0xF0 in (0x80, 0x90):
            assert key in down, f"an end for {key}, which does not sound"
            down.remove(key)
    if ended:
        assert not down, f"still sounding: {down}"
    return count
