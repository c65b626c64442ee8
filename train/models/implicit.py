"""Building blocks of an implicit function of code and time: layers, positional encoding and reader."""

from __future__ import annotations

from math import ceil, log2, pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.loops.dataset import BARS
from train.loops.sample import GRID
from train.models.vae import STEPS

OCTAVES = 6
"""Frequencies of time as a fraction of the song: 1 to 32 per song, enough to tell apart the steps of two bars."""
PERIODS = (1 / 6, 1 / 4, 1 / 3, 1 / 2, 1.0)
"""Periods in beats: two steps, a sixteenth, a triplet, an eighth, a quarter. Longer ones double."""


class Function(nn.Module):
    """An MLP from a code and points in time to the cells of a column, with LeakyReLU between the layers.

    Args:
        latents: size of a code.
        features: features of a point in time.
        width: units of each layer.
        layers: layers before the last.
        out: outputs per column.
    """

    def __init__(self, latents: int, features: int, width: int, layers: int, out: int) -> None:
        super().__init__()
        # Equal to a layer on the concatenated inputs, but computes the code's part once for all moments.
        self.code = nn.Linear(latents, width)
        self.time = nn.Linear(features, width, bias=False)
        self.within = nn.ModuleList(nn.Linear(width, width) for _ in range(layers - 1))
        self.leave = nn.Linear(width, out)

    def forward(self, code: Tensor, time: Tensor) -> Tensor:
        """(batch, latents) and (batch or 1, moments, features) -> (batch, moments, out)."""
        x = F.leaky_relu(self.code(code)[:, None] + self.time(time))
        for layer in self.within:
            x = F.leaky_relu(layer(x))
        found: Tensor = self.leave(x)
        return found


class Reader(nn.Module):
    """Predicts the code (batch, latents) of a loop from its onset and hold planes (batch, 2, pitches, steps)."""

    def __init__(self, latents: int, width: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(2 * GRID.pitches, width, 3, stride=3),
            nn.LeakyReLU(),
            nn.Conv1d(width, width, 4, stride=2, padding=1),
            nn.LeakyReLU(),
            nn.Conv1d(width, width, 4, stride=2, padding=1),
            nn.LeakyReLU(),
            nn.Flatten(),
            nn.Linear(width * (STEPS // 12), latents),
        )

    def forward(self, seen: Tensor) -> Tensor:
        """Predict the code."""
        found: Tensor = self.layers(seen.flatten(1, 2))
        return found


def rates(bars: int, beats: bool) -> Tensor:
    """Frequencies of the positional encoding (Mildenhall et al., NeRF, 2020), in radians per step.

    With `beats` they are the same for every song, and longer songs add lower ones. As fractions of the song they all
    get lower with its length, until they no longer tell one step from the next.
    """
    steps = bars // BARS * STEPS
    if not beats:
        return 2 * pi * 2.0 ** torch.arange(OCTAVES) / steps
    longer = ceil(log2(steps / GRID.steps_per_beat))
    periods = torch.tensor([*PERIODS, *(2.0**n for n in range(1, longer + 1))])
    return 2 * pi / (periods * GRID.steps_per_beat)
