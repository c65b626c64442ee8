"""The start: ports are there before the rest of the program, and need nothing that they can do without."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rtgen.bench.programs import Program, preset_file
from rtgen.rig.midi.jack_ports import JackPorts
from tests.rig.conftest import Rig

_BLOCKED = "import sys; sys.modules['rtmidi'] = None; from rtgen.cli import main; main()"


def test_ports_are_opened_before_the_rest_is_imported(tmp_path: Path) -> None:
    late = (
        "rich",
        "mido",
        "rtmidi",
        "numpy",
        "rtgen.instrument.session",
        "rtgen.rig.kept.journal",
        "rtgen.rig.runner",
        "rtgen.cli.look",
    )
    code = (
        "import sys; from rtgen.rig import setup;"
        f"setup._ports = lambda _: sys.exit(' '.join(name for name in {late} if name in sys.modules));"
        "from rtgen.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "run", "--api", "jack", "--preset", str(preset_file(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


class Early(JackPorts):
    """Ports on no server."""

    def __init__(self) -> None:
        self._early, self._listening = [], threading.Lock()
        self._receive, self._closing = None, False
        self._watcher = threading.Thread(target=int)


def test_what_comes_before_anybody_listens_is_heard_first() -> None:
    ports, heard = Early(), list[tuple[float, int, bytes]]()
    ports._hear(1.0, 0, b"\xfa")
    ports._hear(1.5, 1, b"\xf8")
    ports.open(lambda *message: heard.append(message))
    ports._hear(2.0, 0, b"\xf8")
    assert heard == [(1.0, 0, b"\xfa"), (1.5, 1, b"\xf8"), (2.0, 0, b"\xf8")]


@pytest.mark.jack
def test_on_jack_it_starts_without_python_rtmidi(rig: Rig, tmp_path: Path) -> None:
    flags = "--api", "jack", "--name", "bare", "--sessions", "off", "--osc", "off", "--seconds", "1"
    command = ["-c", _BLOCKED, "run", "--preset", str(preset_file(tmp_path)), *flags]
    with Program("bare", command, rig.server.environment) as program:
        rig.probe.wait_for_ports(program.input, program.output)
        assert program.wait_for_line("ports open: bare in and bare out (JACK)", 200)
        assert program.process.wait(200) == 0


def test_what_needs_python_rtmidi_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _BLOCKED, "run", "--preset", str(preset_file(tmp_path)), "--api", "alsa"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot be used" in done.stderr
    assert "pip install 'rtgen[rtmidi]'" in done.stderr
    assert "Traceback" not in done.stderr
