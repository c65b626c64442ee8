"""Ableton Link; the only module that imports its library, which comes with the extra `link`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any, Self

from rtgen.errors import UserError
from rtgen.instrument.events import Linked

_LOOK_S = 0.03
_TELL_S = 0.1
"""Interval between reports while nothing changes."""
_SETTLE_S = 0.5
"""Wait between creating a peer and joining: a peer that joined at once has been seen to impose its own tempo."""
_NEWS_S = 0.0001
"""Drift from the last report above which a new report is made."""


class LinkPeer:
    """Joins the Ableton Link session of this network and reports its position; follows it and changes nothing.

    A thread polls the session. The library's callbacks are not used: a callback thread that waits for the GIL while
    another thread holds it and closes the peer would deadlock.

    Args:
        tempo: BPM of the session while there is no other peer.
        bar: returns the current number of beats (quarter notes) in a bar.
        tell: called from a thread with the position of the session.

    Raises:
        UserError: the library is not installed.
    """

    def __init__(self, tempo: float, bar: Callable[[], float], tell: Callable[[Linked], None]) -> None:
        try:
            from link import Link
        except ImportError as error:
            raise UserError(
                f"The Ableton Link library is not installed ({error}); run 'pip install rtgen[link]', or use --clock "
                "midi or internal"
            ) from error
        self._kind, self._tempo, self._bar, self._tell = Link, tempo, bar, tell
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def __enter__(self) -> Self:
        """Joins the session after `_SETTLE_S`."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the session."""
        self._ended.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        link = self._kind(self._tempo)
        link.startStopSyncEnabled = True
        if self._ended.wait(_SETTLE_S):
            return
        link.enabled = True
        last = None
        while not self._ended.wait(_LOOK_S):
            seen = look(link, self._bar())
            if last is None or _is_news(last, seen):
                last = seen
                self._tell(seen)
        link.enabled = False


def look(link: Any, bar: float) -> Linked:
    """Returns the current position of the session, with `bar` beats (quarter notes) in a bar."""
    state, clock = link.captureAppSessionState(), link.clock()
    # Link has its own clock. Read both clocks a few times, and use the reading that took the least time.
    looks = [(perf_counter(), clock.micros(), perf_counter()) for _ in range(3)]
    before, there, after = min(looks, key=lambda moment: moment[2] - moment[0])
    return Linked(
        at=(before + after) / 2,
        beat=state.beatAtTime(there, bar),
        bar=bar,
        tempo=state.tempo(),
        playing=state.isPlaying(),
        since=state.beatAtTime(state.timeForIsPlaying(), bar),
        peers=link.numPeers(),
    )


def _is_news(last: Linked, seen: Linked) -> bool:
    """Returns whether `seen` tells more than that time has passed since `last`."""
    before = (last.tempo, last.bar, last.playing, last.peers)
    if before != (seen.tempo, seen.bar, seen.playing, seen.peers) or seen.at - last.at >= _TELL_S:
        return True
    beats = (seen.at - last.at) * seen.tempo / 60
    return abs(seen.beat - last.beat - beats) * 60 / seen.tempo > _NEWS_S
