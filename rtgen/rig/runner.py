"""`rtgen run`: builds the daemon from a set-up, and ends it cleanly."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

from rich.console import Console
from rich.prompt import IntPrompt
from rich.text import Text

from rtgen.errors import UserError
from rtgen.instrument.binding import Binding
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music.time import PPQN
from rtgen.rig.daemon import Daemon, News
from rtgen.rig.kept.journal import SUFFIX, Journal, Opening
from rtgen.rig.kept.log import Log
from rtgen.rig.kept.replay import unfinished, write
from rtgen.rig.midi.ports import SystemPorts
from rtgen.rig.midi.systems import Api, find_api, own_name
from rtgen.rig.told.osc import PORT, Remote
from rtgen.rig.told.page import Page
from rtgen.rig.told.steward import House, Steward
from rtgen.rig.told.telling import Teller
from rtgen.rig.worker.worker import Failed


@dataclass(frozen=True, slots=True)
class Setup:
    """What belongs to the machine and the moment, not to the music.

    Args:
        inputs: names of the inputs; none for a virtual one.
        output: name of the output; None for a virtual one.
        api: the MIDI system.
        name: what other programs see the ports as.
        options: of the session, but for the bindings.
        controllers: what was learned from controllers, by the name of their input.
        device: what runs the model.
        log: a file for what happens.
        config_path: the file with the settings of this machine.
        clips: the folder for answers that are kept.
        shown: names of the outputs that lead to the controllers at the inputs, in their order.
        wait: whether ports that are not there are waited for.
        sessions: folder for session logs; None keeps none.
        osc: `off`, or where OSC is listened to: a port of this machine, or an address and a port; None for the usual.
        panel: port of a page with rolls, knobs and buttons; None serves none.
        form: whether the terminal gets sentences, or JSON for programs.
    """

    inputs: tuple[str, ...]
    output: str | None
    api: Api
    name: str
    options: Options
    controllers: Mapping[str, tuple[Binding, ...]]
    device: str
    log: Path | None
    config_path: Path
    clips: Path
    shown: tuple[str, ...] = ()
    wait: bool = False
    sessions: Path | None = None
    osc: str | None = None
    panel: int | None = None
    form: Literal["words", "json"] = "words"


def run(preset: Preset, model: Path, setup: Setup, seconds: float | None, quiet: bool) -> None:
    """Plays until SIGINT, SIGTERM, or for so many seconds.

    Raises:
        UserError: the ports, the model or Link's library are not there, or the log cannot be written.
    """
    log = Log(setup.log) if setup.log else None
    console = Console(stderr=True, highlight=False)
    choose = _ask if sys.stdin.isatty() and console.is_terminal else None
    api = find_api(setup.api)
    name = own_name(setup.name, api)
    ports = SystemPorts(
        api,
        name,
        setup.inputs or (None,),
        setup.output,
        choose,
        wait=setup.wait,
        shown=setup.shown,
    )
    house = House(setup.config_path, setup.inputs or (f"{name} in",), setup.clips)
    known = dict(setup.controllers)
    if (usual := f"{setup.name} in") in known:
        known.setdefault(f"{name} in", known[usual])  # a second rtgen begins with what the first was taught
    bindings = {number: known[each] for number, each in enumerate(house.inputs) if each in known}
    options = replace(setup.options, bindings=bindings)
    session = Session(preset, options)
    for number in range(len(house.inputs)):
        session.controls(number)  # they are shown what is turned before they turn anything
    news: SimpleQueue[News | None] = SimpleQueue()
    journal = _journal(setup.sessions, name, Opening(preset, options), partial(_complain, news))
    note = journal.note if journal is not None else lambda *_: None
    daemon = Daemon(session, ports, model, setup.device, news.put, note)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: daemon.stop())
    link = _link(session, daemon) if options.clock == "link" else nullcontext()
    steward = Steward(daemon, house)
    about = {"name": name, "clips": str(setup.clips)}
    with journal or nullcontext():
        daemon.open()
        remote = _remote(setup.osc, about, daemon, steward, news)
        also = remote.heard if remote is not None else lambda *_: None
        teller = Teller(console, daemon, news, steward.see_to, log, quiet, also, setup.form)
        with teller, link, remote or nullcontext():
            if remote is not None:
                teller.say(f"OSC on {remote.host}, port {remote.port}")
            teller.say(f"ports open: {ports.title}; seed {options.seed}; Ctrl-C ends")
            if name != setup.name:
                teller.say(f"there is another {setup.name}: this one and its ports are {name}, unless --name says else")
            for port in ports.awaited:
                teller.say(f"{port} is not there yet; it is waited for")
            with _page(setup.panel, remote, teller.say):
                daemon.run(seconds)
    if journal is not None and not journal.silent:
        _close(journal, console, quiet)


def _link(session: Session, daemon: Daemon) -> AbstractContextManager[object]:
    # Only whoever asks for it has the library.
    from rtgen.rig.link import LinkPeer

    return LinkPeer(session.preset.tempo, lambda: session.preset.metre.bar / PPQN, daemon.hear)


def _journal(folder: Path | None, name: str, opening: Opening, complain: Callable[[str], None]) -> Journal | None:
    """The log of this session; of earlier ones that were killed the music is written meanwhile, by another process."""
    if folder is None:
        return None
    if left := unfinished(folder):
        subprocess.Popen([sys.executable, "-m", "rtgen.rig.kept.replay", *map(str, left)], start_new_session=True)
    when = datetime.now().astimezone()
    path, number = folder / f"{when:%Y-%m-%d %H.%M.%S} {name}{SUFFIX}", 1
    while path.exists():
        number += 1
        path = path.with_name(f"{when:%Y-%m-%d %H.%M.%S} {name} {number}{SUFFIX}")
    return Journal(path, opening, complain)


def _close(journal: Journal, console: Console, quiet: bool) -> None:
    """Writes the music of a session that has ended, if there was any."""
    from rich.progress import track  # not while it opens its ports

    if not quiet:
        console.print(Text(f"writing {journal.path.with_suffix('.mid')}"), soft_wrap=True)
    hidden = quiet or not console.is_terminal
    write(journal.path, lambda steps: track(steps, "", journal.count, console=console, transient=True, disable=hidden))


def _remote(
    osc: str | None, about: Mapping[str, str], daemon: Daemon, steward: Steward, news: SimpleQueue[News | None]
) -> Remote | None:
    """What takes OSC in.

    Raises:
        UserError: it cannot be listened to where it shall be.
    """
    if osc == "off":
        return None
    host, _, port = (osc or "").rpartition(":")
    if port and not port.isdigit():
        raise UserError(f"--osc is {osc!r}; say off, a port, or an address and a port, as 127.0.0.1:{PORT}")
    complain = partial(_complain, news)
    where = host or "127.0.0.1", int(port) if port else None
    try:
        return Remote(daemon.hear, lambda: daemon.view, steward.choose, complain, about, *where)
    except UserError as error:
        if osc is not None:
            raise
        # Nobody asked for it: the music goes on without.
        complain(str(error))
        return None


def _page(port: int | None, remote: Remote | None, say: Callable[[str], None]) -> AbstractContextManager[object]:
    """The panel, where it is wanted and can speak with us."""
    if port is None:
        return nullcontext()
    if remote is None or remote.host not in ("127.0.0.1", "0.0.0.0"):
        say("there is no panel, as OSC does not listen on this machine; say --osc PORT, with a port that is free")
        return nullcontext()
    return Page(port, remote.port, say)


def _complain(news: SimpleQueue[News | None], why: str) -> None:
    news.put(Failed(why))


def _ask(question: str, names: list[str]) -> str:
    console = Console(stderr=True, highlight=False)
    for number, name in enumerate(names, 1):
        console.print(Text(f"{number}. {name}"))
    number = IntPrompt.ask(question, choices=[str(n) for n in range(1, len(names) + 1)], console=console)
    return names[number - 1]
