"""Runs a daemon's panel in a subprocess, so that the music goes on if the panel dies."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from rtgen.rig.apart import FLAGS, GROUP
from rtgen.rig.midi.page_ports import PagePorts

_PATIENCE_S = 3.0
"""Timeout for the panel to close its browser connections and exit."""
_TOGETHER_S = 0.5
"""Wait before reporting that the panel ended: if both processes were ended together, this one is gone by then."""
_CANNOT = 2
"""Exit status of a panel that cannot serve."""
_TRIES = 3
"""A page that ends so many times in a row before it is there is not tried again."""


class Page:
    """Serves the panel within a context; the panel also ends with this process, however that ends.

    Args:
        port: the port of the page.
        osc_port: the daemon's OSC port.
        say: called from a thread with a line for the player.
        ports: those of the daemon, if the page is its keyboard and sound; such a panel is started again if it ends.
        ready: called from a thread with the address of the page, each time that it is served.
        failed: called from a thread with the reason why there is no page.
    """

    def __init__(
        self,
        port: int,
        osc_port: int,
        say: Callable[[str], None],
        ports: PagePorts | None = None,
        ready: Callable[[str], None] = lambda _: None,
        failed: Callable[[str], None] | None = None,
    ) -> None:
        self._port, self._osc_port, self._say, self._ports = port, osc_port, say, ports
        self._ready, self._failed = ready, failed
        self._tries = 0
        self._closing = threading.Event()
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="panel", daemon=True)

    def __enter__(self) -> Self:
        self._process = self._start()
        self._thread.start()
        if self._ports is not None:
            self._writer = threading.Thread(target=self._pass_on, args=(self._ports,), name="to the page", daemon=True)
            self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._starting:
            self._closing.set()
        if self._ports is not None:
            self._ports.close()
            self._writer.join(_PATIENCE_S)
            if self._writer.is_alive():  # it cannot be closed while somebody writes
                self._process.kill()
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join(_PATIENCE_S)

    def _start(self) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        plays = ["play"] if self._ports is not None else []
        return subprocess.Popen(
            [sys.executable, "-m", "rtgen.panel", str(self._port), str(self._osc_port), *plays],
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            process_group=GROUP,  # Ctrl-C in the terminal must not reach it
            creationflags=FLAGS,
        )

    def _watch(self) -> None:
        while self._listen():
            with self._starting:
                if self._closing.is_set():
                    return
                self._process = self._start()

    def _listen(self) -> bool:
        """Takes what the panel says until it ends; returns whether to start another."""
        last = ""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if self._ports is not None and line.startswith("["):
                    self._ports.hear(line)
                    continue
                last = line.strip() or last
                if last.startswith("panel: "):
                    self._tries = 0
                    if self._ports is not None:
                        self._ports.there(True)
                    self._say(last)
                    self._ready(last.removeprefix("panel: "))
        if self._ports is not None:
            self._ports.there(False)
        status = self._process.wait()
        if self._closing.wait(_TOGETHER_S):
            return False
        if status == _CANNOT:
            if self._failed is not None:
                self._failed(last)
            else:
                self._say(f"{last}; the music goes on without a panel")
            return False
        if self._ports is not None:
            self._tries += 1
            if self._tries > _TRIES:
                why = f"the page cannot be served ({last or f'status {status}'}); run pip install 'rtgen[panel]' again"
                (self._failed or self._say)(why)
                return False
            self._say(f"the page has ended (status {status}); it is served again")
            return True
        another = f"rtgen panel --port {self._port} --osc {self._osc_port}"
        self._say(f"the panel has ended (status {status}); the music goes on, and '{another}' starts it again")
        return False

    def _pass_on(self, ports: PagePorts) -> None:
        """Writes what is sent to the page; what nobody takes is lost."""
        while (lines := ports.lines()) is not None:
            to = self._process.stdin
            assert to is not None
            with suppress(OSError, ValueError):  # the panel has ended
                to.write(lines)
                to.flush()
