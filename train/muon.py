"""The Muon optimiser, whose steps are equally long in all directions of a matrix, for weights of any dimensions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

NARROWEST = 16
"""Fewest rows and columns of a matrix that Muon optimises."""
FASTER = 10.0
"""Muon's learning rate as a multiple of AdamW's, which optimises all other weights."""


def matrices(net: nn.Module, among: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Weights for Muon: matrices and convolution kernels, but not embeddings, whose rows are looked up."""
    looked_up = {id(m.weight) for m in net.modules() if isinstance(m, nn.Embedding)}
    return [p for p in among if p.ndim >= 2 and min(len(p), p[0].numel()) >= NARROWEST and id(p) not in looked_up]


class Muon(torch.optim.Muon):
    """`torch.optim.Muon` (Jordan and others, Muon: An Optimizer for Hidden Layers, 2024), extended to kernels.

    The original takes only matrices. Each kernel is passed as a matrix that shares its storage, one row per output
    channel.

    Args:
        weights: to optimise.
        rate: learning rate.
        decay: weight decay.
    """

    def __init__(self, weights: Iterable[nn.Parameter], rate: float, decay: float) -> None:
        self._weights = list(weights)
        flat = [nn.Parameter(p.detach().view(len(p), -1)) for p in self._weights]
        super().__init__(flat, lr=rate, weight_decay=decay)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients of the original weights."""
        del set_to_none
        for weight in self._weights:
            weight.grad = None

    def step(self, closure: Any = None) -> Any:
        """Passes the gradients to the matrices and takes a step."""
        for weight, flat in zip(self._weights, self.param_groups[0]["params"], strict=True):
            flat.grad = None if weight.grad is None else weight.grad.flatten(1)
        return super().step(closure)  # type: ignore[no-untyped-call]
