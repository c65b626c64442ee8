from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.inference.answer import answer, distance
from rtgen.inference.model import Model
from rtgen.instrument.controls import PARAMETERS
from rtgen.instrument.job import MODES, Mode
from rtgen.music import key
from rtgen.music.note import Loop, Note
from rtgen.music.time import Metre

MODEL = Model(Path(__file__).parents[1] / "data" / "tiny.onnx")
KNOBS = {p.name: p.default for p in PARAMETERS.values()}
GRID = MODEL.card.grid


def melody(bars: int = 2, metre: Metre = Metre(), every: int = 240) -> Loop:  # noqa: B008 (frozen)
    length = bars * metre.bar
    scale = (60, 62, 64, 65, 67, 69, 71, 72)
    notes = tuple(
        Note(t + t % 7, scale[t // every * 5 % 8], min(every - 20, length - t - 7), 50 + t % 50)
        for t in range(0, length, every)
    )
    return Loop(length, notes, metre.bar)


def varied(loop: Loop, distance_: float, seed: int = 1, **knobs: float) -> Loop:
    return answer(MODEL, loop, "vary", {**KNOBS, "distance": distance_, **knobs}, seed)


@given(
    st.integers(0, 2**40), st.lists(st.builds(Note, st.integers(-20, 3839), st.integers(0, 127), st.integers(1, 999)))
)
@settings(max_examples=30, deadline=None)
def test_at_distance_0_the_answer_is_what_was_played_note_for_note(seed: int, notes: list[Note]) -> None:
    loop = Loop(3840, tuple(notes))
    assert varied(loop, 0.0, seed) == loop


@pytest.mark.parametrize("asked", [0.1, 0.35, 0.6, 0.9, 1.0])
def test_a_variation_is_as_far_as_asked_and_no_thinner(asked: float) -> None:
    loop = melody()
    for seed in range(5):
        varying = varied(loop, asked, seed)
        assert distance(loop, varying, GRID) == pytest.approx(asked, abs=0.1)
        assert len(varying) == len(loop)


def test_what_is_kept_is_kept_as_it_was_played() -> None:
    loop = melody()
    varying = varied(loop, 0.3)
    onsets = {(n.onset, n.pitch, n.velocity) for n in loop.notes}
    assert len(onsets & {(n.onset, n.pitch, n.velocity) for n in varying.notes}) >= len(loop) * 0.7


def test_the_seed_decides() -> None:
    loop = melody()
    assert varied(loop, 0.5, 3) == varied(loop, 0.5, 3)
    assert varied(loop, 0.5, 3) != varied(loop, 0.5, 4)


def test_a_locked_key_is_kept() -> None:
    loop = melody()
    scale = key.estimate(loop.notes)
    assert scale is not None
    locked = [n for seed in range(8) for n in varied(loop, 0.8, seed, key_lock=1.0, temperature=0.5).notes]
    free = [n for seed in range(8) for n in varied(loop, 0.8, seed, key_lock=0.0).notes]
    assert sum(scale.contains(n.pitch) for n in locked) / len(locked) > 0.95
    assert sum(scale.contains(n.pitch) for n in free) / len(free) < 0.95


@pytest.mark.parametrize("mode", MODES)
def test_silence_is_answered_with_silence(mode: Mode) -> None:
    assert answer(MODEL, Loop(3840), mode, KNOBS, 0) == Loop(3840)


@pytest.mark.parametrize("mode", MODES)
def test_notes_beyond_the_models_pitches_come_back_as_they_were(mode: Mode) -> None:
    outside = (Note(7, 3, 100), Note(333, 127, 80, 5))
    loop = Loop(3840, (*melody().notes, *outside))
    assert set(outside) <= set(answer(MODEL, loop, mode, KNOBS, 0).notes)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("bars", "metre"), [(1, "4/4"), (8, "4/4"), (2, "3/4"), (1, "7/8"), (3, "5/16"), (1, "1/16"), (8, "12/4")]
)
def test_any_metre_and_length_is_answered_at_its_own_length(mode: Mode, bars: int, metre: str) -> None:
    loop = melody(bars, Metre.parse(metre))
    answered = answer(MODEL, loop, mode, {**KNOBS, "distance": 0.5}, 0)
    assert (answered.length, answered.bar) == (loop.length, loop.bar)
    assert answered.notes
    assert all(-20 <= n.onset < loop.length and n.end <= loop.length for n in answered.notes)


def test_a_model_that_hears_what_is_there_cleans_nothing_away() -> None:
    loop = melody()
    cleaned = answer(MODEL, loop, "clean", KNOBS, 0)
    assert distance(loop, cleaned, GRID) == 0
    assert [(n.pitch, n.duration, n.velocity) for n in cleaned.notes] == [
        (n.pitch, n.duration, n.velocity) for n in loop.notes
    ]
