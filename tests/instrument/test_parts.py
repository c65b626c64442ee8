"""An answer may come in parts, each before it is due."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.instrument.events import Pressed, Turned
from rtgen.instrument.job import Answer
from rtgen.instrument.notices import Answered, KeepAnswer
from rtgen.instrument.player import Ledger, Player
from rtgen.music.midi import to_song_position
from rtgen.music.note import Loop, Note
from tests.instrument.stage import BAR, CALL, CONTINUE, HEARD, START, STOP, at, divided, moved, off, on, started

BEAT = BAR // 4


def scores() -> st.SearchStrategy[list[tuple[int, bytes]]]:
    """Notes that are struck somewhere in four bars, some again while they sound."""
    notes = st.tuples(st.integers(0, 4 * BAR // 20), st.integers(60, 64), st.integers(1, 60))
    return st.lists(notes, max_size=16).map(
        lambda found: sorted(
            (e for tick, pitch, lasts in found for e in ((20 * tick, on(pitch)), (20 * (tick + lasts), off(pitch)))),
            key=lambda e: e[0],
        )
    )


@given(
    scores(),
    st.lists(st.integers(1, BAR - 1), max_size=6, unique=True).map(sorted),
    st.sampled_from(["answer", "follow"]),
    st.sampled_from([0.5, 0.62, 0.75]),
    st.sampled_from([0.3, 1.0, 1.7]),
)
def test_the_same_is_sent_however_an_answer_is_cut(
    score: list[tuple[int, bytes]], cuts: list[int], use: str, swing: float, gate: float
) -> None:
    # All parts are there before the boundary.
    whole, parts = (started(use=use, answer_ticks=0, part_ticks=0, cuts=where) for where in ((), cuts))
    for stage in whole, parts:
        for name, value in (("swing", swing), ("gate", gate)):
            stage.step(stage.time(0), Turned(name, value))
        stage.until(6 * BAR, score)
    assert parts.sent == whole.sent
    assert parts.session.present == whole.session.present
    assert parts.whats() == whole.whats()


def test_each_part_need_only_be_there_before_it_is_due() -> None:
    # The last part comes a beat after the first, and a beat before it sounds.
    stage = started(cuts=[BEAT], part_ticks=BEAT)
    stage.until(2 * BAR, CALL)
    assert stage.notes == moved(BAR, HEARD)
    assert ("answer", 1) in stage.whats()


def test_what_a_late_part_should_have_brought_is_a_rest_and_the_rest_is_in_time() -> None:
    stage = started(bars=2, cuts=[BEAT], part_ticks=3 * BEAT)
    stage.until(4 * BAR, [*CALL, *at(BAR, CALL)])
    first, _, third, fourth = [*moved(2 * BAR, HEARD), *moved(3 * BAR, HEARD)]
    assert stage.notes == [first, third, fourth]
    assert stage.session.present is not None
    assert len(stage.session.present) == 4


def test_the_answer_is_told_once_and_whole_with_the_time_of_its_first_part() -> None:
    stage = started(cuts=[BEAT], part_ticks=BEAT)
    stage.until(2 * BAR, CALL)
    (answered,) = [n for n in stage.notices if isinstance(n, Answered)]
    assert [(n.onset, n.pitch, n.duration) for n in answered.loop.notes] == HEARD
    assert answered.seconds == pytest.approx(5 * 60 / 120 / 480)


def test_what_comes_after_a_break_does_not_play_but_belongs_to_the_answer() -> None:
    stage = started(cuts=[BEAT], part_ticks=BEAT)
    stage.until(BAR + 100, CALL)
    stage.receive(STOP)
    stage.until(BAR + BEAT - 1, clock=False)
    stage.receive(START)
    stage.until(3 * BAR, clock=False)
    assert [pitch for _, pitch, _ in stage.notes] == [72]
    assert stage.session.present is not None
    assert [n.pitch for n in stage.session.present.notes] == [72, 76]


def test_a_part_that_comes_while_a_sequencer_goes_round_is_played() -> None:
    stage = started(cuts=[BEAT], part_ticks=BEAT)
    stage.until(BAR + 240, CALL)
    stage.receive(STOP)
    stage.until(BAR + BEAT, clock=False)
    stage.receive(to_song_position(2))
    stage.receive(CONTINUE)
    stage.until(2 * BAR + 240)
    assert [pitch for _, pitch, _ in stage.notes] == [72, 76]


@pytest.mark.parametrize("button", ["clear", "back"])
def test_no_part_is_added_to_something_else(button: str) -> None:
    stage = started(use="follow", cuts=[BEAT], part_ticks=BEAT)
    stage.until(2 * BAR - 200, [*CALL, *at(BAR, [(0, on(50)), (100, off(50)), (960, on(52)), (1000, off(52))])])
    before = stage.session.present
    stage.until(2 * BAR + 10)
    assert stage.session.present != before
    stage.step(stage.time(stage.tick), Pressed(button))  # type: ignore[arg-type]
    now = stage.session.present
    assert now == (before if button == "back" else None)
    stage.until(2 * BAR + 2 * BEAT)
    assert stage.session.present == now


def test_an_answer_made_anew_replaces_one_of_which_parts_are_still_to_come() -> None:
    stage = started(use="follow", cuts=[BEAT], part_ticks=2 * BEAT)
    stage.until(BAR + 10, CALL)
    stage.cuts = []
    stage.step(stage.time(stage.tick), Pressed("regenerate"))
    stage.until(BAR + 100)
    present = stage.session.present
    assert present is not None
    assert len(present) == 2
    stage.until(2 * BAR - 200)
    assert stage.session.present == present
    stage.until(2 * BAR)
    assert stage.notes == moved(BAR, HEARD)


def test_an_answer_made_anew_says_from_where_on_it_plays() -> None:
    stage = started(use="follow")
    stage.until(BAR + 10, CALL)
    stage.step(stage.time(stage.tick), Pressed("regenerate"))
    first, again = stage.jobs
    assert (first.since, again.since) == (0, BEAT)
    assert again.target == first.target + again.since


def test_a_late_answer_in_parts_begins_at_the_next_bar() -> None:
    stage = started(bars=2, answer_ticks=100, draft_ticks=-1, cuts=[BEAT, BAR + BEAT], part_ticks=5)
    stage.until(4 * BAR, [*CALL, *at(BAR, CALL)])
    assert stage.notes == moved(3 * BAR, HEARD)
    assert ("late", 1) in stage.whats()


def test_a_part_that_follows_nothing_is_ignored() -> None:
    stage = started()
    stage.until(BAR + 10, CALL)
    present = stage.session.present
    stray = Loop(BAR, (Note(1000, 40, 100),))
    for part in "next", "last":
        stage.step(stage.time(stage.tick), Answer(stray, BAR, 1, part=part))  # type: ignore[arg-type]
    assert stage.session.present == present
    stage.until(2 * BAR)
    assert stage.notes == moved(BAR, HEARD)


def lasting(player: Player, until: int) -> list[tuple[int, bytes]]:
    """Everything that is sent, with its tick."""
    return [(tick, bytes(message)) for tick in range(until) for message in player.due(float(tick), float)]


def test_a_note_ends_sooner_if_a_later_part_strikes_its_pitch_again() -> None:
    player = Player(Ledger())
    before = Loop(400, (Note(0, 60, 300),))
    whole = Loop(400, (Note(0, 60, 300), Note(200, 60, 50))).monophonic_by_pitch()
    player.replace(before, 0, 0)
    sent = [(0, bytes(m)) for m in player.due(0.0, float)]
    player.extend(before, whole)
    other = Player(Ledger())
    other.replace(whole, 0, 0)
    assert sent + lasting(player, 400) == lasting(other, 400)


@pytest.mark.parametrize("cuts", [[], [BEAT, 3 * BEAT]])
def test_a_held_answer_repeats_whole(cuts: list[int]) -> None:
    stage = started(use="follow", cuts=cuts, part_ticks=BEAT // 4)
    stage.until(BAR + 10, CALL)
    stage.step(stage.time(stage.tick), Pressed("freeze"))
    stage.until(4 * BAR)
    assert stage.notes == [n for bar in (1, 2, 3) for n in moved(bar * BAR, HEARD)]


def test_nothing_that_comes_after_a_panic_plays() -> None:
    stage = started(cuts=[BEAT], part_ticks=BEAT)
    stage.until(BAR + 100, CALL)
    stage.step(stage.time(stage.tick), Pressed("panic"))
    stage.until(2 * BAR)
    assert [pitch for _, pitch, _ in stage.notes] == [72]
    assert stage.session.present is not None
    assert len(stage.session.present) == 2


@pytest.mark.parametrize("cuts", [[], [BEAT]])
def test_an_answer_that_comes_after_its_loop_is_repeated_whole(cuts: list[int]) -> None:
    # Its last part comes when the first is being repeated.
    stage = started(use="follow", answer_ticks=150, draft_ticks=-1, cuts=cuts, part_ticks=BAR - 100)
    stage.until(BAR + 10, CALL)
    stage.step(stage.time(stage.tick), Pressed("freeze"))
    stage.until(4 * BAR)
    assert stage.notes == [n for bar in (2, 3) for n in moved(bar * BAR, HEARD)]


@pytest.mark.parametrize("quantise", [0.0, 1.0])
def test_nothing_is_lost_if_swing_is_turned_while_parts_are_to_come(quantise: float) -> None:
    stage = started(bars=2, use="follow", cuts=[BEAT, 3 * BEAT], part_ticks=300)
    stage.step(stage.time(0), Turned("quantise", quantise))
    struck = [(tick, on(60 + tick // 120)) for tick in range(0, 2 * BAR, 240)]
    stage.until(2 * BAR + 10, sorted([*struck, *((tick + 100, off(data[1])) for tick, data in struck)]))
    stage.step(stage.time(stage.tick), Turned("swing", 0.75))
    stage.until(4 * BAR - 80)
    # The last part is there after 600 ticks.
    straight = BAR if quantise else 2 * BEAT
    swings = [d for tick, _, d in stage.notes if tick >= 2 * BAR + straight]
    assert [pitch for _, pitch, _ in stage.notes] == [72 + data[1] - 60 for _, data in struck]
    assert {d for tick, _, d in stage.notes if tick < 2 * BAR + straight} == {100}
    assert set(swings) == {150}


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_answer_that_nobody_waits_for_does_not_cut_off_the_one_that_comes(epoch: int) -> None:
    # Of a model that was exchanged, whose process finishes what it was asked for.
    stage = started(cuts=[BEAT], part_ticks=BEAT)
    stage.until(BAR + 10, CALL)
    stage.step(stage.time(stage.tick), Answer(Loop(BAR, (Note(0, 40, 100),)), BAR // 2, epoch))
    stage.until(2 * BAR)
    assert stage.notes == moved(BAR, HEARD)


@pytest.mark.parametrize("cuts", [[], [BEAT, BAR]])
def test_a_note_of_the_draft_goes_on_if_a_later_part_has_it_too(cuts: list[int]) -> None:
    score = [
        (0, on(60)),
        (100, off(60)),
        (900, on(62)),
        (BAR + 900, off(62)),
        (BAR + 1000, on(64)),
        (BAR + 1200, off(64)),
    ]
    stage = started(bars=2, answer_ticks=1200, cuts=cuts, part_ticks=20)
    stage.until(4 * BAR, score)
    assert ("late", 1) in stage.whats()
    assert stage.notes[1:] == [(2 * BAR + 900, 74, BAR), (3 * BAR + 1000, 76, 200)]


@pytest.mark.parametrize("cuts", [[], [BEAT, 2 * BEAT]])
def test_of_two_answers_made_anew_at_once_each_is_taken_for_itself(cuts: list[int]) -> None:
    stage = started(use="follow", answer_ticks=-1, draft_ticks=5)
    stage.until(BAR + 10, CALL)
    for _ in range(2):
        stage.step(stage.time(stage.tick), Pressed("regenerate"))
    _, first, second = stage.jobs
    assert (first.target, second.target) == (BAR + BEAT, BAR + 2 * BEAT)
    for job, pitch in ((first, 50), (second, 51)):
        loop = Loop(BAR, tuple(Note(tick, pitch, 100) for tick in range(0, BAR, 240)))
        for part in divided(Answer(loop, job.target, job.epoch), cuts):
            stage.step(stage.time(stage.tick), part)
    assert {n.pitch for n in stage.session.present.notes} == {51}  # type: ignore[union-attr]
    stage.until(2 * BAR)
    struck = {pitch: [tick for tick, found, _ in stage.notes if found == pitch] for pitch in (50, 51)}
    assert struck == {50: [BAR + BEAT, BAR + BEAT + 240], 51: [*range(BAR + 2 * BEAT, 2 * BAR, 240)]}


@pytest.mark.parametrize(("button", "kept"), [(None, 2), ("clear", 1), ("back", 1)])
def test_an_answer_is_kept_whole_or_as_far_as_it_came(button: Literal["clear", "back"] | None, kept: int) -> None:
    stage = started(use="follow", cuts=[BEAT], part_ticks=BEAT)
    stage.until(2 * BAR + 10, [*CALL, *at(BAR, CALL)])
    stage.step(stage.time(stage.tick), Pressed("keep"))
    assert stage.requests == []
    if button is not None:
        stage.step(stage.time(stage.tick), Pressed(button))
    stage.until(3 * BAR - 200)
    (request,) = stage.requests
    assert isinstance(request, KeepAnswer)
    assert request.loop is not None
    assert len(request.loop) == kept


def test_an_answer_whose_process_has_died_is_kept_as_far_as_it_came() -> None:
    stage = started(use="follow", cuts=[BEAT], part_ticks=1_000_000)
    stage.until(BAR + 10, CALL)
    stage.step(stage.time(stage.tick), Pressed("keep"))
    stage.until(4 * BAR)
    (request,) = stage.requests
    assert isinstance(request, KeepAnswer)
    assert request.loop is not None
    assert len(request.loop) == 1
