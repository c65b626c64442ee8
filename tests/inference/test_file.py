"""What a model's file says about itself: nothing of the model is run, and no other file is read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from rtgen.errors import UserError
from rtgen.inference import file
from rtgen.inference.card import METADATA_KEY
from rtgen.inference.file import card_of, names_a_file, read
from rtgen.inference.model import Model
from rtgen.inference.protobuf import tagged, varint
from tests.data.make_faulty import faulty
from tests.data.make_tiny import CARD, build, build_composer

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"
DATA = TINY.read_bytes()


def outside(location: str = "weights.bin") -> onnx.TensorProto:
    """A tensor that is in another file."""
    tensor = TensorProto(name="far", dims=[1], data_type=TensorProto.FLOAT)
    tensor.external_data.add(key="location", value=location)
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


# ---- weights in another file ----------------------------------------------------------------------------------------


def hidden() -> Iterator[tuple[str, onnx.ModelProto]]:
    """Models with such a tensor wherever the format has room for one."""
    make = helper.make_node
    node = make("Constant", [], ["x"], value=outside())
    inner = helper.make_graph([node], "inner", [], [])
    branch = make("If", ["yes"], ["x"], then_branch=inner, else_branch=inner)
    sparse = onnx.SparseTensorProto(values=outside(), indices=outside(), dims=[1])
    listed = onnx.NodeProto(op_type="X")
    listed.attribute.add(name="a", type=onnx.AttributeProto.TENSORS).tensors.append(outside())
    graphs = onnx.NodeProto(op_type="X")
    graphs.attribute.add(name="a", type=onnx.AttributeProto.GRAPHS).graphs.append(inner)
    loose = onnx.NodeProto(op_type="X")
    loose.attribute.add(name="a", type=onnx.AttributeProto.SPARSE_TENSOR).sparse_tensor.CopyFrom(sparse)
    many = onnx.NodeProto(op_type="X")
    many.attribute.add(name="a", type=onnx.AttributeProto.SPARSE_TENSORS).sparse_tensors.append(sparse)
    nodes = {"an attribute": node, "a branch": branch, "tensors": listed, "graphs": graphs, "sparse": loose}
    for name, each in {**nodes, "sparse tensors": many}.items():
        model = build()
        model.graph.node.append(each)
        yield name, model
    for name in "initializer", "sparse initializer", "function", "default of a function", "training":
        model = build()
        match name:
            case "initializer":
                model.graph.initializer.append(outside())
            case "sparse initializer":
                model.graph.sparse_initializer.append(sparse)
            case "function":
                model.functions.add(name="f").node.append(branch)
            case "default of a function":
                model.functions.add(name="f").attribute_proto.add(name="a").t.CopyFrom(outside())
            case "training":
                model.training_info.add().algorithm.node.append(node)
        yield name, model


@pytest.mark.parametrize(("name", "model"), list(hidden()), ids=lambda value: value if isinstance(value, str) else "")
def test_weights_in_another_file_are_refused_wherever_they_hide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, model: onnx.ModelProto
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.float32(0.2).tobytes())
    path = tmp_path / "far.onnx"
    path.write_bytes(model.SerializeToString())
    for attempt in read, Model:
        with pytest.raises(UserError, match=r"far.onnx keeps weights in another file.*export it again"):
            attempt(path)
    assert card_of(path) == CARD  # which is not where the weights are


@pytest.mark.parametrize("location", ["belief.bin", "../belief.bin", "a/../../belief.bin"])
def test_no_file_of_the_working_directory_or_above_becomes_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    here = tmp_path / "here"
    (here / "a").mkdir(parents=True)
    monkeypatch.chdir(here)
    for folder in here, tmp_path:
        (folder / "belief.bin").write_bytes(np.float32(0.2).tobytes())
    model = build()
    (belief,) = (tensor for tensor in model.graph.initializer if tensor.name == "belief0")
    belief.ClearField("float_data")
    belief.external_data.add(key="location", value=location)
    belief.data_location = TensorProto.EXTERNAL
    (here / "far.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="keeps weights in another file"):
        Model(here / "far.onnx")


def test_a_tensor_that_says_it_is_inside_is_inside() -> None:
    model = build()
    model.graph.initializer[0].data_location = TensorProto.DEFAULT
    assert not names_a_file(model.SerializeToString())


def test_every_place_for_a_tensor_is_looked_at() -> None:
    """The table is what the package onnx has in its description of the format."""
    found: dict[str, dict[int, str]] = {}
    waiting = [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        inner = {field.number: field.message_type for field in message.fields if field.message_type is not None}
        found[message.name] = {number: kind.name for number, kind in inner.items()}
        waiting += [kind for kind in inner.values() if kind.name not in found]

    def holds_a_tensor(name: str, above: frozenset[str] = frozenset()) -> bool:
        inside = set(found[name].values()) - above
        return name == "TensorProto" or any(holds_a_tensor(each, above | {name}) for each in inside)

    meant = {
        name.removesuffix("Proto"): {n: kind.removesuffix("Proto") for n, kind in inner.items() if holds_a_tensor(kind)}
        for name, inner in found.items()
        if holds_a_tensor(name)
    }
    meant["Tensor"] = {}
    assert meant == file.INSIDE
    numbers = TensorProto.DESCRIPTOR.fields_by_name
    assert (
        numbers["external_data"].number,
        numbers["data_location"].number,
    ) == (file.EXTERNAL_DATA, file.DATA_LOCATION)


def test_a_field_number_that_other_readers_would_cut_off_is_refused(tmp_path: Path) -> None:
    """Of 32 bits the format has 29 for the number; a reader that keeps 32 bits takes 2^32 more for the same field."""
    graph = onnx.GraphProto()
    graph.initializer.append(outside())
    content = graph.SerializeToString()
    path = tmp_path / "x.onnx"
    path.write_bytes(DATA + varint((7 << 3 | 2) + 2**32) + varint(len(content)) + content)
    with pytest.raises(UserError, match="not an ONNX model"):
        read(path)


def test_a_file_of_many_small_fields_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_MAX_FIELDS", 1000)
    path = tmp_path / "x.onnx"
    path.write_bytes(DATA + b"\x08\x01" * 1001)
    for attempt in read, card_of:
        with pytest.raises(UserError, match="not an ONNX model"):
            attempt(path)


@given(st.binary(max_size=60), st.integers(0, len(DATA)))
def test_any_bytes_are_read_or_refused(data: bytes, at: int) -> None:
    for mutated in data, DATA[:at] + data + DATA[at:], DATA[:at] + data + DATA[at + len(data) :]:
        try:
            names_a_file(mutated)
        except ValueError:
            continue


# ---- the card -------------------------------------------------------------------------------------------------------


def carded(tmp_path: Path, card: bytes) -> Path:
    """A model whose last card, which counts, is this."""
    path = tmp_path / "carded.onnx"
    path.write_bytes(DATA + tagged(14, tagged(1, METADATA_KEY.encode()) + tagged(2, card)))
    return path


def changed(**fields: object) -> bytes:
    said = json.loads(CARD.metadata()[METADATA_KEY])
    return json.dumps({**said, **fields}).encode()


DEEP = "x"
for _ in range(40):
    DEEP = {"a": DEEP}  # type: ignore[assignment]
BAD: dict[str, tuple[bytes, str]] = {
    "no UTF-8": (b"\xff\xfe{}", "is not UTF-8 text"),
    "deep": (b"[" * 200_000, "not readable"),
    "deep inside": (changed(training=DEEP), "not readable"),
    "a number of many digits": (changed(min_steps=0).replace(b'"min_steps": 0', b'"min_steps": ' + b"9" * 5000), "not"),
    "a size without end": (
        changed(conditions=[{"name": "x", "size": float("inf"), "default": []}]),
        "does not fit the contract",
    ),
    "a default too large": (
        changed(conditions=[{"name": "x", "size": 1, "default": [10**400]}]),
        "does not fit the contract",
    ),
    "a threshold of text": (changed(threshold="x"), "does not fit the contract"),
    "half a step": (changed(min_steps=24.5), "'min_steps' is 24.5, not a whole number"),
    "a grid of fractions": (changed(grid={"steps_per_beat": 12.0}), "'steps_per_beat' is 12.0, not a whole number"),
    "data without names": (changed(data=[{"name": 3, "licence": "MIT"}]), "3 stands where a text should"),
    "metrics that are a list": (changed(metrics=[1]), "'metrics' is not an object"),
    "a role of many letters": (changed(role="x" * 100_000), "field 'role' of its card is 'xxx"),
    "a field of many letters": (changed(**{"x" * 100_000: 1}), "does not fit the contract"),
    "a field of two lines": (changed(**{"lat\nents": 1}), "unexpected keyword argument 'lat ents'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_card_that_cannot_be_is_a_short_sentence(tmp_path: Path, name: str) -> None:
    card, reason = BAD[name]
    path = carded(tmp_path, card)
    for attempt in card_of, Model:
        with pytest.raises(UserError, match=reason) as caught:
            attempt(path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 1000
        assert "\n" not in str(caught.value)


def test_a_name_cannot_forge_a_line(tmp_path: Path) -> None:
    assert card_of(carded(tmp_path, changed(name="a\nOSC on\x1b[2J"))).name == "a OSC on?[2J"


def test_the_last_card_counts_as_it_does_for_onnxruntime(tmp_path: Path) -> None:
    path = carded(tmp_path, changed(name="second"))
    assert card_of(path).name == Model(path).card.name == "second"


def test_reading_a_card_runs_nothing(tmp_path: Path) -> None:
    """A loop without end, and one that takes all memory, would be folded into a constant when onnxruntime opens it."""
    for fault in "never", "hog":
        began = time.perf_counter()
        assert card_of(faulty(tmp_path, fault, always=True)).name == fault
        assert time.perf_counter() - began < 5
    code = (
        "import sys; from pathlib import Path; from rtgen.inference.file import card_of;"
        f"card_of(Path({str(TINY)!r})); sys.exit('onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.onnx")
    with pytest.raises(UserError, match=r"p.onnx cannot be read \(it is not a regular file\)"):
        card_of(tmp_path / "p.onnx")


# ---- what onnxruntime may do ----------------------------------------------------------------------------------------


def test_another_format_that_onnxruntime_knows_is_refused(tmp_path: Path) -> None:
    """Its own, which would be recognised by its first bytes, and has its own ways to name files."""
    path = tmp_path / "x.onnx"
    path.write_bytes(b"\x1c\x00\x00\x00ORTM" + DATA)
    with pytest.raises(UserError, match="not an ONNX model"):
        Model(path)


def test_onnxruntime_keeps_and_sends_no_record(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from rtgen.inference.model import Model; Model(Path({str(TINY)!r}))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    environment |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    # It does not record in continuous integration.
    for name in "CI", "GITHUB_ACTIONS", "TF_BUILD":
        environment.pop(name, None)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name] == []


def test_a_model_of_another_role_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "c.onnx"
    model = build_composer()
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "spare"))
    onnx.save(model, path)
    assert card_of(path).role == "composer"
