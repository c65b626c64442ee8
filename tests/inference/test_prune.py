"""A part of a model, against the package that knows the whole format."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from rtgen.inference.card import PLANES
from rtgen.inference.prune import prune
from tests.data.make_tiny import AUTOENCODER, build_code

WHOLE = build_code(AUTOENCODER)


@pytest.mark.parametrize(("outputs", "wants"), [(("mean",), "roll"), (PLANES, "code"), (("hold",), "code")])
def test_a_part_has_what_its_outputs_need_and_nothing_else(outputs: tuple[str, ...], wants: str) -> None:
    part = onnx.load_from_string(prune(WHOLE.SerializeToString(), outputs))
    onnx.checker.check_model(part, full_check=True)
    assert [o.name for o in part.graph.output] == list(outputs)
    assert [i.name for i in part.graph.input] == [wants]
    assert {name for node in part.graph.node for name in node.output} & {o.name for o in WHOLE.graph.output} == set(
        outputs
    )
    assert {i.name for i in part.graph.initializer} <= {name for node in part.graph.node for name in node.input}
    assert list(part.metadata_props) == list(WHOLE.metadata_props)
    rng = np.random.default_rng(1)
    feed = {
        "roll": rng.random((2, 4, 96, 96)).astype(np.float32),
        "code": rng.standard_normal((2, 24)).astype(np.float32),
    }
    meant = ReferenceEvaluator(WHOLE).run(list(outputs), feed)
    for found, value in zip(ReferenceEvaluator(part).run(list(outputs), {wants: feed[wants]}), meant, strict=True):
        np.testing.assert_array_equal(found, value)


def test_all_of_it_is_all_of_it() -> None:
    data = WHOLE.SerializeToString()
    assert onnx.load_from_string(prune(data, [o.name for o in WHOLE.graph.output])) == WHOLE


def test_what_a_graph_within_a_node_reads_from_outside_is_kept() -> None:
    make, value = helper.make_node, helper.make_tensor_value_info
    branches = {
        name: helper.make_graph([make(op, ["far", "two"], ["out"])], name, [], [value("out", TensorProto.FLOAT, [1])])
        for name, op in (("then_branch", "Mul"), ("else_branch", "Add"))
    }
    nodes = [
        make("Neg", ["x"], ["far"]),
        make("Greater", ["x", "two"], ["larger"]),
        make("Squeeze", ["larger"], ["yes"]),
        make("If", ["yes"], ["y"], **branches),
        make("Abs", ["x"], ["other"]),
    ]
    outputs = [value(name, TensorProto.FLOAT, [1]) for name in ("y", "other")]
    two = numpy_helper.from_array(np.array([2], np.float32), "two")
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, [1])], outputs, [two])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    part = onnx.load_from_string(prune(model.SerializeToString(), ["y"]))
    assert [node.op_type for node in part.graph.node] == ["Neg", "Greater", "Squeeze", "If"]
    assert ReferenceEvaluator(part).run(None, {"x": np.array([3], np.float32)})[0] == [-6]


@given(st.binary(max_size=200))
def test_anything_else_is_refused_or_has_no_more_to_lose(data: bytes) -> None:
    try:
        part = prune(data, ["y"])
    except ValueError:
        return
    assert prune(part, ["y"]) == part
