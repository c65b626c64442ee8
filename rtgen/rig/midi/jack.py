"""What rtmidi does not say about a JACK server: that it ended, and that its cycles go on.

rtmidi lists the ports of a server that is dead as if it lived, and hangs the whole program when more is sent to it than
its buffer holds. So a client of our own looks on: without ports and never activated, so that the server's cycle knows
nothing of it. It speaks to the same libjack that rtmidi has loaded.

Nothing is closed at the end, while the server lives: libjack closes a client by cancelling its threads wherever they
are, and where that is the wrong place C++ ends the program (jack2's issue 964; one end of rtgen in 170 on a busy
machine, as each client that goes makes the threads of the others stir). The server clears away what has been left.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal

_NO_START_SERVER = 1
_MIDI = b"8 bit raw midi"
# Whatever plays is an output of the server's, and so an input to us.
_FLAGS = {"in": 2, "out": 1}
_Shutdown = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_library: ctypes.CDLL | None = None
_present: Onlooker | None = None


def _load() -> ctypes.CDLL:
    global _library
    if _library is None:
        import rtmidi._rtmidi

        # Its dependencies are searched as well: whatever libjack it is linked with is found.
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
        if sys.platform != "win32":
            # What libjack says we say better, and it goes on for minutes when a server died. `strlen` takes a string
            # and does nothing with it, without our interpreter.
            nothing = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p)
            library.jack_set_error_function(nothing)
            library.jack_set_info_function(nothing)
        _library = library
    return _library


def onlooker() -> Onlooker:
    """The one that this program has.

    Raises:
        ConnectionError: there is no server.
    """
    global _present
    if _present is not None and not _present.alive:
        _present.close()
    if _present is None:
        _present = Onlooker()
    return _present


def leave(client: object) -> None:
    """Leaves a client of rtmidi's, which would close it when nobody holds it any more, to the end of the program."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(client))


class Onlooker:
    """A client that only looks on.

    All clients of a dead server must be closed before another is opened: libjack frees what they still use.

    Raises:
        ConnectionError: there is no server.
    """

    def __init__(self) -> None:
        self._jack = _load()
        self.alive = True
        """Whether the server has not ended."""
        self.ended: Callable[[], None] = lambda: None
        """Called when the server ends, from a thread of libjack's."""
        # Held for as long as libjack may call it.
        self._callback = _Shutdown(self._shut_down)
        os.environ.setdefault("JACK_NO_START_SERVER", "1")
        self._client = self._jack.jack_client_open(b"rtgen-watch", _NO_START_SERVER, None)
        if not self._client:
            raise ConnectionError("no JACK server")
        self._jack.jack_on_info_shutdown(self._client, self._callback, None)
        # Whoever holds it or not: libjack calls it for as long as the program runs.
        leave(self._callback)

    def _shut_down(self, _code: int, _reason: bytes, _data: int) -> None:
        self.alive = False
        self.ended()

    @property
    def cycle(self) -> int:
        """The frame at which the present cycle began; stands still with the server."""
        return int(self._jack.jack_last_frame_time(self._client))

    def names(self, direction: Literal["in", "out"]) -> list[str]:
        """What there is to hear, or to play to."""
        found = self._jack.jack_get_ports(self._client, None, _MIDI, _FLAGS[direction])
        if not found:
            return []
        names: list[str] = []
        while (name := found[len(names)]) is not None:
            names.append(name.decode(errors="replace"))
        self._jack.jack_free(found)
        return names

    def close(self) -> None:
        """Closes it, when the server has ended."""
        global _present
        _present = None
        self._jack.jack_client_close(self._client)


class Room:
    """How much more may be sent to JACK in its present cycle.

    rtmidi keeps what is sent in a buffer of 16 KB until the next cycle takes it, and when that is full waits, with the
    whole program. So what is too much for a cycle waits here instead, in order; no note-off is lost that way.
    """

    # Half of it: a cycle may be left out where the server does not wait for its clients.
    BYTES = 8192

    def __init__(self) -> None:
        self._cycle: int | None = None
        self._left = self.BYTES
        self._waiting: deque[bytes] = deque()

    @property
    def waiting(self) -> bool:
        """Whether something waits for a later cycle."""
        return bool(self._waiting)

    def take(self, cycle: int, data: bytes) -> bool:
        """Whether a message may be sent at once; else it is kept for `late`."""
        if not self._waiting and self._fits(cycle, data):
            return True
        self._waiting.append(data)
        return False

    def late(self, cycle: int) -> Iterator[bytes]:
        """What was kept and may be sent now."""
        while self._waiting and self._fits(cycle, self._waiting[0]):
            yield self._waiting.popleft()

    def _fits(self, cycle: int, data: bytes) -> bool:
        if cycle != self._cycle:
            self._cycle, self._left = cycle, self.BYTES
        if len(data) + 4 > self._left:  # each goes with its length
            return False
        self._left -= len(data) + 4
        return True
