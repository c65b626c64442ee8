"""`rtgen demo --listen`: the bundled performance, played on the page in the place of the player."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import perf_counter
from typing import Self

from rtgen.music import midi
from rtgen.music.files import Event
from rtgen.music.time import seconds_per_tick
from rtgen.rig.midi.page_ports import AHEAD_S, PagePorts

_LOOK_S = 0.05
"""How often it looks whether the song was stopped."""


class Performer:
    """Plays events on the page, from the moment that its Start is pressed; when they have ended the player may go on.

    Args:
        ports: the page.
        events: what to play, by tick.
        tempo: BPM.
    """

    def __init__(self, ports: PagePorts, events: Sequence[Event], tempo: float) -> None:
        self._ports, self._events, self._tempo = ports, events, tempo
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="performer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._ports.started.wait(_LOOK_S):
            if self._closing.is_set():
                return
        began = self._ports.started_at
        held, shown = dict[int, None](), dict[int, None]()
        # Each is sent to the page ahead, and played when it is due.
        waiting: list[tuple[float, bytes]] = []
        for event in self._events:
            at = began + event.tick * seconds_per_tick(self._tempo)
            if not self._play(waiting, at - AHEAD_S, held):
                break
            self._ports.show(at, event.data)
            _hold(shown, event.data)
            waiting.append((at, event.data))
        self._play(waiting, float("inf"), held)
        # What was shown may not have been played yet.
        for keys, send in ((held, self._ports.perform), (shown, self._ports.show)):
            for ends in (*(midi.note_off(0, pitch) for pitch in keys), midi.control(0, midi.SUSTAIN, 0)):
                send(perf_counter(), ends)

    def _play(self, waiting: list[tuple[float, bytes]], until: float, held: dict[int, None]) -> bool:
        """Plays what is due before a time, and waits for it; returns whether to go on."""
        while True:
            due = min(waiting[0][0] if waiting else until, until)
            if due == float("inf"):
                return True
            left = due - perf_counter()
            if self._closing.wait(min(max(left, 0.0), _LOOK_S)) or not self._ports.started.is_set():
                return False
            if left > _LOOK_S:
                continue
            if not waiting or waiting[0][0] > until:
                return True
            at, data = waiting.pop(0)
            self._ports.perform(at, data)
            _hold(held, data)


def _hold(keys: dict[int, None], data: bytes) -> None:
    """Keep the keys that are held up to date."""
    if midi.is_note_on(data):
        keys[data[1]] = None
    elif midi.is_note(data):
        keys.pop(data[1], None)
