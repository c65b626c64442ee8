"""A folder, on disk or wherever fsspec reaches (`s3://bucket/loops`); files in it appear whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import fsspec

from rtgen.errors import UserError


class Folder:
    """A place for files.

    Args:
        path: a path, or a URL that fsspec knows.
    """

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        self.system, self.path = fsspec.core.url_to_fs(self.name)

    def at(self, name: str) -> str:
        """The path of a file in it, as `system` takes it."""
        return f"{self.path}/{name}"

    def sub(self, name: str) -> Folder:
        """A folder in it."""
        return Folder(f"{self.name}/{name}")

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self.system.exists(self.at(name)))

    def names(self) -> list[str]:
        """Of the files in it, sorted; none where there is no such folder."""
        try:
            found = self.system.ls(self.path, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(str(p).rstrip("/").rpartition("/")[2] for p in found)

    def write(self, name: str, fill: Callable[[IO[bytes]], Any]) -> None:
        """Writes a file with what `fill` puts into it.

        Raises:
            UserError: it cannot be written.
        """
        partial = f"{name}.{uuid4().hex}.part"  # another machine may be writing the same
        with self._sentences():
            self.system.makedirs(self.path, exist_ok=True)
            try:
                with self.system.open(self.at(partial), "wb") as file:
                    fill(file)
                self.system.mv(self.at(partial), self.at(name))
            except BaseException:
                if self.has(partial):
                    self.system.rm_file(self.at(partial))
                raise

    def move(self, name: str, other: Folder) -> None:
        """Moves a file to another folder, over what is there.

        Raises:
            UserError: it cannot be written.
        """
        with self._sentences():
            self.system.mv(self.at(name), other.at(name))

    def remove(self, name: str) -> None:
        """Removes a file if there is one."""
        if self.has(name):
            self.system.rm_file(self.at(name))

    def clear(self) -> None:
        """Removes the folder and all that is in it."""
        if "://" not in self.name:
            shutil.rmtree(self.path, ignore_errors=True)
        elif self.system.exists(self.path):
            self.system.rm(self.path, recursive=True)

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"{self.name} cannot be written ({reason}); make room or choose another folder") from error
