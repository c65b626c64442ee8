"""A learned prior of latent codes, conditioned on attributes (Dinh et al., Density Estimation Using Real NVP, 2017).

The codes of real loops are not normally distributed, so most samples of a normal distribution are unlike any music. A
chain of invertible layers learns to map the codes to normal noise; inverted, it maps noise to codes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEEP = 2.0
"""Largest log-scale of a layer."""


class Flow(nn.Module):
    """A normalising flow; each layer changes half of the numbers, given the other half and the attributes.

    Args:
        size: size of a sample.
        known: size of the condition.
        hidden: units within a layer.
        layers: number of layers; the changed half alternates.
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
        """Negative log-likelihood (batch) of codes (batch, size), given attributes (batch, known), up to a constant."""
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
        """Codes (batch, size) from normal noise (batch, size), given attributes (batch, known)."""
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
    # Starts as the identity.
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), last)
