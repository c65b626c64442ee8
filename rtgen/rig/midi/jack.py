"""JACK server state that rtmidi does not report: whether the server has ended, and its current cycle.

rtmidi lists the ports of a dead server as if it were alive, and blocks the whole program when more is sent than its
buffer holds. So we open an extra client: without ports and never activated, so that it takes no part in the server's
cycle. It uses the same libjack that rtmidi has loaded.

At exit, nothing is closed while the server is alive: libjack closes a client by cancelling its threads wherever they
are, and at the wrong place C++ terminates the program (jack2 issue 964; one exit of rtgen in 170 on a busy machine, as
each client that closes wakes the threads of the others). The server cleans up after us.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Literal

_NO_START_SERVER = 1
_MIDI = b"8 bit raw midi"
# JackPortFlags: a port that plays is an output for the server, and so an input for us.
_FLAGS = {"in": 2, "out": 1}
_Shutdown = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_library: ctypes.CDLL | None = None
_present: Onlooker | None = None


def _load() -> ctypes.CDLL:
    global _library
    if _library is None:
        import rtmidi._rtmidi

        # Symbols are looked up in its dependencies too, so this finds the libjack that rtmidi is linked with.
        library = ctypes.CDLL(rtmidi._rtmidi.__file__)
        client = ctypes.c_void_p
        library.jack_client_open.restype = client
        library.jack_client_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
        library.jack_client_close.argtypes = [client]
        library.jack_on_info_shutdown.argtypes = [client, _Shutdown, ctypes.c_void_p]
        library.jack_last_frame_time.argtypes = [client]
        library.jack_last_frame_time.restype = ctypes.c_uint32
        names = ctypes.POINTER(ctypes.c_char_p)
        library.jack_get_ports.argtypes = [client, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong]
        library.jack_get_ports.restype = names
        library.jack_free.argtypes = [names]
        library.jack_port_by_name.argtypes = [client, ctypes.c_char_p]
        library.jack_port_by_name.restype = client
        library.jack_port_get_all_connections.argtypes = [client, client]
        library.jack_port_get_all_connections.restype = names
        library.jack_disconnect.argtypes = [client, ctypes.c_char_p, ctypes.c_char_p]
        if sys.platform != "win32":
            # Silence libjack: rtgen reports its errors more clearly, and it logs for minutes after a server died.
            # `strlen` takes a string, has no effect, and needs no Python callback.
            nothing = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p)
            library.jack_set_error_function(nothing)
            library.jack_set_info_function(nothing)
        _library = library
    return _library


def onlooker() -> Onlooker:
    """Returns the onlooker of this process, opening it if needed.

    Raises:
        ConnectionError: no server is running.
    """
    global _present
    if _present is not None and not _present.alive:
        _present.close()
    if _present is None:
        _present = Onlooker()
    return _present


def leave(client: object) -> None:
    """Keeps an object alive until the process exits, so that rtmidi does not close its client when it is collected."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(client))


class Onlooker:
    """A JACK client without ports that watches the server.

    All clients of a dead server must be closed before another is opened: libjack frees memory that they still use.

    Raises:
        ConnectionError: no server is running.
    """

    def __init__(self) -> None:
        self._jack = _load()
        self.alive = True
        """Whether the server is still running."""
        self.ended: Callable[[], None] = lambda: None
        """Called from a libjack thread when the server ends."""
        # Kept alive for as long as libjack may call it.
        self._callback = _Shutdown(self._shut_down)
        os.environ.setdefault("JACK_NO_START_SERVER", "1")
        self._client = self._jack.jack_client_open(b"rtgen-watch", _NO_START_SERVER, None)
        if not self._client:
            raise ConnectionError("no JACK server")
        self._jack.jack_on_info_shutdown(self._client, self._callback, None)
        # libjack may call it until the process exits, even after this object is gone.
        leave(self._callback)

    def _shut_down(self, _code: int, _reason: bytes, _data: int) -> None:
        self.alive = False
        self.ended()

    @property
    def cycle(self) -> int:
        """The frame at which the current cycle began; it stops advancing when the server stops."""
        return int(self._jack.jack_last_frame_time(self._client))

    def names(self, direction: Literal["in", "out"]) -> list[str]:
        """Returns the names of the server's MIDI inputs or outputs, from our point of view."""
        ports = self._listed(self._jack.jack_get_ports(self._client, None, _MIDI, _FLAGS[direction]))
        return [name.decode(errors="replace") for name in ports]

    def connections(self, client: str, direction: Literal["in", "out"]) -> list[str]:
        """Returns what is connected to the MIDI inputs or outputs of a client, whose own point of view counts."""
        return [other.decode(errors="replace") for _, other in self._pairs(client, direction)]

    def disconnect(self, client: str) -> None:
        """Disconnects all MIDI inputs of a client, so that nothing more arrives there."""
        for port, other in list(self._pairs(client, "in")):
            self._jack.jack_disconnect(self._client, other, port)

    def _pairs(self, client: str, direction: Literal["in", "out"]) -> Iterator[tuple[bytes, bytes]]:
        """Yields the ports of a client, to whose name JACK may have added a number, with each that is connected."""
        ours = re.compile(rf"{re.escape(client)}(-\d+)?:".encode())
        # What is an output for us is an input of the client.
        flag = _FLAGS["out" if direction == "in" else "in"]
        for port in self._listed(self._jack.jack_get_ports(self._client, None, _MIDI, flag)):
            if ours.match(port) and (found := self._jack.jack_port_by_name(self._client, port)):
                for other in self._listed(self._jack.jack_port_get_all_connections(self._client, found)):
                    yield port, other

    def _listed(self, found: Any) -> list[bytes]:
        """Returns the names in an array of libjack's, and frees it."""
        names: list[bytes] = []
        if found:
            while (name := found[len(names)]) is not None:
                names.append(name)
            self._jack.jack_free(found)
        return names

    def close(self) -> None:
        """Closes the client; only to be called once the server has ended."""
        global _present
        _present = None
        self._jack.jack_client_close(self._client)


class Room:
    """The room left in rtmidi's output buffer during the current JACK cycle.

    rtmidi buffers messages (16 KB) until the next cycle takes them, and blocks the whole program when the buffer is
    full. So whatever exceeds a cycle's share is queued here in order, and no note-off is lost.
    """

    # Half the buffer, as an asynchronous server may skip one of our cycles.
    BYTES = 8192

    def __init__(self) -> None:
        self._cycle: int | None = None
        self._left = self.BYTES
        self._waiting: deque[bytes] = deque()

    @property
    def waiting(self) -> bool:
        """Whether messages are queued for a later cycle."""
        return bool(self._waiting)

    def take(self, cycle: int, data: bytes) -> bool:
        """Returns whether a message may be sent now; otherwise queues it for `late`."""
        if not self._waiting and self._fits(cycle, data):
            return True
        self._waiting.append(data)
        return False

    def late(self, cycle: int) -> Iterator[bytes]:
        """Yields the queued messages that may be sent now."""
        while self._waiting and self._fits(cycle, self._waiting[0]):
            yield self._waiting.popleft()

    def _fits(self, cycle: int, data: bytes) -> bool:
        if cycle != self._cycle:
            self._cycle, self._left = cycle, self.BYTES
        if len(data) + 4 > self._left:  # rtmidi stores the length (4 bytes) with each message
            return False
        self._left -= len(data) + 4
        return True
