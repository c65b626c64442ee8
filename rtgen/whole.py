"""Reads and writes whole files: a reader never sees half of one, and a failed write leaves nothing behind.

That holds after a power cut as well: what replaces a file is on the disk before it does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EINVAL
from os import getpid
from pathlib import Path
from stat import S_ISREG
from threading import get_ident

from rtgen.errors import UserError


def contents(path: Path, most: int) -> bytes | None:
    """Returns the contents of a file; None if there are more than `most` bytes.

    Raises:
        OSError: it cannot be read, or is a pipe, a device or a folder, from which reading might never return.
    """
    status = path.stat()
    if not S_ISREG(status.st_mode):
        raise OSError(EINVAL, "it is not a regular file")
    if status.st_size > most:
        return None
    with path.open("rb") as file:
        return file.read(status.st_size)  # whatever is added meanwhile


@contextmanager
def written(
    path: Path, cure: str = "choose another folder", *, parents: bool = False, private: bool = False
) -> Iterator[Path]:
    """Yields a temporary file beside `path` to write to; it replaces `path` once the block ends without an error.

    Args:
        path: the file to write.
        cure: what the player can do if it cannot be written; ends the sentence.
        parents: whether to create its folder.
        private: whether only its owner may read it.

    Raises:
        UserError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{getpid()}.{get_ident()}.part")
    try:
        if path.exists() and not path.is_file():
            # A file would take the place of a device or a pipe.
            raise UserError(f"{path} is not a regular file; choose another name")
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        if private:
            partial.touch(mode=0o600)
        yield partial
        with partial.open("r+b") as file:
            to_disk(file.fileno())
        partial.replace(path)
        folder_to_disk(path.parent)
    except BaseException as error:
        _remove(partial)
        if isinstance(error, OSError):
            raise UserError(f"{path} cannot be written ({error.strerror or error}); {cure}") from error
        raise


def to_disk(file: int) -> None:
    """Waits until what was written to a file is on the disk, where the system can tell; takes milliseconds or more.

    Args:
        file: its descriptor.
    """
    with suppress(OSError):  # not every file system can
        if sys.platform == "darwin":
            import fcntl

            fcntl.fcntl(file, fcntl.F_FULLFSYNC)  # fsync(2) leaves it in the disk's cache there
        elif sys.platform == "win32":
            os.fsync(file)
        else:
            os.fdatasync(file)


def folder_to_disk(folder: Path) -> None:
    """Waits until the names of the files in a folder are on the disk, where the system can tell."""
    if sys.platform == "win32":
        return  # which keeps them by itself
    with suppress(OSError):
        found = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(found)
        finally:
            os.close(found)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the folder is gone, or nobody may write to it: nothing was left there
