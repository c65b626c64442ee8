"""What a function of a code and the time is made of: its layers, the clocks that tell it the time, and a reader."""

from __future__ import annotations

from math import ceil, log2, pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.loops.dataset import BARS
from train.loops.sample import GRID
from train.models.vae import STEPS

OCTAVES = 6
"""Frequencies of time in fractions of the song: once to 32 times in it, which tells the steps of two bars apart."""
PERIODS = (1 / 6, 1 / 4, 1 / 3, 1 / 2, 1.0)
"""Beats after which a moment is alike: two steps, a sixteenth, a triplet, an eighth, a quarter. Then they double."""


class Function(nn.Module):
    """A code and moments in, a number for each cell of a column out: linear layers with LeakyReLU between them.

    Args:
        latents: numbers in a code.
        features: numbers that tell a moment.
        width: units of each layer.
        layers: before the last.
        out: numbers a column.
    """

    def __init__(self, latents: int, features: int, width: int, layers: int, out: int) -> None:
        super().__init__()
        # One layer that sees both is the sum of one for each, and a code is looked at once for all moments.
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
    """A loop's onsets and what sounds (batch, 2, pitches, steps) in, its code (batch, latents) out."""

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
        """The code."""
        found: Tensor = self.layers(seen.flatten(1, 2))
        return found


def rates(bars: int, beats: bool) -> Tensor:
    """By how much (radians a step) each clock of the positional encoding goes on.

    In beats they are the same in every song, and its length adds slower ones. In fractions of the song all of them are
    slower in a longer one, until none tells a step from the next.
    """
    steps = bars // BARS * STEPS
    if not beats:
        return 2 * pi * 2.0 ** torch.arange(OCTAVES) / steps
    longer = ceil(log2(steps / GRID.steps_per_beat))
    periods = torch.tensor([*PERIODS, *(2.0**n for n in range(1, longer + 1))])
    return 2 * pi / (periods * GRID.steps_per_beat)
