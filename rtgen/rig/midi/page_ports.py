"""Ports that lead to the web page, which is keyboard and sound at once: no MIDI system is needed.

Messages travel as lines of JSON over the pipes of the panel process (`rtgen.rig.told.page`), with times in seconds of
`perf_counter`, which all processes of a machine share:

    to the page     {"out": [at, byte, ...]}, {"beat": [at, tick]}, {"back": now}, {"stop": at}, {"cut": now};
                    {"played": [at, byte, ...]} is heard as what the player plays
    from the page   [at, byte, ...]
"""

from __future__ import annotations

import json
import threading
from math import isfinite
from queue import Empty, SimpleQueue
from time import perf_counter

from rtgen.instrument.events import Plugged
from rtgen.music import midi
from rtgen.music.time import TICKS_PER_CLOCK, TICKS_PER_SIXTEENTH
from rtgen.rig.midi.ways import Changed, Connection, Receive

AHEAD_S = 0.1
"""How long before it is due a message is sent: a browser may be busy for some frames."""
DELIVERY_S = 0.04
"""How long before its time a message should be sent at the latest, to be there in time."""
OLDEST_S = 0.25
"""What was played longer ago is taken for this old."""
TITLE = "the page"
_MOST_WAITING = 4096
_LONGEST = 3


class PagePorts:
    """An input and an output that lead to the web page.

    What is sent while nobody takes it is dropped, as is what cannot be taken in time; the page is then told to end
    everything that sounds.
    """

    ahead_s = AHEAD_S
    title = TITLE
    parts = ()

    def __init__(self) -> None:
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._receive: Receive | None = None
        self._changed: Changed = lambda _: None
        self._there = self._known = False
        self._lost = False
        self._tick = 0
        self.started = threading.Event()
        """Set while the song rolls because the page started it."""
        self.started_at = 0.0

    @property
    def awaited(self) -> list[str]:
        """Nothing: the page may come at any time."""
        return []

    def connections(self) -> list[Connection]:
        """Return the two ports, which lead to the page or to nobody."""
        pages = (TITLE,) if self._there else ()
        return [Connection("in", 0, TITLE, self._there, pages, False), Connection("out", 0, TITLE, True, pages, False)]

    def open(self, receive: Receive, changed: Changed = lambda _: None) -> None:
        """Start passing on what the page plays."""
        self._receive, self._changed = receive, changed

    def send(self, at: float, data: bytes, part: str = "") -> None:  # noqa: ARG002
        """Send a message that is due at `at`. Never blocks.

        Of the clocks every sixth is sent, as a position and its time: that is enough to show and to hear the beat.
        """
        kind = data[0]
        if kind == midi.CLOCK:
            if self._tick % TICKS_PER_SIXTEENTH == 0:
                self._put({"beat": [at, self._tick]})
            self._tick += TICKS_PER_CLOCK
        elif kind == midi.START:
            self._tick = 0
        elif kind == midi.SONG_POSITION:
            self._tick = midi.song_position(data) * TICKS_PER_SIXTEENTH
        elif kind == midi.STOP:
            self._put({"stop": at})
        elif kind < 0xF0:
            self._put({"out": [at, *data]})

    def take_back(self, now: float) -> None:
        """Let no note begin that is planned for later than `now`."""
        self._put({"back": now})

    def echo(self, port: int, data: bytes) -> None:
        """Do nothing, as the page shows its knobs by itself."""

    def close(self) -> None:
        """Stop receiving."""
        self._receive = None
        self._lines.put(None)

    # ---- the panel's side: called by the threads that have its pipes ------------------------------------------------

    def there(self, there: bool) -> None:
        """Tell whether the panel runs; when it is gone, so are the keys that were held."""
        if there == self._there:
            return
        self._there = there
        if self._known:
            self._changed(Plugged("in", 0, TITLE, there))
        self._known = True

    def lines(self) -> str | None:
        """Wait for lines for the panel, and return all that there are; None at the end."""
        found = [self._lines.get()]
        try:
            while True:
                found.append(self._lines.get_nowait())
        except Empty:
            pass
        if self._lost:
            self._lost = False
            found.append(json.dumps({"cut": perf_counter()}) + "\n")
        return None if None in found else "".join(filter(None, found))

    def hear(self, line: str) -> None:
        """Take a line of the panel; one that makes no sense is left out."""
        now = perf_counter()
        try:
            at, *data = json.loads(line)
            message = bytes(data)
        except (ValueError, TypeError, RecursionError):
            return
        if not _is_time(at) or not 1 <= len(message) <= _LONGEST or self._receive is None:
            return
        if message[0] == midi.START:
            self.started_at = now
            self.started.set()
        elif message[0] == midi.STOP:
            self.started.clear()
        self._receive(min(max(at, now - OLDEST_S), now), 0, message)

    # ---- in the place of the player ---------------------------------------------------------------------------------

    def show(self, at: float, data: bytes) -> None:
        """Let the page sound what will be played at `at`."""
        self._put({"played": [at, *data]})

    def perform(self, at: float, data: bytes) -> None:
        """Play a message."""
        if self._receive is not None:
            self._receive(min(at, perf_counter()), 0, data)

    def _put(self, said: dict[str, object]) -> None:
        if not self._there:
            return
        if self._lines.qsize() < _MOST_WAITING:
            self._lines.put(json.dumps(said) + "\n")
        else:
            self._lost = True


def _is_time(at: object) -> bool:
    return type(at) in (int, float) and isfinite(at)  # type: ignore[arg-type]
