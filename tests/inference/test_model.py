from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from rtgen.errors import UserError
from rtgen.inference.card import METADATA_KEY, Card
from rtgen.inference.model import Model
from rtgen.music.time import Grid
from tests.data.make_tiny import (
    AUTOENCODER,
    CARD,
    CHORDS,
    GENERATOR,
    NOTES,
    PIECES,
    build,
    build_code,
    build_composer,
    build_harmoniser,
    build_sequence,
)

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"


def saved(tmp_path: Path, model: onnx.ModelProto) -> Path:
    path = tmp_path / "other.onnx"
    onnx.save(model, path)
    return path


def with_card(change: Callable[[dict[str, Any]], None], made: Callable[[], onnx.ModelProto] = build) -> onnx.ModelProto:
    model = made()
    fields = json.loads(model.metadata_props[0].value)
    change(fields)
    model.metadata_props[0].value = json.dumps(fields)
    return model


def test_the_committed_model_is_what_its_script_makes() -> None:
    assert onnx.load(TINY) == build()


@pytest.mark.parametrize("card", [CARD, AUTOENCODER, GENERATOR, PIECES, NOTES, CHORDS], ids=lambda card: card.role)
def test_a_card_survives_the_metadata(card: Card) -> None:
    assert Card.from_metadata(card.metadata(), "it") == card


@pytest.mark.parametrize(
    "proto",
    [
        build(),
        build_code(AUTOENCODER),
        build_code(GENERATOR),
        build_sequence(PIECES),
        build_composer(NOTES),
        build_harmoniser(),
    ],
    ids=lambda proto: proto.graph.name,
)
def test_a_model_of_any_role_is_checked_and_timed(tmp_path: Path, proto: onnx.ModelProto) -> None:
    model = Model(saved(tmp_path, proto))
    assert set(model.card.outputs()) == {o.name for o in proto.graph.output}
    assert 0 < model.seconds(3) < 1


def test_a_model_of_someone_elses_runs(tmp_path: Path) -> None:
    card = replace(CARD, name="narrow", grid=Grid(pitch_low=36, pitch_high=83), conditions=CARD.conditions)
    model = Model(saved(tmp_path, build(card, pitches=48)))
    assert model.card == card
    outputs = model.run(
        {
            "roll": np.ones((3, 4, 48, 36), np.float32),
            "mask": np.zeros((3, 48, 36), np.float32),
            "phase": np.zeros((3, 4, 36), np.float32),
        }
    )
    assert outputs["onset"].shape == (3, 48, 36)
    assert outputs["onset"].all()
    assert model.seconds(1) > 0


BROKEN: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "no card": (lambda: with_metadata({}), f"no '{METADATA_KEY}' card"),
    "card is no json": (lambda: with_metadata({METADATA_KEY: "{"}), "not readable"),
    "card is a list": (lambda: with_metadata({METADATA_KEY: "[]"}), "not readable"),
    "another version": (lambda: with_card(lambda c: c.update(format_version=99)), "format version 99"),
    "unknown role": (lambda: with_card(lambda c: c.update(role="juggler")), "'role'.*'juggler'"),
    "unknown field": (lambda: with_card(lambda c: c.update(colour="red")), "does not fit the contract"),
    "no grid": (lambda: with_card(lambda c: c.pop("grid")), "does not fit the contract"),
    "broken grid": (lambda: with_card(lambda c: c.update(grid={"pitch_low": 200})), "pitches 200 to 119"),
    "broken threshold": (lambda: with_card(lambda c: c.update(threshold=1)), "'threshold'"),
    "no range of steps": (lambda: with_card(lambda c: c.update(min_steps=0)), "not a valid range"),
    "fewer pitches than the card says": (lambda: build(pitches=48), r"input 'roll' has the shape"),
    "no such output": (lambda: build(outputs=("onset", "hold", "velocity")), "no output 'micro'"),
    "an input too many": (lambda: with_card(lambda c: c.update(conditions=[])), "wants an input 'level'"),
    "a role that is none": (lambda: with_card(lambda c: c.update(role=[])), "'role'"),
    "a vocabulary nobody needs": (lambda: with_card(lambda c: c.update(vocabulary=[wait(1)])), "has no field 'vocab"),
    "in a key": (lambda: with_card(lambda c: c.update(in_key="C")), "'in_key' is 'C', not true or false"),
    "no latents": (lambda: with_card(lambda c: c.update(latents=[]), build_code), "needs the field 'latents'"),
    "fewer latents": (lambda: with_card(lambda c: c["latents"].pop(), build_code), "input 'code' has the shape"),
    "many latents": (
        lambda: with_card(lambda c: c["latents"].extend(c["latents"] * 200), build_code),
        "more than 4096",
    ),
    "a code of any length": (lambda: with_card(lambda c: c.update(max_steps=192), build_code), "has one length"),
    "a latent without range": (lambda: with_latent(low=3.0), "latent 'z0' has no range"),
    "a latent that is no number": (lambda: with_latent(mean=float("nan")), "latent 'z0' has no range"),
    "a latent that is text": (lambda: with_latent(sd="wide"), "does not fit the contract"),
    "a latent of one point": (lambda: with_latent(sd=0.0), "standard deviation of 0"),
    "no states": (lambda: with_card(lambda c: c.update(states=[]), build_sequence), "needs the field 'states'"),
    "no vocabulary": (lambda: with_card(lambda c: c.pop("vocabulary"), build_sequence), "needs the field 'vocabulary'"),
    "another vocabulary": (
        lambda: with_card(lambda c: c["vocabulary"].pop(), build_sequence),
        "'logits' has the shape",
    ),
    "nothing to strike": (lambda: with_symbols([wait(1)]), "no symbol with pitches"),
    "no way on": (lambda: with_symbols([{"pitches": [60], "steps": 0}]), "or none with steps"),
    "a pitch too high": (lambda: with_symbols([{"pitches": [128], "steps": 1}]), "symbol 0 has pitches"),
    "a pitch that is no number": (lambda: with_symbols([{"pitches": ["c"], "steps": 1}]), "symbol 0 has pitches"),
    "a step back": (lambda: with_symbols([wait(-1)]), "symbol 0 has pitches .* or no valid number of steps"),
    "half a step": (lambda: with_symbols([wait(0.5)]), "symbol 0 has pitches .* or no valid number of steps"),
    "too many symbols": (lambda: with_symbols([wait(1)] * 70_000), "70000 symbols are more than 65536"),
    "a state of any size": (lambda: with_state(shape=[1, "batch", "wide"]), "not numbers and one 'batch'"),
    "a state without batch": (lambda: with_state(shape=[1, 8]), "not numbers and one 'batch'"),
    "a state that is huge": (lambda: with_state(shape=["batch", 2**21]), "more than 1048576 numbers"),
    "a state of a taken name": (lambda: with_state(name="symbol"), "cannot be called 'symbol'"),
    "a composer without spelling": (
        lambda: with_card(lambda c: c.pop("spelling"), build_composer),
        "needs.*'spelling'",
    ),
    "a spelling nobody needs": (lambda: with_card(lambda c: c.update(spelling=spelling())), "has no field 'spelling'"),
    "a spelling of words": (lambda: with_spelling(shifts=["a"]), "shifts of the field 'spelling'"),
    "a spelling that falls": (lambda: with_spelling(durations=[2, 1]), "durations of the field 'spelling'"),
    "a spelling that stays": (lambda: with_spelling(shifts=[0]), "no shift greater than 0"),
    "a spelling of nothing": (lambda: with_spelling(velocities=[]), "velocities of the field 'spelling'"),
    "a spelling too loud": (lambda: with_spelling(velocities=[64, 128]), "velocities .* from 1 to 127"),
    "half a class": (lambda: with_spelling(durations=[1, 1.5]), "durations of the field 'spelling'"),
    "a spelling without loudness": (
        lambda: with_card(lambda c: c["spelling"].pop("velocities"), build_composer),
        "fit",
    ),
    "fewer shifts": (
        lambda: with_card(lambda c: c["spelling"]["shifts"].pop(), build_composer),
        "'noise' has the shape",
    ),
    "a harmoniser without chords": (
        lambda: with_card(lambda c: c.pop("chords"), build_harmoniser),
        "needs the field 'chords'",
    ),
    "a chord of no semitones": (
        lambda: with_card(lambda c: c["chords"][0].update(steps=[4, 0, 7]), build_harmoniser),
        "kind 0 of the field 'chords'",
    ),
    "a chord with a number for a name": (
        lambda: with_card(lambda c: c["chords"][0].update(name=7), build_harmoniser),
        "stands where a text should",
    ),
    "a chord whose bass is no number": (
        lambda: with_card(lambda c: c["chords"][0].update(bass=True), build_harmoniser),
        "kind 0 of the field 'chords'",
    ),
    "another role with chords": (
        lambda: with_card(lambda c: c.update(chords=[{"name": "", "steps": [0, 4, 7], "bass": 0}])),
        "has no field 'chords'",
    ),
    "a composer in any key": (lambda: with_card(lambda c: c.update(in_key=False), build_composer), "in one key"),
    "a composer with symbols": (
        lambda: with_card(lambda c: c.update(vocabulary=[wait(1)]), build_composer),
        "has no field 'vocab",
    ),
    "a state that is a note": (
        lambda: with_card(lambda c: c["states"][0].update(name="chance"), build_composer),
        "cannot be called 'chance'",
    ),
    "a state of another name": (lambda: with_state(name="memory"), "has no input 'memory'"),
}


def wait(steps: Any) -> dict[str, Any]:
    return {"pitches": [], "steps": steps}


def spelling(**changes: Any) -> dict[str, Any]:
    return {"shifts": [0, 1], "durations": [1], "velocities": [64], "timings": [0], **changes}


def with_spelling(**changes: Any) -> onnx.ModelProto:
    return with_card(lambda c: c.update(spelling=spelling(**changes)), build_composer)


def with_latent(**changes: Any) -> onnx.ModelProto:
    return with_card(lambda c: c["latents"][0].update(changes), build_code)


def with_symbols(symbols: list[dict[str, Any]]) -> onnx.ModelProto:
    return with_card(lambda c: c.update(vocabulary=symbols), build_sequence)


def with_state(**changes: Any) -> onnx.ModelProto:
    return with_card(lambda c: c["states"][0].update(changes), build_sequence)


def with_metadata(properties: dict[str, str]) -> onnx.ModelProto:
    model = build()
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, properties)
    return model


@pytest.mark.parametrize("name", BROKEN)
def test_a_model_that_breaks_its_contract_is_named_with_a_cure(tmp_path: Path, name: str) -> None:
    make, reason = BROKEN[name]
    path = saved(tmp_path, make())
    with pytest.raises(UserError, match=reason) as caught:
        Model(path)
    assert str(path) in str(caught.value)
    assert any(cure in str(caught.value) for cure in ("export", "plays"))


def test_a_model_whose_outputs_come_out_otherwise_than_declared_is_found_out(tmp_path: Path) -> None:
    model = build()
    # Declared with free steps, but the graph cuts off the last one.
    for node in model.graph.node:
        if node.output[0] == "onset":
            node.output[0] = "whole"
    names = ("starts", "ends", "axes")
    for name, value in zip(names, (0, -1, 2), strict=True):
        model.graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [1], [value]))
    model.graph.node.append(onnx.helper.make_node("Slice", ["whole", *names], ["onset"]))
    with pytest.raises(UserError, match=r"output 'onset' comes out as"):
        Model(saved(tmp_path, model))


def test_a_batch_that_was_built_in_is_found_out(tmp_path: Path) -> None:
    """What a tracer does with a batch of one: the shape is declared free, but only one fits."""
    model = build_sequence(PIECES)
    for node in model.graph.node:
        if node.output[0] == "logits":
            node.output[0] = "any"
    shape = onnx.numpy_helper.from_array(np.array([1, -1, len(PIECES.vocabulary)]), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.append(onnx.helper.make_node("Reshape", ["any", "shape"], ["logits"]))
    with pytest.raises(UserError, match=r"'logits' (has|comes out)"):
        Model(saved(tmp_path, model))


def test_symbols_that_are_no_whole_numbers_are_found_out(tmp_path: Path) -> None:
    model = build_sequence(PIECES)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    with pytest.raises(UserError, match=r"'symbol' is a tensor\(int32\), not a tensor\(int64\)"):
        Model(saved(tmp_path, model))


def test_choices_that_are_no_whole_numbers_are_found_out(tmp_path: Path) -> None:
    model = build_composer()
    model.graph.node.append(onnx.helper.make_node("Cast", ["whole"], ["chosen"], to=onnx.TensorProto.FLOAT))
    for node in model.graph.node:
        if node.output[0] == "chosen" and node.op_type == "Concat":
            node.output[0] = "whole"
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    with pytest.raises(UserError, match=r"output 'chosen' is a tensor\(float\), not a tensor\(int64\)"):
        Model(saved(tmp_path, model))


def test_a_model_that_makes_no_numbers_is_found_out(tmp_path: Path) -> None:
    model = build()
    for tensor in model.graph.initializer:
        if tensor.name == "belief0":
            tensor.CopyFrom(onnx.helper.make_tensor("belief0", onnx.TensorProto.FLOAT, [], [float("nan")]))
    with pytest.raises(UserError, match="NaN or infinite values"):
        Model(saved(tmp_path, model))


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07" + bytes(200)])
def test_what_is_no_onnx_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not an ONNX model"):
        Model(path)


def test_what_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        Model(tmp_path / "nowhere.onnx")


def test_weights_outside_the_file_are_not_fetched(tmp_path: Path) -> None:
    """A model names a further file for its weights, by a path of its choice; rtgen reads one file only."""
    secret = tmp_path / "weights.bin"
    secret.write_bytes(np.float32(0.2).tobytes())
    model = build()
    for tensor in model.graph.initializer:
        if tensor.name == "belief0":
            tensor.ClearField("float_data")
            tensor.external_data.add(key="location", value=str(secret))
            tensor.data_location = onnx.TensorProto.EXTERNAL
    path = tmp_path / "far.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError):
        Model(path)


def test_a_device_that_is_not_there_gives_way_to_the_cpu_and_says_so() -> None:
    model = Model(TINY, "directml")
    assert model.device == "cpu"
    assert "directml is not available" in model.remark
    assert Model(TINY, "auto").remark == ""
