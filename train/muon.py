"""The Muon optimiser, whose steps are equally long in all directions of a matrix, for weights of any dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from train.precision import has_bfloat16

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

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step as torch does, but orthogonalise in bfloat16 only where the hardware computes in it."""
        del closure
        for group in self.param_groups:
            for weight, flat in zip(self._weights, group["params"], strict=True):
                if weight.grad is None:
                    continue
                grad, state = weight.grad.flatten(1), self.state[flat]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(grad)
                momentum = state["momentum_buffer"]
                momentum.lerp_(grad, 1 - group["momentum"])
                update = _orthogonal(grad.lerp(momentum, group["momentum"]), group)
                flat.mul_(1 - group["lr"] * group["weight_decay"])
                flat.add_(update, alpha=-group["lr"] * max(1, len(flat) / flat.shape[1]) ** 0.5)


def _orthogonal(update: Tensor, group: Mapping[str, Any]) -> Tensor:
    """Make all singular values of a matrix about 1, by a Newton-Schulz iteration."""
    a, b, c = group["ns_coefficients"]
    tall = len(update) > update.shape[1]
    x = update.T if tall else update
    if has_bfloat16(update.device.type):
        x = x.bfloat16()
    x = x / x.norm().clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(update.dtype)
