"""What holds for every mode of every role, and what a denoiser plays."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.errors import UserError
from rtgen.inference.card import ROLES, modes_of
from rtgen.inference.cells import distance
from rtgen.inference.exchange import scale_of
from rtgen.inference.modes import answer, answer_job
from rtgen.instrument.job import Job, Mode
from rtgen.instrument.parameters import FRONT, FRONT_OF_DRUMS, PARAMETERS, SCALES
from rtgen.music import key
from rtgen.music.note import Loop, Note
from rtgen.music.time import Metre
from tests.inference.models import KNOBS, melody, of_role

MODEL = of_role("denoiser")
GRID = MODEL.card.grid
# What plays along answers no loops (tests/instrument/test_along.py).
PLAYED = [(role, mode) for role in ROLES for mode in ROLES[role].modes if mode != "accompany"]
PAST = (melody(up=2), melody(every=480))
ENDS = (melody(), melody(up=-5, every=160))


def varied(loop: Loop, distance_: float, job: int = 1, **knobs: float) -> Loop:
    return answer(MODEL, loop, "vary", {**KNOBS, "distance": distance_, **knobs}, job)


@given(
    st.integers(0, 2**40), st.lists(st.builds(Note, st.integers(-20, 3839), st.integers(0, 127), st.integers(1, 999)))
)
@settings(max_examples=30)
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


IN_F_SHARP = {"key": PARAMETERS["key"].check("Gb"), "scale": PARAMETERS["scale"].check("major"), "key_lock": 1.0}


@pytest.mark.parametrize(
    ("role", "mode"),
    [(role, mode) for role, mode in PLAYED if role not in ("drummer", "generator") and mode not in ("clean", "blend")],
)
def test_new_notes_keep_to_a_key_that_is_named(role: str, mode: Mode) -> None:
    played = {(n.pitch, n.onset) for n in melody().notes}

    def kept(**knobs: float) -> float:
        # The tiny composer has a favourite pitch.
        turned = {**KNOBS, "distance": 0.9, "temperature": 1.5 if role == "composer" else 0.5, **knobs}
        answers = [answer(of_role(role), melody(), mode, turned, seed, past=PAST) for seed in range(6)]
        new = [n.pitch for answered in answers for n in answered.notes if (n.pitch, n.onset) not in played]
        return sum(key.Key(6).contains(pitch) for pitch in new) / len(new)

    assert kept() < (0.9 if role == "composer" else 0.8)
    assert kept(**IN_F_SHARP) > 0.95


@pytest.mark.parametrize(
    ("role", "mode"),
    [(role, mode) for role, mode in PLAYED if role not in ("drummer", "generator") and mode not in ("clean", "blend")],
)
def test_new_notes_keep_to_a_scale_that_is_named(role: str, mode: Mode) -> None:
    played = {(n.pitch, n.onset) for n in melody().notes}
    named = {"key": PARAMETERS["key"].check("D"), "scale": PARAMETERS["scale"].check("phrygian"), "key_lock": 1.0}
    turned = {**KNOBS, "distance": 0.9, "temperature": 1.5 if role == "composer" else 0.5, **named}
    answers = [answer(of_role(role), melody(), mode, turned, seed, past=PAST) for seed in range(6)]
    new = [n.pitch for answered in answers for n in answered.notes if (n.pitch, n.onset) not in played]
    scale = key.Key(2, minor=True, scale="phrygian")
    assert sum(map(scale.contains, new)) / len(new) > 0.95


def test_a_key_that_is_named_is_among_those_of_its_kind() -> None:
    tune = melody().notes  # in C major
    assert scale_of(tune, {}) == scale_of(tune, {"key": 0.0, "scale": 1.0}) == key.Key(0)
    assert scale_of(tune, {"scale": 2.0}) == key.Key(9, minor=True)
    assert scale_of(tune, {"key": 10.0}) == key.Key(9, minor=True)
    assert scale_of(tune, {"key": 10.0, "scale": 1.0}) == key.Key(9)
    assert scale_of([], {"key": 10.0}) is None
    dorian, chromatic = PARAMETERS["scale"].check("dorian"), PARAMETERS["scale"].check("chromatic")
    assert scale_of(tune, {"scale": dorian}) == key.Key(2, minor=True, scale="dorian")
    assert scale_of(tune, {"scale": dorian, "key": 10.0}) == key.Key(9, minor=True, scale="dorian")
    assert scale_of(tune, {"scale": chromatic}) == key.Key(0, scale="chromatic")
    assert all(scale_of(tune, {"scale": float(kind)}) is not None for kind in range(len(SCALES)))


def test_the_knob_of_the_seed_gives_other_answers_and_the_same_again() -> None:
    answers = [varied(melody(), 0.5, seed=float(knob)) for knob in (0, 1, 2, 1, 0)]
    assert answers[0] == answers[4] == varied(melody(), 0.5)
    assert answers[1] == answers[3]
    assert len({answered.notes for answered in answers}) == 3


@pytest.mark.parametrize("mode", ["clean", "vary"])
def test_notes_beyond_the_models_pitches_come_back_as_they_were(mode: Mode) -> None:
    outside = (Note(7, 3, 100), Note(333, 127, 80, 5))
    loop = Loop(3840, (*melody().notes, *outside))
    assert set(outside) <= set(answer(MODEL, loop, mode, KNOBS, 0).notes)


def test_a_model_that_hears_what_is_there_cleans_nothing_away() -> None:
    loop = melody()
    cleaned = answer(MODEL, loop, "clean", KNOBS, 0)
    assert distance(loop, cleaned, GRID) == 0
    assert [(n.pitch, n.duration, n.velocity) for n in cleaned.notes] == [
        (n.pitch, n.duration, n.velocity) for n in loop.notes
    ]


# ---- every mode of every role ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "mode"), PLAYED)
def test_silence_is_answered_with_silence(role: str, mode: Mode) -> None:
    assert answer(of_role(role), Loop(3840), mode, KNOBS, 0, past=PAST) == Loop(3840)


@pytest.mark.parametrize(("role", "mode"), PLAYED)
@pytest.mark.parametrize(
    ("bars", "metre"), [(1, "4/4"), (8, "4/4"), (2, "3/4"), (1, "7/8"), (3, "5/16"), (1, "1/16"), (8, "12/4")]
)
def test_any_metre_and_length_is_answered_at_its_own_length(role: str, mode: Mode, bars: int, metre: str) -> None:
    loop = melody(bars, Metre.parse(metre))
    answered = answer(of_role(role), loop, mode, {**KNOBS, "distance": 0.5}, 0, past=PAST, ends=ENDS)
    assert (answered.length, answered.bar) == (loop.length, loop.bar)
    assert answered.notes
    assert all(-20 <= n.onset < loop.length and n.end <= loop.length for n in answered.notes)


@pytest.mark.parametrize(("role", "mode"), PLAYED)
def test_the_same_job_has_the_same_answer_and_chance_comes_from_the_seed(role: str, mode: Mode) -> None:
    model = of_role(role)
    first, second = (Job(melody(), mode, seed, 0, 0, KNOBS, PAST, ENDS) for seed in (1, 2))
    assert answer_job(model, first) == answer_job(model, first)
    if mode not in ("clean", "blend"):
        assert answer_job(model, first) != answer_job(model, second)


@pytest.mark.parametrize(("role", "mode"), PLAYED)
@given(
    length=st.sampled_from((480, 1920, 2520, 3840)),
    notes=st.lists(
        st.tuples(st.integers(-60, 3839), st.integers(0, 127), st.integers(1, 4000), st.integers(1, 127)), max_size=60
    ),
    temperature=st.floats(0.1, 2),
    key_lock=st.floats(0, 1),
    distance=st.floats(0, 1),
    blend=st.floats(0, 1),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=15)
def test_whatever_is_played_the_answer_can_be_played(
    role: str, mode: Mode, length: int, notes: list[tuple[int, int, int, int]], seed: int, **knobs: float
) -> None:
    """No key is struck while it sounds, nothing lasts beyond the loop, and nobody is answered with silence."""
    inside = [Note(on, pitch, min(lasts, length - on), loud) for on, pitch, lasts, loud in notes if on < length]
    loop = Loop(length, tuple(inside), length).monophonic_by_pitch()
    answered = answer(of_role(role), loop, mode, knobs, seed, past=PAST, ends=(loop, melody()))
    assert (answered.length, answered.bar) == (loop.length, loop.bar)
    assert answered.monophonic_by_pitch() == answered
    assert all(-60 <= n.onset < length and n.end <= length for n in answered.notes)
    if mode in ("continue", "generate"):
        assert bool(answered.notes) == bool(loop.notes)


@pytest.mark.parametrize("role", ROLES)
def test_a_mode_that_a_role_does_not_play_is_a_sentence(role: str) -> None:
    model = of_role(role)
    for mode in {mode for _, mode in PLAYED} - set(modes_of(model.card)):
        with pytest.raises(UserError, match=rf"{model.card.name} \(role {role}\) plays .*, not {mode}"):
            answer(model, melody(), mode, KNOBS, 0)


@pytest.mark.parametrize(("role", "mode"), PLAYED)
def test_a_knob_that_rests_changes_no_answer(role: str, mode: Mode) -> None:
    """The page dims it, and says that it has no effect."""
    model = of_role(role)
    drums = not model.card.kind.pitched

    def answered(**knobs: float) -> Loop:
        return answer(model, melody(), mode, {**KNOBS, **knobs}, 1, past=PAST, ends=ENDS)

    usual = answered()
    for p in PARAMETERS.values():
        if p.acts == "answer" and p.rests(mode, drums=drums):
            assert answered(**{p.name: p.high}) == answered(**{p.name: p.low}) == usual, p.name


@pytest.mark.parametrize(("role", "mode"), PLAYED)
def test_no_knob_in_front_rests(role: str, mode: Mode) -> None:
    drums = not ROLES[role].pitched
    front = (FRONT_OF_DRUMS if drums else FRONT)[mode]
    assert len(front) == 4
    assert not [name for name in front if PARAMETERS[name].rests(mode, drums=drums)]
