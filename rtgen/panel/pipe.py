"""The pipes between the panel and the daemon that started it: lines of JSON, see `rtgen.rig.midi.page_ports`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

_MOST = 2**16


class Pipe:
    """Standard input and output of the panel; the process ends when its input does, whatever it is doing."""

    def __init__(self) -> None:
        self._heard: Callable[[bytes], None] = lambda _: None
        threading.Thread(target=self._read, name="pipe", daemon=True).start()

    def listen(self, loop: asyncio.AbstractEventLoop, hear: Callable[[str], None]) -> None:
        """Pass whole lines to `hear`, in the thread of `loop`; those that came before are left out."""

        def heard(lines: bytes) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(hear, lines.decode("ascii", errors="replace"))

        self._heard = heard

    def send(self, at: float, message: bytes) -> None:
        """Send a message that was played at `at`, in seconds of `perf_counter`."""
        with suppress(OSError):
            sys.stdout.write(json.dumps([at, *message]) + "\n")
            sys.stdout.flush()

    def _read(self) -> None:
        rest = b""
        with suppress(OSError):
            while data := os.read(0, _MOST):
                lines, found, rest = (rest + data).rpartition(b"\n")
                if found:
                    self._heard(lines)
        os._exit(0)
