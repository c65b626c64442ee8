"""The MIDI systems of this machine and their ports."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Literal

from rtgen.errors import UserError
from rtgen.rig.midi.jack import onlooker
from rtgen.rig.midi.ways import SYSTEMS, Direction

Api = Literal["auto", "jack", "alsa", "core", "winmm"]
_DIRECTIONS: tuple[Direction, ...] = "in", "out"


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a MIDI system."""

    system: str
    direction: Direction
    name: str


@cache
def _clients() -> ModuleType | None:
    """Returns what opens clients of the systems other than JACK; None if python-rtmidi is not installed.

    Raises:
        UserError: it is, and cannot be loaded.
    """
    if find_spec("rtmidi") is None:
        return None
    try:
        from rtgen.rig.midi import clients
    except ImportError as error:
        raise UserError(
            f"The MIDI library cannot be loaded ({error}); on Debian run 'apt-get install libasound2-dev', "
            "elsewhere install the ALSA library, or reinstall python-rtmidi"
        ) from error
    return clients


def _lacking() -> str:
    """Returns what is to be installed so that systems other than JACK can be used; empty if nothing is."""
    if _clients() is not None:
        return ""
    others = {"linux": "ALSA", "darwin": "CoreMIDI", "win32": "Windows MIDI"}.get(sys.platform, "any other")
    return f"{others} needs python-rtmidi: pip install 'rtgen[rtmidi]'"


def looked_for() -> str:
    """Returns which MIDI systems would be found if they were running, for the player."""
    titles = ", ".join(SYSTEMS[api] for api in compiled_apis())
    return "; ".join(filter(None, (titles, _lacking()))) or "none"


def compiled_apis() -> list[str]:
    """Returns the MIDI systems that can be used here if they are running: JACK, and those of this build of rtmidi."""
    clients = _clients()
    jack = ["jack"] if sys.platform != "win32" else []
    return [*jack, *(clients.compiled() if clients is not None else ())]


def running_apis() -> list[str]:
    """Returns the MIDI systems that are running, the platform's usual one first."""
    usual = sorted(compiled_apis(), key=["alsa", "core", "winmm", "jack"].index)
    return [api for api in usual if _runs(api)]


def _runs(api: str) -> bool:
    """Returns whether a system is running that can be used here."""
    if api == "jack":
        with suppress(ConnectionError):
            onlooker()
            return True
        return False
    if api == "alsa" and not Path("/dev/snd/seq").exists():
        return False
    clients = _clients()
    client = clients.open_client("in", api, "rtgen-probe") if clients is not None else None
    if client is not None:
        client.delete()
    return client is not None


def find_api(api: Api) -> str:
    """Resolves `api` to a running MIDI system.

    Raises:
        UserError: the system is not running, or none is.
    """
    if api == "auto":
        if running := running_apis():
            return running[0]
        raise UserError(
            f"No MIDI system is running (looked for: {looked_for()}); start one, such as a JACK server, "
            "or try 'rtgen play', which needs none"
        )
    # JACK needs nothing of what the others do.
    if api == "jack" and sys.platform != "win32":
        if _runs(api):
            return api
    elif api not in compiled_apis():
        if api != "jack" and (needs := _lacking()):
            raise UserError(f"MIDI system {SYSTEMS[api]} cannot be used: {needs}")
        there = ", ".join(compiled_apis())
        raise UserError(f"MIDI system {api} is not available on this platform; use --api {there or 'auto'}")
    elif _runs(api):
        return api
    cure = "start its server (and set JACK_DEFAULT_SERVER if it has a name)" if api == "jack" else "start it"
    raise UserError(f"MIDI system {SYSTEMS[api]} is not running; {cure} or choose another with --api")


def list_ports() -> list[Port]:
    """Returns all ports of all running systems."""
    where = [(api, direction) for api in running_apis() for direction in _DIRECTIONS]
    return [Port(api, direction, name) for api, direction in where for name in _names(direction, api)]


def _names(direction: Direction, api: str) -> list[str]:
    """Returns the names of a system's inputs or outputs."""
    if api == "jack":
        try:
            return onlooker().names(direction)
        except ConnectionError:
            return []
    clients = _clients()
    client = clients.open_client(direction, api, "rtgen-probe") if clients is not None else None
    if clients is None or client is None:
        return []
    names = [name for name in clients.names_of(client) if "rtgen-probe" not in name]
    client.delete()
    return names


def own_name(name: str, api: str) -> str:
    """Returns `name`, with a number appended if another rtgen uses it, as ports are identified by name."""
    # Each rtgen has both an in and an out, so one direction is enough, except on CoreMIDI, which only lists free ports.
    there = [
        each for direction in _DIRECTIONS if api == "core" or direction == "out" for each in _names(direction, api)
    ]

    def goes_by(own: str) -> bool:
        ours = re.compile(rf"(^|:){re.escape(own)} (in|out)( \d+:\d+)?$")
        return any(ours.search(each) for each in there)

    return next(own for own in (name, *(f"{name} {n}" for n in range(2, 1000))) if not goes_by(own))
