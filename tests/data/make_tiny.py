"""Makes `tiny.onnx`: a denoiser that keeps what it hears and believes a little in everything that is hidden.

It has no weights to speak of; it is there to show that any model that keeps the contract runs.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from rtgen.inference.card import PLANES, Card, Condition, Data

CARD = Card(
    name="tiny",
    role="denoiser",
    min_steps=24,
    max_steps=384,
    step_multiple=12,
    description="A test model: hears what is there, and fills what is hidden at random",
    conditions=(Condition("level", 1, (0.5,), "does nothing"),),
    data=(Data("nothing", "MIT"),),
)
BELIEF = {"onset": 0.2, "hold": 0.7, "velocity": 0.6, "micro": 0.0}
"""What it puts into hidden cells."""


def build(card: Card = CARD, *, pitches: int = 96, outputs: tuple[str, ...] = PLANES) -> onnx.ModelProto:
    """The model, or one that breaks its card's promises."""
    f32 = TensorProto.FLOAT
    nodes = []
    constants = []
    for i, plane in enumerate(outputs):
        constants += [
            helper.make_tensor(f"index{i}", TensorProto.INT64, [], [i]),
            helper.make_tensor(f"belief{i}", f32, [], [BELIEF[plane]]),
        ]
        nodes += [
            helper.make_node("Gather", ["roll", f"index{i}"], [f"heard{i}"], axis=1),
            helper.make_node("Mul", ["mask", f"belief{i}"], [f"hidden{i}"]),
            helper.make_node("Add", [f"heard{i}", f"hidden{i}"], [plane]),
        ]
    free = ["batch", pitches, "steps"]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("roll", f32, ["batch", 4, pitches, "steps"]),
            helper.make_tensor_value_info("mask", f32, free),
            helper.make_tensor_value_info("phase", f32, ["batch", 4, "steps"]),
            helper.make_tensor_value_info("level", f32, ["batch", 1]),
        ],
        [helper.make_tensor_value_info(plane, f32, free) for plane in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, card.metadata())
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    onnx.save(build(), Path(__file__).parent / "tiny.onnx")
