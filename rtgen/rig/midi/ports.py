"""MIDI ports that are played on and to: opened, looked after, and opened anew when they were gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import Any, Protocol

from rtgen.errors import UserError
from rtgen.instrument.events import Plugged
from rtgen.rig.midi.jack import Onlooker, Room, leave, onlooker
from rtgen.rig.midi.systems import SYSTEMS, Choose, Direction, MidiError, match, names_of, open_client, same_port

Receive = Callable[[float, int, bytes], None]
"""Called with the arrival time (`perf_counter` seconds), the number of the input, and the bytes."""
Changed = Callable[[Plugged], None]
"""Called when a port went or is back."""
_LOOK_S = 0.2
"""How often ports that may go are looked for."""
_FLUSH_S = 0.002
_JOIN_S = 0.05
"""Until the server has joined two ports, at the latest one period later: what is sent before that is lost."""
_SETTLE_S = 0.005


class Ports(Protocol):
    """Inputs and an output, wherever they lead."""

    def open(self, receive: Receive, changed: Changed) -> None:
        """Opens them; from then on `receive` is called, from a thread of the system's, and `changed` from another."""

    def send(self, data: bytes) -> None:
        """Sends a message."""

    def echo(self, port: int, data: bytes) -> None:
        """Sends a message to the controller at an input, if it can be shown anything."""

    def close(self) -> None:
        """Closes them."""


@dataclass(slots=True)
class _Way:
    """A port that we have, or would like to have.

    Args:
        direction: whether we hear it or play to it.
        number: among the inputs; 0 for the output.
        named: the port of another program or a device that it leads to; None for a virtual one.
        title: what it is called.
        client: of rtmidi; None while there is no system.
        there: whether it leads anywhere now.
        sought: whether it never has, so that its name may be part of one.
        shows: whether it leads to a controller, which is shown how its knobs stand; the number is that of its input.
    """

    direction: Direction
    number: int
    named: str | None
    title: str
    client: Any = None
    there: bool = True
    sought: bool = False
    shows: bool = False


class SystemPorts:
    """Ports of the system: virtual ones of our own, or those that are named.

    A named port that goes is looked out for, and taken up again under its name, whatever its place in the list. When a
    JACK server ends, all ports go with it, and are opened anew on the next server of that name. What is sent in the
    meantime is dropped.

    Args:
        api: the MIDI system, as from `find_api`.
        name: what other programs call us.
        inputs: names of the inputs to listen to; None is a virtual one.
        output: name of the output; None makes a virtual one.
        choose: asks the player when a name is ambiguous.
        wait: whether a port that is not there, or not clear by its name, is waited for.
        shown: names of the outputs that lead to the controllers at the inputs, in their order.

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
        *,
        wait: bool = False,
        shown: Sequence[str] = (),
    ) -> None:
        self._api, self._name = api, name
        self._ways = [_Way("out", 0, output, output or f"{name} out")]
        self._ways += [_Way("in", number, i, i or f"{name} in") for number, i in enumerate(inputs)]
        self._ways += [_Way("out", number, name, name, shows=True) for number, name in enumerate(shown)]
        self.title = " and ".join([*(way.title for way in self._ways if way.direction == "in"), self._ways[0].title])
        self.title += f" ({SYSTEMS[api]})"
        """The ports, in words."""
        self._receive: Receive | None = None
        self._changed: Changed = lambda _: None
        self._server: Onlooker | None = None
        # The one client that is sent to, guarded: it must not be closed while a message is on its way into it.
        self._out: Any = None
        self._lock = threading.Lock()
        self._room = Room()
        self._wake = threading.Event()
        self._closing = False
        self._watcher = threading.Thread(target=self._watch, name="ports", daemon=True)
        try:
            if not self._look_on():
                raise UserError(f"MIDI system {SYSTEMS[api]} has stopped; start it again")
            for way in self._ways:
                self._create(way)
                target = None
                if way.named is not None:
                    names = names_of(way.client)
                    try:
                        target = names[match(way.named, names, f"{way.direction}put", choose)]
                    except UserError:
                        if not wait:
                            raise
                        way.there, way.sought = False, True
                        continue
                    self._refuse_twice(way, target)
                self._lead(way, target)
        except BaseException:
            self._delete_all()
            raise

    def open(self, receive: Receive, changed: Changed = lambda _: None) -> None:
        """Listens from now on, and tells when a port goes or is back."""
        self._receive, self._changed = receive, changed
        for way in self._ways:
            self._listen(way)
        self._watcher.start()

    @property
    def awaited(self) -> list[str]:
        """The names of ports that have not been there yet."""
        return [way.title for way in self._ways if way.sought]

    def send(self, data: bytes) -> None:
        """Sends a message, or drops it while the output is gone. Neither waits nor raises."""
        with self._lock:
            if self._out is None:
                return
            if self._server is None or self._room.take(self._server.cycle, data):
                self._out.send_message(data)
            else:
                self._wake.set()

    def echo(self, port: int, data: bytes) -> None:
        """Sends a message to the controller at an input, or drops it where there is none. Neither waits nor raises."""
        with self._lock, suppress(MidiError, RuntimeError):
            for way in self._ways:
                if way.shows and way.number == port and way.there and way.client is not None:
                    way.client.send_message(data)

    def close(self) -> None:
        """Listens no more, and closes the ports."""
        self._closing = True
        self._wake.set()
        if self._watcher.ident is not None:
            self._watcher.join(5.0)
        for _ in range(50):
            self._flush()
            if not self._room.waiting:
                break
            sleep(_FLUSH_S)
        self._delete_all()

    # ---- opening ------------------------------------------------------------------------------------------------

    def _look_on(self) -> bool:
        """Sees to it that a system's end is noticed, where it can end; whether there is a system."""
        if self._api != "jack":
            return True
        try:
            self._server = onlooker()
            self._server.ended = self._wake.set
        except ConnectionError:
            return False
        return True

    def _create(self, way: _Way) -> None:
        # JACK names a port by its client first, the others by the port alone: both must tell in from out.
        jack = self._api == "jack"
        apart = f"-{way.number}" if way.shows else ""
        name = f"{self._name}-{way.direction}{apart}" if jack else self._name
        way.client = open_client(way.direction, self._api, name)
        if way.client is None:
            raise UserError(f"MIDI system {SYSTEMS[self._api]} has stopped; start it again")

    def _lead(self, way: _Way, name: str | None) -> None:
        """Lets a port lead to the one of that name, or wait for others to connect."""
        title = f"{self._name} {'to controller' if way.shows else way.direction}"
        if name is not None:
            names = names_of(way.client)
            if name not in names:
                raise UserError(f"MIDI port {name!r} has just gone; connect it again")
            way.named = name
            way.client.open_port(names.index(name), title)
        elif self._api == "winmm":
            raise UserError(
                "Windows has no virtual MIDI ports of its own; create two with loopMIDI and name them by --in and --out"
            )
        else:
            way.client.open_virtual_port(title)
        if way.direction == "out" and not way.shows:
            with self._lock:
                self._out, self._room = way.client, Room()

    def _refuse_twice(self, way: _Way, name: str) -> None:
        """What is played would be heard twice."""
        before = [other.named for other in self._ways[: self._ways.index(way)] if other.direction == "in"]
        if way.direction == "in" and name in before:
            raise UserError(f"MIDI input {name!r} is named twice; name it once, or give more of the other's name")

    def _listen(self, way: _Way) -> None:
        if way.direction == "in" and self._receive is not None:
            way.client.ignore_types(sysex=True, timing=False, active_sense=True)
            way.client.set_callback(_callback(way.number, self._receive))

    def _delete_all(self) -> None:
        with self._lock:
            self._out = None
            for way in self._ways:
                way.there &= not way.shows
        for way in self._ways:
            if way.direction == "in" and way.client is not None:
                way.client.cancel_callback()
        # A callback may be waiting for this thread's turn to end; to delete its client now would wait for it in vain.
        sleep(_SETTLE_S)
        for way in reversed(self._ways):
            if way.client is not None:
                if self._server is not None and self._server.alive:
                    way.client.close_port()  # when what was sent has left
                    leave(way.client)
                else:
                    way.client.delete()
                way.client = None
        if self._server is not None:
            if not self._server.alive:
                self._server.close()
            self._server = None

    # ---- watching -----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """No system tells of a port that went: it is looked for, from a thread of its own."""
        while not self._closing:
            # It may go while we are about to use it; the next look will tell.
            with suppress(MidiError, RuntimeError, UserError):
                self._look()
            self._wake.wait(_FLUSH_S if self._room.waiting else self._patience())
            self._wake.clear()

    def _patience(self) -> float | None:
        """How long until the next look; None when whatever happens wakes us."""
        complete = all(way.client is not None for way in self._ways)
        return None if complete and not any(way.named for way in self._ways) else _LOOK_S

    def _look(self) -> None:
        if self._api == "jack" and not (self._server and self._server.alive):
            self._lost()
            if self._closing or not self._look_on():
                return
        for way in self._ways:
            if way.client is None:
                self._create(way)
            self._find(way)
        self._flush()

    def _lost(self) -> None:
        """The server has ended: all its clients must be gone before there is another."""
        for way in self._ways:
            self._tell(way, there=False)
        if self._server is not None:
            self._delete_all()

    def _find(self, way: _Way) -> None:
        """Notices that a port went, or takes it up again."""
        name = None
        if way.named is not None:
            names = names_of(way.client)
            # That it is not there yet is no error: it is looked for again.
            with suppress(UserError):
                index = match(way.named, names, "port") if way.sought else same_port(way.named, names, self._api)
                name = names[index] if index is not None else None
        here = way.named is None or name is not None
        if way.there and not here:
            self._tell(way, there=False)
        elif here and not way.there:
            way.client.close_port()
            if way.direction == "in":
                # rtmidi waits for the end of an exclusive message that was cut short, and hears nothing else, for ever.
                sleep(_SETTLE_S)
                way.client.delete()
                self._create(way)
            self._lead(way, name)
            way.sought = False
            self._listen(way)
            sleep(_JOIN_S)
            self._tell(way, there=True)

    def _tell(self, way: _Way, *, there: bool) -> None:
        """Says that a port went or is back; to an output that went nothing is sent any more."""
        if way.shows:
            # Nothing that is heard depends on it.
            with self._lock:
                way.there = there
            return
        if way.direction == "out" and not there:
            with self._lock:
                self._out = None
        if way.there != there:
            way.there = there
            self._changed(Plugged(way.direction, way.number, way.title, there))

    def _flush(self) -> None:
        with self._lock:
            if self._out is not None and self._server is not None and self._server.alive:
                for data in self._room.late(self._server.cycle):
                    self._out.send_message(data)


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

    def open(self, receive: Receive, changed: Changed = lambda _: None) -> None:  # noqa: ARG002
        """Passes on what is played from now on; these ports never go."""
        self._receive = receive

    def play(self, data: bytes) -> None:
        """Plays a message into the input."""
        if self._receive is not None:
            self._receive(perf_counter(), 0, data)

    def send(self, data: bytes) -> None:
        """Hands a message on."""
        self._sent(perf_counter(), data)

    def echo(self, port: int, data: bytes) -> None:
        """There is no controller to show anything."""

    def close(self) -> None:
        """Hears no more."""
        self._receive = None
