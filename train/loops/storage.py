"""A folder on disk or on any fsspec file system (`s3://bucket/loops`), with atomic writes."""

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
    """A folder of files.

    Args:
        path: a path, or a URL that fsspec supports.
    """

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        self.system, self.path = fsspec.core.url_to_fs(self.name)

    def at(self, name: str) -> str:
        """Path of a file in the folder, as `system` expects it."""
        return f"{self.path}/{name}"

    def sub(self, name: str) -> Folder:
        """A subfolder."""
        return Folder(f"{self.name}/{name}")

    def has(self, name: str) -> bool:
        """Whether a file exists."""
        return bool(self.system.exists(self.at(name)))

    def names(self) -> list[str]:
        """Sorted names of the files in the folder; empty if it does not exist."""
        try:
            found = self.system.ls(self.path, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(str(p).rstrip("/").rpartition("/")[2] for p in found)

    def write(self, name: str, fill: Callable[[IO[bytes]], Any]) -> None:
        """Writes a file atomically with what `fill` puts into it.

        Raises:
            UserError: the file cannot be written.
        """
        partial = f"{name}.{uuid4().hex}.part"  # another machine may be writing the same file
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
        """Moves a file to another folder and replaces any file of that name there.

        Raises:
            UserError: the other folder cannot be written.
        """
        with self._sentences():
            self.system.mv(self.at(name), other.at(name))

    def remove(self, name: str) -> None:
        """Removes a file if it exists."""
        if self.has(name):
            self.system.rm_file(self.at(name))

    def clear(self) -> None:
        """Removes the folder and its contents."""
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
            raise UserError(
                f"{self.name} cannot be written ({reason}); free some space or choose another folder"
            ) from error
