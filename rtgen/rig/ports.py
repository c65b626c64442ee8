"""MIDI ports: the only importer of rtmidi."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, Protocol

from rtgen.errors import UserError

try:
    import rtmidi
except ImportError as error:
    raise UserError(
        f"The MIDI library cannot be loaded ({error}); on Debian 'apt-get install libasound2-dev' brings what it "
        "lacks, elsewhere install ALSA's library, or python-rtmidi again"
    ) from error

Api = Literal["auto", "jack", "alsa", "core", "winmm"]
Receive = Callable[[float, int, bytes], None]
"""Called with the arrival time (`perf_counter` seconds), the number of the input, and the bytes."""
Choose = Callable[[str, list[str]], str]
"""Asks the player which of several ports is meant."""

_RTMIDI = {
    "jack": rtmidi.API_UNIX_JACK,
    "alsa": rtmidi.API_LINUX_ALSA,
    "core": rtmidi.API_MACOSX_CORE,
    "winmm": rtmidi.API_WINDOWS_MM,
}
_SYSTEMS = {"jack": "JACK", "alsa": "ALSA", "core": "CoreMIDI", "winmm": "Windows MIDI"}


class Ports(Protocol):
    """Inputs and an output, wherever they lead."""

    def open(self, receive: Receive) -> None:
        """Opens them; from then on `receive` is called, from a thread of the system's."""

    def send(self, data: bytes) -> None:
        """Sends a message."""

    def close(self) -> None:
        """Closes them."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the system's."""

    system: str
    direction: Literal["in", "out"]
    name: str


@contextmanager
def _hushed() -> Iterator[None]:
    """Keeps a C library from writing to standard error what we say better."""
    sys.stderr.flush()
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _client(kind: Any, api: str, name: str) -> Any:
    """An rtmidi client of one system; None where that system is not running."""
    os.environ.setdefault("JACK_NO_START_SERVER", "1")
    try:
        with _hushed():
            return kind(_RTMIDI[api], name)
    except (rtmidi.SystemError, rtmidi.RtMidiError, RuntimeError):
        return None


def compiled_apis() -> list[str]:
    """The MIDI systems that this build of rtmidi can speak to."""
    compiled = rtmidi.get_compiled_api()
    return [api for api, number in _RTMIDI.items() if number in compiled]


def running_apis() -> list[str]:
    """The MIDI systems that are running, the most usual of this platform first."""
    running = []
    for api in sorted(compiled_apis(), key=["alsa", "core", "winmm", "jack"].index):
        if api == "alsa" and not Path("/dev/snd/seq").exists():
            continue
        client = _client(rtmidi.MidiIn, api, "rtgen-probe")
        if client is not None:
            client.delete()
            running.append(api)
    return running


def find_api(api: Api) -> str:
    """The MIDI system that `api` stands for.

    Raises:
        UserError: it is not there, or none is.
    """
    running = running_apis()
    if api == "auto":
        if running:
            return running[0]
        looked = ", ".join(_SYSTEMS[a] for a in compiled_apis()) or "none"
        raise UserError(
            f"No MIDI system is running (looked for: {looked}); start one, such as a JACK server, "
            "or hear rtgen without any by 'rtgen demo'"
        )
    if api not in compiled_apis():
        there = ", ".join(compiled_apis())
        raise UserError(f"MIDI system {api} does not exist on this platform; use --api {there or 'auto'}")
    if api not in running:
        cure = "start its server (and set JACK_DEFAULT_SERVER if it has a name)" if api == "jack" else "start it"
        raise UserError(f"MIDI system {_SYSTEMS[api]} is not running; {cure} or choose another with --api")
    return api


def list_ports() -> list[Port]:
    """All ports of all running systems."""
    found: list[Port] = []
    kinds: tuple[tuple[Literal["in", "out"], Any], ...] = (("in", rtmidi.MidiIn), ("out", rtmidi.MidiOut))
    for api in running_apis():
        for direction, kind in kinds:
            client = _client(kind, api, "rtgen-probe")
            if client is not None:
                found += [Port(api, direction, name) for name in client.get_ports() if "rtgen-probe" not in name]
                client.delete()
    return found


def match(wanted: str, names: Sequence[str], kind: str, choose: Choose | None = None) -> int:
    """The index of the port that `wanted` names, in whole or in part, in any case.

    Raises:
        UserError: none matches, or several do and there is nobody to ask.
    """
    exact = [i for i, name in enumerate(names) if name == wanted]
    partial = exact or [i for i, name in enumerate(names) if wanted.lower() in name.lower()]
    if len(partial) == 1:
        return partial[0]
    if not partial:
        there = ", ".join(repr(n) for n in names) or "none"
        raise UserError(f"No MIDI {kind} is called {wanted!r}; there are: {there}. Check the cable or 'rtgen ports'")
    several = [names[i] for i in partial]
    if choose is not None:
        return names.index(choose(f"Which MIDI {kind} is {wanted!r}?", several))
    raise UserError(f"{wanted!r} may be any of the MIDI {kind}s {', '.join(map(repr, several))}; give more of its name")


class SystemPorts:
    """Ports of the system: virtual ones of our own, or those that are named.

    Args:
        api: the MIDI system, as from `find_api`.
        name: what other programs call us.
        inputs: names of the inputs to listen to; None is a virtual one.
        output: name of the output; None makes a virtual one.
        choose: asks the player when a name is ambiguous.

    Raises:
        UserError: a port is not there, or the system has no virtual ones.
    """

    def __init__(
        self,
        api: str,
        name: str,
        inputs: Sequence[str | None] = (None,),
        output: str | None = None,
        choose: Choose | None = None,
    ) -> None:
        self._api, self._name, self._choose = api, name, choose
        listened = [i or f"{name} in" for i in inputs]
        self.title = " and ".join([*listened, output or f"{name} out"]) + f" ({_SYSTEMS[api]})"
        """The ports, in words."""
        # Held for as long as the ports are open: a collected client takes its port with it.
        self._out = self._open(rtmidi.MidiOut, "out", output)
        try:
            self._ins = [self._open(rtmidi.MidiIn, "in", i) for i in inputs]
        except UserError:
            self._out.delete()
            raise

    def open(self, receive: Receive) -> None:
        """Listens from now on."""
        for number, client in enumerate(self._ins):
            client.ignore_types(sysex=True, timing=False, active_sense=True)
            client.set_callback(_callback(number, receive))

    def send(self, data: bytes) -> None:
        """Sends a message."""
        self._out.send_message(data)

    def close(self) -> None:
        """Listens no more, and closes the ports."""
        for client in self._ins:
            client.cancel_callback()
            client.delete()
        self._out.delete()

    def _open(self, kind: Any, direction: str, wanted: str | None) -> Any:
        # JACK names a port by its client first, the others by the port alone: both must tell in from out.
        client = _client(kind, self._api, f"{self._name}-{direction}" if self._api == "jack" else self._name)
        if client is None:
            raise UserError(f"MIDI system {_SYSTEMS[self._api]} has stopped; start it again")
        title = f"{self._name} {direction}"
        if wanted is not None:
            names = client.get_ports()
            client.open_port(match(wanted, names, "input" if direction == "in" else "output", self._choose), title)
        elif self._api == "winmm":
            raise UserError(
                "Windows has no virtual MIDI ports of its own; create two with loopMIDI and name them by --in and --out"
            )
        else:
            client.open_virtual_port(title)
        return client


def _callback(number: int, receive: Receive) -> Callable[[tuple[list[int], float], Any], None]:
    def callback(event: tuple[list[int], float], _: Any) -> None:
        # First of all the time: rtmidi's own deltas are not to be trusted everywhere.
        receive(perf_counter(), number, bytes(event[0]))

    return callback


class LoopbackPorts:
    """A pair of ports within this process: what is played into it arrives, what is sent is handed on.

    Args:
        sent: called with the time (`perf_counter` seconds) and each message that was sent.
    """

    def __init__(self, sent: Callable[[float, bytes], None]) -> None:
        self._sent = sent
        self._receive: Receive | None = None

    def open(self, receive: Receive) -> None:
        """Passes on what is played from now on."""
        self._receive = receive

    def play(self, data: bytes) -> None:
        """Plays a message into the input."""
        if self._receive is not None:
            self._receive(perf_counter(), 0, data)

    def send(self, data: bytes) -> None:
        """Hands a message on."""
        self._sent(perf_counter(), data)

    def close(self) -> None:
        """Hears no more."""
        self._receive = None
