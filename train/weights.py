"""Loads the weights of an exported `.onnx` back into torch, for fine-tuning and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from rtgen.errors import UserError
from rtgen.inference.card import METADATA_KEY, Card
from train.models import build
from train.models.base import Architecture

NARROW = "_16"
"""Ends the name of weights that the file keeps in 16 bits; the name without it is that of the weights in use."""


def rebuild(path: Path) -> tuple[Card, Architecture]:
    """Rebuilds the card and the network of a model; weights that an export leaves out stay as initialised.

    Raises:
        UserError: the file is not a model, or was not exported by `rtgen-train`.
    """
    try:
        proto = onnx.load(path)
    except Exception as error:
        raise UserError(f"{path} is not a readable model ({type(error).__name__}); give an .onnx file") from error
    card = Card.from_metadata({p.key: p.value for p in proto.metadata_props}, str(path))
    try:
        settings = {"vocabulary": [[s.pitches, s.steps] for s in card.vocabulary]} if card.vocabulary else {}
        net = build(card.training["config"]["model"], {**card.training["settings"], **settings})
    except KeyError:
        raise UserError(f"{path}: its card ({METADATA_KEY}) names no architecture, so torch cannot run it") from None
    found = {
        i.name.removeprefix("net.").removesuffix(NARROW): torch.from_numpy(np.array(numpy_helper.to_array(i)))
        for i in proto.graph.initializer
    }
    state = {name: found[name].reshape(p.shape) for name, p in net.state_dict().items() if name in found}
    if not state:
        raise UserError(f"{path} holds none of the weights of {card.training['config']['model']}; export it again")
    net.load_state_dict(state, strict=False)
    _unfold(net, found)
    return card, net.eval()


@torch.no_grad()
def _unfold(net: Architecture, found: Mapping[str, Tensor]) -> None:
    """Undoes what an export may do to a batch norm: its scale is in the layer before it, and its shift is a bias."""
    for name, layers in net.named_modules():
        for (before, _), (_, norm) in pairwise(layers.named_children()) if isinstance(layers, nn.Sequential) else ():
            shift = found.get(f"{name}.{before}.weight_bias")
            if shift is not None and isinstance(norm, nn.BatchNorm2d):
                norm.reset_running_stats()
                assert norm.running_var is not None
                norm.weight.fill_(1)
                norm.bias.copy_(shift)
                norm.running_var.fill_(1 - norm.eps)


def begin(net: Architecture, base: Architecture, base_name: str) -> None:
    """Initialises a network with the weights of another that has the same architecture and at most the same size.

    Weights that the base lacks stay as initialised; where its tensors are smaller, the additional weights are 0.

    Args:
        net: network to initialise.
        base: source of the weights.
        base_name: name of the base for the error message.

    Raises:
        UserError: the base has weights that do not fit.
    """
    state = net.state_dict()
    for name, tensor in base.state_dict().items():
        room = state.get(name, torch.zeros(0))
        if room.ndim != tensor.ndim or any(a < b for a, b in zip(room.shape, tensor.shape, strict=True)):
            raise UserError(
                f"{base_name} does not fit: a {type(net).__name__} of this configuration has no place for its {name}; "
                "choose a model of the same architecture that is not larger"
            )
        if room.shape == tensor.shape:
            state[name] = tensor
        else:
            room.zero_()[tuple(slice(n) for n in tensor.shape)] = tensor
    net.load_state_dict(state)
