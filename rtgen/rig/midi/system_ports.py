"""MIDI ports of a system other than JACK, by python-rtmidi: opened, watched, and opened again when they come back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter, sleep
from typing import Any

from rtgen.errors import UserError
from rtgen.rig.midi.clients import MidiError, names_of, open_client
from rtgen.rig.midi.jack import leave
from rtgen.rig.midi.ways import GOES_S, SYSTEMS, Changed, Connection, Patch, Receive, Way, title

_LOOK_S = 0.2
"""Polling interval for ports that may disappear."""
_JOIN_S = 0.05
"""Wait after connecting two ports: the server may need one more period, and messages sent before that are lost."""
_QUIET_S, _PATIENCE_S = 0.03, 0.5
"""A client is closed when no message has come from it for this long, or at the latest after the second."""


class SystemPorts:
    """Ports of the MIDI system: our own virtual ports, or named ports.

    A named port that disappears is watched for and reconnected by its name, whatever its new index. Messages sent
    in the meantime are dropped.

    Args:
        api: the MIDI system, from `find_api`, but not JACK (`rtgen.rig.midi.jack_ports`).
        patch: what to open and to connect.

    Raises:
        UserError: a port is missing, or the system has no virtual ports.
    """

    ahead_s = 0.0

    def __init__(self, api: str, patch: Patch) -> None:
        self._api, self._name = api, patch.name
        self._ways = patch.ways()
        self._receive: Receive | None = None
        self._changed: Changed = lambda _: None
        self.parts = tuple(patch.parts)
        # The lock guards the output clients, by their parts: none must be closed while a message is being sent.
        self._outs: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._watcher = threading.Thread(target=self._watch, name="ports", daemon=True)
        try:
            for way in self._ways:
                self._create(way)
                target = None
                if way.named is not None and (target := patch.target(way, names_of(way.client), self._ways)) is None:
                    continue
                self._lead(way, target)
        except BaseException:
            self._delete_all()
            raise

    def open(self, receive: Receive, changed: Changed = lambda _: None) -> None:
        """Starts listening, and reports ports that disappear or come back."""
        self._receive, self._changed = receive, changed
        for way in self._ways:
            self._listen(way)
        self._watcher.start()

    @property
    def title(self) -> str:
        """The names of the ports that are open, for the player."""
        return title(self._ways, self._api)

    @property
    def awaited(self) -> list[str]:
        """The names of ports that have never been found so far."""
        return [way.title for way in self._ways if way.sought]

    def connections(self) -> list[Connection]:
        """Returns our ports, and what the named ones are connected to. From any thread."""
        return [way.connection(None) for way in self._ways]

    def send(self, at: float, data: bytes, part: str = "") -> None:  # noqa: ARG002
        """Sends a message at once, or drops it while the output is gone. Never blocks or raises."""
        with self._lock:
            if (out := self._outs.get(part)) is not None:
                out.send_message(data)

    def take_back(self, now: float) -> None:
        """Does nothing, as messages are sent at once."""

    def echo(self, port: int, data: bytes) -> None:
        """Sends feedback to the controller at an input, or drops it if there is none. Never blocks or raises."""
        with self._lock, suppress(MidiError, RuntimeError):
            for way in self._ways:
                if way.shows and way.number == port and way.there and way.client is not None:
                    way.client.send_message(data)

    def close(self) -> None:
        """Stops listening and closes the ports."""
        self._closing = True
        self._wake.set()
        if self._watcher.ident is not None:
            self._watcher.join(5.0)
        self._delete_all()

    # ---- opening ------------------------------------------------------------------------------------------------

    def _create(self, way: Way) -> None:
        way.client = open_client(way.direction, self._api, self._name)
        if way.client is None:
            raise UserError(f"MIDI system {SYSTEMS[self._api]} has stopped; restart it")

    def _lead(self, way: Way, name: str | None) -> None:
        """Connects to the port of that name, or opens a virtual port for others to connect to."""
        title = f"{self._name} {way.role}"
        if name is not None:
            names = names_of(way.client)
            if name not in names:
                raise UserError(f"MIDI port {name!r} has just disappeared; reconnect it")
            way.named = name
            way.client.open_port(names.index(name), title)
        elif self._api == "winmm" and way.part:
            raise UserError("Windows has no virtual MIDI ports, so parts get none of their own; remove --parts")
        elif self._api == "winmm":
            raise UserError(
                "Windows has no virtual MIDI ports; create two with loopMIDI and name them with --in and --out"
            )
        else:
            way.client.open_virtual_port(title)
        if way.direction == "out" and not way.shows:
            with self._lock:
                self._outs[way.part] = way.client

    def _listen(self, way: Way) -> None:
        if way.direction == "in" and self._receive is not None:
            way.client.ignore_types(sysex=True, timing=False, active_sense=True)
            way.client.set_callback(_callback(way, self._receive, lambda: self._closing))

    def _delete_all(self) -> None:
        """Closes all clients, or leaves them to the system if it is running and the process ends anyway.

        A callback is never cancelled: rtmidi frees what the callback's thread may be about to call. Nor is an input
        closed while messages arrive: the thread may be inside a callback, waiting for the GIL.
        """
        with self._lock:
            self._outs.clear()
            for way in self._ways:
                way.there &= not way.shows
        self._quieten([way for way in self._ways if way.direction == "in"])
        for way in reversed(self._ways):
            if way.client is None:
                continue
            if way.direction == "out" or self._receive is None:
                way.client.delete()
            else:
                leave(way.client)
            way.client = None

    def _quieten(self, ways: Sequence[Way]) -> None:
        """Waits until no more messages come from some inputs."""
        if self._receive is None or not any(way.client is not None for way in ways):
            return
        began = perf_counter()
        while (now := perf_counter()) < began + _PATIENCE_S and now < _QUIET_S + max(began, *(w.heard for w in ways)):
            sleep(_QUIET_S / 6)

    # ---- watching -----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Polls for ports in its own thread, as no MIDI system reports a port that disappears."""
        while not self._closing:
            # A port may disappear while we are using it; the next poll will notice.
            with suppress(MidiError, RuntimeError, UserError):
                self._look()
            self._wake.wait(self._patience())
            self._wake.clear()

    def _patience(self) -> float | None:
        """Seconds until the next poll; None if only an event needs to wake us."""
        complete = all(way.client is not None for way in self._ways)
        return None if complete and not any(way.named for way in self._ways) else _LOOK_S

    def _look(self) -> None:
        for way in self._ways:
            if way.client is None:
                self._create(way)
            self._find(way)

    def _find(self, way: Way) -> None:
        """Notices that a port disappeared, or reconnects it."""
        name = way.found(names_of(way.client), self._api) if way.named is not None else None
        here = way.named is None or name is not None
        if way.there and not here:
            if way.direction == "in":
                # As in `jack_ports`: the output of the same device goes first.
                sleep(GOES_S)
                for out in (each for each in self._ways if each.direction == "out" and each.client is not None):
                    self._find(out)
            self._tell(way, there=False)
        elif here and not way.there:
            if way.direction == "in":
                # A truncated SysEx message leaves rtmidi waiting for its end for ever: use a new client.
                self._quieten([way])
                way.client.close_port()
                way.client.delete()
                self._create(way)
            else:
                way.client.close_port()
            self._lead(way, name)
            way.sought = False
            self._listen(way)
            sleep(_JOIN_S)
            self._tell(way, there=True)

    def _tell(self, way: Way, *, there: bool) -> None:
        """Reports that a port disappeared or came back, and stops sending to an output that disappeared."""
        if way.shows:
            # Not reported: the music does not depend on controller feedback.
            with self._lock:
                way.there = there
            return
        if way.direction == "out" and not there:
            with self._lock:
                self._outs.pop(way.part, None)
        # As in `jack_ports`.
        from rtgen.instrument.events import Plugged

        if way.there != there:
            way.there = there
            self._changed(Plugged(way.direction, way.number, way.title, there))


def _callback(
    way: Way, receive: Receive, closing: Callable[[], bool]
) -> Callable[[tuple[list[int], float], Any], None]:
    def callback(event: tuple[list[int], float], _: Any) -> None:
        # Take the time first: rtmidi's own delta times are not reliable on every system.
        way.heard = now = perf_counter()
        if not closing():
            receive(now, way.number, bytes(event[0]))

    return callback
