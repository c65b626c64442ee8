"""Knobs and buttons while the music plays: when they are heard, and what they change."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.instrument.binding import Binding
from rtgen.instrument.events import Chosen, Learn, Pressed, Turned
from rtgen.instrument.notices import (
    AskedAgain,
    ControlTaken,
    KeepAnswer,
    Recalled,
    SaveBindings,
    SelectPreset,
    Stored,
)
from rtgen.instrument.parameters import PARAMETERS
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop, Note
from rtgen.music.swing import swung
from tests.instrument.ledger import check
from tests.instrument.stage import BAR, CALL, HEARD, Stage, at, moved, off, on, started

BEAT = 480
LONG = [
    (0, on(60)),
    (1900, off(60)),
    *((t, e) for i in range(4) for t, e in ((i * BEAT, on(62 + i)), (i * BEAT + 400, off(62 + i)))),
]
"""A note that lasts, and one on each beat."""


def turn(stage: Stage, name: str, value: float) -> None:
    stage.step(stage.time(stage.tick), Turned(name, value))


def press(stage: Stage, button: str, down: bool | None = True) -> None:
    stage.step(stage.time(stage.tick), Pressed(button, down))


# ---- an answer that plays is made anew ------------------------------------------------------------------------------


def test_a_knob_that_is_turned_while_an_answer_plays_is_heard_from_the_next_beat() -> None:
    stage = started()
    stage.until(BAR + 100, LONG)
    turn(stage, "distance", 0.8)
    stage.until(2 * BAR)
    first, again = stage.jobs
    assert (again.target, again.loop, again.seed, again.knobs["distance"]) == (BAR + BEAT, first.loop, first.seed, 0.8)
    # What sounds and is in both goes on; nothing is struck twice.
    assert stage.notes == sorted([(BAR, 72, 1900), *((BAR + i * BEAT, 74 + i, 400) for i in range(4))])
    check([data for _, data in stage.sent])


def test_or_from_the_next_bar() -> None:
    stage = started(bars=2, quantise=1.0)
    stage.until(2 * BAR + 100, LONG)
    turn(stage, "distance", 0.8)
    assert [job.target for job in stage.jobs] == [2 * BAR, 3 * BAR]


def test_while_it_is_made_anew_turns_are_gathered() -> None:
    stage = started(answer_ticks=30)
    stage.until(BAR + 100, LONG)
    for value in range(20):
        turn(stage, "distance", value / 20)
    stage.until(2 * BAR)
    assert [job.knobs["distance"] for job in stage.jobs] == [0.35, 0.0, 0.95]


def test_an_answer_that_is_lost_is_asked_for_again() -> None:
    stage = started(use="hold", answer_ticks=5)
    stage.until(BAR + 100, LONG)
    stage.answer_ticks = 10**6  # its process has died
    turn(stage, "distance", 0.8)
    turn(stage, "distance", 0.9)
    assert len(stage.jobs) == 2
    stage.answer_ticks = 5
    stage.until(BAR + 100 + 5 * BAR)
    turn(stage, "distance", 0.7)
    assert [job.knobs["distance"] for job in stage.jobs] == [0.35, 0.8, 0.7]


def test_a_turn_that_changes_nothing_asks_for_nothing() -> None:
    stage = started()
    stage.until(BAR + 100, LONG)
    turn(stage, "distance", PARAMETERS["distance"].default)
    stage.until(2 * BAR)
    assert len(stage.jobs) == 1


@pytest.mark.parametrize("tick", [100, BAR - 100, 2 * BAR - 5, 2 * BAR + 100])
def test_where_no_answer_plays_any_more_the_next_will_be_as_the_knobs_are(tick: int) -> None:
    stage = started()
    stage.until(tick, LONG[: 3 if tick == 100 else None])
    turn(stage, "distance", 0.8)
    stage.until(3 * BAR, [e for e in LONG if e[0] > tick])
    assert [job.target for job in stage.jobs] == [BAR]


def test_what_goes_round_is_another_from_the_next_round_on() -> None:
    stage = started(use="hold")
    stage.until(2 * BAR - 5, LONG)
    turn(stage, "distance", 0.8)
    stage.until(3 * BAR - 10)
    assert [job.target for job in stage.jobs] == [BAR, 2 * BAR]
    assert [n[0] for n in stage.notes].count(2 * BAR) == 2


def test_a_stopped_song_makes_nothing_anew() -> None:
    stage = started()
    stage.until(BAR + 100, LONG)
    stage.receive(bytes((0xFC,)))
    turn(stage, "distance", 0.8)
    press(stage, "regenerate")
    press(stage, "back")
    assert len(stage.jobs) == 1


# ---- how it is played -----------------------------------------------------------------------------------------------


def test_the_player_s_knobs_are_heard_at_once() -> None:
    stage = started()
    stage.until(BAR + 100, LONG)
    for name, value in {"transpose": -12, "gate": 0.5, "loudness": 0.5}.items():
        turn(stage, name, value)
    stage.until(2 * BAR + 10)
    assert len(stage.jobs) == 1
    assert [n for n in stage.notes if n[0] > BAR] == [(BAR + i * BEAT, 62 + i, 200) for i in (1, 2, 3)]
    assert {data[2] for _, data in stage.sent if data[0] == 0x90 and data[1] < 72} == {40}
    check([data for _, data in stage.sent])


def test_swing_is_heard_from_the_next_beat_on() -> None:
    sixteenths = [(t + d, e) for t in range(0, BAR, 120) for d, e in ((0, on(60)), (100, off(60)))]
    stage = started()
    stage.until(BAR + 100, sixteenths)
    turn(stage, "swing", 0.75)
    stage.until(2 * BAR)
    onsets = [n[0] - BAR for n in stage.notes]
    assert onsets[:4] == [0, 120, 240, 360]
    assert onsets[4:8] == [480, 660, 720, 900]


@given(
    st.lists(st.builds(Note, st.integers(-20, 1919), st.integers(60, 62), st.integers(1, 700)), max_size=20),
    st.floats(0.5, 0.75),
)
def test_swing_leaves_the_order_and_the_eighths(notes: list[Note], swing: float) -> None:
    loop = Loop(1920, tuple(notes)).monophonic_by_pitch()
    made = swung(loop, swing)
    # Two that were a tick apart may fall together; of the same pitch they are one then.
    together = len({n.onset for n in made.notes}) < len(loop.notes)
    assert together or [n.pitch for n in made.notes] == [n.pitch for n in loop.notes]
    if len(made) == len(loop):
        assert all(abs(a.onset - b.onset) <= 61 for a, b in zip(made.notes, loop.notes, strict=True))
    for note in loop.notes:
        if note.onset % 240 == 0:
            assert (note.onset, note.pitch) in {(n.onset, n.pitch) for n in made.notes}
    assert swung(loop, 0.5) == loop


def test_below_the_split_keys_only_sound() -> None:
    stage = started(thru=True, split=60)
    stage.until(BAR + 10, [(0, on(48)), (400, off(48)), (480, on(64)), (900, off(64))])
    assert [n.pitch for n in stage.jobs[0].loop.notes] == [64]
    assert {n[1] for n in stage.notes} >= {48, 64}


def test_one_channel_is_heard() -> None:
    stage = Stage(listens=2)
    stage.receive(bytes((0xFA,)))
    stage.until(BAR + 10, [*CALL, (500, bytes((0x91, 70, 80))), (600, bytes((0x81, 70, 0)))])
    assert [n.pitch for n in stage.jobs[0].loop.notes] == [70]


def test_a_program_change_selects_a_preset_unless_it_is_meant_for_somebody_else() -> None:
    stage, program = started(thru=True, ignores_programs=(1,)), bytes((0xC3, 4))
    stage.receive(program, port=0)
    assert (stage.requests, stage.sent) == ([SelectPreset("5")], [])
    stage.receive(program, port=1)
    assert (stage.requests, stage.sent) == ([SelectPreset("5")], [(0, program)])
    # Neither does one on a channel that is not listened to.
    stage = started(thru=True, listens=2)
    for channel in range(4):
        stage.receive(bytes((0xC0 | channel, channel)))
    assert stage.requests == [SelectPreset("2")]
    assert [data[0] & 0x0F for _, data in stage.sent] == [0, 2, 3]


# ---- buttons --------------------------------------------------------------------------------------------------------


def test_another_answer_to_the_same_loop() -> None:
    stage = started()
    stage.until(BAR + 100, LONG)
    press(stage, "regenerate")
    stage.until(2 * BAR)
    first, again = stage.jobs
    assert again.loop == first.loop
    assert again.seed != first.seed
    assert again.target == BAR + BEAT


def test_ten_answers_can_be_gone_back_to() -> None:
    stage = started(use="follow")
    for i in range(13):
        stage.until((i + 1) * BAR, at(i * BAR, [(0, on(40 + i)), (400, off(40 + i))]))
    press(stage, "freeze")
    stage.until(13 * BAR + 100, at(12 * BAR + 1900, []))
    played = []
    for _ in range(12):
        assert stage.session.present is not None
        played.append(stage.session.present.notes[0].pitch - 12)
        press(stage, "back")
    assert played == [52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 42]
    stage.until(15 * BAR)
    assert stage.notes[-1][:2] == (14 * BAR, 54)


def asked_again(count: int) -> Stage:
    """A held answer, and so many others to the same call: the first an octave up, each a semitone above the last."""
    stage = started(use="hold")
    stage.until(BAR + 100, LONG)
    for i in range(count):
        stage.up = 13 + i
        press(stage, "regenerate")
        stage.until(stage.tick + BEAT)
    stage.until(3 * BAR + 100)
    return stage


def first_pitch(stage: Stage) -> int:
    assert stage.session.present is not None
    return stage.session.present.notes[0].pitch


def test_of_several_answers_to_a_call_any_can_be_gone_to_and_is_heard() -> None:
    stage = asked_again(3)
    pitches = []
    for button in ("back", "back", "back", "back", "forward", "forward"):
        press(stage, button)
        pitches.append(first_pitch(stage))
    lowest = 72
    assert pitches == [lowest + up for up in (2, 1, 0, 0, 1, 2)]
    told = [(n.number, n.count, n.moved) for n in stage.notices if isinstance(n, Recalled)]
    assert told == [(3, 4, True), (2, 4, True), (1, 4, True), (1, 4, False), (2, 4, True), (3, 4, True)]
    assert {n.notes for n in stage.notices if isinstance(n, Recalled)} == {5}
    stage.until(5 * BAR - 1)
    assert [n[1] for n in stage.notes if n[0] >= 4 * BAR] == [lowest + 2 + i for i in (0, 2, 3, 4, 5)]
    check([data for _, data in stage.sent])


def test_another_answer_after_back_loses_none() -> None:
    stage = asked_again(2)
    press(stage, "back")
    press(stage, "back")
    stage.up = 20
    press(stage, "regenerate")
    stage.until(stage.tick + BEAT)
    assert first_pitch(stage) == 80
    pitches = []
    for _ in range(4):
        press(stage, "back")
        pitches.append(first_pitch(stage))
    assert pitches == [74, 73, 72, 72]


def test_what_is_gone_back_to_is_kept_and_all_are_kept_together() -> None:
    stage = asked_again(3)
    press(stage, "back")
    press(stage, "back")
    press(stage, "keep")
    (kept,) = (r for r in stage.requests if isinstance(r, KeepAnswer))
    assert (kept.loop, kept.number, kept.count) == (stage.session.present, 1, 1)
    assert first_pitch(stage) == 73
    stage.requests.clear()
    press(stage, "keep_all")
    found = [(r.loop.notes[0].pitch, r.number, r.count) for r in stage.requests if isinstance(r, KeepAnswer) and r.loop]
    assert found == [(72, 1, 4), (73, 2, 4), (74, 3, 4), (75, 4, 4)]


def test_only_answers_to_the_same_call_are_kept_together() -> None:
    stage = started(use="follow")
    press(stage, "keep_all")
    stage.until(2 * BAR + 100, [*LONG, *at(BAR, LONG)])
    press(stage, "keep_all")
    none, one = (r for r in stage.requests if isinstance(r, KeepAnswer))
    assert none.loop is None
    assert (one.loop, one.count) == (stage.session.present, 1)
    press(stage, "back")
    assert [(n.number, n.count) for n in stage.notices if isinstance(n, Recalled)] == [(1, 1)]


def test_after_silence_back_goes_to_the_last_answer() -> None:
    stage = started(use="follow")
    stage.until(3 * BAR + 100, LONG)
    assert stage.session.present is None
    press(stage, "keep_all")
    press(stage, "back")
    assert first_pitch(stage) == 72
    press(stage, "keep")
    assert [r.loop is not None for r in stage.requests if isinstance(r, KeepAnswer)] == [False, True]
    assert [n for n in stage.notices if isinstance(n, Recalled)] == [Recalled(1, 1, 5, True)]


def test_there_is_nothing_to_go_to_before_the_first_answer() -> None:
    stage = started()
    for button in ("back", "forward"):
        press(stage, button)
    assert [n for n in stage.notices if isinstance(n, Recalled)] == [Recalled(0, 0, 0, False)] * 2


def test_an_answer_that_has_ended_is_asked_for_again_and_comes_in_the_next_turn() -> None:
    stage = started(mode="continue")
    stage.until(2 * BAR + 300, [*LONG, *at(2 * BAR, [(100, on(50)), (200, off(50))])])
    press(stage, "regenerate")
    assert [n for n in stage.notices if isinstance(n, AskedAgain)] == [AskedAgain(5)]
    stage.up = 15
    stage.until(4 * BAR)
    first, again = stage.jobs
    assert (again.loop, again.target, again.past) == (first.loop, 3 * BAR, first.past)
    assert again.seed != first.seed
    heard = [(0, 72), *((i * BEAT, 74 + i) for i in range(4))]
    assert [n[:2] for n in stage.notes] == [(n * BAR + t, pitch + n // 3 * 3) for n in (1, 3) for t, pitch in heard]
    press(stage, "keep_all")
    assert [r.count for r in stage.requests if isinstance(r, KeepAnswer)] == [2, 2]
    # The next call is the player's own again, and what was answered twice was played once.
    stage.until(5 * BAR + 10, at(4 * BAR, LONG))
    assert [loop.notes for loop in stage.jobs[-1].past] == [first.loop.notes]


def test_after_a_stop_nothing_is_answered_again_by_itself() -> None:
    stage = started()
    stage.until(2 * BAR + 100, LONG)
    press(stage, "regenerate")
    stage.receive(bytes((0xFC,)))
    stage.until(7 * BAR, clock=False)
    stage.receive(bytes((0xFA,)))
    stage.until(9 * BAR)
    assert len(stage.jobs) == 1


def test_freeze_and_release() -> None:
    stage = started()
    stage.until(BAR + 100, CALL)
    press(stage, "freeze", None)
    stage.until(3 * BAR + 100)
    press(stage, "freeze", None)
    stage.until(6 * BAR)
    assert stage.notes == [n for bar in (1, 2, 3) for n in moved(bar * BAR, HEARD)]


def test_mute_ends_what_sounds_and_nothing_begins() -> None:
    stage = started()
    stage.until(BAR + 100, LONG)
    press(stage, "mute")
    check([data for _, data in stage.sent])
    stage.until(BAR + 2 * BEAT - 10)
    press(stage, "mute", False)
    stage.until(2 * BAR)
    assert [n[0] - BAR for n in stage.notes] == [0, 0, 2 * BEAT, 3 * BEAT]


def test_keep_says_what_shall_be_kept() -> None:
    stage = started()
    press(stage, "keep")
    stage.until(BAR + 100, CALL)
    press(stage, "keep")
    none, kept = (r for r in stage.requests if isinstance(r, KeepAnswer))
    assert none.loop is None
    assert kept.loop == stage.session.present
    assert (kept.preset, round(kept.tempo)) == (stage.session.preset, 120)


def test_clear_forgets_everything() -> None:
    stage = started(mode="blend", use="hold")
    stage.until(BAR + 100, CALL)
    press(stage, "store_a")
    press(stage, "clear")
    assert stage.session.present is None
    check([data for _, data in stage.sent])
    stage.until(3 * BAR)
    press(stage, "store_a")
    assert [n.loop for n in stage.notices if isinstance(n, Stored)][-1] is None


def test_a_tapped_tempo() -> None:
    stage = Stage(clock="internal", tempo=120)
    for i in range(4):
        stage.step(i * 0.4, Pressed("tap"))
    assert stage.session.transport.tempo == pytest.approx(150)
    stage.step(10.0, Pressed("tap"))
    assert stage.session.transport.tempo == pytest.approx(150)
    stage.step(10.0, Pressed("tap"))  # no tempo is so fast
    assert stage.session.transport.tempo <= 400


@pytest.mark.parametrize(("button", "name"), [("next_preset", "next"), ("previous_preset", "previous")])
def test_another_preset_is_wanted(button: str, name: str) -> None:
    stage = Stage()
    press(stage, button)
    press(stage, button, False)
    assert stage.requests == [SelectPreset(name)]


def test_a_program_change_wants_a_preset_by_its_number() -> None:
    stage = Stage()
    stage.receive(bytes((0xC3, 4)))
    assert stage.requests == [SelectPreset("5")]


# ---- learning, and showing ------------------------------------------------------------------------------------------


def test_what_is_learned_turns_and_is_not_music() -> None:
    stage = Stage(thru=True)
    stage.step(0.0, Learn("blend"))
    for value in (60, 61, 62, 63, 127):
        stage.receive(bytes((0xB4, 70, value)), port=1)
    assert [(r.to, r.port) for r in stage.requests if isinstance(r, SaveBindings)] == [("blend", 1)]
    assert stage.session.knobs["blend"] == 1.0
    assert Binding("blend", 70, channel=5) in stage.session.controls(1).bindings
    assert Binding("blend", 24) in stage.session.controls(0).bindings
    assert (0xB4, 70) not in {tuple(data[:2]) for _, data in stage.sent[4:]}
    stage.step(0.0, Learn("fill"))
    for value in range(4):
        stage.receive(bytes((0xB4, 70, value)), port=1)
    assert stage.notices[-1] == ControlTaken(1, "fill", "blend")
    stage.step(0.0, Learn(None, over=True))
    learned = stage.requests[-1]
    assert isinstance(learned, SaveBindings)
    assert learned.to == "fill"


def test_the_control_of_each_knob_is_told_in_words() -> None:
    stage = Stage()
    for port in (0, 1):
        stage.session.controls(port)
    assert stage.session.bound["distance"] == "CC 20"
    assert "freeze" not in stage.session.bound
    for to, messages in (("blend", [bytes((0xB4, 70, v)) for v in range(4)]), ("freeze", [bytes((0x90, 36, 99))])):
        stage.step(0.0, Learn(to))
        for message in messages:
            stage.receive(message, port=1)
    # What one controller has learned goes before the default of the other.
    assert (stage.session.bound["blend"], stage.session.bound["freeze"]) == ("CC 70", "key C2")
    stage.step(0.0, Learn("freeze", forget=True))
    assert "freeze" not in stage.session.bound


def test_other_controllers_are_shown_what_is_turned() -> None:
    stage = Stage(controls="all")
    for port in (0, 1):
        stage.receive(bytes((0xB0, 20, 0)), port=port)
    stage.echoes.clear()
    stage.receive(bytes((0xB0, 20, 127)), port=1)
    assert stage.echoes == [(0, bytes((0xB0, 20, 127)))]
    stage.echoes.clear()
    stage.step(0.0, Turned("distance", 0.5))
    assert stage.echoes == [(port, bytes((0xB0, 20, 64))) for port in (0, 1)]
    stage.echoes.clear()
    press(stage, "freeze")
    assert stage.echoes == [(port, bytes((0xB0, 23, 127))) for port in (0, 1)]
    stage.echoes.clear()
    stage.step(0.0, Chosen(Preset().changed(blend=0.0)))
    assert (1, bytes((0xB0, 24, 0))) in stage.echoes


def test_controllers_are_shown_what_it_is_at() -> None:
    stage = Stage()
    stage.receive(bytes((0xB0, 20, 0)), port=1)
    stage.receive(bytes((0xFA,)))
    stage.until(BAR - 100, CALL)
    stage.until(2 * BAR + 200)
    stage.receive(bytes((0xFC,)))
    lights = [message[2] for port, message in stage.echoes if port == 1 and message[:2] == bytes((0xB0, 3))]
    assert lights == [32, 64, 127, 0, 32, 0]  # listening, thinking, answering until its last note ends, listening
    turns = [message[2] for port, message in stage.echoes if port == 1 and message[:2] == bytes((0xB0, 9))]
    assert turns == [127, 0, 127, 0]  # theirs, the answer's, theirs, stopped


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(1, 700), st.sampled_from([p.name for p in PARAMETERS.values()]), st.floats(0, 1)),
        max_size=25,
    ),
    st.sampled_from(("answer", "follow", "hold")),
)
def test_whatever_is_turned_every_note_ends_once(turns: list[tuple[int, str, float]], use: str) -> None:
    stage = started(use=use)
    score = [e for bar in range(12) for e in at(bar * BAR, LONG)]
    tick = 0
    for wait, name, share in turns:
        stage.until(tick + wait, [e for e in score if tick <= e[0] < tick + wait])
        tick += wait
        turn(stage, name, PARAMETERS[name].at(share))
    sent = [data for _, data in stage.sent] + stage.session.end()
    check(sent)
