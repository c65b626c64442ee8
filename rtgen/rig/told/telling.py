"""Reports what happens: sentences on the terminal and in a log, or JSON lines for programs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import fields
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Literal, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from rtgen.instrument.notices import (
    Answered,
    AskedAgain,
    Called,
    CannotUse,
    ControlTaken,
    DoubledClock,
    DraftPlayed,
    DrumsLeftOut,
    ForeignClock,
    Halted,
    KeepAnswer,
    Layered,
    LoopClosed,
    NoClock,
    NoStart,
    NothingLearned,
    NothingToClose,
    Overslept,
    PeersChanged,
    PlanLate,
    PortChanged,
    PresetChanged,
    Recalled,
    Request,
    Rolling,
    SaveBindings,
    SelectPreset,
    Stored,
    TakenOver,
    UseClip,
)
from rtgen.music.note import Loop
from rtgen.rig.ableton import LiveSaid
from rtgen.rig.daemon import Daemon, News
from rtgen.rig.inbox import Dropped
from rtgen.rig.kept.log import Log
from rtgen.rig.told.live import Watch, at_once
from rtgen.rig.worker.wire import Failed, Ready
from rtgen.text import plain

_PASSING = Rolling, Halted, Called, Answered, DraftPlayed, PlanLate
"""News of every loop."""
_WHY = {
    "stopped": "stopped",
    "lost": "the clock stopped arriving; stopped until it is back",
    "located": "the song jumped to another place",
}
_SURE = 0.7
"""Tempos that are less likely right than this are told with a doubt."""
_FRAME_S, _IDLE_S = 0.125, 0.25
"""Time from one frame of the display to the next, while the song rolls and while it does not. A frame takes a
millisecond, of which the real-time loop waits for half at most (`rtgen.rig.realtime`)."""


class Teller:
    """A thread that reports what happens: printing must not hold up the music, nor a full disk end it.

    Args:
        console: the terminal, or what stands for it.
        daemon: whose state is shown.
        news: what happens; None ends the thread.
        see_to: carries out a request; returns a sentence for the player.
        log: a file for the sentences.
        quiet: whether to leave the terminal alone.
        also: is called with every item and its sentence.
        form: `words` prints sentences, `json` one JSON object a line, for programs.
    """

    def __init__(
        self,
        console: Console,
        daemon: Daemon,
        news: SimpleQueue[News | None],
        see_to: Callable[[Request], str] | None = None,
        log: Log | None = None,
        quiet: bool = False,
        also: Callable[[News, str], None] = lambda *_: None,
        form: Literal["words", "json"] = "words",
    ) -> None:
        self._console = console
        self._daemon = daemon
        self._news = news
        self._see_to = see_to
        self._log = log
        self._quiet = quiet
        self._also = also
        self._form = form
        self._watch = Watch()
        self._shown: tuple[object, ...] = ()
        self._status = None
        if console.is_terminal and not quiet and form == "words":
            self._status = Live(console=console, auto_refresh=False, transient=True)
        self._answers = self._late = self._rests = 0
        self._thread = threading.Thread(target=self._run, name="teller", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._news.put(None)
        self._thread.join(1.0)
        if self._log is not None:
            if error is not None:
                self._log.write(str(error))
            self._log.close()

    def say(self, line: str) -> None:
        """Prints a line, and logs it."""
        if self._log is not None and (complaint := self._log.write(line)):
            self._print(complaint)
        self._print(line)

    def farewell(self, saved: Path | None, *, along: bool = False) -> None:
        """Prints the last line: what became of the session, and how many answers it had.

        Args:
            saved: its log; None if none is left.
            along: whether the model played along at its end.
        """
        said = [f"session saved as {saved}"] if saved is not None else []
        if self._answers or not along:
            said.append(f"{self._answers} {'answer' if self._answers == 1 else 'answers'}, {self._late} late")
        if self._rests or along:
            rests = f"{self._rests} {'rest' if self._rests == 1 else 'rests'} for what came too late"
            said.append(f"played along, {rests if self._rests else 'nothing late'}")
        self._print(", ".join(said))

    def _print(self, line: str, item: News | None = None) -> None:
        if self._quiet:
            return
        text = as_json(item, line) if self._form == "json" else plain(line)
        # The terminal may be full or gone; rich would end the process then, and this thread must go on.
        with suppress(OSError, SystemExit), at_once(self._console):
            self._console.print(Text(text), soft_wrap=True)

    def _run(self) -> None:
        last = "loading the model"
        with self._status or nullcontext():
            while True:
                try:
                    item = self._news.get(timeout=self._patience() if self._status else None)
                    if item is None:
                        return
                    last = self._see_to(item) if isinstance(item, Request) and self._see_to else sentence(item)
                    self._watch.heard(item)
                    self._count(item)
                    self._also(item, last)
                    self._tell(item, last)
                except Empty:
                    pass
                if self._status:
                    self._show(self._status, last)

    def _patience(self) -> float:
        """How long to wait for news before the display is looked at again, in seconds."""
        return _IDLE_S if self._daemon.view.tick is None else _FRAME_S

    def _show(self, status: Live, last: str) -> None:
        """Draws the display, unless it is there already."""
        now = self._watch.seen(self._daemon.view, plain(last))
        frame = (now, self._console.size)
        if frame == self._shown:
            return
        self._shown = frame
        # As in `_print`.
        with suppress(OSError, SystemExit), at_once(self._console):
            status.update(now, refresh=True)

    def _count(self, item: News) -> None:
        if isinstance(item, Answered):
            self._answers += 1
            self._late += item.outcome != "answer"
        self._rests += isinstance(item, PlanLate)

    def _tell(self, item: News, line: str) -> None:
        if self._log is not None and (complaint := self._log.write(line)):
            self._print(complaint)
        # What passes is told by the display; what asks for something would be cut off there, and overwritten.
        if self._status is None or not isinstance(item, _PASSING):
            self._print(line, item)


def as_json(item: News | None, line: str) -> str:
    """A line for programs: the kind of news, its numbers and names, and the sentence as `said`."""
    facts = {
        f.name: value
        for f in (fields(item) if item is not None else ())
        if isinstance(value := getattr(item, f.name), str | int | float | bool)
    }
    return json.dumps({"kind": type(item).__name__ if item is not None else "Line", **facts, "said": line})


def sentence(item: News) -> str:
    """What happened, in words."""
    match item:
        case Ready():
            remark = f" {item.remark}" if item.remark else ""
            return (
                f"model ready: {item.model} on {item.device}; it answers within {item.slowest_s * 1e3:.1f} ms.{remark}"
            )
        case Failed():
            return item.reason
        case LiveSaid(line):
            return line
        case Dropped():
            what = " and ".join(f"{count} {kind}" for kind, count in sorted(item.counts.items()))
            return f"too much input to keep up with: {what} dropped"
        case Rolling():
            return f"rolling, in {_bars(item)}"
        case Halted(why):
            return _WHY[why]
        case Called():
            return f"heard {_bars(item)}: {_notes(item.loop) if len(item.loop) or item.asked else 'silence'}"
        case Answered():
            return _answered(item)
        case DraftPlayed():
            return f"answering in {_bars(item)}: {_notes(item.loop)}, a draft: the answer itself is late"
        case PlanLate():
            return "what plays along with you came too late, and left a rest"
        case CannotUse("along"):
            return "this preset answers loops; choose one that plays along, such as band"
        case CannotUse():
            return "this preset plays along with you; choose one that answers loops, such as vary"
        case ForeignClock(port):
            return f"input {port + 1} sends a clock too; it is ignored"
        case DoubledClock(port):
            return f"input {port + 1} gets two clocks, or one clock twice; remove one of the two connections"
        case NoStart(tempo, rolls):
            cure = "it rolls at the next bar" if rolls else "stop it and press play, or press roll on a downbeat"
            return f"clock at {tempo:.0f} BPM, but no Start yet: {cure}"
        case NoClock():
            return "no clock comes to roll with: switch on clock or sync for rtgen, or use --clock internal"
        case LoopClosed(tempo, bars, confidence):
            return _closed(tempo, bars, confidence)
        case NothingToClose():
            return "no first loop yet: play one, and press close on the downbeat after it; this needs --clock player"
        case TakenOver(notes, rolls):
            on = "; it rolls on at the next bar if a clock comes" if rolls else ""
            ended = f": ended {_count(notes)} that it left sounding" if notes else ""
            return f"the last rtgen crashed{ended}{on}"
        case Overslept(seconds):
            return f"the computer slept, or stood still, for {seconds:.0f} s"
        case PresetChanged(preset):
            return f"preset {preset.name}"
        case Stored(which, loop):
            if loop is None:
                return f"nothing to store as {which.upper()} yet; play a loop first"
            return f"stored the last loop as {which.upper()}: {_notes(loop)}"
        case ControlTaken():
            return f"that control is already {item.other}; confirm to make it {item.to}, or move another one"
        case PortChanged(_, name, there):
            return f"{name} is back" if there else f"{name} is gone; waiting for it"
        case DrumsLeftOut():
            return (
                "channel 10 is left out, as drums; choose a preset that plays drums, such as drummer, or set "
                "'listens: 10' in the settings if it is not drums"
            )
        case PeersChanged(peers):
            return f"Link: {peers} other {'peers' if peers != 1 else 'peer'}"
        case Recalled():
            return _recalled(item)
        case AskedAgain(notes):
            return f"the same call is answered again next: {_count(notes)}"
        case Layered():
            return _layered(item)
        case SelectPreset(which):
            return f"loading {'preset ' + which if which.isdigit() else 'the ' + which + ' preset'} ..."
        case KeepAnswer(loop):
            return "there is no answer to keep yet" if loop is None else f"keeping the answer: {_notes(loop)}"
        case UseClip():
            return "reading the clip that is selected in Live ..."
        case NothingLearned():
            return f"no control was learned for {item.to}; 'rtgen controls' lists the default ones"
        case SaveBindings():
            return f"{'forgot' if item.forgotten else 'learned'} {item.to}"


def _closed(tempo: float, bars: int, confidence: float) -> str:
    if not tempo:
        return "no tempo found in what was played; play a loop of 1 to 8 bars, and close it on the downbeat after it"
    doubt = "" if confidence > _SURE else ", perhaps"
    return f"tempo {tempo:.0f}, {bars} {'bar' if bars == 1 else 'bars'}{doubt}; press half or double to correct"


def _answered(item: Answered) -> str:
    took = f"{item.seconds * 1e3:.0f} ms"
    match item.outcome:
        case "answer":
            took = f"{item.seconds * 1e3:.1f} ms (lead {item.lead_s * 1e3:.0f} ms)"
            return f"answering in {_bars(item)}: {_notes(item.loop)}, {took}"
        case "late":
            return f"the answer for {_bars(item)} is late ({took}); it starts at the next bar"
        case "missed":
            return f"the answer for {_bars(item)} came too late to play ({took})"


def _recalled(item: Recalled) -> str:
    if not item.number:
        return "there is no answer to go to yet"
    which = f"answer {item.number} of {item.count} to its call: {_count(item.notes)}"
    return which if item.moved else f"{which}; there is none beyond it"


def _layered(item: Layered) -> str:
    layers = f"{item.layers or 'no'} {'layer' if item.layers == 1 else 'layers'}"
    match item.undone:
        case "nothing":
            return "there is no layer to take away; overdub lays what you play on the loop"
        case "pass":
            return f"what you played into this loop is taken away; {layers} left"
        case "layer":
            return f"the newest layer is taken away; {layers} left"
    return f"overdubbing, on {layers}; undo takes the newest away" if item.on else f"overdubbing ended, with {layers}"


def _notes(loop: Loop) -> str:
    return _count(len(loop))


def _count(notes: int) -> str:
    return f"{notes} {'note' if notes == 1 else 'notes'}"


def _bars(item: Rolling | Called | Answered | DraftPlayed) -> str:
    first = item.loop_index * item.bars + 1
    return f"bars {first}-{first + item.bars - 1}" if item.bars > 1 else f"bar {first}"
