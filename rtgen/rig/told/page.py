"""The panel of a daemon, as a process of its own: it may die, and the music does not notice."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

_PATIENCE_S = 3.0
"""How long it may take to let the browsers go and end."""
_TOGETHER_S = 0.5
"""Whoever ends both of us at once has ended this process, too, by then."""


class Page:
    """Has the panel served, until this is left or this process ends, by whatever.

    Args:
        port: of the page.
        osc_port: where the daemon listens.
        say: tells the player; called from a thread.
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
            start_new_session=True,  # the terminal's Ctrl-C is for us
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
        """Says its address; and when it ends by itself, that it did."""
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
            self._say(f"the panel has ended (status {status}); the music goes on, and '{another}' serves another")
