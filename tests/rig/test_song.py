"""The song does not run straight through: tempo changes, stops, locates and starts again."""

from __future__ import annotations

import time

import pytest

from rtgen.bench.music import BAR, made_loop
from rtgen.bench.server import TempoMap
from rtgen.bench.streams import compare, milliseconds
from rtgen.music.note import Note
from tests.rig.conftest import Rig, StartDaemon, loop_of
from tests.rig.test_loops import PHRASE, assert_plays, assert_silent

pytestmark = [pytest.mark.jack, pytest.mark.timed]
# They end well before the loop does: what ends within the lead is held to the boundary.
LONG = loop_of(Note(0, 50, 1850, 90), Note(0, 62, 1850, 91))


def test_tempo_changes_in_a_call_and_in_an_answer(rig: Rig, start_daemon: StartDaemon) -> None:
    start_daemon("--bars", "2", "--no-thru")
    loop = made_loop(11, bars=2)
    length, changes = loop.length, (1000, 5760)
    rig.perform(TempoMap((0, 174), (changes[0], 120), (changes[1], 150)), [(0, loop), (2 * length, loop)], 4 * length)
    heard = rig.heard()
    (grid,) = heard.runs
    assert_plays(heard, loop, 3 * length)
    answer = [n for n in heard.notes if n.on < grid.frame(2 * length - 10)]
    for note, difference in zip(
        sorted(loop.notes, key=_by_pitch), compare(loop.notes, answer, grid, length), strict=True
    ):
        # A new tempo is known when a few of its clocks have come.
        just_changed = any(0 <= length + note.onset - change < 480 for change in changes)
        assert abs(milliseconds(difference.on)) <= heard.room_ms + (30 if just_changed else 0), (note, difference)


def _by_pitch(note: Note) -> tuple[int, int]:
    return note.pitch, note.onset


def test_a_tempo_that_drifts_is_followed(rig: Rig, start_daemon: StartDaemon) -> None:
    start_daemon("--bars", "1", "--no-thru")
    drift = [(tick, 120 + 20 * tick / (4 * BAR)) for tick in range(0, 4 * BAR, 120)]
    rig.perform(TempoMap(*drift), [(0, PHRASE), (2 * BAR, PHRASE)], 4 * BAR)
    heard = rig.heard()
    for answer in BAR, 3 * BAR:
        assert_plays(heard, PHRASE, answer)


def test_stop_ends_what_sounds_and_starting_again_begins_anew(rig: Rig, start_daemon: StartDaemon) -> None:
    start_daemon("--bars", "1", "--no-thru")
    tempos = TempoMap((0, 174))
    # In the middle of the answer's long notes.
    rig.perform(tempos, [(0, LONG)], BAR + 700)
    rig.probe.rewind()
    rig.perform(tempos, [(0, PHRASE)], 2 * BAR)
    heard = rig.heard()
    first, second = heard.runs
    assert first.stop is not None
    cut = [n for n in heard.notes if n.on < first.stop]
    assert [(n.pitch, n.velocity) for n in cut] == [(50, 90), (62, 91)]
    assert all(abs(milliseconds(n.off - first.stop)) <= heard.room_ms for n in cut)
    assert [n for n in heard.notes if first.stop <= n.on < second.frame(BAR - 10)] == []
    assert_plays(heard, PHRASE, BAR, run=1)


def test_stop_in_the_middle_of_a_call_and_continue(rig: Rig, start_daemon: StartDaemon) -> None:
    start_daemon("--bars", "1", "--no-thru")
    tempos = TempoMap((0, 120))
    rig.perform(tempos, [(0, PHRASE), (2 * BAR, LONG)], 1000)
    rig.probe.start()
    rig.probe.wait_for_frame(tempos.frame(4 * BAR))
    rig.probe.stop()
    heard = rig.heard()
    _, second = heard.runs
    assert 1000 < second.tick < BAR, "the clock did not go on within the call"
    assert_silent(heard, 2 * BAR, 3 * BAR, run=1)
    assert_plays(heard, LONG, 3 * BAR, run=1)


def test_locate_goes_on_at_the_right_place(rig: Rig, start_daemon: StartDaemon) -> None:
    start_daemon("--bars", "1", "--no-thru")
    tempos = TempoMap((0, 120))
    there = 11 * BAR
    script = [(0, LONG), (there + BAR, PHRASE)]

    def jump() -> None:
        # Out of the answer's long notes into what, by the position, is another answer; then comes a call.
        rig.probe.wait_for_frame(tempos.frame(BAR + 600))
        rig.probe.locate(tempos.frame(there))
        time.sleep(0.1)

    rig.perform(tempos, script, there + 3 * BAR, meanwhile=jump)
    heard = rig.heard()
    first, second = heard.runs
    assert first.stop is not None
    assert there <= second.tick < there + BAR
    cut = [n for n in heard.notes if n.on < first.stop]
    assert [n.pitch for n in cut] == [50, 62]
    assert all(milliseconds(n.off - first.stop) <= heard.room_ms for n in cut)
    assert [n for n in heard.notes if first.stop <= n.on < second.frame(there + 2 * BAR - 10)] == []
    assert_plays(heard, PHRASE, there + 2 * BAR, run=1)


def test_locate_backwards_and_again(rig: Rig, start_daemon: StartDaemon) -> None:
    start_daemon("--bars", "1", "--no-thru")
    tempos = TempoMap((0, 174))

    def jump() -> None:
        for _ in range(2):
            rig.probe.wait_for_frame(tempos.frame(BAR + 900))
            rig.probe.locate(0)
            time.sleep(0.1)

    rig.perform(tempos, [(0, LONG)], 2 * BAR, meanwhile=jump)
    heard = rig.heard()
    assert len(heard.runs) == 3
    assert len(heard.notes) == 3 * len(LONG)
    assert_plays(heard, LONG, BAR, run=2)
