"""`rtgen run`: builds the daemon from a set-up, tells the player what happens, and ends it cleanly."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from rich.console import Console
from rich.live import Live
from rich.prompt import IntPrompt
from rich.text import Text

from rtgen.instrument.events import Notice
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music.time import PPQN
from rtgen.rig.daemon import Daemon, News
from rtgen.rig.ports import Api, SystemPorts, find_api
from rtgen.rig.worker import Failed, Ready


@dataclass(frozen=True, slots=True)
class Setup:
    """What belongs to the machine and the moment, not to the music.

    Args:
        inputs: names of the inputs; none for a virtual one.
        output: name of the output; None for a virtual one.
        api: the MIDI system.
        name: what other programs see the ports as.
        clock: whose clock is followed.
        seed: of all chance.
        device: what runs the model.
        thru: whether what is played is sent on; None decides by the ports.
        clock_offset_s: seconds by which the clock comes late.
        output_offset_s: seconds by which messages leave early.
        send_clock: whether the internal clock goes to the output.
    """

    inputs: tuple[str, ...]
    output: str | None
    api: Api
    name: str
    clock: Literal["midi", "internal"]
    seed: int
    device: str
    thru: bool | None
    clock_offset_s: float
    output_offset_s: float
    send_clock: bool


def run(preset: Preset, model: Path, setup: Setup, seconds: float | None, quiet: bool) -> None:
    """Plays until SIGINT, SIGTERM, or for so many seconds.

    Raises:
        UserError: the ports or the model are not there.
    """
    console = Console(stderr=True, highlight=False)
    choose = _ask if sys.stdin.isatty() and console.is_terminal else None
    ports = SystemPorts(find_api(setup.api), setup.name, setup.inputs or (None,), setup.output, choose)
    thru = setup.thru
    if thru is None:
        # Virtual ports lead to a DAW, which hears the keyboard anyway; named ones are a keyboard and an instrument.
        thru = bool(setup.inputs) and setup.output not in setup.inputs
    session = Session(
        preset,
        clock=setup.clock,
        thru=thru,
        seed=setup.seed,
        clock_offset_s=setup.clock_offset_s,
        output_offset_s=setup.output_offset_s,
        send_clock=setup.send_clock,
    )
    news: SimpleQueue[News | None] = SimpleQueue()
    daemon = Daemon(session, ports, model, setup.device, news.put)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: daemon.stop())
    daemon.open()
    with _told(console, daemon, preset, news, quiet):
        if not quiet:
            console.print(f"ports open: {ports.title}; seed {setup.seed}; Ctrl-C ends")
        daemon.run(seconds)


def _ask(question: str, names: list[str]) -> str:
    console = Console(stderr=True, highlight=False)
    for number, name in enumerate(names, 1):
        console.print(Text(f"{number}. {name}"))
    number = IntPrompt.ask(question, choices=[str(n) for n in range(1, len(names) + 1)], console=console)
    return names[number - 1]


@contextmanager
def _told(
    console: Console, daemon: Daemon, preset: Preset, news: SimpleQueue[News | None], quiet: bool
) -> Iterator[None]:
    """Tells the player what happens, from a thread of its own: printing must not hold up the music."""
    status = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal and not quiet else None
    thread = threading.Thread(target=_tell, args=(console, daemon, preset, news, quiet, status), daemon=True)
    thread.start()
    try:
        yield
    finally:
        news.put(None)
        thread.join(1.0)


def _tell(
    console: Console,
    daemon: Daemon,
    preset: Preset,
    news: SimpleQueue[News | None],
    quiet: bool,
    status: Live | None,
) -> None:
    from contextlib import nullcontext
    from queue import Empty

    last = "waiting for the model"
    with status or nullcontext():
        while True:
            try:
                item = news.get(timeout=0.25 if status else None)
                if item is None:
                    return
                last = sentence(item, preset)
                if not quiet and (status is None or isinstance(item, Ready | Failed)):
                    console.print(Text(last), soft_wrap=True)
            except Empty:
                pass
            if status:
                status.update(Text(_line(daemon, preset, last), no_wrap=True, overflow="ellipsis"), refresh=True)


def _line(daemon: Daemon, preset: Preset, last: str) -> str:
    view = daemon.view
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
        "late": f"the answer for {bars} came late ({item.seconds * 1e3:.0f} ms); it begins at the next bar",
        "missed": f"the answer for {bars} came too late to be played ({item.seconds * 1e3:.0f} ms)",
        "foreign": f"input {item.port + 1} sends a clock too; it is not followed, as another one is",
        "overslept": f"this machine slept, or stood still, for {item.seconds:.0f} s",
        "preset": f"preset {item.name}",
        "unplugged": f"{item.name} has gone; it is waited for",
        "plugged": f"{item.name} is back",
    }
    return str(words[item.what])
