"""`rtgen demo`: the instrument answers a bundled performance, without a MIDI device."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from queue import Empty, SimpleQueue

from rich.console import Console
from rich.live import Live

from rtgen.errors import UserError
from rtgen.instrument.notices import Answered, DraftPlayed, Notice
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music import files
from rtgen.music.time import TICKS_PER_CLOCK, seconds_per_tick
from rtgen.rig.daemon import Daemon, News
from rtgen.rig.midi.ports import LoopbackPorts, open_ports
from rtgen.rig.midi.systems import find_api
from rtgen.rig.midi.ways import NamedPorts, Patch
from rtgen.rig.offline import by_part, opened, pairs_of, simulate, with_clock
from rtgen.rig.performance import TEMPO, performance
from rtgen.rig.picture import draw_played
from rtgen.rig.told.live import Watch, at_once
from rtgen.rig.told.telling import sentence
from rtgen.rig.worker.wire import Failed, Ready

_FRAMES_PER_S = 15
_COUNT_IN_S = 0.2
"""Delay before the first clock, so that both threads are running by then."""
Sent = list[tuple[float, bytes]]


def demo(
    preset: Preset, model: Path, bars: int, folder: Path, *, fast: bool, seed: int, device: str, console: Console
) -> None:
    """Plays the performance to a session and writes `demo.mid` and `demo.png` into `folder`.

    Args:
        preset: the musical settings; its tempo is replaced by the performance's.
        model: the `.onnx` file.
        bars: length in bars.
        folder: the output folder; created if needed.
        fast: whether to use simulated time instead of real time.
        seed: the random seed.
        device: what runs the model.
        console: shows the rolls and the summary.

    Raises:
        UserError: the model cannot be run, or the folder cannot be written.
    """
    preset = preset.changed(tempo=TEMPO)
    _writable(folder)
    end = bars * preset.metre.bar
    played = tuple(e for e in performance(-(-end // preset.length), preset.length) if e.tick < end)
    timed = with_clock(played, end, TEMPO)
    if fast:
        sent, notices = _fast(preset, seed, timed, model, device, end, console)
    else:
        session = Session(preset, Options(seed=seed))
        sent, notices = _live(session, timed, model, device, console)
    _keep(folder, preset, played, sent, notices)
    summary = _played_along(preset, bars, folder, sent) if preset.along else _summary(preset, bars, folder, notices)
    console.print(summary, highlight=False, markup=False)


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / "demo.mid.part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"Folder {folder} cannot be written ({error.strerror}); choose another with --out") from error


def _fast(
    preset: Preset,
    seed: int,
    timed: Sequence[tuple[float, bytes]],
    model: Path,
    device: str,
    end: int,
    console: Console,
) -> tuple[Sent, list[Notice]]:
    last = (end + TICKS_PER_CLOCK) * seconds_per_tick(TEMPO)
    with opened(preset, model, device) as network:
        if network.ready.remark:
            console.print(network.ready.remark, highlight=False, markup=False)
        session = Session(preset, Options(seed=seed, hears=network.ready.hears))
        return simulate(session, timed, network.answer, last, network.plan)


def _live(
    session: Session,
    timed: Sequence[tuple[float, bytes]],
    model: Path,
    device: str,
    console: Console,
) -> tuple[Sent, list[Notice]]:
    """Plays in real time, with the worker process and a pair of in-process ports."""
    sent: Sent = []
    news: SimpleQueue[News] = SimpleQueue()
    ready = threading.Event()
    started = [0.0]
    with ExitStack() as stack:
        heard = _output(console)
        if heard is not None:
            stack.callback(heard.close)

        def send(now: float, data: bytes) -> None:
            sent.append((now - started[0], data))
            if heard is not None:
                heard.send(now, data)

        def tell(item: News) -> None:
            news.put(item)
            if isinstance(item, Ready):
                ready.set()

        ports = LoopbackPorts(send)
        daemon = Daemon(session, ports, model, device, tell)
        screen = _Screen(daemon, news, console)
        daemon.open()

        def drive() -> None:
            ready.wait()
            started[0] = time.perf_counter() + _COUNT_IN_S
            for at, data in timed:
                time.sleep(max(started[0] + at - time.perf_counter(), 0.0))
                ports.play(data)
            daemon.stop()

        threading.Thread(target=drive, name="player", daemon=True).start()
        screen.start()
        try:
            daemon.run()
        finally:
            screen.stop()
    return sent, screen.notices


def _output(console: Console) -> NamedPorts | None:
    """Opens a MIDI output, if a MIDI system is running, so that the answer can be heard."""
    try:
        ports = open_ports(find_api("auto"), Patch("rtgen demo", inputs=()))
    except UserError:
        return None
    console.print(f"The answer is also sent to {ports.title}", highlight=False, markup=False)
    return ports


class _Screen:
    """Shows the rolls from its own thread, and collects the notices."""

    def __init__(self, daemon: Daemon, news: SimpleQueue[News], console: Console) -> None:
        self.notices: list[Notice] = []
        self._daemon = daemon
        self._news = news
        self._console = console
        self._line = "loading the model ..."
        self._watch = Watch()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._show, name="screen", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join(2.0)
        self._hear()

    def _show(self) -> None:
        if not self._console.is_terminal:
            while not self._done.wait(1 / _FRAMES_PER_S):
                for line in self._hear():
                    self._console.print(line, highlight=False, markup=False, soft_wrap=True)
            return
        with Live(console=self._console, auto_refresh=False) as live:
            while not self._done.wait(1 / _FRAMES_PER_S):
                self._hear()
                with at_once(self._console):
                    live.update(self._watch.seen(self._daemon.view, self._line), refresh=True)

    def _hear(self) -> list[str]:
        lines: list[str] = []
        while True:
            try:
                item = self._news.get_nowait()
            except Empty:
                return lines
            if isinstance(item, Notice):
                self.notices.append(item)
                self._watch.heard(item)
            if isinstance(item, Notice | Ready | Failed):
                self._line = sentence(item)
                lines.append(self._line)


def _answers(notices: Sequence[Notice]) -> dict[int, Answered | DraftPlayed]:
    """Returns the answer notice of each answered loop by index; as in `pairs_of`."""
    heard = (n for n in notices if isinstance(n, DraftPlayed) or (isinstance(n, Answered) and n.outcome != "missed"))
    return {n.loop_index: n for n in heard}


def _keep(folder: Path, preset: Preset, played: tuple[files.Event, ...], sent: Sent, notices: Sequence[Notice]) -> None:
    answered = _events(sent)
    own = by_part(answered, preset) if preset.along else (files.Track("answered", answered),)
    markers = [(index * preset.length, "answer") for index in _answers(notices)]
    score = files.Score((files.Track("played", played), *own), ((0, TEMPO),), ((0, preset.metre),), tuple(markers))
    files.write(folder / "demo.mid", score)
    title = f"rtgen demo: {preset.name}"
    draw_played(preset, files.notes_of(played), own, notices, folder / "demo.png", title=title, tempo=TEMPO)


def _events(sent: Sent) -> tuple[files.Event, ...]:
    """Returns what was sent, in ticks."""
    return tuple(files.Event(max(round(at / seconds_per_tick(TEMPO)), 0), data) for at, data in sent)


def _played_along(preset: Preset, bars: int, folder: Path, sent: Sent) -> str:
    parts = [f"{track.name} {len(track.notes())}" for track in by_part(_events(sent), preset)]
    notes = ", ".join(parts) or "none"
    return f"In {bars} bars at {TEMPO:g} BPM, {Path(preset.model).stem} played along; notes: {notes}.\n{_where(folder)}"


def _summary(preset: Preset, bars: int, folder: Path, notices: Sequence[Notice]) -> str:
    pairs = pairs_of(notices)
    calls = [call for call, _ in pairs if call.notes]
    answers = _answers(notices).values()
    in_time = [n for n in answers if isinstance(n, Answered) and n.outcome == "answer"]
    late = len(answers) - len(in_time)
    slowest = max((n.seconds for n in answers if isinstance(n, Answered)), default=0.0) * 1e3
    return (
        f"In {bars} bars at {TEMPO:g} BPM, {len(calls)} loops were played ({sum(map(len, calls))} notes) and "
        f"{len(answers)} answered by {Path(preset.model).stem} in mode {preset.mode} "
        f"({sum(len(n.loop) for n in answers)} notes; {late} late, the slowest took {slowest:.0f} ms).\n"
        f"{_where(folder)}"
    )


def _where(folder: Path) -> str:
    return (
        f"Look at {folder / 'demo.png'}, and load {folder / 'demo.mid'} into any player.\n"
        "To hear it in the browser, say 'rtgen demo --listen'; to play yourself, 'rtgen play'."
    )
