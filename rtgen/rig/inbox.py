"""The event queue of the real-time loop, which thins MIDI input that comes too fast."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter, sleep

from rtgen.instrument.events import Event, Received
from rtgen.instrument.preset import Preset
from rtgen.music import midi
from rtgen.rig.worker.wire import Report


@dataclass(frozen=True, slots=True)
class Wanted:
    """A preset to switch to, and the file of its model."""

    preset: Preset
    model: Path


Happening = tuple[float, Event | Report | Wanted | None]
"""Time of an event (`perf_counter` seconds) and the event; None only wakes the loop."""

CALM, FULL = 256, 1024
"""Queue lengths above which controllers are merged and note-ons dropped: about 8 and 30 ms of work."""
_WINDOW_S, _RUSH = 0.005, 20
_PACE_S = 0.001
_TELL_S = 1.0
_PEDALS = (midi.SUSTAIN, 66, 67, 69)
_MARK = Received(-1, b"")
"""Placeholder in the queue for all merged messages."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Report that more came in than could be processed.

    Args:
        counts: messages dropped since the last report, by kind: `controllers` (superseded by later values) and `notes`.
    """

    counts: Mapping[str, int]


class Inbox:
    """A queue of timed events in order, with a single consumer thread.

    MIDI that arrives faster than it can be processed is thinned, and the losses are counted. Of a controller, pitch
    bend or pressure only the latest value is kept, and processed when there is room. Note-ons are dropped; their
    note-offs then have no effect. Clock, transport, note-offs, pedals, channel mode and program changes are never
    dropped, nor is anything that does not come from a port.

    Args:
        paced: whether to let messages gather for a moment where many come, as waking up for every one would hold up the
            next one's callback, and the MIDI server with it; not needed if the callbacks are in another process.
    """

    def __init__(self, *, paced: bool = True) -> None:
        self._paced = paced
        # Not a deque with a condition: a signal handler may call `put`.
        self._queue: SimpleQueue[Happening] = SimpleQueue()
        self._merged: dict[tuple[int, bytes], Received] = {}
        self._merging = False
        self._latest: list[Received] = []
        self._lock = threading.Lock()
        self._dropped: Counter[str] = Counter()
        self._told_at = 0.0
        self._window_ends = 0.0
        self._taken = 0
        self.rushed = False
        """Whether many events have just been taken, so that more are to be expected at any moment."""

    def put(self, now: float, event: Event | Report | Wanted | None) -> None:
        """Adds an event; may be called from any thread and from a signal handler."""
        self._queue.put((now, event))

    def receive(self, now: float, port: int, data: bytes) -> None:
        """Adds a MIDI message from a port; may be called from any thread."""
        waiting = self._queue.qsize()
        if waiting < CALM and not self._merging:
            self._queue.put((now, Received(port, data)))
            return
        with self._lock:
            if size := _merges(data):
                self._merge((port, data[:size]), Received(port, data))
            elif waiting >= FULL and len(data) == 3 and midi.is_note_on(data):
                self._dropped["notes"] += 1
            else:
                self._queue.put((now, Received(port, data)))

    def _merge(self, key: tuple[int, bytes], event: Received) -> None:
        """Keeps the latest value. `_MARK` holds its place in the queue, after everything queued earlier."""
        if key in self._merged:
            self._dropped["controllers"] += 1
        self._merged[key] = event
        if not self._merging:
            self._merging = True
            self._queue.put((0.0, _MARK))

    def get(self, timeout: float | None) -> Happening:
        """Removes and returns the oldest event.

        Args:
            timeout: seconds to wait for one; None waits indefinitely.

        Raises:
            Empty: no event came in time.
        """
        now = perf_counter()
        if now >= self._window_ends:
            self.rushed, self._taken, self._window_ends = self._taken > _RUSH, 0, now + _WINDOW_S
        self._taken += 1
        if self._latest:
            return now, self._latest.pop()
        if self._paced and self.rushed and timeout != 0 and self._queue.empty():
            pause = _PACE_S if timeout is None else min(_PACE_S, timeout)
            sleep(pause)
            timeout = None if timeout is None else timeout - pause
        taken = self._queue.get(timeout=None if timeout is None else max(timeout, 0.0))
        if taken[1] is not _MARK:
            return taken
        with self._lock:
            self._latest, self._merging = list(self._merged.values()), False
            self._merged.clear()
        return now, self._latest.pop()

    @property
    def waiting(self) -> int:
        """Number of events that wait."""
        return self._queue.qsize() + len(self._merged) + len(self._latest)

    def dropped(self, now: float) -> Dropped | None:
        """Returns the losses not reported yet, at most once a second; None if there are none."""
        if not self._dropped or now < self._told_at:
            return None
        self._told_at = now + _TELL_S
        counts, self._dropped = self._dropped, Counter()
        return Dropped(dict(counts))


def _merges(data: bytes) -> int:
    """Returns how many leading bytes identify a message of which only the latest value matters; 0 for all others."""
    kind = data[0] & 0xF0
    if kind == 0xB0:
        return 2 if len(data) == 3 and data[1] < midi.ALL_SOUND_OFF and data[1] not in _PEDALS else 0
    return {0xA0: 2, 0xD0: 1, 0xE0: 1}.get(kind, 0)
