"""A text log of what happens, for a rig without a screen."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

from rtgen.text import plain


class Log:
    """A text file to which lines are appended.

    A full disk or a missing folder never stops the music, nor keeps it from starting: lines are then lost, the player
    is told once, and the number of lost lines is logged as soon as the file can be written again.

    Args:
        path: the file to append to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._lost = 0

    def _open(self) -> TextIO:
        # A new file is for its owner alone.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        return os.fdopen(os.open(self._path, flags, 0o600), "a", encoding="utf-8")

    def write(self, line: str) -> str:
        """Appends a line with a timestamp; returns a message for the player, usually empty."""
        stamp = datetime.now().astimezone().isoformat(timespec="milliseconds")
        try:
            if self._file is None or not self._path.exists():
                self._shut()
                self._file = self._open()
            if self._lost:
                self._file.write(f"{stamp} {self._lost} lines are missing here, as the file could not be written\n")
            self._file.write(f"{stamp} {plain(line)}\n")
            self._file.flush()
        except OSError as error:
            self._shut()
            self._lost += 1
            if self._lost > 1:
                return ""
            return (
                f"the log {self._path} cannot be written ({error.strerror}); check the disk, "
                "the music goes on but lines are lost"
            )
        self._lost = 0
        return ""

    def close(self) -> None:
        """Closes the file."""
        self._shut()

    def _shut(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                # Closing flushes what could not be written, which may fail again.
                file.close()
