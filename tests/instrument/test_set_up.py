"""What the player's set-up does to a session: offsets, several clocks, a clock of our own sent on, ports that go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.instrument.events import Chosen, Plugged, Pressed, Received, Warmed
from rtgen.instrument.notices import DoubledClock, ForeignClock, Overslept, PortChanged, PresetChanged
from rtgen.instrument.preset import Preset
from rtgen.music.midi import to_song_position
from rtgen.music.note import Note
from tests.instrument.ledger import check
from tests.instrument.stage import (
    BAR,
    CALL,
    CLOCK,
    CONTINUE,
    HEARD,
    START,
    STOP,
    TICK_S,
    Stage,
    at,
    moved,
    off,
    on,
    started,
    word,
)

OUT_GONE, OUT_BACK = (Plugged("out", 0, "synth", there) for there in (False, True))


def messages(stage: Stage) -> list[bytes]:
    return [data for _, data in stage.sent]


# ---- offsets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset_s", [-0.05, 0.0125, 0.1])
def test_a_clock_that_comes_late_is_set_right(offset_s: float) -> None:
    stage = started(clock_offset_s=offset_s)
    # By its own count the clock is late (or early), and so the player, who hears the music, seems to be the opposite.
    shift = round(offset_s / TICK_S)
    stage.until(3 * BAR, at(-shift, CALL) if shift <= 0 else at(-shift, CALL)[1:])
    heard = moved(BAR - shift, HEARD)
    assert stage.notes == (heard if shift <= 0 else heard[1:])


@given(st.integers(-200, 200))
def test_an_offset_changes_no_order(offset_ms: int) -> None:
    plain, moved_ = started(), started(output_offset_s=offset_ms / 1e3)
    for stage in plain, moved_:
        stage.until(5 * BAR, [*CALL, *at(2 * BAR, CALL)])
    assert messages(moved_) == messages(plain)
    shifts = {then - now for (then, data), (now, _) in zip(plain.sent, moved_.sent, strict=True) if data[0] == 0x90}
    assert shifts == {round(offset_ms / 1e3 / TICK_S)}


# ---- several clocks ------------------------------------------------------------------------------------------------


def test_of_two_clocks_the_one_that_started_is_followed_and_the_other_told_of_once() -> None:
    stage = Stage()
    stage.until(200)
    stage.receive(CLOCK, port=1)  # until one starts, the first that is heard
    stage.receive(START, port=1)
    foreign = stage.tick
    for clock in range(400):
        stage.step(stage.time(foreign + clock * 20), _received(CLOCK, 1))
        stage.step(stage.time(foreign + clock * 20 + 7), _received(CLOCK, 0))
        if clock in (50, 60):
            stage.step(stage.time(foreign + clock * 20 + 7), _received((START, STOP)[clock == 60], 0))
    assert stage.session.position(stage.time(foreign + 399 * 20)) == 399 * 20
    assert stage.session.transport.tempo == pytest.approx(120, rel=1e-6)
    assert [n.port for n in stage.notices if isinstance(n, ForeignClock)] == [1, 0]


def _received(data: bytes, port: int) -> Received:
    return Received(port, data)


def test_when_nothing_rolls_another_may_start() -> None:
    stage = started()
    stage.until(500)
    stage.receive(STOP)
    stage.receive(START, port=1)
    for clock in range(30):
        stage.step(stage.time(500 + 20 * clock), _received(CLOCK, 1))
    assert stage.session.position(stage.time(500 + 29 * 20)) == 29 * 20
    assert [n for n in stage.notices if isinstance(n, ForeignClock)] == []


# ---- our own clock -------------------------------------------------------------------------------------------------


def test_our_own_clock_is_sent_as_evenly_as_notes() -> None:
    stage = Stage(clock="internal", send_clock=True)
    stage.step(0.0)
    stage.until(2000, clock=False)
    lead_in = round(0.002 / TICK_S)
    assert stage.sent[0] == (0, START)
    assert stage.sent[1:] == [(lead_in + 20 * i, CLOCK) for i in range(len(stage.sent) - 1)]
    assert len(stage.sent) == 1 + 100


def test_buttons_stop_and_move_our_own_clock_and_others_are_told() -> None:
    stage = Stage(clock="internal", send_clock=True)
    stage.step(0.0)
    stage.until(500, clock=False)
    stage.receive(START)  # our own, sent back: it rolls already
    assert START not in messages(stage)[1:]
    stage.receive(STOP)
    assert stage.sent[-1] == (500, STOP)
    count = len(stage.sent)
    stage.until(1500, clock=False)
    assert len(stage.sent) == count
    stage.receive(to_song_position(16))
    stage.receive(CONTINUE)
    assert messages(stage)[count:] == [to_song_position(16), CONTINUE]
    assert stage.session.position(stage.time(1500) + 0.002) == BAR
    stage.until(1600, clock=False)
    assert messages(stage)[count + 2 :] == [CLOCK] * 5
    stage.receive(STOP)
    stage.receive(START)
    assert messages(stage)[-2:] == [STOP, START]


# ---- ports that come and go ----------------------------------------------------------------------------------------


def test_while_there_is_no_output_nothing_begins_and_what_sounded_is_ended_when_it_is_back() -> None:
    stage = started()
    stage.until(BAR + 100, CALL)
    before = len(stage.sent)
    stage.step(stage.time(stage.tick), OUT_GONE)
    stage.until(2 * BAR + 10)
    assert len(stage.sent) == before
    stage.step(stage.time(stage.tick), OUT_BACK)
    assert messages(stage)[before:] == [off(72), bytes((0xB0, 64, 0)), bytes((0xB0, 123, 0))]
    stage.until(4 * BAR, at(2 * BAR + 20, CALL))
    assert check(messages(stage)) == 1 + 2


def test_through_and_panic_know_of_the_missing_output_too() -> None:
    stage = started(thru=True)
    for data in on(60), bytes((0xB0, 64, 127)):
        stage.receive(data)
    stage.step(0.0, OUT_GONE)
    for data in on(64), bytes((0xB0, 1, 9)), off(60):
        stage.receive(data)
    stage.step(0.0, Pressed("panic"))
    assert messages(stage) == [on(60), bytes((0xB0, 64, 127))]
    stage.step(0.0, OUT_BACK)
    stage.receive(off(64))
    assert messages(stage)[2:4] == [off(60), bytes((0xB0, 64, 0))]
    assert off(64) not in messages(stage)


def test_a_keyboard_that_is_unplugged_lets_go_of_its_keys() -> None:
    stage = started(thru=True)
    stage.until(400, [(0, on(60))])
    stage.receive(on(62), port=1)
    stage.receive(bytes((0xB0, 64, 127)), port=0)
    stage.step(stage.time(400), Plugged("in", 0, "keys", False))
    assert off(60) in messages(stage)
    assert bytes((0xB0, 64, 0)) in messages(stage)
    assert off(62) not in messages(stage)
    stage.until(BAR)
    assert stage.jobs[0].loop.notes[0] == Note(0, 60, 400)
    assert [n for n in stage.notices if isinstance(n, PortChanged)] == [PortChanged(0, "keys", False)]


# ---- the machine sleeps --------------------------------------------------------------------------------------------


def test_after_an_hour_of_sleep_our_own_clock_goes_on_where_it_was_and_nothing_is_made_up_for() -> None:
    stage = Stage(clock="internal", use="follow")
    stage.step(0.0)
    stage.until(2 * BAR + 100, [*CALL, *at(BAR, CALL)], clock=False)
    sent, jobs = len(stage.sent), len(stage.jobs)
    stage.step(stage.time(2 * BAR + 100) + 3600)
    assert messages(stage)[sent:] == [off(72)]
    assert len(stage.jobs) == jobs
    position = stage.session.position(stage.time(2 * BAR + 100) + 3600.002)
    assert position is not None
    assert 2 * BAR <= position <= 3 * BAR
    assert [round(n.seconds) for n in stage.notices if isinstance(n, Overslept)] == [3600]


def test_after_an_hour_of_sleep_a_midi_clock_is_lost_and_found_again() -> None:
    stage = started()
    stage.until(BAR + 100, CALL)
    stage._origin, stage._wake = 3600.0, None  # nobody wakes it meanwhile
    stage.until(2 * BAR)
    assert [word(n) for n in stage.notices if word(n) in ("overslept", "lost", "rolling")][-3:] == [
        "overslept",
        "lost",
        "rolling",
    ]
    check(messages(stage))
    stage.until(8 * BAR, [e for bar in range(2, 7) for e in at(bar * BAR, CALL)])
    assert len(stage.notes) > 2


@pytest.mark.parametrize("stood_ticks", [100, 300, 700])
def test_when_the_machine_stood_still_the_music_goes_on_where_it_would_be(stood_ticks: int) -> None:
    """Up to three quarters of a second, longer than a clock that stopped would be waited for."""
    stage = started()
    stage.until(BAR - 130, CALL[:-1])
    over = stage.tick + stood_ticks
    for held_up in range(-(-stage.tick // 20), -(-over // 20)):
        stage.step(stage.time(over) + 5e-5 * held_up, Received(0, CLOCK))
    stage.tick = over
    stage.receive(CALL[-1][1])
    stage.until(4 * BAR)
    assert [word(n) for n in stage.notices if word(n) in ("lost", "rolling")] == ["rolling"]
    assert stage.session.position(stage.time(4 * BAR)) == pytest.approx(4 * BAR, abs=2)
    assert stage.session.transport.tempo == pytest.approx(120, rel=0.001)
    assert [word(n) for n in stage.notices if word(n) in ("answer", "late", "missed")] != []
    check(messages(stage))


# ---- another preset ------------------------------------------------------------------------------------------------


def test_a_chosen_preset_takes_over_on_the_boundary() -> None:
    stage = started(use="follow")
    stage.until(BAR + 100, CALL)
    stage.step(stage.time(stage.tick), Chosen(Preset().changed(bars=1, use="follow", channel=3, mode="clean")))
    stage.until(3 * BAR, at(BAR + 100, [(0, on(60)), (400, off(60))]))
    assert len([n for n in stage.notices if isinstance(n, PresetChanged)]) == 1
    assert [job.mode for job in stage.jobs] == ["vary", "clean"]
    assert {data[0] & 0x0F for tick, data in stage.sent if tick < 2 * BAR} == {0}
    assert {data[0] & 0x0F for tick, data in stage.sent if tick > 2 * BAR} == {2}
    check(messages(stage))


def test_loops_of_another_length_begin_where_theirs_do() -> None:
    stage = started(use="follow")
    stage.until(BAR + 100, CALL)
    stage.step(stage.time(stage.tick), Chosen(Preset().changed(bars=2, use="follow")))
    stage.until(7 * BAR, at(2 * BAR, CALL))
    assert check(messages(stage)) == 4
    assert [job.target for job in stage.jobs] == [BAR, 4 * BAR]
    assert stage.notes[2:] == moved(4 * BAR, HEARD)


def test_stopped_it_takes_over_at_once() -> None:
    stage = Stage()
    stage.step(0.0, Chosen(Preset().changed(bars=4)))
    assert stage.session.preset.bars == 4


# ---- the process that answers --------------------------------------------------------------------------------------


def test_an_answer_that_waited_for_a_process_to_start_does_not_make_the_next_loops_go_early() -> None:
    stage = started(use="follow", answer_ticks=600)
    stage.until(BAR + 10, CALL)
    stage.step(stage.time(stage.tick), Warmed(0.005))
    stage.until(BAR + 700)
    assert [word(n) for n in stage.notices if word(n) in ("answer", "late", "missed")] == ["missed"]
    assert stage.session.lead.seconds < 0.02


def test_a_clock_that_comes_twice_is_told_of_once() -> None:
    stage = started()
    for clock in range(200):
        for late in (0, 1):
            stage.step(stage.time(20 * clock + late), _received(CLOCK, 0))
    assert [n for n in stage.notices if isinstance(n, DoubledClock)] == [DoubledClock(0)]
    assert stage.session.transport.tempo == pytest.approx(120, rel=0.01)
