"""Makes `tiny.onnx`: a denoiser that keeps what it hears and believes a little in everything that is hidden.

It has no weights to speak of; it is there to show that any model that keeps the contract runs. Beside it stand a linear
autoencoder, its decoder alone, and recurrent networks with weights by chance, which are made when they are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rtgen.inference.card import INTEGERS, PLANES, Card, Condition, Data, Latent, State, Symbol
from rtgen.inference.sheet import GIVEN_RHYTHM, KNOWN, LOOK, RHYTHM
from rtgen.inference.spelling import LAGS, SPELLING
from rtgen.music.chord import Kind

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
WISHED = replace(
    CARD,
    name="tiny_wished",
    conditions=(Condition("damage", 1, (-1.0,), "does nothing"), Condition("wish", 12, (0.0,) * 12, "does nothing")),
    in_key=True,
)
"""The same with the conditions of a denoiser that can be told what the loop shall be like, and told in one key."""
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
            *(helper.make_tensor_value_info(c.name, f32, ["batch", c.size]) for c in card.conditions),
        ],
        [helper.make_tensor_value_info(plane, f32, free) for plane in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, card.metadata())
    onnx.checker.check_model(model)
    return model


_LATENTS, _STEPS, _HIDDEN = 24, 96, 8
AUTOENCODER = Card(
    name="tiny_autoencoder",
    role="autoencoder",
    min_steps=_STEPS,
    max_steps=_STEPS,
    latents=tuple(Latent(f"z{i}", -2, 2, mean=0.1 * (i % 3), sd=0.5 + 0.1 * (i % 4)) for i in range(_LATENTS)),
)
GENERATOR = replace(AUTOENCODER, name="tiny_generator", role="generator")
WAITS = (1, 3, 6, 12, 24)
PIECES = Card(
    name="tiny_sequence",
    role="sequence",
    states=(State("hidden", (1, "batch", _HIDDEN)),),
    vocabulary=(
        Symbol((), 0),
        *(Symbol((pitch,), 0) for pitch in range(36, 97)),
        *(Symbol((root, root + 4, root + 7), 0) for root in range(48, 60)),
        *(Symbol((), steps) for steps in WAITS),
    ),
    in_key=True,
)
"""Strikes of no length, chords among them, and waits; the first symbol is padding."""
HALF_BEATS = replace(
    PIECES,
    name="tiny_half_beats",
    vocabulary=tuple(Symbol(pitches, 6) for pitches in [(p,) for p in range(48, 84)] + [(60, 64, 67), (57, 60, 64)]),
    in_key=False,
)
"""Strikes of half a beat, and nothing else."""
CHORDS = Card(
    name="tiny_harmoniser",
    role="harmoniser",
    states=(State("memory", ("batch", 12)),),
    chords=(Kind("", (0, 4, 7)), Kind("m", (0, 3, 7)), Kind("/3", (0, 4, 7), 4)),
)
NOTES = Card(
    name="tiny_composer",
    role="composer",
    states=(State("memory", ("batch", _HIDDEN)),),
    spelling=SPELLING,
    in_key=True,
)


def _finish(nodes: list[onnx.NodeProto], constants: Mapping[str, np.ndarray], card: Card, name: str) -> onnx.ModelProto:
    """A model with the inputs and outputs that its card asks for."""
    kinds = dict.fromkeys(INTEGERS, TensorProto.INT64)
    inputs, outputs = (
        [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), shape) for n, shape in shapes.items()]
        for shapes in (card.inputs(), card.outputs())
    )
    weights = [numpy_helper.from_array(value, n) for n, value in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, card.metadata())
    onnx.checker.check_model(model)
    return model


def build_code(card: Card = AUTOENCODER, *, belief: float = 6.0) -> onnx.ModelProto:
    """An autoencoder, or a generator: every latent is a pattern of pitches times a pattern of steps.

    Args:
        card: of either role.
        belief: log-odds of a note for a step of 1 in the right direction.
    """
    rng = np.random.default_rng(5)
    pitches, make = card.grid.pitches, helper.make_node
    constants = {
        "of_pitch": rng.standard_normal((_LATENTS, pitches)).astype(np.float32),
        "of_step": rng.standard_normal((_LATENTS, _STEPS)).astype(np.float32),
        "last": np.array([2], np.int64),
        "onset_plane": np.array(0, np.int64),
        "few": np.array(1 / 24, np.float32),
        "steep": np.array(belief, np.float32),
        "rare": np.array(-4, np.float32),
        "tenth": np.array(0.1, np.float32),
    }
    nodes = [
        make("Unsqueeze", ["code", "last"], ["column"]),
        make("Mul", ["column", "of_step"], ["in_time"]),
        make("Transpose", ["of_pitch"], ["to_pitch"], perm=[1, 0]),
        make("MatMul", ["to_pitch", "in_time"], ["plane"]),
        make("Mul", ["plane", "tenth"], ["small"]),
        make("Mul", ["small", "steep"], ["large"]),
        make("Add", ["large", "rare"], ["logits"]),
        make("Sigmoid", ["logits"], ["onset"]),
        make("Sigmoid", ["large"], ["hold"]),
        make("Sigmoid", ["small"], ["velocity"]),
        make("Tanh", ["small"], ["turned"]),
        make("Mul", ["turned", "tenth"], ["micro"]),
    ]
    if card.role == "autoencoder":
        nodes += [
            make("Gather", ["roll", "onset_plane"], ["heard"], axis=1),
            make("MatMul", ["of_pitch", "heard"], ["by_step"]),
            make("Mul", ["by_step", "of_step"], ["matched"]),
            make("ReduceSum", ["matched", "last"], ["sums"], keepdims=0),
            make("Mul", ["sums", "few"], ["mean"]),
        ]
    used = {name for node in nodes for name in node.input}
    return _finish(nodes, {n: v for n, v in constants.items() if n in used}, card, card.name)


def build_sequence(card: Card = PIECES, *, favour: Mapping[int, float] | None = None) -> onnx.ModelProto:
    """A recurrent network whose weights are chance.

    Args:
        card: of a vocabulary and one state.
        favour: what is added to the logits of symbols, by number.
    """
    rng = np.random.default_rng(7)
    symbols, make = len(card.vocabulary), helper.make_node
    bias = np.zeros(symbols, np.float32)
    for number, much in (favour or {}).items():
        bias[number] = much
    constants = {
        "embedding": rng.standard_normal((symbols, _HIDDEN)).astype(np.float32),
        "weights": rng.standard_normal((1, _HIDDEN, _HIDDEN)).astype(np.float32),
        "again": rng.standard_normal((1, _HIDDEN, _HIDDEN)).astype(np.float32) / 3,
        "head": rng.standard_normal((_HIDDEN, symbols)).astype(np.float32),
        "bias": bias,
        "direction": np.array([1], np.int64),
    }
    nodes = [
        make("Gather", ["embedding", "symbol"], ["embedded"], axis=0),
        make("Transpose", ["embedded"], ["by_time"], perm=[1, 0, 2]),
        make("RNN", ["by_time", "weights", "again", "", "", "hidden"], ["every", "hidden_next"], hidden_size=_HIDDEN),
        make("Squeeze", ["every", "direction"], ["flat"]),
        make("Transpose", ["flat"], ["by_batch"], perm=[1, 0, 2]),
        make("MatMul", ["by_batch", "head"], ["unbiased"]),
        make("Add", ["unbiased", "bias"], ["logits"]),
    ]
    return _finish(nodes, constants, card, card.name)


def build_composer(card: Card = NOTES, *, favour: Mapping[tuple[int, int], float] | None = None) -> onnx.ModelProto:
    """A recurrent network whose weights are chance: it chooses open cells and given notes, and may pass over one.

    Args:
        card: of one state.
        favour: what is added to the logits of classes, by the number of the choice and of the class.
    """
    rng = np.random.default_rng(11)
    make, classes = helper.make_node, card.classes()
    ahead, base = GIVEN_RHYTHM + 1, 2 * len(LAGS)
    bias = np.zeros(sum(classes), np.float32)
    firsts = np.cumsum((0, *classes))
    for (choice, number), much in (favour or {}).items():
        bias[firsts[choice] + number] = much
    constants = {
        "of_note": rng.standard_normal((5, _HIDDEN)).astype(np.float32) / 30,
        "of_place": rng.standard_normal((2, _HIDDEN)).astype(np.float32) / 30,
        "of_known": rng.standard_normal((KNOWN, _HIDDEN)).astype(np.float32) / 3,
        "again": rng.standard_normal((_HIDDEN, _HIDDEN)).astype(np.float32) / 3,
        "head": rng.standard_normal((_HIDDEN, sum(classes))).astype(np.float32),
        "favour": bias,
        "steps": np.array(SPELLING.shifts, np.int64),
        "look": np.array(LOOK, np.int64),
        "no_yes": np.array([0, 1], np.float32),
        "rows": np.arange(classes[1], dtype=np.int64)[None],
        "ahead": np.array([RHYTHM - 2 * ahead - 1, ahead, ahead, 1], np.int64),
        "far": np.full((ahead, classes[0] - ahead), 1, np.float32),
        "of_given": np.array([base + 2], np.int64),
        "of_open": np.array([base + 5], np.int64),
        "second": np.array([1], np.int64),
        "third": np.array([2], np.int64),
        "half": np.array(0.5, np.float32),
        "sizes": np.array(classes, np.int64),
        "nothing": np.array(0, np.int64),
        "impossible": np.array(-1e9, np.float32),
        "out": np.array(-1e3, np.float32),
        "unlikely": np.array(-1e4, np.float32),
        "zero": np.array(0, np.float32),
        "ahead_and_above": np.array([GIVEN_RHYTHM, 1], np.int64),
    }
    nodes = [
        make("Cast", ["note"], ["as_number"], to=TensorProto.FLOAT),
        make("MatMul", ["as_number", "of_note"], ["heard"]),
        make("MatMul", ["place", "of_place"], ["placed"]),
        make("MatMul", ["known", "of_known"], ["told"]),
        make("MatMul", ["memory", "again"], ["remembered"]),
        make("Sum", ["heard", "placed", "told", "remembered"], ["sums"]),
        make("Tanh", ["sums"], ["memory_next"]),
        make("MatMul", ["memory_next", "head"], ["unbiased"]),
        make("Add", ["unbiased", "favour"], ["logits"]),
        make("Split", ["logits", "sizes"], [f"logits{i}" for i in range(5)], axis=1),
        make("Split", ["noise", "sizes"], [f"noise{i}" for i in range(5)], axis=1),
        make("Gather", ["note", "second"], ["row"], axis=1),
        make("Split", ["given"], [f"given{i}" for i in range(5)], axis=1, num_outputs=5),
        make("Log", ["least"], ["share"]),
        # Of the numbers of the steps ahead, "above" at the same step comes last.
        make("Split", ["rhythm", "ahead"], ["before", "of_notes", "of_cells", "distance"], axis=1),
        make("Add", ["of_notes", "of_cells"], ["there"]),
        make("Split", ["there", "ahead_and_above"], ["later", "above"], axis=1),
        make("MatMul", ["of_cells", "far"], ["any_far"]),
        make("Concat", ["above", "later", "any_far"], ["may0"], axis=1),
        make("Gather", ["columns", "of_given"], ["given_cells"], axis=2),
        make("Gather", ["columns", "of_open"], ["open_cells"], axis=2),
        make("Add", ["given_cells", "open_cells"], ["cells4"]),
        make("Squeeze", ["cells4", "third"], ["cells"]),
    ]
    for i in range(5):
        here = f"logits{i}"
        if i == 1:
            nodes += [
                make("Add", ["logits1", "bias"], ["biased"]),
                make("Gather", ["steps", "chosen0"], ["further"]),
                make("OneHot", ["further", "look", "no_yes"], ["at_step"]),
                make("MatMul", ["at_step", "cells"], ["column3"]),
                make("Squeeze", ["column3", "second"], ["column"]),
                make("Equal", ["chosen0", "nothing"], ["same"]),
                make("LessOrEqual", ["rows", "row"], ["under"]),
                make("And", ["same", "under"], ["passed"]),
                make("Where", ["passed", "zero", "column"], ["may1"]),
            ]
            here = "biased"
        if i < 2:
            nodes += [
                make("Less", [f"may{i}", "half"], [f"never{i}"]),
                make("Where", [f"never{i}", "unlikely", here], [f"legal{i}"]),
            ]
            here = f"legal{i}"
        nodes += [
            make("Less", [f"noise{i}", "out"], [f"out{i}"]),
            make("Where", [f"out{i}", "impossible", here], [f"left{i}"]),
            make("Div", [f"left{i}", "temperature"], [f"score{i}"]),
            make("ReduceMax", [f"score{i}", "first"], [f"best{i}"]),
            make("Add", [f"best{i}", "share"], [f"floor{i}"]),
            make("Less", [f"score{i}", f"floor{i}"], [f"rare{i}"]),
            make("Add", [f"score{i}", f"noise{i}"], [f"noisy{i}"]),
            make("Where", [f"rare{i}", "impossible", f"noisy{i}"], [f"drawn{i}"]),
            make("ArgMax", [f"drawn{i}"], [f"likeliest{i}"], axis=1),
            make("Less", [f"given{i}", "nothing"], [f"free{i}"]),
            make("Where", [f"free{i}", f"likeliest{i}", f"given{i}"], [f"chosen{i}"]),
            make("LogSoftmax", [f"logits{i}"], [f"chances{i}"], axis=1),
            make("GatherElements", [f"chances{i}", f"chosen{i}"], [f"chance{i}"], axis=1),
        ]
    nodes += [make("Concat", [f"{name}{i}" for i in range(5)], [name], axis=1) for name in ("chosen", "chance")]
    return _finish(nodes, {**constants, "first": np.array([1], np.int64)}, card, card.name)


def build_harmoniser(card: Card = CHORDS) -> onnx.ModelProto:
    """Says the major triad on the lowest note that it heard last, which is its memory."""
    make, kinds = helper.make_node, len(card.chords)
    spread = np.zeros((12, 12 * kinds + 1), np.float32)
    spread[np.arange(12), np.arange(12) * kinds] = 1
    rest = np.full(12 * kinds + 1, -3, np.float32)
    rest[::kinds] = 0
    rest[-1] = 4
    constants = {
        "lowest": np.array(3, np.int64),
        "root": np.array(1, np.int64),
        "much": np.array(6, np.float32),
        "some": np.array(3, np.float32),
        "spread": spread,
        "rest": rest,
        "one": np.array(1, np.float32),
        "across": np.array([1], np.int64),
    }
    nodes = [
        make("Gather", ["heard", "lowest"], ["low"], axis=2),
        make("Gather", ["chord", "root"], ["before"], axis=2),
        make("ReduceSum", ["low", "across"], ["heard_any"]),
        make("Sub", ["one", "heard_any"], ["heard_none"]),
        make("Mul", ["memory", "heard_none"], ["kept"]),
        make("Add", ["low", "kept"], ["memory_next"]),
        make("Mul", ["memory_next", "much"], ["of_low"]),
        make("Mul", ["before", "some"], ["of_before"]),
        make("Add", ["of_low", "of_before"], ["roots"]),
        make("MatMul", ["roots", "spread"], ["named"]),
        make("Add", ["named", "rest"], ["logits"]),
        make("LogSoftmax", ["logits"], ["chance"], axis=1),
    ]
    return _finish(nodes, constants, card, card.name)


if __name__ == "__main__":
    onnx.save(build(), Path(__file__).parent / "tiny.onnx")
