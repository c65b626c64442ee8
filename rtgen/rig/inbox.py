"""The inbox: everything that happens waits in it for the real-time loop, and it does not overflow."""

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
from rtgen.rig.worker.worker import Report


@dataclass(frozen=True, slots=True)
class Wanted:
    """A preset that is to be played, and the file of its model."""

    preset: Preset
    model: Path


Happening = tuple[float, Event | Report | Wanted | None]
"""When something happened (`perf_counter` seconds), and what; None only wakes the loop."""

CALM, FULL = 256, 1024
"""How many may wait before controllers are merged, and before note-ons are dropped: about 8 and 30 ms of work."""
_WINDOW_S, _RUSH = 0.005, 20
_PACE_S = 0.001
_TELL_S = 1.0
_PEDALS = (midi.SUSTAIN, 66, 67, 69)
_MARK = Received(-1, b"")
"""Stands in the queue for all that was merged."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """More came in than can be played.

    Args:
        counts: how many of each kind were dropped since the last time: `controllers` (of which later ones were heard)
            and `notes`.
    """

    counts: Mapping[str, int]


class Inbox:
    """What happened, and when, in order, for one thread that takes it out.

    MIDI that comes faster than it can be worked on is thinned, and counted. Of a controller, pitch bend or pressure the
    latest value is kept, and heard when there is room; note-ons are dropped whole: their note-offs find nothing to end.
    Clock and transport, note-offs, pedals, mode and program changes are never dropped, nor is what does not come from
    a port.
    """

    def __init__(self) -> None:
        # Not a deque with a condition: this may be put into by a signal handler.
        self._queue: SimpleQueue[Happening] = SimpleQueue()
        self._merged: dict[tuple[int, bytes], Received] = {}
        self._merging = False
        self._latest: list[Received] = []
        self._lock = threading.Lock()
        self._dropped: Counter[str] = Counter()
        self._told_at = 0.0
        self._window_ends = 0.0
        self._taken = 0
        self._rushed = False

    def put(self, now: float, event: Event | Report | Wanted | None) -> None:
        """Something happened; from any thread, and from a signal handler."""
        self._queue.put((now, event))

    def receive(self, now: float, port: int, data: bytes) -> None:
        """A message came in at a port; from any thread."""
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
        """Keeps the latest value. A mark in the queue says where it is heard: after all that were before."""
        if key in self._merged:
            self._dropped["controllers"] += 1
        self._merged[key] = event
        if not self._merging:
            self._merging = True
            self._queue.put((0.0, _MARK))

    def get(self, timeout: float | None) -> Happening:
        """Takes out what came first, waiting for it for so many seconds; None for as long as it takes.

        Raises:
            Empty: nothing came.
        """
        now = perf_counter()
        if now >= self._window_ends:
            self._rushed, self._taken, self._window_ends = self._taken > _RUSH, 0, now + _WINDOW_S
        self._taken += 1
        if self._latest:
            return now, self._latest.pop()
        if self._rushed and timeout != 0 and self._queue.empty():
            # To wake up for every one of them would keep the next one's callback waiting, and MIDI's server with it.
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
        """How much waits to be taken out."""
        return self._queue.qsize() + len(self._merged) + len(self._latest)

    def dropped(self, now: float) -> Dropped | None:
        """What was dropped and has not been told yet, once in a second."""
        if not self._dropped or now < self._told_at:
            return None
        self._told_at = now + _TELL_S
        counts, self._dropped = self._dropped, Counter()
        return Dropped(dict(counts))


def _merges(data: bytes) -> int:
    """How many bytes of a message say what it is about, where only its latest value counts; else 0."""
    kind = data[0] & 0xF0
    if kind == 0xB0:
        return 2 if len(data) == 3 and data[1] < midi.ALL_SOUND_OFF and data[1] not in _PEDALS else 0
    return {0xA0: 2, 0xD0: 1, 0xE0: 1}.get(kind, 0)
