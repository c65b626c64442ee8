"""A JACK client that watches the server: whether it is there, which ports it has, and what is connected.

It has no ports and is never activated, so it takes no part in the server's cycle. rtgen's own ports are in a process of
their own (`rtgen.rig.midi.cycle`).

At exit, nothing is closed while the server is alive: libjack closes a client by cancelling its threads wherever they
are, and at the wrong place C++ terminates the program (jack2 issue 964; one exit of rtgen in 170 on a busy machine, as
each client that closes wakes the threads of the others). The server cleans up after us.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Literal

_NO_START_SERVER = 1
_MIDI = b"8 bit raw midi"
# JackPortFlags: a port that plays is an output for the server, and so an input for us.
_FLAGS = {"in": 2, "out": 1}
_Shutdown = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_library: ctypes.CDLL | None = None
_where = ""
_present: Onlooker | None = None


LIBRARIES = {
    "linux": ("libjack.so.0",),
    "darwin": ("/opt/homebrew/lib/libjack.dylib", "/usr/local/lib/libjack.dylib", "libjack.dylib"),
}
"""Where libjack is. The system's own comes first: `pw-jack` replaces it by PipeWire's."""


def where() -> str:
    """Returns the file that libjack is loaded from.

    Raises:
        ConnectionError: there is none.
    """
    _load()
    return _where


def _found() -> ctypes.CDLL:
    global _where
    for name in LIBRARIES.get(sys.platform, ()):
        with suppress(OSError):
            library = ctypes.CDLL(name)
            _where = name
            return library
    # rtmidi may bring one of its own. Symbols are looked up in its dependencies too.
    with suppress(ImportError, OSError, AttributeError):
        import rtmidi._rtmidi

        library = ctypes.CDLL(rtmidi._rtmidi.__file__)
        if library.jack_client_open:
            _where = str(rtmidi._rtmidi.__file__)
            return library
    raise ConnectionError("no libjack")


def _load() -> ctypes.CDLL:
    global _library
    if _library is None:
        library = _found()
        client = ctypes.c_void_p
        library.jack_client_open.restype = client
        library.jack_client_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
        library.jack_client_close.argtypes = [client]
        library.jack_on_info_shutdown.argtypes = [client, _Shutdown, ctypes.c_void_p]
        names = ctypes.POINTER(ctypes.c_char_p)
        library.jack_get_ports.argtypes = [client, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong]
        library.jack_get_ports.restype = names
        library.jack_free.argtypes = [names]
        library.jack_port_by_name.argtypes = [client, ctypes.c_char_p]
        library.jack_port_by_name.restype = client
        library.jack_port_get_all_connections.argtypes = [client, client]
        library.jack_port_get_all_connections.restype = names
        for connect in library.jack_connect, library.jack_disconnect:
            connect.argtypes = [client, ctypes.c_char_p, ctypes.c_char_p]
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
        ConnectionError: no server is running, or there is no libjack.
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

    def names(self, direction: Literal["in", "out"]) -> list[str]:
        """Returns the names of the server's MIDI inputs or outputs, from our point of view."""
        ports = self._listed(self._jack.jack_get_ports(self._client, None, _MIDI, _FLAGS[direction]))
        return [name.decode(errors="replace") for name in ports]

    def connections(self, client: str, direction: Literal["in", "out"]) -> list[str]:
        """Returns what is connected to the MIDI inputs or outputs of a client, whose own point of view counts."""
        return [other.decode(errors="replace") for _, other in self._pairs(client, direction)]

    def connect(self, source: str, target: str) -> bool:
        """Connects an output to an input; returns whether they are connected now."""
        failed = self._jack.jack_connect(self._client, source.encode(), target.encode())
        return failed in (0, errno.EEXIST)

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
