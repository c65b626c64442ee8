"""The panel: its server by itself, and the page in a real browser beside a real daemon on a real MIDI server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest
from aiohttp import WSServerHandshakeError
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rtgen.bench.music import BAR
from rtgen.bench.programs import Program, unique_set_mb
from rtgen.bench.server import TempoMap
from rtgen.bench.streams import within
from rtgen.errors import UserError
from rtgen.instrument.events import Learn, Pressed, Turned, Used
from rtgen.instrument.parameters import BUTTONS, LATENTS, PARAMETERS
from rtgen.instrument.preset import Preset
from rtgen.music.attributes import NAMES
from rtgen.music.files import note_events
from rtgen.music.note import Loop, Note
from rtgen.panel import access, qr, server
from rtgen.panel.access import is_loopback, is_served, token_of, urls
from rtgen.panel.server import Panel, hello, serve
from rtgen.rig.kept import clips
from rtgen.rig.told.packet import datagram, parse
from tests.rig.conftest import Rig, StartDaemon, loop_of
from tests.rig.test_osc import Desk, soon

TEMPO = TempoMap((0, 120.0))
MINUTES = 30
PHRASE = loop_of(*(Note(i * 240, 60 + (0, 4, 7, 5)[i % 4], 200, 90) for i in range(16)), bars=2)
COMMANDS = ("set", "press", "preset", "use", "learn", "over")
ESCAPE = "\ue00c"
PICTURES = os.environ.get("RTGEN_PICTURES")
"""A folder for pictures of the page; without one none are taken."""
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
in_a_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium and its driver are not here")


def visited(panel: Panel, visit: Callable[[TestClient[Any, Any]], Awaitable[None]]) -> None:
    """Serves a panel while somebody visits."""

    async def run() -> None:
        async with TestServer(panel.application()) as server, TestClient(server) as client:
            await visit(client)

    asyncio.run(run())


async def has_told(panel: Panel, name: str) -> None:
    """Waits until the daemon has told a part of its state."""
    async with asyncio.timeout(60):
        while name not in panel.daemon.state:
            await asyncio.sleep(0.01)


@pytest.fixture
def desk() -> Iterator[Desk]:
    found = Desk()
    with found.remote:
        yield found


# ---- the server -----------------------------------------------------------------------------------------------------


def test_a_browser_is_told_everything_and_then_what_changes(desk: Desk) -> None:
    async def visit(client: TestClient[Any, Any]) -> None:
        async with client.ws_connect("/ws") as socket:
            state: dict[str, Any] = {}
            first = await socket.receive_json()
            assert [p["name"] for p in first["hello"]["parameters"]] == list(PARAMETERS)
            while "state/answer" not in state:
                said = first if first else await socket.receive_json()
                first = None
                state |= said.get("state", {})
            assert state["alive"] is True
            assert state["state/name"] == ["desk"]
            desk.remote.tell("/rtgen/state/news", "stopped")
            while "news" not in (said := await socket.receive_json()):
                pass
            assert said["news"] == "stopped"

    visited(Panel(desk.remote.port), visit)


def test_what_is_turned_and_pressed_goes_to_the_daemon_and_nothing_else_does(desk: Desk) -> None:
    words: list[Any] = [
        {"set": ["distance", 0.5]},
        {"press": ["freeze"]},
        {"press": ["panic"]},
        {"use": "follow"},
        {"learn": "blend"},
        {"over": True},
        {"preset": "lush"},
    ]
    nonsense: list[Any] = [
        {"set": ["distanze", 1]},
        {"set": ["distance", "x"]},
        {"press": ["eject"]},
        {"use": "never"},
        {"learn": 3},
        {"over": 1},
        {"set": ["distance", True]},
        {"set": ["distance", float("inf")]},
        {"set": ["distance", float("nan")]},
        {"set": ["distance", 10**400]},
        {"learn": "distanze"},
        {"preset": "x" * 300},
        [],
        "x",
        None,
        {"set": 1},
    ]

    async def visit(client: TestClient[Any, Any]) -> None:
        async with client.ws_connect("/ws") as socket:
            for each in (*nonsense, *words):
                await socket.send_json(each)
            await socket.send_str("{" * 5000)
            for _ in range(100):
                if desk.chosen:
                    break
                await asyncio.sleep(0.02)

    visited(Panel(desk.remote.port), visit)
    assert desk.heard == [
        Turned("distance", 0.5),
        Pressed("freeze", None),
        Pressed("panic"),
        Used("follow"),
        Learn("blend"),
        Learn(None, over=True),
    ]
    assert desk.chosen == ["lush"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(("distance", "freeze", "answer", "x" * 999)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(COMMANDS) | st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(COMMANDS), JSON, min_size=1, max_size=2) | JSON)
def test_nothing_that_a_browser_says_ends_its_socket(said: Any) -> None:
    """Whatever it says, what reaches the daemon is a packet with a name and a number that there are."""
    sent: list[bytes] = []

    class Transport:
        def sendto(self, data: bytes) -> None:
            sent.append(data)

    panel = Panel(1)
    panel.daemon.connection_made(Transport())  # type: ignore[arg-type]
    panel._hear(json.dumps(said))
    for data in sent:
        ((address, values),) = parse(data)
        assert address.startswith("/rtgen/")
        assert len(data) < 300
        assert all(not isinstance(value, float) or abs(value) < 1e6 for value in values)


def test_a_daemon_that_is_gone_is_said_so_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_RENEW_S", 0.1)
    monkeypatch.setattr(server, "_LOST_S", 0.3)
    first = Desk()

    async def visit(client: TestClient[Any, Any]) -> None:
        async def until(alive: bool) -> None:
            while (await socket.receive_json()).get("state", {}).get("alive") is not alive:
                pass

        async with client.ws_connect("/ws") as socket:
            first.remote.__enter__()
            await asyncio.wait_for(until(True), 5)
            first.remote.__exit__(None, None, None)
            await asyncio.wait_for(until(False), 5)

    visited(Panel(first.remote.port), visit)


def test_a_token_is_asked_for(desk: Desk) -> None:
    async def visit(client: TestClient[Any, Any]) -> None:
        page = await client.get("/")  # with nothing in it that is secret
        assert page.status == 200
        assert "rtgen" in await page.text()
        assert (await client.get("/static/panel.js")).status == 200
        for path in ("/clips", "/clips/x.mid", "/static/../clips", "/static/..%2Fclips"):
            assert (await client.get(path)).status in (403, 404)
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Bearer é"},
            {"Cookie": "rtgen_token=word"},
        ):
            assert (await client.post("/enter", headers=headers)).status == 403
            assert (await client.get("/clips", headers=headers)).status == 403
        assert (await client.get("/clips?token=word")).status == 403
        with pytest.raises(WSServerHandshakeError, match="403"):
            await client.ws_connect("/ws")
        assert (await client.get("/clips", headers={"Authorization": "Bearer word"})).status == 200
        entered = await client.post("/enter", headers={"Authorization": "Bearer word"})
        assert entered.status == 204
        assert {"HttpOnly", "SameSite=Strict"} <= set(entered.headers["Set-Cookie"].split("; "))
        assert (await client.get("/clips")).status == 200  # the cookie knows it
        async with client.ws_connect("/ws") as socket:
            assert "hello" in await socket.receive_json()

    visited(Panel(desk.remote.port, "word"), visit)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7780", "127.0.0.1.evil.example", "192.168.1.9", "", "["]
)
def test_a_name_that_leads_here_is_not_ours(desk: Desk, host: str) -> None:
    """DNS rebinding: the page of another site, under its own name, at our address."""

    async def visit(client: TestClient[Any, Any]) -> None:
        for path in ("/", "/clips", "/static/panel.js", "/nothing"):
            answer = await client.get(path, headers={"Host": host, "Origin": f"http://{host}"})
            assert answer.status == 403
            assert "not served under this name" in await answer.text()
        with pytest.raises(WSServerHandshakeError, match="403"):
            await client.ws_connect("/ws", headers={"Host": host}, origin=f"http://{host}")
        assert (await client.get("/", headers={"Host": "localhost:7780"})).status == 200

    visited(Panel(desk.remote.port), visit)


def test_names_that_are_served() -> None:
    own = socket.gethostname().lower().removesuffix(".local")
    for name in ("192.168.1.20:7780", "[fe80::1]:7780", "localhost", own, f"{own}.local:7780"):
        assert is_served(name, "0.0.0.0")
    assert is_served("Rig.lan:7780", "rig.lan")
    assert not is_served("rig.lan", "0.0.0.0")
    for name in ("[::1]:80", "127.0.0.1", "localhost:1"):
        assert is_served(name, "127.0.0.1")


def test_no_page_may_be_framed(desk: Desk) -> None:
    async def visit(client: TestClient[Any, Any]) -> None:
        for path in ("/", "/static/panel.js", "/clips", "/none", "/ws"):
            headers = (await client.get(path)).headers
            assert headers["X-Frame-Options"] == "DENY"
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"

    visited(Panel(desk.remote.port), visit)


def test_no_more_pages_are_open_than_may(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MOST_PAGES", 2)

    async def visit(client: TestClient[Any, Any]) -> None:
        async with client.ws_connect("/ws"), client.ws_connect("/ws"):
            with pytest.raises(WSServerHandshakeError, match="503"):
                await client.ws_connect("/ws")
            assert "2 pages are open" in await (await client.post("/enter")).text()

    visited(Panel(desk.remote.port), visit)


def test_what_a_stranger_says_on_the_daemons_port_stays_small(desk: Desk) -> None:
    panel = Panel(desk.remote.port)

    async def talk() -> None:
        for i in range(2000):
            panel.daemon.datagram_received(datagram(f"/rtgen/state/x{i}", (1,)), None)
        for values in ((b"x",), (float("nan"),), (None,)):
            panel.daemon.datagram_received(datagram("/rtgen/state/tempo", values), None)
        for data in (b"", b"#bundle\0", datagram("/rtgen/state/news", ()), datagram("/rtgen/error", (1, b"x"))):
            panel.daemon.datagram_received(data, None)

    asyncio.run(talk())
    assert len(panel.daemon.state) <= server._MOST_STATE
    assert "state/tempo" not in panel.daemon.state
    json.dumps(panel.daemon.state, allow_nan=False)


# ---- the token and the address --------------------------------------------------------------------------------------


def test_the_token_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(access.VARIABLE, raising=False)
    assert token_of(None) is None
    assert token_of("") is None
    assert len(token_of("new") or "") >= 16
    assert token_of("new") != token_of("new")
    file = tmp_path / "token"
    file.write_text("correct-horse\n")
    file.chmod(0o600)
    assert token_of(str(file)) == "correct-horse"
    monkeypatch.setenv(access.VARIABLE, "battery-staple")
    assert token_of(None) == "battery-staple"


@pytest.mark.parametrize(
    ("holds", "mode", "said"),
    [
        ("correct-horse", 0o644, "others can read the token in .*run 'chmod 600"),
        ("", 0o600, "is not 8 to 64 letters"),
        ("short", 0o600, "is not 8 to 64 letters"),
        ("a b c d e f g", 0o600, "is not 8 to 64 letters"),
        ("é" * 20, 0o600, "is not 8 to 64 letters"),
        (None, 0, r"takes 'new' or a file that holds the token, and this is none \(No such file"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_token_that_is_none_is_a_sentence(tmp_path: Path, holds: str | None, mode: int, said: str) -> None:
    file = tmp_path / "token"
    if holds is not None:
        file.write_text(holds, "utf-8")
        file.chmod(mode)
    with pytest.raises(UserError, match=said):
        token_of(str(file))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such files on Windows")
def test_a_token_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path / "fifo", tmp_path, Path("x" * 5000)):
        with pytest.raises(UserError, match="takes 'new' or a file"):
            token_of(str(path))
    monkeypatch.setenv(access.VARIABLE, "short")
    with pytest.raises(UserError, match=f"the token in {access.VARIABLE} is not 8 to 64"):
        token_of(None)


def test_the_address_is_one_for_a_phone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "addresses", lambda: ["192.168.1.20", "10.42.0.1"])
    assert urls("0.0.0.0", 7780, "word") == [
        "http://192.168.1.20:7780/#token=word",
        "http://10.42.0.1:7780/#token=word",
    ]
    assert urls("127.0.0.1", 7780, None) == ["http://127.0.0.1:7780/"]
    assert urls("::1", 7780, None) == ["http://[::1]:7780/"]
    monkeypatch.setattr(access, "addresses", list)
    assert urls("0.0.0.0", 7780, None) == [f"http://{socket.gethostname()}:7780/"]
    monkeypatch.undo()
    assert all(not is_loopback(each) and each.count(".") == 3 for each in access.addresses())


CODES = {
    "http://10.0.0.7:7780/": "1fd547f 104f941 175ce5d 175db5d 1753a5d 1046941 1fd557f 0005600 1e5729d 11b5402 0bdf550 "
    "171ca6c 00edb77 0d0be51 0e4e506 15a6549 06fd7ff 0014111 1fc8d5f 1042d10 174cdf2 1754277 17544de 1057ed4 1fd623f",
    "http://192.168.1.20:7780/#token=0123456789abcdef": ""
    "1fc54a7f 10547541 1741075d 175dbd5d 1748425d 105b6541 1fd5557f "
    "000e4700 1f7bbdaa 1e254e51 14d5f830 02b222d2 09ddbfac 03124655 0040ecc4 1a0060a2 096db984 17b2c2dd 1355304c "
    "168c36d2 11c599f7 0012cf1f 1fd82b5c 104b5112 1751c9fe 175e1da1 17513f5a 105b71b2 1fd9e80c",
}
"""Codes by Project Nayuki's generator (level L, byte mode): a row of modules in each number."""


@pytest.mark.parametrize("text", CODES)
def test_codes_are_those_of_another_program(text: str) -> None:
    square = qr.code(text)
    assert [int("".join(map(str, row)), 2) for row in square] == [int(row, 16) for row in CODES[text].split()]
    shown = list(qr.lines(square))
    assert {len(line) for line in shown} == {len(square) + 8}
    assert len(shown) == (len(square) + 9) // 2
    assert not "".join(shown[:2]).strip()
    assert shown[2].startswith("    █▀▀▀▀▀█ ")


def test_a_text_that_fits_no_code_is_refused() -> None:
    assert len(qr.code("x" * qr.MOST)) == 37
    with pytest.raises(ValueError, match="107 bytes do not fit"):
        qr.code("x" * (qr.MOST + 1))


def test_pages_of_other_sites_are_kept_out(desk: Desk) -> None:
    async def visit(client: TestClient[Any, Any]) -> None:
        with pytest.raises(WSServerHandshakeError, match="403"):
            await client.ws_connect("/ws", origin="http://evil.example")

    visited(Panel(desk.remote.port), visit)


@pytest.mark.parametrize(
    ("host", "safe"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_in_a_network_a_token_is_needed(host: str, safe: bool) -> None:
    assert is_loopback(host) is safe
    if not safe:
        with pytest.raises(UserError, match=r"everybody in the network .*give a token \(--token new\)"):
            serve(host, 0, 1, None, print)


def test_a_port_that_is_taken_is_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match=r"the panel's port \d+ is not available .*choose another --port"):
            serve("127.0.0.1", taken.getsockname()[1], 1, None, print)


@pytest.mark.parametrize(("host", "said"), [("192.0.2.1", "cannot be served on 192.0.2.1"), ("a..b", "served on a..b")])
def test_an_address_of_another_machine_is_a_sentence(host: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"{said} .*give --host 0.0.0.0 or an address"):
        serve(host, 1234, 1, "correct-horse", print)


def test_connections_are_counted_and_it_ends_when_asked(desk: Desk) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        "from rtgen.panel import server; server._MOST_CONNECTIONS = 3; "
        f"server.serve('127.0.0.1', {port}, {desk.remote.port}, None, lambda urls: print(*urls, flush=True))"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process.stdout:
        try:
            process.stdout.readline()
            idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
            idle[3].settimeout(10)
            assert idle[3].recv(1) == b""
            for each in idle[:2]:
                each.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                each.settimeout(10)
                assert each.recv(12) == b"HTTP/1.1 200"
            for each in idle:
                each.close()
        finally:
            process.terminate()
        assert process.wait(60) == 0


def test_a_clip_is_listed_with_its_notes(tmp_path: Path) -> None:
    loop = Loop(3840, (Note(0, 60, 400, 90), Note(1930, 64, 2000, 70)), 1920)
    path = clips.keep(loop, Preset(name="lush"), 96.0, tmp_path, datetime(2026, 11, 30, 15, 4, 7))
    (tmp_path / "a large one.mid").write_bytes(path.read_bytes() + bytes(server._LARGEST_CLIP))
    (tmp_path / "no music.mid").write_bytes(b"MThd")

    async def visit(client: TestClient[Any, Any]) -> None:
        await has_told(panel, "state/clips")
        for _ in range(2):  # the second time from memory
            found = {each["name"]: each["roll"] for each in await (await client.get("/clips")).json()}
            assert found == {
                path.name: [3840, 0, 60, 400, 90, 1930, 64, 2000, 70],
                "a large one.mid": [],
                "no music.mid": [],
            }

    with Desk(clips=str(tmp_path)).remote as remote:
        panel = Panel(remote.port)
        visited(panel, visit)


def test_the_key_of_a_loop_is_told_when_it_has_ended() -> None:
    told: list[Any] = []

    def hear(name: str, *values: Any) -> None:
        link.datagram_received(datagram(f"/rtgen/state/{name}", values), None)

    async def run() -> None:
        for loop in (scale, scale[:5], (3840,), (*scale[:5], 480, 60, 480, 90), (3840,), (*scale, "x", 1, 2.5, -9), ()):
            hear("played", *loop)
        hear("drums", 1)
        hear("played", *scale)
        hear("played", 3840)

    link = server.DaemonLink(
        lambda changes: told.append(changes["state/key"]) if "state/key" in changes else None, print
    )
    scale = (3840, *(value for i, p in enumerate((62, 64, 66, 67, 69, 71, 73, 74)) for value in (480 * i, p, 400, 90)))
    asyncio.run(run())
    # Two pitches tell no key.
    assert told == [["D major"], ["D major"], []]


def test_clips_and_no_other_files_can_be_fetched(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "one two.mid").write_bytes(b"MThd")
    (tmp_path / "secret.mid").write_bytes(b"no")
    (clips / "x.txt").touch()
    (clips / "link.mid").symlink_to(tmp_path / "secret.mid")
    (clips / "folder.mid").mkdir()

    async def visit(client: TestClient[Any, Any]) -> None:
        await has_told(panel, "state/clips")
        assert await (await client.get("/clips")).json() == [{"name": "one two.mid", "roll": []}]
        assert await (await client.get("/clips/one%20two.mid")).read() == b"MThd"
        for name in ("..%2Fsecret.mid", "x.txt", "none.mid", "%2Fetc%2Fpasswd", "link.mid", "folder.mid", "a%00.mid"):
            assert (await client.get(f"/clips/{name}")).status == 404
        for name in ("x" * 300 + ".mid", "..%2f..%2fsecret.mid"):
            assert (await client.get(f"/clips/{name}")).status == 404

    with Desk(clips=str(clips)).remote as remote:
        panel = Panel(remote.port)
        visited(panel, visit)


def test_the_page_knows_every_button_and_knob() -> None:
    static = Path(sys.modules["rtgen.panel"].__file__ or "").parent / "static"
    script = "".join(path.read_text("utf-8") for path in static.glob("*.js"))
    page = (static / "index.html").read_text("utf-8")
    for name in BUTTONS:
        assert re.search(rf"\b{name}\b", script + page), name
    said = json.loads(json.dumps(hello()))
    # Knobs are told, each with its group; no script has to know one.
    assert {p["group"] for p in said["parameters"]} <= set(re.findall(r'\["(\w+)", "[A-Z]', script))
    assert {card["name"] for card in said["presets"]} >= {"vary", "blend"}
    assert set(said["reach"]) == {*NAMES, *LATENTS}


# ---- in a browser ---------------------------------------------------------------------------------------------------


class Weight(NamedTuple):
    """What a page holds: MB of objects, nodes of its document, listeners, and nodes of its audio."""

    objects_mb: float
    nodes: int
    listeners: int
    audio: int

    def is_no_more_than(self, other: Weight) -> bool:
        """Whether it is as good as what was held before: no page holds the same to the byte twice."""
        # The log may have a few lines to come, and some notes may sound.
        most = Weight(1.0, 150, 20, 200)
        return all(mine <= its + more for mine, its, more in zip(self, other, most, strict=True))


class Browser:
    """A headless Chromium with the page open.

    Args:
        url: of the page.
        folder: for its profile.
        size: of its window.
    """

    def __init__(self, url: str, folder: Path, size: str = "1280,1400") -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        quiet = ("quic", "background-networking", "component-update", "sync", "gpu")
        for flag in ("headless=new", "no-sandbox", "no-first-run", *(f"disable-{each}" for each in quiet)):
            options.add_argument(f"--{flag}")
        options.add_argument(f"--window-size={size}")
        options.add_argument(f"--user-data-dir={folder}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.binary_location = str(CHROMIUM)
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.driver.set_script_timeout(200)
        self.driver.get(url)

    def text(self, element: str) -> str:
        """What an element says; nothing before it is there."""
        return str(self.driver.execute_script("return document.getElementById(arguments[0])?.innerText ?? ''", element))

    def tab(self, name: str) -> None:
        """Turns to a tab of the page."""
        self.driver.execute_script("document.querySelector(`#tabs [data-tab=${arguments[0]}]`).click()", name)

    def click(self, element: str) -> None:
        """Clicks on an element."""
        self.driver.find_element("id", element).click()

    def keys(self, element: str, keys: str) -> None:
        """Types into an element."""
        self.driver.find_element("id", element).send_keys(keys)

    def type(self, keys: str) -> None:
        """Types, wherever the focus is."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(keys).perform()

    def picture(self, name: str) -> None:
        """Takes a picture of the page, if a folder for pictures is named in `RTGEN_PICTURES`."""
        if PICTURES:
            self.driver.save_screenshot(str(Path(PICTURES) / f"{name}.png"))

    @contextmanager
    def film(self, name: str) -> Iterator[None]:
        """Makes a moving picture of what is seen meanwhile, if pictures are wanted: each frame as long as it was."""
        if not PICTURES:
            yield
            return
        from websocket import WebSocketException, create_connection

        with urlopen(f"http://{self.driver.capabilities['goog:chromeOptions']['debuggerAddress']}/json") as told:
            (url,) = (each["webSocketDebuggerUrl"] for each in json.load(told) if each["type"] == "page")
        connection = create_connection(url, suppress_origin=True, timeout=200)
        frames: list[tuple[float, str]] = []

        def say(method: str, **parameters: Any) -> None:
            connection.send(json.dumps({"id": len(frames) + 1, "method": f"Page.{method}", "params": parameters}))

        def watch() -> None:
            with suppress(WebSocketException, OSError):
                while True:
                    said = json.loads(connection.recv())
                    if said.get("method") == "Page.screencastFrame":
                        frame = said["params"]
                        frames.append((frame["metadata"]["timestamp"], frame["data"]))
                        say("screencastFrameAck", sessionId=frame["sessionId"])

        say("startScreencast", format="png", maxWidth=800, maxHeight=500, everyNthFrame=4)
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        yield
        say("stopScreencast")
        connection.close()
        watcher.join(60)
        times = [at for at, _ in frames]
        lasts = [max(round(1000 * (b - a)), 1) for a, b in zip(times, [*times[1:], times[-1] + 1.5], strict=True)]
        first, *others = (Image.open(BytesIO(b64decode(data))).convert("RGB") for _, data in frames)
        path = Path(PICTURES) / f"{name}.webp"
        first.save(path, save_all=True, append_images=others, duration=lasts, loop=0, quality=60, method=4)
        print(f"{path}: {len(frames)} frames in {times[-1] - times[0]:.1f} s, {path.stat().st_size / 1024:.0f} KiB")

    def shape(self, width: int, height: int) -> None:
        """Gives the page this size, as on another screen."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        time.sleep(0.3)

    def weight(self) -> Weight:
        """What it holds when all that can be is let go."""
        self.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
        self.driver.execute_cdp_cmd("Performance.enable", {})
        found = {m["name"]: m["value"] for m in self.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]}
        counts = (int(found[name]) for name in ("Nodes", "JSEventListeners", "AudioHandlers"))
        return Weight(found["JSHeapUsedSize"] / 2**20, *counts)

    def hold(self, held: bool) -> None:
        """While it is held, no knob comes to rest: a busy machine may take long from one key to the next."""
        self.driver.execute_script(
            """
            window.held = arguments[0];
            window.later ??= window.setTimeout;
            window.setTimeout = (act, ms) => {
              const rest = () => window.held ? window.later(rest, 50) : act();
              return window.later(ms === 1000 ? rest : act, ms);
            };
            """,
            held,
        )

    def close(self) -> None:
        """Closes it; nothing must have gone wrong in it."""
        complaints = [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        self.driver.quit()
        assert complaints == []


Panels = Callable[[str], tuple[str, int]]


@pytest.fixture
def panel() -> Iterator[Panels]:
    """Starts a panel for a daemon that listens to OSC on a port: the address of its page, and its process."""
    running: list[subprocess.Popen[str]] = []

    def start(osc: str) -> tuple[str, int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "rtgen", "panel", "--port", str(port), "--osc", osc]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout
        return process.stdout.readline().removeprefix("panel: ").strip(), process.pid

    yield start
    for process in running:
        process.terminate()
        assert process.wait(60) == 0
        assert process.stdout
        process.stdout.close()


def osc_port(program: Program) -> str:
    """Where a daemon listens to OSC."""
    program.wait_for_line("OSC on")
    found = re.search(r"OSC on \S+ port (\d+)", program.said)
    assert found
    return found[1]


@in_a_browser
def test_keys_do_what_they_say_whatever_has_been_clicked(desk: Desk, panel: Panels, tmp_path: Path) -> None:
    url, _ = panel(str(desk.remote.port))
    page = Browser(url, tmp_path / "browser")
    soon(lambda: page.text("buttons") != "")
    page.click("press-store_b")
    page.type(" ")
    soon(lambda: desk.heard == [Pressed("store_b"), Pressed("freeze", None)])
    page.tab("knobs")
    page.click("turn-keep_bass")
    page.type(" ")
    soon(lambda: desk.heard[2:] == [Turned("keep_bass", 1.0), Pressed("freeze", None)])
    page.keys("preset", ESCAPE)
    page.tab("map")
    page.keys("map-x", ESCAPE)
    soon(lambda: desk.heard[4:] == [Pressed("panic"), Pressed("panic")])
    page.keys("press-mute", " ")  # as if it had been reached by Tab
    soon(lambda: desk.heard[6:] == [Pressed("mute", None)])
    # However soon Space follows, it is not the button's.
    clicked = """
        const button = document.getElementById("press-store_b");
        button.focus();
        button.dispatchEvent(new MouseEvent("click", { bubbles: true, detail: 1 }));
        return document.activeElement === document.body;
    """
    assert page.driver.execute_script(clicked)
    page.close()


@in_a_browser
def test_a_late_echo_does_not_turn_a_knob_back(desk: Desk, panel: Panels, tmp_path: Path) -> None:
    url, _ = panel(str(desk.remote.port))
    page = Browser(url, tmp_path / "browser")
    soon(lambda: page.text("groups") != "")
    page.tab("knobs")
    right = "\ue014"
    page.hold(True)
    page.keys("turn-transpose", right * 2)
    soon(lambda: desk.heard == [Turned("transpose", 1.0), Turned("transpose", 2.0)])
    desk.remote.tell("/rtgen/transpose", 1.0)
    desk.remote.tell("/rtgen/state/news", "an echo")  # comes after it
    soon(lambda: "an echo" in page.text("log"))
    page.keys("turn-transpose", right)
    soon(lambda: desk.heard[2:] == [Turned("transpose", 3.0)])
    page.hold(False)
    # What came last is shown when the knob has come to rest, and at once from then on.
    desk.remote.tell("/rtgen/transpose", 4.0)
    soon(lambda: "+4" in page.text("knob-transpose"))
    desk.remote.tell("/rtgen/transpose", -5.0)
    soon(lambda: "-5" in page.text("knob-transpose"))
    page.close()


@in_a_browser
@pytest.mark.jack
@pytest.mark.timed
def test_the_page_and_the_music_are_one(rig: Rig, start_daemon: StartDaemon, panel: Panels, tmp_path: Path) -> None:
    """A note that is played appears; a knob that is turned moves what leaves; and a page opened anew knows it all."""
    clips = tmp_path / "clips"
    program = start_daemon("--no-thru", "--clips", str(clips), "--config", str(tmp_path / "c.yaml"))
    url, _ = panel(osc_port(program))
    page = Browser(url, tmp_path / "first")
    soon(lambda: page.text("where") == "stopped")
    score = [(e.tick, e.data) for start in (0, 4 * BAR) for e in note_events(PHRASE.notes, start=start)]
    rig.probe.conduct(TEMPO)
    rig.probe.play([(TEMPO.frame(tick), data) for tick, data in sorted(score)])
    rig.probe.start()
    soon(lambda: page.text("played-count") not in ("", "nothing yet"))
    rig.probe.wait_for_frame(TEMPO.frame(3 * BAR))
    soon(lambda: page.text("answer-count") == "16 notes")
    soon(lambda: page.text("map-says").startswith("Click"))
    page.tab("map")
    assert page.text("map-x").split() == list(NAMES)
    page.tab("knobs")
    page.keys("turn-transpose", "\ue014" * 7)  # arrow to the right
    page.click("press-keep")
    soon(lambda: clips.is_dir() and any(clips.iterdir()))
    soon(lambda: "C major" in page.text("clips"))
    page.close()
    page = Browser(url, tmp_path / "second", "390,844")
    soon(lambda: "+7" in page.text("knob-transpose"))
    rig.probe.wait_for_frame(TEMPO.frame(7 * BAR))
    page.click("panic")
    rig.probe.wait_for_frame(TEMPO.frame(8 * BAR - 200))
    rig.probe.stop()
    soon(lambda: page.text("where") == "stopped")
    page.close()
    heard = rig.heard()
    (run,) = heard.runs
    first = [n.pitch for n in within(heard.notes, run, 2 * BAR, 3 * BAR)]
    second = [n.pitch for n in within(heard.notes, run, 6 * BAR, 7 * BAR - 200)]
    assert first == [n.pitch for n in PHRASE.notes if n.onset < BAR]
    assert second == [n.pitch + 7 for n in PHRASE.notes if n.onset < BAR - 200]


@in_a_browser
@pytest.mark.jack
@pytest.mark.timed
def test_a_set_as_the_page_shows_it(rig: Rig, start_daemon: StartDaemon, panel: Panels, tmp_path: Path) -> None:
    """What is seen at each step of a set; `RTGEN_PICTURES=docs/panel` has pictures taken of it."""
    other = loop_of(*(Note(i * 480, (67, 71, 74, 79)[i % 4], 400, 70) for i in range(8)), bars=2)
    program = start_daemon("--no-thru", "--preset", "bridge", "--clips", str(tmp_path / "clips"))
    page = Browser(panel(osc_port(program))[0], tmp_path / "browser")
    page.shape(1280, 800)
    soon(lambda: page.text("where") == "stopped")
    calls = [(0, PHRASE), (4 * BAR, other), (8 * BAR, PHRASE), (12 * BAR, other), (16 * BAR, PHRASE)]
    score = [(e.tick, e.data) for start, loop in calls for e in note_events(loop.notes, start=start)]
    rig.probe.conduct(TEMPO)
    rig.probe.play([(TEMPO.frame(tick), data) for tick, data in sorted(score)])
    rig.probe.start()

    def at(tick: int) -> None:
        rig.probe.wait_for_frame(TEMPO.frame(tick))

    at(BAR)
    assert page.text("where") != "stopped"
    assert re.match(r"clock ±\d", page.text("clock"))
    at(3 * BAR)
    assert page.text("answer-count") not in ("", "nothing yet")
    page.click("press-store_a")
    page.click("press-keep")
    at(7 * BAR)
    page.click("press-store_b")
    page.click("press-keep")
    at(10 * BAR + 960)
    soon(lambda: page.text("map-says").startswith("Click"))
    page.click("learn")
    page.click("turn-blend")
    assert "to blend" in page.text("learn-says")
    page.picture("learning")
    for value in range(60, 70):
        rig.probe.send(bytes((0xB0, 70, value)))
        time.sleep(0.05)
    soon(lambda: "learned blend" in page.text("learn-says"))
    at(14 * BAR + 960)
    page.click("press-keep")
    page.shape(1280, 800)
    page.tab("map")
    page.picture("blended")
    page.shape(390, 844)
    page.tab("knobs")
    page.picture("phone")
    page.tab("play")
    page.shape(1280, 800)
    page.picture("fader")
    page.tab("clips")
    soon(lambda: page.driver.execute_script("return document.querySelectorAll('#clips li').length") == 3)
    page.picture("clips")
    page.tab("play")
    page.click("press-freeze")
    soon(lambda: page.text("turn") == "FROZEN")
    page.picture("frozen")
    page.close()
    rig.probe.stop()


@in_a_browser
@pytest.mark.jack
@pytest.mark.timed
@pytest.mark.long
@pytest.mark.timeout(2400)
def test_half_an_hour_on_one_page(rig: Rig, start_daemon: StartDaemon, panel: Panels, tmp_path: Path) -> None:
    """What the page, the panel and the daemon hold does not grow while the music goes on."""
    program = start_daemon("--no-thru", "--use", "follow")
    url, served_by = panel(osc_port(program))
    page = Browser(url, tmp_path / "browser")
    loops = MINUTES * 60 // 4
    score = [(e.tick, e.data) for i in range(loops) for e in note_events(PHRASE.notes, start=2 * i * BAR)]
    rig.probe.conduct(TEMPO)
    rig.probe.play([(TEMPO.frame(tick), data) for tick, data in sorted(score)])
    rig.probe.start()
    held: list[tuple[Weight, tuple[float, ...]]] = []
    for minute in range(5, MINUTES + 1, 5):
        rig.probe.wait_for_frame(minute * 60 * 48_000 - 24_000)
        pids = (served_by, program.process.pid)
        held.append((page.weight(), tuple(unique_set_mb(pid) for pid in pids)))
        print("after {:2} min: {}; panel {:.2f} MB, daemon {:.2f} MB".format(minute, held[-1][0], *held[-1][1]))
    rig.probe.stop()
    page.close()
    assert held[-1][0].is_no_more_than(held[0][0])
    for first, last in zip(held[0][1], held[-1][1], strict=True):
        assert last <= first + 1.0
