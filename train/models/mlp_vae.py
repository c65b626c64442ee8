"""Fully connected variational autoencoder: the flattened piano roll through 16 latent dimensions.

The original has one plane (hold), and its loss is the plain sum of cross-entropy and KL divergence. Two of its traits
are kept: the layer sizes, and separate weights for every cell, so that nothing learnt at one pitch carries over to the
next.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from train.loops.sample import GRID
from train.models.vae import STEPS, Repairs, Vae, begin_at_prior


class MlpVae(Vae):
    """The role `autoencoder`; other arguments as in `train.models.vae.Repairs`.

    Args:
        latents: size of a code.
        hidden: units of the encoder's layers; the decoder mirrors them.
    """

    description: ClassVar[str] = "Varies, blends and generates loops; fully connected autoencoder with 16 latents."

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
    """Linear layers, each followed by a ReLU."""
    return nn.Sequential(*(part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())))
