"""A queue in memory that two processes share: one puts, the other takes, and neither ever waits or calls the system.

A pipe would cost the sender the interpreter lock at every message, which another thread then keeps for a while.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys

_COUNT = struct.Struct("<Q")
_RECORD = struct.Struct("<dQBB6s")
_ROOM = 8192
"""Records that fit in."""
_FIRST = 64
"""Where the records begin; before are the numbers of records that were put and taken so far."""
_PUT, _TAKEN = 0, 32
SIZE = _FIRST + _ROOM * _RECORD.size
LONGEST = 6
"""Bytes of data in a record."""


def share() -> int:
    """Return the file descriptor of memory for a ring, to be inherited by another process.

    Raises:
        OSError: there is no memory, or no disk, for it.
    """
    if sys.platform == "linux":
        fd = os.memfd_create("rtgen")
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, SIZE)
    return fd


class Ring:
    """One end of the queue.

    Args:
        fd: of the shared memory, from `share`; may be closed afterwards.
    """

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, SIZE)
        self._numbers = memoryview(self._memory)[:_FIRST].cast("Q")
        self._count = 0

    def has_news(self) -> bool:
        """Return whether there are records to take; costs least."""
        return self._numbers[_PUT] != self._count

    def put(self, at: float, number: int, data: bytes = b"") -> bool:
        """Put a record at the end; return False if there is no room."""
        if self._count - _COUNT.unpack_from(self._memory, _TAKEN)[0] >= _ROOM:
            return False
        place = _FIRST + self._count % _ROOM * _RECORD.size
        self._count += 1
        _RECORD.pack_into(self._memory, place, at, self._count, number, len(data), data)
        _COUNT.pack_into(self._memory, _PUT, self._count)
        return True

    def take(self) -> list[tuple[float, int, bytes]]:
        """Take all records that are there, oldest first: time, number and data."""
        until = _COUNT.unpack_from(self._memory, _PUT)[0]
        found: list[tuple[float, int, bytes]] = []
        if until == self._count:
            return found
        while self._count < until:
            at, count, number, size, data = _RECORD.unpack_from(
                self._memory, _FIRST + self._count % _ROOM * _RECORD.size
            )
            if count != self._count + 1:
                break  # a processor that writes in another order has not written it yet
            self._count += 1
            found.append((at, number, data[:size]))
        _COUNT.pack_into(self._memory, _TAKEN, self._count)
        return found
