"""`rtgen run`: builds the daemon and everything around it, and shuts it down cleanly."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from rich.console import Console
from rich.prompt import IntPrompt
from rich.text import Text

from rtgen.errors import UserError
from rtgen.instrument.binding import Binding, Layout, bound
from rtgen.instrument.events import Left, Step
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music.time import PPQN
from rtgen.rig.apart import ending
from rtgen.rig.daemon import Daemon, News
from rtgen.rig.kept.config import ALL
from rtgen.rig.kept.journal import SUFFIX, Journal, Opening
from rtgen.rig.kept.left import left_behind
from rtgen.rig.kept.log import Log
from rtgen.rig.kept.recovery import Recovery
from rtgen.rig.kept.scribe import where
from rtgen.rig.midi.ports import open_ports
from rtgen.rig.midi.systems import Api, find_api, own_name
from rtgen.rig.midi.ways import Patch
from rtgen.rig.tally import report
from rtgen.rig.told.osc import PORT, Remote
from rtgen.rig.told.page import Page
from rtgen.rig.told.steward import House, Steward
from rtgen.rig.told.telling import Teller
from rtgen.rig.worker.wire import Failed
from rtgen.terminal import Terminal
from rtgen.text import plain


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything `rtgen run` needs besides the preset.

    Args:
        inputs: names of the inputs; empty for a virtual one.
        output: name of the output; None for a virtual one.
        api: the MIDI system.
        name: of the ports, as other programs show them.
        options: of the session, without bindings.
        controllers: learned bindings, by the name of the input.
        controls: what controllers do that has not been learned; for all, or by the name of the input.
        ignore_programs: names of the inputs whose program changes select no preset, in part, or `all`.
        device: what runs the model.
        log: a file for messages.
        config_path: the file with the settings of this machine.
        clips: the folder for kept answers.
        given: preset settings from the command line that other presets get as well.
        shown: names of the outputs to the controllers of the inputs, in the same order.
        wait: whether to wait for ports that are not there.
        sessions: folder for session logs; None keeps none.
        osc: `off`, a port of this machine, or an address and a port; None for the default.
        panel: port of the control panel; None serves none.
        form: of the messages on the terminal: sentences, or JSON.
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
    given: Mapping[str, Any] = field(default_factory=dict)
    controls: Layout | Mapping[str, Layout] = "knobs"
    ignore_programs: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    wait: bool = False
    sessions: Path | None = None
    osc: str | None = None
    panel: int | None = None
    form: Literal["words", "json"] = "words"


def run(preset: Preset, model: Path, setup: Setup, seconds: float | None, quiet: bool) -> None:
    """Play until SIGINT or SIGTERM, or for `seconds`.

    Raises:
        UserError: a port, the model or the Link library is missing.
    """
    log = Log(setup.log) if setup.log else None
    console = Terminal(stderr=True, highlight=False)
    choose = _ask if sys.stdin.isatty() and console.is_terminal else None
    api = find_api(setup.api)
    name = own_name(setup.name, api)
    patch = Patch(name, setup.inputs or (None,), setup.output, choose, setup.wait, setup.shown)
    ports = open_ports(api, patch)
    house = House(setup.config_path, setup.inputs or (f"{name} in",), setup.clips, setup.given)
    options = replace(
        setup.options,
        ahead_s=ports.ahead_s,
        bindings=bindings_of(setup, house.inputs, name),
        ignores_programs=named(setup.ignore_programs, setup.inputs or (f"{setup.name} in",)),
    )
    session = Session(preset, options)
    for number in range(len(house.inputs)):
        session.controls(number)  # so that their LEDs show the parameters from the start
    news: SimpleQueue[News | None] = SimpleQueue()
    complain = partial(_complain, news)
    left = left_behind(setup.sessions, name) if setup.sessions else None
    journal = _journal(setup.sessions, name, Opening(preset, options), complain, left) if setup.sessions else None

    def note(step: Step) -> None:
        if journal is not None:
            journal.note(step, where(session, step.now))

    daemon = Daemon(session, ports, model, setup.device, news.put, note)
    if journal is not None:
        journal.place = partial(_place, daemon)
    link = _link(session, daemon) if options.clock == "link" else nullcontext()
    steward = Steward(daemon, house)
    about = {"name": name, "clips": str(setup.clips)}
    recovery = Recovery(setup.sessions, complain) if setup.sessions else nullcontext()
    with ending(daemon.stop), journal or nullcontext(), recovery:
        daemon.open()
        if left is not None:
            daemon.hear(left)
        remote = _remote(setup.osc, about, daemon, steward, news, lambda: report(daemon, ports.connections()))
        also = remote.heard if remote is not None else lambda *_: None
        teller = Teller(console, daemon, news, steward.see_to, log, quiet, also, setup.form)
        with teller, link, remote or nullcontext():
            if remote is not None:
                teller.say(f"OSC on {remote.host}, port {remote.port}")
            teller.say(f"ports open: {ports.title}; seed {options.seed}; Ctrl-C ends")
            if name != setup.name:
                teller.say(f"another {setup.name} is running: this one is called {name}; choose a name with --name")
            for port in ports.awaited:
                teller.say(f"waiting for {port}")
            with _page(setup.panel, remote, teller.say):
                daemon.run(seconds)
    if journal is not None and not journal.silent:
        _close(journal, console, quiet)
    teller.farewell(journal.path if journal is not None and not journal.silent else None)


def bindings_of(setup: Setup, inputs: Sequence[str], name: str) -> dict[int, tuple[Binding, ...]]:
    """Return what the controls at each input do; a second rtgen, called `name`, starts with those of the first."""
    found = {}
    for number, each in enumerate(inputs):
        first = f"{setup.name} in" if each == f"{name} in" else each
        layout = setup.controls
        if not isinstance(layout, str):
            layout = layout.get(each, layout.get(first, "knobs"))
        found[number] = bound(layout, setup.controllers.get(each, setup.controllers.get(first, ())))
    return found


def named(words: Sequence[str], inputs: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of the inputs that any of some words names, in part; `all` names every input."""
    folded = [word.lower() for word in words]
    return tuple(n for n, each in enumerate(inputs) if any(w == ALL or (w and w in each.lower()) for w in folded))


def _link(session: Session, daemon: Daemon) -> AbstractContextManager[object]:
    # An optional library.
    from rtgen.rig.link import LinkPeer

    return LinkPeer(session.preset.tempo, lambda: session.preset.metre.bar / PPQN, daemon.hear)


def _journal(folder: Path, name: str, opening: Opening, complain: Callable[[str], None], left: Left | None) -> Journal:
    """Start the session log, under a name that no other has."""
    when = f"{datetime.now().astimezone():%Y-%m-%d %H.%M.%S} {name}"
    path, number = folder / f"{when}{SUFFIX}", 1
    with suppress(OSError):  # the journal then reports the error
        while path.exists():
            number += 1
            path = path.with_name(f"{when} {number}{SUFFIX}")
    return Journal(path, opening, complain, name, left)


def _place(daemon: Daemon) -> tuple[float, int]:
    """Where the song is, for a successor if this process crashes."""
    view = daemon.view
    return view.now, -1 if view.tick is None else max(view.tick, 0)


def _close(journal: Journal, console: Console, quiet: bool) -> None:
    """Write the music of a session that has ended, and say what is missing."""
    lines = [] if quiet else [f"writing {journal.path.with_suffix('.mid')}"]
    try:
        journal.save_music()
    except UserError as error:
        lines.append(str(error))
    with suppress(OSError):  # the terminal may be gone
        for line in (*lines, journal.trouble):
            if line:
                console.print(Text(plain(line)), soft_wrap=True)


def _remote(
    osc: str | None,
    about: Mapping[str, str],
    daemon: Daemon,
    steward: Steward,
    news: SimpleQueue[News | None],
    examine: Callable[[], str],
) -> Remote | None:
    """Start listening to OSC.

    Raises:
        UserError: the address given cannot be used.
    """
    if osc == "off":
        return None
    host, _, port = (osc or "").rpartition(":")
    if port and not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65_536):
        raise UserError(f"--osc is {osc!r}; use off, a port, or an address and a port such as 127.0.0.1:{PORT}")
    complain = partial(_complain, news)
    where = host or "127.0.0.1", int(port) if port else None
    try:
        return Remote(daemon.hear, lambda: daemon.view, steward.choose, complain, about, *where, examine)
    except UserError as error:
        if osc is not None:
            raise
        # It was not asked for: go on without.
        complain(str(error))
        return None


def _page(port: int | None, remote: Remote | None, say: Callable[[str], None]) -> AbstractContextManager[object]:
    """Serve the panel, if it was asked for and can reach this daemon."""
    if port is None:
        return nullcontext()
    if remote is None or remote.host not in ("127.0.0.1", "0.0.0.0"):
        say("no panel: OSC is not listening on this machine; choose a free port with --osc PORT")
        return nullcontext()
    return Page(port, remote.port, say)


def _complain(news: SimpleQueue[News | None], why: str) -> None:
    news.put(Failed(why))


def _ask(question: str, names: list[str]) -> str:
    console = Terminal(stderr=True, highlight=False)
    for number, name in enumerate(names, 1):
        console.print(Text(f"{number}. {name}"))
    number = IntPrompt.ask(question, choices=[str(n) for n in range(1, len(names) + 1)], console=console)
    return names[number - 1]
