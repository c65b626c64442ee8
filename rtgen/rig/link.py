"""Ableton Link: the only importer of its library, which the extra `link` brings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any, Self

from rtgen.errors import UserError
from rtgen.instrument.events import Linked

_LOOK_S = 0.03
_TELL_S = 0.1
"""How often it is told that nothing changed."""
_SETTLE_S = 0.5
"""Between making a peer and joining: joined at once, one has been seen to bring its own tempo into the session."""
_NEWS_S = 0.0001
"""An error of the last word from which on there is a new one."""


class LinkPeer:
    """Takes part in the Ableton Link session of this network and tells where it is; follows, and changes nothing in it.

    A thread looks at the session again and again. The library would also call back, but one of its threads that waits
    for the interpreter, while the peer is closed by a thread that has it, waits for ever.

    Args:
        tempo: BPM of the session as long as there is nobody else.
        bar: tells the beats (quarter notes) in a bar at the moment.
        tell: called, from a thread, with where the session is.

    Raises:
        UserError: the library is not installed.
    """

    def __init__(self, tempo: float, bar: Callable[[], float], tell: Callable[[Linked], None]) -> None:
        try:
            from link import Link
        except ImportError as error:
            raise UserError(
                f"Ableton Link's library is not there ({error}); 'pip install rtgen[link]' brings it, or use --clock "
                "midi or internal"
            ) from error
        self._kind, self._tempo, self._bar, self._tell = Link, tempo, bar, tell
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def __enter__(self) -> Self:
        """Joins the session, half a second from now."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves it."""
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
    """Where the session is now, with bars of so many beats."""
    state, clock = link.captureAppSessionState(), link.clock()
    # Link has a clock of its own. Of a few looks at both, that between which the least time passed tells the most.
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
    """Whether `seen` says more than that time has passed since `last`."""
    before = (last.tempo, last.bar, last.playing, last.peers)
    if before != (seen.tempo, seen.bar, seen.playing, seen.peers) or seen.at - last.at >= _TELL_S:
        return True
    beats = (seen.at - last.at) * seen.tempo / 60
    return abs(seen.beat - last.beat - beats) * 60 / seen.tempo > _NEWS_S
