"""A GAN on piano rolls: a generator draws loops from noise, a discriminator tells them from real ones.

The original drew 96 x 96 pictures of sounding notes with a dense layer and transposed convolutions, and judged them
with strided convolutions. Its layer sizes are not documented; here they are those of Radford, Metz and Chintala
(Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks, 2016), but narrower. On
its two smaller corpora the discriminator won for good.

It does so here on all three (`python -m train.compare.corpora`). The remedies `gradient_penalty` and `binary` need each
other: with the penalty alone losses are stable, but the output is silence or always the same loop; with binary pictures
alone the discriminator still wins at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional as F

from rtgen.inference.card import Latent
from rtgen.music.note import Loop
from rtgen.music.roll import Roll, decode
from train.loops import dataset
from train.loops.dataset import BARS, LENGTH
from train.loops.keys import in_c
from train.loops.sample import GRID, Sample
from train.measures.likeness import likeness, measures
from train.models import images
from train.models.base import JUDGED, Aim, Architecture, Source, Task
from train.models.images import Planes

STEPS = GRID.steps(LENGTH)
SIDE = 6
"""Rows and columns of the smallest feature map, which is doubled four times."""
FOLD = 3
"""Steps of a sixteenth."""
WINDOW = (12, 4)
"""Pitches and sixteenths of a window: an octave, and a beat."""
ROWS, COLUMNS = GRID.pitches // WINDOW[0], STEPS // FOLD // BARS // WINDOW[1]
"""Rows and columns of windows in a bar."""
SURER = 6.0
"""Factor of the log-odds in play, if pictures are binary in training; 1, 2 and 3 were less like music (validation)."""
USED = 2.0
"""Range of the code in standard deviations around 0, which covers nearly all codes."""
PRIOR = (-3.2, -5.5)
"""Log-odds that a cell of real music sounds and that a note starts in it."""


class Dcgan(Architecture):
    """The role `generator` of `rtgen.inference.card`.

    Args:
        latents: size of a code.
        width: channels of the largest feature maps; the smallest have eight times as many.
        gradient_penalty: weight gamma of the R1 penalty on the discriminator's gradient at real loops (Mescheder,
            Geiger and Nowozin, Which Training Methods for GANs do actually Converge?, 2018); 0 for none. With it the
            discriminator has no batch norm, which would make its gradient at one loop depend on the others.
        onset: add an onset plane beside the hold plane, so that repeated notes stay apart.
        in_key: learn and generate music in C major or A minor.
        binary: show the discriminator binary pictures, as real loops are, and pass the gradient as if they were
            probabilities (Dong and Yang, Convolutional Generative Adversarial Networks with Binary Neurons, 2018).
            Otherwise grey cells alone give a generated loop away.
        prior_bias: initialise the generator's output biases to the note density of real music.
        windows: draw sixteenths instead of steps, and begin with windows of an octave and a beat that hold both bars,
            one beside the other, so that what repeats from bar to bar is seen at once. The discriminator also sees how
            much the loops of a batch differ (Karras and others, Progressive Growing of GANs for Improved Quality,
            Stability, and Variation, 2018).
    """

    role: ClassVar[str] = "generator"
    better: ClassVar[tuple[str, str]] = ("likeness", "max")

    def __init__(
        self,
        latents: int = 100,
        width: int = 32,
        gradient_penalty: float = 10.0,
        onset: bool = True,
        in_key: bool = True,
        binary: bool = True,
        prior_bias: bool = True,
        windows: bool = True,
    ) -> None:
        super().__init__()
        self.latents = latents
        self.gradient_penalty = gradient_penalty
        self.onset, self.in_key, self.binary = onset, in_key, binary
        planes = 1 + onset
        self.windows = windows
        if windows:
            self.generator, self.discriminator = _from_windows(latents, width, planes), _to_windows(width, planes)
        else:
            self.generator = _generator(latents, width, planes)
            self.discriminator = _discriminator(width, planes, batch_norm=not gradient_penalty)
        if prior_bias:
            leave = next(
                layer for layer in reversed(self.generator) if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
            )
            assert leave.bias is not None
            leave.bias.detach().copy_(torch.tensor(PRIOR[:planes]).repeat_interleave(len(leave.bias) // planes))

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """The two networks."""
        return {"discriminator": self.discriminator.parameters(), "generator": self.generator.parameters()}

    def chances(self, code: Tensor) -> Tensor:
        """Generate pictures (batch, planes, pitches, steps or sixteenths), values 0-1, from codes (batch, latents)."""
        return torch.sigmoid(self.generator(code).float())

    def planes(self, code: Tensor) -> Planes:
        """Decode codes.

        Binary pictures are all that counts in training, so that what is less likely than not means nothing: it is made
        rarer, or it would cut notes short in play, which adds up how likely it is that another follows.
        """
        chances = torch.sigmoid((SURER if self.binary else 1) * self.generator(code).float())
        if self.windows:
            chances = chances.repeat_interleave(FOLD, dim=3)
            begins = torch.arange(STEPS, device=code.device) % FOLD == 0
            chances = torch.cat([chances[:, :1], chances[:, 1:] * begins], dim=1)
        return images.to_planes(chances, velocity=False)

    def shown(self, chances: Tensor) -> Tensor:
        """The pictures as the discriminator sees them, with a straight-through gradient if binary."""
        return chances + ((chances > 0.5).float() - chances).detach() if self.binary else chances

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Pictures of real loops, and as many random codes."""
        if self.in_key:
            sample = in_c(sample)
        noise = rng.standard_normal((sample.count, self.latents), np.float32)
        picture = images.draw(sample, onset=self.onset)
        if self.windows:
            picture = F.max_pool2d(picture, (1, FOLD))
        return {"picture": picture, "noise": torch.from_numpy(noise)}

    def aims(self, task: Task) -> Iterator[Aim]:
        """Two losses: first the discriminator's, then the generator's.

        The generator has the non-saturating loss (Goodfellow et al., Generative Adversarial Nets, 2014).
        """
        real, drawn = task["picture"], self.shown(self.chances(task["noise"]))
        if self.gradient_penalty:
            real = real.detach().requires_grad_()
        of_real, of_drawn = self.discriminator(real).float(), self.discriminator(drawn.detach()).float()
        log = {"accuracy_real": (of_real > 0).float().mean(), "accuracy_drawn": (of_drawn < 0).float().mean()}
        loss = F.softplus(-of_real).mean() + F.softplus(of_drawn).mean()
        if self.gradient_penalty:
            steepness = slope(of_real, real)
            loss = loss + self.gradient_penalty / 2 * steepness
            log["slope"] = steepness.detach()
        yield Aim(loss, "discriminator", log)
        yield Aim(F.softplus(-self.discriminator(drawn).float()).mean(), "generator")

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Similarity of generated to held-out loops, and accuracy of the discriminator.

        `likeness` is the mean overlap of six distributions (`train.measures.likeness`); the means of three of them are
        listed too, those of real loops as `real_...`.
        """
        rng = np.random.default_rng(0)
        sample = source.draw(JUDGED, rng)
        task = {name: x.to(self.device) for name, x in self.task(sample, rng).items()}
        drawn = self.chances(task["noise"])
        made = measures(loops_of(self.planes(task["noise"])))
        real = measures(dataset.to_loops(sample.notes, sample.count, sample.length))
        return {
            "accuracy_real": float((self.discriminator(task["picture"]) > 0).float().mean()),
            "accuracy_drawn": float((self.discriminator(self.shown(drawn)) < 0).float().mean()),
            "likeness": likeness(made, real),
            **{name: float(made[name].mean()) for name in ("notes", "in_key", "apart")},
            **{f"real_{name}": float(real[name].mean()) for name in ("notes", "in_key", "apart")},
        }

    def player(self) -> nn.Module:
        """The generator."""
        return _Player(self)

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Loop length, description and latent ranges; codes are standard normal."""
        del train, valid
        return {
            "min_steps": STEPS,
            "max_steps": STEPS,
            "description": "Generates new loops from noise; trained against a discriminator.",
            "latents": tuple(Latent(f"z{i + 1}", -USED, USED) for i in range(self.latents)),
            "in_key": self.in_key,
        }


class _Player(nn.Module):
    def __init__(self, net: Dcgan) -> None:
        super().__init__()
        self.net = net

    def forward(self, code: Tensor) -> Planes:
        """Return the planes onset, hold, velocity and micro of `code`."""
        return self.net.planes(code)


def slope(judged: Tensor, at: Tensor) -> Tensor:
    """Mean squared gradient norm of the scores `judged` (batch, 1) with respect to the inputs `at` (batch, ...)."""
    (gradient,) = torch.autograd.grad(judged.sum(), at, create_graph=True)
    return gradient.float().square().flatten(1).sum(1).mean()


def loops_of(planes: Planes, counts: Sequence[int | None] | None = None) -> list[Loop]:
    """Decode planes of probabilities as loops.

    Args:
        planes: of one loop or more.
        counts: notes of each loop, the likeliest, as in play; None takes every note with a probability above one half.
    """
    rolls = list(zip(*(p.float().cpu().numpy() for p in planes), strict=True))
    wanted = counts or [None] * len(rolls)
    return [decode(Roll(*some), GRID, LENGTH, count=count) for some, count in zip(rolls, wanted, strict=True)]


def _generator(latents: int, width: int, planes: int) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Linear(latents, 8 * width * SIDE * SIDE),
        nn.Unflatten(1, (8 * width, SIDE, SIDE)),
        nn.BatchNorm2d(8 * width),
        nn.ReLU(),
    ]
    for channels in (4 * width, 2 * width, width):
        layers += [
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, planes, 4, stride=2, padding=1))


class _Windows(nn.Module):
    """What both bars have in each window as channels: (batch, planes, 96, 32) -> (batch, planes * 96, 8, 4)."""

    def forward(self, x: Tensor) -> Tensor:
        """Cut a picture into windows."""
        batch, planes = x.shape[:2]
        cut = x.reshape(batch, planes, ROWS, WINDOW[0], BARS, COLUMNS, WINDOW[1])
        return cut.permute(0, 1, 4, 3, 6, 2, 5).reshape(batch, -1, ROWS, COLUMNS)


class _Joined(nn.Module):
    """The inverse of `_Windows`."""

    def forward(self, x: Tensor) -> Tensor:
        """Join windows to a picture."""
        cut = x.reshape(x.shape[0], -1, BARS, *WINDOW, ROWS, COLUMNS)
        return cut.permute(0, 1, 5, 3, 2, 6, 4).reshape(x.shape[0], cut.shape[1], GRID.pitches, STEPS // FOLD)


class _Spread(nn.Module):
    """Adds a channel that says how much the pictures of a batch differ."""

    def forward(self, x: Tensor) -> Tensor:
        """Add the channel."""
        spread = (x.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        return torch.cat([x, spread.expand_as(x[:, :1])], dim=1)


def _from_windows(latents: int, width: int, planes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(latents, 2 * width * (ROWS // 2) * (COLUMNS // 2)),
        nn.Unflatten(1, (2 * width, ROWS // 2, COLUMNS // 2)),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, planes * BARS * prod(WINDOW), 1),
        _Joined(),
    )


def _to_windows(width: int, planes: int) -> nn.Sequential:
    return nn.Sequential(
        _Windows(),
        nn.Conv2d(planes * BARS * prod(WINDOW), width, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        _Spread(),
        nn.Flatten(),
        nn.Linear((2 * width + 1) * (ROWS // 2) * (COLUMNS // 2), 1),
    )


def _discriminator(width: int, planes: int, batch_norm: bool) -> nn.Sequential:
    """One number per picture, above 0 if more likely real."""
    layers: list[nn.Module] = [nn.Conv2d(planes, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    for channels in (2 * width, 4 * width, 8 * width):
        layers.append(nn.Conv2d(channels // 2, channels, 4, stride=2, padding=1))
        if batch_norm:
            # Batch statistics always: real and generated loops come in separate batches, whose statistics differ.
            layers.append(nn.BatchNorm2d(channels, track_running_stats=False))
        layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * width * SIDE * SIDE, 1))
