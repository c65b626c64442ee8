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
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal

_NO_START_SERVER = 1
_MIDI = b"8 bit raw midi"
# JackPortFlags: a port that plays is an output for the server, and so an input for us.
_FLAGS = {"in": 2, "out": 1}
_Shutdown = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_present: Onlooker | None = None
_PLACES = {
    "linux": (
        "libjack.so.0",
        # PipeWire's own, which programs find by themselves only where it has taken JACK's place.
        "/usr/lib/*/pipewire-0.3/jack/libjack.so.0",
        "/usr/lib64/pipewire-0.3/jack/libjack.so.0",
        "/usr/lib/pipewire-0.3/jack/libjack.so.0",
    ),
    "darwin": ("/opt/homebrew/lib/libjack.dylib", "/usr/local/lib/libjack.dylib", "libjack.dylib"),
}
"""Where libjack may be, by platform; the system's own comes first, or what `pw-jack` has put in its place."""


def _libraries() -> Iterator[str]:
    """Yields the files that may be libjack, those with a name to search for as they are."""
    for place in _PLACES.get(sys.platform, ()):
        yield from map(str, Path("/").glob(place[1:])) if place.startswith("/") else (place,)
    # python-rtmidi brings one in its wheels. Symbols are looked up in what a file depends on, too.
    with suppress(ImportError):
        import rtmidi._rtmidi

        yield str(rtmidi._rtmidi.__file__)


@cache
def _load(where: str) -> ctypes.CDLL:
    """Loads a libjack.

    Raises:
        OSError: there is none.
        AttributeError: it is none.
    """
    library = ctypes.CDLL(where)
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
    library.jack_connect.argtypes = [client, ctypes.c_char_p, ctypes.c_char_p]
    if sys.platform != "win32":
        # Silence libjack: rtgen reports its errors more clearly, and it logs for minutes after a server died.
        # `strlen` takes a string, has no effect, and needs no Python callback.
        nothing = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p)
        library.jack_set_error_function(nothing)
        library.jack_set_info_function(nothing)
    return library


def onlooker() -> Onlooker:
    """Returns the onlooker of this process, opening it if needed.

    Raises:
        ConnectionError: no server is running.
    """
    global _present
    if _present is not None and not _present.alive:
        _present.close()
    if _present is None:
        for where in _libraries():
            with suppress(OSError, AttributeError, ConnectionError):
                _present = Onlooker(where)
                break
        else:
            raise ConnectionError("no JACK server")
    return _present


def leave(client: object) -> None:
    """Keeps an object alive until the process exits, so that rtmidi does not close its client when it is collected."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(client))


class Onlooker:
    """A JACK client without ports that watches the server.

    All clients of a dead server must be closed before another is opened: libjack frees memory that they still use.

    Args:
        where: the file of libjack.

    Raises:
        ConnectionError: no server is running.
        OSError: there is no such file.
        AttributeError: it is not libjack.
    """

    def __init__(self, where: str) -> None:
        self._jack = _load(where)
        self.where = where
        """The file of libjack."""
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

    def connections(self, port: str) -> list[str]:
        """Returns what is connected to a port; nothing if there is no such port."""
        found = self._jack.jack_port_by_name(self._client, port.encode())
        others = self._listed(self._jack.jack_port_get_all_connections(self._client, found)) if found else ()
        return [other.decode(errors="replace") for other in others]

    def connect(self, source: str, target: str) -> bool:
        """Connects an output to an input; returns whether they are connected now."""
        failed = self._jack.jack_connect(self._client, source.encode(), target.encode())
        return failed in (0, errno.EEXIST)

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
