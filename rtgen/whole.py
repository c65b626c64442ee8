"""Reads and writes whole files: a reader never sees half of one, and a failed write leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
        partial.replace(path)
    except BaseException as error:
        _remove(partial)
        if isinstance(error, OSError):
            raise UserError(f"{path} cannot be written ({error.strerror or error}); {cure}") from error
        raise


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the folder is gone, or nobody may write to it: nothing was left there
