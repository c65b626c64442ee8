"""Muon for weights of any number of dimensions: steps that are as long in every direction of a matrix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

NARROWEST = 16
"""Rows and columns from which a matrix is turned as a whole."""
FASTER = 10.0
"""Its learning rate, in that of AdamW, which all other weights are left to."""


def matrices(net: nn.Module, among: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """The weights that are matrices, kernels of convolutions among them; no embeddings, whose rows are looked up."""
    looked_up = {id(m.weight) for m in net.modules() if isinstance(m, nn.Embedding)}
    return [p for p in among if p.ndim >= 2 and min(len(p), p[0].numel()) >= NARROWEST and id(p) not in looked_up]


class Muon(torch.optim.Muon):
    """`torch.optim.Muon` (Jordan and others, Muon: An Optimizer for Hidden Layers, 2024), which takes only matrices.

    It is given each kernel as the matrix that shares its numbers: a row for each channel that comes out.

    Args:
        weights: to be learnt.
        rate: learning rate.
        decay: of the weights.
    """

    def __init__(self, weights: Iterable[nn.Parameter], rate: float, decay: float) -> None:
        self._weights = list(weights)
        flat = [nn.Parameter(p.detach().view(len(p), -1)) for p in self._weights]
        super().__init__(flat, lr=rate, weight_decay=decay)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Of the weights themselves."""
        del set_to_none
        for weight in self._weights:
            weight.grad = None

    def step(self, closure: Any = None) -> Any:
        """Changes the weights."""
        for weight, flat in zip(self._weights, self.param_groups[0]["params"], strict=True):
            flat.grad = None if weight.grad is None else weight.grad.flatten(1)
        return super().step(closure)  # type: ignore[no-untyped-call]
