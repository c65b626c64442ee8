"""The panel beside a daemon: it comes, goes with the daemon, and may go before it; and the music goes on."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from rtgen.bench.music import BAR
from rtgen.bench.programs import descendants
from rtgen.bench.server import TempoMap
from rtgen.bench.streams import within
from rtgen.music.note import Note
from rtgen.rig.told import remote
from rtgen.rig.told.page import Page
from tests.rig.conftest import Rig, StartDaemon, loop_of
from tests.rig.test_osc import Desk, soon


@pytest.fixture
def desk() -> Iterator[Desk]:
    found = Desk()
    with found.remote:
        yield found


@pytest.fixture
def port() -> int:
    """One that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def served(port: int) -> bool:
    """Whether there is a page."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
            return b"rtgen" in page.read()
    except OSError:
        return False


# ---- the process ----------------------------------------------------------------------------------------------------


def test_the_page_is_there_as_long_as_the_daemon_is(desk: Desk, port: int) -> None:
    said: list[str] = []
    with Page(port, desk.remote.port, said.append):
        soon(lambda: said == [f"panel: http://127.0.0.1:{port}/"])
        assert served(port)
    assert not served(port)
    assert len(said) == 1


def test_it_is_not_waited_for_at_the_end_though_it_has_only_begun(port: int) -> None:
    said: list[str] = []
    with Page(port, 1, said.append):
        pass
    assert not served(port)
    assert said == []


def test_a_port_that_is_taken_is_a_sentence(desk: Desk) -> None:
    said: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with Page(taken.getsockname()[1], desk.remote.port, said.append):
            soon(lambda: bool(said))
    (line,) = said
    assert re.fullmatch(r"the panel's port \d+ is not available .*--panel-port\); the music goes on without .*", line)


def test_a_library_that_is_not_installed_is_a_sentence(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aiohttp.py").write_text("raise ModuleNotFoundError(name='aiohttp')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said: list[str] = []
    with Page(port, 1, said.append):
        soon(lambda: bool(said))
    assert said == ["the panel needs aiohttp; run pip install 'rtgen[panel]'; the music goes on without a panel"]
    done = subprocess.run([sys.executable, "-m", "rtgen", "panel"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "rtgen: the panel needs aiohttp; run pip install 'rtgen[panel]'\n",
    )


def test_it_is_not_left_behind_when_the_daemon_is_killed(port: int) -> None:
    code = f"import time; from rtgen.rig.told.page import Page\nwith Page({port}, 1, print): time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as daemon:
        soon(lambda: served(port))
        daemon.kill()
    soon(lambda: not served(port))


# ---- beside the music -----------------------------------------------------------------------------------------------


def panel_of(pid: int) -> int:
    """The process that serves the panel of a daemon."""
    (found,) = (p for p in descendants(pid) if b"rtgen.panel" in Path(f"/proc/{p}/cmdline").read_bytes())
    return found


@pytest.mark.jack
@pytest.mark.timed
def test_the_panel_dies_and_the_music_goes_on(rig: Rig, start_daemon: StartDaemon, port: int) -> None:
    tempo, phrase = TempoMap((0, 120.0)), loop_of(Note(0, 60, 400, 90), Note(960, 64, 400, 90), bars=2)
    program = start_daemon("--no-thru", "--panel-port", str(port))
    program.wait_for_line(f"panel: http://127.0.0.1:{port}/")
    assert served(port)

    def kill() -> None:
        os.kill(panel_of(program.process.pid), signal.SIGKILL)

    rig.perform(tempo, [(0, phrase)], 4 * BAR, meanwhile=kill)
    program.wait_for_line("the panel has ended (status -9); the music goes on, and 'rtgen panel --port")
    heard = rig.heard()
    (run,) = heard.runs
    assert [n.pitch for n in within(heard.notes, run, 2 * BAR, 4 * BAR)] == [60, 64]
    assert not served(port)


@pytest.mark.jack
@pytest.mark.timed
def test_the_panel_ends_with_the_daemon(rig: Rig, start_daemon: StartDaemon, port: int) -> None:
    program = start_daemon("--panel", "--panel-port", str(port))
    program.wait_for_line("panel: http")
    panel = panel_of(program.process.pid)
    assert program.end() == 0
    assert not served(port)
    assert not Path(f"/proc/{panel}").exists()
    assert "the panel has ended" not in program.said


@pytest.mark.jack
@pytest.mark.timed
def test_a_panel_that_cannot_be_keeps_nobody_from_playing(rig: Rig, start_daemon: StartDaemon) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        program = start_daemon("--panel-port", str(taken.getsockname()[1]))
        program.wait_for_line("the music goes on without a panel")
    found = re.search(r"OSC on \S+ port (\d+)", program.said)
    assert found
    assert remote.running(int(found[1]))
