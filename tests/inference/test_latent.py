"""What is played through codes: relatives, blends, new loops."""

from __future__ import annotations

import time
from itertools import pairwise
from statistics import fmean

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from rtgen.errors import UserError
from rtgen.inference.card import PLANES
from rtgen.inference.cells import distance
from rtgen.inference.latent import slerp
from rtgen.inference.modes import answer
from rtgen.music import key
from rtgen.music.note import Loop, Note
from rtgen.music.roll import Roll, encode
from tests.data.make_faulty import _SIZE as SIZE
from tests.data.make_tiny import AUTOENCODER, GENERATOR, build_code
from tests.inference.models import KNOBS, loaded, melody, of_role

MODEL = of_role("autoencoder")
GRID = MODEL.card.grid
NOTES = st.lists(
    st.builds(Note, st.integers(-20, 3799), st.integers(20, 125), st.integers(1, 40), st.integers(1, 127)), max_size=40
)


def cells(loop: Loop) -> set[tuple[int, int]]:
    steps = loop.length // GRID.step
    return {(n.pitch, min(max(round(n.onset / GRID.step), 0), steps - 1)) for n in loop.notes}


# ---- vary -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**40), NOTES)
@settings(max_examples=30)
def test_at_distance_0_the_answer_is_what_was_played_note_for_note(seed: int, notes: list[Note]) -> None:
    loop = Loop(3840, tuple(notes))
    assert answer(MODEL, loop, "vary", {**KNOBS, "distance": 0.0}, seed) == loop


@given(st.floats(0, 1), st.integers(0, 2**40), st.sampled_from((120, 240, 480)))
@settings(max_examples=40)
def test_a_variation_is_as_far_as_asked_and_no_thinner(asked: float, seed: int, every: int) -> None:
    loop = melody(every=every)
    varied = answer(MODEL, loop, "vary", {**KNOBS, "distance": asked}, seed)
    # With n notes a distance can be met to about 1 in n.
    assert distance(loop, varied, GRID) == pytest.approx(asked, abs=max(0.06, 1.1 / len(loop)))
    assert len(varied) == len(loop)


def test_what_a_variation_keeps_is_kept_as_it_was_played() -> None:
    loop = melody()
    varied = answer(MODEL, loop, "vary", {**KNOBS, "distance": 0.3}, 1)
    kept = {(n.onset, n.pitch, n.velocity) for n in loop.notes} & {(n.onset, n.pitch, n.velocity) for n in varied.notes}
    assert len(kept) >= 0.7 * len(loop)


@pytest.mark.parametrize("mode", ["vary", "generate"])
def test_a_locked_key_is_kept(mode: str) -> None:
    loop = melody()
    scale = key.estimate(loop.notes)
    assert scale is not None
    knobs = {**KNOBS, "distance": 0.8, "temperature": 0.5}

    def kept(lock: float) -> float:
        answers = (answer(MODEL, loop, mode, {**knobs, "key_lock": lock}, seed) for seed in range(8))  # type: ignore[arg-type]
        return fmean(scale.contains(n.pitch) for answered in answers for n in answered.notes)

    assert kept(1.0) > 0.95
    assert kept(0.0) < 0.9


# ---- blend ----------------------------------------------------------------------------------------------------------


@given(NOTES, NOTES)
@settings(max_examples=30)
def test_the_ends_of_a_blend_are_the_loops_themselves(a: list[Note], b: list[Note]) -> None:
    ends = Loop(3840, tuple(a)), Loop(3840, tuple(b))
    for end, share in zip(ends, (0.0, 1.0), strict=True):
        assert answer(MODEL, melody(), "blend", {**KNOBS, "blend": share}, 0, ends=ends) == end


@given(NOTES, NOTES, st.floats(0, 1))
@settings(max_examples=60)
def test_a_blend_has_as_many_notes_as_lie_between_those_of_its_ends(a: list[Note], b: list[Note], share: float) -> None:
    ends = Loop(3840, tuple(a)).monophonic_by_pitch(), Loop(3840, tuple(b)).monophonic_by_pitch()
    blended = answer(MODEL, melody(), "blend", {**KNOBS, "blend": share}, 0, ends=ends)
    counts = sorted(len(cells(end)) for end in ends) if 0 < share < 1 else sorted(map(len, ends))
    assert counts[0] <= len(blended) <= counts[1]


def test_a_blend_goes_from_one_end_to_the_other_without_a_jump() -> None:
    ends = melody(), melody(up=7, every=160)
    path = [answer(MODEL, melody(), "blend", {**KNOBS, "blend": share}, 0, ends=ends) for share in np.linspace(0, 1, 9)]
    from_a, from_b = ([distance(end, point, GRID) for point in path] for end in ends)
    assert from_a[0] == from_b[-1] == 0
    assert all(after >= before - 0.1 for before, after in pairwise(from_a))
    assert all(after <= before + 0.1 for before, after in pairwise(from_b))
    steps = [distance(before, after, GRID) for before, after in pairwise(path)]
    assert max(steps) <= 2 * fmean(steps)


def test_loops_of_other_lengths_and_metres_are_blended_bar_by_bar() -> None:
    short = Loop(1440, (Note(0, 60, 400), Note(960, 64, 400)), 1440)
    knobs = {**KNOBS, "blend": 0.0}
    blended = answer(MODEL, melody(), "blend", knobs, 0, ends=(short, melody()))
    assert (blended.length, blended.bar) == (3840, 1920)
    assert [n.onset for n in blended.notes] == [0, 960, 1920, 2880]


@given(
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.floats(0, 1),
)
def test_an_arc_begins_and_ends_at_its_ends_and_stays_on_its_sphere(x: list[float], y: list[float], at: float) -> None:
    a, b = np.array(x), np.array(y)
    np.testing.assert_allclose(slerp(a, b, 0.0), a, atol=1e-9)
    np.testing.assert_allclose(slerp(a, b, 1.0), b, atol=1e-9)
    if min(np.linalg.norm(a), np.linalg.norm(b)) > 0.1:
        a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
        if np.linalg.norm(a + b) > 0.1:
            assert np.linalg.norm(slerp(a, b, at)) == pytest.approx(1, abs=1e-3)


# ---- generate -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["autoencoder", "generator"])
@given(st.integers(-20, 20), st.sampled_from((120, 240, 480)), st.integers(0, 2**40))
@settings(max_examples=20)
def test_a_new_loop_has_the_density_register_and_loudness_of_what_was_played(
    role: str, up: int, every: int, seed: int
) -> None:
    loop = melody(up=up, every=every)
    new = answer(of_role(role), loop, "generate", KNOBS, seed)
    assert len(loop) / 2 <= len(new) <= len(loop)
    assert fmean(n.pitch for n in new.notes) == pytest.approx(fmean(n.pitch for n in loop.notes), abs=12)
    assert fmean(n.velocity for n in new.notes) == pytest.approx(fmean(n.velocity for n in loop.notes), abs=5)
    assert distance(loop, new, GRID) > 0.5


def parrot(loop: Loop, strength: float = 1.0) -> onnx.ModelProto:
    """A generator that knows one loop."""
    roll = encode(loop, GRID)
    make = helper.make_node
    nodes = [
        make("ReduceMax", ["code", "last"], ["one"]),
        make("Mul", ["one", "zero"], ["nothing"]),
        make("Unsqueeze", ["nothing", "last"], ["batch"]),
    ]
    constants = {"last": np.array([1], np.int64), "zero": np.array(0, np.float32)}
    for name in PLANES:
        nodes.append(make("Add", ["batch", f"known_{name}"], [name]))
        constants[f"known_{name}"] = getattr(roll, name) * np.float32(strength)
    inputs, outputs = (
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n, shape in shapes.items()]
        for shapes in (GENERATOR.inputs(), GENERATOR.outputs())
    )
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "parrot", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, GENERATOR.metadata())
    return model


def test_not_even_a_model_that_knows_only_what_was_played_copies_it() -> None:
    loop = melody()
    assert distance(loop, answer(loaded(parrot(loop)), loop, "generate", KNOBS, 1), GRID) > 0.5


def test_not_even_a_model_that_believes_in_nothing_is_silent() -> None:
    assert answer(loaded(parrot(melody(), strength=0.0)), melody(), "generate", KNOBS, 1).notes


# ---- halves ---------------------------------------------------------------------------------------------------------


def test_only_the_half_that_is_asked_for_is_computed() -> None:
    """The encoder is made to take long: a decoder that waited for it would too."""
    proto = build_code(AUTOENCODER)
    for node in proto.graph.node:
        if node.output[0] == "mean":
            node.output[0] = "quick"
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros((SIZE, SIZE), np.float32), "matrix"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "nought"))
    make = helper.make_node
    proto.graph.node.extend(
        [
            # Of the input, so that it cannot be computed once and for all.
            make("ReduceMax", ["roll"], ["loudest"], keepdims=0),
            make("Add", ["matrix", "loudest"], ["product0"]),
            *(make("MatMul", [f"product{i}", "matrix"], [f"product{i + 1}"]) for i in range(60)),
            make("ReduceMax", ["product60"], ["slow"], keepdims=0),
            make("Mul", ["slow", "nought"], ["zero"]),
            make("Add", ["quick", "zero"], ["mean"]),
        ]
    )
    model = loaded(proto)

    def took(inputs: dict[str, np.ndarray]) -> float:
        times = []
        for _ in range(3):
            began = time.perf_counter()
            model.run(inputs)
            times.append(time.perf_counter() - began)
        return min(times)

    code = np.zeros((1, len(AUTOENCODER.latents)), np.float32)
    roll = np.zeros((1, 4, 96, 96), np.float32)
    assert took({"code": code}) < took({"roll": roll}) / 5
    assert set(model.run({"code": code})) == set(PLANES)
    assert set(model.run({"roll": roll})) == {"mean"}
    assert set(model.run({"roll": roll, "code": code})) == {"mean", *PLANES}


def test_a_half_may_take_the_batch_from_the_other_halfs_input() -> None:
    """As an exporter has it that knows the batch by one name: the first input with it gives the size."""
    proto = build_code(AUTOENCODER)
    for node in proto.graph.node:
        if node.output[0] == "onset":
            node.output[0] = "alone"
    proto.graph.initializer.append(numpy_helper.from_array(np.array([0.0], np.float32), "nil"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 1], np.int64), "ones"))
    make = helper.make_node
    proto.graph.node.extend(
        [
            make("Shape", ["roll"], ["batch"], start=0, end=1),
            make("Concat", ["batch", "ones"], ["wide"], axis=0),
            make("Expand", ["nil", "wide"], ["nothing"]),
            make("Add", ["alone", "nothing"], ["onset"]),
        ]
    )
    model = loaded(proto)
    code = np.random.default_rng(1).standard_normal((3, len(AUTOENCODER.latents))).astype(np.float32)
    np.testing.assert_array_equal(model.run({"code": code})["onset"], MODEL.run({"code": code})["onset"])


def test_a_code_is_found_again_in_what_it_stands_for() -> None:
    """The tiny model is a real autoencoder, if a poor one: else the tests above would show little."""
    loop = melody()
    code = MODEL.run({"roll": encode(loop, GRID).stack()[None]})["mean"]
    outputs = MODEL.run({"code": code})
    roll = Roll(*(outputs[plane][0] for plane in PLANES))
    played = encode(loop, GRID).onset > 0
    assert roll.onset[played].mean() > 1.5 * roll.onset[~played].mean()


def test_no_numbers_are_found_out_in_either_half() -> None:
    proto = build_code(AUTOENCODER)
    for tensor in proto.graph.initializer:
        if tensor.name == "few":
            tensor.CopyFrom(numpy_helper.from_array(np.array(np.nan, np.float32), "few"))
    with pytest.raises(UserError, match="output 'mean' contains NaN or infinite values"):
        loaded(proto)


def test_a_model_that_knows_no_loudness_strikes_like_the_player() -> None:
    call = Loop(3840, tuple(Note(t + 7, 60 + t // 480, 200, 30 if t < 1920 else 110) for t in range(0, 3840, 240)))
    notes = answer(loaded(parrot(melody(), strength=0.0)), call, "generate", KNOBS, 1).notes
    assert notes
    assert {n.velocity for n in notes if n.onset < 1800} <= {30}
    assert {n.velocity for n in notes if n.onset > 2000} <= {110}
    assert {n.onset % GRID.step for n in notes} == {7}
