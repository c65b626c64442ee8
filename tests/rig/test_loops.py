"""The daemon in tempo with a real clock: loops are played into its port, and its answers are captured by the sample.

Music is asserted exactly, time with room (10 ms) for a busy machine; `rtgen bench` has the figures.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtgen.bench.music import BAR, made_loop
from rtgen.bench.server import TempoMap
from rtgen.bench.streams import Difference, compare, milliseconds, within
from rtgen.music.note import Loop, Note
from tests.rig.conftest import Heard, Rig, StartDaemon, loop_of
from tests.rig.music import pop909_loops, pop909_missing

pytestmark = [pytest.mark.jack, pytest.mark.timed]

PHRASE = loop_of(
    Note(0, 48, 900, 90), Note(0, 60, 240, 101), Note(480, 64, 300, 77), Note(970, 67, 200, 64), Note(1440, 60, 400, 99)
)


def assert_in_time(heard: Heard, differences: list[Difference], early_ms: float = 0.0) -> None:
    """Asserts that notes began and ended when they were meant to, or so much earlier."""
    off = [(milliseconds(d.on) + early_ms, milliseconds(d.off) + early_ms) for d in differences]
    assert all(abs(ms) <= heard.room_ms for pair in off for ms in pair), (heard.room_ms, off)


def assert_plays(heard: Heard, loop: Loop, start: int, run: int = 0) -> None:
    """Asserts that from tick `start` on `loop` was heard, note for note, and nothing else."""
    grid = heard.runs[run]
    differences = compare(loop.notes, within(heard.notes, grid, start, start + loop.length), grid, start)
    assert_in_time(heard, differences)


def assert_silent(heard: Heard, start: int, end: int, run: int = 0) -> None:
    """Asserts that no note began between two ticks."""
    assert within(heard.notes, heard.runs[run], start, end) == []


def settled(loop: Loop, bpm: float) -> Loop:
    """With all that ends in the last 60 ms held to the end: a slow machine must close the loop that early."""
    closes = loop.length - round(0.06 * bpm / 60 * 480)
    assert all(n.onset < closes for n in loop.notes)
    return loop.with_notes([replace(n, duration=loop.length - n.onset) if n.end > closes else n for n in loop.notes])


def calls_and_answers(rig: Rig, start_daemon: StartDaemon, bpm: float, loops: list[Loop]) -> None:
    """Plays each loop as a call; asserts that its answer is itself, from its boundary on, and silence else."""
    length = loops[0].length
    start_daemon("--bars", str(length // BAR), "--no-thru")
    loops = [settled(loop, bpm) for loop in loops]
    tempos = TempoMap((0, bpm))
    rig.perform(tempos, [(2 * i * length, loop) for i, loop in enumerate(loops)], 2 * len(loops) * length)
    heard = rig.heard()
    for i, loop in enumerate(loops):
        call, answer = 2 * i * length, (2 * i + 1) * length
        assert_silent(heard, call, answer)
        assert_plays(heard, loop, answer)
        first = min(n.on for n in within(heard.notes, heard.runs[0], answer, answer + length))
        assert abs(milliseconds(first - heard.runs[0].frame(answer + loop.notes[0].onset))) <= heard.room_ms


@pytest.mark.parametrize(("bpm", "bars"), [(60, 1), (120, 2), (174, 2)])
def test_music_is_answered_note_for_note(rig: Rig, start_daemon: StartDaemon, bpm: int, bars: int) -> None:
    # Where there is no real music, of our own.
    made = [made_loop(seed, bars) for seed in (bpm, bpm + 1)]
    calls_and_answers(rig, start_daemon, bpm, made if pop909_missing() else pop909_loops(2, bars, seed=bpm))


def test_what_is_played_up_to_30_ms_before_the_boundary_is_in_the_answer(rig: Rig, start_daemon: StartDaemon) -> None:
    bpm, length = 120, BAR
    start_daemon("--bars", "1", "--no-thru")
    last = length - round(0.030 * bpm / 60 * 480)
    # It is held beyond the boundary, where the loop ends it.
    played = loop_of(*PHRASE.notes, Note(last, 72, 200, 111))
    rig.perform(TempoMap((0, bpm)), [(0, played)], 2 * length)
    assert_plays(rig.heard(), loop_of(*PHRASE.notes, Note(last, 72, length - last, 111)), length)


def test_what_is_played_into_an_answer_is_neither_captured_nor_sent(rig: Rig, start_daemon: StartDaemon) -> None:
    start_daemon("--bars", "1", "--no-thru")
    stray = loop_of(Note(200, 90, 100, 50))
    rig.perform(TempoMap((0, 174)), [(0, PHRASE), (BAR, stray), (2 * BAR, PHRASE)], 4 * BAR)
    heard = rig.heard()
    for answer in BAR, 3 * BAR:
        assert_plays(heard, PHRASE, answer)
    assert_silent(heard, 2 * BAR, 3 * BAR)


def test_following_answers_every_loop_under_the_next(rig: Rig, start_daemon: StartDaemon) -> None:
    start_daemon("--bars", "1", "--use", "follow", "--no-thru")
    loops = [made_loop(seed, bars=1) for seed in (5, 6, 7)]
    rig.perform(TempoMap((0, 120)), [(i * BAR, loop) for i, loop in enumerate(loops)], 4 * BAR)
    heard = rig.heard()
    assert_silent(heard, 0, BAR)
    for i, loop in enumerate(loops):
        assert_plays(heard, loop, (i + 1) * BAR)


def test_holding_repeats_the_first_answer(rig: Rig, start_daemon: StartDaemon) -> None:
    start_daemon("--bars", "1", "--use", "hold", "--no-thru")
    rig.perform(TempoMap((0, 174)), [(0, PHRASE), (2 * BAR, made_loop(8, bars=1))], 4 * BAR)
    heard = rig.heard()
    for start in BAR, 2 * BAR, 3 * BAR:
        assert_plays(heard, PHRASE, start)


def test_thru_sends_on_at_once_and_answers_as_well(rig: Rig, start_daemon: StartDaemon) -> None:
    start_daemon("--bars", "1", "--thru")
    rig.perform(TempoMap((0, 174)), [(0, PHRASE)], 2 * BAR)
    heard = rig.heard()
    assert_plays(heard, PHRASE, 0)
    assert_plays(heard, PHRASE, BAR)


def test_thru_needs_no_clock(rig: Rig, start_daemon: StartDaemon) -> None:
    start_daemon("--thru")
    sent = [bytes((0x90, 60, 80)), bytes((0xB0, 1, 5)), bytes((0x80, 60, 0))]
    for message in sent:
        rig.probe.send(message)
    heard = rig.heard()
    capture = heard.capture
    assert [data for _, data in capture.output] == sent
    late = [out - into for (into, _), (out, _) in zip(capture.played, capture.output, strict=True)]
    assert milliseconds(max(late)) <= heard.room_ms


def test_an_offset_plays_early(rig: Rig, start_daemon: StartDaemon) -> None:
    start_daemon("--bars", "1", "--output-offset-ms", "40", "--no-thru")
    rig.perform(TempoMap((0, 120)), [(0, PHRASE)], 2 * BAR)
    heard = rig.heard()
    (grid,) = heard.runs
    assert_in_time(heard, compare(PHRASE.notes, heard.notes, grid, BAR), early_ms=40)
