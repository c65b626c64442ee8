"""A fully connected variational autoencoder of loops: the picture of a loop, laid out in a row, through 16 numbers.

The system that it rebuilds laid out one plane of what sounds, and wanted the plain sum of cross-entropy and
divergence. Two of its habits are kept: the sizes of its layers, and that every cell has weights of its own, so nothing
that is learnt at one pitch is known at the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from train.loops.sample import GRID
from train.models.vae import STEPS, Repairs, Vae, begin_at_prior


class MlpVae(Vae):
    """The role `autoencoder`; arguments besides these as in `train.models.vae.Repairs`.

    Args:
        latents: numbers in a code.
        hidden: units of the encoder's layers; the decoder has them the other way round.
    """

    description: ClassVar[str] = "Varies, blends and draws loops by a code of 16 numbers; fully connected."

    def __init__(
        self,
        latents: int = 16,
        hidden: Sequence[int] = (256, 128, 64),
        onset: bool = True,
        velocity: bool = True,
        prior_bias: bool = True,
        positive: float = 1.0,
        free_bits: float = 0.1,
        beta: float = 0.2,
        anneal: int = 2000,
        masked: bool = True,
    ) -> None:
        super().__init__(latents, Repairs(onset, velocity, prior_bias, positive, free_bits, beta, anneal, masked))
        self.shape = (self.repairs.planes, GRID.pitches, STEPS)
        cells = self.repairs.planes * GRID.pitches * STEPS
        self.encoder = _layers([cells, *hidden])
        self.to_mean = nn.Linear(hidden[-1], latents)
        self.to_log_var = nn.Linear(hidden[-1], latents)
        self.decoder = _layers([latents, *reversed(hidden)])
        self.leave = nn.Linear(hidden[0], cells)
        if prior_bias:
            begin_at_prior(self.leave.bias.view(self.repairs.planes, -1), positive)

    def encode(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the code."""
        h = self.encoder(picture.flatten(1))
        return self.to_mean(h), self.to_log_var(h)

    def decode(self, code: Tensor) -> Tensor:
        """Logits of the picture."""
        logits: Tensor = self.leave(self.decoder(code))
        return logits.reshape(-1, *self.shape)


def _layers(sizes: Sequence[int]) -> nn.Sequential:
    """Fully connected layers, a rectifier after each."""
    return nn.Sequential(*(part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())))
