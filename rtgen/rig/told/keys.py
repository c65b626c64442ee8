"""The terminal's keys while rtgen waits for a first loop: Enter closes it, h and d correct its tempo."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Self

from rtgen.instrument.events import Pressed

_BUTTONS = {"": "close", "h": "half", "d": "double"}
SAYS = "Enter closes your first loop on the downbeat after it; h Enter halves the tempo, d Enter doubles it"
OTHERWISE = "play your first loop; press close on the downbeat after it ('rtgen press close', or a learned button)"
"""What is said where there is no terminal."""


class Keys:
    """A thread that reads lines from the terminal; it waits for them when the process ends, and ends with it.

    Args:
        hear: is called with every button that is pressed.
        source: file descriptor of the terminal.
    """

    def __init__(self, hear: Callable[[Pressed], None], source: int = 0) -> None:
        self._hear, self._source = hear, source

    def __enter__(self) -> Self:
        threading.Thread(target=self._run, name="keys", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the thread alone: it cannot be woken on every system."""

    def _run(self) -> None:
        left = ""
        while True:
            try:
                # Not sys.stdin, whose lock the thread would hold when the process ends.
                data = os.read(self._source, 1024)
            except OSError:
                return
            if not data:
                return
            *lines, left = (left + data.decode("utf-8", "replace")).split("\n")
            left = left[-8:]
            for line in lines:
                if (button := _BUTTONS.get(line.strip().lower())) is not None:
                    self._hear(Pressed(button))
