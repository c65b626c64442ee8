"""`rtgen run`, once its ports are open: builds the daemon and everything around it, and shuts it down cleanly."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from importlib import import_module
from itertools import count
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.text import Text

from rtgen.errors import UserError
from rtgen.instrument.binding import Binding, bound
from rtgen.instrument.events import Left, Step
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music.note import Loop
from rtgen.music.time import PPQN
from rtgen.rig.ableton import LiveSaid
from rtgen.rig.ableton.live_set import LiveSet
from rtgen.rig.ableton.variations import COUNT, variations
from rtgen.rig.apart import ending
from rtgen.rig.daemon import Daemon, News
from rtgen.rig.kept.journal import SUFFIX, Journal, Opening
from rtgen.rig.kept.left import left_behind
from rtgen.rig.kept.log import Log
from rtgen.rig.kept.recovery import Recovery
from rtgen.rig.kept.scribe import where
from rtgen.rig.midi.page_ports import DELIVERY_S, PagePorts
from rtgen.rig.midi.ways import NamedPorts
from rtgen.rig.setup import Setup, named
from rtgen.rig.tally import report
from rtgen.rig.told import keys
from rtgen.rig.told.osc import PORT, Remote
from rtgen.rig.told.page import Page
from rtgen.rig.told.steward import House, Steward
from rtgen.rig.told.telling import Teller
from rtgen.rig.worker.wire import Failed
from rtgen.terminal import Terminal
from rtgen.text import plain


def play(
    preset: Preset, model: Path, setup: Setup, name: str, ports: NamedPorts, seconds: float | None, quiet: bool
) -> None:
    """Play until SIGINT or SIGTERM, or for `seconds`.

    Args:
        preset: that plays first.
        model: its model.
        setup: everything else.
        name: of the ports.
        ports: which are open, and are closed at the end.
        seconds: None for no limit.
        quiet: whether to print errors only.

    Raises:
        UserError: the model or the Link library is missing; or the page, if it is keyboard and sound.
    """
    log = Log(setup.log) if setup.log else None
    console = Terminal(stderr=True, highlight=False)
    house = House(setup.config_path, setup.inputs or (f"{name} in",), setup.clips, setup.given)
    options = replace(
        setup.options,
        ahead_s=ports.ahead_s,
        delivery_s=DELIVERY_S if isinstance(ports, PagePorts) else 0.0,
        bindings=bindings_of(setup, house.inputs, name),
        ignores_programs=named(setup.ignore_programs, setup.inputs or (f"{setup.name} in",)),
    )
    session = Session(preset, options)
    for number in range(len(house.inputs)):
        session.controls(number)  # so that their LEDs show the parameters from the start
    news: SimpleQueue[News | None] = SimpleQueue()
    complain = partial(_complain, news)
    # What a page sounds ends with the program that it plays with.
    left = left_behind(setup.sessions, name) if setup.sessions and type(ports) is not PagePorts else None
    journal = _journal(setup.sessions, name, Opening(preset, options), complain, left) if setup.sessions else None

    def note(step: Step) -> None:
        if journal is not None:
            journal.note(step, where(session, step.now))

    daemon = Daemon(session, ports, model, setup.device, news.put, note)
    if journal is not None:
        journal.place = partial(_place, daemon)
    link = _link(session, daemon) if options.clock == "link" else _lead(daemon) if setup.send_link else nullcontext()
    steward = Steward(daemon, house)
    live = _live(setup, name, daemon, steward, news)

    def examine() -> str:
        return report(daemon, ports.connections(), live.told() if live is not None else None)

    about = {"name": name, "clips": str(setup.clips), "link": "leads" if setup.send_link else ""}
    recovery = Recovery(setup.sessions, complain) if setup.sessions else nullcontext()
    with ending(daemon.stop), journal or nullcontext(), recovery:
        daemon.open()
        if left is not None:
            daemon.hear(left)
        remote = _remote(setup.osc, about, daemon, steward, news, examine)
        also = remote.heard if remote is not None else lambda *_: None
        teller = Teller(console, daemon, news, steward.see_to, log, quiet, also, setup.form)
        typed = options.clock == "player" and sys.stdin.isatty() and console.is_terminal
        with (
            teller,
            link,
            remote or nullcontext(),
            live or nullcontext(),
            keys.Keys(daemon.hear) if typed else nullcontext(),
        ):
            if options.clock == "player":
                teller.say(keys.SAYS if typed else keys.OTHERWISE)
            if remote is not None:
                other = "" if remote.port == PORT else f" --osc {remote.port}"
                page = "" if setup.panel else f"; 'rtgen panel{other}' shows a page with rolls, knobs and buttons"
                teller.say(f"OSC on {remote.host}, port {remote.port}{page}")
            teller.say(f"ports open: {ports.title}; seed {options.seed}; Ctrl-C ends")
            if name != setup.name:
                teller.say(f"another {setup.name} is running: this one is called {name}; choose a name with --name")
            for port in ports.awaited:
                teller.say(f"waiting for {port}")
            with _page(setup, remote, teller.say, ports, daemon), _performer(setup, preset, ports):
                # For clips that are kept: to import it while something plays would hold up the real-time loop.
                import_module("mido")
                daemon.run(seconds)
    saved = journal.path if journal is not None and not journal.silent else None
    if journal is not None and saved is not None:
        _close(journal, console, quiet)
        # A log that could never be written is none.
        saved = saved if saved.exists() else None
    teller.farewell(saved, along=daemon.view.preset.along)


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


def _link(session: Session, daemon: Daemon) -> AbstractContextManager[object]:
    # An optional library.
    from rtgen.rig.link import LinkPeer

    return LinkPeer(session.preset.tempo, lambda: session.preset.metre.bar / PPQN, daemon.hear)


def _lead(daemon: Daemon) -> AbstractContextManager[object]:
    # As above.
    from rtgen.rig.link import LinkLead

    return LinkLead(lambda: daemon.view)


def _live(setup: Setup, name: str, daemon: Daemon, steward: Steward, news: SimpleQueue[News | None]) -> LiveSet | None:
    """Return who speaks with Ableton Live, if that is wanted."""
    if setup.live is None:
        return None
    wants = replace(setup.live, port=setup.output or f"{name} out", inputs=setup.inputs or (f"{name} in",))
    seeds = count(setup.options.seed << 24, COUNT)

    def vary(loop: Loop) -> Iterator[Loop]:
        return variations(loop, daemon.chosen, daemon.view.knobs, next(seeds))

    steward.live = LiveSet(
        wants, daemon.hear, lambda line: news.put(LiveSaid(line)), steward.choose, lambda: daemon.chosen, vary
    )
    return steward.live


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


def _page(
    setup: Setup, remote: Remote | None, say: Callable[[str], None], ports: NamedPorts, daemon: Daemon
) -> AbstractContextManager[object]:
    """Serve the panel, if it was asked for and can reach this daemon.

    Raises:
        UserError: it cannot, and the page is keyboard and sound.
    """
    if setup.panel is None:
        return nullcontext()
    if remote is None or remote.host not in ("127.0.0.1", "0.0.0.0"):
        why = "no panel: OSC is not listening on this machine; choose a free port with --osc PORT"
        if setup.api == "page":
            raise UserError(why)
        say(why)
        return nullcontext()
    if not isinstance(ports, PagePorts):
        return Page(setup.panel, remote.port, say)
    return Page(setup.panel, remote.port, say, ports, setup.browse or (lambda _: None), daemon.fail)


def _performer(setup: Setup, preset: Preset, ports: NamedPorts) -> AbstractContextManager[object]:
    """Play the bundled performance, if it was asked for."""
    if not setup.performs or not isinstance(ports, PagePorts):
        return nullcontext()
    from rtgen.rig.performance import TEMPO, performance
    from rtgen.rig.performer import Performer

    return Performer(ports, performance(setup.performs, preset.length), TEMPO)


def _complain(news: SimpleQueue[News | None], why: str) -> None:
    news.put(Failed(why))
