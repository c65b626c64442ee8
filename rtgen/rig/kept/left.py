"""What an rtgen that crashed left behind, as its log tells: notes that sound, and a song that rolls."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter, time
from typing import Any

from rtgen.instrument.events import Left
from rtgen.music import midi
from rtgen.rig.kept import journal

_STILL_S = 120.0
"""After this long nobody waits for the song to roll on; a service is started again after a minute at most."""
_LOGS = 16
"""So many of the latest logs are looked at for one of the same name."""
_MAX_BYTES = 2**26
"""A larger log is not read here, as starting up must not wait for it; it would be of some ten hours."""
_ENDED = b'["Ended"'


def left_behind(folder: Path, name: str, now: float | None = None) -> Left | None:
    """Return what the last rtgen of a name left behind, or None if it ended by itself or there was none.

    Two of the same name cannot run in one MIDI system, so a log of ours that has no end is that of a crash.

    Args:
        folder: of the session logs.
        name: of the program's ports.
        now: seconds of `perf_counter`, which goes on from one process to the next; None for the present.
    """
    now = perf_counter() if now is None else now
    with suppress(OSError):
        logs = [(path.stat().st_mtime, path) for path in folder.glob(f"*{journal.SUFFIX}")]
        for changed, path in sorted(logs, reverse=True)[:_LOGS]:
            if path.stat().st_size > _MAX_BYTES:
                continue
            data = path.read_bytes()
            head, at = journal.head(data)
            if head is not None and head.get("name") == name:
                # After another start of the machine its time begins anew, and where the song is nobody can tell.
                still = abs(time() - changed) < _STILL_S and head.get("boot") == journal.boot()
                return _survey(data, head, at, now if still else None)
    return None


def _survey(data: bytes, head: Mapping[str, Any], at: int, now: float | None) -> Left | None:
    """Go through a log, from its settings and the offset of its records; `now` is None if it is too old to roll on."""
    sounding: dict[tuple[int, int], None] = {}
    channels: set[int] = set()
    moved: set[tuple[int, int]] = set()
    place: tuple[float, int] | None = None
    rolled = False
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        # What it sent in its last half second is not in the log.
        channels.add(int(head["preset"]["channel"]) - 1 & 0x0F)
        before = journal.to_event(head["left"])
        if isinstance(before, Left):
            # It may have crashed before it ended what its own predecessor left, or rolled on.
            sounding, channels = dict.fromkeys(before.sounding), channels | {*before.channels}
            moved |= {*before.moved}
            place = None if before.at is None else (before.at, before.tick)
    for letter, body in _records(data, at):
        if letter == b"S":
            _sent(body, sounding, channels)
            if len(body) in (2, 3) and body[0] < 0xF0 and max(body[1:]) < 0x80 and (shape := midi.shape(body)):
                channels.add(shape[0] & 0x0F)
                moved.add((shape[0], shape[1] if len(shape) > 1 else 0))
        elif letter == b"P":
            then, tick = struct.unpack("<dq", body)
            if tick >= 0 or rolled:
                place, rolled = (then, tick) if tick >= 0 else None, True
        elif letter == b"E" and body.startswith(_ENDED):
            return None
        elif letter == b"R" and midi.STOP in body:
            place, rolled = None, True
    left = Left(tuple(sounding), tuple(sorted(channels)), moved=tuple(sorted(moved)))
    if place is None or now is None or not 0 <= now - place[0] < _STILL_S:
        return left
    return replace(left, at=place[0], tick=place[1])


def _sent(message: bytes, sounding: dict[tuple[int, int], None], channels: set[int]) -> None:
    if len(message) != 3 or message[0] >= 0xF0:
        return
    channel = message[0] & 0x0F
    if midi.is_note_on(message):
        channels.add(channel)
        sounding[channel, message[1]] = None
    elif midi.is_note(message):
        sounding.pop((channel, message[1]), None)
    elif midi.cuts(message) or midi.releases(message):
        for key in [key for key in sounding if key[0] == channel]:
            del sounding[key]


def _records(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield letter and body of each record: what was sent or received, JSON, or a place; only as far as needed here."""
    size: int
    while at < len(data):
        letter = data[at : at + 1]
        try:
            if letter == b"N":
                at += 9
                continue
            if letter == b"S":
                (size,), head = struct.unpack_from("<H", data, at + 1), 3
            elif letter == b"T":
                (size,), head = struct.unpack_from("<H", data, at + 9), 11
                letter = b"S"
            elif letter == b"R":
                (size,), head = struct.unpack_from("<H", data, at + 10), 12
            elif letter == b"E":
                (size,), head = struct.unpack_from("<I", data, at + 9), 13
            elif letter == b"P":
                size, head = 16, 1
            else:
                return
        except struct.error:
            return
        if at + head + size > len(data):
            return
        yield letter, data[at + head : at + head + size]
        at += head + size
