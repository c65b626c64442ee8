"""Drafts: a little before a loop goes to the model it is asked for an answer to what has been played so far."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.instrument.events import Chosen, Pressed, Turned, Warmed
from rtgen.instrument.job import Answer, Job
from rtgen.instrument.lead import Lead
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop, Note
from tests.instrument.stage import BAR, CALL, CONTINUE, HEARD, START, STOP, TICK_S, Stage, at, moved, off, on, started

LAST = [(BAR - 29, on(67)), (BAR - 9, off(67))]
"""Played 30 ms before the boundary."""
LATE = 100


def test_a_draft_is_of_what_has_been_played_so_far_and_asked_for_before_the_answer() -> None:
    stage = started()
    stage.until(2 * BAR, [*CALL, *LAST])
    ((tick, draft),), (job,) = stage.drafts, stage.jobs
    assert BAR - tick >= round((0.1 + stage.session.lead.seconds) / TICK_S)
    assert [n.pitch for n in draft.loop.notes] == [60, 64]
    assert [n.pitch for n in job.loop.notes] == [60, 64, 67]
    assert replace(draft, loop=job.loop, draft=False) == job


def test_a_note_that_is_held_when_the_draft_is_asked_for_is_in_it_to_the_end_of_the_loop() -> None:
    stage = started()
    stage.until(2 * BAR, [(BAR - 960, on(64)), (BAR + 100, off(64))])
    assert stage.drafts[0][1].loop.notes == (Note(BAR - 960, 64, 960, 80),)


@given(
    st.sets(st.integers(0, 4 * BAR // 20), max_size=12), st.sampled_from(["answer", "follow"]), st.sampled_from([-1, 3])
)
def test_no_note_of_an_answer_that_is_in_time_depends_on_its_draft(
    onsets: set[int], use: str, draft_ticks: int
) -> None:
    score = [e for t in onsets for e in ((20 * t, on(60 + t % 5)), (20 * t + 15, off(60 + t % 5)))]
    stage, other = started(use=use, draft_ticks=draft_ticks), started(use=use, draft_ticks=8)
    for each in stage, other:
        each.until(6 * BAR, score)
    assert stage.sent == other.sent
    assert stage.jobs == other.jobs
    assert stage.whats() == other.whats()


def test_a_draft_plays_if_the_answer_is_late_and_the_answer_from_the_next_bar_on() -> None:
    stage = started(bars=2, answer_ticks=LATE)
    stage.until(4 * BAR + 1, [*CALL, *at(BAR, [*CALL, *LAST])])
    late_start = [(2 * BAR + 10, 72, 390), (2 * BAR + 960, 76, 890)]
    assert stage.notes == [*late_start, *moved(3 * BAR, [*HEARD, (BAR - 29, 79, 29)])]
    assert [what for what in stage.whats() if what[0] != "rolling"] == [("call", 0), ("draft", 1), ("late", 1)]


def test_back_goes_to_the_answer_before_and_not_to_the_draft_of_the_present_one() -> None:
    stage = started()
    stage.until(2 * BAR, CALL)
    first = stage.session.present
    stage.answer_ticks = LATE
    stage.until(3 * BAR + 2 * LATE, at(2 * BAR, [(0, on(50)), (100, off(50))]))
    assert stage.whats()[-2:] == [("draft", 3), ("missed", 3)]
    stage.step(stage.time(stage.tick), Pressed("back"))
    assert stage.session.present == first


def test_a_draft_that_is_late_as_well_does_not_play() -> None:
    stage = started(bars=2, answer_ticks=LATE, draft_ticks=400)
    stage.until(4 * BAR, CALL)
    assert stage.notes == []
    assert "draft" not in dict(stage.whats())


def test_a_draft_of_before_a_stop_does_not_play_after_it() -> None:
    stage = started(answer_ticks=BAR + 200, draft_ticks=60)
    stage.until(BAR - 100, CALL)
    assert stage.drafts
    stage.receive(STOP)
    stage.receive(CONTINUE)
    stage.until(3 * BAR)
    assert stage.notes == []


def test_a_silent_loop_asks_for_nothing() -> None:
    stage = started()
    stage.until(8 * BAR)
    assert stage.drafts == []


def test_a_loop_whose_first_note_comes_at_its_end_has_a_draft_at_once_and_only_one() -> None:
    stage = started()
    stage.until(2 * BAR, [(BAR - 80, on(60)), (BAR - 70, off(60)), (BAR - 60, on(62)), (BAR - 50, off(62))])
    ((tick, draft),) = stage.drafts
    assert (tick, [n.pitch for n in draft.loop.notes]) == (BAR - 80, [60])


def test_between_two_stored_loops_there_is_a_draft_although_nothing_is_played() -> None:
    stage = started(mode="blend")
    stage.until(2 * BAR, CALL)
    for button in "store_a", "store_b":
        stage.step(stage.time(stage.tick), Pressed(button))
    stage.until(4 * BAR)
    assert [draft.target for _, draft in stage.drafts] == [BAR, 3 * BAR]


@pytest.mark.parametrize("slow_ms", [90, 150, 400])
def test_a_model_that_is_slow_after_a_pause_is_asked_for_its_drafts_earlier(slow_ms: int) -> None:
    ticks = round(slow_ms / 1000 / TICK_S)
    stage = started(draft_ticks=ticks)
    stage.step(stage.time(0), Warmed(0.012, 0.95 * slow_ms / 1000))
    stage.until(6 * BAR, [*CALL, *at(2 * BAR, CALL), *at(4 * BAR, CALL)])
    assert all(BAR - (tick - 2 * i * BAR) >= ticks for i, (tick, _) in enumerate(stage.drafts))
    assert len(stage.drafts) == 3
    assert stage.session.lead.seconds < 0.020
    assert [what for what, _ in stage.whats() if what in ("answer", "late", "missed")] == ["answer"] * 3


def test_what_an_answer_takes_without_a_draft_does_not_make_the_next_loops_go_early() -> None:
    stage = started(answer_ticks=70, draft_ticks=-1)
    before = stage.session.lead.seconds
    stage.until(2 * BAR, CALL)
    assert stage.session.lead.seconds == before
    stage.draft_ticks = 5
    stage.until(4 * BAR, at(2 * BAR, CALL))
    stage.until(6 * BAR, at(4 * BAR, CALL))
    assert stage.session.lead.seconds == pytest.approx(Lead(70 * TICK_S).seconds)


def test_another_model_begins_with_what_it_says_of_itself() -> None:
    stage = started(answer_ticks=70)
    stage.until(4 * BAR, [*CALL, *at(2 * BAR, CALL)])
    stage.step(stage.time(stage.tick), Warmed(0.008, 0.3))
    assert stage.session.lead.seconds == pytest.approx(Lead(0.008).seconds)
    stage.until(6 * BAR, at(4 * BAR, CALL))
    tick, _ = stage.drafts[-1]
    assert 5 * BAR - tick >= round(0.3 / TICK_S)


def test_the_draft_is_for_the_preset_that_takes_over() -> None:
    stage = started()
    stage.until(BAR // 2, CALL[:2])
    stage.step(stage.time(stage.tick), Chosen(Preset(name="other").changed(bars=1, mode="clean", temperature=0.5)))
    stage.until(2 * BAR)
    ((_, draft),), (job,) = stage.drafts, stage.jobs
    assert (draft.mode, draft.knobs) == (job.mode, job.knobs)
    assert draft.mode == "clean"


def test_a_draft_in_another_mode_does_not_play() -> None:
    stage = started(bars=2, answer_ticks=LATE)
    stage.until(2 * BAR - 60, CALL)
    stage.step(stage.time(stage.tick), Chosen(Preset(name="other").changed(bars=2, use="answer", mode="clean")))
    stage.until(3 * BAR)
    assert [draft.mode for _, draft in stage.drafts] == ["vary"]
    assert stage.notes == []


def test_a_preset_with_loops_of_another_length_gets_no_draft() -> None:
    stage = started()
    stage.until(BAR // 2, CALL[:2])
    stage.step(stage.time(stage.tick), Chosen(Preset(name="other").changed(bars=2)))
    stage.until(BAR + 10)
    assert stage.drafts == []


def test_an_answer_that_a_knob_makes_anew_is_given_the_time_of_a_model_that_has_not_been_called_for_a_while() -> None:
    stage = started()
    stage.step(stage.time(0), Warmed(0.008, 0.2))
    stage.until(BAR + 400, CALL)
    stage.step(stage.time(stage.tick), Turned("temperature", 0.3))
    # 83 ms are left of the beat: too few.
    assert stage.jobs[-1].target == BAR + 960


def test_an_answer_to_nothing_is_no_draft() -> None:
    stage = started()
    stage.until(BAR - 300, CALL)
    stage.step(stage.time(stage.tick), Answer(Loop(BAR), BAR, 1, draft=True))
    stage.until(BAR - 100)
    assert stage.session.present is None


class Cold(Stage):
    """A stage whose model takes `cold_s` where it was not called in the last 0.3 s, and else `hot_s`; one at a time."""

    def __init__(self, cold_s: float, hot_s: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._cold_s, self._hot_s = cold_s, hot_s
        self._free = float("-inf")

    def _answer(self, job: Job, time: float, ticks: int) -> None:
        begins = max(time, self._free)
        takes = self._cold_s if begins > self._free + 0.3 else self._hot_s
        self._free = begins + takes
        super()._answer(job, time, round((self._free - time) / TICK_S))


@given(st.floats(0.004, 0.4), st.floats(0, 0.05), st.sampled_from(["answer", "follow"]), st.integers(-20, 300))
def test_a_model_that_is_cold_is_never_late_and_what_is_played_30_ms_before_the_end_is_answered(
    cold_s: float, spared_s: float, use: str, first: int
) -> None:
    hot_s = min(cold_s / 4, 0.012)
    stage = Cold(cold_s, hot_s, use=use)
    stage.receive(START)
    # What it says of itself may be less than what it takes when it is played.
    stage.step(stage.time(0), Warmed(hot_s, max(cold_s - spared_s, 0)))
    score = [e for i in range(6) for e in at(2 * i * BAR, [(max(first, 0), on(60)), (first + 30, off(60)), *LAST])]
    stage.until(12 * BAR, score)
    told = [what for what, _ in stage.whats() if what in ("answer", "late", "missed", "draft")]
    assert told == ["answer"] * 6
    assert stage.session.lead.seconds <= 0.020
    assert all([n.pitch for n in job.loop.notes] == [60, 67] for job in stage.jobs)
