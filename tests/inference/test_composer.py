"""What a composer hears while it is played to, and what it writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise, product
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.bench.music import made_loop
from rtgen.inference import composer, hearing
from rtgen.inference.card import modes_of
from rtgen.inference.hearing import RECENT, Hearing, hear, recent
from rtgen.inference.model import Model, Tensor, memory_of, step_of
from rtgen.inference.modes import answer
from rtgen.inference.pen import FIGURE
from rtgen.inference.request import Texture
from rtgen.inference.sheet import cells, read
from rtgen.inference.spelling import CONTEXT, SPELLING, known_of, within
from rtgen.instrument.job import Mode
from rtgen.music import key
from rtgen.music.attributes import NAMES, SD, measure, standard
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, Grid
from tests.data.make_tiny import build_composer
from tests.inference.models import KNOBS, loaded, melody, of_role

MODEL = of_role("composer")
PAST = (melody(every=160), melody(every=480, up=5))
GRID = Grid()
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _nothing_heard() -> Iterator[None]:
    hearing._HEARINGS.clear()
    yield
    hearing._HEARINGS.clear()


def played(
    mode: Mode, loop: Loop, seed: int = 1, past: tuple[Loop, ...] = (), model: Model = MODEL, **knobs: float
) -> Loop:
    return answer(model, loop, mode, {**KNOBS, **knobs}, seed, past=past)


def continued(loop: Loop, seed: int = 1, past: tuple[Loop, ...] = (), model: Model = MODEL, **knobs: float) -> Loop:
    return played("continue", loop, seed, past, model, **knobs)


class Counting(Model):
    """Counts its runs, and keeps what it was fed."""

    fed: list[dict[str, Tensor]]

    def run(self, inputs: dict[str, Tensor], only: tuple[str, ...] = ()) -> dict[str, Tensor]:
        self.fed.append({name: x.copy() for name, x in inputs.items()})
        return super().run(inputs, only)

    @property
    def written(self) -> list[dict[str, Tensor]]:
        """What it was fed when it chose a note."""
        return [fed for fed in self.fed if "noise" in fed]


def counting(favour: dict[tuple[int, int], float] | None = None) -> Counting:
    model = loaded(build_composer(favour=favour))
    model.__class__ = Counting
    assert isinstance(model, Counting)
    model.fed = []
    return model


# ---- what is read ---------------------------------------------------------------------------------------------------


def test_notes_are_read_by_onset_and_a_chord_from_below() -> None:
    first = Loop(1920, (Note(-5, 67, 470, 90), Note(8, 60, 480, 50), Note(1915, 62, 5)))
    second = Loop(1920, (Note(250, 64, 120),), 1440)
    heard = read((first, second), 0, GRID)
    assert heard.step.tolist() == [0, 0, 47, 54]
    assert heard.note[:, 0].tolist() == [0, 0, 47, 7]
    assert (heard.note[:, 1] + GRID.pitch_low).tolist() == [60, 67, 62, 64]
    assert [SPELLING.durations[i] for i in heard.note[:, 2]] == [12, 12, 1, 3]
    assert [SPELLING.timings[i] for i in heard.note[:, 4]] == [8, -4, 17, 8]
    assert heard.place.tolist() == [[0, 48], [0, 48], [47, 48], [6, 36]]
    assert not heard.known[:3].any()
    assert heard.known[3, CONTEXT - 1] == heard.ahead[-1] == 1
    assert (heard.last, heard.end) == (1, 96)


def test_what_is_known_of_a_loop_says_how_it_goes() -> None:
    offbeats = Loop(1920, tuple(Note(t, 62, 100) for t in range(120, 1920, 480)))
    known = known_of(offbeats, -2, GRID)
    groove, classes = known[6:22], known[22:34]
    assert np.flatnonzero(groove).tolist() == [1, 5, 9, 13]
    assert groove.sum() == pytest.approx(1)
    assert classes.tolist() == [1] + [0] * 11


@given(st.integers(0, 127), st.integers(-6, 6))
def test_what_leaves_the_grid_keeps_its_name(pitch: int, up: int) -> None:
    assert GRID.pitch_low <= within(pitch + up, GRID) <= GRID.pitch_high
    assert (within(pitch + up, GRID) - pitch - up) % 12 == 0


# ---- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "turned"),
    [
        ("continue", {}),
        ("generate", {}),
        ("vary", {"distance": 0.2}),
        ("vary", {"distance": 0.7}),
        ("vary", {"distance": 0.0, "fill": 0.5}),
        ("vary", {"distance": 0.5, "fill": 0.25}),
        ("blend", {"blend": 0.4}),
    ],
)
@given(st.integers(0, 1000), st.sampled_from([(3840, 1920), (1440, 1440), (3360, 1680), (240, 240)]))
@settings(max_examples=15)
def test_an_answer_is_told_in_parts_as_it_is_written(
    mode: Mode, turned: dict[str, float], seed: int, lengths: tuple[int, int]
) -> None:
    length, bar = lengths
    loop, other = (
        Loop(length, tuple(Note(t + 7, 60 + t // every % 7, 100) for t in range(0, length, every)), bar)
        for every in (120, 160)
    )
    knobs = {**KNOBS, **turned}
    told: list[Note] = []
    times = [0]

    def tell(notes: list[Note], until: int) -> None:
        assert until % (PPQN // 2 if told else PPQN // 4) == 0
        assert times[-1] < until < length
        # A note of the next step may be early by half of it.
        assert all(times[-1] - GRID.step < n.onset < until + GRID.step for n in notes)
        told.extend(notes)
        times.append(until)

    whole = answer(MODEL, loop, mode, knobs, seed, past=PAST, ends=(loop, other), tell=tell)
    assert whole == answer(MODEL, loop, mode, knobs, seed, past=PAST, ends=(loop, other))
    rest = [n for n in whole.notes if (n.onset, n.pitch) not in {(m.onset, m.pitch) for m in told}]
    assert loop.with_notes([*told, *rest]).monophonic_by_pitch() == whole
    assert all(n.onset > times[-1] - GRID.step for n in rest)


def test_what_is_edited_as_a_whole_is_not_told_in_parts() -> None:
    for turned in {"density": 0.9}, {"density": 0.9, "fill": 0.5}:
        knobs = {**KNOBS, **turned}
        assert answer(MODEL, melody(every=120), "vary", knobs, 1, past=PAST, tell=pytest.fail).notes


# ---- hearing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["continue", "generate"])
@given(st.lists(st.integers(0, 40), max_size=6), st.integers(0, 3))
@settings(max_examples=25)
def test_what_is_heard_in_pieces_is_answered_as_what_is_heard_at_once(mode: Mode, pieces: list[int], past: int) -> None:
    loop, before = melody(every=120), (PAST * 2)[:past]
    hearing._HEARINGS.clear()
    at_once = played(mode, loop, past=before)
    hearing._HEARINGS.clear()
    for count in pieces:  # in any order: what is told may also be less than before
        hear(MODEL, before, loop.with_notes(loop.notes[:count]))
    assert played(mode, loop, past=before) == at_once


@pytest.mark.parametrize("less", [1, 5, 31, 32])
def test_less_is_heard_after_more_as_if_it_were_all(less: int) -> None:
    loop = melody(every=120)
    part, whole = (read([loop.with_notes(notes)], 0, GRID) for notes in (loop.notes[:less], loop.notes))
    anew, again = Hearing(MODEL).hear(MODEL, part), Hearing(MODEL)
    again.hear(MODEL, whole)
    found = again.hear(MODEL, part)
    assert anew is not None
    assert found is not None
    for name, state in anew.items():
        np.testing.assert_array_equal(found[name], state)


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


def test_only_the_latest_loops_are_heard() -> None:
    past = tuple(melody(every=480) for _ in range(20))
    assert len(recent(past)) == RECENT // 3840
    assert len(recent([Loop(2 * RECENT)])) == 1
    model = counting()
    hear(model, past, Loop(3840))
    assert len(model.fed) == 8 * RECENT // 3840 - 1
    assert not model.fed[0]["memory"].any()


@pytest.mark.parametrize("only", [memory_of(MODEL.card), step_of(MODEL.card)])
def test_a_part_of_a_step_is_as_in_the_whole(only: tuple[str, ...]) -> None:
    model = counting()
    continued(melody(), past=PAST, model=model)
    for fed in model.written[:3]:
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


# ---- what is written ------------------------------------------------------------------------------------------------


def test_the_same_gives_the_same_and_the_seed_and_the_past_matter() -> None:
    assert continued(melody(), 1, PAST) == continued(melody(), 1, PAST) != continued(melody(), 2, PAST)
    # The tiny model forgets within a few notes.
    short = melody().with_notes(melody().notes[-2:])
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
        model = loaded(build_composer(favour=flat))
        answers = (continued(loop, seed, model=model, key_lock=lock, temperature=2.0) for seed in range(6))
        return fmean(scale.contains(n.pitch) for answered in answers for n in answered.notes)

    assert kept(1.0) > 0.9
    assert kept(0.0) < 0.85


REST, CHORD, STEP = (0, 96), (0, 0), (0, 1)


@pytest.mark.parametrize(
    "favour",
    [{REST: 90.0}, {CHORD: 90.0}, {STEP: 90.0}, {CHORD: 90.0, (1, 40): 90.0}, {(0, 3): 90.0, (1, 40): 90.0}, {}],
    ids=["rests", "chords", "single steps", "one pitch at once", "one pitch", "anything"],
)
@pytest.mark.parametrize("mode", ["continue", "vary", "generate"])
@pytest.mark.parametrize("length", [240, 1440, 3840, 15360])
def test_a_model_that_says_only_one_thing_comes_to_an_end(
    favour: dict[tuple[int, int], float], mode: Mode, length: int
) -> None:
    model = counting(favour)
    loop = Loop(length, tuple(Note(t, 60 + t // 240 % 5, 200) for t in range(0, length, 240)), min(length, 1920))
    answered = played(mode, loop, model=model, temperature=0.1)
    assert answered.notes
    assert len(model.written) <= len(loop) + 12 * max(length // 480, 1)
    assert all(n.onset >= 0 and n.end <= length for n in answered.notes)


@given(
    st.lists(
        st.tuples(st.integers(-20, 3839), st.integers(0, 127), st.integers(1, 4000), st.integers(1, 127)), max_size=40
    ),
    st.sampled_from([(3840, 1920), (1920, 1920), (480, 240), (2880, 1440), (13440, 1680), (1440, 5760)]),
    st.sampled_from(["continue", "vary", "blend", "generate"]),
    st.integers(0, 3),
)
@settings(max_examples=60)
def test_whatever_is_played_is_answered_within_its_bounds(
    notes: list[tuple[int, int, int, int]], lengths: tuple[int, int], mode: Mode, past: int
) -> None:
    length, bar = lengths
    some = [Note(on % length, pitch, min(d, length - on % length), v) for on, pitch, d, v in notes]
    loop = Loop(length, tuple(some), bar).monophonic_by_pitch()
    answered = played(mode, loop, past=(PAST * 2)[:past], fill=0.3)
    assert (answered.length, answered.bar) == (length, bar)
    assert bool(answered.notes) is bool(loop.notes)
    assert all(n.onset >= 0 and n.end <= length for n in answered.notes)
    assert answered.monophonic_by_pitch() == answered


@pytest.mark.parametrize("bar", [1920, 1440, 7680])
def test_a_player_who_stops_early_is_continued_from_the_boundary_on(bar: int) -> None:
    """What was played is further back than any shift goes."""
    loop = Loop(8 * bar, (Note(0, 60, 400), Note(480, 64, 400), Note(960, 67, 400)), bar)
    assert max(SPELLING.shifts) * GRID.step < loop.length - 960
    for seed in range(4):
        found = continued(loop, seed)
        assert found.notes != loop.notes
        assert found.notes[0].onset < 4 * 1920


ANSWERS = "24afc9e0ac22ab385fb8aa2472cf64253a0110e40cf59c6a419735dbeca1a644"
TURNED = {"repetition": 0.9, "temperature": 1.3, "key_lock": 1.0, "density": 0.8, "fill": 0.25, "distance": 0.6}


def test_answers_are_the_same_as_ever_to_the_byte() -> None:
    """Note by note and part by part: what makes them come sooner must not change them."""
    digest = sha256()
    for mode, turned, seed, length, bar in product(
        modes_of(MODEL.card), ({}, TURNED), range(3), (3840, 1440), (1440, 1920)
    ):
        made = [made_loop(seed + i) for i in range(6)]
        call, other, *past = (Loop(length, tuple(n for n in each.notes if n.end <= length), bar) for each in made)
        knobs = {**KNOBS, **turned}
        hear(MODEL, past[seed:], call.with_notes(call.notes[:-4]), knobs)
        parts: list[tuple[object, ...]] = []
        found = answer(
            MODEL,
            call,
            mode,
            knobs,
            seed,
            past=past[seed:],
            ends=(call, other),
            tell=lambda *part, parts=parts: parts.append(part),  # type: ignore[misc]
        )
        digest.update(repr((found, parts)).encode())
    assert digest.hexdigest() == ANSWERS


# ---- what is made anew ----------------------------------------------------------------------------------------------


def test_many_new_notes_are_in_beats_in_a_row_and_few_are_anywhere() -> None:
    places = [(beat, voice) for beat in range(8) for voice in ("bass", "top")]

    def beats(far: float, seed: int) -> set[int]:
        first = composer._shuffled(places, 8 * PPQN, far, np.random.default_rng(seed))[:6]
        return {beat for beat, _ in first}

    def gaps(found: set[int]) -> int:
        """Where a row of beats ends, round the loop."""
        return sum((beat + 1) % 8 not in found for beat in found)

    near, far = (fmean(gaps(beats(distance, seed)) for seed in range(200)) for distance in (0.35, 0.9))
    assert far < near - 0.4


# ---- few notes ------------------------------------------------------------------------------------------------------

CHORD_HELD = Loop(3840, tuple(Note(0, pitch, 3830) for pitch in (48, 55, 64, 71)))
TUNE = Loop(3840, tuple(Note(t, 60 + t // 480 % 5, 470) for t in range(0, 2880, 480)))
FIGURED = Loop(
    3840, tuple(Note(t, p, 470) for t in range(0, 3840, 960) for p in ((48,) if t % 1920 == 0 else (64, 67)))
)


def test_the_texture_of_few_notes_is_what_they_have() -> None:
    held = Texture.of(CHORD_HELD, GRID)
    assert held == Texture(4, 48, 12, 12, (True,) * 8, clashes=False, bass=48)
    tune = Texture.of(TUNE, GRID)
    assert tune == Texture(1, 6, 12, 12, (True,) * 6 + (False,) * 2, clashes=False, bass=None)
    figured = Texture.of(FIGURED, GRID)
    assert (figured.together, figured.apart, figured.leap, figured.bass) == (2, 12, 19, 48)
    strummed = Texture.of(Loop(3840, tuple(Note(240 + 90 * i, 48 + 4 * i, 3000) for i in range(6))), GRID)
    assert (strummed.together, strummed.apart) == (6, 1)
    rubbing = TUNE.with_notes([*TUNE.notes, Note(0, 61, 470)])
    assert Texture.of(rubbing, GRID).clashes


def columns(loop: Loop) -> list[list[int]]:
    """The pitches of each column, in order."""
    found: dict[int, list[int]] = {}
    for n in loop.notes:
        found.setdefault(GRID.column(n.onset, GRID.steps(loop.length)), []).append(n.pitch)
    return [found[column] for column in sorted(found)]


@pytest.mark.parametrize("call", [CHORD_HELD, TUNE, FIGURED])
@pytest.mark.parametrize("mode", ["continue", "generate"])
def test_few_notes_are_answered_in_their_texture(mode: Mode, call: Loop) -> None:
    """By a network that would do anything."""
    texture = Texture.of(call, GRID)
    for seed in range(8):
        found = played(mode, call, seed)
        assert max(map(len, columns(found))) <= texture.together
        assert max(n.onset for n in found.notes) < call.length - 40
        for before, after in pairwise(columns(found)):
            assert abs(min(after) - min(before)) <= texture.leap
            assert max(after) - max(before) <= texture.leap
        assert len(columns(found)) <= 8 * 12 // texture.apart + sum(texture.sounds)
        if texture.bass is not None:
            assert min(columns(found)[0]) <= texture.bass + 7


def test_few_notes_get_as_many_as_the_knobs_ask_for() -> None:
    chords = loaded(build_composer(favour={CHORD: 30.0}))

    def most(**knobs: float) -> int:
        found = (columns(answer(chords, TUNE, "continue", {**KNOBS, **knobs}, seed)) for seed in range(6))
        return max(len(column) for each in found for column in each)

    assert most() == 1
    assert most(polyphony=0.9) > 1


def test_a_variation_of_few_notes_has_as_many() -> None:
    for seed in range(12):
        found = played("vary", TUNE, seed, distance=0.5)
        assert len(found) >= len(TUNE)
        assert len(set(found.notes) & set(TUNE.notes)) >= len(TUNE) // 2


def test_a_fill_lies_within_the_range_of_what_is_played() -> None:
    loop = melody(every=120)
    low, high = min(n.pitch for n in loop.notes), max(n.pitch for n in loop.notes)
    for seed in range(6):
        found = played("vary", loop, seed, distance=0.0, fill=0.5)
        assert found != loop
        assert all(low - 7 <= n.pitch <= high + 7 for n in found.notes)


# ---- the player's manner, and the knobs -----------------------------------------------------------------------------


def test_timing_loudness_and_length_are_those_that_the_player_used() -> None:
    """Of the values that a class stands for."""
    notes = [Note(t + 9, 60 + t // 240 % 5, 203, 81) for t in range(240, 3840, 240)]
    late = Loop(3840, (Note(0, 48, 3700, 83), *notes))
    classes = SPELLING.timing(9), SPELLING.velocity(81), SPELLING.duration(round(203 / GRID.step))
    model = loaded(build_composer(favour={(i, int(n)): 90.0 for i, n in zip((4, 3, 2), classes, strict=True)}))
    found = continued(late, model=model).notes
    assert {n.onset % GRID.step for n in found} == {9}
    assert {n.velocity for n in found} <= {81, 83}
    assert {n.duration for n in found if n.end < 3840} == {203}


def test_one_loudness_is_answered_with_it() -> None:
    flat = melody().with_notes(replace(n, velocity=77) for n in melody().notes)
    assert {n.velocity for n in continued(flat).notes} == {77}


def test_the_attributes_that_the_answer_shall_have_are_the_loops_and_the_knobs_move_them() -> None:
    def wish(mode: Mode, **knobs: float) -> list[float]:
        model = counting()
        played(mode, melody(), model=model, **knobs)
        numbers: list[float] = model.written[-1]["known"][0, CONTEXT : CONTEXT + len(NAMES) + 1].tolist()
        return numbers

    own = [*standard(measure(melody())), 1]
    # A continuation is free, unless a knob is turned.
    assert wish("continue") == [0] * len(own)
    assert wish("generate") == pytest.approx(own, abs=1e-5)
    for mode in ("continue", "generate"):
        moved = np.array(wish(mode, density=1.0, register=0.0, velocity=0.75)) - own
        assert moved == pytest.approx([2.5, -2.5, 0, 0, 0, 1.25, 0], abs=1e-5)


@pytest.mark.parametrize("mode", ["continue", "generate"])
@pytest.mark.parametrize("name", NAMES)
def test_every_knob_of_the_shipped_composer_moves_what_it_is_called(mode: Mode, name: str) -> None:
    model = Model(ROOT / "models" / "composer.onnx")

    def mean(knob: float) -> float:
        answers = (played(mode, made_loop(i), i, (made_loop(i + 1),), model, **{name: knob}) for i in range(6))
        return fmean(measure(answered)[name] for answered in answers)

    assert mean(1.0) - mean(0.0) > 0.5 * SD[NAMES.index(name)]


def runs(loop: Loop) -> set[tuple[tuple[int, int], ...]]:
    """Figures of a loop, of shifts and pitches."""
    found = cells(loop, 0, GRID)
    notes = list(zip(np.diff(found[:, 0], prepend=0).tolist(), found[:, 1].tolist(), strict=True))
    return {tuple(notes[i : i + FIGURE]) for i in range(1, len(notes) - FIGURE + 1)}


def test_repetition_turns_figures_of_the_call_up_and_down() -> None:
    three = loaded(build_composer(favour={(0, 6): 30.0, (1, 40): 20.0, (1, 43): 20.0, (1, 45): 20.0}))
    turns = np.random.default_rng(1).integers(0, 3, 16).tolist()
    call = Loop(3840, tuple(Note(240 * i, (64, 67, 69)[turn], 200) for i, turn in enumerate(turns)))
    turned = {**KNOBS, "key": 1.0, "scale": 1.0, "temperature": 4.0}

    def again(knob: float) -> int:
        found = (answer(three, call, "continue", {**turned, "repetition": knob}, seed) for seed in range(20))
        return sum(len(runs(loop) & runs(call)) for loop in found)

    low, middle, high = (again(knob) for knob in (0.0, 0.5, 1.0))
    assert low < middle < high


def test_the_past_is_shown_less_often_as_repetition_is_turned_down() -> None:
    def shown(knob: float) -> set[bool]:
        found = set()
        for seed in range(12):
            model = counting()
            continued(melody(), seed, PAST, model, repetition=knob)
            found.add(any(fed["columns"][:, :, : 2 * 3].any() for fed in model.written))
        return found

    assert [shown(knob) for knob in (0.0, 0.25, 0.5, 1.0)] == [{False}, {False, True}, {True}, {True}]
