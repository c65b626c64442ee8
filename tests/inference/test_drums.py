"""Drummers: beats struck with feel, varied, and made of a tapped rhythm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.errors import UserError
from rtgen.inference import drums
from rtgen.inference.card import modes_of
from rtgen.inference.model import Model, Tensor
from rtgen.inference.modes import answer
from rtgen.instrument.job import Mode
from rtgen.music.drums import TAP
from rtgen.music.note import Loop, Note
from rtgen.music.time import Grid
from tests.data.make_tiny import CARD, WISHED, build
from tests.inference.models import KNOBS, loaded, of_role

DRUMMER = of_role("drummer")
GRID = DRUMMER.card.grid
KICK, SNARE, HAT, EDGE = 36, 38, 42, 22


def beat(late: int = 0, pitches: tuple[int, ...] = (KICK, HAT, SNARE, HAT)) -> Loop:
    """Two bars, something on every half beat, unevenly struck."""
    notes = (
        Note(t + late * (i % 3), pitches[i % len(pitches)], 60, 60 + 7 * i % 60)
        for i, t in enumerate(range(0, 3840, 240))
    )
    return Loop(3840, tuple(notes))


beats = st.builds(
    lambda notes: Loop(3840, tuple(notes)).monophonic_by_pitch(),
    st.lists(
        st.builds(Note, st.integers(-19, 3839), st.integers(0, 127), st.just(30), st.integers(1, 127)), max_size=40
    ),
)


class Told(Model):
    """A drummer that believes in one cell, and remembers what it was told."""

    def __init__(self, cell: tuple[int, int], velocity: float, micro: float) -> None:
        self.card = DRUMMER.card
        self.cell, self.velocity, self.micro = cell, velocity, micro
        self.inputs: dict[str, Tensor] = {}

    def run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same whatever it hears."""
        self.inputs = inputs
        shape = inputs["mask"].shape
        onset = np.full(shape, 0.001, np.float32)
        onset[:, *self.cell] = 0.99
        return {
            "onset": onset,
            "hold": onset,
            "velocity": np.full(shape, self.velocity, np.float32),
            "micro": np.full(shape, self.micro, np.float32),
        }


def test_a_drummer_plays_three_modes() -> None:
    assert modes_of(DRUMMER.card) == ("clean", "vary", "generate")


@pytest.mark.parametrize(("much", "onset", "velocity"), [(0.0, 7, 90), (0.5, 9, 101), (1.0, 10, 111)])
def test_a_note_is_struck_as_the_model_has_it_by_as_much_as_is_asked(much: float, onset: int, velocity: int) -> None:
    model = Told((0, 0), 111 / 127, 0.25)
    played = Loop(3840, (Note(7, SNARE, 60, 90),))
    (struck,) = answer(model, played, "clean", {**KNOBS, "humanise": much}, 0).notes
    assert abs(struck.onset - onset) <= 1
    assert abs(struck.velocity - velocity) <= 1
    assert (struck.pitch, struck.duration) == (SNARE, 60)


def test_the_model_is_not_told_how_notes_were_struck() -> None:
    model = Told((0, 0), 0.5, 0.0)
    answer(model, beat(late=9, pitches=(KICK, EDGE)), "clean", {**KNOBS, "humanise": 1.0}, 0)
    onset, _, velocity, micro = model.inputs["roll"][0]
    assert not micro.any()
    assert len(set(velocity[onset > 0].tolist())) == 1
    assert set((np.nonzero(onset)[0] + GRID.pitch_low).tolist()) == {KICK, HAT}  # the hi-hat's edge is a hi-hat


@settings(max_examples=60)
@given(beats, st.floats(0, 1))
def test_feel_changes_no_note(loop: Loop, much: float) -> None:
    struck = answer(DRUMMER, loop, "clean", {**KNOBS, "humanise": much}, 0)
    assert sorted(n.pitch for n in struck.notes) == sorted(n.pitch for n in loop.notes)
    assert all(note.onset < loop.length and 1 <= note.velocity <= 127 for note in struck.notes)
    if not much:
        assert struck == loop


def test_a_machine_is_stiff() -> None:
    made = drums.stiff(beat(late=9), GRID)
    assert {n.onset % GRID.step for n in made.notes} == {0}
    assert len({n.velocity for n in made.notes}) == 1


def test_what_is_tapped_on_any_keys_is_told_as_a_rhythm() -> None:
    model = Told((KICK - GRID.pitch_low, 24), 0.5, 0.0)
    told = []
    for pitches in (60,), (KICK, SNARE, HAT), (100, 3):
        made = answer(model, beat(pitches=pitches), "generate", KNOBS, 0)
        assert [(n.pitch, n.onset) for n in made.notes if n.onset == 960] == [(KICK, 960)]
        told.append(model.inputs)
    for inputs in told:
        row = TAP - GRID.pitch_low
        assert np.array_equal(inputs["roll"], told[0]["roll"])
        assert set(np.nonzero(inputs["roll"][0, 0])[0]) == {row}
        assert not inputs["mask"][0, row].any()
        assert np.delete(inputs["mask"][0], row, axis=0).all()


def test_no_beat_has_the_taps_in_it() -> None:
    made = answer(DRUMMER, beat(), "generate", KNOBS, 3)
    assert made.notes
    assert TAP not in {n.pitch for n in made.notes}


@pytest.mark.parametrize("mode", modes_of(DRUMMER.card))
def test_silence_gets_silence(mode: Mode) -> None:
    assert answer(DRUMMER, Loop(3840, ()), mode, KNOBS, 0) == Loop(3840, ())


@pytest.mark.parametrize("mode", modes_of(DRUMMER.card))
def test_drums_have_no_key_and_no_register(mode: Mode) -> None:
    model = loaded(build(replace(WISHED, name="wished_drummer", role="drummer", in_key=False)))
    plain = answer(model, beat(), mode, KNOBS, 5)
    for knob, value in {"key_lock": 1.0, "register": 1.0, "polyphony": 0.0, "length": 1.0}.items():
        assert answer(model, beat(), mode, {**KNOBS, knob: value}, 5) == plain
    assert answer(model, beat(), mode, {**KNOBS, "velocity": 1.0}, 5) != plain


@settings(max_examples=30)
@given(beats, st.sampled_from(modes_of(DRUMMER.card)), st.floats(0, 1), st.sampled_from([1920, 3840, 960]))
def test_any_beat_is_answered(loop: Loop, mode: Mode, value: float, length: int) -> None:
    loop = Loop(length, tuple(n for n in loop.notes if n.onset < length)).monophonic_by_pitch()
    knobs = {**KNOBS, "distance": value, "density": value, "syncopation": 1 - value}
    made = answer(DRUMMER, loop, mode, knobs, 1)
    assert made.length == length
    assert bool(made.notes) == bool(loop.notes)
    assert made == answer(DRUMMER, loop, mode, knobs, 1)


def test_a_drummer_in_a_key_is_refused() -> None:
    with pytest.raises(UserError, match="role 'drummer' has no key"):
        loaded(build(replace(CARD, role="drummer", in_key=True)))


def test_a_drummer_that_cannot_be_told_a_rhythm_is_refused() -> None:
    card = replace(CARD, role="drummer", grid=Grid(pitch_low=24, pitch_high=60))
    with pytest.raises(UserError, match="its grid has no pitch 75"):
        loaded(build(card, pitches=37))
