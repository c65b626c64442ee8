"""The autoencoder that ships: `conv_vae` told in one key, with attributes for its first numbers, and a learned prior.

The first numbers of a code are the attributes of the loop (`rtgen.music.attributes`), in standard deviations: the
encoder is taught to say them, and the decoder that what it draws has them, whatever the other numbers are. The plain
VAE would leave it to chance what turning a number does (the idea of Pati and Lerch, Attribute-based Regularization of
Latent Spaces, 2021; here on attributes of what is drawn, as far as these have a slope). New codes come from a prior
that is learnt beside (`train.models.prior`), given the attributes that they shall have.
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
from train.loops.keys import in_c
from train.loops.sample import GRID, Sample
from train.models.base import Aim, Source, Task
from train.models.conv_vae import ConvVae, Layer
from train.models.prior import Flow
from train.models.vae import divergence, reparameterise

SIXTEENTH = GRID.steps_per_beat // 4
"""Steps in a column of an attribute."""


class LoopVae(ConvVae):
    """The role `autoencoder`, with a prior; arguments besides these as of `ConvVae`.

    Args:
        told: how much it counts that the first numbers of a code are the attributes.
        drawn: how much it counts that what is drawn has the attributes that the code says.
    """

    description: ClassVar[str] = "Varies, blends and draws loops of two bars; its first dimensions are the attributes."

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
            raise ValueError(f"{latents} latents are too few for {len(NAMES)} attributes and more")
        self.told, self.drawn = told, drawn
        self.prior = Flow(latents - len(NAMES), len(NAMES))

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """The autoencoder, and the prior, which learns from its codes."""
        prior = set(self.prior.parameters())
        return {"all": [p for p in self.parameters() if p not in prior], "prior": list(prior)}

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Loops in one key, their attributes, and which attribute is to be turned how far."""
        sample = in_c(sample)
        what = attributes.standard(attributes.measured(sample.notes, sample.count, sample.length))
        turned = np.clip(rng.standard_normal(sample.count), -2, 2).astype(np.float32)
        return {
            **super().task(sample, rng),
            "attributes": torch.from_numpy(what),
            "which": torch.from_numpy(rng.integers(0, len(NAMES), sample.count)),
            "turned": torch.from_numpy(turned),
        }

    def aims(self, task: Task) -> Iterator[Aim]:
        """The bound of a VAE and the two losses of the attributes; then that of the prior."""
        picture, what = self.see(task["roll"]), task["attributes"]
        mean, log_var = (x.float() for x in self.encode(picture))
        code = reparameterise(mean, log_var, task["noise"])
        lost = self.lost(self.decode(code).float(), picture, task["filled"])
        nats = divergence(mean, log_var).mean(dim=0)
        told = ((mean[:, : len(NAMES)] - what) ** 2).sum(dim=1).mean()
        which = F.one_hot(task["which"], len(NAMES)).float()
        # The attribute that is turned goes where it is turned to, and the others stay.
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

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """As of every autoencoder, in one key."""
        return super().judge(_InKey(source))

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Its codes, the first of them by name."""
        fields = super().card(_InKey(train), valid)
        named = [replace(x, name=name) for x, name in zip(fields["latents"], NAMES, strict=False)]
        return {**fields, "latents": (*named, *fields["latents"][len(NAMES) :]), "in_key": True, "prior": True}

    def of_noise(self, noise: Tensor, attributes: Tensor) -> Tensor:
        """A code (batch, latents) of normal noise (batch, latents), with attributes (batch, 6)."""
        return torch.cat([attributes, self.prior(noise[:, len(NAMES) :], attributes)], dim=1)

    def player(self) -> nn.Module:
        """Both ways, and the prior."""
        return _Player(self)


class _Player(nn.Module):
    def __init__(self, net: LoopVae) -> None:
        super().__init__()
        self.net = net

    def forward(self, roll: Tensor, code: Tensor, noise: Tensor, attributes: Tensor) -> tuple[Tensor, ...]:
        """The code of `roll`, the planes of `code`, and the code that the prior makes of `noise`."""
        return (self.net.mean(roll), *self.net.planes(code), self.net.of_noise(noise, attributes))


class _InKey(Source):
    """A source whose loops are all in C major or A minor."""

    def __init__(self, source: Source) -> None:
        super().__init__(source.loops, source.shares, source.augmentation)

    def take(self, indices: np.ndarray[Any, np.dtype[np.int64]], rng: Generator) -> Sample:
        return in_c(super().take(indices, rng))


def soft(picture: Tensor) -> Tensor:
    """The attributes of pictures, in standard deviations, as far as they have a slope; shape (batch, 6).

    Args:
        picture: chances that a cell sounds, that a note begins in it, and how loud; (batch, 3, pitches, steps).
    """
    hold, onset, velocity = picture.unbind(1)
    batch, pitches, steps = onset.shape
    beats = steps / GRID.steps_per_beat
    notes = onset.sum(dim=(1, 2)).clamp(min=0.5)
    height = torch.arange(pitches, device=onset.device) + float(GRID.pitch_low)
    register = (onset.sum(dim=2) * height).sum(dim=1) / notes
    length = torch.log2((hold.sum(dim=(1, 2)) / notes / GRID.steps_per_beat).clamp(min=0.02))
    loud = (onset * velocity).sum(dim=(1, 2)) / notes * 127
    # The chance that nothing is struck: by column, a sixteenth and the steps beside it.
    nothing = torch.log1p(-onset.clamp(max=0.999)).sum(dim=1).roll(SIXTEENTH // 2, dims=1)
    by_column = nothing.reshape(batch, -1, 4, SIXTEENTH).sum(dim=3)
    struck = 1 - by_column.exp()
    columns = struck.sum(dim=(1, 2)).clamp(min=0.5)
    left_out = 1 - struck[:, :, 0].roll(-1, dims=1)
    far = 0.5 * (struck[:, :, 1:].sum(dim=2) * (1 + left_out)).sum(dim=1)
    values = torch.stack([notes / beats, register, notes / columns, length, far / columns, loud], dim=1)
    found: Tensor = (values - values.new_tensor(MEAN)) / values.new_tensor(SD)
    return found
