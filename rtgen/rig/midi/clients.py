"""Clients of python-rtmidi, for the systems that rtgen has no ports of its own for; the only module that imports it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import rtmidi

from rtgen.rig.midi.ways import Direction

MidiError = rtmidi.RtMidiError
KINDS: dict[Direction, Any] = {"in": rtmidi.MidiIn, "out": rtmidi.MidiOut}
_RTMIDI = {"alsa": rtmidi.API_LINUX_ALSA, "core": rtmidi.API_MACOSX_CORE, "winmm": rtmidi.API_WINDOWS_MM}
_TRIES = 20


@contextmanager
def _hushed() -> Iterator[None]:
    """Silences a C library on standard error, as rtgen reports its errors more clearly."""
    try:
        kept = os.dup(2)
    except OSError:  # there is none, as with pythonw on Windows
        yield
        return
    sys.stderr.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def open_client(direction: Direction, api: str, name: str) -> Any:
    """Opens an rtmidi client of a MIDI system; returns None if that system is not running."""
    try:
        with _hushed():
            return KINDS[direction](_RTMIDI[api], name)
    except (rtmidi.SystemError, rtmidi.RtMidiError, RuntimeError):
        return None


def names_of(client: Any) -> list[str]:
    """Returns the names of the ports that an rtmidi client can connect to."""
    for _ in range(_TRIES):
        # rtmidi counts the ports, then asks for each name; a port may disappear in between.
        with suppress(MidiError):
            return list(client.get_ports())
    return []


def compiled() -> list[str]:
    """Returns the MIDI systems that this build of rtmidi supports."""
    there = rtmidi.get_compiled_api()
    return [api for api, number in _RTMIDI.items() if number in there]
