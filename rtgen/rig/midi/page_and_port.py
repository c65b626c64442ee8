"""The page, and beside it an output of a MIDI system: what is played on the page is answered on an instrument, too."""

from __future__ import annotations

import threading
from time import perf_counter

from rtgen.rig.midi.page_ports import PagePorts
from rtgen.rig.midi.schedule import Schedule
from rtgen.rig.midi.ways import Changed, Connection, NamedPorts, Receive
from rtgen.rig.realtime import prefer_this_thread

_JOIN_S = 1.0


class PageAndPort(PagePorts):
    """The ports of the page, and an output that gets what the page sounds, and the clock.

    The page is told of everything a tenth of a second ahead (`PagePorts.ahead_s`), longer than other ports keep a
    message. So what is for the output waits here, in a thread of its own.

    Args:
        port: has no inputs.
    """

    def __init__(self, port: NamedPorts) -> None:
        super().__init__()
        self._port = port
        self._schedule = Schedule()
        self._changes = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="port", daemon=True)

    @property
    def title(self) -> str:  # type: ignore[override]
        """The page and the output, for the player."""
        return f"{super().title} and {self._port.title}"

    @property
    def awaited(self) -> list[str]:
        """The output, if it has never been found so far."""
        return self._port.awaited

    def connections(self) -> list[Connection]:
        """Return the ports of the page, and the output."""
        return [*super().connections(), *self._port.connections()]

    def open(self, receive: Receive, changed: Changed = lambda _: None) -> None:
        """Start passing on what the page plays, and what is sent."""
        super().open(receive, changed)
        self._port.open(lambda *_: None, changed)
        self._thread.start()

    def send(self, at: float, data: bytes, part: str = "") -> None:  # noqa: ARG002
        """Send a message that is due at `at` to both. Waits for nothing but a moment's work of the thread."""
        super().send(at, data)
        with self._changes:
            self._schedule.add(at, data)
            self._changes.notify()

    def take_back(self, now: float) -> None:
        """Let no note begin that is planned for later than `now`."""
        super().take_back(now)
        with self._changes:
            self._schedule.take_back(now)
            self._changes.notify()
        self._port.take_back(now)

    def close(self) -> None:
        """Send what must still be sent, such as the ends of notes, and close both."""
        super().close()
        with self._changes:
            self._closing = True
            self._schedule.take_back(perf_counter())
            self._changes.notify()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        self._port.close()

    def _run(self) -> None:
        prefer_this_thread()
        while not self._closing or len(self._schedule):
            with self._changes:
                now = perf_counter() + self._port.ahead_s
                due = self._schedule.take(float("inf") if self._closing else now)
                if not due and not self._closing:
                    soonest = self._schedule.soonest
                    self._changes.wait(None if soonest is None else max(soonest - now, 0.0))
            for at, data in due:
                self._port.send(at, data)
