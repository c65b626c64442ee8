"""The daemon: connects ports, session and worker, and runs the real-time loop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from queue import Empty
from time import perf_counter

from rtgen.errors import UserError
from rtgen.instrument.along import Coming
from rtgen.instrument.clocks.transport import Health
from rtgen.instrument.desk import At
from rtgen.instrument.events import Chosen, Ended, Event, Planned, Plugged, Received, Step, Warmed
from rtgen.instrument.job import Placed
from rtgen.instrument.notices import Notice, Request
from rtgen.instrument.options import ClockKind
from rtgen.instrument.preset import Preset, Use
from rtgen.instrument.session import Session
from rtgen.instrument.turns import Turn
from rtgen.music.hand import Moved
from rtgen.music.note import Loop, Note
from rtgen.rig.ableton import LiveSaid
from rtgen.rig.inbox import Dropped, Inbox, Wanted
from rtgen.rig.midi.routing import Routing
from rtgen.rig.midi.ways import Ports
from rtgen.rig.realtime import Housekeeping, prefer_this_thread
from rtgen.rig.tally import Tally
from rtgen.rig.worker.wire import Failed, Ready, Report
from rtgen.rig.worker.worker import Worker

_OVERDUE_S, _DELIVERY_S = 0.1, 0.005
"""A step overdue by more than the first stands behind pending input, for which it waits up to the second: this process
stood still, and so did the threads that deliver input."""
_MOST_S = 0.25 if sys.platform == "win32" else inf
"""Longest wait for an event, in seconds: on Windows, Ctrl-C does not end a wait of the main thread."""
_VIEW_S, _UNSEEN_S = 0.05, 0.5
"""How often `Daemon.view` is refreshed at most, in seconds, and how often if nobody looks at it."""
_LAST_S = 0.1
"""The view is refreshed this long after the last event, in seconds."""


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
        clock: whose tempo is played.
        listens: the MIDI channel that is heard; None for all.
        drums: whether the model plays drums.
        bound: the control of each parameter and button that has one, in words.
        stored: the loops A and B, between which a blend would lie now.
        layers: how many layers go round, with the present answer if it is one.
        overdubs: whether what is played is laid on them.
        moved: what the hand has moved in the present loop, but for keys.
        coming: what is planned to be played along.
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
    clock: ClockKind = "midi"
    listens: int | None = None
    drums: bool = False
    bound: Mapping[str, str] = field(default_factory=dict)
    stored: tuple[Loop | None, Loop | None] = (None, None)
    layers: int = 0
    overdubs: bool = False
    moved: tuple[Moved, ...] = ()
    coming: Coming = Coming()  # noqa: RUF009 (frozen)


Noted = Callable[[Step], None]
News = Notice | Request | Ready | Failed | Dropped | LiveSaid


def _warmed(ready: Ready, preset: Preset) -> tuple[Warmed]:
    """Return what the session learns of a model that will answer as a preset asks."""
    return (Warmed(*ready.seconds(preset.mode), ready.pitched, ready.hears),)


class Daemon:
    """Runs a session on ports in real time.

    Args:
        session: the instrument; only the thread that calls `run` touches it.
        ports: MIDI in and out.
        model: the `.onnx` file for the worker.
        device: that runs it.
        tell: called from the real-time loop with news for the player; must not block.
        note: called with every step; must not block.
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
        self._view = self._seen(None)
        self._view_at = 0.0
        self._looked = False
        self.chosen = session.preset
        """The preset that plays, or the one that will when its model is loaded; any thread may read it."""
        # Files of the models by the names that presets give them.
        self._files = {session.preset.model: model}
        # The presets that play and that play next: their models are kept.
        self._kept: tuple[Preset, Preset | None] = session.preset, None
        # What each model said when it was loaded last.
        self._known: dict[Path, Ready] = {}
        # The preset that waits for its model, and those that have played, by model.
        self._coming: Wanted | None = None
        self._played = {model: session.preset}
        # The model that stands in for the one of the present preset.
        self._heir: Path | None = None
        self._first = True
        self._ports = ports
        self._routing = Routing(ports.parts) if ports.parts else None
        self._worker = Worker(model, device, self._reported)
        self._tell = tell
        self._note = note
        self._inbox = Inbox(paced=not ports.ahead_s)
        self._sent_at = float("-inf")
        self.tally = Tally()
        """What has come in; any thread may read it."""
        self._housekeeping = Housekeeping()
        self._stopping = False

    @property
    def view(self) -> View:
        """The latest state; replaced whole, so that any thread may read it."""
        self._looked = True
        return self._view

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

    def modes(self, model: Path) -> tuple[str, ...] | None:
        """Return the modes that a model plays; None if it has never been loaded. From any thread."""
        known = self._known.get(model)
        return known.modes if known is not None else None

    def stop(self) -> None:
        """Make `run` return; safe in a signal handler and from any thread."""
        self._stopping = True
        self._inbox.put(perf_counter(), None)

    def fail(self, why: str) -> None:
        """Make `run` end with a `UserError` that says why; from any thread."""
        self._inbox.put(perf_counter(), Failed(why, final=True))

    def run(self, seconds: float | None = None) -> None:
        """Run the real-time loop until `stop`, or for `seconds`.

        Every sounding note is ended before the ports close, whatever happens.

        Raises:
            UserError: the model cannot be run, or does not play the preset's mode.
        """
        prefer_this_thread()
        self._housekeeping.start()
        end = perf_counter() + seconds if seconds is not None else inf
        try:
            self._loop(end)
        finally:
            try:
                now, last = perf_counter(), self._session.end()
                self._send(now, last, takes_back=True)
                self._note(Step(now, Ended(), tuple(last), True))
                if (dropped := self._inbox.dropped(inf)) is not None:
                    self._tell(dropped)
            finally:
                self._ports.close()
                self._worker.stop()
                self._housekeeping.stop()

    def _loop(self, end: float) -> None:
        stale = True
        wake_at: float | None = perf_counter()
        while not self._stopping:
            now = perf_counter()
            if now >= end:
                return
            if wake_at is not None and wake_at <= now < wake_at + _OVERDUE_S:
                wake_at = self._step(now, None)  # what is due comes before pending input
            # The last event must show in the view even if nothing follows it.
            timeout = min(end - now, wake_at - now if wake_at is not None else inf, _LAST_S if stale else inf)
            self._housekeeping.idle(timeout if not self._inbox.rushed else 0.0, now)
            if wake_at is not None and now >= wake_at + _OVERDUE_S:
                timeout = _DELIVERY_S
            patience = min(timeout, _MOST_S)
            try:
                now, event = self._inbox.get(timeout=None if patience == inf else max(patience, 0.0))
            except Empty:
                if patience < timeout:
                    continue
                now, event = perf_counter(), None
                if wake_at is None or now < wake_at:
                    self._show(now)
                    stale = False
                    continue
            wake_at = self._step(now, event)
            stale = now < self._view_at + (_VIEW_S if self._looked else _UNSEEN_S)
            if not stale:
                self._show(now)

    def _step(self, now: float, happening: Event | Report | Wanted | None) -> float | None:
        wake_at: float | None = None
        for event in self._events(happening) or (None,):
            wake_at = self._play(now, event)
        return wake_at

    def _play(self, now: float, event: Event | None) -> float | None:
        if isinstance(event, Received):
            self.tally.count(now, event.port, event.data, self._session.knobs["split"])
        out = self._session.step(now, event)
        self._send(now, out.messages, takes_back=out.takes_back)
        if self._routing is not None and isinstance(event, Plugged) and event.direction == "out" and not event.there:
            # The band is silent until it is back, and the outputs of its parts may still be there.
            for part, message in self._routing.ends():
                self._ports.send(self._sent_at, message, part)
        for port, message in out.echoes:
            self._ports.echo(port, message)
        self._note(Step(now, event, tuple(out.messages), out.takes_back))
        if out.heard is not None:
            self._worker.tell(out.heard)
        for job in (*filter(None, (out.draft,)), *out.jobs):
            self._worker.ask(job, self._files.get(job.model))
        for half in out.halves:
            self._worker.ask(half, self._files.get(half.model))
        if out.notices or isinstance(event, Chosen):
            self._keep()
        for item in (*out.notices, *out.requests):
            self._tell(item)
        return out.wake_at

    def _events(self, happening: Event | Report | Wanted | None) -> tuple[Event, ...]:
        """Return what something that happened means to the session.

        Raises:
            UserError: no model can be run.
        """
        match happening:
            case None:
                return ()
            case Wanted():
                self._coming = happening
                self._worker.use(happening.model)
                return ()
            case Ready():
                return self._take_ready(happening)
            case Failed():
                if happening.final:
                    raise UserError(happening.reason)
                self._tell(happening)
                return self._do_without(happening, happening.file) if happening.file is not None else ()
            case Placed():
                self._placed = happening
                return ()
        return (happening,)

    # ---- presets and their models: both change hands in the step in which the session switches ----------------------

    def _take_ready(self, ready: Ready) -> tuple[Event, ...]:
        """Handle a loaded model: of the preset to come, of one that plays, or one that stands in for its model.

        Raises:
            UserError: the first model does not play the preset's mode.
        """
        assert ready.file is not None
        first, self._first = self._first, False
        preset, chosen = self._session.preset, self._session.chosen
        files = [self._files[each.model] for each in (preset, chosen) if each is not None]
        if ready.file == files[0]:
            self._heir = None
        stands_in = ready.file == self._heir
        if self._coming is not None and self._coming.model == ready.file:
            answers = self._known.get(ready.file) == ready
            if not answers:
                self._tell(ready)
            self._known[ready.file] = ready
            # The times of a model that answers already, in the same mode, have been measured since.
            coming, last = self._coming.preset, chosen or preset
            measured = answers and ready.file == files[-1] and coming.mode == last.mode
            begun = self._begin(self._coming, ready, () if measured else _warmed(ready, coming))
            if begun or not stands_in:
                return begun
            # It does not play what was chosen; it is left to see whether it plays what it stands in for.
        if ready.file not in files and not stands_in:
            return ()  # another one has been chosen meanwhile
        self._known[ready.file] = ready
        mismatch = None
        if stands_in or ready.file == files[0]:
            mismatch = preset.mismatch(ready.model, ready.role, ready.modes)
            self._dimensions, self._placed = ready.dimensions, None
        if mismatch is not None and first and self._coming is None:
            raise UserError(mismatch)
        self._tell(ready)
        events: tuple[Event, ...] = ()
        if stands_in and chosen is not None and files[-1] == files[0]:
            # It would stand in for the model of the chosen preset as well.
            refused = chosen.mismatch(ready.model, ready.role, ready.modes)
            if refused is not None:
                self._tell(Failed(refused))
                self._refuse(chosen, preset)
                chosen, events = None, (Chosen(None),)
        if mismatch is not None:
            # Unless another preset takes over anyway.
            return self._go_back(ready, mismatch) if chosen is None else events
        warms = ready.file == files[-1] or (stands_in and (chosen is None or files[-1] == files[0]))
        return *events, *(_warmed(ready, chosen or preset) if warms else ())

    def _begin(self, wanted: Wanted, ready: Ready, warmed: tuple[Event, ...]) -> tuple[Event, ...]:
        """Have a preset, whose model is loaded, take over at the next boundary, if the model can play it."""
        self._coming = None
        mismatch = wanted.preset.mismatch(ready.model, ready.role, ready.modes)
        if mismatch is None:
            self._files[wanted.preset.model] = wanted.model
            return *warmed, Chosen(wanted.preset)
        self._tell(Failed(mismatch))
        self._worker.use(None)
        self._refuse(wanted.preset)
        return ()

    def _do_without(self, failed: Failed, file: Path) -> tuple[Event, ...]:
        """Handle the end of a model that cannot be used: its preset does not take over."""
        if self._coming is not None and self._coming.model == file:
            refused, self._coming = self._coming.preset, None
            self._refuse(refused)
        preset, chosen = self._session.preset, self._session.chosen
        plays = self._files[preset.model]
        if file in (plays, self._heir):
            self._heir = failed.heir
        if chosen is None or self._files[chosen.model] != file or plays == file:
            return ()
        self._refuse(chosen, preset)
        ready = self._known.get(plays)
        return *(_warmed(ready, preset) if ready is not None else ()), Chosen(None)

    def _go_back(self, ready: Ready, mismatch: str) -> tuple[Event, ...]:
        """Return to the preset that a model played before, as it cannot play the present one."""
        assert ready.file is not None
        before = self._played.get(ready.file)
        if before is None or before.mismatch(ready.model, ready.role, ready.modes) is not None:
            self._tell(Failed(mismatch))
            return ()
        preset = self._session.preset
        self._tell(Failed(f"Model {ready.model} does not play preset {preset.name}; preset {before.name} takes over"))
        self._files[before.model] = ready.file
        self._refuse(preset, before)
        return *_warmed(ready, before), Chosen(before)

    def _refuse(self, preset: Preset, instead: Preset | None = None) -> None:
        """Take back the choice of a preset, unless another, or the same again, has been chosen since.

        Args:
            preset: the one that does not play.
            instead: what plays then; by default what the session has chosen already, or plays.
        """
        if self._coming is None and self.chosen == preset:
            self.chosen = instead or self._session.chosen or self._session.preset

    def _keep(self) -> None:
        """Let go of the models that are needed no more, once the session has switched or chosen."""
        kept = self._session.preset, self._session.chosen
        if kept == self._kept:
            return
        plays = self._files[kept[0].model]
        if kept[0] != self._kept[0]:
            if plays != self._files[self._kept[0].model]:
                self._heir = None
            self._played[plays] = kept[0]
        self._kept = kept
        self._worker.keep(plays, self._files[kept[1].model] if kept[1] is not None else None)
        ready = self._known.get(plays)
        if ready is not None and ready.dimensions != self._dimensions:
            self._dimensions, self._placed = ready.dimensions, None

    def _send(self, now: float, messages: list[bytes], *, takes_back: bool) -> None:
        if takes_back:
            self._ports.take_back(now)
        # What is sent at once keeps its order, though a message may have come before something that is handled already.
        self._sent_at = max(self._sent_at, now)
        for message in messages:
            at = message.at if isinstance(message, Planned) else self._sent_at
            if self._routing is None:
                self._ports.send(at, message)
                continue
            for part in self._routing.outputs(message):
                self._ports.send(at, message, part)

    def _reported(self, report: Report) -> None:
        self._inbox.put(perf_counter(), report)

    def _show(self, now: float) -> None:
        self._view, self._view_at, self._looked = self._seen(now), now, False
        if (dropped := self._inbox.dropped(now)) is not None:
            self._tell(dropped)

    def _seen(self, now: float | None) -> View:
        session = self._session
        return View(
            session.transport.tempo,
            session.position(now) if now is not None else None,
            session.played(now) if now is not None else (),
            session.sounds(now) if now is not None else session.present,
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
            session.clock,
            session.listens,
            session.drums,
            session.bound,
            session.stored,
            session.layers,
            session.overdubs,
            session.moved if now is not None else (),
            session.coming(now) if now is not None else Coming(),
        )
