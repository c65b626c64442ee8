"""Models that are well until a loop has a note on the pitch `TRIGGER`; then they do what no model should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.data.make_tiny import CARD, build

TRIGGER = 119
Fault = Literal["well", "nan", "hog", "slow", "never"]
_SIZE = 512
_TURNS = {"slow": 10_000, "never": 2**40}
"""Products of two 512 by 512 matrices, each of which takes some milliseconds."""


def faulty(folder: Path, fault: Fault, name: str | None = None, *, always: bool = False) -> Path:
    """The file of such a model.

    Args:
        folder: where it is put.
        fault: `nan` is no numbers, `hog` takes 4 GB at once, `slow` takes 10 s or more, `never` does not return.
        name: of the model; the fault's unless given.
        always: whether it needs no trigger.
    """
    name = name or fault
    model = build(replace(CARD, name=name))
    graph = model.graph
    for node in graph.node:
        if node.output[0] == "onset":
            node.output[0] = "sane"
    row = helper.make_tensor("trigger_row", TensorProto.INT64, [], [TRIGGER - CARD.grid.pitch_low])
    scale, shift = (
        helper.make_tensor(n, TensorProto.FLOAT, [], [v])
        for n, v in (("scale", 0.0 if always else 1.0), ("shift", float(always)))
    )
    graph.initializer.extend([row, scale, shift, *_constants(fault)])
    graph.node.extend(
        [
            helper.make_node("Gather", ["roll", "index0"], ["heard_onset"], axis=1),
            helper.make_node("Gather", ["heard_onset", "trigger_row"], ["row"], axis=1),
            helper.make_node("ReduceMax", ["row"], ["played"], keepdims=0),
            helper.make_node("Mul", ["played", "scale"], ["scaled"]),
            helper.make_node("Add", ["scaled", "shift"], ["trigger"]),
            *_nodes(fault),
            helper.make_node("Add", ["sane", "poison"], ["onset"]),
        ]
    )
    onnx.checker.check_model(model)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def _constants(fault: Fault) -> list[onnx.TensorProto]:
    many = float(_TURNS.get(fault, 2**30))
    return [
        numpy_helper.from_array(np.array(0.0, np.float32), "zero"),
        numpy_helper.from_array(np.array(0.5, np.float32), "half"),
        numpy_helper.from_array(np.array([many], np.float32), "many"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array(True), "true"),
        numpy_helper.from_array(np.zeros((_SIZE, _SIZE), np.float32), "matrix"),
    ]


def _nodes(fault: Fault) -> list[onnx.NodeProto]:
    """From `trigger`, which is 0 or 1, to `poison`, which is 0 if it is anything."""
    make = helper.make_node
    if fault == "well":
        return [make("Mul", ["trigger", "zero"], ["poison"])]
    if fault == "nan":
        return [
            make("Sub", ["half", "trigger"], ["below"]),
            make("Sqrt", ["below"], ["root"]),
            make("Mul", ["root", "zero"], ["poison"]),
        ]
    count = [make("Mul", ["trigger", "many"], ["floats"]), make("Cast", ["floats"], ["count"], to=TensorProto.INT64)]
    if fault == "hog":
        return [
            *count,
            make("Add", ["count", "one"], ["size"]),
            make("Expand", ["trigger", "size"], ["large"]),
            make("ReduceMin", ["large"], ["least"], keepdims=0),
            make("Mul", ["least", "zero"], ["poison"]),
        ]
    square = [_SIZE, _SIZE]
    body = helper.make_graph(
        [make("MatMul", ["state", "matrix"], ["next"]), make("Identity", ["going"], ["on"])],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, square),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, square),
        ],
    )
    return [
        *count,
        make("Squeeze", ["count"], ["turns"]),
        make("Loop", ["turns", "true", "matrix"], ["last"], body=body),
        make("ReduceMax", ["last"], ["poison"], keepdims=0),
    ]
