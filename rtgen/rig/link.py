"""Ableton Link; the only module that imports its library, which comes with the extra `link`."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from time import perf_counter
from typing import Any, Self

from rtgen.errors import UserError
from rtgen.instrument.events import Linked
from rtgen.music.time import PPQN
from rtgen.rig.daemon import View

_LOOK_S = 0.03
_TELL_S = 0.1
"""Interval between reports while nothing changes."""
_SETTLE_S = 0.5
"""Wait between creating a peer and joining: a peer that joined at once has been seen to impose its own tempo."""
_NEWS_S = 0.0001
"""Drift from the last report above which a new report is made."""
_JUMP_BEATS = 0.25
"""If the session is off by more than this it jumps to where our song is."""
_CATCHES_UP_S, _MORE, _STILL = 1.0, 0.03, 0.002
"""Smaller errors are made up for in the first; by this share of the tempo at most; and less than the third, as our
position is known to the tick, by none."""


class _Joined(ABC):
    """A thread that joins the Ableton Link session of this network, and looks at it some times a second.

    The library's callbacks are not used: a callback thread that waits for the GIL while another thread holds it and
    closes the peer would deadlock.

    Args:
        tempo: returns the BPM of the session while there is no other peer; called from the thread.
        otherwise: what to do where the library is missing.

    Raises:
        UserError: the library is not installed.
    """

    def __init__(self, tempo: Callable[[], float], otherwise: str) -> None:
        self._kind = _library(otherwise)
        self._tempo = tempo
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
        link = self._kind(self._tempo())
        link.startStopSyncEnabled = True
        if self._ended.wait(_SETTLE_S):
            return
        link.enabled = True
        while not self._ended.wait(_LOOK_S):
            self._look(link)
        link.enabled = False

    @abstractmethod
    def _look(self, link: Any) -> None:
        """Looks at the session; called from the thread."""


class LinkPeer(_Joined):
    """Joins the Ableton Link session of this network and reports its position; follows it and changes nothing.

    Args:
        tempo: BPM of the session while there is no other peer.
        bar: returns the current number of beats (quarter notes) in a bar.
        tell: called from a thread with the position of the session.

    Raises:
        UserError: the library is not installed.
    """

    def __init__(self, tempo: float, bar: Callable[[], float], tell: Callable[[Linked], None]) -> None:
        super().__init__(lambda: tempo, "use --clock midi or internal")
        self._bar, self._tell = bar, tell
        self._last: Linked | None = None

    def _look(self, link: Any) -> None:
        seen = look(link, self._bar())
        if self._last is None or _is_news(self._last, seen):
            self._last = seen
            self._tell(seen)


class LinkLead(_Joined):
    """Has an Ableton Link session follow our song: its tempo, its bars, its start and stop.

    A song that begins, or jumps, takes the session's beat with it at once, as a bridge to another clock may. After that
    the session is steered by its tempo alone, so that nobody's beat jumps. A session that another peer changes is taken
    back.

    Args:
        see: returns the state of our session; called from the thread.

    Raises:
        UserError: the library is not installed.
    """

    def __init__(self, see: Callable[[], View]) -> None:
        super().__init__(lambda: see().tempo, "remove --send-link")
        self._see = see
        self._rolled = False

    def _look(self, link: Any) -> None:
        view = self._see()
        lead(link, view, begins=not self._rolled)
        self._rolled = view.tick is not None


def lead(link: Any, view: View, *, begins: bool) -> None:
    """Takes a session to where a song is.

    Args:
        link: the library's object.
        view: the song's state.
        begins: whether it did not roll before.
    """
    state, (at, there) = link.captureAppSessionState(), _clocks(link)
    if view.tick is None:
        if state.isPlaying():
            state.setIsPlaying(False, there)
            link.commitAppSessionState(state)
        return
    bar = view.preset.metre.bar / PPQN
    beat = view.tick / PPQN + (at - view.now) * view.tempo / 60
    ahead = (beat - state.beatAtTime(there, bar) + bar / 2) % bar - bar / 2
    if begins or abs(ahead) > _JUMP_BEATS:
        state.setTempo(view.tempo, there)
        state.forceBeatAtTime(beat, there, bar)
        state.setIsPlaying(True, there)
        link.commitAppSessionState(state)
        return
    more = min(max(ahead * 60 / view.tempo / _CATCHES_UP_S, -_MORE), _MORE)
    tempo = view.tempo * (1 + (more if abs(more) > _STILL else 0.0))
    if abs(state.tempo() - tempo) > _STILL * view.tempo:
        state.setTempo(tempo, there)
        link.commitAppSessionState(state)


def look(link: Any, bar: float) -> Linked:
    """Returns the current position of the session, with `bar` beats (quarter notes) in a bar."""
    state, (at, there) = link.captureAppSessionState(), _clocks(link)
    return Linked(
        at=at,
        beat=state.beatAtTime(there, bar),
        bar=bar,
        tempo=state.tempo(),
        playing=state.isPlaying(),
        since=state.beatAtTime(state.timeForIsPlaying(), bar),
        peers=link.numPeers(),
    )


def _clocks(link: Any) -> tuple[float, int]:
    """Returns the same moment by our clock, in seconds, and by that of Link, in microseconds."""
    # Read both clocks a few times, and use the reading that took the least time.
    clock = link.clock()
    looks = [(perf_counter(), clock.micros(), perf_counter()) for _ in range(3)]
    before, there, after = min(looks, key=lambda moment: moment[2] - moment[0])
    return (before + after) / 2, there


def _library(otherwise: str) -> Any:
    """Returns the kind of Link's objects.

    Raises:
        UserError: the library is not installed.
    """
    try:
        from link import Link
    except ImportError as error:
        raise UserError(
            f"The Ableton Link library is not installed ({error}); run 'pip install rtgen[link]', or {otherwise}"
        ) from error
    return Link


def _is_news(last: Linked, seen: Linked) -> bool:
    """Returns whether `seen` tells more than that time has passed since `last`."""
    before = (last.tempo, last.bar, last.playing, last.peers)
    if before != (seen.tempo, seen.bar, seen.playing, seen.peers) or seen.at - last.at >= _TELL_S:
        return True
    beats = (seen.at - last.at) * seen.tempo / 60
    return abs(seen.beat - last.beat - beats) * 60 / seen.tempo > _NEWS_S
