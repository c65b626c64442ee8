"""What is continued, note by note, and what is heard before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.inference import hearing
from rtgen.inference.hearing import HEARD, hear
from rtgen.inference.model import Model, Tensor, memory_of, step_of
from rtgen.inference.modes import answer
from rtgen.inference.sequence import DENSER
from rtgen.inference.stream import LAGS, SPELLING, WINDOW, tell, within
from rtgen.music import key
from rtgen.music.attributes import measure
from rtgen.music.note import Loop, Note
from rtgen.music.time import Grid
from tests.data.make_tiny import build_continuer
from tests.inference.models import KNOBS, loaded, melody, of_role

MODEL = of_role("continuer")
PAST = (melody(every=160), melody(every=480, up=5))
GRID = Grid()


@pytest.fixture(autouse=True)
def _nothing_heard() -> Iterator[None]:
    hearing._HEARINGS.clear()
    yield
    hearing._HEARINGS.clear()


def continued(loop: Loop, seed: int = 1, past: tuple[Loop, ...] = (), model: Model = MODEL, **knobs: float) -> Loop:
    return answer(model, loop, "continue", {**KNOBS, **knobs}, seed, past=past)


class Counting(Model):
    """Counts its runs, and keeps what it was fed."""

    fed: list[dict[str, Tensor]]

    def run(self, inputs: dict[str, Tensor], only: tuple[str, ...] = ()) -> dict[str, Tensor]:
        self.fed.append({name: x.copy() for name, x in inputs.items()})
        return super().run(inputs, only)


def counting(favour: dict[tuple[int, int], float] | None = None) -> Counting:
    model = loaded(build_continuer(favour=favour))
    model.__class__ = Counting
    assert isinstance(model, Counting)
    model.fed = []
    return model


# ---- what is told ---------------------------------------------------------------------------------------------------


def test_notes_are_told_by_onset_and_a_chord_from_below() -> None:
    first = Loop(1920, (Note(-5, 67, 470, 90), Note(8, 60, 480, 50), Note(1915, 62, 5)))
    second = Loop(1920, (Note(250, 64, 120),), 1440)
    told = tell((first, second), 0, SPELLING, GRID)
    assert told.step.tolist() == [0, 0, 47, 54]
    assert told.note[:, 0].tolist() == [0, 0, 47, 7]
    assert (told.note[:, 1] + GRID.pitch_low).tolist() == [60, 67, 62, 64]
    assert [SPELLING.durations[i] for i in told.note[:, 2]] == [12, 12, 1, 3]
    assert told.place.tolist() == [[0, 48], [0, 48], [47, 48], [6, 36]]
    assert not told.context[:3].any()
    assert told.context[3, -1] == told.ahead[-1] == 1
    assert (told.last, told.end) == (1, 96)
    struck = told.struck(GRID.pitches)
    assert struck[60 - GRID.pitch_low, WINDOW] == 12
    assert (struck > 0).sum() == 4


def test_what_is_known_of_a_loop_says_how_it_goes() -> None:
    offbeats = Loop(1920, tuple(Note(t, 62, 100) for t in range(120, 1920, 480)))
    told = tell((offbeats,), -2, SPELLING, GRID)
    groove, classes = told.ahead[6:22], told.ahead[22:34]
    assert np.flatnonzero(groove).tolist() == [1, 5, 9, 13]
    assert groove.sum() == pytest.approx(1)
    assert classes.tolist() == [1] + [0] * 11


@given(st.integers(0, 127), st.integers(-6, 6))
def test_what_leaves_the_grid_keeps_its_name(pitch: int, up: int) -> None:
    assert GRID.pitch_low <= within(pitch + up, GRID) <= GRID.pitch_high
    assert (within(pitch + up, GRID) - pitch - up) % 12 == 0


# ---- hearing --------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 40), max_size=6), st.integers(0, 3))
@settings(max_examples=25)
def test_what_is_heard_in_pieces_is_answered_as_what_is_heard_at_once(pieces: list[int], past: int) -> None:
    loop, before = melody(every=120), (PAST * 2)[:past]
    hearing._HEARINGS.clear()
    at_once = continued(loop, past=before)
    hearing._HEARINGS.clear()
    for count in pieces:  # in any order: what is told may also be less than before
        hear(MODEL, before, loop.with_notes(loop.notes[:count]))
    assert continued(loop, past=before) == at_once


@pytest.mark.parametrize(
    ("past", "heard"),
    [
        ((), melody(up=6)),  # another key
        (PAST[:1], melody()),  # another past
        (PAST[::-1], melody()),
        (PAST, melody().with_notes(melody().notes[3:])),  # what was played is no more
        (PAST, melody(every=160)),
        ((*PAST, melody()), Loop(3840)),  # the next loop
    ],
)
def test_what_is_not_continued_is_heard_anew(past: tuple[Loop, ...], heard: Loop) -> None:
    fresh = continued(melody(), past=PAST)
    hearing._HEARINGS.clear()
    hear(MODEL, past, heard)
    assert continued(melody(), past=PAST) == fresh


def test_what_was_heard_before_need_not_be_heard_at_the_boundary() -> None:
    loop = melody(every=120)
    at_once, heard = counting(), counting()
    assert continued(loop, past=PAST, model=at_once) == continued(loop, past=PAST, model=heard)
    hearing._HEARINGS.clear()
    heard.fed.clear()
    hear(heard, PAST, loop.with_notes(n for n in loop.notes if n.end <= 3360))
    before = len(heard.fed)
    continued(loop, past=PAST, model=heard)
    # A past of 32 notes and 28 of the loop had been heard, but for the last of them.
    assert before == 32 + 28 - 1
    assert len(at_once.fed) - (len(heard.fed) - before) == before


def test_only_the_latest_of_the_past_is_heard_but_all_of_it_is_known() -> None:
    past = tuple(melody(every=120) for _ in range(6))
    model = counting()
    hear(model, past, Loop(3840))
    assert len(model.fed) == HEARD - 1
    first = model.fed[0]
    assert not first["memory"].any()
    assert first["context"][0, -1] == 1
    assert first["past"][0, :, :-1].any()


def test_a_note_has_no_future() -> None:
    loop = Loop(1920, (Note(0, 60, 480), Note(10, 64, 480), Note(0, 67, 480), Note(960, 65, 480), Note(1440, 67, 400)))
    model = counting()
    hear(model, (), loop)
    lasts = [np.flatnonzero(fed["past"][0, :, -1]) + GRID.pitch_low for fed in model.fed]
    assert [x.tolist() for x in lasts] == [[60], [60, 64], [60, 64, 67], [65]]
    assert [int((fed["past"] > 0).sum()) for fed in model.fed] == [1, 2, 3, 4]


@pytest.mark.parametrize("only", [memory_of(MODEL.card), step_of(MODEL.card)])
def test_a_part_of_a_step_is_as_in_the_whole(only: tuple[str, ...]) -> None:
    model = counting()
    hear(model, PAST, melody())
    for fed in model.fed[:3]:
        part, whole = MODEL.run(fed, only), MODEL.run(fed)
        assert tuple(part) == only
        for name in only:
            np.testing.assert_allclose(part[name], whole[name], atol=1e-6)


def test_it_stops_hearing_when_there_is_something_better_to_do() -> None:
    model = counting()
    left = iter([False] * 5)
    hear(model, (), melody(), stop=lambda: next(left, True))
    assert len(model.fed) == 5
    at_once = continued(melody())
    assert continued(melody(), model=model) == at_once


# ---- what is said ---------------------------------------------------------------------------------------------------


def test_the_same_gives_the_same_and_the_seed_and_the_past_matter() -> None:
    assert continued(melody(), 1, PAST) == continued(melody(), 1, PAST) != continued(melody(), 2, PAST)
    # The tiny model forgets within a few notes.
    short = melody().with_notes(melody().notes[:2])
    assert continued(short, 1, PAST) != continued(short, 1)


@pytest.mark.parametrize("up", [2, -3, 5])
def test_it_answers_in_the_players_key(up: int) -> None:
    low = continued(melody(), past=(melody(every=480),))
    high = continued(melody(up=up), past=(melody(every=480, up=up),))
    assert [replace(n, pitch=n.pitch + up) for n in low.notes] == list(high.notes)


def test_a_locked_key_is_kept() -> None:
    loop = melody(up=3)
    scale = key.estimate(loop.notes)
    assert scale is not None

    def kept(lock: float) -> float:
        # A network to which all pitches are about the same.
        flat = {(1, row): 8.0 for row in range(36, 72)}
        model = loaded(build_continuer(favour=flat))
        answers = (continued(loop, seed, model=model, key_lock=lock, temperature=2.0) for seed in range(6))
        return fmean(scale.contains(n.pitch) for answered in answers for n in answered.notes)

    assert kept(1.0) > 0.9
    assert kept(0.0) < 0.85


def test_silence_is_answered_by_silence() -> None:
    assert continued(Loop(3840), past=PAST) == Loop(3840)


REST, CHORD, STEP, LOUD = (0, 51), (0, 0), (0, 1), (3, 15)


@pytest.mark.parametrize(
    "favour",
    [{REST: 90.0}, {CHORD: 90.0}, {STEP: 90.0}, {CHORD: 90.0, (1, 40): 90.0}, {(0, 3): 90.0, (1, 40): 90.0}, {}],
    ids=["rests", "chords", "single steps", "one pitch at once", "one pitch", "anything"],
)
@pytest.mark.parametrize("length", [240, 1440, 1920, 3840, 15360])
def test_a_model_that_says_only_one_thing_comes_to_an_end(favour: dict[tuple[int, int], float], length: int) -> None:
    model = counting(favour)
    loop = Loop(length, tuple(Note(t, 60 + t // 240 % 5, 200) for t in range(0, length, 240)), min(length, 1920))
    answered = continued(loop, model=model, temperature=0.1)
    assert answered.notes
    assert len(answered) <= min(DENSER * len(loop) + 10, 8 * length / 480)
    assert len(model.fed) <= len(loop) + 3 * 8 * length / 480 + 10
    assert max(Counter(n.onset for n in answered.notes).values()) <= 6
    assert all(n.onset >= 0 and n.end <= length for n in answered.notes)
    # There is no longer silence than half of the loop, or a beat.
    onsets = [0, *(n.onset for n in answered.notes), length]
    assert max(b - a for a, b in pairwise(onsets)) <= max(length // 2, 480) + 40


@given(
    st.lists(
        st.tuples(st.integers(-20, 3839), st.integers(0, 127), st.integers(1, 4000), st.integers(1, 127)), max_size=40
    ),
    st.sampled_from([(3840, 1920), (1920, 1920), (480, 240), (2880, 1440), (13440, 1680), (1440, 5760)]),
    st.integers(0, 3),
)
@settings(max_examples=40)
def test_whatever_is_played_is_continued_within_its_bounds(
    played: list[tuple[int, int, int, int]], lengths: tuple[int, int], past: int
) -> None:
    length, bar = lengths
    notes = [Note(on % length, pitch, min(d, length - on % length), v) for on, pitch, d, v in played]
    loop = Loop(length, tuple(notes), bar).monophonic_by_pitch()
    answered = continued(loop, past=(PAST * 2)[:past])
    assert (answered.length, answered.bar) == (length, bar)
    assert bool(answered.notes) is bool(loop.notes)
    assert all(n.onset >= 0 and n.end <= length for n in answered.notes)
    assert answered.monophonic_by_pitch() == answered


def test_a_player_who_stops_early_is_answered_from_the_boundary_on() -> None:
    """What was played is further back than any shift goes."""
    loop = Loop(8 * 1920, (Note(0, 60, 400), Note(480, 64, 400), Note(960, 67, 400)))
    model = counting()
    answered = continued(loop, model=model)
    assert answered.notes
    steps = [int(fed["past"].nonzero()[2].max()) for fed in model.fed]
    assert set(steps) == {WINDOW}  # the last column is always that of the note that is heard


# ---- the player's manner, and the knobs -----------------------------------------------------------------------------


def test_notes_on_the_grid_come_as_early_and_as_late_as_the_players() -> None:
    late = Loop(3840, tuple(Note(t + (15 if t % 480 else -7), 60 + t // 240 % 5, 200) for t in range(240, 3840, 240)))
    model = loaded(build_continuer(favour={(0, 6): 90.0}))
    off = {n.onset % 480 for n in continued(late, model=model).notes if n.onset}
    assert off == {255, 473}


def test_loudness_leans_to_the_players() -> None:
    model = loaded(build_continuer(favour={LOUD: 90.0}))
    soft = melody().with_notes(replace(n, velocity=24) for n in melody().notes)
    spoken = SPELLING.velocities[15]
    assert {n.velocity for n in continued(soft, model=model).notes} == {round(spoken + (24 - spoken) / 2)}
    louder = continued(soft, model=model, velocity=1.0).notes[0].velocity
    assert louder == round(spoken + (24 + 1.25 * 12.5 - spoken) / 2)


def test_the_context_is_the_loops_and_the_knobs_move_it() -> None:
    def ahead(**knobs: float) -> list[float]:
        model = counting()
        continued(melody(), model=model, **knobs)
        numbers: list[float] = model.fed[-1]["context"][0, :6].tolist()
        return numbers

    plain = tell((melody(),), 0, SPELLING, GRID).ahead[:6]
    assert ahead() == pytest.approx(plain)
    moved = ahead(density=1.0, register=0.0, velocity=0.75)
    assert np.array(moved) - plain == pytest.approx([1.25, -1.25, 0, 0, 0, 0.625], abs=1e-6)


def test_the_register_goes_up_and_down() -> None:
    flat = loaded(build_continuer(favour={(1, row): 8.0 for row in range(24, 84)}))

    def mean(knob: float) -> float:
        answers = (continued(melody(), seed, model=flat, register=knob, temperature=2.0) for seed in range(4))
        return fmean(n.pitch for answered in answers for n in answered.notes)

    assert mean(0.0) < mean(0.5) - 3 < mean(1.0) - 6


@pytest.mark.parametrize("name", ["density", "polyphony", "length", "syncopation", "velocity"])
def test_every_knob_moves_what_it_is_called(name: str) -> None:
    """Whatever the network makes of the context: this one's choices are about as likely as each other."""
    flat = build_continuer(
        favour={(0, 0): 2.0} | {(0, s): 2.0 for s in (3, 6, 9, 12)} | {(1, r): 8.0 for r in range(84)}
    )
    for tensor in flat.graph.initializer:
        if tensor.name == "head":
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) / 10, "head"))
    model = loaded(flat)

    def mean(knob: float) -> float:
        answers = (continued(melody(every=480), seed, model=model, **{name: knob}) for seed in range(12))
        return fmean(measure(answered)[name] for answered in answers)

    low, middle, high = (mean(knob) for knob in (0.0, 0.5, 1.0))
    assert low < middle < high


def test_density_bounds_the_notes() -> None:
    eager = loaded(build_continuer(favour={(0, shift): 90.0 for shift in (1, 2, 3)}))
    sparse, dense = (len(continued(melody(every=480), model=eager, density=knob)) for knob in (0.0, 1.0))
    assert 2 * sparse < dense <= 3 * 8 + 10


def figures(loop: Loop, answered: Loop) -> tuple[list[tuple[tuple[int, int], ...]], int]:
    """Runs of four notes (shift, pitch) of a loop and its answer, and how many of them are the loop's."""
    told = tell((loop, answered), 0, SPELLING, GRID).note[:, :2].tolist()
    runs = [tuple(map(tuple, told[i : i + 4])) for i in range(len(told) - 3)]
    return runs, len(loop) - 3


def test_without_repetition_no_figure_is_said_again() -> None:
    stubborn = loaded(build_continuer(favour={(0, 6): 12.0, (1, 40): 9.0, (1, 43): 8.0, (1, 45): 8.0}))

    def again(knob: float) -> int:
        answered = continued(melody(), model=stubborn, repetition=knob, temperature=0.2)
        runs, own = figures(melody(), answered)
        assert len(runs) > own + 5
        return len(runs[own:]) - len(set(runs[own:]) - set(runs[:own]))

    assert again(0.0) == 0
    assert again(1.0) > 4


def test_what_was_struck_some_bars_ago_is_told_as_often_as_repetition_is_wanted() -> None:
    def told(knob: float) -> set[float]:
        model = counting()
        continued(melody(every=480), model=model, repetition=knob)
        return {float(fed["echo"][0, 0]) for fed in model.fed[7:]}

    assert [told(knob) for knob in (0.0, 0.25, 0.5, 1.0)] == [{0.0}, {0.0, 1.0}, {1.0}, {1.0}]
    assert max(LAGS) * 48 <= WINDOW
