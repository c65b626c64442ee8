"""Keeps Ctrl-C in the terminal from subprocesses, and tells the program when the system wants it to end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GROUP: int | None = None if sys.platform == "win32" else 0
"""`process_group` of a subprocess: a new one, so that the terminal's signals do not reach it."""
FLAGS: int = 0
"""`creationflags` of a subprocess, for the same purpose on Windows."""
if sys.platform == "win32":
    FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP
_CLOSING = frozenset({2, 5, 6})
"""Windows console events after which the process is ended: the console is closed, log-off, shutdown."""
_GRACE_S = 4.5
"""Windows ends the process five seconds after the event, or as soon as its handler returns."""


def unwind() -> None:
    """Lets SIGTERM and a closed terminal end the program as Ctrl-C does, so that notes are ended and files closed."""
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _leave)


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


@contextmanager
def ending(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` when the program is to end: Ctrl-C, a signal, or the terminal is closed.

    The context is left when everything has been ended; on Windows the system is made to wait for that. Only the main
    thread may enter it.

    Args:
        stop: called in a signal handler, or in a thread of the system.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        # `nohup` has SIGHUP ignored.
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
            signal.signal(number, lambda *_: stop())
    if sys.platform != "win32":
        yield
        return
    import ctypes

    ended = threading.Event()

    def handle(event: int) -> int:
        if event not in _CLOSING:
            return False  # Python handles Ctrl-C and Ctrl-Break
        stop()
        ended.wait(_GRACE_S)
        return True

    console, handler = ctypes.WinDLL("kernel32"), ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_uint)(handle)
    console.SetConsoleCtrlHandler(handler, True)
    try:
        yield
    finally:
        ended.set()
        console.SetConsoleCtrlHandler(handler, False)
