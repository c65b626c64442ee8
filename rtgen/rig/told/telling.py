"""Tells the player what happens: on the terminal, and in a log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from rtgen.instrument.events import Notice
from rtgen.instrument.preset import Preset
from rtgen.music.time import PPQN
from rtgen.rig.daemon import Daemon, News
from rtgen.rig.inbox import Dropped
from rtgen.rig.kept.log import Log
from rtgen.rig.told.steward import Steward
from rtgen.rig.worker.worker import Failed, Ready


class Teller:
    """A thread that tells what happens: printing must not hold up the music, nor a full disk end it.

    Args:
        console: the terminal, or what stands for it.
        daemon: whose state is shown.
        preset: that it begins with.
        news: what happens.
        log: a file for it.
        quiet: whether the terminal is spared.
        steward: who sees to what the instrument wants.
        also: is told everything, and in what words.
    """

    def __init__(
        self,
        console: Console,
        daemon: Daemon,
        preset: Preset,
        news: SimpleQueue[News | None],
        log: Log | None,
        quiet: bool,
        steward: Steward | None = None,
        also: Callable[[News, str], None] = lambda *_: None,
    ) -> None:
        self._console = console
        self._daemon = daemon
        self._preset = preset
        self._news = news
        self._log = log
        self._quiet = quiet
        self._steward = steward
        self._also = also
        self._status = None
        if console.is_terminal and not quiet:
            self._status = Live(console=console, auto_refresh=False, transient=True)
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
        """Tells a line."""
        if self._log is not None and (complaint := self._log.write(line)):
            self._print(complaint)
        self._print(line)

    def _print(self, line: str) -> None:
        if not self._quiet:
            # Where it leads to may be full, or gone; rich means to end the process then, and this thread must go on.
            with suppress(OSError, SystemExit):
                self._console.print(Text(line), soft_wrap=True)

    def _run(self) -> None:
        last = "waiting for the model"
        with self._status or nullcontext():
            while True:
                try:
                    item = self._news.get(timeout=0.25 if self._status else None)
                    if item is None:
                        return
                    if isinstance(item, Notice) and item.preset is not None:
                        self._preset = item.preset
                    seen_to = self._steward.see_to(item) if self._steward and isinstance(item, Notice) else None
                    last = seen_to or sentence(item, self._preset)
                    self._also(item, last)
                    self._tell(item, last)
                except Empty:
                    pass
                if self._status:
                    line = Text(self._line(last), no_wrap=True, overflow="ellipsis")
                    with suppress(OSError, SystemExit):
                        self._status.update(line, refresh=True)

    def _tell(self, item: News, line: str) -> None:
        if self._status is None or isinstance(item, Ready | Failed):
            self.say(line)
        elif self._log is not None and (complaint := self._log.write(line)):
            self._print(complaint)

    def _line(self, last: str) -> str:
        view, preset = self._daemon.view, self._preset
        if view.tick is None:
            where = "■ waiting for the clock"
        else:
            bar, rest = divmod(view.tick, preset.metre.bar)
            where = f"▶ {view.tempo:.1f} BPM  {bar + 1}.{rest // PPQN + 1}"
        return f"{where}  {preset.name}: {preset.mode}, {preset.use}  {last}"


def sentence(item: News, preset: Preset) -> str:
    """What happened, in words."""
    match item:
        case Ready():
            remark = f" {item.remark}" if item.remark else ""
            return f"model ready: {item.model} on {item.device}, {item.seconds * 1e3:.1f} ms an answer.{remark}"
        case Failed():
            return item.reason
        case Dropped():
            what = " and ".join(f"{count} {kind}" for kind, count in sorted(item.counts.items()))
            return f"more comes in than can be played: {what} dropped"
        case Notice():
            return _notice(item, preset)
    raise TypeError(item)


def _notice(item: Notice, preset: Preset) -> str:
    first = item.loop_index * preset.bars + 1
    bars = f"bars {first}-{first + preset.bars - 1}" if preset.bars > 1 else f"bar {first}"
    notes = f"{len(item.loop)} notes" if item.loop is not None else ""
    words: dict[str, Any] = {
        "rolling": f"rolling, in {bars}",
        "stopped": "stopped",
        "lost": "the clock stopped coming; stopped until it is back",
        "located": "located",
        "call": f"heard {bars}: {notes}",
        "silence": f"heard {bars}: silence",
        "answer": f"answering in {bars}: {notes}, {item.seconds * 1e3:.1f} ms (lead {item.lead_s * 1e3:.0f} ms)",
        "draft": f"answering in {bars}: {notes}, from what was heard before the last moment; the model is late",
        "late": f"the answer for {bars} came late ({item.seconds * 1e3:.0f} ms); it begins at the next bar",
        "missed": f"the answer for {bars} came too late to be played ({item.seconds * 1e3:.0f} ms)",
        "foreign": f"input {item.port + 1} sends a clock too; it is not followed, as another one is",
        "doubled": f"every clock on input {item.port + 1} comes twice; take one of its two connections away",
        "overslept": f"this machine slept, or stood still, for {item.seconds:.0f} s",
        "preset": f"preset {preset.name}",
        "stored": f"{item.name.upper()} is what was played last: {notes}"
        if item.loop is not None
        else f"nothing has been played yet that could be {item.name.upper()}",
        "kept": f"an answer to keep: {notes}" if item.loop is not None else "there is no answer yet that could be kept",
        "wanted": f"{'the ' if not item.name.isdigit() else ''}preset {item.name} is wanted",
        "learned": f"{item.name} is learned",
        "taken": f"that is for {item.other}; say that it shall be for {item.name} all the same, or move another",
        "unplugged": f"{item.name} has gone; it is waited for",
        "plugged": f"{item.name} is back",
        "linked": f"Link: {item.peers} other{'s' * (item.peers != 1)} in the session",
    }
    return str(words[item.what])
