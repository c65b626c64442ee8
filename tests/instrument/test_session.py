"""The whole instrument, played like scores: who plays what at which tick, and what comes back."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.instrument.events import Chosen, Event, Given, Pressed, Received, Turned, Used, Warmed
from rtgen.instrument.job import Answer
from rtgen.instrument.lead import Lead
from rtgen.instrument.notices import UseClip
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music.note import Loop, Note
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


def test_a_call_is_answered_in_the_next_loop_tick_for_tick() -> None:
    stage = started()
    stage.until(3 * BAR, CALL)
    assert stage.notes == moved(BAR, HEARD)
    assert stage.jobs[0].loop.notes == (Note(0, 60, 400), Note(960, 64, 890))
    assert stage.jobs[0].target == BAR


def test_what_is_played_during_an_answer_is_not_captured() -> None:
    stage = started()
    stage.until(5 * BAR, [*CALL, *at(BAR, CALL), *at(2 * BAR, CALL)])
    assert stage.notes == moved(BAR, HEARD) + moved(3 * BAR, HEARD)
    assert [j.target for j in stage.jobs] == [BAR, 3 * BAR]


def test_a_silent_call_gets_a_silent_answer() -> None:
    stage = started()
    stage.until(4 * BAR, at(2 * BAR, CALL))
    assert stage.jobs[0].target == 3 * BAR
    assert ("silence", 0) in stage.whats()
    assert stage.notes == moved(3 * BAR, HEARD)


@pytest.mark.parametrize("bar", [0, 1, 2, 3, 6, 7])
def test_whoever_begins_late_is_answered(bar: int) -> None:
    stage = started()
    stage.until((bar + 4) * BAR, [*at(bar * BAR, CALL), *at((bar + 2) * BAR, CALL)])
    assert stage.notes == moved((bar + 1) * BAR, HEARD) + moved((bar + 3) * BAR, HEARD)
    assert stage.whats()[: bar + 1] == [("rolling", 0), *(("silence", n) for n in range(bar))]


def test_the_first_note_opens_the_call_in_the_loop_that_it_falls_into() -> None:
    stage = started(bars=2)
    stage.until(8 * BAR, at(3 * BAR + 960, [(0, on(60)), (400, off(60))]))
    assert stage.jobs[0].loop.notes == (Note(BAR + 960, 60, 400),)
    assert stage.notes == [(5 * BAR + 960, 72, 400)]


def test_after_a_silent_call_the_next_loop_is_a_call_as_well() -> None:
    stage = started()
    stage.until(8 * BAR, [*CALL, *at(3 * BAR, CALL), *at(6 * BAR, CALL)])
    assert [job.target for job in stage.jobs] == [BAR, 4 * BAR, 7 * BAR]


@pytest.mark.parametrize("use", ["follow", "hold"])
def test_in_the_other_uses_whoever_begins_late_is_answered_too(use: str) -> None:
    stage = started(use=use)
    stage.until(3 * BAR, at(BAR, CALL))
    assert stage.notes == moved(2 * BAR, HEARD)


def test_whoever_begins_after_a_jump_is_answered_wherever_it_leads() -> None:
    stage = started()
    stage.until(100)
    stage.receive(bytes((0xF2, 16, 0)))  # bar 2, with the clock at 100
    stage.until(3 * BAR, at(100 + 40, [(0, on(60)), (100, off(60))]))
    assert [(job.target, len(job.loop)) for job in stage.jobs] == [(2 * BAR, 1)]


def test_loops_of_another_length_are_calls_wherever_they_begin() -> None:
    stage = started()
    stage.until(BAR + 100, CALL)
    stage.step(stage.time(stage.tick), Chosen(Preset().changed(bars=2, use="answer")))
    stage.until(6 * BAR, at(2 * BAR, CALL))
    assert [job.target for job in stage.jobs] == [BAR, 4 * BAR]
    assert stage.notes[-2:] == moved(4 * BAR, HEARD)


def test_it_is_known_whose_turn_it_is() -> None:
    stage = Stage(bars=2)
    turns = [stage.session.turn]
    stage.receive(START)
    for bar in range(1, 8):
        stage.until(bar * BAR - 960, at(2 * BAR, CALL) if bar == 4 else [])
        turns.append(stage.session.turn)
    assert turns == ["none", *["yours"] * 4, "answer", "answer", "yours"]
    stage.receive(STOP)
    assert stage.session.turn == "none"


def test_in_follow_it_is_always_yours_and_in_hold_until_it_has_an_answer_to_repeat() -> None:
    for use, turns in ("follow", ["yours", "yours", "yours"]), ("hold", ["yours", "yours", "answer"]):
        stage = started(use=use)
        seen: list[str] = []
        for bar in range(1, 4):
            stage.until(bar * BAR - 960, CALL[:2] if bar == 1 else [])
            seen.append(stage.session.turn)
        assert seen == turns


def test_follow_answers_every_loop_during_the_next() -> None:
    stage = started(use="follow")
    stage.until(4 * BAR, [*CALL, *at(BAR, [(0, on(50)), (100, off(50))])])
    assert stage.notes == [*moved(BAR, HEARD), (2 * BAR, 62, 100)]
    assert ("silence", 2) in stage.whats()


def test_hold_repeats_the_answer_until_released() -> None:
    stage = started(use="hold")
    stage.until(4 * BAR, [*CALL, *at(2 * BAR, CALL)])
    assert stage.notes == [n for bar in (1, 2, 3) for n in moved(bar * BAR, HEARD)]
    assert len(stage.jobs) == 1
    stage.step(stage.time(stage.tick), Used("answer"))
    stage.until(6 * BAR)
    assert len(stage.notes) == 8  # the round that had begun is played to its end


def test_a_switch_on_the_keyboard_holds_and_releases() -> None:
    stage = started(thru=True, controls="all")
    hold, release = bytes((0xB0, 23, 127)), bytes((0xB0, 23, 0))
    stage.until(
        5 * BAR, [*CALL, (BAR + 100, hold), (3 * BAR + 100, release), *at(4 * BAR, [(0, on(50)), (9, off(50))])]
    )
    answers = [n for n in stage.notes if n[1] in (72, 76)]
    assert answers == [n for bar in (1, 2, 3) for n in moved(bar * BAR, HEARD)]
    assert [j.target for j in stage.jobs] == [BAR, 5 * BAR]
    assert (0xB0, 23) not in {tuple(data[:2]) for _, data in stage.sent}


def cc(number: int, value: int = 127, channel: int = 0) -> bytes:
    return bytes((0xB0 | channel, number, value))


@pytest.mark.parametrize(
    "around",
    [
        {0x90: [cc(88, 127)]},  # Casio and others: the high-resolution velocity prefix
        {0x90: [cc(16, 96)], 0x80: [cc(81, 96)]},  # Disklavier: extended precision; V-Drums: where a head was struck
        {0x90: [b"\xe0\x00\x44", cc(74, 99), b"\xd0\x50"], 0x80: [cc(74, 64)]},  # MPE
        {0x90: [cc(87, 90), b"\xe0\x00\x44", cc(87, 70), cc(74, 99)]},  # MPE+, with the lower bits before each
        {0x90: [cc(101, 0), cc(100, 6), cc(6, 15), cc(101), cc(100)]},  # MPE configuration, as it is switched on
        {0x90: [cc(99, 1), cc(98, 9), cc(6, 100), cc(38, 90), cc(96), cc(97)]},  # a parameter that is not registered
        {0x90: [cc(0, 121), cc(32, 3)]},  # bank select
        {0x90: [cc(84, 60), cc(5, 90), cc(65)]},  # portamento
        {0x90: [cc(n) for n in (12, 13, 17, 18, 19, *range(80, 84), *range(91, 96))]},  # switches, ribbons, effects
        {0x80: [cc(n, value) for n in range(113, 120) for value in (127, 0)]},  # transport buttons
        {0x80: [cc(n) for n in (1, 2, 4, 7, 10, 11, 66, 67, *range(70, 80))]},
    ],
)
@pytest.mark.parametrize("layout", ["knobs", "learned"])
def test_what_keyboards_send_beside_notes_changes_nothing(around: dict[int, list[bytes]], layout: str) -> None:
    plain, stage = started(thru=True, controls=layout), started(thru=True, controls=layout)
    score = [*CALL, *at(2 * BAR, CALL)]
    plain.until(4 * BAR, score)
    with_more = [(tick, each) for tick, note in score for each in (*around.get(note[0], ()), note)]
    stage.until(4 * BAR, with_more)
    assert [replace(job, loop=job.loop.without_hand()) for job in stage.jobs] == plain.jobs
    assert stage.notes == plain.notes
    assert stage.session.knobs == plain.session.knobs
    assert stage.requests == []
    # It goes through in its place.
    played = [data for _, data in with_more]
    assert [data for _, data in stage.sent if data in played] == played


def test_notes_up_to_the_lead_before_the_boundary_are_in_the_answer() -> None:
    stage = started()
    stage.step(stage.time(0), Warmed(0.012))
    lead = stage.session.lead.seconds
    assert lead < 0.03
    late = BAR - round(0.03 / TICK_S)
    stage.until(3 * BAR, [*CALL, (late, on(67)), (late + 10, off(67))])
    assert (BAR + late, 79, 10) in stage.notes


def test_an_early_downbeat_belongs_to_the_loop_that_it_begins() -> None:
    stage = started(answer_ticks=1)
    stage.until(4 * BAR, at(2 * BAR, [(-10, on(60)), (300, off(60))]))
    assert stage.jobs[0].loop.notes == (Note(-10, 60, 310),)
    assert stage.notes == [(3 * BAR - 10, 72, 310)]


def test_a_downbeat_earlier_than_its_answer_sounds_as_early_as_may_be() -> None:
    stage = started(answer_ticks=1)
    stage.until(4 * BAR, at(2 * BAR, [(-50, on(60)), (300, off(60))]))
    (onset, pitch, duration) = stage.notes[0]
    assert (pitch, onset + duration) == (72, 3 * BAR + 300)
    assert 3 * BAR - 30 < onset < 3 * BAR


def test_the_first_note_of_an_answer_is_on_its_boundary_to_the_millisecond() -> None:
    stage = started(answer_ticks=1)
    stage.until(BAR + 100, CALL)
    first = next(tick for tick, data in stage.sent if data[0] == 0x90)
    assert first == BAR


def test_an_offset_sends_everything_earlier() -> None:
    stage = started(output_offset_s=0.01)
    stage.until(3 * BAR, CALL)
    shift = round(0.01 / TICK_S)
    assert stage.notes == [(tick - shift, *rest) for tick, *rest in moved(BAR, HEARD)]


def test_a_late_answer_waits_for_the_next_bar() -> None:
    stage = started(bars=2, answer_ticks=100, draft_ticks=-1)
    stage.until(4 * BAR, [*CALL, *at(BAR, CALL)])
    assert stage.notes == moved(3 * BAR, HEARD)[:2]
    assert ("late", 1) in stage.whats()


def test_an_answer_whose_turn_is_over_is_not_played() -> None:
    stage = started(answer_ticks=BAR + 200, draft_ticks=-1)
    stage.until(4 * BAR, CALL)
    assert stage.notes == []
    assert ("missed", 1) in stage.whats()


def test_in_follow_what_was_sounding_goes_on_until_its_successor_comes() -> None:
    stage = started(use="follow", bars=2)
    stage.until(4 * BAR - 100, [*CALL, *at(2 * BAR, CALL)])
    stage.answer_ticks = 200
    stage.until(6 * BAR)
    # For as long as an answer may still be in time the old loop holds its breath.
    assert stage.notes == [*moved(2 * BAR, HEARD), (4 * BAR + 10, 72, 390), *moved(4 * BAR, HEARD)[1:]]
    assert ("late", 2) in stage.whats()


def test_in_follow_the_old_loop_does_not_sound_for_a_moment_before_an_answer_that_is_just_in_time() -> None:
    stage = started(use="follow")
    stage.until(2 * BAR - 100, [*CALL, *at(BAR, [(0, on(50)), (100, off(50))])])
    stage.answer_ticks = round(stage.session.lead.seconds / TICK_S) + 6
    stage.until(3 * BAR)
    assert [(pitch, onset) for onset, pitch, _ in stage.notes if onset >= 2 * BAR] == [(62, 2 * BAR + 6)]


def test_stop_in_the_middle_of_a_note_ends_it() -> None:
    stage = started()
    stage.until(BAR + 200, CALL)
    stage.receive(STOP)
    assert stage.notes == [(BAR, 72, 200)]
    stage.until(3 * BAR)
    assert len(stage.notes) == 1


def test_an_answer_that_arrives_after_stop_is_void() -> None:
    stage = started(answer_ticks=200)
    stage.until(BAR, CALL)
    stage.receive(STOP)
    stage._origin, stage.tick = stage.time(BAR), 0
    stage.receive(START)
    stage.until(3 * BAR)
    assert stage.notes == []
    assert not any(word(n) in ("answer", "late") for n in stage.notices)


def test_after_locating_a_new_turn_begins_in_the_loop_that_belongs_to_the_bar() -> None:
    stage = started()
    stage.until(BAR + 200, CALL)
    stage.receive(STOP)
    stage.receive(bytes((0xF2, 56, 0)))  # the middle of bar 4
    stage.receive(CONTINUE)
    stage._origin, stage.tick = stage.time(stage.tick) - (3 * BAR + 960) * TICK_S, 3 * BAR + 960
    before = len(stage.notes)
    stage.until(6 * BAR, [*at(3 * BAR, CALL[2:]), *at(4 * BAR, CALL)])
    assert [j.target for j in stage.jobs[1:]] == [4 * BAR]
    assert stage.notes[before:] == moved(4 * BAR, HEARD[1:])


def test_a_tempo_change_moves_answers_with_the_clock() -> None:
    session = Session(Preset().changed(bars=1))
    tempo_at = [120.0] * 96 + [126.0] * 400
    sent, now, coming = [], 0.0, None
    session.step(0.0, Received(0, START))
    for n, tempo in enumerate(tempo_at[:200]):
        events: list[Event] = [Received(0, CLOCK)]
        if n in (0, 12):
            events.append(Received(0, on(60) if n == 0 else off(60)))
        for event in events:
            out = session.step(now, event)
            sent += [(now, n, m) for m in out.messages]
            coming = out.jobs[0] if out.jobs else coming
        following = now + 2.5 / tempo
        wake = out.wake_at
        while wake is not None and wake < following:
            out = session.step(wake)
            sent += [(wake, n, m) for m in out.messages]
            coming = out.jobs[0] if out.jobs else coming
            if coming:
                loop = Loop(BAR, tuple(Note(i * 240, 60, 120) for i in range(8)))
                out = session.step(wake + 0.001, Answer(loop, coming.target, coming.epoch))
                coming = None
            wake = out.wake_at
        now = following
    times = {96 + i * 12: 96 * 2.5 / 120 + i * 12 * 2.5 / 126 for i in range(8)}
    begun = [time for time, _, m in sent if m[0] == 0x90]
    for wanted, found in zip(times.values(), begun, strict=True):
        assert found == pytest.approx(wanted, abs=0.004)


def test_thru_sends_on_what_is_played_and_keeps_our_knobs_to_ourselves() -> None:
    stage = started(thru=True)
    bend, knob = bytes((0xE0, 0, 64)), bytes((0xB0, 20, 127))
    stage.until(100, [(0, on(60)), (10, bend), (20, knob), (50, off(60))])
    assert stage.sent == [(0, on(60)), (10, bend), (50, off(60))]
    assert stage.session.knobs["distance"] == 1.0


def test_keys_held_through_a_stop_go_on_sounding_and_end_with_the_session() -> None:
    stage = started(thru=True)
    stage.until(100, [(0, on(60)), (10, bytes((0xB0, 64, 127)))])
    stage.receive(STOP)
    assert stage.sent[-1][1] == bytes((0xB0, 64, 127))
    assert stage.session.end() == [off(60), bytes((0xB0, 64, 0))]


def test_all_notes_off_ends_what_went_through_note_by_note() -> None:
    stage = started(thru=True)
    stage.until(100, [(0, on(60)), (0, on(64)), (50, bytes((0xB0, 123, 0))), (60, off(60))])
    assert [data for _, data in stage.sent] == [on(60), on(64), off(60), off(64)]


@pytest.mark.parametrize("number", [124, 125, 126, 127])
def test_a_change_of_mode_ends_what_went_through_and_goes_through(number: int) -> None:
    stage, mode = started(thru=True), bytes((0xB0, number, 0))
    stage.until(100, [(0, on(60)), (50, mode), (60, off(60))])
    assert [data for _, data in stage.sent] == [on(60), off(60), mode]


def test_all_sound_off_ends_what_the_pedal_holds() -> None:
    stage = started(thru=True)
    down, up = bytes((0xB0, 64, 127)), bytes((0xB0, 64, 0))
    stage.until(100, [(0, down), (10, on(60)), (20, off(60)), (50, bytes((0xB0, 120, 0)))])
    assert [data for _, data in stage.sent] == [down, on(60), off(60), up, down]
    assert stage.session.end() == [up]


@pytest.mark.parametrize("pedal", [64, 66, 69])
def test_a_pedal_that_holds_is_lifted_at_the_end_unless_the_controllers_were_reset(pedal: int) -> None:
    stage, reset = started(thru=True), bytes((0xB1, 121, 0))
    stage.until(100, [(0, bytes((0xB0, pedal, 127))), (10, bytes((0xB1, pedal, 127))), (50, reset)])
    assert stage.sent[-1] == (50, reset)
    assert stage.session.end() == [bytes((0xB0, pedal, 0))]


def test_panic_silences_and_the_session_goes_on() -> None:
    stage = started()
    stage.until(BAR + 200, CALL)
    stage.step(stage.time(stage.tick), Pressed("panic"))
    assert [data for _, data in stage.sent[-4:]] == [off(72), *(bytes((0xB0, n, 0)) for n in (64, 123, 120))]


def test_knobs_and_seeds_travel_with_the_job() -> None:
    stage = started(mode="clean")
    stage.step(0, Turned("temperature", 0.5))
    with pytest.raises(ValueError, match="distance is 2"):
        stage.session.step(0, Turned("distance", 2.0))
    stage.until(4 * BAR, [*CALL, *at(2 * BAR, CALL)])
    first, second = stage.jobs
    assert (first.mode, first.knobs["temperature"]) == ("clean", 0.5)
    assert first.seed != second.seed
    again = started(mode="clean")
    again.until(4 * BAR, [*CALL, *at(2 * BAR, CALL)])
    assert [j.seed for j in again.jobs] == [first.seed, second.seed]


def test_the_lead_follows_what_answers_take() -> None:
    stage = started(answer_ticks=40)
    before = stage.session.lead.seconds
    stage.until(2 * BAR, CALL)
    assert before < stage.session.lead.seconds < 40 * TICK_S
    stage.until(4 * BAR, at(2 * BAR, CALL))
    assert stage.session.lead.seconds == pytest.approx(40 * TICK_S * 1.1 + 0.003, abs=1e-6)


def test_an_internal_clock_needs_no_midi_clock() -> None:
    session = Session(Preset().changed(bars=1, tempo=120), Options(clock="internal"))
    out = session.step(50.0)
    assert out.wake_at is not None
    session.step(50.002, Received(0, on(60)))
    session.step(50.502, Received(0, off(60)))
    session.step(51.0, Received(0, CLOCK))  # not its master
    assert session.step(52.0).jobs[0].loop.notes == (Note(0, 60, 480),)


def test_a_loop_is_asked_for_sooner_if_its_answer_has_a_way_to_go() -> None:
    wakes = []
    for delivery_s in (0.0, 0.04):
        session = Session(Preset().changed(bars=1, tempo=120), Options(clock="internal", delivery_s=delivery_s))
        session.step(50.0)
        session.step(50.1, Received(0, on(60)))
        now = 50.1
        while not (out := session.step(now)).jobs:
            assert out.wake_at is not None
            now = out.wake_at
        wakes.append(now)
    assert wakes[0] - wakes[1] == pytest.approx(0.04)


# ---- whatever happens ----------------------------------------------------------------------------------------------

wire = st.one_of(
    st.sampled_from([CLOCK] * 6 + [START, CONTINUE, STOP]),
    st.builds(lambda p, v: bytes((0x90, p, v)), st.integers(60, 64), st.integers(0, 127)),
    st.builds(lambda p: bytes((0x80, p, 0)), st.integers(60, 64)),
    st.builds(lambda v: bytes((0xB0, 64, v)), st.sampled_from([0, 127])),
    st.builds(lambda a: bytes((0xF2, a, 0)), st.integers(0, 127)),
    st.binary(max_size=6),
)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.floats(0, 1.5), wire), max_size=60),
    st.sampled_from(["answer", "follow", "hold"]),
    st.booleans(),
    st.integers(0, 3000),
)
def test_no_byte_stream_leaves_a_note_hanging(
    stream: list[tuple[float, bytes]], use: str, thru: bool, answer_ticks: int
) -> None:
    stage = Stage(use=use, thru=thru, answer_ticks=answer_ticks)
    now = 0.0
    for wait, data in stream:
        now += wait
        stage._pass(now)
        stage.step(now, Received(0, data))
        check((data for _, data in stage.sent), ended=False)
    check([*(data for _, data in stage.sent), *stage.session.end()])


@given(st.lists(wire, min_size=1, max_size=25), st.data())
def test_how_input_is_chunked_changes_nothing(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    edges = [0, *cuts, len(stream)]
    whole, cut = (Session(Preset(), Options(thru=True)) for _ in range(2))
    expected = whole.step(1.0, Received(0, stream)).messages
    got = [m for a, b in itertools.pairwise(edges) for m in cut.step(1.0, Received(0, stream[a:b])).messages]
    assert got == expected
    assert cut.step(9.0).messages == whole.step(9.0).messages


def test_a_downbeat_just_before_the_first_clock_is_captured() -> None:
    session = Session(Preset().changed(bars=1, use="answer"))
    for time, data in [(0.0, START), (0.001, on(60)), (0.002, CLOCK), (0.023, CLOCK)]:
        session.step(time, Received(0, data))
    assert [n.pitch for n in session.played(0.1)] == [60]


def test_what_is_played_before_the_second_clock_gets_the_tempo_of_the_song() -> None:
    session = Session(Preset().changed(bars=1, use="answer", tempo=120))
    # 60 BPM: a tick lasts 1/480 s.
    for tick, data in [(0, START), (0, CLOCK), (5, on(60)), (20, CLOCK), (40, CLOCK)]:
        session.step(tick / 480, Received(0, data))
    assert [(n.onset, n.pitch) for n in session.played(0.1)] == [(5, 60)]


def test_one_answer_out_of_all_proportion_does_not_cost_the_ends_of_the_next_loops() -> None:
    lead = Lead(0.010)
    for seconds in [0.010] * 20 + [0.140]:
        lead.measured(seconds)
    assert lead.seconds < 0.035
    lead.measured(0.120)
    assert lead.seconds > 0.140


# ---- a loop that is given -------------------------------------------------------------------------------------------

CLIP = Loop(BAR, (Note(0, 50, 480, 90), Note(960, 55, 480, 90)))


def test_a_loop_that_is_given_is_answered_once_in_place_of_what_is_played() -> None:
    stage = started()
    stage.until(100)
    stage.step(stage.time(100), Given(CLIP))
    stage.until(5 * BAR, [*((t, m) for t, m in CALL if t > 100), *at(2 * BAR, CALL)])
    assert stage.jobs[0].loop == CLIP
    assert [job.target for job in stage.jobs] == [BAR, 3 * BAR]
    assert stage.drafts[0][1].loop == CLIP
    assert stage.jobs[1].loop.notes == (Note(0, 60, 400), Note(960, 64, 890))
    assert [n for n in stage.notes if n[0] < 2 * BAR] == [(BAR, 62, 480), (BAR + 960, 67, 480)]


def test_a_loop_that_is_given_needs_nobody_who_plays() -> None:
    stage = started()
    stage.until(BAR + 20)
    stage.step(stage.time(BAR + 20), Given(CLIP))
    stage.until(4 * BAR)
    assert [(job.loop, job.target) for job in stage.jobs] == [(CLIP, 2 * BAR)]
    assert stage.notes == [(2 * BAR, 62, 480), (2 * BAR + 960, 67, 480)]


def test_a_loop_that_is_given_before_the_song_rolls_waits_for_it() -> None:
    stage = Stage()
    stage.step(stage.time(0), Given(CLIP))
    stage.receive(START)
    stage.until(3 * BAR)
    assert [(job.loop, job.target) for job in stage.jobs] == [(CLIP, BAR)]


def test_a_loop_of_another_length_waits_for_a_preset_with_such_loops() -> None:
    stage = started()
    long = Loop(2 * BAR, CLIP.notes)
    stage.step(stage.time(0), Given(long))
    stage.until(3 * BAR)
    assert stage.jobs == []
    stage.step(stage.time(3 * BAR), Chosen(Preset().changed(bars=2, use="answer")))
    stage.until(9 * BAR)
    assert [job.loop for job in stage.jobs] == [long]


def test_clear_takes_a_loop_that_was_given_away() -> None:
    stage = started()
    stage.step(stage.time(0), Given(CLIP))
    stage.step(stage.time(0), Pressed("clear"))
    stage.until(3 * BAR)
    assert stage.jobs == []


def test_the_buttons_for_clips_ask_for_the_one_that_is_selected() -> None:
    stage = Stage()
    for button in ("answer_clip", "vary_clip"):
        stage.step(stage.time(0), Pressed(button))
    assert stage.requests == [UseClip("answer"), UseClip("vary")]
