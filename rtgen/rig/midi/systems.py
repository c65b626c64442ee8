"""The MIDI systems of this machine and their ports; the only module that uses rtmidi's public API."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rtgen.errors import UserError
from rtgen.rig.midi.jack import onlooker
from rtgen.rig.midi.ways import SYSTEMS, Direction

try:
    import rtmidi
except ImportError as error:
    raise UserError(
        f"The MIDI library cannot be loaded ({error}); on Debian run 'apt-get install libasound2-dev', "
        "elsewhere install the ALSA library, or reinstall python-rtmidi"
    ) from error

Api = Literal["auto", "jack", "alsa", "core", "winmm"]
MidiError = rtmidi.RtMidiError
_KINDS: dict[Direction, Any] = {"in": rtmidi.MidiIn, "out": rtmidi.MidiOut}
_RTMIDI = {
    "jack": rtmidi.API_UNIX_JACK,
    "alsa": rtmidi.API_LINUX_ALSA,
    "core": rtmidi.API_MACOSX_CORE,
    "winmm": rtmidi.API_WINDOWS_MM,
}
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a MIDI system."""

    system: str
    direction: Direction
    name: str


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
    os.environ.setdefault("JACK_NO_START_SERVER", "1")
    try:
        with nullcontext() if api == "jack" else _hushed():  # the onlooker has silenced JACK
            return _KINDS[direction](_RTMIDI[api], name)
    except (rtmidi.SystemError, rtmidi.RtMidiError, RuntimeError):
        return None


def names_of(client: Any) -> list[str]:
    """Returns the names of the ports that an rtmidi client can connect to."""
    for _ in range(_TRIES):
        # rtmidi counts the ports, then asks for each name; a port may disappear in between.
        with suppress(MidiError):
            return list(client.get_ports())
    return []


def compiled_apis() -> list[str]:
    """Returns the MIDI systems that this build of rtmidi supports, and JACK, which needs no rtmidi."""
    compiled = rtmidi.get_compiled_api()
    jack = ["jack"] if sys.platform != "win32" else []
    return [*jack, *(api for api, number in _RTMIDI.items() if api != "jack" and number in compiled)]


def running_apis() -> list[str]:
    """Returns the MIDI systems that are running, the platform's usual one first."""
    running = []
    for api in sorted(compiled_apis(), key=["alsa", "core", "winmm", "jack"].index):
        if api == "alsa" and not Path("/dev/snd/seq").exists():
            continue
        if api == "jack":
            with suppress(ConnectionError):
                onlooker()
                running.append(api)
            continue
        client = open_client("in", api, "rtgen-probe")
        if client is not None:
            client.delete()
            running.append(api)
    return running


def find_api(api: Api) -> str:
    """Resolves `api` to a running MIDI system.

    Raises:
        UserError: the system is not running, or none is.
    """
    running = running_apis()
    if api == "auto":
        if running:
            return running[0]
        looked = ", ".join(SYSTEMS[a] for a in compiled_apis()) or "none"
        raise UserError(
            f"No MIDI system is running (looked for: {looked}); start one, such as a JACK server, "
            "or try 'rtgen demo', which needs none"
        )
    if api not in compiled_apis():
        there = ", ".join(compiled_apis())
        raise UserError(f"MIDI system {api} is not available on this platform; use --api {there or 'auto'}")
    if api not in running:
        cure = "start its server (and set JACK_DEFAULT_SERVER if it has a name)" if api == "jack" else "start it"
        raise UserError(f"MIDI system {SYSTEMS[api]} is not running; {cure} or choose another with --api")
    return api


def list_ports() -> list[Port]:
    """Returns all ports of all running systems."""
    where = [(api, direction) for api in running_apis() for direction in _KINDS]
    return [Port(api, direction, name) for api, direction in where for name in _names(direction, api)]


def _names(direction: Direction, api: str) -> list[str]:
    """Returns the names of a system's inputs or outputs."""
    if api == "jack":
        try:
            return onlooker().names(direction)
        except ConnectionError:
            return []
    client = open_client(direction, api, "rtgen-probe")
    if client is None:
        return []
    names = [name for name in names_of(client) if "rtgen-probe" not in name]
    client.delete()
    return names


def own_name(name: str, api: str) -> str:
    """Returns `name`, with a number appended if another rtgen uses it, as ports are identified by name."""
    # Each rtgen has both an in and an out, so one direction is enough, except on CoreMIDI, which only lists free ports.
    there = [each for direction in _KINDS if api == "core" or direction == "out" for each in _names(direction, api)]

    def goes_by(own: str) -> bool:
        ours = re.compile(rf"(^|:){re.escape(own)} (in|out)( \d+:\d+)?$")
        return any(ours.search(each) for each in there)

    return next(own for own in (name, *(f"{name} {n}" for n in range(2, 1000))) if not goes_by(own))
