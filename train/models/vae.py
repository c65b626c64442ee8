"""What all models with a code share: how they play, are judged, and say on the card which codes there are.

`Autoencoder` asks for two ways, from a loop to its code and from a code to a loop. `Vae` learns both by the evidence
lower bound (Kingma and Welling, Auto-Encoding Variational Bayes, 2014), with what is known to keep it from its two
failures: to answer silence, which is right in 99.6 % of all cells, and to ignore its code.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rtgen.inference.card import Latent
from rtgen.inference.lengths import read
from rtgen.music.roll import Roll, decode
from train.loops.batch import in_slots, slotted
from train.loops.dataset import LENGTH
from train.loops.sample import GRID, Sample
from train.measures.score import note_f1
from train.models import images
from train.models.base import JUDGED, Aim, Architecture, Source, Task
from train.models.images import Planes

STEPS = GRID.steps(LENGTH)
CODED = 4096
"""Training loops that the card's ranges are taken from."""
ACTIVE = 0.02
"""Divergence (nats) from which a dimension of the code says something."""
PRIOR = (-3.2, -5.5, 0.3)
"""Log-odds that a cell of music sounds, or that a note begins in it; and of the usual velocity."""
SOUNDING = 0.2
"""How much a cell that sounds counts, where the onsets are told apart from it."""
LOUDNESS = 2.0
"""How much the squared error of a velocity (0-1) counts beside the cross-entropy of the onsets."""


class Autoencoder(Architecture):
    """A network with a code: the role `autoencoder` of `rtgen.inference.card`."""

    role: ClassVar[str] = "autoencoder"
    better: ClassVar[tuple[str, str]] = ("onset_f1", "max")
    description: ClassVar[str] = "Varies loops, blends them and draws new ones, by a code of a few numbers."

    @abstractmethod
    def mean(self, roll: Tensor) -> Tensor:
        """The codes (batch, latents) of rolls (batch, 4, pitches, steps)."""

    @abstractmethod
    def planes(self, code: Tensor) -> Planes:
        """What codes (batch, latents) stand for."""

    def player(self) -> nn.Module:
        """Both ways side by side."""
        return _Player(self)

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """The losses, and `onset_f1`: how many notes of a loop come back from its code.

        They are decoded as the daemon decodes them: as many as were played, the likeliest.
        """
        rng = np.random.default_rng(0)
        heard = source.take(rng.permutation(len(source.loops))[:JUDGED], rng)
        return {**super().judge(source), "onset_f1": reconstruction_f1(self, heard)}

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """The one length that it knows, and its codes."""
        del valid
        chosen = np.random.default_rng(0).permutation(len(train.loops))[:CODED]
        codes = self.codes(Sample.of(train.loops, chosen))
        return {
            "min_steps": STEPS,
            "max_steps": STEPS,
            "description": self.description,
            "latents": latents_of(codes),
        }

    @torch.no_grad()
    def codes(self, sample: Sample) -> NDArray[np.float32]:
        """The codes of loops, shape (loops, latents)."""
        rolls = torch.from_numpy(in_slots(sample))
        return np.concatenate([self.mean(some.to(self.device)).cpu().numpy() for some in torch.split(rolls, 256)])


class _Player(nn.Module):
    def __init__(self, net: Autoencoder) -> None:
        super().__init__()
        self.net = net

    def forward(self, roll: Tensor, code: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The code of `roll`, and the planes onset, hold, velocity and micro of `code`."""
        return (self.net.mean(roll), *self.net.planes(code))


def latents_of(codes: NDArray[np.float32]) -> tuple[Latent, ...]:
    """The dimensions of a code, as loops (shape (loops, latents)) use them: from the 2nd to the 98th percentile."""
    low, high = np.quantile(codes, [0.02, 0.98], axis=0)
    # A dimension that says nothing is still a range.
    high = np.maximum(high, low + 1e-3)
    mean, sd = codes.mean(axis=0), np.maximum(codes.std(axis=0), 1e-3)
    values = np.stack([low, high, mean, sd], axis=1).astype(float).round(5)
    return tuple(Latent(f"z{i + 1}", *row) for i, row in enumerate(values.tolist()))


@torch.no_grad()
def reconstruction_f1(net: Autoencoder, heard: Sample) -> float:
    """Mean note F1 (pitch and onset to the step) of loops against what their own codes stand for."""
    rolls, loops, columns = torch.from_numpy(in_slots(heard)), heard.loops(), slotted(heard)
    scores: list[float] = []
    for first in range(0, heard.count, 64):
        some = net.planes(net.mean(rolls[first : first + 64].to(net.device)))
        for planes, loop in zip(
            zip(*(p.float().cpu().numpy() for p in some), strict=True), loops[first:], strict=False
        ):
            made = decode(Roll(*(read(p, columns) for p in planes)), GRID, loop.length, bar=loop.bar, count=len(loop))
            scores.append(note_f1(made, loop, GRID))
    return float(np.mean(scores))


# ---- variational ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Repairs:
    """What a VAE sees and wants; the defaults are the plain one, without any repair.

    Args:
        onset: whether there is a plane of onsets beside what sounds, so that repeated notes stay apart.
        velocity: whether it learns how loud each onset is; needs `onset`.
        prior_bias: whether it begins by answering music's own density in every cell.
        positive: how many times a cell with a note counts as much as one without. The player takes it out again.
        free_bits: nats that each dimension of the code may say at no cost (Kingma et al., Improved Variational
            Inference with Inverse Autoregressive Flow, 2016).
        beta: what a nat of the code costs, in nats of the loss (Higgins et al., beta-VAE, 2017).
        anneal: steps in which that cost grows from nothing (Bowman et al., Generating Sentences from a Continuous
            Space, 2016).
        masked: whether what is padding is left out of the loss.
    """

    onset: bool = False
    velocity: bool = False
    prior_bias: bool = False
    positive: float = 1.0
    free_bits: float = 0.0
    beta: float = 1.0
    anneal: int = 0
    masked: bool = False

    def __post_init__(self) -> None:
        """Checks that they go together."""
        if self.velocity and not self.onset:
            raise ValueError("'velocity' needs 'onset'")
        if self.positive <= 0 or min(self.free_bits, self.beta, self.anneal) < 0:
            raise ValueError("'positive' has to be above 0, 'free_bits', 'beta' and 'anneal' not below")

    @property
    def planes(self) -> int:
        """Planes of what it sees and draws: what sounds, onsets, velocities."""
        return 1 + self.onset + self.velocity


class Vae(Autoencoder):
    """A variational autoencoder: a subclass brings `encode` and `decode`.

    Args:
        latents: numbers in a code.
        repairs: what it sees and wants.
    """

    steps: Tensor

    def __init__(self, latents: int, repairs: Repairs) -> None:
        super().__init__()
        self.latents = latents
        self.repairs = repairs
        # Counted here, and not by the loop that trains, because the weights' average and the checkpoint keep it so.
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @abstractmethod
    def encode(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each (batch, latents), of what a picture (batch, planes, pitches, steps) may mean."""

    @abstractmethod
    def decode(self, code: Tensor) -> Tensor:
        """The logits of a picture, shape (batch, planes, pitches, steps), of codes (batch, latents)."""

    def see(self, roll: Tensor) -> Tensor:
        """The picture of a roll: what sounds, and if it is to know them, onsets and velocities."""
        seen = images.from_roll(roll, velocity=False, onset=self.repairs.onset)
        return torch.cat([seen, roll[:, 2:3]], dim=1) if self.repairs.velocity else seen

    def mean(self, roll: Tensor) -> Tensor:
        """The likeliest code of a roll."""
        return self.encode(self.see(roll))[0].float()

    def planes(self, code: Tensor) -> Planes:
        """What a code stands for. A weight on notes has made them likelier than they are; that is taken back."""
        logits = self.decode(code).float()
        chances = torch.sigmoid(logits[:, :2] - float(np.log(self.repairs.positive)))
        onset, hold, velocity, micro = images.to_planes(chances, velocity=False)
        if self.repairs.velocity:
            velocity = torch.sigmoid(logits[:, 2])
        return onset, hold, velocity, micro

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Loops, where they are music, and the chance that their codes are drawn by.

        Bars of other metres stand in slots, as in play, and the silence that is left of these is to be learnt, too.
        """
        columns = slotted(sample)
        filled = images.filled(sample)[..., columns]
        filled[..., columns < 0] = 1
        return {
            "roll": torch.from_numpy(in_slots(sample)),
            "filled": filled,
            "noise": torch.from_numpy(rng.standard_normal((sample.count, self.latents), np.float32)),
        }

    def aims(self, task: Task) -> Iterator[Aim]:
        """One: the reconstruction, and what the code costs beyond the bits that are free."""
        picture = self.see(task["roll"])
        mean, log_var = (x.float() for x in self.encode(picture))
        logits = self.decode(reparameterise(mean, log_var, task["noise"])).float()
        lost = self.lost(logits, picture, task["filled"] if self.repairs.masked else None)
        nats = divergence(mean, log_var).mean(dim=0)
        loss = lost + self.beta() * nats.clamp(min=self.repairs.free_bits).sum()
        if self.training:
            self.steps += 1
        said = nats.detach()
        yield Aim(loss, log={"reconstruction": lost.detach(), "kl": said.sum(), "active": (said > ACTIVE).sum()})

    def lost(self, logits: Tensor, picture: Tensor, filled: Tensor | None) -> Tensor:
        """What of a picture did not come through its code; arguments as of `reconstruction_loss`."""
        return reconstruction_loss(logits, picture, filled, self.repairs.positive)

    def beta(self) -> float:
        """What a nat costs at this step of the training; afterwards, in full."""
        grown = int(self.steps) / self.repairs.anneal if self.training and self.repairs.anneal else 1.0
        return self.repairs.beta * min(grown, 1.0)


def reparameterise(mean: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """A draw from a normal distribution, by standard normal noise, that the gradient passes through."""
    return mean + torch.exp(0.5 * log_var) * noise


def divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Nats by which a normal distribution says more than the standard one, in each dimension; shape of `mean`."""
    return 0.5 * (mean**2 + log_var.exp() - 1 - log_var)


def reconstruction_loss(logits: Tensor, picture: Tensor, filled: Tensor | None = None, positive: float = 1.0) -> Tensor:
    """Mean over loops of the cross-entropy of every cell, and of the squared error of velocities at onsets.

    Args:
        logits: of the planes what sounds, onsets, velocities, or the first of these alone; (batch, planes, pitches,
            steps).
        picture: what they should be.
        filled: 0 where nothing counts, shape (batch, 1, 1, steps).
        positive: how many times a cell with a note counts.
    """
    counts = torch.ones_like(logits[:, :1]) if filled is None else filled.expand_as(logits[:, :1])
    each = F.binary_cross_entropy_with_logits(
        logits[:, :2], picture[:, :2], pos_weight=logits.new_tensor(positive), reduction="none"
    )
    lost = (each * counts).sum(dim=(0, 2, 3))
    if len(lost) > 1:
        lost = lost * lost.new_tensor([SOUNDING, 1.0])
    total = lost.sum()
    if logits.shape[1] > 2:
        off = (torch.sigmoid(logits[:, 2]) - picture[:, 2]) ** 2
        total = total + LOUDNESS * (off * picture[:, 1] * counts[:, 0]).sum()
    return total / len(logits)


def begin_at_prior(bias: Tensor, positive: float) -> None:
    """Sets the biases of the layer that makes logits, shape (planes), or (planes, cells), to music's own density.

    So that learning does not begin with thousands of steps in which notes are unlearnt.
    """
    for plane, odds in zip(bias.detach(), PRIOR, strict=False):
        plane.fill_(odds + (float(np.log(positive)) if odds < 0 else 0.0))
