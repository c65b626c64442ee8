"""MIDI ports of a JACK server, exact to the frame: the process with the client, and the watch over it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter, sleep

from rtgen.errors import UserError
from rtgen.rig.apart import GROUP
from rtgen.rig.midi.cycle import ASK, RECORD, TAKE_BACK
from rtgen.rig.midi.jack import Onlooker, onlooker
from rtgen.rig.midi.ring import LONGEST, Ring, share
from rtgen.rig.midi.ways import GOES_S, SYSTEMS, Changed, Connection, Patch, Receive, Way, title
from rtgen.rig.realtime import prefer_this_thread

AHEAD_S = 0.005
"""How long before it is due a message is sent: longer than a busy machine lets the real-time loop wait."""
_LOOK_S = 0.2
"""Polling interval for ports that may disappear, and for a server."""
_FLUSH_S = 0.002
_JOIN_S = 0.05
"""Wait after connecting two ports: the server may need one more period, and messages sent before that are lost."""
_END_S = 0.5
"""Longest wait for the last messages to leave."""
_MOST = RECORD.size * 128
_MOST_EARLY = 1024
"""Messages that are kept until somebody listens."""


class _Client:
    """The process with the JACK clients, the ring to it and the pipe from it.

    Args:
        name: of the client.
        inputs: names of its inputs.
        outputs: names of its outputs.
        hear: called with what arrives, from a thread.
        lost: called from that thread when the process has ended.

    Raises:
        OSError: the process could not be started, or the server refuses it.
    """

    def __init__(
        self, name: str, inputs: Sequence[str], outputs: Sequence[str], hear: Receive, lost: Callable[[], None]
    ) -> None:
        self._hear, self._lost = hear, lost
        self.ended = False
        """Whether the process has ended."""
        self._waiting: deque[tuple[float, int, bytes]] = deque()
        self._lock = threading.Lock()
        self._empty = threading.Event()
        ports = ["".join(f"{each}\n" for each in names) for names in (inputs, outputs)]
        source, (self._source, sink) = share(), os.pipe()
        try:
            self._ring = Ring(source)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rtgen.rig.midi.cycle", name, *ports, str(source), str(sink), onlooker().where],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
                pass_fds=(source, sink),
                process_group=GROUP,
            )
        except BaseException:
            os.close(self._source)
            raise
        finally:
            os.close(source)
            os.close(sink)
        assert self._process.stdout is not None
        self.inputs, _, self.outputs = self._process.stdout.readline().strip().partition("\t")
        """Names of the JACK clients; the server adds a number where another has it."""
        threading.Thread(target=self._read, name="JACK", daemon=True).start()
        if not self.outputs:
            self.kill()
            raise OSError("the JACK server refuses a client")

    def listen(self) -> None:
        """Opens the inputs; until then there are the outputs only.

        Raises:
            OSError: the server refuses, or the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        if not self._process.stdout.readline():
            raise OSError("the JACK server refuses an input")

    def of(self, way: Way) -> str:
        """The name of the JACK client that a port belongs to."""
        return self.outputs if way.direction == "out" else self.inputs

    def send(self, at: float, number: int, data: bytes = b"") -> None:
        """Sends a record; never blocks. Too long messages are left out."""
        if len(data) > LONGEST:
            return
        with self._lock:
            if self._waiting or not self._ring.put(at, number, data):
                self._waiting.append((at, number, data))
                self._pass_on()

    @property
    def waiting(self) -> bool:
        """Whether there is something that had no room in the ring."""
        return bool(self._waiting)

    def flush(self) -> None:
        """Sends what had no room."""
        with self._lock:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting and self._ring.put(*self._waiting[0]):
            self._waiting.popleft()

    def leave(self) -> None:
        """Lets the process end once everything that was sent has left."""
        until = perf_counter() + _END_S
        self.send(0.0, ASK)
        while not self._empty.wait(_FLUSH_S) and perf_counter() < until and self._process.poll() is None:
            self.flush()
        assert self._process.stdin is not None
        self._lost = lambda: None
        with suppress(OSError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self.kill()

    def kill(self) -> None:
        """Ends the process at once, as when its server is gone."""
        self._lost = lambda: None
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        prefer_this_thread()
        while records := os.read(self._source, _MOST):
            for at, number, size, data in RECORD.iter_unpack(records):
                if number == ASK:
                    self._empty.set()
                else:
                    self._hear(at, number, data[:size])
        os.close(self._source)
        self.ended = True
        self._lost()


class JackPorts:
    """Ports of a JACK server: our own, and those that they are to be connected to.

    A named port that disappears is watched for and connected again by its name. When the server ends, all ports go with
    it; they are opened again on the next server of that name. What is sent in the meantime is dropped.

    Args:
        patch: what to open and to connect.

    Raises:
        UserError: a port is missing, or the server has stopped.
    """

    ahead_s = AHEAD_S

    def __init__(self, patch: Patch) -> None:
        self._name = patch.name
        self._ways = patch.ways()
        self._ins, self._outs = ([way for way in self._ways if way.direction == which] for which in ("in", "out"))
        self._numbers = {way.part: number for number, way in enumerate(self._outs) if not way.shows}
        self.parts = tuple(patch.parts)
        self._receive: Receive | None = None
        # What came before anybody listened.
        self._early: list[tuple[float, int, bytes]] | None = []
        self._listening = threading.Lock()
        self._changed: Changed = lambda _: None
        self._server: Onlooker | None = None
        self._client: _Client | None = None
        self._wake = threading.Event()
        self._closing = False
        self._watcher = threading.Thread(target=self._watch, name="ports", daemon=True)
        try:
            self._begin().listen()
        except OSError as error:
            raise UserError(f"MIDI system {SYSTEMS['jack']} has stopped; restart it") from error
        try:
            for way in self._ways:
                if way.named is None:
                    continue
                if (target := patch.target(way, self._names(way), self._ways)) is None:
                    continue
                way.named = target
                if not self._connect(way):
                    raise UserError(f"MIDI port {way.named!r} has just disappeared; reconnect it")
        except BaseException:
            self.close()
            raise

    @property
    def title(self) -> str:
        """The names of the ports that are open, for the player."""
        return title(self._ways, "jack")

    @property
    def awaited(self) -> list[str]:
        """The names of ports that have never been found so far."""
        return [way.title for way in self._ways if way.sought]

    def connections(self) -> list[Connection]:
        """Returns our ports, and what is connected to them. From any thread."""
        server, client = self._server, self._client
        if server is None or not server.alive or client is None:
            return [way.connection(None) for way in self._ways]
        return [
            way.connection(tuple(server.connections(self._full(way, client))) if way.named is None else None)
            for way in self._ways
        ]

    def open(self, receive: Receive, changed: Changed = lambda _: None) -> None:
        """Starts listening, and reports ports that disappear or come back."""
        self._changed = changed
        with self._listening:
            early, self._early = self._early, None
            for message in early or ():
                receive(*message)
            self._receive = receive
        self._watcher.start()

    def send(self, at: float, data: bytes, part: str = "") -> None:
        """Sends a message that is due at `at` seconds, or drops it while the output is gone. Never blocks or raises."""
        client, number = self._client, self._numbers[part]
        if client is not None and self._outs[number].there:
            client.send(at, number, data)
            if client.waiting:
                self._wake.set()

    def take_back(self, now: float) -> None:
        """Lets no note begin, and no clock leave, that is planned for later than `now` (seconds)."""
        client = self._client
        if client is not None:
            client.send(now, TAKE_BACK)

    def echo(self, port: int, data: bytes) -> None:
        """Sends feedback to the controller at an input, or drops it if there is none. Never blocks or raises."""
        client = self._client
        for number, way in enumerate(self._outs):
            if client is not None and way.shows and way.number == port and way.there:
                client.send(perf_counter(), number, data)

    def close(self) -> None:
        """Sends what waits, and closes the ports."""
        self._closing = True
        self._wake.set()
        if self._watcher.ident is not None:
            self._watcher.join(5.0)
        self._receive = None
        client, self._client = self._client, None
        if client is not None:
            (client.leave if self._server is not None and self._server.alive else client.kill)()
        if self._server is not None and not self._server.alive:
            self._server.close()
        self._server = None

    # ---- the client and its connections -----------------------------------------------------------------------------

    def _begin(self) -> _Client:
        """Opens our outputs on the server.

        Raises:
            OSError: no server is running, or it refuses.
        """
        self._server = onlooker()
        self._server.ended = self._wake.set
        self._client = _Client(
            self._name,
            [self._own(way) for way in self._ins],
            [self._own(way) for way in self._outs],
            self._hear,
            self._wake.set,
        )
        return self._client

    def _own(self, way: Way) -> str:
        """The name of our port, without the client's."""
        number = f" {way.number + 1}" if way.number else ""
        return f"{self._name} {way.role}{number}"

    def _full(self, way: Way, client: _Client) -> str:
        """The name of our port, with that of the client."""
        return f"{client.of(way)}:{self._own(way)}"

    def _hear(self, at: float, number: int, data: bytes) -> None:
        if self._early is not None:
            with self._listening:
                if self._early is not None:
                    self._early.append((at, number, data))
                    del self._early[:-_MOST_EARLY]
                    return
        receive = self._receive
        if receive is not None and not self._closing:
            receive(at, number, data)

    def _names(self, way: Way) -> list[str]:
        return self._server.names(way.direction) if self._server is not None and self._server.alive else []

    def _connect(self, way: Way) -> bool:
        assert self._server is not None
        assert self._client is not None
        assert way.named is not None
        ours = self._full(way, self._client)
        return self._server.connect(*((ours, way.named) if way.direction == "out" else (way.named, ours)))

    # ---- watching ---------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Polls for named ports in its own thread, and notices when the server or our client ends."""
        while not self._closing:
            with suppress(OSError, UserError):
                self._look()
            self._wake.wait(self._patience())
            self._wake.clear()

    def _patience(self) -> float | None:
        """Seconds until the next look; None if only an event needs to wake us."""
        if self._client is not None and self._client.waiting:
            return _FLUSH_S
        return _LOOK_S if self._client is None or any(way.named for way in self._ways) else None

    def _look(self) -> None:
        server, client = self._server, self._client
        if server is None or not server.alive or client is None or client.ended:
            self._lost()
            if self._closing or self._lingers():
                return
            client = self._begin()
            for way in self._outs:
                self._find(way)
            client.listen()
        elif client.waiting:
            client.flush()
        for way in self._ways:
            self._find(way)

    def _lost(self) -> None:
        """Handles the end of the server or our client: all clients of a server must be gone before another is used."""
        for way in self._ways:
            self._tell(way, there=False)
        client, self._client = self._client, None
        if client is not None:
            client.kill()
        if self._server is not None and not self._server.alive:
            self._server.close()
        self._server = None

    def _lingers(self) -> bool:
        """Whether the server still shows the ports of a client that is gone; another would not get its name."""
        with suppress(ConnectionError):
            ports = {port for direction in ("in", "out") for port in onlooker().names(direction)}
            return any(f"{self._name}-{way.direction}:{self._own(way)}" in ports for way in self._ways)
        return False

    def _find(self, way: Way) -> None:
        """Notices that a port disappeared, or connects it again."""
        name = way.found(self._names(way), "jack") if way.named is not None else None
        here = way.named is None or name is not None
        if way.there and not here:
            if way.direction == "in":
                # A device takes its ports along one by one. What its keys held must not be ended at an output that is
                # about to go as well.
                sleep(GOES_S)
                for out in self._outs:
                    self._find(out)
            self._tell(way, there=False)
        elif here and not way.there:
            if name is not None:
                way.named = name
                if not self._connect(way):
                    return
                sleep(_JOIN_S)
            way.sought = False
            self._tell(way, there=True)

    def _tell(self, way: Way, *, there: bool) -> None:
        """Reports that a port disappeared or came back; of feedback to a controller the music does not depend."""
        # Ports are opened before the instrument is imported.
        from rtgen.instrument.events import Plugged

        if way.there != there and not way.part:
            way.there = there
            if not way.shows:
                self._changed(Plugged(way.direction, way.number, way.title, there))
