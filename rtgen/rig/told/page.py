"""Runs a daemon's panel in a subprocess, so that the music goes on if the panel dies."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from rtgen.rig.apart import FLAGS, GROUP

_PATIENCE_S = 3.0
"""Timeout for the panel to close its browser connections and exit."""
_TOGETHER_S = 0.5
"""Wait before reporting that the panel ended: if both processes were ended together, this one is gone by then."""


class Page:
    """Serves the panel within a context; the panel also ends with this process, however that ends.

    Args:
        port: the port of the page.
        osc_port: the daemon's OSC port.
        say: called from a thread with a line for the player.
    """

    def __init__(self, port: int, osc_port: int, say: Callable[[str], None]) -> None:
        self._port, self._osc_port, self._say = port, osc_port, say
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="panel", daemon=True)

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rtgen.panel", str(self._port), str(self._osc_port)],
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            process_group=GROUP,  # Ctrl-C in the terminal must not reach it
            creationflags=FLAGS,
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join(_PATIENCE_S)

    def _listen(self) -> None:
        """Reports the address of the page, and the panel's exit unless it was asked to."""
        last = ""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                last = line.strip() or last
                if last.startswith("panel: "):
                    self._say(last)
        status = self._process.wait()
        if self._closing.wait(_TOGETHER_S):
            return
        if status == 2:
            self._say(f"{last}; the music goes on without a panel")
        else:
            another = f"rtgen panel --port {self._port} --osc {self._osc_port}"
            self._say(f"the panel has ended (status {status}); the music goes on, and '{another}' starts it again")
