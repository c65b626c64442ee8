"""What a session remembers of what was played, and hands on where the mode asks for it."""

from __future__ import annotations

from rtgen.instrument.events import Chosen, Pressed, Warmed
from rtgen.instrument.memory import PAST, Memory
from rtgen.instrument.notices import Stored
from rtgen.instrument.preset import Preset
from rtgen.instrument.rounds import PRE_ROLL
from rtgen.music.note import Loop, Note
from tests.instrument.stage import BAR, CALL, Stage, at, off, on, started

STORE_A, STORE_B = (bytes((0xB0, number, 127)) for number in (25, 26))


def call(pitch: int, length: int = BAR) -> Loop:
    return Loop(length, (Note(0, pitch, 100),))


def test_the_past_is_bounded_and_silence_is_no_part_of_it() -> None:
    memory = Memory()
    for pitch in range(20, 100):
        memory.hear(call(pitch))
        memory.hear(Loop(BAR))
    assert [loop.notes[0].pitch for loop in memory.past] == list(range(36, 100))
    memory.hear(call(99, 2 * PAST))
    assert memory.past == (call(99, 2 * PAST),)


def test_without_a_choice_a_is_the_first_call_and_b_the_latest() -> None:
    memory = Memory()
    assert memory.ends(call(60)) == (call(60), call(60))
    for pitch in range(40, 80):
        memory.hear(call(pitch))
    assert memory.ends(call(99)) == (call(40), call(99))


def test_what_was_played_last_can_be_kept_as_a_or_b() -> None:
    memory = Memory()
    assert memory.store("a") is None
    memory.hear(call(60))
    assert memory.store("b") == call(60)
    memory.hear(call(61))
    assert not memory.both
    assert memory.store("a") == call(61)
    assert memory.both
    assert memory.ends(call(62)) == (call(61), call(60))


def test_what_a_blend_would_lie_between_is_told() -> None:
    memory = Memory()
    assert memory.stored == (None, None)
    memory.hear(call(60))
    assert memory.stored == (call(60), call(60))
    memory.hear(call(61))
    assert memory.stored == (call(60), call(61))
    memory.store("a")
    memory.hear(call(62))
    assert memory.stored == (call(61), call(62))


# ---- in a session ---------------------------------------------------------------------------------------------------


def two_calls() -> list[tuple[int, bytes]]:
    return [*CALL, *at(2 * BAR, [(0, on(50)), (100, off(50))])]


def test_a_continuation_hears_what_was_played_before() -> None:
    stage = started(mode="continue")
    stage.until(6 * BAR, [*two_calls(), *at(4 * BAR, CALL)])
    first, second, third = stage.jobs
    assert first.past == ()
    assert second.past == (first.loop,)
    assert third.past == (first.loop, second.loop)
    assert first.ends is second.ends is None


def test_a_model_that_hears_the_playing_is_told_what_was_played_before_in_every_mode() -> None:
    stage = started(mode="vary")
    stage.step(0.0, Warmed(0.01, hears=True))
    stage.until(4 * BAR, two_calls())
    first, second = stage.jobs
    assert (first.past, second.past) == ((), (first.loop,))
    assert [(tick, len(heard.past)) for tick, heard in stage.heard][:3] == [
        (0, 0),
        (480, 0),
        (2 * BAR - PRE_ROLL, 1),
    ]


def test_other_modes_do_not_carry_the_past_along_but_it_is_not_forgotten() -> None:
    stage = started(mode="vary")
    stage.until(2 * BAR, CALL)
    stage.step(stage.time(stage.tick), Chosen(Preset().changed(mode="continue", bars=1)))
    stage.until(6 * BAR, at(2 * BAR, CALL) + at(4 * BAR, CALL))
    assert [len(job.past) for job in stage.jobs] == [0, 1, 2]


def test_what_was_played_before_a_stop_is_remembered() -> None:
    stage = started(mode="continue")
    stage.until(2 * BAR, CALL)
    stage.receive(b"\xfc")
    stage.receive(b"\xfa")
    stage._origin = stage.time(stage.tick)
    stage.tick = 0
    stage.until(BAR + 20, CALL)
    assert [len(job.past) for job in stage.jobs] == [0, 1]


def test_a_blend_is_between_the_first_call_and_the_latest() -> None:
    stage = started(mode="blend")
    stage.until(4 * BAR, two_calls())
    first, second = stage.jobs
    assert first.ends == (first.loop, first.loop)
    assert second.ends == (first.loop, second.loop)


def test_buttons_store_the_ends_and_say_so() -> None:
    stage = started(mode="blend", thru=True, controls="all")
    press = [(10, STORE_A), (2 * BAR - 100, STORE_B), (4 * BAR - 100, STORE_A)]
    stage.until(6 * BAR, [*two_calls(), *press, *at(4 * BAR, CALL)])
    told = [(n.which, n.loop) for n in stage.notices if isinstance(n, Stored)]
    first, second, third = stage.jobs
    assert told == [("a", None), ("b", first.loop), ("a", second.loop)]
    assert third.ends == (second.loop, first.loop)


def test_a_button_that_is_let_go_stores_nothing() -> None:
    stage = started(controls="all")
    stage.until(3 * BAR, [*CALL, (2 * BAR, bytes((0xB0, 25, 0))), (2 * BAR + 1, bytes((0xB0, 26, 63)))])
    assert not [n for n in stage.notices if isinstance(n, Stored)]


def test_the_blend_is_turned_by_its_control_change() -> None:
    stage = started(mode="blend")
    stage.until(2 * BAR, [*CALL, (100, bytes((0xB0, 24, 127)))])
    assert stage.jobs[0].knobs["blend"] == 1.0


def test_between_two_stored_loops_a_silent_call_is_answered_too() -> None:
    stage = started(mode="blend", use="follow")
    stage.until(BAR + 100, CALL)
    for which in ("a", "b"):
        stage.step(stage.time(stage.tick), Pressed(f"store_{which}"))
    stage.until(4 * BAR - 200)
    # And the one that plays is made anew from the next beat, as its ends are others now.
    assert [job.target for job in stage.jobs] == [BAR, BAR + 480, BAR + 480, 2 * BAR, 3 * BAR]
    assert not stage.jobs[-1].loop.notes
    assert stage.jobs[-1].ends == (stage.jobs[0].loop, stage.jobs[0].loop)
    other = started(mode="vary", use="follow")
    other.until(4 * BAR, CALL)
    assert [job.target for job in other.jobs] == [BAR]


# ---- what is heard while it is played -------------------------------------------------------------------------------


def test_a_model_that_continues_hears_at_every_beat_what_has_been_played() -> None:
    stage = started(mode="continue")
    stage.until(4 * BAR, two_calls())
    call, second = stage.jobs[0].loop, stage.jobs[1].loop
    assert [(tick, [n.pitch for n in heard.loop.notes], heard.past) for tick, heard in stage.heard] == [
        (0, [], ()),
        (480, [60], ()),
        # The note that sounds from 960 on ends after the last beat of the bar.
        (2 * BAR - PRE_ROLL, [], (call,)),
        (2 * BAR + 480, [50], (call,)),
        (4 * BAR - PRE_ROLL, [], (call, second)),
    ]
    assert {heard.loop.bar for _, heard in stage.heard} == {BAR}
    assert set(stage.heard[1][1].loop.notes) < set(call.notes)
    assert stage.heard[3][1].loop.notes == second.notes


def test_other_modes_do_not_tell_what_is_played_before_it_is_asked_for() -> None:
    stage = started(mode="vary")
    stage.until(4 * BAR, two_calls())
    assert stage.heard == []


def test_it_is_told_by_any_clock_and_after_a_jump() -> None:
    stage = Stage(mode="continue", clock="internal")
    stage.step(0.0)
    stage.until(BAR - 1, CALL, clock=False)
    assert [tick // 480 for tick, _ in stage.heard] == [0, 1]
    stage = started(mode="continue")
    stage.until(BAR, CALL)
    stage.receive(b"\xfc")
    stage.receive(b"\xfa")
    stage._origin = stage.time(stage.tick)
    stage.tick = 0
    stage.until(BAR, CALL)
    assert [(tick, len(heard.past)) for tick, heard in stage.heard] == [(0, 0), (480, 0), (0, 1), (480, 1)]
