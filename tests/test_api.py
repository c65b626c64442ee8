"""The examples of docs/api.md, run as they stand on the page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from rtgen.music.files import Score, Track, read, write
from rtgen.rig.performance import TEMPO, performance

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
STEPPED, RENDERED = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_bar_is_answered_by_a_bar(tmp_path: Path) -> None:
    printed = run(STEPPED, tmp_path)
    lines = [line.split() for line in printed.splitlines()]
    on, off = ([(float(at), pitch) for at, _, status, pitch, _ in lines if status == kind] for kind in ("90", "80"))
    assert on
    assert all(1.9 < at < 4 for at, _ in on)
    assert sorted(pitch for _, pitch in on) == sorted(pitch for _, pitch in off)
    assert run(STEPPED, tmp_path) == printed


def test_a_file_is_rendered(tmp_path: Path) -> None:
    write(tmp_path / "in.mid", Score((Track("Keys", performance(2)),), ((0, TEMPO),)))
    run(RENDERED, tmp_path)
    played, answered = (track.notes() for track in read(tmp_path / "out.mid").tracks)
    assert played
    assert answered
