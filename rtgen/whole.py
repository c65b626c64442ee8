"""Writes files whole or not at all: a reader never sees half of one, and a failed write leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid
from pathlib import Path
from threading import get_ident

from rtgen.errors import UserError


@contextmanager
def written(path: Path, cure: str = "choose another folder", *, parents: bool = False) -> Iterator[Path]:
    """Yields a temporary file beside `path` to write to; it replaces `path` once the block ends without an error.

    Args:
        path: the file to write.
        cure: what the player can do if it cannot be written; ends the sentence.
        parents: whether to create its folder.

    Raises:
        UserError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{getpid()}.{get_ident()}.part")
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
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
