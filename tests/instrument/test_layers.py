"""Layers: what is overdubbed goes round until it is undone."""

from __future__ import annotations

import pytest

from rtgen.instrument.answers import Answers
from rtgen.instrument.events import Chosen, Pressed, Turned, Used
from rtgen.instrument.job import Job
from rtgen.instrument.layers import MOST, Layers
from rtgen.instrument.notices import KeepAnswer, Layered
from rtgen.instrument.player import Ledger, Player, Voice
from rtgen.instrument.preset import Use
from rtgen.music.note import Loop, Note
from tests.instrument.stage import BAR, CONTINUE, STOP, Stage, at, off, on, started


def bar(pitch: int, beat: int) -> list[tuple[int, bytes]]:
    """A note on a beat of a bar."""
    return [(beat * 480, on(pitch)), (beat * 480 + 240, off(pitch))]


def press(stage: Stage, button: str, down: bool | None = None) -> None:
    stage.step(stage.time(stage.tick), Pressed(button, down))


def struck(stage: Stage, index: int) -> list[tuple[int, int]]:
    """The notes that were sent in a bar: beat, pitch."""
    low, high = index * BAR - 10, (index + 1) * BAR - 10
    return sorted((round((t - index * BAR) / 480), p) for t, p, _ in stage.notes if low <= t < high)


def layered(use: Use = "follow", **settings: object) -> Stage:
    """Bar 0: a call. Bar 1: its answer goes round, and another note is overdubbed. From bar 2 on both sound."""
    stage = started(use=use, **settings)
    stage.until(BAR, bar(60, 0))
    stage.until(BAR + 100)
    press(stage, "overdub")
    stage.until(2 * BAR, at(BAR, bar(64, 1)))
    return stage


def channels_from(stage: Stage, tick: int) -> dict[int, int]:
    """The channel (0-15) that each pitch was struck on last, from a tick on."""
    return {data[1]: data[0] & 0x0F for t, data in stage.sent if data[0] & 0xF0 == 0x90 and t >= tick}


@pytest.mark.parametrize("use", ["answer", "follow", "hold"])
def test_what_is_overdubbed_goes_round_with_what_was_there(use: Use) -> None:
    stage = layered(use)
    stage.until(5 * BAR)
    assert [struck(stage, i) for i in range(1, 5)] == [[(0, 72)], *[[(0, 72), (1, 76)]] * 3]
    assert stage.session.layers == 2
    assert stage.session.turn == "yours"


@pytest.mark.parametrize("use", ["answer", "follow", "hold"])
def test_layers_go_on_when_overdubbing_ends_and_what_is_played_then_is_no_layer(use: Use) -> None:
    stage = layered(use)
    stage.until(2 * BAR + 960)
    press(stage, "overdub")
    stage.until(3 * BAR, at(2 * BAR, bar(67, 3)))
    assert not stage.session.overdubs
    stage.until(6 * BAR)
    assert [struck(stage, i) for i in range(2, 6)] == [[(0, 72), (1, 76)]] * 4
    assert stage.session.layers == 2
    assert stage.session.present is None


def test_what_was_played_before_overdubbing_ended_is_the_last_layer() -> None:
    stage = layered()
    stage.until(2 * BAR + 1000, at(2 * BAR, bar(67, 1)))
    press(stage, "overdub")
    stage.until(6 * BAR)
    assert struck(stage, 3) == struck(stage, 5) == [(0, 72), (1, 76), (1, 79)]
    assert stage.session.layers == 3


def test_answers_come_and_go_over_layers() -> None:
    stage = layered("answer")
    stage.until(2 * BAR + 960)
    press(stage, "overdub")
    stage.until(3 * BAR)
    stage.until(4 * BAR, at(3 * BAR, bar(50, 2)))
    stage.until(7 * BAR)
    both = [(0, 72), (1, 76)]
    assert [struck(stage, i) for i in range(3, 7)] == [both, [*both, (2, 62)], both, both]


def test_a_held_loop_is_not_replaced_by_what_is_played_over_layers() -> None:
    stage = layered("hold")
    stage.until(2 * BAR + 960)
    press(stage, "overdub")
    stage.until(4 * BAR, at(3 * BAR, bar(50, 2)))
    stage.until(6 * BAR)
    assert struck(stage, 5) == [(0, 72), (1, 76)]


def test_the_newest_layer_is_undone_from_the_next_beat_on_and_the_one_below_can_be_changed_again() -> None:
    stage = layered()
    stage.until(3 * BAR + 100)
    press(stage, "undo")
    assert stage.notices[-1] == Layered(True, 1, "layer")
    stage.until(5 * BAR)
    assert [struck(stage, i) for i in (3, 4)] == [[(0, 72)]] * 2
    assert stage.session.layers == 1
    press(stage, "undo")
    stage.until(7 * BAR)
    assert struck(stage, 6) == []
    press(stage, "undo")
    assert stage.notices[-1] == Layered(True, 0, "nothing")


def test_undo_takes_away_what_is_being_played_first() -> None:
    stage = layered()
    stage.until(2 * BAR + 1000, at(2 * BAR, bar(67, 1)))
    press(stage, "undo")
    assert stage.notices[-1] == Layered(True, 2, "pass")
    stage.until(5 * BAR)
    assert struck(stage, 4) == [(0, 72), (1, 76)]


def test_layers_are_undone_when_overdubbing_has_ended_too() -> None:
    stage = layered()
    press(stage, "overdub", False)
    stage.until(4 * BAR + 100)
    press(stage, "undo")
    stage.until(6 * BAR)
    assert struck(stage, 5) == [(0, 72)]
    press(stage, "undo")
    stage.until(8 * BAR)
    assert struck(stage, 7) == []


def test_a_note_that_sounds_goes_on_when_the_layer_above_is_undone() -> None:
    stage = started(use="follow")
    stage.until(BAR, [(0, on(60)), (1900, off(60))])
    press(stage, "overdub")
    stage.until(2 * BAR, at(BAR, bar(64, 1)))
    stage.until(3 * BAR + 100)
    press(stage, "undo")
    stage.until(4 * BAR)
    assert (3 * BAR, 72, 1900) in stage.notes


def test_what_does_not_sound_when_overdubbing_begins_is_no_layer() -> None:
    stage = started(use="answer")
    stage.until(BAR, bar(60, 0))
    stage.until(2 * BAR + 10)  # it was answered, and it is the player's turn again
    press(stage, "overdub")
    stage.until(3 * BAR, at(2 * BAR, bar(64, 1)))
    stage.until(5 * BAR)
    assert struck(stage, 4) == [(1, 76)]


def test_a_layer_goes_round_as_often_as_it_fits_a_longer_loop_and_on_under_shorter_ones() -> None:
    stage = layered()
    preset = stage.session.preset
    stage.step(stage.time(stage.tick), Chosen(preset.changed(bars=2)))
    stage.until(8 * BAR)
    assert [struck(stage, i) for i in range(4, 8)] == [[(0, 72), (1, 76)]] * 4
    long = started(use="follow", bars=2)
    long.until(2 * BAR, [*bar(60, 0), *at(BAR, bar(62, 0))])
    press(long, "overdub")
    long.until(4 * BAR + 100)
    press(long, "overdub")
    long.step(long.time(long.tick), Chosen(long.session.preset.changed(bars=1)))
    long.until(10 * BAR)
    assert [struck(long, i) for i in range(6, 10)] == [[(0, 72)], [(0, 74)]] * 2


def test_a_long_note_of_a_long_layer_is_not_cut_by_shorter_loops() -> None:
    stage = started(use="follow", bars=2)
    stage.until(2 * BAR, [(960, on(60)), (3000, off(60))])
    press(stage, "overdub")
    stage.until(2 * BAR + 100)
    press(stage, "overdub")
    stage.step(stage.time(stage.tick), Chosen(stage.session.preset.changed(bars=1)))
    stage.until(8 * BAR)
    assert (4 * BAR + 960, 72, 2040) in stage.notes
    assert (6 * BAR + 960, 72, 2040) in stage.notes


def test_another_preset_makes_the_next_layer_and_leaves_those_before_as_they_are() -> None:
    stage = layered()
    other = stage.session.preset.changed(transpose=3, channel=5)
    stage.step(stage.time(stage.tick), Chosen(other))
    stage.until(4 * BAR, at(3 * BAR, bar(60, 2)))
    stage.until(6 * BAR)
    assert struck(stage, 5) == [(0, 72), (1, 76), (2, 75)]
    assert channels_from(stage, 4 * BAR + 1) == {72: 0, 76: 0, 75: 4}


def test_knobs_change_the_newest_layer_alone() -> None:
    stage = layered()
    stage.until(2 * BAR + 200)
    stage.step(stage.time(stage.tick), Turned("transpose", 5))
    stage.until(4 * BAR)
    assert struck(stage, 3) == [(0, 72), (1, 81)]


@pytest.mark.parametrize("use", ["answer", "hold"])
def test_another_answer_takes_the_place_of_the_newest_layer_alone(use: Use) -> None:
    stage = layered(use)
    stage.until(2 * BAR + 200)
    stage.up = 19
    press(stage, "regenerate")
    stage.until(4 * BAR)
    assert struck(stage, 3) == [(0, 72), (1, 83)]
    press(stage, "regenerate")
    stage.until(5 * BAR - 100)
    press(stage, "regenerate")  # too late for this round
    stage.until(6 * BAR)
    assert struck(stage, 5) == [(0, 72), (1, 83)]
    assert stage.session.layers == 2


def test_each_layer_has_a_channel_of_its_own_if_that_is_wanted() -> None:
    stage = layered(spread=1, channel=9)
    stage.until(3 * BAR, at(2 * BAR, bar(67, 2)))
    stage.until(4 * BAR)
    assert channels_from(stage, 3 * BAR) == {72: 8, 76: 10, 79: 11}  # not that of drums
    press(stage, "undo")
    stage.until(5 * BAR, at(4 * BAR, bar(69, 3)))
    stage.until(6 * BAR)
    assert channels_from(stage, 5 * BAR) == {72: 8, 76: 10, 81: 11}


def test_answers_over_layers_are_on_the_channel_of_the_preset_again() -> None:
    stage = layered(spread=1)
    stage.until(2 * BAR + 100)
    press(stage, "overdub")
    stage.until(4 * BAR, at(3 * BAR, bar(50, 2)))
    stage.until(5 * BAR)
    assert channels_from(stage, 4 * BAR) == {72: 0, 76: 1, 62: 0}


def test_what_is_scheduled_stays_on_its_channel_when_what_comes_gets_another() -> None:
    player = Player(Ledger(), 0)
    player.replace(Loop(BAR, (Note(100, 60, 10),)), 0, 0)
    player.move(5)
    player.replace(Loop(BAR, (Note(0, 62, 10),)), BAR, BAR)
    sent = [*player.due(100.0, float), *player.due(float(BAR), float)]
    begun = [(data[1], data[0] & 0x0F) for data in sent if data[0] & 0xF0 == 0x90]
    assert begun == [(60, 0), (62, 5)]


BENT = [
    (0, on(60)),
    (100, bytes((0xE0, 0, 80))),
    (200, bytes((0xB0, 64, 127))),
    (240, off(60)),
    (900, bytes((0xB0, 64, 0))),
    (950, bytes((0xE0, 0, 64))),
]


def test_a_layer_at_distance_0_comes_back_message_for_message() -> None:
    stage = Stage(use="follow", spread=1)
    stage.up = 0
    stage.receive(b"\xfa")
    stage.until(BAR, BENT)
    press(stage, "overdub")
    stage.until(2 * BAR, at(BAR, bar(72, 2)))
    stage.until(5 * BAR)
    for index in (2, 3, 4):
        own = [(t - index * BAR, d) for t, d in stage.sent if index * BAR <= t < index * BAR + BAR and not d[0] & 0x0F]
        assert own == BENT


def test_a_pedal_holds_the_notes_of_its_own_layer_only() -> None:
    stage = Stage(use="follow")
    stage.up = 0
    stage.receive(b"\xfa")
    stage.until(BAR, BENT)
    press(stage, "overdub")
    stage.until(2 * BAR, at(BAR, bar(72, 0)))
    stage.until(4 * BAR)
    third = [(t, d) for t, d in stage.sent if 3 * BAR <= t < 4 * BAR]
    assert not [d for _, d in third if d[:2] == bytes((0xB0, 64))]
    assert (3 * BAR, 60, 900) in stage.notes  # as long as its pedal held it
    assert (3 * BAR, 72, 240) in stage.notes


def test_layers_end_with_the_song_and_go_on_with_it() -> None:
    stage = layered()
    stage.until(3 * BAR + 100)
    stage.receive(STOP)
    begun = sum(data[0] & 0xF0 == 0x90 for _, data in stage.sent)
    assert begun == sum(data[0] & 0xF0 == 0x80 for _, data in stage.sent)
    stage.until(3 * BAR + 5000, clock=False)
    stage.sent.clear()
    stage.receive(CONTINUE)
    stage.until(stage.tick + 3 * BAR)
    assert {data[1] for _, data in stage.sent if data[0] & 0xF0 == 0x90} == {72, 76}


def test_clear_takes_all_away() -> None:
    stage = layered()
    stage.until(3 * BAR + 100)
    press(stage, "clear")
    stage.sent.clear()
    stage.until(6 * BAR)
    assert not [d for _, d in stage.sent if d[0] & 0xF0 == 0x90]
    assert stage.session.layers == 0
    assert not stage.session.overdubs


def test_late_answers_are_layers_as_well() -> None:
    stage = layered(answer_ticks=400, draft_ticks=-1)
    stage.until(6 * BAR)
    assert struck(stage, 5) == [(0, 72), (1, 76)]
    assert stage.session.layers == 2


def test_a_draft_that_played_is_no_layer_of_its_own() -> None:
    stage = layered(answer_ticks=400)
    stage.until(6 * BAR)
    assert struck(stage, 5) == [(0, 72), (1, 76)]
    assert stage.session.layers == 2


def test_the_layers_are_kept_each_as_a_clip() -> None:
    stage = layered()
    stage.until(2 * BAR + 100)
    press(stage, "keep_all")
    kept = [each for each in stage.requests if isinstance(each, KeepAnswer)]
    assert [[n.pitch for n in each.loop.notes] for each in kept if each.loop is not None] == [[72], [76]]
    press(stage, "overdub")
    stage.until(4 * BAR)
    stage.requests.clear()
    press(stage, "keep")
    (last,) = stage.requests
    assert isinstance(last, KeepAnswer)
    assert last.loop is not None
    assert [n.pitch for n in last.loop.notes] == [76]


def test_back_does_not_bring_a_layer_twice() -> None:
    stage = layered()
    stage.until(3 * BAR + 100)
    press(stage, "back")
    stage.until(5 * BAR)
    assert struck(stage, 4) == [(0, 72), (1, 76)]


def test_overdubbing_can_begin_in_silence() -> None:
    stage = started(use="answer")
    press(stage, "overdub")
    stage.step(stage.time(stage.tick), Used("answer"))
    stage.until(BAR, bar(60, 0))
    stage.until(4 * BAR, at(BAR, bar(62, 1)))
    assert struck(stage, 3) == [(0, 72), (1, 74)]


def test_there_are_so_many_layers_and_no_more() -> None:
    answers = Answers()
    layers = Layers(answers)
    layers.press(True, heard=True)
    for i in range(MOST + 3):
        loop = Loop(BAR, (Note(0, i, 10),))
        answers.play(loop, Job(loop, "vary", 0, 0, 0))
        layers.lay(Voice())
    assert len(list(layers)) == MOST
    assert layers.top == Loop(BAR, (Note(0, MOST + 2, 10),))


def test_no_channel_is_free_when_all_are_taken() -> None:
    answers = Answers()
    layers = Layers(answers)
    for channel in range(16):
        loop = Loop(BAR, (Note(0, 60, 10),))
        answers.play(loop, Job(loop, "vary", 0, 0, 0))
        layers.lay(Voice(channel))
        assert layers.free(channel) != channel or channel == 15
    assert layers.free(3) == 3
