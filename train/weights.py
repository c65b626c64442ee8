"""The weights of an `.onnx` that was exported from here, in torch once more: to go on training, or to time them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from rtgen.errors import UserError
from rtgen.inference.card import METADATA_KEY, Card
from train.models import build
from train.models.base import Architecture


def rebuild(path: Path) -> tuple[Card, Architecture]:
    """The card and the network of a model of role `denoiser`.

    Raises:
        UserError: it is no such model, or was not exported by `rtgen-train`.
    """
    try:
        proto = onnx.load(path)
    except Exception as error:
        raise UserError(f"{path} is not a readable model ({type(error).__name__}); name an .onnx file") from error
    card = Card.from_metadata({p.key: p.value for p in proto.metadata_props}, str(path))
    if card.role != "denoiser":
        raise UserError(f"{path} is a model of role {card.role}; only denoisers can be built again in torch")
    try:
        net = build(card.training["config"]["model"], card.training["settings"])
    except KeyError:
        raise UserError(f"{path}: its card ({METADATA_KEY}) names no architecture, so torch cannot run it") from None
    found = {i.name: torch.from_numpy(np.array(numpy_helper.to_array(i))) for i in proto.graph.initializer}
    # What the export reshaped is no longer called by its name; it stands in the order of its use, as it was declared.
    wanted = net.state_dict()
    nameless = [t for name, t in found.items() if name not in wanted and t.dtype == torch.float32]
    state = {}
    for name, parameter in wanted.items():
        tensor = found.get(name)
        if tensor is None:
            tensor = next((t for t in nameless if t.numel() == parameter.numel()), None)
            if tensor is None:
                raise UserError(f"{path} holds no weights called {name!r}, so torch cannot run it")
            nameless = [t for t in nameless if t is not tensor]
        state[name] = tensor.reshape(parameter.shape)
    net.load_state_dict(state)
    return card, net.eval()
