"""Locks between processes that end with the process that holds them, however it ends."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

_FAR = 2**30
"""Windows keeps others from reading what is locked, so that a byte beyond the end of any file is."""


def hold(file: BinaryIO) -> bool:
    """Locks an open file until it is closed; returns whether no other process holds it.

    Where the file system knows no locks, nobody holds it.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            at = file.tell()
            file.seek(_FAR)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            finally:
                file.seek(at)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


def is_held(path: Path) -> bool:
    """Returns whether another process holds a file."""
    try:
        with path.open("rb") as file:
            return not hold(file)
    except OSError:
        return False
