"""The shipped autoencoder: `conv_vae` in one key, with attributes as its first latent dimensions and a learned prior.

The first latent dimensions are the attributes of the loop (`rtgen.music.attributes`), in standard deviations. The
encoder is trained to predict them and the decoder to produce them whatever the other dimensions are. In a plain VAE
chance decides what a dimension controls. The idea is that of Pati and Lerch (Attribute-based Regularization of Latent
Spaces, 2021); here it acts on differentiable attributes of the decoded picture. New codes come from a prior trained
alongside (`train.models.prior`), conditioned on the desired attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional as F

from rtgen.music.attributes import MEAN, NAMES, SD
from train.loops import attributes
from train.loops.sample import GRID, Sample
from train.models.base import Aim, Source, Task
from train.models.conv_vae import ConvVae, Layer
from train.models.prior import Flow
from train.models.vae import divergence, reparameterise

SIXTEENTH = GRID.steps_per_beat // 4
"""Steps in a column of the attributes."""


class LoopVae(ConvVae):
    """The role `autoencoder` with a learned prior; other arguments as in `ConvVae`.

    Args:
        told: weight of the encoder's attribute loss.
        drawn: weight of the attribute loss on the decoded picture.
    """

    description: ClassVar[str] = "Varies, blends and generates two-bar loops; its first latents are musical attributes."

    def __init__(
        self,
        latents: int = 96,
        layers: Sequence[Layer] = ((128, 12, 12), (64, 2, 2)),
        blocks: int = 1,
        free_bits: float = 0.05,
        beta: float = 0.1,
        anneal: int = 500,
        told: float = 1.0,
        drawn: float = 2.0,
    ) -> None:
        super().__init__(latents, layers, 0, blocks, free_bits=free_bits, beta=beta, anneal=anneal)
        if latents <= len(NAMES):
            raise ValueError(f"{latents} latents are too few: {len(NAMES)} attributes and at least one more")
        self.told, self.drawn = told, drawn
        self.prior = Flow(latents - len(NAMES), len(NAMES))

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """The autoencoder, and the prior, which is trained on its codes."""
        prior = set(self.prior.parameters())
        return {"all": [p for p in self.parameters() if p not in prior], "prior": list(prior)}

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Loops, their attributes, and for each loop an attribute to change and its new value."""
        what = attributes.standard(attributes.measured(sample.notes, sample.count, sample.length))
        turned = np.clip(rng.standard_normal(sample.count), -2, 2).astype(np.float32)
        return {
            **super().task(sample, rng),
            "attributes": torch.from_numpy(what),
            "which": torch.from_numpy(rng.integers(0, len(NAMES), sample.count)),
            "turned": torch.from_numpy(turned),
        }

    def aims(self, task: Task) -> Iterator[Aim]:
        """The VAE loss with both attribute losses, then the loss of the prior."""
        picture, what = self.see(task["roll"]), task["attributes"]
        mean, log_var = (x.float() for x in self.encode(picture))
        code = reparameterise(mean, log_var, task["noise"])
        lost = self.lost(self.decode(code).float(), picture, task["filled"])
        nats = divergence(mean, log_var).mean(dim=0)
        told = ((mean[:, : len(NAMES)] - what) ** 2).sum(dim=1).mean()
        which = F.one_hot(task["which"], len(NAMES)).float()
        # The chosen attribute has to reach its new value, and the others have to stay.
        change = which * (task["turned"][:, None] - what)
        moved = torch.cat(
            [code[:, : len(NAMES)] * (1 - which) + which * task["turned"][:, None], code[:, len(NAMES) :]], 1
        )
        seen, wanted = soft(torch.sigmoid(self.decode(moved).float())), soft(picture) + change
        drawn = F.smooth_l1_loss(seen, wanted, reduction="none").sum(dim=1).mean()
        loss = lost + self.beta() * nats.clamp(min=self.repairs.free_bits).sum() + self.told * told + self.drawn * drawn
        if self.training:
            self.steps += 1
        said = nats.detach()
        log = {"reconstruction": lost.detach(), "kl": said.sum(), "told": told.detach(), "drawn": drawn.detach()}
        yield Aim(loss, log=log)
        rest = code[:, len(NAMES) :].detach()
        yield Aim(self.prior.nats(rest, what).mean() / rest.shape[1], part="prior")

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Latent ranges, the first ones named after attributes."""
        fields = super().card(train, valid)
        named = [replace(x, name=name) for x, name in zip(fields["latents"], NAMES, strict=False)]
        return {**fields, "latents": (*named, *fields["latents"][len(NAMES) :]), "prior": True}

    def of_noise(self, noise: Tensor, attributes: Tensor) -> Tensor:
        """Sample codes (batch, latents) from normal noise (batch, latents) and attributes (batch, 6)."""
        return torch.cat([attributes, self.prior(noise[:, len(NAMES) :], attributes)], dim=1)

    def player(self) -> nn.Module:
        """Encoder, decoder and prior."""
        return _Player(self)


class _Player(nn.Module):
    def __init__(self, net: LoopVae) -> None:
        super().__init__()
        self.net = net

    def forward(self, roll: Tensor, code: Tensor, noise: Tensor, attributes: Tensor) -> tuple[Tensor, ...]:
        """Return the code of `roll`, the planes of `code`, and the code that the prior makes of `noise`."""
        return (self.net.mean(roll), *self.net.planes(code), self.net.of_noise(noise, attributes))


def soft(picture: Tensor) -> Tensor:
    """Differentiable attributes of pictures, in standard deviations; shape (batch, 6).

    Args:
        picture: probabilities of hold and onset, and velocity; (batch, 3, pitches, steps).
    """
    hold, onset, velocity = picture.unbind(1)
    batch, pitches, steps = onset.shape
    beats = steps / GRID.steps_per_beat
    notes = onset.sum(dim=(1, 2)).clamp(min=0.5)
    height = torch.arange(pitches, device=onset.device) + float(GRID.pitch_low)
    register = (onset.sum(dim=2) * height).sum(dim=1) / notes
    length = torch.log2((hold.sum(dim=(1, 2)) / notes / GRID.steps_per_beat).clamp(min=0.02))
    loud = (onset * velocity).sum(dim=(1, 2)) / notes * 127
    # Probability that no onset falls in a column, i.e. a sixteenth and the steps around it.
    nothing = torch.log1p(-onset.clamp(max=0.999)).sum(dim=1).roll(SIXTEENTH // 2, dims=1)
    by_column = nothing.reshape(batch, -1, 4, SIXTEENTH).sum(dim=3)
    struck = 1 - by_column.exp()
    columns = struck.sum(dim=(1, 2)).clamp(min=0.5)
    left_out = 1 - struck[:, :, 0].roll(-1, dims=1)
    far = 0.5 * (struck[:, :, 1:].sum(dim=2) * (1 + left_out)).sum(dim=1)
    values = torch.stack([notes / beats, register, notes / columns, length, far / columns, loud], dim=1)
    found: Tensor = (values - values.new_tensor(MEAN)) / values.new_tensor(SD)
    return found
