"""The page as keyboard and sound: what it plays reaches the daemon, and what the daemon plays is heard in time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.request import urlopen

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse
from hypothesis import given
from hypothesis import strategies as st

from rtgen.bench.programs import Program, descendants, preset_file
from rtgen.bench.server import PROBE_OUTPUT, RATE
from rtgen.instrument.events import Plugged, Pressed, Turned
from rtgen.instrument.job import Placed
from rtgen.instrument.preset import Preset
from rtgen.music import midi
from rtgen.music.attributes import NAMES
from rtgen.music.files import Event
from rtgen.music.note import Loop, Note
from rtgen.panel.access import free_port
from rtgen.panel.keyboard import Keyboard
from rtgen.rig.kept import clips
from rtgen.rig.kept.presets import load
from rtgen.rig.midi import page_ports
from rtgen.rig.midi.page_and_port import PageAndPort
from rtgen.rig.midi.page_ports import PagePorts
from rtgen.rig.midi.ways import Changed, Connection, Receive
from rtgen.rig.performer import Performer
from rtgen.rig.told.page import Page
from rtgen.shipped import find
from tests.rig.conftest import Rig
from tests.rig.test_osc import Desk, soon
from tests.rig.test_panel import ESCAPE, Browser, Weight, in_a_browser

C, E, G = 48, 52, 55
HOOK = """
    window.started = [];
    window.lead = -Infinity;
    const was = OscillatorNode.prototype.start;
    OscillatorNode.prototype.start = function (when) {
      window.started.push({ when, hertz: this.frequency.value, at: performance.timeOrigin + performance.now() });
      if (!window.listening) {
        window.listening = new AnalyserNode(this.context, { fftSize: 2048 });
        window.audio = this.context;
        setInterval(() => {
          const lead = window.audio.currentTime - (performance.timeOrigin + performance.now()) / 1000;
          window.lead = Math.max(window.lead, lead);
        }, 3);
      }
      return was.call(this, when);
    };
    window.plan = [];
    window.keyed = [];
    const parsed = JSON.parse;
    JSON.parse = (text) => {
      const found = parsed(text);
      window.plan.push(...(found.sound ?? []).filter((each) => each.out).map((each) => each.out));
      return found;
    };
    const sent = WebSocket.prototype.send;
    WebSocket.prototype.send = function (text) {
      const found = parsed(text);
      if (found.play) window.keyed.push(found.play);
      return sent.call(this, text);
    };
    const joined = AudioNode.prototype.connect;
    AudioNode.prototype.connect = function (to, ...rest) {
      if (to === this.context.destination) window.last = this;
      return joined.call(this, to, ...rest);
    };
    window.energy = () => {
      joined.call(window.last, window.listening);
      const samples = new Float32Array(window.listening.fftSize);
      window.listening.getFloatTimeDomainData(samples);
      return Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
    };
"""
"""Sees from outside the page's script what it sends and is told, when its oscillators start, and how loud it is."""


# ---- the keys of one page -------------------------------------------------------------------------------------------


@dataclass
class Keys:
    """A keyboard, and what it sent."""

    sent: list[tuple[float, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.board = Keyboard(lambda at, data: self.sent.append((at, data)))

    @property
    def data(self) -> list[bytes]:
        return [data for _, data in self.sent]


def test_notes_and_pedals_are_passed_on_with_their_times() -> None:
    keys = Keys()
    for each in ([1.5, 0x90, 60, 90], [1.6, 0xB0, 64, 127], [1.7, 0x80, 60, 0], [1.8, 0xB0, 64, 0], [1.9, 0xB3, 20, 5]):
        keys.board.play(2.0, each)
    keys.board.song(2.1, "stop")
    assert keys.sent == [
        (1.5, midi.note_on(0, 60, 90)),
        (1.6, midi.control(0, 64, 127)),
        (1.7, midi.note_off(0, 60)),
        (1.8, midi.control(0, 64, 0)),
        (1.9, midi.control(3, 20, 5)),
        (2.1, b"\xfc"),
    ]


@pytest.mark.parametrize(
    "said",
    [
        None, [], [1.0], {"a": 1}, [1.0, 0x90, 60], [1.0, 0x90, 60, 128], [1.0, 0x90, -1, 90], [True, 0x90, 60, 90],
        [1.0, 0x90, True, 90], [1.0, 0x90, 60.0, 90], ["1", 0x90, 60, 90], [float("nan"), 0x90, 60, 90],
        [float("inf"), 0x90, 60, 90], [10**400, 0x90, 60, 90], [1.0, 0xF8, 1, 1], [1.0, 0xC0, 1, 1], [1.0, 0xA0, 1, 1],
        [1.0, 0x190, 60, 90], [1.0, 0xB0, 123, 0], [1.0, 0x80, 60, 0], [1.0, 0xB0, 64, 0],
    ],
)  # fmt: skip
def test_what_is_no_message_is_left_out(said: Any) -> None:
    keys = Keys()
    keys.board.play(1.0, said)
    assert keys.sent == []


def test_more_than_hands_can_play_is_left_out_but_no_release() -> None:
    keys = Keys()
    for i in range(5000):
        keys.board.play(1.0, [1.0, 0x90, i % 128, 90])
    assert len(keys.sent) == 100
    for i in range(128):
        keys.board.play(1.0, [1.0, 0x80, i, 0])
    assert len(keys.sent) == 200
    keys.board.play(2.0, [2.0, 0x90, 60, 90])
    assert keys.data[-1] == midi.note_on(0, 60, 90)


@given(st.lists(st.tuples(st.sampled_from((0x80, 0x90, 0x93, 0xB0)), st.sampled_from((60, 64)), st.integers(0, 127))))
def test_whatever_a_page_plays_it_lets_go_of_everything(played: list[tuple[int, int, int]]) -> None:
    keys = Keys()
    for each in played:
        keys.board.play(1.0, [1.0, *each])
    keys.board.let_go(2.0)
    down: set[tuple[int, ...]] = set()
    for data in keys.data:
        key = (data[0] & 0x0F, data[1])
        if data[0] & 0xF0 == 0xB0 and data[1] in midi.HOLDS:
            (down.add if data[2] >= 64 else down.discard)((-1, *key))
        elif midi.is_note(data):
            (down.add if midi.is_note_on(data) else down.discard)(key)
    assert down == set()


# ---- the daemon's end -----------------------------------------------------------------------------------------------


def opened() -> tuple[PagePorts, list[tuple[float, int, bytes]], list[Plugged]]:
    ports, received, changes = PagePorts(), [], []
    ports.open(lambda *each: received.append(each), changes.append)
    ports.there(True)
    return ports, received, changes


def test_what_was_played_long_ago_or_will_be_is_played_now() -> None:
    ports, received, _ = opened()
    now = perf_counter()
    for at in (now - 0.1, now - 9, now + 9):
        ports.hear(json.dumps([at, 0x90, 60, 90]))
    for nonsense in (
        "",
        "{}",
        "[",
        "[1]",
        "[true,144,60,90]",
        "[NaN,144,1,1]",
        "[1,144,60,900]",
        '["x",1]',
        "[1,1,1,1,1]",
    ):
        ports.hear(nonsense)
    assert [each[1:] for each in received] == [(0, b"\x90\x3c\x5a")] * 3
    assert received[0][0] == now - 0.1
    assert received[1][0] >= now - page_ports.OLDEST_S
    assert received[2][0] <= perf_counter()


def test_of_the_clock_every_sixteenth_is_told() -> None:
    ports, *_ = opened()
    ports.send(1.0, bytes((midi.START,)))
    for i in range(13):
        ports.send(1.0 + i, bytes((midi.CLOCK,)))
    ports.send(20.0, midi.to_song_position(7))
    ports.send(20.0, bytes((midi.CONTINUE,)))
    ports.send(20.0, bytes((midi.CLOCK,)))
    ports.send(21.0, bytes((midi.STOP,)))
    ports.send(22.0, midi.note_on(9, 60, 1))
    ports.take_back(23.0)
    said = [json.loads(line) for line in (ports.lines() or "").splitlines()]
    assert said == [
        *({"beat": [1.0 + i, 20 * i]} for i in (0, 6, 12)),
        {"beat": [20.0, 840]},
        {"stop": 21.0},
        {"out": [22.0, 0x99, 60, 1]},
        {"back": 23.0},
    ]


def test_a_page_that_takes_nothing_is_told_to_end_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_ports, "_MOST_WAITING", 3)
    ports, *_ = opened()
    for _ in range(9):
        ports.send(1.0, midi.note_on(0, 60, 1))
    said = [json.loads(line) for line in (ports.lines() or "").splitlines()]
    assert [next(iter(each)) for each in said] == ["out"] * 3 + ["cut"]


class Instrument:
    """An output of a MIDI system, and what it got, when."""

    ahead_s, title, awaited = 0.0, "synth", list[str]()

    def __init__(self) -> None:
        self.got: list[tuple[float, bytes]] = []
        self.closed = False

    def open(self, receive: Receive, changed: Changed) -> None: ...

    def send(self, at: float, data: bytes) -> None:
        assert perf_counter() >= at or self.closing
        self.got.append((at, data))

    closing = False

    def take_back(self, now: float) -> None: ...

    def echo(self, port: int, data: bytes) -> None: ...

    def connections(self) -> list[Connection]:
        return [Connection("out", 0, "synth", True, (), False)]

    def close(self) -> None:
        self.closed = True


def test_a_port_beside_the_page_gets_everything_when_it_is_due() -> None:
    synth = Instrument()
    ports = PageAndPort(synth)
    ports.open(lambda *_: None)
    ports.there(True)
    assert ports.title == "the page and synth"
    now = perf_counter()
    for at, data in ((0.1, midi.note_on(0, 60, 9)), (0.2, midi.note_off(0, 60)), (0.15, midi.note_on(0, 62, 9))):
        ports.send(now + at, data)
    assert synth.got == []
    soon(lambda: len(synth.got) == 3)
    assert [data[1] for _, data in synth.got] == [60, 62, 60]
    # What is taken back never gets there; what sounds is ended, at the latest when the ports are closed.
    ports.send(perf_counter() + 60, midi.note_on(0, 64, 9))
    ports.send(perf_counter() + 61, midi.note_off(0, 64))
    ports.send(perf_counter() + 61, midi.note_off(0, 62))
    ports.take_back(perf_counter())
    told = [json.loads(line) for line in (ports.lines() or "").splitlines()]
    assert len([each for each in told if "out" in each]) == 6
    synth.closing = True
    ports.close()
    assert [data for _, data in synth.got[3:]] == [midi.note_off(0, 62)]
    assert synth.closed


def test_the_keys_are_unplugged_with_the_page() -> None:
    ports, _, changes = opened()
    assert changes == []  # the first time is no news
    ports.there(False)
    ports.send(1.0, midi.note_on(0, 60, 1))  # nobody is there
    ports.there(True)
    assert [(each.direction, each.port, each.there) for each in changes] == [("in", 0, False), ("in", 0, True)]
    ports.close()
    assert ports.lines() is None


# ---- real processes and sockets -------------------------------------------------------------------------------------


def own_port(first: int) -> int:
    """A free port that no other worker of the tests may take before it is bound."""
    return free_port(first + 200 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))


class Stage:
    """A panel in its own process, and ports that lead to it, as with `rtgen play`; OSC goes to a desk."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.desk.view = replace(self.desk.view, tick=None, played=(), answer=None)
        self.received: list[tuple[float, bytes]] = []
        self.changes: list[Plugged] = []
        self.said: list[str] = []
        self.urls: list[str] = []
        self.ports = PagePorts()
        self.ports.open(lambda at, _, data: self.received.append((at, data)), self.changes.append)

    @property
    def data(self) -> list[bytes]:
        """What was played, in order."""
        return [data for _, data in self.received]

    @contextmanager
    def open(self) -> Iterator[None]:
        """Serves the page."""
        port = own_port(17_780)
        with self.desk.remote, Page(port, self.desk.remote.port, self.said.append, self.ports, self.urls.append):
            soon(lambda: bool(self.urls))
            yield


@pytest.fixture
def stage() -> Iterator[Stage]:
    found = Stage()
    with found.open():
        yield found


def visit(url: str, what: Callable[[ClientWebSocketResponse], Awaitable[None]]) -> None:
    async def run() -> None:
        async with ClientSession() as session, session.ws_connect(f"{url}ws") as page:
            await what(page)

    asyncio.run(run())


async def told(page: ClientWebSocketResponse, what: str) -> Any:
    """The next message of a kind."""
    while what not in (said := await page.receive_json(timeout=60)):
        pass
    return said[what]


def test_a_page_plays_and_lets_go_when_it_leaves(stage: Stage) -> None:
    async def play(page: ClientWebSocketResponse) -> None:
        assert (await told(page, "hello"))["plays"] is True
        await page.send_json({"ping": 3})
        sent, there = await told(page, "pong")
        assert sent == 3
        assert there <= perf_counter()
        now = perf_counter()
        await page.send_json({"play": [now - 0.05, 0x90, 60, 90]})
        await page.send_json({"play": "nonsense"})
        await page.send_json({"song": "never"})
        await page.send_json({"tempo": 90})
        await page.send_json({"press": ["panic"]})
        await page.send_json({"song": "start"})
        await asyncio.to_thread(soon, lambda: len(stage.received) == 2)
        assert abs(stage.received[0][0] - (now - 0.05)) < 1e-6

    visit(stage.urls[0], play)
    soon(lambda: stage.data == [midi.note_on(0, 60, 90), b"\xfa", midi.note_off(0, 60)])
    soon(lambda: Pressed("panic") in stage.desk.heard)


def test_only_pages_that_sound_are_told_what_to_sound(stage: Stage) -> None:
    async def listen(page: ClientWebSocketResponse) -> None:
        async def sounds(other: ClientWebSocketResponse, ping: int) -> None:
            await other.send_json({"sounds": True})
            await other.send_json({"ping": ping})
            await told(other, "pong")

        async with ClientSession() as session, session.ws_connect(f"{stage.urls[0]}ws") as other:
            await sounds(other, 1)
            stage.ports.send(1.0, midi.note_on(0, 60, 1))
            assert await told(other, "sound") == [{"out": [1.0, 0x90, 60, 1]}]
        await sounds(page, 2)
        stage.ports.send(2.0, midi.note_on(0, 61, 1))
        assert await told(page, "sound") == [{"out": [2.0, 0x90, 61, 1]}]

    visit(stage.urls[0], listen)


def test_two_pages_do_each_other_no_harm(stage: Stage) -> None:
    async def play(first: ClientWebSocketResponse) -> None:
        async def also(second: ClientWebSocketResponse) -> None:
            for page, pitch in ((first, 60), (second, 64)):
                await page.send_json({"play": [0.0, 0x90, pitch, 90]})
            await second.send_json({"play": [0.0, 0x80, 60, 0]})  # not its own
            await asyncio.to_thread(soon, lambda: len(stage.received) == 2)

        async with ClientSession() as session, session.ws_connect(f"{stage.urls[0]}ws") as page:
            await also(page)
        await asyncio.to_thread(soon, lambda: stage.data[2:] == [midi.note_off(0, 64)])

    visit(stage.urls[0], play)
    soon(lambda: stage.data[3:] == [midi.note_off(0, 60)])


def test_a_performer_plays_from_start_to_stop() -> None:
    ports, received, _ = opened()
    events = [
        Event(tick, data) for tick, data in ((0, midi.note_on(0, 60, 9)), (48, midi.note_on(0, 64, 9)), (9600, b"x"))
    ]
    with Performer(ports, events, 60.0):
        time.sleep(0.2)
        assert received == []
        ports.hear(json.dumps([perf_counter(), midi.START]))
        soon(lambda: len(received) == 3)
        ports.hear(json.dumps([perf_counter(), midi.STOP]))
        soon(lambda: len(received) == 7)
    on, off = [midi.note_on(0, 60, 9), midi.note_on(0, 64, 9)], [midi.note_off(0, 60), midi.note_off(0, 64)]
    assert [data for *_, data in received] == [b"\xfa", *on, b"\xfc", *off, midi.control(0, midi.SUSTAIN, 0)]
    assert 0.09 < received[2][0] - received[1][0] < 0.11
    shown = [json.loads(line)["played"] for line in (ports.lines() or "").splitlines()]
    assert [bytes(data) for _, *data in shown] == [*on, *off, midi.control(0, midi.SUSTAIN, 0)]


def test_what_a_performer_has_shown_ends_though_it_was_not_played_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtgen.rig.performer.AHEAD_S", 60.0)
    ports, received, _ = opened()
    note = midi.note_on(0, 60, 9)
    with Performer(ports, [Event(9600, note), Event(96_000, b"x")], 60.0):
        ports.hear(json.dumps([perf_counter(), midi.START]))
        time.sleep(0.3)
        ports.hear(json.dumps([perf_counter(), midi.STOP]))
        soon(lambda: len(received) == 3)
    shown = [json.loads(line)["played"] for line in (ports.lines() or "").splitlines()]
    assert [bytes(data) for _, *data in shown] == [note, midi.note_off(0, 60), midi.control(0, midi.SUSTAIN, 0)]
    assert [data for *_, data in received] == [b"\xfa", b"\xfc", midi.control(0, midi.SUSTAIN, 0)]


@pytest.mark.skipif(sys.platform == "win32", reason="processes are found in /proc")
def test_a_page_that_dies_is_served_again(stage: Stage) -> None:
    async def hold(page: ClientWebSocketResponse) -> None:
        await told(page, "hello")
        await page.send_json({"play": [0.0, 0x90, 60, 90]})
        await asyncio.to_thread(soon, lambda: bool(stage.received))
        (panel,) = (p for p in descendants(os.getpid()) if b"rtgen.panel" in Path(f"/proc/{p}/cmdline").read_bytes())
        os.kill(panel, signal.SIGKILL)
        await asyncio.to_thread(soon, lambda: len(stage.urls) == 2)

    visit(stage.urls[0], hold)
    assert [each.there for each in stage.changes] == [False, True]
    assert any("it is served again" in line for line in stage.said)
    visit(stage.urls[1], lambda page: told(page, "hello"))


def test_a_page_that_cannot_be_served_is_a_sentence() -> None:
    said: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with Page(taken.getsockname()[1], 1, print, PagePorts(), failed=said.append):
            soon(lambda: bool(said))
    assert "is not available" in said[0]


def test_a_page_that_ends_before_it_is_there_is_not_served_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    said, failed = list[str](), list[str]()

    def broken(self: Page) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        code = "import sys; print('ImportError: half of it'); sys.exit(1)"
        return subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, encoding="utf-8")

    monkeypatch.setattr(Page, "_start", broken)
    with Page(1, 1, said.append, PagePorts(), failed=failed.append):
        soon(lambda: bool(failed))
    assert failed == ["the page cannot be served (ImportError: half of it); run pip install 'rtgen[panel]' again"]
    assert len(said) == 3


def test_without_its_page_it_does_not_play(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        program = started(str(preset_file(tmp_path)), tmp_path, "--port", str(taken.getsockname()[1]))
        try:
            assert program.process.wait(120) == 2
            soon(lambda: "rtgen: the panel's port" in program.said)
            assert "Traceback" not in program.said
        finally:
            program.close()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_page_that_hangs_does_not_keep_it_from_ending(stage: Stage) -> None:
    (panel,) = (p for p in descendants(os.getpid()) if b"rtgen.panel" in Path(f"/proc/{p}/cmdline").read_bytes())
    os.kill(panel, signal.SIGSTOP)
    for _ in range(30):
        for _ in range(page_ports._MOST_WAITING):
            stage.ports.send(1.0, midi.note_on(0, 60, 1))
        time.sleep(0.01)


def test_a_port_that_is_taken_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port(18_780)))
        taken.listen()
        assert free_port(taken.getsockname()[1]) > taken.getsockname()[1]


def started(preset: str, folder: Path, *flags: str, jack: Mapping[str, str] | None = None) -> Program:
    """`rtgen play` without a browser of its own, and without anything of this machine; `jack` leads to a server."""
    settings = ("--config", str(folder / "c.yaml"), "--clips", str(folder / "clips"), "--sessions", "off")
    environment = {**os.environ, "JACK_DEFAULT_SERVER": "there is none", **(jack or {})}
    command = ["-m", "rtgen", "play", "--no-browser", "--preset", preset, "--seed", "1", *settings, *flags]
    return Program("rtgen play", command, environment)


@pytest.fixture
def played(tmp_path: Path) -> Iterator[str]:
    """The address of the page of `rtgen play`, with a preset that answers what was played."""
    program = started(str(preset_file(tmp_path)), tmp_path)
    try:
        program.wait_for_line("model ready", 120)
        program.wait_for_line("panel: ", 120)
        yield program.said.partition("panel: ")[2].split()[0]
        assert program.end() == 0
    finally:
        program.close()


def test_it_plays_without_any_midi_library(tmp_path: Path) -> None:
    (tmp_path / "rtmidi.py").write_text("raise ImportError('libasound.so.2')")
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from rtgen.cli import main; main()"
    settings = ("--config", str(tmp_path / "c.yaml"), "--sessions", "off", "--no-browser", "--seconds", "1")
    command = [sys.executable, "-c", code, str(tmp_path), "play", "-p", str(preset_file(tmp_path)), *settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "ports open: the page" in done.stderr


# ---- in a browser ---------------------------------------------------------------------------------------------------


class Player(Browser):
    """Somebody who plays on the page."""

    def __init__(self, url: str, folder: Path, before: str = "", size: str = "1280,900") -> None:
        super().__init__("about:blank", folder, size)
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": HOOK + before})
        self.driver.get(url)
        soon(lambda: self.driver.execute_script("return !document.getElementById('start').hidden"))

    def begin(self) -> None:
        """Presses Start."""
        self.click("start")
        soon(lambda: self.driver.execute_script("return document.getElementById('start').hidden"))

    def key(self, code: str, *, down: bool) -> None:
        """Moves a key of the computer's keyboard."""
        event = {"type": "keyDown" if down else "keyUp", "code": code, "key": code[-1].lower()}
        self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", event)

    def starts(self, hertz: float) -> list[float]:
        """When oscillators of this frequency started, in seconds of the system's clock."""
        script = """
            const found = window.started.filter((each) => Math.abs(each.hertz - arguments[0]) < 0.5);
            return found.map((each) => each.when - window.lead).filter(Number.isFinite);
        """
        return sorted({round(each, 4) for each in self.driver.execute_script(script, hertz)})

    def energy(self) -> float:
        """How loud the page is now."""
        return float(self.driver.execute_script("return window.last && window.listening ? window.energy() : 0"))


def begin_afresh(page: Player, stage: Stage) -> None:
    """The page begins; what its clock sent is forgotten."""
    page.begin()
    soon(lambda: b"\xfa" in stage.data)
    stage.received.clear()


def hertz(pitch: int) -> float:
    return 440.0 * 2 ** ((pitch - 69) / 12)


@in_a_browser
def test_a_chord_on_computer_keys_comes_back_in_the_next_turn(played: str, tmp_path: Path) -> None:
    page = Player(played, tmp_path / "browser")
    page.begin()
    soon(lambda: page.text("turn") == "YOUR TURN")
    for code in ("KeyZ", "KeyC", "KeyB"):
        page.key(code, down=True)
    time.sleep(0.3)
    for code in ("KeyZ", "KeyC", "KeyB"):
        page.key(code, down=False)
    soon(lambda: page.text("turn") == "LISTENING")
    soon(lambda: page.text("turn") == "ANSWERING")
    soon(lambda: page.text("answer-count") == "3 notes")
    # Each sounded twice: as it was pressed, and as it was answered.
    soon(lambda: all(len(page.starts(hertz(pitch))) >= 2 for pitch in (C, E, G)))
    page.click("panic")
    page.click("song")
    soon(lambda: page.text("turn") == "STOPPED")
    page.close()


@in_a_browser
def test_without_a_click_the_first_loop_says_the_tempo_and_layers_are_laid_on_it(tmp_path: Path) -> None:
    program = started(str(preset_file(tmp_path)), tmp_path, "--clock", "player")
    try:
        program.wait_for_line("panel: ", 200)
        page = Player(program.said.partition("panel: ")[2].split()[0], tmp_path / "browser")
        page.begin()
        soon(lambda: page.text("turn") == "NO TEMPO")
        assert page.text("tempo") == ""
        for code in ("KeyZ", "KeyC", "KeyB", "KeyC") * 2:
            page.key(code, down=True)
            time.sleep(0.25)
            page.key(code, down=False)
            time.sleep(0.25)
        assert page.text("turn") == "FIRST LOOP"
        page.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyDown", "code": "Enter", "key": "Enter"})
        soon(lambda: page.text("sign") == "▶")
        program.wait_for_line("press half or double to correct", 30)
        tempo = float(page.text("tempo").split()[0])
        page.driver.execute_script("document.querySelector('#opening [data-press=half]').click()")
        soon(lambda: float(page.text("tempo").split()[0]) < 0.6 * tempo)
        page.tab("knobs")
        page.click("press-overdub")
        soon(lambda: page.text("turn") == "OVERDUB")
        assert page.driver.execute_script("return document.getElementById('press-overdub').ariaPressed") == "true"
        page.click("press-overdub")
        soon(lambda: page.text("turn") != "OVERDUB")
        page.click("close")
        soon(lambda: page.text("turn") == "NO TEMPO")
        page.close()
        assert program.end() == 0
    finally:
        program.close()


def play_a_turn(page: Player) -> None:
    """C, E and G one after the other, and all of the answer."""
    page.begin()
    time.sleep(0.5)
    for code in ("KeyZ", "KeyC", "KeyB"):
        page.key(code, down=True)
        time.sleep(0.3)
        page.key(code, down=False)
    soon(lambda: page.text("turn") == "ANSWERING")
    soon(lambda: page.text("turn") == "YOUR TURN")


@in_a_browser
@pytest.mark.timed
def test_an_answer_sounds_two_bars_after_the_call(played: str, tmp_path: Path) -> None:
    page = Player(played, tmp_path / "browser")
    play_a_turn(page)
    keyed, plan = page.driver.execute_script("return [window.keyed, window.plan]")
    off = time.time() - perf_counter()
    for pitch in (C, E, G):
        (struck,) = (at for at, status, key, _ in keyed if (status, key) == (0x90, pitch))
        (due,) = (at for at, status, key, _ in plan if (status, key) == (0x90, pitch))
        assert abs(due - struck - 4.0) < 0.003
        assert abs(page.starts(hertz(pitch))[-1] - off - due) < 0.015
    page.close()


@in_a_browser
@pytest.mark.jack
@pytest.mark.timed
def test_a_chord_on_computer_keys_comes_back_at_a_port(rig: Rig, tmp_path: Path) -> None:
    program = started(str(preset_file(tmp_path)), tmp_path, "--out", PROBE_OUTPUT, jack=rig.server.environment)
    try:
        rig.probe.start()  # its frames count from here
        program.wait_for_line("model ready", 120)
        program.wait_for_line("panel: ", 120)
        page = Player(program.said.partition("panel: ")[2].split()[0], tmp_path / "browser")
        play_a_turn(page)
        plan = page.driver.execute_script("return window.plan")
        page.close()
        assert program.end() == 0
    finally:
        program.close()
        rig.probe.stop()
    due = {pitch: at for at, status, pitch, _ in plan if status == 0x90}
    notes = rig.heard().notes
    assert [note.pitch for note in notes] == [C, E, G] == list(due)
    for note in notes[1:]:
        assert abs((note.on - notes[0].on) / RATE - (due[note.pitch] - due[C])) < 0.015


PHRASE = (
    "KeyZ",
    "KeyC",
    "KeyB",
    "KeyQ",
    "KeyB",
    "KeyC",
    "KeyX",
    "KeyZ",
    "KeyV",
    "KeyB",
    "KeyN",
    "KeyQ",
    "KeyW",
    "KeyQ",
)


@in_a_browser
@pytest.mark.slow
@pytest.mark.parametrize("preset", ["vary", "continue"])
def test_the_first_minute_with_a_shipped_preset(preset: str, tmp_path: Path) -> None:
    """Someone plays two bars and hears two; `RTGEN_PICTURES=docs/panel` has pictures taken of it."""
    program = started(preset, tmp_path)
    try:
        program.wait_for_line("model ready", 120)
        program.wait_for_line("panel: ", 120)
        page = Player(program.said.partition("panel: ")[2].split()[0], tmp_path / "browser")
        page.shape(1280, 800)
        page.begin()
        if preset == "vary":
            with page.film("session"):
                plays_two_bars(page)
                soon(lambda: page.text("turn") == "YOUR TURN")
            page.click("song")
            soon(lambda: page.text("turn") == "STOPPED")
            page.click("song")
        plays_two_bars(page, page.picture if preset == "vary" else None)
        soon(lambda: page.energy() > 1e-4)
        soon(lambda: page.text("answer-count") not in ("", "nothing yet"))
        if preset == "vary":
            time.sleep(1.5)
            page.picture("heard")
            page.click("preset")
            page.picture("presets")
            page.click("preset")
            for name, size in (("thumbs", (390, 844)), ("lying", (844, 390))):
                page.shape(*size)
                page.picture(name)
        page.close()
        assert program.end() == 0
    finally:
        program.close()


def plays_two_bars(page: Player, picture: Callable[[str], None] | None = None) -> None:
    """Plays two bars, until they are answered."""
    for i, code in enumerate(PHRASE):
        page.key(code, down=True)
        if picture is not None and i == 9:
            picture("playing")
        time.sleep(0.17)
        page.key(code, down=False)
        time.sleep(0.08)
    soon(lambda: page.text("turn") == "ANSWERING")


@in_a_browser
@pytest.mark.timed
def test_what_is_planned_sounds_in_time(stage: Stage, tmp_path: Path) -> None:
    page = Player(stage.urls[0], tmp_path / "browser")
    page.begin()
    soon(lambda: b"\xfa" in stage.data)
    time.sleep(2.0)
    first = perf_counter() + 0.5
    plan = [first + 0.15 * i for i in range(12)]
    for i, at in enumerate(plan):
        while perf_counter() < at - 0.1:
            time.sleep(0.002)
        stage.ports.send(at, midi.note_on(0, 60 + i, 90))
        stage.ports.send(at + 0.1, midi.note_off(0, 60 + i))
    time.sleep(0.5)
    off = time.time() - perf_counter()
    heard = [page.starts(hertz(60 + i))[0] - off for i in range(12)]
    assert max(abs(there - at) for there, at in zip(heard, plan, strict=True)) < 0.015
    page.close()


@in_a_browser
def test_panic_ends_what_sounds_from_every_focus(stage: Stage, tmp_path: Path) -> None:
    page = Player(stage.urls[0], tmp_path / "browser")
    page.begin()
    soon(lambda: page.text("preset") != "")
    places = ("preset", "bpm", "volume", "turn-distance", "press-mute", "learn", "more", "map-x", "turn-keep_bass")
    for tab, names in (("play", places[:7]), ("map", places[7:8]), ("knobs", places[8:])):
        page.tab(tab)
        for name in names:
            stage.desk.heard.clear()
            page.keys(name, ESCAPE)
            soon(lambda: stage.desk.heard == [Pressed("panic")])
    page.click("preset")
    stage.desk.heard.clear()
    page.driver.find_element("css selector", ".card").send_keys(ESCAPE)
    soon(lambda: stage.desk.heard == [Pressed("panic")])
    first = 0
    while True:  # some at a time, as no more may be pressed at once
        stage.desk.heard.clear()
        script = """
            const all = [...document.querySelectorAll("button, select, input, summary, a, [tabindex]")];
            const some = all.slice(arguments[0], arguments[0] + 8);
            for (const each of some) each.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
            return some.length;
        """
        if not (count := page.driver.execute_script(script, first)):
            break
        soon(lambda count=count: stage.desk.heard == [Pressed("panic")] * count)
        first += count
    assert first > 50
    stage.ports.send(perf_counter() + 0.05, midi.note_on(0, 60, 127))
    soon(lambda: page.energy() > 1e-3)
    page.key("KeyZ", down=True)
    soon(lambda: stage.data[-1] == midi.note_on(0, C, 84))
    page.type(ESCAPE)
    soon(lambda: page.energy() < 1e-4)
    assert stage.data[-1] == midi.note_off(0, C)
    page.close()


@in_a_browser
def test_what_is_taken_back_is_not_heard(stage: Stage, tmp_path: Path) -> None:
    page = Player(stage.urls[0], tmp_path / "browser")
    page.begin()
    now = perf_counter()
    stage.ports.send(now + 3, midi.note_on(0, 60, 127))
    stage.ports.take_back(now)
    soon(lambda: page.starts(hertz(60)) != [])
    ends = perf_counter() + 3.5
    while perf_counter() < ends:
        assert page.energy() < 1e-3
        time.sleep(0.05)
    page.close()


@in_a_browser
def test_letters_are_keys_and_shift_reaches_the_buttons(stage: Stage, tmp_path: Path) -> None:
    page = Player(stage.urls[0], tmp_path / "browser")
    begin_afresh(page, stage)
    page.type("r")  # the upper row: E in the octave above
    soon(lambda: stage.data == [midi.note_on(0, 65, 84), midi.note_off(0, 65)])
    assert stage.desk.heard == []
    shifted = {"code": "KeyR", "key": "R", "modifiers": 8}
    for kind in ("keyDown", "keyUp"):
        page.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, **shifted})
    soon(lambda: stage.desk.heard == [Pressed("regenerate")])
    page.type(" ")
    soon(lambda: stage.desk.heard[1:] == [Pressed("freeze", None)])
    page.click("typing")
    page.type("k")
    soon(lambda: stage.desk.heard[2:] == [Pressed("keep")])
    page.click("typing")
    page.click("octave-up")
    page.type("z")
    soon(lambda: stage.data[2:] == [midi.note_on(0, 60, 84), midi.note_off(0, 60)])
    stage.desk.heard.clear()
    page.click("press-store_b")
    page.type(" ")
    soon(lambda: stage.desk.heard == [Pressed("store_b"), Pressed("freeze", None)])
    page.close()


TUNE = Loop(3840, tuple(Note(240 * i, (60, 64, 67, 72)[i % 4], 200, 80) for i in range(16)), 1920)
HERE = (0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4)
MAPPED = Placed(HERE, HERE, (HERE, HERE))
ROLLS = replace(Desk().view, tick=960, use="follow", turn="answer", played=TUNE.notes, answer=TUNE, muted=False)


@in_a_browser
def test_knobs_turn_by_wheel_arrows_and_finely_and_a_double_click_resets_them(stage: Stage, tmp_path: Path) -> None:
    page = Player(stage.urls[0], tmp_path / "browser")
    page.shape(1280, 800)
    page.begin()
    heard = stage.desk.heard
    x, y, width = page.driver.execute_script(
        "const b = document.getElementById('turn-distance').getBoundingClientRect();"
        "return [b.x, b.y + b.height / 2, b.width]"
    )

    def value() -> float:
        """What the knob was turned to last."""
        soon(lambda: bool(heard) and isinstance(heard[-1], Turned))
        (last,) = heard[-1:]
        assert isinstance(last, Turned)
        assert last.name == "distance"
        return last.value

    def mouse(kind: str, at: float, **more: Any) -> None:
        usual = {"type": kind, "x": x + at * width, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
        page.driver.execute_cdp_cmd("Input.dispatchMouseEvent", usual | more)

    mouse("mouseWheel", 0.5, deltaX=0, deltaY=-100, buttons=0, button="none")
    assert value() == pytest.approx(0.37)
    page.keys("turn-distance", "\ue012")  # arrow to the left
    soon(lambda: value() == pytest.approx(0.35))
    mouse("mousePressed", 0.2, modifiers=8)  # with Shift it does not jump there
    mouse("mouseMoved", 0.7, modifiers=8)
    soon(lambda: value() == pytest.approx(0.4, abs=0.002))
    mouse("mouseReleased", 0.7, modifiers=8)
    mouse("mousePressed", 0.9)
    mouse("mouseReleased", 0.9)
    soon(lambda: value() > 0.8)
    for count in (1, 2):
        mouse("mousePressed", 0.9, clickCount=count)
        mouse("mouseReleased", 0.9, clickCount=count)
    soon(lambda: value() == pytest.approx(0.35))
    page.close()


@in_a_browser
def test_what_a_musician_sees_of_controls_key_and_ends_of_a_blend(stage: Stage, tmp_path: Path) -> None:
    blend = load(find("presets", "blend"))
    bound = {"blend": "CC 70", "key_lock": "CC 22", "freeze": "key C2"}
    stage.desk.view = replace(ROLLS, preset=blend, bound=bound, stored=(TUNE, None))
    page = Player(stage.urls[0], tmp_path / "browser")
    page.begin()
    soon(lambda: page.text("turn") == "WITH YOU")
    badges = "return [...document.querySelectorAll('.badge')].map((each) => each.innerText).filter(Boolean)"
    assert sorted(page.driver.execute_script(badges)) == ["CC 22", "CC 70", "key C2"]
    # The key is that of a loop that has ended.
    assert page.text("tonality") == ""
    stage.desk.view = replace(stage.desk.view, played=())
    time.sleep(0.5)
    assert page.text("tonality") == ""  # three pitches are of too many keys
    for played in ((*TUNE.notes, Note(3600, 65, 100, 80)), ()):
        stage.desk.view = replace(stage.desk.view, played=played)
        time.sleep(0.3)
    soon(lambda: page.text("tonality") == "C major")
    # Of the ends A has a loop, and a click on one fades there.
    drawn = "return ['a', 'b'].map((end) => document.querySelector(`#end-${end} canvas`).toDataURL().length)"
    a, b = page.driver.execute_script(drawn)
    assert a > b
    assert "nothing is stored as B yet" in page.driver.find_element("id", "end-b").get_attribute("title")
    stage.desk.heard.clear()
    page.click("end-b")
    page.click("end-a")
    soon(lambda: stage.desk.heard == [Turned("blend", 1.0), Turned("blend", 0.0)])
    stage.desk.view = replace(stage.desk.view, knobs={**stage.desk.view.knobs, "key": 3.0, "scale": 2.0})
    soon(lambda: page.text("tonality") == "D minor")
    page.close()


@in_a_browser
def test_a_preset_is_chosen_from_its_card(stage: Stage, tmp_path: Path) -> None:
    stage.desk.view = replace(ROLLS, preset=load(find("presets", "vary")))
    page = Player(stage.urls[0], tmp_path / "browser")
    page.begin()
    soon(lambda: page.text("preset") == "1 vary")
    page.click("preset")
    card = page.driver.find_element("css selector", "[data-preset=lush]")
    assert card.text.splitlines() == [
        "10 lush",
        "Your loop in full chords, spread upwards",
        "vary · answer · 2 bars",
    ]
    assert page.driver.find_element("css selector", "[aria-current]").get_attribute("data-preset") == "vary"
    card.click()
    soon(lambda: stage.desk.chosen == ["lush"])
    assert page.driver.execute_script("return document.body.dataset.tab") == "play"
    page.type("z")  # letters are notes again
    soon(lambda: midi.note_off(0, C) in stage.data)
    page.close()


@in_a_browser
def test_a_band_has_a_mixer_and_a_legend_and_says_when_it_comes_in(stage: Stage, tmp_path: Path) -> None:
    band = load(find("presets", "band"))
    stage.desk.view = replace(ROLLS, preset=band, knobs=band.knobs, use="along", played=(), answer=None, tick=None)
    page = Player(stage.urls[0], tmp_path / "browser")
    soon(lambda: page.text("invitation").endswith("it plays along with you."))
    page.begin()
    waits = replace(stage.desk.view, tick=480)
    for view, hint in (
        (waits, "play, and it plays along"),
        (replace(waits, played=TUNE.notes[:3]), "go on: it comes in at the next bar line"),
        (replace(waits, played=TUNE.notes[:3], answer=TUNE), "it plays along with you"),
    ):
        stage.desk.view = view
        soon(lambda hint=hint: page.text("hint") == hint)
    strips = [part + " 1.00 mute" for part in ("bass", "comping", "drums", "second")]
    assert page.text("macros").split() == " ".join(strips).split()
    assert page.text("plan").split() == ["decided", "may", "still", "change"]
    assert not page.driver.find_element("id", "legend").is_displayed()
    dimmed = "return [...document.querySelectorAll('#uses .rests')].map((each) => each.textContent)"
    assert page.driver.execute_script(dimmed) == ["answer", "follow", "hold"]
    stage.desk.heard.clear()
    page.click("turn-bass_mute")
    soon(lambda: stage.desk.heard == [Turned("bass_mute", 1.0)])
    # In another preset the mutes are where the other knobs are, under their full names.
    stage.desk.view = ROLLS
    soon(lambda: page.driver.execute_script(dimmed) == ["along"])
    page.tab("knobs")
    page.driver.execute_script("document.getElementById('group-band').open = true")
    assert "bass mute" in page.text("groups")
    assert "bass level" in page.text("groups")
    page.close()


@in_a_browser
def test_overdub_and_undo_are_at_hand_and_the_page_says_what_happens(stage: Stage, tmp_path: Path) -> None:
    stage.desk.view = replace(ROLLS, use="answer", turn="yours", layers=2, overdubs=True)
    page = Player(stage.urls[0], tmp_path / "browser")
    assert "Play two bars on the letters" in page.text("invitation")
    assert page.text("invitation").endswith("then listen for two.")
    page.begin()
    soon(lambda: page.text("hint") == "what you play goes round too, with 2 layers")
    stage.desk.heard.clear()
    for code in ("KeyO", "KeyU"):
        for kind in ("keyDown", "keyUp"):
            event = {"type": kind, "code": code, "key": code[-1], "modifiers": 8}
            page.driver.execute_cdp_cmd("Input.dispatchKeyEvent", event)
    soon(lambda: stage.desk.heard == [Pressed("overdub", None), Pressed("undo")])
    for tick, hint in ((1440, "play 2 bars"), (1920, "play 2 bars, from bar 3 on"), (4320, "play 2 bars")):
        stage.desk.view = replace(ROLLS, use="answer", turn="yours", tick=tick, played=(), answer=None)
        soon(lambda hint=hint: page.text("hint") == hint)
    for said in ("heard bars 1-2: silence", "late", "late", "heard bars 3-4: 5 notes"):
        stage.desk.remote.tell("/rtgen/state/news", said)
    page.tab("machine")
    soon(lambda: page.text("log").split("\n")[:2] == ["heard bars 3-4: 5 notes", "late (2 times)"])
    assert "silence" not in page.text("log")
    page.tab("play")
    page.click("preset")
    page.driver.find_element("css selector", "[data-preset=band]").click()
    soon(lambda: page.text("toast") == "loading band ...")
    page.close()


@in_a_browser
def test_a_click_on_the_map_turns_the_knobs_of_both_axes(stage: Stage, tmp_path: Path) -> None:
    stage.desk.view = replace(ROLLS, dimensions=(*NAMES, "warmth"), placed=MAPPED)
    page = Player(stage.urls[0], tmp_path / "browser")
    page.begin()
    page.tab("map")
    soon(lambda: page.text("map-says").startswith("Click"))
    page.keys("map-y", "warmth")
    stage.desk.heard.clear()
    page.driver.execute_script("""
        const [canvas, edge] = [document.getElementById("map"), 14];
        const box = canvas.getBoundingClientRect();
        const [x, y] = [box.x + edge + 0.65 * (box.width - 2 * edge), box.y + edge + 0.4 * (box.height - 2 * edge)];
        for (const kind of ["pointerdown", "pointerup"]) {
          canvas.dispatchEvent(new PointerEvent(kind, { pointerId: 1, clientX: x, clientY: y, bubbles: true }));
        }
    """)
    soon(lambda: len(stage.desk.heard) >= 2)
    # The middle is as played. A knob for density reaches 0.3 of the map, one for a latent dimension half of it.
    first, second = stage.desk.heard[:2]
    assert isinstance(first, Turned)
    assert isinstance(second, Turned)
    assert (first.name, second.name) == ("density", "latent1")
    assert first.value == pytest.approx(0.5 + 0.15 * 0.5 / 0.3, abs=0.01)
    assert second.value == pytest.approx(0.5 + 0.2 * 0.5 / 0.5, abs=0.01)
    page.close()


@in_a_browser
def test_a_clip_is_seen_and_dragged_out_as_a_file(tmp_path: Path) -> None:
    stage = Stage()
    stage.desk.remote._about["clips"] = str(tmp_path)
    path = clips.keep(TUNE, Preset(name="lush"), 96.0, tmp_path, datetime(2026, 11, 30, 15, 4, 7))
    with stage.open():
        page = Player(stage.urls[0], tmp_path / "browser")
        page.begin()
        page.tab("clips")
        soon(lambda: "96 BPM · lush · 15:04" in page.text("clips"))
        assert not page.driver.find_element("id", "no-clips").is_displayed()
        dragged = page.driver.execute_script("""
            const dataTransfer = new DataTransfer();
            document.querySelector("#clips a").dispatchEvent(new DragEvent("dragstart", { dataTransfer }));
            return dataTransfer.getData("DownloadURL");
        """)
        kind, name, url = dragged.split(":", 2)
        assert (kind, name) == ("audio/midi", path.name)
        with urlopen(url, timeout=30) as file:
            assert file.read() == path.read_bytes()
        page.close()


@in_a_browser
def test_keys_are_let_go_when_the_page_is_left_or_closed(stage: Stage, tmp_path: Path) -> None:
    page = Player(stage.urls[0], tmp_path / "browser")
    begin_afresh(page, stage)
    page.key("KeyZ", down=True)
    soon(lambda: len(stage.data) == 1)
    page.driver.execute_script("window.dispatchEvent(new Event('blur'))")
    soon(lambda: stage.data == [midi.note_on(0, C, 84), midi.note_off(0, C)])
    page.key("KeyZ", down=False)
    page.key("KeyX", down=True)
    soon(lambda: len(stage.data) == 3)
    page.close()
    soon(lambda: stage.data[2:] == [midi.note_on(0, 50, 84), midi.note_off(0, 50)])


@in_a_browser
def test_two_fingers_are_two_notes(stage: Stage, tmp_path: Path) -> None:
    page = Player(stage.urls[0], tmp_path / "browser")
    page.shape(390, 844)
    begin_afresh(page, stage)
    where = "const b = document.querySelector(`[data-pitch='${arguments[0]}']`).getBoundingClientRect();"
    points = [page.driver.execute_script(f"{where} return [b.x + b.width / 2, b.bottom - 9]", p) for p in (C, 53)]
    fingers = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
    page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": fingers})
    soon(lambda: sorted(data[1] for data in stage.data) == [C, 53])
    page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    soon(lambda: sorted(data[:2] for data in stage.data[2:]) == [bytes((0x80, C)), bytes((0x80, 53))])
    page.close()


@in_a_browser
@pytest.mark.parametrize(("width", "height"), [(390, 844), (844, 390), (1280, 720)])
def test_rolls_and_transport_are_seen_without_scrolling(stage: Stage, tmp_path: Path, width: int, height: int) -> None:
    page = Player(stage.urls[0], tmp_path / "browser")
    page.shape(width, height)
    page.begin()
    soon(lambda: page.text("buttons") != "")
    script = """
        const seen = (id) => {
          const box = document.getElementById(id).getBoundingClientRect();
          const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
          return box.left >= 0 && box.right <= innerWidth && box.bottom <= innerHeight && box.width > 30
            && document.getElementById(id).contains(top) && box.height;
        };
        const names = ["freeze", "regenerate", "back", "keep", "mute"].map((name) => `press-${name}`);
        return [seen("rolls"), [...names, "panic"].map(seen), document.documentElement.scrollHeight <= innerHeight];
    """
    roll, transport, fits = page.driver.execute_script(script)
    assert all(each >= 40 for each in transport), transport
    assert roll >= (0.3 if height < 400 else 0.45) * height, roll
    assert fits
    page.close()


@in_a_browser
def test_a_midi_keyboard_plays_and_is_let_go_when_it_is_unplugged(stage: Stage, tmp_path: Path) -> None:
    before = """
        window.port = { id: "x", name: "Keys 61", state: "connected" };
        window.access = { inputs: new Map([["x", window.port]]) };
        navigator.requestMIDIAccess = async () => window.access;
        window.strike = (...data) => window.port.onmidimessage({ data, timeStamp: performance.now() });
    """
    page = Player(stage.urls[0], tmp_path / "browser", before)
    begin_afresh(page, stage)
    if page.driver.execute_script("return !document.getElementById('midi').textContent.includes('Keys 61')"):
        page.click("midi")
    soon(lambda: page.text("midi") == "MIDI: Keys 61")
    for data in ((0x93, 60, 77), (0xB0, 20, 9), (0xF8,), (0xB0, 64, 127), (0x83, 60, 0), (0x90, 62, 5), (0xB0, 64, 0)):
        page.driver.execute_script("window.strike(...arguments)", *data)
    meant = [
        midi.note_on(0, 60, 77),
        midi.control(0, 20, 9),
        midi.control(0, 64, 127),
        midi.note_off(0, 60),
        midi.note_on(0, 62, 5),
        midi.control(0, 64, 0),
    ]
    soon(lambda: stage.data == meant)
    page.driver.execute_script("window.port.state = 'disconnected'; window.access.onstatechange({ port: window.port })")
    soon(lambda: stage.data[6:] == [midi.note_off(0, 62)])
    assert page.text("midi") == "No MIDI keyboard"
    page.close()


@in_a_browser
def test_a_browser_without_web_midi_is_no_error(stage: Stage, tmp_path: Path) -> None:
    page = Player(stage.urls[0], tmp_path / "browser", "delete Navigator.prototype.requestMIDIAccess;")
    assert page.driver.execute_script("return navigator.requestMIDIAccess === undefined")
    page.begin()
    page.type("z")
    soon(lambda: midi.note_off(0, C) in stage.data)
    assert page.driver.execute_script("return document.getElementById('midi').hidden")
    page.close()


@in_a_browser
def test_a_page_at_rest_draws_nothing(stage: Stage, tmp_path: Path) -> None:
    before = """
        window.frames_ = 0;
        const asked = window.requestAnimationFrame;
        window.requestAnimationFrame = (f) => { window.frames_ += 1; return asked.call(window, f); };
    """
    page = Player(stage.urls[0], tmp_path / "browser", before)
    page.begin()
    soon(lambda: page.text("turn") == "STOPPED")
    time.sleep(1.0)
    frames = page.driver.execute_script("return window.frames_")
    time.sleep(1.0)
    assert page.driver.execute_script("return window.frames_") <= frames + 2
    page.close()


@in_a_browser
def test_playhead_and_banner_move_together_and_without_a_script(played: str, tmp_path: Path) -> None:
    before = """
        window.asked = 0;
        const asked = window.requestAnimationFrame;
        window.requestAnimationFrame = (f) => { window.asked += 1; return asked.call(window, f); };
        window.shares = () => {
          const at = (id) => new DOMMatrix(getComputedStyle(document.getElementById(id)).transform);
          const width = document.getElementById("roll").clientWidth;
          return [(at("head").e - 46) / (width - 46), at("fill").a]; // 46: the keyboard
        };
    """
    page = Player(played, tmp_path / "browser", before)
    page.begin()
    soon(lambda: page.text("turn") == "YOUR TURN")
    seen = set[int]()

    def moves() -> bool:
        head, fill = page.driver.execute_script("return window.shares()")
        assert head == pytest.approx(fill, abs=0.01)
        seen.add(int(8 * head))
        return len(seen) == 8

    soon(moves)
    asked = page.driver.execute_script("return window.asked")
    time.sleep(2.0)
    assert page.driver.execute_script("return window.asked") <= asked + 10
    page.click("song")
    soon(lambda: page.text("turn") == "STOPPED")
    assert page.driver.execute_script("return [document.getElementById('head').hidden, window.shares()[1]]") == [
        True,
        0,
    ]
    page.close()


@in_a_browser
@pytest.mark.long
@pytest.mark.timeout(2400)
def test_half_an_hour_of_playing_on_one_page(played: str, tmp_path: Path) -> None:
    """What the page holds does not grow while it is played and clicked on; `RTGEN_MINUTES` says how long."""
    minutes = float(os.environ.get("RTGEN_MINUTES", 30))
    for second in range(60):  # as many as are shown, so that one more makes the page no larger
        clips.keep(TUNE, Preset(), 96.0, tmp_path / "clips", datetime(2026, 11, 30, 15, 4, second))
    page = Browser(played, tmp_path / "browser", "1280,900")
    soon(lambda: page.driver.execute_script("return !document.getElementById('start').hidden"))
    page.click("start")
    held: list[Weight] = []
    began = perf_counter()
    while (gone := (perf_counter() - began) / 60) < minutes:
        for code in PHRASE:
            for kind in ("keyDown", "keyUp"):
                page.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "code": code, "key": "x"})
                time.sleep(0.1)
        for tab in ("map", "clips", "machine", "knobs", "play"):
            page.tab(tab)
            time.sleep(0.2)
        for element in ("press-keep", "press-store_a", "preset", "preset"):
            page.click(element)
        if gone > minutes * (len(held) + 1) / 6:
            held.append(page.weight())
            print(f"after {gone:4.1f} min: {held[-1]}")
    page.close()
    assert len(held) == 5
    assert held[-1].is_no_more_than(held[1])


def test_where_nothing_can_be_written_it_plays_and_says_that_nothing_is_saved(tmp_path: Path) -> None:
    in_the_way = tmp_path / "no folder"
    in_the_way.touch()
    options = ["--no-browser", "--seconds", "3", "--sessions", in_the_way / "sessions", "--clips", in_the_way / "clips"]
    command = [sys.executable, "-m", "rtgen", "play", *options, "--port", str(own_port(8790)), "--osc", "7779"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cannot be written (Not a directory); the music goes on without it" in done.stderr
    assert "rolling" in done.stderr
    assert done.stderr.splitlines()[-1] == "0 answers, 0 late"
