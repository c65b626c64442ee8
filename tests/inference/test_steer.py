"""What the knobs of attributes and latents do, what anchors hold, and what is filled in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.inference.card import ROLES, Latent
from rtgen.inference.cells import distance
from rtgen.inference.exchange import anchors
from rtgen.inference.latent import turned
from rtgen.inference.model import Model, Tensor
from rtgen.inference.modes import answer
from rtgen.instrument.job import Mode
from rtgen.instrument.parameters import LATENTS
from rtgen.music import key
from rtgen.music.attributes import MEAN, NAMES, SD, measure
from rtgen.music.note import Loop, Note
from tests.data.make_tiny import AUTOENCODER, CARD, WISHED, build, build_code
from tests.inference.models import DENOISER, KNOBS, loaded, melody, of_role

STEERED: list[tuple[str, Mode]] = [
    (role, mode) for role in ROLES for mode in ROLES[role].modes if mode in ("clean", "vary", "generate")
]
NOTES = st.lists(
    st.builds(Note, st.integers(-20, 3799), st.integers(0, 127), st.integers(1, 900), st.integers(1, 127)), max_size=40
)
SPREAD = dict(zip(NAMES, SD, strict=True))


def chords() -> Loop:
    """A tune over three-part chords, some of them before the beat."""
    tune = [Note(t, 72 + t // 480 * 5 % 12, 220, 70 + t % 40) for t in range(0, 3840, 480)]
    beneath = [Note(t, p, 400, 60) for t in (0, 720, 1920, 2640) for p in (48, 55, 64)]
    return Loop(3840, (*tune, *beneath))


def steered(loop: Loop, role: str = "denoiser", mode: Mode = "vary", seed: int = 1, **knobs: float) -> Loop:
    return answer(of_role(role), loop, mode, {**KNOBS, "distance": 0.0, **knobs}, seed)


# ---- attributes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "mode"), STEERED)
def test_a_knob_in_the_middle_changes_nothing(role: str, mode: Mode) -> None:
    few = {name: KNOBS[name] for name in ("distance", "temperature", "key_lock", "blend")}
    for loop in melody(), chords(), melody(8):
        model = of_role(role)
        assert answer(model, loop, mode, KNOBS, 3) == answer(model, loop, mode, few, 3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("loop", [melody(every=720), chords()], ids=["tune", "chords"])
def test_a_knob_moves_its_attribute_and_no_other(name: str, loop: Loop) -> None:
    way = [measure(steered(loop, **{name: position})) for position in (0.1, 0.3, 0.5, 0.7, 0.9)]
    values = [at[name] for at in way]
    assert values == sorted(values)
    assert values[4] - values[2] > 0.7 * SPREAD[name]
    for other in set(NAMES) - {name}:
        for at in way:
            # Where every beat is struck already, what is struck besides is off the beat.
            crowded = name in ("density", "polyphony") and other == "syncopation"
            most = 0.7 if crowded else 0.4
            assert abs(at[other] - way[2][other]) / SPREAD[other] < most * (values[4] - values[0]) / SPREAD[name]


@given(
    st.sampled_from(STEERED),
    NOTES,
    st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1), min_size=1),
    st.sampled_from((600, 1920, 3840)),
)
@settings(max_examples=60)
def test_however_the_knobs_are_turned_the_answer_can_be_played_and_is_the_same_again(
    played: tuple[str, Mode], notes: list[Note], knobs: dict[str, float], length: int
) -> None:
    inside = [replace(n, duration=min(n.duration, length - n.onset)) for n in notes if n.onset < length]
    loop = Loop(length, tuple(inside), min(length, 1920)).monophonic_by_pitch()
    one, again = (steered(loop, *played, **knobs) for _ in range(2))
    assert one == again
    assert (one.length, one.bar) == (loop.length, loop.bar)
    assert one.monophonic_by_pitch() == one
    assert bool(one.notes) == bool(loop.notes)
    assert all(-60 <= n.onset < length and n.end <= length for n in one.notes)


def test_what_an_edit_need_not_touch_it_leaves() -> None:
    loop = chords()
    notes = {(n.onset, n.pitch) for n in loop.notes}
    for name in "length", "velocity":
        assert {(n.onset, n.pitch) for n in steered(loop, **{name: 0.8}).notes} == notes
    assert set(loop.notes) <= set(steered(loop, density=0.7).notes)
    assert {(n.onset, n.pitch) for n in steered(loop, density=0.3).notes} < notes
    louder = {(n.onset, n.pitch): n.velocity for n in steered(loop, velocity=0.7).notes}
    assert len({louder[n.onset, n.pitch] - n.velocity for n in loop.notes}) == 1  # accents stay


def test_the_model_says_which_notes() -> None:
    """A model that believes in one place only gets the first new note there."""
    loop = melody(every=960)

    class Prefers(Model):
        def run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
            outputs = super().run(inputs)
            # On the fourth beat, which is free.
            outputs["onset"][:, 67 - self.card.grid.pitch_low, 36:37] = 0.99
            return outputs

    plain, biased = (
        answer(kind(DENOISER), loop, "vary", {**KNOBS, "distance": 0.0, "density": 0.55}, 0)
        for kind in (Model, Prefers)
    )
    assert any((n.onset // 120, n.pitch) == (12, 67) for n in biased.notes)
    assert not any((n.onset // 120, n.pitch) == (12, 67) for n in plain.notes)


def test_new_notes_keep_a_locked_key_as_far_as_there_is_one() -> None:
    loop = melody(every=480)
    scale = key.estimate(loop.notes)
    assert scale is not None
    new = set(steered(loop, density=0.9, key_lock=1.0).notes) - set(loop.notes)
    assert new
    assert all(scale.contains(n.pitch) for n in new)
    chromatic = Loop(3840, tuple(Note(i * 320, 60 + i, 160) for i in range(12)))
    free = steered(chromatic, density=0.9, key_lock=1.0)
    assert free == steered(chromatic, density=0.9, key_lock=0.0)


# ---- what is wished of the model ------------------------------------------------------------------------------------


class Told(Model):
    """A model that remembers what it was told."""

    def run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        self.inputs = [*getattr(self, "inputs", []), inputs]
        return super().run(inputs)


@pytest.fixture
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    import onnx

    path = tmp_path_factory.mktemp("told") / "told.onnx"
    onnx.save(build(WISHED), path)
    model = Told(path)
    model.inputs = []
    return model


def test_a_model_is_told_what_is_wished_of_it(told: Told) -> None:
    loop = melody(up=2)
    answer(told, loop, "vary", {**KNOBS, "distance": 0.0, "velocity": 0.75, "register": 0.0}, 0)
    (inputs,) = told.inputs
    assert inputs["damage"].tolist() == [[1.0]]
    assert not inputs["mask"].any()
    wanted = {**measure(loop)}
    wanted["velocity"] += 0.5 * 1.5 * SPREAD["velocity"]
    wanted["register"] -= 1.5 * SPREAD["register"] + 2  # heard in C, two semitones below
    values = [(wanted[name] - mean) / sd for name, mean, sd in zip(NAMES, MEAN, SD, strict=True)]
    np.testing.assert_allclose(inputs["wish"][0], [*np.clip(values, -4, 4), *[1] * 6], rtol=1e-5)
    # It hears the loop in C: the tune begins on the tonic.
    assert inputs["roll"][0, 0, 60 - told.card.grid.pitch_low, 0] == 1


def test_a_variation_is_wished_to_be_like_what_was_played(told: Told) -> None:
    answer(told, melody(), "vary", KNOBS, 0)
    (inputs,) = told.inputs
    values = [(measure(melody())[name] - mean) / sd for name, mean, sd in zip(NAMES, MEAN, SD, strict=True)]
    for row in inputs["wish"]:
        np.testing.assert_allclose(row, [*np.clip(values, -4, 4), *[1] * 6], rtol=1e-5)
    assert "damage" not in inputs


def test_of_a_repair_nothing_is_wished(told: Told) -> None:
    answer(told, melody(), "clean", KNOBS, 0)
    assert all("wish" not in inputs and "damage" not in inputs for inputs in told.inputs)


# ---- told in one key ------------------------------------------------------------------------------------------------


def moved(loop: Loop, up: int) -> Loop:
    return loop.with_notes(replace(n, pitch=n.pitch + up) for n in loop.notes)


@pytest.mark.parametrize("up", [-6, -1, 4, 5])
@pytest.mark.parametrize("role", ["denoiser", "autoencoder"])
def test_what_a_model_in_one_key_answers_moves_with_what_is_played(role: str, up: int) -> None:
    model = IN_KEY[role]
    for mode in model_modes(role):
        for turn in {"distance": 0.5}, {"distance": 0.0, "density": 0.8, "register": 0.4}:
            knobs = {**KNOBS, **turn}
            here, there = (
                answer(
                    model, moved(melody(), by), mode, knobs, 5, ends=(moved(melody(), by), moved(melody(every=160), by))
                )
                for by in (0, up)
            )
            assert there == moved(here, up)


IN_KEY = {
    "denoiser": loaded(build(WISHED)),
    "autoencoder": loaded(build_code(replace(AUTOENCODER, in_key=True))),
}


def model_modes(role: str) -> tuple[Mode, ...]:
    return ("clean", "vary") if role == "denoiser" else ("vary", "blend")


@pytest.mark.parametrize("mode", ["clean", "vary"])
def test_notes_that_cannot_be_moved_into_the_key_come_back_as_they_were(mode: Mode) -> None:
    # Four semitones down, the one leaves what MIDI has, the other what the model hears.
    edge = (Note(500, 2, 80, 33), Note(900, 26, 80, 44))
    loop = Loop(3840, (*melody(up=4).notes, *edge))
    assert set(edge) <= set(answer(IN_KEY["denoiser"], loop, mode, {**KNOBS, "distance": 0.9}, 1).notes)


# ---- anchors --------------------------------------------------------------------------------------------------------


def test_anchors_are_downbeats_and_the_bass() -> None:
    loop = chords()
    assert anchors(loop, KNOBS) == frozenset()
    downbeats = anchors(loop, {**KNOBS, "keep_downbeats": 1.0})
    assert downbeats == {(n.onset, n.pitch) for n in loop.notes if n.onset in (0, 1920)}
    assert anchors(loop, {**KNOBS, "keep_bass": 1.0}) == {(t, 48) for t in (0, 720, 1920, 2640)}
    early = loop.with_notes([*loop.notes, Note(-15, 40, 100), Note(3830, 41, 10)])
    assert {(-15, 40), (3830, 41)} <= anchors(early, {**KNOBS, "keep_downbeats": 1.0})


@given(
    st.sampled_from(("denoiser", "autoencoder")),
    NOTES,
    st.floats(0, 1),
    st.dictionaries(st.sampled_from((*NAMES, *LATENTS, "fill")), st.floats(0, 1)),
)
@settings(max_examples=60)
def test_anchors_are_held(role: str, notes: list[Note], far: float, knobs: dict[str, float]) -> None:
    loop = Loop(3840, tuple(notes)).monophonic_by_pitch()
    held = anchors(loop, {"keep_downbeats": 1.0, "keep_bass": 1.0})
    answered = steered(loop, role, **{"distance": far, "keep_downbeats": 1.0, "keep_bass": 1.0, **knobs})
    assert held <= {(n.onset, n.pitch) for n in answered.notes}


# ---- in-fill --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["denoiser", "autoencoder"])
@pytest.mark.parametrize("bars", [2, 8])
def test_what_comes_before_a_fill_is_as_it_was_played_and_the_rest_is_not(role: str, bars: int) -> None:
    loop = melody(bars)
    filled = steered(loop, role, fill=0.25, distance=0.9)
    border = loop.length * 3 // 4
    assert [n for n in filled.notes if n.onset < border - 20] == [n for n in loop.notes if n.onset < border - 20]
    new, old = ([n for n in x.notes if n.onset >= border - 20] for x in (filled, loop))
    assert new
    assert set(new) != set(old)
    assert len(old) / 2 <= len(new) <= 1.5 * len(old) + 1


def test_a_fill_does_not_look_at_what_it_replaces(told: Told) -> None:
    loop = melody()
    other = loop.with_notes([*(n for n in loop.notes if n.onset < 1900), Note(3000, 61, 300)])
    knobs = {**KNOBS, "fill": 0.5, "key_lock": 0.0}
    assert answer(told, loop, "vary", knobs, 1) == answer(told, other, "vary", knobs, 1)


@pytest.mark.parametrize("role", ["denoiser", "autoencoder"])
def test_a_whole_loop_can_be_filled_in(role: str) -> None:
    filled = steered(melody(), role, fill=1.0)
    assert filled.notes
    assert distance(melody(), filled, CARD.grid) > 0.5


# ---- latents --------------------------------------------------------------------------------------------------------

NAMED = replace(
    AUTOENCODER,
    latents=(Latent("z", -1, 3), Latent("density", -2, 2), *(Latent(f"z{i}", -2, 2) for i in range(22))),
)


def test_latents_have_knobs_by_name_or_by_number() -> None:
    assert not turned(NAMED, KNOBS).any()
    move = turned(NAMED, {**KNOBS, "latent1": 1.0, "latent2": 0.25, "density": 0.0})
    assert move[:3].tolist() == [2.0, -2.0, -1.0]
    assert not move[3:].any()


@pytest.mark.parametrize("latent", LATENTS[: len(AUTOENCODER.latents)])
def test_a_latent_exchanges_some_notes_for_others(latent: str) -> None:
    loop = melody()
    little, much = (steered(loop, "autoencoder", **{latent: position}) for position in (0.55, 1.0))
    assert len(little) == len(much) == len(loop)
    assert distance(loop, little, CARD.grid) <= distance(loop, much, CARD.grid)
    assert distance(loop, much, CARD.grid) > 0
