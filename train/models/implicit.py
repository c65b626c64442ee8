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

    With `scaled` the code also scales the units of every layer (Perez et al., FiLM, 2018). Otherwise only the first
    layer hears it, and all that a song has to itself has to be carried from there.

    Args:
        latents: size of a code.
        features: features of a point in time.
        width: units of each layer.
        layers: layers before the last.
        out: outputs per column.
        scaled: let the code scale the units of every layer.
    """

    def __init__(self, latents: int, features: int, width: int, layers: int, out: int, scaled: bool = False) -> None:
        super().__init__()
        # Equal to a layer on the concatenated inputs, but computes the code's part once for all moments.
        self.code = nn.Linear(latents, width)
        self.time = nn.Linear(features, width, bias=False)
        self.within = nn.ModuleList(nn.Linear(width, width) for _ in range(layers - 1))
        self.scales = nn.ModuleList(_silent(latents, width) for _ in range(layers)) if scaled else None
        self.leave = nn.Linear(width, out)

    def forward(self, code: Tensor, time: Tensor) -> Tensor:
        """(batch, latents) and (batch or 1, moments, features) -> (batch, moments, out)."""
        x = self._heard(0, self.code(code)[:, None] + self.time(time), code)
        for i, layer in enumerate(self.within, 1):
            x = self._heard(i, layer(x), code)
        found: Tensor = self.leave(x)
        return found

    def _heard(self, i: int, x: Tensor, code: Tensor) -> Tensor:
        x = F.leaky_relu(x)
        return x if self.scales is None else x * (1 + self.scales[i](code)[:, None])


def _silent(inputs: int, outputs: int) -> nn.Linear:
    """A layer that is 0 at first."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


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
