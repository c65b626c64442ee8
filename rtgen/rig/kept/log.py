"""What happened, in a file: for a rig without a screen."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

from rtgen.errors import UserError


class Log:
    """A text file to which a line is added whenever something happens.

    A disk that is full or a folder that is gone never stops the music: lines are then lost, the player is told so once,
    and as soon as the file can be written again it says how many.

    Args:
        path: the file; what is in it stays.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._lost = 0
        try:
            self._file = self._open()
        except OSError as error:
            raise UserError(
                f"The log {path} cannot be written ({error.strerror}); choose another --log FILE"
            ) from error

    def _open(self) -> TextIO:
        return self._path.open("a", encoding="utf-8")

    def write(self, line: str) -> str:
        """Adds a line with the time of day; returns what the player should be told, usually nothing."""
        stamp = datetime.now().astimezone().isoformat(timespec="milliseconds")
        try:
            if self._file is None or not self._path.exists():
                self._shut()
                self._file = self._open()
            if self._lost:
                self._file.write(f"{stamp} {self._lost} lines are missing here: the file could not be written\n")
            self._file.write(f"{stamp} {line}\n")
            self._file.flush()
        except OSError as error:
            self._shut()
            self._lost += 1
            if self._lost > 1:
                return ""
            return f"the log {self._path} cannot be written ({error.strerror}); the music goes on, lines are lost"
        self._lost = 0
        return ""

    def close(self) -> None:
        """Closes the file."""
        self._shut()

    def _shut(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                # What could not be written stays in its buffer, and fails again here.
                file.close()
