"""Which codes there are, given some attributes: what new loops are drawn from.

The codes of real loops are no normal distribution, so most of what is drawn from one is unlike any music. A chain of
invertible layers is taught to turn the codes into normal noise (Dinh and others, Density Estimation Using Real NVP,
2017); turned round, it makes codes of noise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEEP = 2.0
"""Largest logarithm of a scale in a layer."""


class Flow(nn.Module):
    """Invertible layers; each changes every other number by what the rest and the attributes say.

    Args:
        size: numbers of what is drawn.
        known: numbers that it depends on.
        hidden: units within a layer.
        layers: how many, of which each second one changes the same numbers.
    """

    def __init__(self, size: int, known: int, hidden: int = 192, layers: int = 6) -> None:
        super().__init__()
        self.middle = size // 2
        self.sizes = [
            (size - self.middle, self.middle) if i % 2 else (self.middle, size - self.middle) for i in range(layers)
        ]
        self.layers = nn.ModuleList(_layer(kept + known, hidden, 2 * changed) for kept, changed in self.sizes)
        self.mean, self.scale = nn.Linear(known, size), nn.Parameter(torch.zeros(size))
        for weights in self.mean.parameters():
            nn.init.zeros_(weights)

    def nats(self, x: Tensor, known: Tensor) -> Tensor:
        """How unlikely codes (batch, size) are, given attributes (batch, known); shape (batch), up to a constant."""
        z = (x - self.mean(known)) * torch.exp(-self.scale)
        log_slope = -self.scale.sum().expand(len(x))
        for i, layer in enumerate(self.layers):
            kept, changed = self._split(z, i)
            shift, steep = self._change(layer, kept, known)
            z = self._joined(kept, (changed - shift) * torch.exp(-steep), i)
            log_slope = log_slope - steep.sum(dim=1)
        found: Tensor = 0.5 * (z**2).sum(dim=1) - log_slope
        return found

    def forward(self, noise: Tensor, known: Tensor) -> Tensor:
        """Codes (batch, size) of normal noise (batch, size), given attributes (batch, known)."""
        z = noise
        for i in reversed(range(len(self.layers))):
            kept, changed = self._split(z, i)
            shift, steep = self._change(self.layers[i], kept, known)
            z = self._joined(kept, changed * torch.exp(steep) + shift, i)
        found: Tensor = z * torch.exp(self.scale) + self.mean(known)
        return found

    def _split(self, z: Tensor, i: int) -> tuple[Tensor, Tensor]:
        first, second = z[:, : self.middle], z[:, self.middle :]
        return (second, first) if i % 2 else (first, second)

    @staticmethod
    def _joined(kept: Tensor, changed: Tensor, i: int) -> Tensor:
        return torch.cat([changed, kept] if i % 2 else [kept, changed], dim=1)

    @staticmethod
    def _change(layer: nn.Module, kept: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        shift, steep = layer(torch.cat([kept, known], dim=1)).float().chunk(2, dim=1)
        return shift, STEEP * torch.tanh(steep / STEEP)


def _layer(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    last = nn.Linear(hidden, outputs)
    # At first nothing is changed.
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), last)
