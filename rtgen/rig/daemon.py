"""The daemon: connects ports, session and worker, and runs the real-time loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from time import perf_counter

from rtgen.errors import UserError
from rtgen.instrument.clocks.transport import Health
from rtgen.instrument.desk import At
from rtgen.instrument.events import Chosen, Ended, Event, Warmed
from rtgen.instrument.job import Placed
from rtgen.instrument.notices import Notice, Request
from rtgen.instrument.preset import Preset, Use
from rtgen.instrument.session import Session
from rtgen.instrument.turns import Turn
from rtgen.music.note import Loop, Note
from rtgen.rig.inbox import Dropped, Inbox, Wanted
from rtgen.rig.midi.ports import Ports
from rtgen.rig.realtime import Housekeeping, prefer_this_thread
from rtgen.rig.worker.worker import Failed, Ready, Report, Worker

_OVERDUE_S, _DELIVERY_S = 0.1, 0.005
"""A step overdue by more than the first stands behind pending input, for which it waits up to the second: this process
stood still, and so did the threads that deliver input."""
_VIEW_S = 0.05
"""How often `Daemon.view` is refreshed, in seconds."""


@dataclass(frozen=True, slots=True)
class View:
    """The state of a session, for display.

    Args:
        tempo: BPM.
        tick: position; None unless rolling.
        played: what has been captured of the present loop.
        answer: the present answer.
        preset: the current preset.
        use: when answers are heard.
        knobs: the value of every parameter.
        muted: whether answers are muted.
        lead_s: how long before its boundary a loop goes to the model.
        at: the current activity.
        dimensions: names of the axes of the map of loops.
        health: of the external clock.
        placed: the last call and its answer on the map; None before there is one.
        turn: whose turn it is.
        unstarted: whether a clock comes without Start.
        now: when the state was this, in seconds of `perf_counter`.
    """

    tempo: float
    tick: int | None
    played: tuple[Note, ...]
    answer: Loop | None
    preset: Preset
    use: Use
    knobs: Mapping[str, float]
    muted: bool
    lead_s: float
    at: At = "idle"
    dimensions: tuple[str, ...] = ()
    health: Health = Health()  # noqa: RUF009 (frozen)
    placed: Placed | None = None
    turn: Turn = "none"
    unstarted: bool = False
    now: float = 0.0


Noted = Callable[[float, Event | Ended | None, list[bytes]], None]
News = Notice | Request | Ready | Failed | Dropped


class Daemon:
    """Runs a session on ports in real time.

    Args:
        session: the instrument; only the thread that calls `run` touches it.
        ports: MIDI in and out.
        model: the `.onnx` file for the worker.
        device: that runs it.
        tell: called from the real-time loop with news for the player; must not block.
        note: called with every step (time, event, messages sent); must not block.
    """

    def __init__(
        self,
        session: Session,
        ports: Ports,
        model: Path,
        device: str,
        tell: Callable[[News], None],
        note: Noted = lambda *_: None,
    ) -> None:
        self._session = session
        self._dimensions: tuple[str, ...] = ()
        self._placed: Placed | None = None
        self.view = self._seen(None)
        """The latest state; replaced whole, so that any thread may read it."""
        self.chosen = session.preset
        """The preset that plays, or the one that will when its model is loaded; any thread may read it."""
        self._plays = Wanted(session.preset, model)
        self._coming: Wanted | None = None
        self._ready: Ready | None = None
        self._ports = ports
        self._worker = Worker(model, device, self._reported)
        self._tell = tell
        self._note = note
        self._inbox = Inbox()
        self._housekeeping = Housekeeping()
        self._stopping = False

    def open(self) -> None:
        """Open the ports and start the worker; playing does not wait for the model."""
        self._ports.open(self._inbox.receive, self.hear)
        self._worker.start()

    def hear(self, event: Event) -> None:
        """Queue an event that did not come from a port; from any thread."""
        self._inbox.put(perf_counter(), event)

    def choose(self, preset: Preset, model: Path) -> None:
        """Switch to another preset once its model is loaded; from any thread."""
        self.chosen = preset
        self._inbox.put(perf_counter(), Wanted(preset, model))

    def stop(self) -> None:
        """Make `run` return; safe in a signal handler and from any thread."""
        self._stopping = True
        self._inbox.put(perf_counter(), None)

    def run(self, seconds: float | None = None) -> None:
        """Run the real-time loop until `stop`, or for `seconds`.

        Every sounding note is ended before the ports close, whatever happens.

        Raises:
            UserError: the model cannot be run, or does not play the preset's mode.
        """
        prefer_this_thread()
        self._housekeeping.start()
        end = perf_counter() + seconds if seconds is not None else float("inf")
        try:
            self._loop(end)
        finally:
            try:
                last = self._session.end()
                self._send(last)
                self._note(perf_counter(), Ended(), last)
                if (dropped := self._inbox.dropped(float("inf"))) is not None:
                    self._tell(dropped)
            finally:
                self._ports.close()
                self._worker.stop()
                self._housekeeping.stop()

    def _loop(self, end: float) -> None:
        view_at = 0.0
        stale = True
        wake_at: float | None = perf_counter()
        while not self._stopping:
            now = perf_counter()
            if now >= end:
                return
            if wake_at is not None and wake_at <= now < wake_at + _OVERDUE_S:
                wake_at = self._step(now, None)  # what is due comes before pending input
            # The last event must show in the view even if nothing follows it.
            timeout = min(end, wake_at if wake_at is not None else end, view_at if stale else end) - now
            self._housekeeping.idle(timeout, now)
            if wake_at is not None and now >= wake_at + _OVERDUE_S:
                timeout = _DELIVERY_S
            try:
                now, event = self._inbox.get(timeout=None if timeout == float("inf") else max(timeout, 0.0))
            except Empty:
                now, event = perf_counter(), None
            wake_at = self._step(now, event)
            if now < view_at:
                stale = True
            else:
                view_at, stale = now + _VIEW_S, False
                self._show(now)
                if (dropped := self._inbox.dropped(now)) is not None:
                    self._tell(dropped)

    def _step(self, now: float, event: Event | Report | Wanted | None) -> float | None:
        if isinstance(event, Wanted):
            self._want(event)
            event = None
        elif isinstance(event, Ready):
            self._take_ready(event)
            event = Warmed(event.seconds, event.cold_s, event.pitched)
        elif isinstance(event, Failed):
            if event.final:
                raise UserError(event.reason)
            self._tell(event)
            event = None
        elif isinstance(event, Placed):
            self._placed, event = event, None
        out = self._session.step(now, event)
        self._send(out.messages)
        for port, message in out.echoes:
            self._ports.echo(port, message)
        self._note(now, event, out.messages)
        if out.heard is not None:
            self._worker.tell(out.heard)
        for job in (*filter(None, (out.draft,)), *out.jobs):
            self._worker.ask(job)
        for item in (*out.notices, *out.requests):
            self._tell(item)
        return out.wake_at

    def _take_ready(self, ready: Ready) -> None:
        """Handle a loaded model, which may not suit the preset.

        Raises:
            UserError: the first model does not play the preset's mode.
        """
        first, self._ready = self._ready is None, ready
        self._dimensions, self._placed = ready.dimensions, None
        if self._coming is not None and self._coming.model == ready.file:
            self._tell(ready)
            self._begin(ready)
            return
        mismatch = self._plays.preset.mismatch(ready.model, ready.role, ready.modes)
        if mismatch is not None and first:
            raise UserError(mismatch)
        self._tell(ready)
        if mismatch is not None:
            self._tell(Failed(mismatch))

    def _want(self, wanted: Wanted) -> None:
        """Load the model of another preset, unless it is loaded already."""
        self._coming = wanted
        self._worker.use(wanted.model)
        if self._ready is not None and self._ready.file == wanted.model:
            self._begin(self._ready)

    def _begin(self, ready: Ready) -> None:
        """Switch to the coming preset, whose model is loaded, if the model can play it."""
        assert self._coming is not None
        wanted, self._coming = self._coming, None
        mismatch = wanted.preset.mismatch(ready.model, ready.role, ready.modes)
        if mismatch is None:
            self._plays = wanted
            self.hear(Chosen(wanted.preset))
        else:
            self._tell(Failed(mismatch))
            self._worker.use(self._plays.model)
            self.chosen = self._plays.preset

    def _send(self, messages: list[bytes]) -> None:
        for message in messages:
            self._ports.send(message)

    def _reported(self, report: Report) -> None:
        self._inbox.put(perf_counter(), report)

    def _show(self, now: float) -> None:
        self.view = self._seen(now)

    def _seen(self, now: float | None) -> View:
        session = self._session
        return View(
            session.transport.tempo,
            session.position(now) if now is not None else None,
            session.played(now) if now is not None else (),
            session.present,
            session.preset,
            session.use,
            dict(session.knobs),
            session.muted,
            session.lead.seconds,
            session.at,
            self._dimensions,
            session.transport.health,
            self._placed,
            session.turn,
            session.transport.unstarted is not None,
            now or 0.0,
        )
