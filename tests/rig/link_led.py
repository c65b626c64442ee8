"""A Link session that is led, and a peer that follows, alone in a network of their own.

    unshare -r -n python -m tests.rig.link_led

prints what the peer saw as JSON.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace

from rtgen.instrument.preset import Preset
from rtgen.music.time import PPQN
from rtgen.rig.daemon import View
from rtgen.rig.link import LinkLead, look
from tests.rig.link_session import raise_loopback

FIRST, SECOND = 96.0, 99.5
BAR = 4.0


class Song:
    """Stands still, begins at bar 3, and plays a little faster after a while."""

    def __init__(self) -> None:
        self.view = View(FIRST, None, (), None, Preset(), "answer", {}, False, 0.01)
        self._origin = 0.0
        self._rolls = False

    def see(self) -> View:
        now = time.perf_counter()
        tick = round(self.beat(now) * PPQN) if self._rolls else None
        self.view = replace(self.view, now=now, tick=tick)
        return self.view

    def beat(self, now: float) -> float:
        return 2 * BAR + (now - self._origin) * self.view.tempo / 60

    def roll(self) -> None:
        self._origin, self._rolls = time.perf_counter(), True

    def stop(self) -> None:
        self._rolls = False

    def pace(self, tempo: float) -> None:
        now = time.perf_counter()
        beat = self.beat(now)
        self.view = replace(self.view, tempo=tempo)
        self._origin = now - (beat - 2 * BAR) * 60 / tempo


def perform() -> dict[str, object]:
    from link import Link

    song, peer = Song(), Link(130.0)
    peer.startStopSyncEnabled = True
    peer.enabled = True
    errors: list[tuple[float, float]] = []

    def watch(seconds: float, since: float) -> tuple[float, bool]:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            seen = look(peer, BAR)
            off = (seen.beat - song.beat(seen.at) + BAR / 2) % BAR - BAR / 2
            errors.append((seen.at - since, off * 60e3 / song.view.tempo))
            time.sleep(0.01)
        return seen.tempo, seen.playing

    with LinkLead(song.see):
        time.sleep(2.5)
        before = look(peer, BAR).playing
        song.roll()
        first = watch(4.0, time.perf_counter())
        begun, errors = errors, []
        song.pace(SECOND)
        second = watch(5.0, time.perf_counter())
        song.stop()
        time.sleep(1.0)
        after = look(peer, BAR).playing
    return {"before": before, "first": first, "second": second, "after": after, "begun": begun, "changed": errors}


if __name__ == "__main__":
    raise_loopback()
    print(json.dumps(perform()))
