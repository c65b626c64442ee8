"""`rtgen demo` in real time: no MIDI device, no JACK server, and a clock of its own that has to be followed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtgen.music import files

pytestmark = pytest.mark.timed
TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"


def test_the_demo_plays_in_real_time(tmp_path: Path) -> None:
    preset, folder = tmp_path / "tiny.yaml", tmp_path / "new"
    preset.write_text(f"model: {TINY}\ndistance: 0.5\nbars: 1\n")
    command = [sys.executable, "-m", "rtgen", "demo", "--bars", "4", "-p", str(preset), "--out", str(folder)]
    env = {**os.environ, "NO_COLOR": "1", "COLUMNS": "1000", "JACK_DEFAULT_SERVER": "rtgen-no-such-server"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 loops were played" in done.stdout
    assert "2 answered by tiny in mode vary" in done.stdout
    played, answered = files.read(folder / "demo.mid").tracks
    assert {n.onset // 1920 for n in played.notes()} == {0, 2}
    assert {(n.onset + 60) // 1920 for n in answered.notes()} == {1, 3}  # an early downbeat is of its loop
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
