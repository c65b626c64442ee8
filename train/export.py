"""Exports a checkpoint to an `.onnx` file with a card, and verifies that file."""

from __future__ import annotations

import copy
import logging
import os
import platform
import time
import warnings
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnxscript.optimizer import optimize_ir
from torch import Tensor, nn

from rtgen.inference.card import INTEGERS, METADATA_KEY, Card, Shape
from rtgen.inference.model import Model
from rtgen.whole import written
from train import config as configuration
from train import trainer
from train.loops import dataset
from train.loops.sample import GRID
from train.models import FAMILY, SEVEN
from train.models.base import Architecture
from train.weights import NARROW

OPSET = 18
PARITY = 1e-5
"""Largest allowed difference between torch and onnxruntime, relative to outputs of magnitude 1."""
MAX_MS = 50.0
"""Longest allowed run in milliseconds of processor time (`Model.seconds`), median on one thread."""
LARGE = 1024
"""Numbers from which a tensor of weights is written in 16 bits, half of what it takes otherwise."""
Feed = dict[str, Tensor]


@dataclass(frozen=True)
class Report:
    """Result of `write`.

    Args:
        difference: largest difference between the outputs of the file and of the torch network with the same weights.
        ms: median processor time of a run on one thread: a loop of two bars, a symbol or a note.
        rounding: largest difference between the outputs with weights of 16 bits and with those that were trained.
    """

    difference: float
    ms: float
    rounding: float = 0.0


def card_of(training: trainer.Training, net: Architecture, data: Path | str, name: str | None = None) -> Card:
    """Creates the card of a run, without metrics.

    Args:
        training: the run.
        net: its averaged weights.
        data: training dataset, on which the ranges of the latent code are measured.
        name: of the model; None uses the architecture's name.
    """
    config = training.config
    plain = replace(config, augmentation={})
    train, valid = (net.source(data, split, plain) for split in ("train", "valid"))
    minutes = max(round(training.elapsed_s / 60), 1)
    called = configuration.called(config)
    stem = called.removesuffix(".yaml")
    begun_with = training.hparams["begun_with"]
    base = f" --from models/{name or config.model}.onnx" if begun_with else ""
    archives = " ".join(f"{set_name}.zip" for set_name in sorted(train.sets))
    where = "data/loops" if net.cuts else archives
    commands = [
        *([f"rtgen-train prepare {archives} --out data/loops"] if net.cuts else []),
        f"rtgen-train fit {called} --data {where} --out runs/{stem} --budget {minutes}m{base}",
        f"rtgen-train export runs/{stem} --data {where} --name {name or config.model}",
    ]
    return Card(
        name=name or config.model,
        role=net.role,
        family=FAMILY if config.model in SEVEN else "",
        grid=GRID,
        data=dataset.card_data(train.sets),
        training={
            "parameters": sum(p.numel() for p in net.parameters()),
            "loops_seen": int(training.seen) * config.batch,
            "wall_s": round(training.elapsed_s),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
            "config": asdict(config),
            "settings": _short(training.hparams["settings"]),
            "split": "POP909 songs 651-700 valid, 701 and up test; others 5 % each by transposition class",
            "commands": commands,
            **({"begun_with": begun_with} if begun_with else {}),
        },
        **net.card(train, valid),
    )


def _short(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without long lists; a vocabulary is on the card already."""
    return {name: value for name, value in settings.items() if not isinstance(value, list | tuple) or len(value) < 20}


def may_ship(card: Card) -> bool:
    """Whether weights trained on the card's sets may be redistributed."""
    return all(dataset.about(d.name).ship for d in card.data)


# ---- test inputs ----------------------------------------------------------------------------------------------------


def probe(card: Card, count: int, steps: int, seed: int = 0) -> Feed:
    """Random valid inputs of a model: a batch of `count`, each of `steps` steps or symbols."""
    rng = np.random.default_rng(seed)
    sizes = {"batch": count, "steps": steps, "time": steps}
    latents = np.array([(x.mean, x.sd) for x in card.latents]).reshape(-1, 2)
    feed: dict[str, NDArray[Any]] = {}
    for name, shape in card.inputs().items():
        exact = [sizes[d] if isinstance(d, str) else d for d in shape]
        if card.spelling is not None:
            feed[name] = _of_note(name, exact, card, rng)
        elif name == "roll":
            feed[name] = np.zeros(exact, np.float32)
            feed[name][:, :2] = rng.random((count, 1, *exact[2:])) < 0.05
            feed[name][:, 2] = feed[name][:, 0] * rng.random(feed[name][:, 2].shape)
        elif name == "mask":
            feed[name] = (rng.random(exact) < 0.1).astype(np.float32)
        elif name in INTEGERS:
            feed[name] = rng.integers(0, len(card.vocabulary), exact)
        elif name == "code":
            feed[name] = rng.normal(latents[:, 0], latents[:, 1], exact)
        elif name == "noise":
            feed[name] = rng.standard_normal(exact)
        else:
            feed[name] = rng.uniform(-1, 1, exact)
    if "mask" in feed:
        feed["roll"] = feed["roll"] * (1 - feed["mask"][:, None])
    kinds = {name: np.int64 if name in INTEGERS else np.float32 for name in feed}
    return {name: torch.from_numpy(x.astype(kinds[name])) for name, x in feed.items()}


def _of_note(name: str, shape: Sequence[int], card: Card, rng: np.random.Generator) -> NDArray[Any]:
    """Random input of a model of notes; zero noise makes it choose the likeliest note, which is the same each time."""
    classes = np.array(card.classes())
    if name in INTEGERS:
        some = rng.integers(0, classes, shape)
        return np.where(rng.random(shape) < 0.5, -1, some) if name == "given" else some
    if name == "place":
        return np.stack([rng.integers(0, 48, shape[0]), np.full(shape[0], 48)], axis=1)
    if name in ("columns", "rhythm", "harmony"):
        return rng.random(shape) < 0.1
    if name == "noise":
        return np.zeros(shape)
    if name in ("temperature", "least"):
        return rng.uniform(0.1, 0.9, shape)
    return rng.uniform(-1, 1, shape)


def _lengths(card: Card) -> list[int]:
    """Steps or symbols to test a model with; some take one note or half beat at a time."""
    if card.kind.unit != "loop":
        return [1, 2, 50] if card.kind.unit == "symbol" else [1]
    return sorted({min(max(n, card.min_steps), card.max_steps) for n in (48, 96, 192)})


# ---- writing --------------------------------------------------------------------------------------------------------


def write(net: nn.Module, card: Card, path: Path) -> Report:
    """Writes an `.onnx` file with its card and verifies it; large weights are rounded to 16 bits.

    Args:
        net: from `Architecture.player`; takes the card's inputs and returns its outputs, both in the card's order.
        card: of the model.
        path: of the file.

    Raises:
        UserError: the file cannot be written, or its card is invalid.
        RuntimeError: the file's outputs differ from the network's, or it is too slow.
    """
    trained = net.eval()
    net = rounded(trained)
    inputs = probe(card, 2, _lengths(card)[-1])
    # The exporter's notices (optional packages, names of dimensions) do not concern the user.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net,
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(card.inputs()),
            output_names=list(card.outputs()),
            dynamic_shapes=tuple(_free(shape, card) for shape in card.inputs().values()),
            optimize=False,
            verbose=False,
        )
        assert program is not None
        # Leave constants computed from weights to onnxruntime, so that the file keeps the weights under their names.
        weights = {name for name, _ in net.named_parameters()}
        optimize_ir(program.model, should_fold=lambda node: _needs(node, weights))
    proto = program.model_proto
    _forget_origin(proto)
    for value in (*proto.graph.input, *proto.graph.output):
        _name_free_dimensions(value, {**card.inputs(), **card.outputs()}[value.name])
    narrow(proto)
    save(proto, card, path)
    return replace(check(net, path), rounding=_apart(_outputs(trained, inputs), _outputs(net, inputs)))


@torch.no_grad()
def rounded(net: nn.Module) -> nn.Module:
    """A copy of a network whose large weights are numbers of 16 bits; those that 16 bits cannot hold stay."""
    found = copy.deepcopy(net)
    for weights in found.parameters():
        half = weights.half().float()
        if weights.numel() >= LARGE and half.isfinite().all():
            weights.copy_(half)
    return found


def narrow(proto: onnx.ModelProto) -> None:
    """Stores large tensors in 16 bits if these hold them exactly; onnxruntime widens them once, when it loads them."""
    casts = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < LARGE:
            continue
        wide = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = wide.astype(np.float16)
        if np.array_equal(half, wide):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, name + NARROW))
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _needs(node: Any, names: Container[str]) -> bool | None:
    """False (do not fold) if the node reads one of these names, else None (no preference)."""
    return False if any(value is not None and value.name in names for value in node.inputs) else None


def _free(shape: Shape, card: Card) -> dict[int, Any]:
    """Dynamic dimensions of an input, for the exporter."""
    few = -(-card.min_steps // card.step_multiple)
    dimensions = {
        "batch": torch.export.Dim("batch", min=1, max=4096),
        "time": torch.export.Dim("time", min=1, max=4096),
        "steps": card.step_multiple * torch.export.Dim("frames", min=few, max=4096)
        if card.step_multiple > 1
        else torch.export.Dim("steps", min=few, max=4096),
    }
    return {i: dimensions[d] for i, d in enumerate(shape) if isinstance(d, str)}


def _forget_origin(proto: onnx.ModelProto) -> None:
    """Removes the exporter's stack traces, which contain paths of the exporting machine, from all nodes."""
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.initializer, *proto.functions):
        del part.metadata_props[:]
        part.doc_string = ""


def _name_free_dimensions(value: onnx.ValueInfoProto, shape: Sequence[int | str]) -> None:
    for dimension, wanted in zip(value.type.tensor_type.shape.dim, shape, strict=True):
        if isinstance(wanted, str):
            dimension.dim_param = wanted


def save(proto: onnx.ModelProto, card: Card, path: Path) -> None:
    """Writes a graph with a card, atomically.

    Raises:
        UserError: `path` cannot be written.
    """
    onnx.helper.set_model_props(proto, card.metadata())
    onnx.checker.check_model(proto)
    with written(path, parents=True) as partial:
        partial.write_bytes(proto.SerializeToString())


def rewrite_card(path: Path, **changes: Any) -> None:
    """Updates fields of the card in an `.onnx` file."""
    proto = onnx.load(path)
    properties = {p.key: p.value for p in proto.metadata_props}
    card = replace(Card.from_metadata({METADATA_KEY: properties[METADATA_KEY]}, str(path)), **changes)
    save(proto, card, path)


def check(net: nn.Module, path: Path) -> Report:
    """Loads an export as the daemon would and compares it with the network.

    Raises:
        UserError: its card is invalid.
        RuntimeError: its outputs differ, or it is too slow.
    """
    played = Model(path)
    card = played.card
    worst = 0.0
    for count in (1, 2, 5):
        for steps in _lengths(card):
            feed = probe(card, count, steps, seed=count + steps)
            found = played.run({name: x.numpy() for name, x in feed.items()})
            made = [torch.from_numpy(found[name]) for name in card.outputs()]
            worst = max(worst, _apart(_outputs(net, feed), made))
    if not worst < PARITY:
        raise RuntimeError(f"{path} differs from its torch model by {worst:.1e}, more than {PARITY:.0e}")
    took_ms = played.seconds(21, time.process_time) * 1e3  # a busy machine makes no model slow
    if took_ms > MAX_MS:
        raise RuntimeError(f"{path} takes {took_ms:.1f} ms per run, more than {MAX_MS:.0f}")
    return Report(worst, took_ms)


@torch.no_grad()
def _outputs(net: nn.Module, feed: Feed) -> Sequence[Tensor]:
    outputs: Tensor | tuple[Tensor, ...] = net(*feed.values())
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _apart(wanted: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """Largest difference between outputs, relative to those of magnitude 1.

    Logits and codes exceed 1, unlike probabilities, and their rounding errors grow with them.
    """
    pairs = zip(wanted, found, strict=True)
    return max(float((a - b).abs().max()) / max(1.0, float(a.abs().max())) for a, b in pairs)
