import io
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import pytest
from rich.console import Console

from rtgen.instrument.notices import Called
from rtgen.instrument.preset import Preset, Use
from rtgen.instrument.turns import Turn
from rtgen.music.note import Loop, Note
from rtgen.rig.daemon import View
from rtgen.rig.told.live import Snapshot, Watch, at_once

PLAYED = Loop(3840, (Note(-8, 60, 480, 100), Note(1920, 67, 960, 40)))
NOW = Snapshot(
    "rolling", 96.0, 2 * 1920 + 480, 1920, PLAYED, None, turn=("LISTENING", "go on"), words=("shadow", "vary 0.40")
)
COLUMNS = 36
"""Of each roll in a terminal of 80."""


def shown(snapshot: Snapshot, width: int = 80, height: int = 25, **console: object) -> list[str]:
    out = io.StringIO()
    kwargs = {"force_terminal": True, "color_system": None, "legacy_windows": False, **console}
    Console(file=out, width=width, height=height, **kwargs).print(snapshot)  # type: ignore[arg-type]
    return out.getvalue().splitlines()


def dots(lines: list[str]) -> set[tuple[int, int]]:
    return {(x, y) for y, line in enumerate(lines) for x, c in enumerate(line) if "\u2801" <= c <= "\u28ff"}


def test_says_where_we_are():
    first, second, *_ = shown(NOW)
    assert first.split() == ["▶", "96.0", "BPM", "3.2", "○●○○", "LISTENING", "go", "on"]
    assert second.split() == ["played", "answer:", "none", "yet", "shadow", "·", "vary", "0.40"]


def test_before_the_first_loop_there_is_no_tempo_and_the_longest_banner_is_whole():
    first = shown(replace(NOW, transport="stopped", tempo=None, turn=("FIRST LOOP", "press close")))[0]
    assert "no tempo" in first
    assert " FIRST LOOP   press close" in first


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
        return "\n".join(shown(snapshot, color_system="truecolor")[2:]).count("48;2;")

    assert marked(replace(NOW, listening=False, answering=False)) == 0
    assert marked(replace(NOW, listening=True, answering=False)) == 12
    assert marked(NOW) == 24


@pytest.mark.parametrize("console", [{"_environ": {"TERM": "dumb"}}, {"force_terminal": False}])
def test_one_plain_line_where_no_more_is_possible(console):
    line = " ".join(" ".join(shown(replace(NOW, notice="no notes yet"), **console)).split())
    said = "rolling, 96.0 BPM, bar 3 beat 2, listening: go on, shadow, vary 0.40, played 2 notes, no answer yet"
    assert line == f"{said}; no notes yet"
    assert line.isascii()


def test_a_low_terminal_has_one_line_and_room_for_messages():
    assert len(shown(NOW, height=20)) == 15
    (line,) = shown(NOW, height=19)
    assert line.startswith("▶ rolling, 96.0 BPM, bar 3 beat 2, listening: go on")
    assert len(line) <= 80


VIEW = View(96.0, None, (), None, Preset(bars=2), "answer", {"distance": 0.4}, False, 0.01)


def test_the_last_call_stays_in_view_until_the_next_has_notes():
    watch = Watch()
    assert len(watch.seen(VIEW, "").played) == 0
    watch.heard(Called(0, 2, PLAYED.with_notes(()), False))
    watch.heard(Called(0, 2, Loop(7680, PLAYED.notes), True))  # of a preset with longer loops
    assert len(watch.seen(VIEW, "").played) == 0
    watch.heard(Called(0, 2, PLAYED, True))
    assert watch.seen(VIEW, "").played == PLAYED
    now = (Note(0, 72, 100),)
    assert watch.seen(replace(VIEW, played=now), "").played.notes == now


@pytest.mark.parametrize(
    ("use", "turn", "heads"),
    [("answer", "yours", (True, False)), ("answer", "answer", (False, True)), ("follow", "yours", (True, True))],
)
def test_the_playhead_is_where_the_music_is(use: Use, turn: Turn, heads: tuple[bool, bool]):
    seen = Watch().seen(replace(VIEW, tick=5000, use=use, turn=turn), "")
    assert (seen.listening, seen.answering) == heads
    assert (seen.position, seen.playhead) == (5000, 5000 - 3840)
    still = Watch().seen(replace(VIEW, use=use, turn=turn), "")
    assert (still.listening, still.answering) == (False, False)


def test_what_is_drawn_at_once_is_bracketed_on_a_terminal_alone():
    for terminal, before in ((True, "\x1b[?2026h"), (False, "")):
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal, legacy_windows=False)
        with suppress(OSError), at_once(console):
            console.print("hello")
            raise OSError
        assert out.getvalue() == f"{before}hello\n{before.replace('h', 'l')}"


def test_leaves_numpy_and_pillow_alone():
    code = "import sys, rtgen.rig.told.live; sys.exit(bool({'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
