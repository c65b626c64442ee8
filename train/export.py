"""From a checkpoint to an `.onnx` that has shown to be what its card says."""

from __future__ import annotations

import logging
import os
import platform
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from rtgen.errors import UserError
from rtgen.inference.card import METADATA_KEY, PLANES, Card, Condition
from rtgen.inference.model import Model
from train import batch, dataset
from train.augment import GRID, UNKNOWN
from train.fit import answers, build, repaired_f1, validation
from train.models.loop_denoiser import FOLD, MIN_STEPS, LoopDenoiser

OPSET = 18
PARITY = 2e-4
"""Largest difference between torch and onnxruntime."""
MAX_MS = 10.0
"""Slowest a loop of two bars may be, at the median on one thread."""
THRESHOLDS = tuple(round(0.3 + 0.02 * i, 2) for i in range(18))
HARMLESS = 0.985
"""Note F1 that undamaged loops must keep."""
_INPUTS = ("roll", "mask", "phase", "damage")


def load_model(saved: dict[str, Any]) -> LoopDenoiser:
    """The averaged weights of a checkpoint, ready to run."""
    model = build(saved["config"]["architecture"])
    model.load_state_dict(saved["average"])
    return model.eval()


def card_of(saved: dict[str, Any], model: LoopDenoiser) -> Card:
    """The card of a checkpoint, as yet without a tuned threshold and metrics.

    Raises:
        UserError: it was trained on a set that may not be given away.
    """
    config, state = saved["config"], saved["state"]
    for name in config["sets"]:
        if not dataset.about(name).ship:
            raise UserError(f"the model was trained on {name}, which may not be given away; train without that set")
    return Card(
        name=config["model"],
        role="denoiser",
        grid=GRID,
        min_steps=MIN_STEPS,
        step_multiple=FOLD,
        description="Repairs wrong, missing, misplaced and broken notes of a loop, and fills in what is hidden.",
        conditions=(
            Condition(
                "damage", 1, (UNKNOWN,), "how much to repair: 0 trusts what is played, 1 little of it, -1 judges"
            ),
        ),
        data=dataset.card_data(config["sets"]),
        training={
            "parameters": sum(p.numel() for p in model.parameters()),
            "loops_seen": state["step"] * config["batch"],
            "wall_s": round(state["elapsed_s"]),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
            "config": config,
            "split": "POP909 songs 651-700 valid, 701 and up test; others 5 % each by transposition class",
            "commands": [
                "rtgen-train prepare " + " ".join(f"{name}.zip" for name in config["sets"]) + " --out data/loops",
                f"rtgen-train fit {config['model']} --data data/loops --budget {round(state['elapsed_s'] / 60)}m",
                f"rtgen-train export runs/{config['model']} --data data/loops",
                f"rtgen-train evaluate models/{config['model']}.onnx --data data/loops --loops 1000 --card",
            ],
            "limits": "trained on loops of one and two bars in 4/4, without drums; "
            "most of what it leaves unrepaired are slips to a neighbour pitch and missed notes",
        },
    )


def tune(model: LoopDenoiser, data: Path, sets: Sequence[str]) -> float:
    """The onset threshold with the best note F1 on damaged validation loops, of those that leave clean ones alone.

    Raises:
        UserError: there are no such loops.
    """
    count, heard, meant = validation(dataset.load(data, "valid", list(sets)))
    of_heard, of_meant = answers(model, heard, count), answers(model, meant, count)
    harmless = [t for t in THRESHOLDS if repaired_f1(of_meant, meant, meant, t) >= HARMLESS]
    return max(harmless or THRESHOLDS, key=lambda t: repaired_f1(of_heard, heard, meant, t))


def probe(count: int, steps: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Random inputs of the right kind."""
    rng = np.random.default_rng(seed)
    roll = np.zeros((count, 4, GRID.pitches, steps), np.float32)
    roll[:, :2] = rng.random((count, 1, GRID.pitches, steps)) < 0.05
    roll[:, 2] = roll[:, 0] * rng.random(roll[:, 2].shape)
    mask = (rng.random((count, GRID.pitches, steps)) < 0.1).astype(np.float32)
    phase = batch.phases(count, steps * GRID.step)
    damage = rng.choice([UNKNOWN, 0.0, 0.5], (count, 1)).astype(np.float32)
    return tuple(torch.from_numpy(x.astype(np.float32)) for x in (batch.hide(roll, mask), mask, phase, damage))


def write(model: LoopDenoiser, card: Card, path: Path) -> float:
    """Writes one `.onnx` file with its card, and checks what was written.

    Returns:
        The largest difference between its answers and those of `model`.

    Raises:
        UserError: it cannot be written.
        RuntimeError: what was written does not answer as the model does, or is too slow.
    """
    count, bars = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("frames", min=16, max=4096)
    free = {"roll": {0: count, 3: FOLD * bars}, "mask": {0: count, 2: FOLD * bars}}
    free |= {"phase": {0: count, 2: FOLD * bars}, "damage": {0: count}}
    # The exporter's notices (packages that it could use, how it names dimensions) are of no use to whoever reads this.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            probe(2, 96),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(_INPUTS),
            output_names=list(PLANES),
            dynamic_shapes=free,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _forget_origin(proto)
    for value in (*proto.graph.input, *proto.graph.output):
        _name_free_dimensions(value, {**card.inputs(), **card.outputs()}[value.name])
    _save(proto, card, path)
    return check(model, path)


def _forget_origin(proto: onnx.ModelProto) -> None:
    """Takes out the stack traces that the exporter leaves at every node, with paths of the machine that it ran on."""
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.initializer, *proto.functions):
        del part.metadata_props[:]
        part.doc_string = ""


def _name_free_dimensions(value: onnx.ValueInfoProto, shape: Sequence[int | str]) -> None:
    for dimension, wanted in zip(value.type.tensor_type.shape.dim, shape, strict=True):
        if isinstance(wanted, str):
            dimension.dim_param = wanted


def _save(proto: onnx.ModelProto, card: Card, path: Path) -> None:
    onnx.helper.set_model_props(proto, card.metadata())
    onnx.checker.check_model(proto)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        partial.write_bytes(proto.SerializeToString())
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); choose another folder") from error


def rewrite_card(path: Path, **changes: Any) -> None:
    """Changes fields of the card in an `.onnx` file."""
    proto = onnx.load(path)
    properties = {p.key: p.value for p in proto.metadata_props}
    card = replace(Card.from_metadata({METADATA_KEY: properties[METADATA_KEY]}, str(path)), **changes)
    _save(proto, card, path)


def check(model: LoopDenoiser, path: Path) -> float:
    """Reloads an export as the daemon would, and compares it with `model`.

    Returns:
        The largest difference found.

    Raises:
        UserError: its card does not hold.
        RuntimeError: it answers differently, or is too slow.
    """
    played = Model(path)
    worst = 0.0
    for count in (1, 5):
        for steps in (48, 96, 192):
            inputs = probe(count, steps, seed=count + steps)
            with torch.no_grad():
                expected = dict(zip(PLANES, model(*inputs), strict=True))
            found: dict[str, NDArray[np.float32]] = played.run(
                {name: x.numpy() for name, x in zip(_INPUTS, inputs, strict=True)}
            )
            worst = max(worst, *(float(np.abs(found[p] - expected[p].numpy()).max()) for p in PLANES))
    if not worst < PARITY:
        raise RuntimeError(f"{path} differs from its torch model by {worst:.1e}")
    took_ms = played.seconds(21) * 1e3
    if took_ms > MAX_MS:
        raise RuntimeError(f"{path} takes {took_ms:.1f} ms a loop, more than {MAX_MS:.0f}")
    return worst
