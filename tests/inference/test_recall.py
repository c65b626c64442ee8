"""What is recalled of what was played before, and what a model makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtgen.errors import UserError
from rtgen.inference.answer import answer
from rtgen.inference.card import Card
from rtgen.inference.recall import recalled
from rtgen.music.note import Loop, Note
from rtgen.music.time import Grid
from tests.data.make_tiny import CARD, RECALLS, build
from tests.inference.models import KNOBS, loaded, melody, of_role

GRID = Grid()
BAR = 1920
SOME = Loop(2 * BAR, (Note(0, 60, 480), Note(480, 64, 480), Note(BAR + 960, 67, 800)))


def moved(loop: Loop, ticks: int = 0, up: int = 0) -> Loop:
    return loop.with_notes(replace(n, onset=n.onset + ticks, pitch=n.pitch + up) for n in loop.notes)


def swapped(loop: Loop) -> Loop:
    """Its bars the other way round."""
    return loop.with_notes(replace(n, onset=n.onset + (BAR if n.onset < BAR else -BAR)) for n in loop.notes)


def test_each_bar_is_recalled_wherever_it_was() -> None:
    (found,) = recalled(SOME, [moved(SOME, up=1), swapped(SOME), moved(SOME, up=2)], 1, GRID)
    assert found == SOME


def test_the_likest_comes_first_and_of_equals_the_latest() -> None:
    older, later = moved(SOME, 10), moved(SOME, -10)
    far = SOME.with_notes(SOME.notes[:1])
    assert recalled(SOME, [later, far, older], 2, GRID) == [older, later]
    assert recalled(SOME, [older, far, later], 2, GRID) == [later, older]
    assert recalled(SOME, [older, later, far], 1, GRID) == [later]


def test_an_onset_may_be_a_step_off_but_not_two() -> None:
    assert recalled(SOME, [moved(SOME, 40)], 1, GRID) == [moved(SOME, 40)]
    assert recalled(SOME, [moved(SOME, 80)], 1, GRID) == [Loop(2 * BAR)]


def test_nothing_is_recalled_of_other_bars_or_where_nothing_was() -> None:
    assert recalled(SOME, [], 2, GRID) == []
    assert recalled(SOME, [replace(SOME, bar=1440)], 1, GRID) == [Loop(2 * BAR)]
    assert recalled(Loop(2 * BAR), [SOME], 1, GRID) == [Loop(2 * BAR)]


@pytest.mark.parametrize("length", [BAR, BAR + 960, 4 * BAR])
def test_loops_of_any_length_recall_and_no_note_is_longer_than_its_bar(length: int) -> None:
    now = Loop(length, tuple(n for n in SOME.notes if n.end <= length))
    (found,) = recalled(now, [Loop(2 * BAR, (*SOME.notes, Note(1500, 72, 2000)))], 1, GRID)
    assert all(n.end <= min(length, (n.onset // BAR + 1) * BAR) for n in found.notes)
    assert {(n.onset, n.pitch) for n in now.notes} <= {(n.onset, n.pitch) for n in found.notes}


def test_a_model_that_recalls_knows_the_note_that_was_missed() -> None:
    model, whole = loaded(build(RECALLS)), melody()
    missed = whole.with_notes(whole.notes[:3] + whole.notes[4:])
    assert answer(model, missed, "clean", KNOBS, 1) == missed
    assert {(n.pitch, round(n.onset / 40)) for n in answer(model, missed, "clean", KNOBS, 1, past=[whole]).notes} == {
        (n.pitch, round(n.onset / 40)) for n in whole.notes
    }
    # One that does not is told nothing of it.
    assert answer(of_role("denoiser"), missed, "clean", KNOBS, 1, past=[whole]) == missed


def test_it_is_told_in_the_key_that_the_loop_is_told_in() -> None:
    model, whole = loaded(build(replace(RECALLS, in_key=True))), melody(up=4)
    missed = whole.with_notes(whole.notes[:3] + whole.notes[4:])
    found = answer(model, missed, "clean", KNOBS, 1, past=[whole])
    assert [n.pitch for n in found.notes] == [n.pitch for n in whole.notes]


def test_a_variation_is_not_told_what_it_varies() -> None:
    model, plain, loop = loaded(build(RECALLS)), of_role("denoiser"), melody()
    knobs = {**KNOBS, "distance": 0.5}
    assert answer(model, loop, "vary", knobs, 1, past=[loop]) == answer(plain, loop, "vary", knobs, 1)


@pytest.mark.parametrize(("role", "recalls"), [("denoiser", 9), ("denoiser", -1), ("denoiser", True), ("drummer", 1)])
def test_a_card_that_cannot_recall_so_much_is_refused(role: str, recalls: int) -> None:
    card = replace(CARD, role=role, recalls=recalls)
    with pytest.raises(UserError, match="field 'recalls' is"):
        Card.from_metadata(card.metadata(), "m.onnx")
