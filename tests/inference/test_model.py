from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from rtgen.errors import UserError
from rtgen.inference.card import METADATA_KEY, Card
from rtgen.inference.model import Model
from rtgen.music.time import Grid
from tests.data.make_tiny import CARD, build

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"


def saved(tmp_path: Path, model: onnx.ModelProto) -> Path:
    path = tmp_path / "other.onnx"
    onnx.save(model, path)
    return path


def with_card(change: Callable[[dict[str, object]], None]) -> onnx.ModelProto:
    model = build()
    fields = json.loads(model.metadata_props[0].value)
    change(fields)
    model.metadata_props[0].value = json.dumps(fields)
    return model


def test_the_committed_model_is_what_its_script_makes() -> None:
    assert onnx.load(TINY) == build()


def test_a_card_survives_the_metadata() -> None:
    assert Card.from_metadata(CARD.metadata(), "it") == CARD


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
    "no range of steps": (lambda: with_card(lambda c: c.update(min_steps=0)), "are no range"),
    "fewer pitches than the card says": (lambda: build(pitches=48), r"input 'roll' has the shape"),
    "no such output": (lambda: build(outputs=("onset", "hold", "velocity")), "no output 'micro'"),
    "an input too many": (lambda: with_card(lambda c: c.update(conditions=[])), "wants an input 'level'"),
}


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


def test_a_model_that_makes_no_numbers_is_found_out(tmp_path: Path) -> None:
    model = build()
    for tensor in model.graph.initializer:
        if tensor.name == "belief0":
            tensor.CopyFrom(onnx.helper.make_tensor("belief0", onnx.TensorProto.FLOAT, [], [float("nan")]))
    with pytest.raises(UserError, match="no numbers"):
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
    assert "directml is not here" in model.remark
    assert Model(TINY, "auto").remark == ""
