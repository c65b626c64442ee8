"""What the hand did beside the notes comes back, message for message; and nothing of it stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rtgen.instrument.binding import Binding
from rtgen.instrument.events import Event, Plugged, Pressed, Turned, Used
from rtgen.instrument.looper import Looper
from rtgen.instrument.player import Ledger, Player
from rtgen.instrument.recorder import MOST
from rtgen.music import midi
from rtgen.music.hand import Hand, Moved
from rtgen.music.note import Loop, Note
from rtgen.music.shaped import shaped
from rtgen.music.swing import swung
from tests.instrument.ledger import check
from tests.instrument.stage import BAR, START, STOP, Stage, at, off, on

Score = list[tuple[int, bytes]]


def bend(value: int, channel: int = 0) -> bytes:
    return bytes((0xE0 | channel, value & 0x7F, value >> 7))


def cc(number: int, value: int, channel: int = 0) -> bytes:
    return bytes((0xB0 | channel, number, value))


def pressure(value: int, channel: int = 0) -> bytes:
    return bytes((0xD0 | channel, value))


def key_pressure(pitch: int, value: int, channel: int = 0) -> bytes:
    return bytes((0xA0 | channel, pitch, value))


def key(pitch: int, channel: int, velocity: int = 80) -> bytes:
    return bytes((0x90 | channel if velocity else 0x80 | channel, pitch, velocity))


def echoing(**settings: Any) -> Stage:
    """A stage that answers with the call itself, as `vary` does at distance 0."""
    stage = Stage(**settings)
    stage.up = 0
    stage.receive(START)
    return stage


def held(messages: list[bytes]) -> dict[bytes, bytes]:
    """What is not at rest after some messages."""
    stands = {midi.shape(data): data for data in messages if len(data) > 1 and midi.shape(data)}
    return {shape: data for shape, data in stands.items() if data != midi.at_rest(shape)}


WHEEL: Score = [
    (0, cc(1, 20)),
    (0, on(60)),
    (0, pressure(3)),
    (100, bend(9000)),
    (200, bend(10000)),
    (240, key_pressure(60, 55)),
    (300, cc(64, 50)),
    (310, b"\x80\x3c\x35"),
    (400, cc(64, 127)),
    (400, on(64)),
    (480, cc(11, 90)),
    (500, off(64)),
    (500, cc(67, 64)),
    (700, cc(64, 0)),
    (700, bend(8192)),
    (800, cc(74, 90)),
    (960, on(67)),
    (960, on(74)),
    (970, off(67)),
    (970, key_pressure(60, 0)),
    (1000, off(74)),
    (1001, cc(1, 0)),
    (1002, cc(11, 127)),
    (1003, cc(67, 0)),
    (1004, cc(74, 64)),
    (1005, pressure(0)),
]
MPE: Score = [
    # A unison, each with its own bend, and a pedal for the whole zone.
    (0, cc(64, 100, 0)),
    (5, bend(8192, 1)),
    (5, cc(74, 30, 1)),
    (5, pressure(0, 1)),
    (5, key(60, 1)),
    (5, pressure(60, 1)),
    (10, bend(9000, 2)),
    (10, cc(74, 90, 2)),
    (10, key(60, 2, 33)),
    (20, bend(8000, 1)),
    (30, bend(9100, 2)),
    (200, b"\x81\x3c\x40"),
    (205, bend(8192, 1)),
    (250, key(60, 2, 0)),
    (255, bend(8192, 2)),
    (255, cc(74, 64, 1)),
    (256, cc(74, 64, 2)),
    (300, pressure(0, 1)),
    (400, cc(64, 0, 0)),
]


@pytest.mark.parametrize("score", [WHEEL, MPE], ids=["wheel", "mpe"])
@pytest.mark.parametrize("offs", ["80", "90"])
def test_at_distance_0_every_message_comes_back_at_its_tick(score: Score, offs: str) -> None:
    stage = echoing()
    ends = [(tick, midi.note_off(data[0] & 0x0F, data[1]) if midi.is_note_off(data) else data) for tick, data in score]
    as_on = [(tick, bytes((data[0] | 0x10, data[1], 0)) if midi.is_note_off(data) else data) for tick, data in score]
    stage.until(2 * BAR, as_on if offs == "90" else score)
    assert stage.sent == at(BAR, ends if offs == "90" else score)
    stage.until(3 * BAR - 1)
    stage.receive(STOP)
    assert not held([data for _, data in stage.sent])


def test_keys_that_are_let_go_slowly_are_answered_so_and_go_through_so() -> None:
    stage = echoing(thru=True)
    score = [(0, on(60)), (100, b"\x80\x3c\x11"), (200, on(62)), (300, b"\x80\x3e\x40")]
    stage.until(2 * BAR, score)
    assert stage.sent == [*score, *at(BAR, score)]


def test_what_is_on_one_channel_is_answered_on_the_presets() -> None:
    stage = echoing(channel=5)
    stage.until(2 * BAR, [(tick, bytes((data[0] | 2,)) + data[1:]) for tick, data in WHEEL])
    assert stage.sent == at(BAR, [(tick, bytes((data[0] | 4,)) + data[1:]) for tick, data in WHEEL])


def test_drums_are_on_the_presets_channel_whatever_they_were_played_on() -> None:
    stage = echoing(channel=10, pitched=False)
    stage.until(2 * BAR, [(0, key(36, 0)), (10, key(36, 0, 0)), (960, key(38, 9)), (970, key(38, 9, 0))])
    assert [data for _, data in stage.sent] == [key(36, 9), key(36, 9, 0), key(38, 9), key(38, 9, 0)]


def test_what_is_new_has_nothing_of_the_call_though_a_note_is_in_both() -> None:
    stage = echoing(mode="continue")
    stage.until(2 * BAR, WHEEL)
    assert all(midi.is_note(data) for _, data in stage.sent)


def test_a_voice_of_an_mpe_zone_keeps_its_channel() -> None:
    stage = echoing(channel=5)
    zone = [cc(101, 0), cc(100, 6), cc(6, 15)]
    for message in zone:
        stage.receive(message)
    score = [(100, bend(9000, 3)), (100, key(60, 3)), (200, bend(8192, 3)), (300, key(60, 3, 0))]
    stage.until(2 * BAR, score)
    assert stage.sent == at(BAR, score)


def test_the_model_hears_how_long_notes_sound_and_nothing_of_the_hand() -> None:
    stage = echoing()
    stage.until(2 * BAR, WHEEL)
    assert [(n.onset, n.pitch, n.duration) for n in stage.jobs[0].loop.notes[:2]] == [(0, 60, 310), (400, 64, 300)]


def test_notes_alone_have_no_hand() -> None:
    stage = echoing()
    stage.until(2 * BAR, [(0, on(60)), (400, off(60)), (960, cc(7, 100)), (960, on(64)), (1850, off(64))])
    assert not stage.jobs[0].loop.hand


def test_a_control_that_is_bound_turns_its_knob_and_is_no_gesture() -> None:
    stage = echoing(bindings={0: (Binding("distance", 1),)})
    stage.until(2 * BAR, [(0, on(60)), (100, cc(1, 100)), (400, off(60))])
    assert not stage.jobs[0].loop.hand


@pytest.mark.parametrize("part_ticks", [1, 200])
@pytest.mark.parametrize("score", [WHEEL, MPE], ids=["wheel", "mpe"])
def test_an_answer_in_parts_has_its_gestures_as_well(score: Score, part_ticks: int) -> None:
    stage = echoing(cuts=(200, 480, 900), part_ticks=part_ticks)
    stage.until(2 * BAR - 1, score)
    if part_ticks == 1:
        assert stage.sent == at(BAR, score)
    struck = [(tick, data) for tick, data in stage.sent if midi.is_note_on(data)]
    assert struck == at(BAR, [(tick, data) for tick, data in score if midi.is_note_on(data)])
    stage.until(2 * BAR)
    assert held([data for _, data in stage.sent]) == {}


def test_an_answer_that_is_late_goes_on_from_where_things_stood() -> None:
    stage = echoing(bars=2, answer_ticks=400, draft_ticks=-1)
    score = [(0, on(60)), (10, bend(9000)), (20, cc(64, 99)), (2400, on(64)), (2600, bend(9500)), (3000, off(64))]
    stage.until(8 * BAR, score)
    begins = [(tick, data) for tick, data in stage.sent if tick < 3 * BAR + 1000]
    assert begins == [
        (3 * BAR, bend(9000)),
        (3 * BAR, cc(64, 99)),
        (3 * BAR + 480, on(64)),
        (3 * BAR + 680, bend(9500)),
    ]
    assert held([data for _, data in stage.sent]) == {}


def test_a_held_answer_is_played_so_in_every_round() -> None:
    stage = echoing(use="hold")
    stage.until(4 * BAR, MPE)
    assert stage.sent == [each for loop in (1, 2, 3) for each in at(loop * BAR, MPE)]


def test_where_the_wheels_stood_before_the_loop_comes_with_its_first_note() -> None:
    stage = echoing(use="follow")
    stage.until(20, [(0, on(60)), (10, off(60))])
    stage.until(2 * BAR, [(BAR - 200, cc(1, 77)), (BAR - 190, bend(9000)), (BAR + 200, on(62)), (BAR + 300, off(62))])
    stage.sent.clear()
    stage.until(3 * BAR)
    first = [data for tick, data in stage.sent if tick == 2 * BAR + 200]
    assert sorted(first[:-1]) == [cc(1, 77), bend(9000)]
    assert first[-1] == on(62)


def test_a_loop_that_ends_bent_is_back_at_its_end() -> None:
    stage = echoing()
    stage.until(3 * BAR, [(0, on(60)), (100, bend(16383)), (200, cc(64, 127)), (300, cc(1, 9)), (400, off(60))])
    rest = [data for tick, data in stage.sent if tick == 2 * BAR]
    assert sorted(rest) == [cc(1, 0), cc(64, 0), bend(8192)]


ENDS: dict[str, Event | bytes] = {
    "stop": STOP,
    "locate": b"\xf2\x40\x00",
    "start": START,
    "panic": Pressed("panic"),
    "mute": Pressed("mute"),
    "clear": Pressed("clear"),
    "unplugged": Plugged("out", 0, "synth", False),
    "silence": b"",
}


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("thru", [False, True])
def test_whatever_ends_an_answer_nothing_stays(how: str, thru: bool) -> None:
    stage = echoing(thru=thru)
    shaped_: Score = [
        (0, on(60)),
        (10, bend(16383)),
        (20, cc(64, 90)),
        (20, pressure(9)),
        (30, cc(1, 9)),
        (1000, off(60)),
    ]
    back: Score = [(1100, bend(8192)), (1100, cc(64, 0)), (1100, pressure(0)), (1100, cc(1, 0))]
    stage.until(BAR + 500, [*shaped_, *back])
    assert len(held([data for _, data in stage.sent])) == 4
    happens = ENDS[how]
    if isinstance(happens, bytes):
        if happens:
            stage.receive(happens)
        stage.until(BAR + 3000, clock=False)
    else:
        stage.step(stage.time(stage.tick), happens)
        if how == "unplugged":
            stage.step(stage.time(stage.tick), Plugged("out", 0, "synth", True))
    assert held([data for _, data in stage.sent]) == {}
    check(data for _, data in stage.sent)


def test_after_a_stop_that_was_none_the_bend_is_there_again() -> None:
    stage = echoing()
    stage.until(BAR + 960, [(0, on(60)), (10, bend(16383)), (400, off(60)), (1000, on(62)), (1800, off(62))])
    stage.receive(STOP)
    assert stage.sent[-1][1] == bend(8192)
    stage.receive(midi.to_song_position(8))
    stage.receive(b"\xfb")
    stage.until(2 * BAR - 1)
    assert [data for tick, data in stage.sent if tick > BAR + 960][:2] == [bend(16383), on(62)]


def test_after_mute_the_bend_is_there_again() -> None:
    stage = echoing()
    stage.until(BAR + 100, [(0, on(60)), (10, bend(16383)), (400, off(60)), (1000, on(62)), (1800, off(62))])
    stage.step(stage.time(stage.tick), Pressed("mute", down=True))
    stage.until(BAR + 500)
    stage.step(stage.time(stage.tick), Pressed("mute", down=False))
    stage.until(2 * BAR - 1)
    assert [data for tick, data in stage.sent if tick > BAR + 500][:2] == [bend(16383), on(62)]


def test_the_hand_has_what_it_holds_and_the_answer_has_it_again() -> None:
    ledger = Ledger()
    assert ledger.shape(bend(9000), thru=False) == [bend(9000)]
    assert ledger.shape(bend(7000), thru=True) == [bend(7000)]
    assert ledger.shape(bend(9500), thru=False) == []
    assert ledger.shape(bend(8192), thru=True) == [bend(9500)]
    assert ledger.release(thru=False) == [bend(8192)]


def test_a_pedal_that_the_hand_holds_stays_down_when_an_answer_ends() -> None:
    ledger = Ledger()
    ledger.shape(cc(64, 127), thru=True)
    assert ledger.shape(cc(64, 80), thru=False) == []
    assert ledger.release(thru=False) == []
    assert ledger.release(thru=True) == [cc(64, 0)]


def test_a_wheel_goes_back_to_where_the_hand_left_it() -> None:
    ledger = Ledger()
    ledger.shape(cc(1, 30), thru=True)
    assert ledger.shape(cc(1, 90), thru=False) == [cc(1, 90)]
    assert ledger.release(thru=False) == [cc(1, 30)]
    assert ledger.shape(cc(11, 90), thru=False) == [cc(11, 90)]
    assert ledger.release(thru=False) == [cc(11, 127)]


def test_reset_all_controllers_takes_the_hand_and_the_answer_to_rest() -> None:
    ledger = Ledger()
    ledger.shape(bend(9000), thru=True)
    ledger.reset(0)
    assert ledger.shape(bend(9500), thru=False) == [bend(9500)]


def test_transposition_takes_key_pressure_along_and_mute_leaves_all_out() -> None:
    stage = echoing()
    stage.step(stage.time(0), Turned("transpose", 12))
    stage.until(2 * BAR, [(0, on(60)), (10, key_pressure(60, 50)), (20, key_pressure(60, 0)), (400, off(60))])
    assert [data for _, data in stage.sent] == [on(72), key_pressure(72, 50), key_pressure(72, 0), off(72)]


def test_a_preset_on_another_channel_leaves_nothing_on_the_last() -> None:
    ledger = Ledger()
    player = Player(ledger, 2)
    hand = Hand((Moved(0, on(60)), Moved(10, bend(9000)), Moved(500, off(60))))
    loop = Loop(1000, (Note(0, 60, 500),), 1000, hand)
    player.replace(loop, 0, 0)
    sent = player.due(0.9, lambda tick: tick / 1000)
    player.channel = 4
    player.replace(loop, 1000, 1000)
    sent += player.due(3.0, lambda tick: tick / 1000)
    assert held(list(sent)) == {}
    assert bend(8192, 2) in sent


def test_swing_takes_gestures_along() -> None:
    loop = Loop(960, (Note(120, 60, 60),), 960, Hand((Moved(120, bend(9000)), Moved(120, on(60)), Moved(180, off(60)))))
    moved = swung(loop, 0.75)
    assert [(n.onset, n.duration) for n in moved.notes] == [(180, 30)]
    assert [each.tick for each in moved.hand.messages] == [180, 180, 210]


# ---- what is kept of it ---------------------------------------------------------------------------------------------


def played(score: Score, length: int = BAR) -> Loop:
    looper = Looper()
    looper.begin(0, length)
    for tick, message in score:
        looper.feed(tick, message)
    return looper.take(length, length)


def test_a_kept_note_has_its_curve_and_a_new_one_none() -> None:
    call = played([(0, on(60)), (50, bend(9000)), (200, off(60)), (960, on(64)), (970, bend(10000)), (1200, off(64))])
    answer = call.with_notes([call.notes[0], Note(600, 62, 100), Note(960, 65, 240)])
    assert shaped(answer, [call]).hand.messages == (
        (0, on(60)),
        (50, bend(9000)),
        (200, off(60)),
        (600, bend(8192)),
        (600, on(62)),
        (700, off(62)),
        (960, on(65)),
        (1200, off(65)),
    )


def test_a_kept_note_begins_with_what_was_set_before_it() -> None:
    call = played([(0, cc(11, 70)), (0, on(60)), (200, off(60)), (960, on(64)), (1200, off(64)), (1300, cc(11, 127))])
    answer = call.with_notes([call.notes[1]])
    assert shaped(answer, [call]).hand.messages == ((960, cc(11, 70)), (960, on(64)), (1200, off(64)))


def test_a_kept_note_is_as_long_as_its_pedal_held_it_and_no_pedal_holds_a_new_one() -> None:
    call = played([(0, cc(64, 90)), (10, on(60)), (60, off(60)), (70, on(72)), (80, off(72)), (400, cc(64, 0))])
    answer = call.with_notes([call.notes[0]])
    assert call.notes[0] == Note(10, 60, 390)
    assert shaped(answer, [call]) == answer
    soft = played([(0, cc(64, 90)), (0, cc(67, 9)), (10, on(60)), (60, off(60)), (70, on(72)), (400, cc(64, 0))])
    assert shaped(answer, [soft]).hand.messages == ((10, cc(67, 9)), (10, on(60)), (400, off(60)))


def test_a_key_that_is_struck_again_under_the_pedal_ends_there() -> None:
    score = [
        (0, cc(64, 127)),
        (0, cc(1, 9)),
        (0, on(60)),
        (50, off(60)),
        (100, on(60)),
        (400, cc(64, 0)),
        (600, off(60)),
    ]
    call = played([*score, (700, on(50)), (800, off(50))])
    hand = shaped(call.with_notes([n for n in call.notes if n.pitch == 60]), [call]).hand
    assert [each for each in hand.messages if midi.is_note(each[1])] == [
        (0, on(60)),
        (100, off(60)),
        (100, on(60)),
        (600, off(60)),
    ]


def test_a_unison_that_is_kept_is_kept_as_both_were_held_under_the_pedal_of_their_zone() -> None:
    call = played([*MPE, (900, key(70, 1)), (950, key(70, 1, 0))])
    answer = call.with_notes([n for n in call.notes if n.pitch == 60])
    messages = shaped(answer, [call]).hand.messages
    assert [each for each in messages if midi.is_note(each[1])] == [
        (5, key(60, 1)),
        (10, key(60, 2, 33)),
        (400, midi.note_off(1, 60, 0x40)),
        (400, key(60, 2, 0)),
    ]
    assert [each for each in messages if each[1][0] == 0xE2] == [
        (10, bend(9000, 2)),
        (30, bend(9100, 2)),
        (255, bend(8192, 2)),
    ]


def test_the_gate_acts_on_what_a_pedal_held() -> None:
    stage = echoing()
    stage.step(stage.time(0), Turned("gate", 0.5))
    stage.until(2 * BAR, [(0, cc(64, 127)), (100, on(60)), (200, off(60)), (900, cc(64, 0)), (901, bend(9000))])
    assert stage.notes == [(BAR + 100, 60, 400)]
    assert cc(64, 127) not in [data for _, data in stage.sent]


def test_a_note_that_was_moved_a_little_has_its_curve() -> None:
    call = played([(30, on(60)), (50, bend(9000)), (200, off(60))])
    answer = call.with_notes([replace(call.notes[0], onset=0)])
    assert [data for _, data in shaped(answer, [call]).hand.messages] == [on(60), bend(9000), off(60)]


def test_an_answer_that_keeps_nothing_has_no_hand() -> None:
    call = played(WHEEL)
    assert not shaped(call.with_notes([Note(0, 40, 100)]), [call]).hand
    assert not shaped(call.with_notes(()), [call]).hand


def test_new_notes_beside_mpe_are_on_channels_that_are_free() -> None:
    call = played([(0, bend(9000, 1)), (0, key(60, 1)), (10, key(64, 2)), (900, key(60, 1, 0)), (900, key(64, 2, 0))])
    answer = call.with_notes([call.notes[0], Note(10, 65, 800)])
    messages = shaped(answer, [call]).hand.messages
    assert (10, key(65, 2)) in messages
    assert (0, key(60, 1)) in messages


def test_a_blend_has_the_curves_of_both_ends() -> None:
    a = played([(0, on(60)), (50, bend(9000)), (200, off(60)), (220, bend(8192))])
    b = played([(960, on(64)), (970, bend(10000)), (1200, off(64))])
    answer = a.with_notes([*a.notes, *b.notes])
    assert [data for _, data in shaped(answer, [a, b]).hand.messages] == [
        on(60),
        bend(9000),
        off(60),
        bend(8192),
        on(64),
        bend(10000),
        off(64),
    ]


# ---- whatever is played ---------------------------------------------------------------------------------------------

_CHANNELS = st.integers(0, 3)
_MESSAGES = st.one_of(
    st.builds(key, st.integers(60, 63), _CHANNELS, st.sampled_from((0, 0, 33, 80))),
    st.builds(bend, st.sampled_from((0, 8192, 9000)), _CHANNELS),
    st.builds(pressure, st.sampled_from((0, 50)), _CHANNELS),
    st.builds(key_pressure, st.integers(60, 63), st.sampled_from((0, 50)), _CHANNELS),
    st.builds(cc, st.sampled_from((1, 11, 64, 66, 67, 69, 74)), st.sampled_from((0, 40, 64, 127)), _CHANNELS),
    st.builds(cc, st.sampled_from((120, 121, 123)), st.just(0), _CHANNELS),
)
_SCORES = st.lists(st.tuples(st.integers(0, 1900), _MESSAGES), max_size=60).map(lambda s: sorted(s, key=lambda e: e[0]))


@given(_SCORES, st.integers(0, 3), st.lists(st.integers(-12, 12), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_whatever_is_kept_every_note_ends_once_and_nothing_stays(score: Score, use: int, moves: list[int]) -> None:
    call = played(score)
    ups = [0, 0, *moves] if use else [0]
    notes = [replace(n, pitch=n.pitch + ups[i % len(ups)]) for i, n in enumerate(call.notes)]
    answer = shaped(call.with_notes(notes).monophonic_by_pitch(), [call])
    if not use:
        assert answer == call
    assert [(t, d) for t, d in answer.hand.messages] == sorted(answer.hand.messages, key=lambda each: each.tick)
    if answer.hand:
        assert {(s.onset, s.pitch) for s in answer.strokes()} == {(n.onset, n.pitch) for n in answer.notes}
    ledger = Ledger()
    player = Player(ledger, 5)
    sent: list[bytes] = []
    for loop in range(2):
        player.replace(answer, loop * BAR, loop * BAR)
        sent += player.due(((loop + 1) * BAR - 1) / 1000, lambda tick: tick / 1000)
        check(sent, ended=False)
    sent += player.due(2 * BAR / 1000, lambda tick: tick / 1000)
    assert player.next_tick() is None
    check(sent)
    assert held(sent) == {}


@given(_SCORES)
@settings(max_examples=100, deadline=None)
def test_whatever_is_played_on_one_channel_comes_back(score: Score) -> None:
    """But for ends of notes that do not sound, messages that end everything, and a key struck twice at once."""
    one = [(t, bytes((d[0] & 0xF0,)) + d[1:]) for t, d in score if not (d[0] & 0xF0 == 0xB0 and d[1] >= 120)]
    strikes = [(t, d[1]) for t, d in one if midi.is_note_on(d)]
    assume(len(set(strikes)) == len(strikes))
    assume(all(t < BAR - 120 for t, _ in strikes))  # one struck just before the bar line belongs to the next loop
    stage = echoing()
    stage.until(2 * BAR, one)
    answered = [(t - BAR, d) for t, d in stage.sent if t < 2 * BAR]
    if not any(midi.is_note_on(d) for _, d in one):
        assert answered == []
        return
    down: set[int] = set()
    expected: Score = []
    for tick, data in one:
        if midi.is_note_on(data):
            expected += [(tick, off(data[1]))] if data[1] in down else []
            down.add(data[1])
        elif midi.is_note(data):
            if data[1] not in down:
                continue
            down.discard(data[1])
        expected.append((tick, data))
    assert answered == expected or not stage.jobs[0].loop.hand


# ---- too much -------------------------------------------------------------------------------------------------------


def test_a_flood_is_thinned_and_its_end_is_there() -> None:
    score: Score = [(0, on(60))]
    score += [(i * BAR // 40_000, bend(i * 16383 // 40_000)) for i in range(40_000)]
    score += [(BAR - 1, off(60))]
    hand = played(score).hand
    assert len(hand.messages) <= MOST + 2
    bends = [(tick, data[1] | data[2] << 7) for tick, data in hand.messages if data[0] == 0xE0]
    assert len(bends) > MOST // 2
    assert bends[-1][1] > 16383 - 40
    assert max(abs(value - tick * 16383 / BAR) for tick, value in bends) < 40


def test_a_pedal_that_is_lifted_in_a_flood_is_lifted() -> None:
    looper = Looper()
    looper.begin(0, BAR)
    looper.feed(0, on(60))
    for i in range(20_000):
        looper.feed(i * BAR // 40_000, bend(i % 16384))
    for tick, value in ((1000, 127), (1000, 0), (1001, 127), (1900, 0)):
        looper.feed(tick, cc(64, value))
    hand = looper.take(BAR, BAR).hand
    assert [data[2] for _, data in hand.messages if data[:2] == b"\xb0\x40"] == [127, 0, 127, 0]


def test_a_loop_of_too_many_keys_is_answered_by_its_notes() -> None:
    score = [(i // 4, on(60) if i % 2 else off(60)) for i in range(3 * MOST)]
    assert not played([(0, cc(1, 3)), *score]).hand


def test_an_hour_of_gestures_without_a_loop_keeps_where_things_stand_only() -> None:
    looper = Looper()
    for i in range(20_000):
        looper.feed(i, bend(i % 16384, i % 16))
    looper.begin(20_000, BAR)
    looper.feed(20_000, key(60, 3))
    looper.feed(20_100, key(60, 3, 0))
    assert [data for _, data in looper.take(BAR, BAR).hand.messages][1:] == [key(60, 3), key(60, 3, 0)]


def test_used_to_hold_lets_nothing_of_an_answer_go_on() -> None:
    stage = echoing(use="follow")
    stage.until(BAR + 100, [(0, on(60)), (10, bend(16383)), (400, off(60))])
    stage.step(stage.time(stage.tick), Used("answer"))
    stage.until(4 * BAR)
    assert held([data for _, data in stage.sent]) == {}
