"""Base classes of models with a latent code: `Autoencoder` (playing, validation, card) and `Vae` (training).

`Vae` maximises the evidence lower bound (Kingma and Welling, Auto-Encoding Variational Bayes, 2014). Its options
counter two known failures: predicting silence, which is right in 99.6 % of all cells, and ignoring the code (posterior
collapse).
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
from train.loops.keys import in_c
from train.loops.sample import GRID, Sample
from train.measures.score import note_f1
from train.models import images
from train.models.base import JUDGED, Aim, Architecture, Source, Task
from train.models.images import Planes

STEPS = GRID.steps(LENGTH)
CODED = 4096
"""Training loops from which the card's latent ranges are taken."""
ACTIVE = 0.02
"""KL divergence (nats) above which a latent dimension counts as active."""
PRIOR = (-3.2, -5.5, 0.3)
"""Log-odds that a cell of real music sounds and that a note starts in it; logit of the usual velocity."""
SOUNDING = 0.2
"""Loss weight of sounding cells where onsets have a plane of their own."""
LOUDNESS = 2.0
"""Loss weight of the squared velocity error (0-1), relative to the cross-entropy of the onsets."""


class Autoencoder(Architecture):
    """A network with a latent code, for the role `autoencoder` of `rtgen.inference.card`."""

    role: ClassVar[str] = "autoencoder"
    better: ClassVar[tuple[str, str]] = ("onset_f1", "max")
    description: ClassVar[str] = "Varies loops, blends them and generates new ones from a latent code."
    in_key: bool = False
    """Whether all music is transposed to C major or A minor."""

    @abstractmethod
    def mean(self, roll: Tensor) -> Tensor:
        """Encode rolls (batch, 4, pitches, steps) as codes (batch, latents)."""

    @abstractmethod
    def planes(self, code: Tensor) -> Planes:
        """Decode codes (batch, latents)."""

    def player(self) -> nn.Module:
        """Encoder and decoder side by side."""
        return _Player(self)

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Compute the losses, and `onset_f1`: note F1 of loops against their reconstructions.

        Reconstructions are decoded as in play: the likeliest notes, as many as the loop has.
        """
        rng = np.random.default_rng(0)
        heard = self.heard(source.take(rng.permutation(len(source.loops))[:JUDGED], rng))
        return {**super().judge(source), "onset_f1": reconstruction_f1(self, heard)}

    def draw(self, source: Source, count: int, rng: Generator) -> Task:
        """Make a task from `count` loops, in one key with `in_key`."""
        return self.task(self.heard(source.draw(count, rng)), rng)

    def heard(self, sample: Sample) -> Sample:
        """The loops as the network hears them: in one key with `in_key`."""
        return in_c(sample) if self.in_key else sample

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Loop length, description and latent ranges."""
        del valid
        chosen = np.random.default_rng(0).permutation(len(train.loops))[:CODED]
        codes = self.codes(self.heard(Sample.of(train.loops, chosen)))
        return {
            "min_steps": STEPS,
            "max_steps": STEPS,
            "description": self.description,
            "latents": latents_of(codes),
            "in_key": self.in_key,
        }

    @torch.no_grad()
    def codes(self, sample: Sample) -> NDArray[np.float32]:
        """Encode loops; shape (loops, latents)."""
        rolls = torch.from_numpy(in_slots(sample))
        return np.concatenate([self.mean(some.to(self.device)).cpu().numpy() for some in torch.split(rolls, 256)])


class _Player(nn.Module):
    def __init__(self, net: Autoencoder) -> None:
        super().__init__()
        self.net = net

    def forward(self, roll: Tensor, code: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the code of `roll`, and the planes onset, hold, velocity and micro of `code`."""
        return (self.net.mean(roll), *self.net.planes(code))


def latents_of(codes: NDArray[np.float32]) -> tuple[Latent, ...]:
    """Latent dimensions for the card; ranges from the 2nd to the 98th percentile of `codes` (loops, latents)."""
    low, high = np.quantile(codes, [0.02, 0.98], axis=0)
    # A collapsed dimension still needs a non-empty range.
    high = np.maximum(high, low + 1e-3)
    mean, sd = codes.mean(axis=0), np.maximum(codes.std(axis=0), 1e-3)
    values = np.stack([low, high, mean, sd], axis=1).astype(float).round(5)
    return tuple(Latent(f"z{i + 1}", *row) for i, row in enumerate(values.tolist()))


@torch.no_grad()
def reconstruction_f1(net: Autoencoder, heard: Sample) -> float:
    """Mean note F1 (pitch, and onset to the step) of loops against their reconstructions."""
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
    """Inputs and loss terms of a VAE; the defaults are the plain VAE without any repair.

    Args:
        onset: add an onset plane beside the hold plane, so that repeated notes stay apart.
        velocity: predict the velocity at each onset; needs `onset`.
        prior_bias: initialise the output biases to the note density of real music.
        positive: loss weight of cells with a note relative to cells without; undone when playing.
        free_bits: nats per latent dimension that cost nothing (Kingma et al., Improved Variational Inference with
            Inverse Autoregressive Flow, 2016).
        beta: weight of the KL divergence (Higgins et al., beta-VAE, 2017).
        anneal: steps over which that weight grows from 0 (Bowman et al., Generating Sentences from a Continuous Space,
            2016).
        masked: leave padding out of the loss.
        in_key: transpose all music to C major or A minor, so that nothing has to be learnt in twelve keys.
    """

    onset: bool = False
    velocity: bool = False
    prior_bias: bool = False
    positive: float = 1.0
    free_bits: float = 0.0
    beta: float = 1.0
    anneal: int = 0
    masked: bool = False
    in_key: bool = False

    def __post_init__(self) -> None:
        """Check that the options are consistent."""
        if self.velocity and not self.onset:
            raise ValueError("'velocity' needs 'onset'")
        if self.positive <= 0 or min(self.free_bits, self.beta, self.anneal) < 0:
            raise ValueError("'positive' must be above 0, and 'free_bits', 'beta' and 'anneal' at least 0")

    @property
    def planes(self) -> int:
        """Planes of input and output: hold, onset, velocity."""
        return 1 + self.onset + self.velocity


class Vae(Autoencoder):
    """A variational autoencoder; subclasses define `encode` and `decode`.

    Args:
        latents: size of a code.
        repairs: inputs and loss terms.
    """

    steps: Tensor

    def __init__(self, latents: int, repairs: Repairs) -> None:
        super().__init__()
        self.latents = latents
        self.repairs = repairs
        self.in_key = repairs.in_key
        # A buffer, not the trainer's step counter, so that weight averages and checkpoints keep it.
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @abstractmethod
    def encode(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (batch, latents) of the code of pictures (batch, planes, pitches, steps)."""

    @abstractmethod
    def decode(self, code: Tensor) -> Tensor:
        """Logits of pictures (batch, planes, pitches, steps) from codes (batch, latents)."""

    def whole(self, code: Tensor) -> Tensor:
        """Logits of whole pictures; those of `decode` may be coarser."""
        return self.decode(code)

    def see(self, roll: Tensor) -> Tensor:
        """Convert a roll into input planes: hold and, if enabled, onset and velocity."""
        seen = images.from_roll(roll, velocity=False, onset=self.repairs.onset)
        return torch.cat([seen, roll[:, 2:3]], dim=1) if self.repairs.velocity else seen

    def mean(self, roll: Tensor) -> Tensor:
        """Posterior mean of a roll's code."""
        return self.encode(self.see(roll))[0].float()

    def planes(self, code: Tensor) -> Planes:
        """Decode a code. The loss weight `positive` inflates note probabilities; it is divided out of the odds here."""
        logits = self.whole(code).float()
        chances = torch.sigmoid(logits[:, :2] - float(np.log(self.repairs.positive)))
        onset, hold, velocity, micro = images.to_planes(chances, velocity=False)
        if self.repairs.velocity:
            velocity = torch.sigmoid(logits[:, 2])
        return onset, hold, velocity, micro

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Loops with a mask of their padding, and noise to sample their codes.

        Bars of other metres are laid into slots, as in play; the silence left in a slot is to be learnt too.
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
        """One loss: reconstruction, plus the KL divergence beyond the free bits."""
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
        """Reconstruction loss; arguments as in `reconstruction_loss`."""
        return reconstruction_loss(logits, picture, filled, self.repairs.positive)

    def beta(self) -> float:
        """KL weight at this training step; the full weight outside training."""
        grown = int(self.steps) / self.repairs.anneal if self.training and self.repairs.anneal else 1.0
        return self.repairs.beta * min(grown, 1.0)


def reparameterise(mean: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """Sample a normal distribution from standard normal noise, differentiably (the reparameterisation trick)."""
    return mean + torch.exp(0.5 * log_var) * noise


def divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL divergence (nats) of a normal distribution from the standard normal, per dimension; shape of `mean`."""
    return 0.5 * (mean**2 + log_var.exp() - 1 - log_var)


def reconstruction_loss(logits: Tensor, picture: Tensor, filled: Tensor | None = None, positive: float = 1.0) -> Tensor:
    """Cross-entropy of every cell plus squared velocity error at onsets, summed per loop and averaged over loops.

    Args:
        logits: planes hold, onset and velocity, or the first of these; (batch, planes, pitches, steps).
        picture: target planes.
        filled: 0 at padding, which is not counted; shape (batch, 1, 1, steps).
        positive: loss weight of cells with a note.
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
    """Initialise the biases of the output layer, shape (planes) or (planes, cells), to the note density of real music.

    Otherwise training starts with thousands of steps that only unlearn notes.
    """
    for plane, odds in zip(bias.detach(), PRIOR, strict=False):
        plane.fill_(odds + (float(np.log(positive)) if odds < 0 else 0.0))
