import io
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from rtgen.music.note import Loop, Note
from rtgen.rig.told.live import Snapshot

PLAYED = Loop(3840, (Note(-8, 60, 480, 100), Note(1920, 67, 960, 40)))
NOW = Snapshot("rolling", 96.0, 2 * 1920 + 480, 1920, PLAYED, None, words=("answer", "vary 0.40"))
COLUMNS = 36
"""Of each roll in a terminal of 80."""


def shown(snapshot: Snapshot, width: int = 80, **console: object) -> list[str]:
    out = io.StringIO()
    kwargs = {"force_terminal": True, "color_system": None, "legacy_windows": False, **console}
    Console(file=out, width=width, **kwargs).print(snapshot)  # type: ignore[arg-type]
    return out.getvalue().splitlines()


def dots(lines: list[str]) -> set[tuple[int, int]]:
    return {(x, y) for y, line in enumerate(lines) for x, c in enumerate(line) if "\u2801" <= c <= "\u28ff"}


def test_says_where_we_are():
    first, second, *_ = shown(NOW)
    assert first.split() == ["▶", "rolling", "96.0", "BPM", "3.2", "○●○○", "answer", "·", "vary", "0.40"]
    assert second.split() == ["played", "answer:", "none", "yet"]


@pytest.mark.parametrize("width", [40, 80, 81, 120, 200])
def test_keeps_its_height_and_fits(width):
    answer = PLAYED.with_notes((Note(0, 5, 10), Note(0, 120, 3840)))
    notice = "a long story " * 30
    frames = [NOW, replace(NOW, answer=answer), replace(NOW, tempo=None, notice=notice, playhead=99_999)]
    pictures = [shown(frame, width) for frame in frames]
    assert {len(lines) for lines in pictures} == {15}
    assert max(len(line) for lines in pictures for line in lines) <= width


def test_notes_lie_where_they_sound():
    rows = dots(shown(NOW))
    middle = {x for x, y in rows if y == next(i for i, line in enumerate(shown(NOW)) if line.startswith(" C4"))}
    assert middle == set(range(4, 4 + COLUMNS // 8))
    assert {x for x, _ in rows} - middle == set(range(4 + COLUMNS // 2, 4 + COLUMNS // 2 + COLUMNS // 4))


def test_a_note_struck_again_shows_as_two():
    two = Loop(1920, (Note(0, 60, 960), Note(960, 60, 960)), 1920)
    one = Loop(1920, (Note(0, 60, 1920),), 1920)
    assert shown(replace(NOW, played=two), 120) != shown(replace(NOW, played=one), 120)


def test_the_playhead_runs_where_something_is_heard():
    def marked(snapshot: Snapshot) -> int:
        return "\n".join(shown(snapshot, color_system="truecolor")).count("48;2;")

    assert marked(replace(NOW, listening=False, answering=False)) == 0
    assert marked(replace(NOW, listening=True, answering=False)) == 12
    assert marked(NOW) == 24


@pytest.mark.parametrize("console", [{"_environ": {"TERM": "dumb"}}, {"force_terminal": False}])
def test_one_plain_line_where_no_more_is_possible(console):
    line = " ".join(" ".join(shown(replace(NOW, notice="no notes yet"), **console)).split())
    assert line == "rolling, 96.0 BPM, bar 3 beat 2, answer, vary 0.40, played 2 notes, no answer yet; no notes yet"
    assert line.isascii()


def test_leaves_numpy_and_pillow_alone():
    code = "import sys, rtgen.rig.told.live; sys.exit(bool({'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
