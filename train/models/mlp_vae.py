"""Fully connected variational autoencoder: the flattened piano roll through 16 latent dimensions.

The original has one plane (hold), and its loss is the plain sum of cross-entropy and KL divergence. Two of its traits
are kept: fully connected layers, and separate weights for every cell, so that nothing learnt at one pitch carries over
to the next. So the cells should be few: `fold` draws sixteenths instead of steps, `low` and `high` leave out pitches
that are hardly ever played, and the touch is the player's where there is no plane of velocities.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.loops.sample import GRID
from train.models.vae import STEPS, Repairs, Vae, begin_at_prior

NEVER = -15.0
"""Log-odds of what cannot be."""


class MlpVae(Vae):
    """The role `autoencoder`; other arguments as in `train.models.vae.Repairs`.

    Args:
        latents: size of a code.
        hidden: units of the encoder's layers; the decoder mirrors them.
        low: lowest pitch of the pictures.
        high: highest pitch; pitches outside are not heard, and never played.
        fold: steps in a column of the pictures; a note of the answer begins with its column.
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
        in_key: bool = True,
        low: int = GRID.pitch_low,
        high: int = GRID.pitch_high,
        fold: int = 1,
    ) -> None:
        if not GRID.pitch_low <= low <= high <= GRID.pitch_high:
            raise ValueError(f"pitches {low} to {high} are not a range within {GRID.pitch_low} to {GRID.pitch_high}")
        if fold < 1 or STEPS % fold:
            raise ValueError(f"'fold' is {fold}, which does not divide the {STEPS} steps of a loop")
        repairs = Repairs(onset, velocity, prior_bias, positive, free_bits, beta, anneal, masked, in_key)
        super().__init__(latents, repairs)
        self.fold = fold
        self.rows = slice(low - GRID.pitch_low, high - GRID.pitch_low + 1)
        self.shape = (self.repairs.planes, high - low + 1, STEPS // fold)
        cells = prod(self.shape)
        self.encoder = _layers([cells, *hidden])
        self.to_mean = nn.Linear(hidden[-1], latents)
        self.to_log_var = nn.Linear(hidden[-1], latents)
        self.decoder = _layers([latents, *reversed(hidden)])
        self.leave = nn.Linear(hidden[0], cells)
        if prior_bias:
            begin_at_prior(self.leave.bias.view(self.repairs.planes, -1), positive)

    def see(self, roll: Tensor) -> Tensor:
        """The planes of a roll, folded: a column has what begins or sounds in any of its steps."""
        return F.max_pool2d(super().see(roll)[:, :, self.rows], (1, self.fold))

    def lost(self, logits: Tensor, picture: Tensor, filled: Tensor | None) -> Tensor:
        """Reconstruction loss of folded pictures."""
        return super().lost(logits, picture, None if filled is None else filled[..., :: self.fold])

    def whole(self, code: Tensor) -> Tensor:
        """Logits of whole pictures: notes begin with a column, and there are none of the pitches left out."""
        folded = self.decode(code)
        hold, *others = (plane.repeat_interleave(self.fold, dim=2) for plane in folded.unbind(1))
        if others:
            begins = torch.arange(STEPS, device=code.device) % self.fold == 0
            others[0] = others[0].masked_fill(~begins, NEVER)
        outside = (0, 0, self.rows.start, GRID.pitches - self.rows.stop)
        return torch.stack([F.pad(plane, outside, value=NEVER) for plane in (hold, *others)], dim=1)

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
