"""Base class of all architectures: the training task, the losses and the exported module.

Each architecture is one file beside this one. `train.fit` trains it and `train.export` writes it as an `.onnx` that
follows the contract of its role; both use only the interface defined here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from train.config import Config
from train.loops.augment import Augmentation
from train.loops.dataset import Loops
from train.loops.sample import Sample

Task = dict[str, Tensor]
"""Input of one training step: tensors by name, all with the same batch size."""
JUDGED = 256
"""Loops used in one validation."""


@dataclass(frozen=True)
class Aim:
    """A loss to minimise.

    Args:
        loss: scalar.
        part: the weights to update; a key of `Architecture.parts`.
        log: further scalars to log, by name.
    """

    loss: Tensor
    part: str = "all"
    log: Mapping[str, Tensor] = field(default_factory=dict)


class Architecture(nn.Module, ABC):
    """A network with its training task and its losses.

    The constructor's arguments are the settings under `architecture` in the YAML, and those that `settings_from`
    derives from the music.
    """

    role: ClassVar[str]
    """A key of `rtgen.inference.card.ROLES`."""
    better: ClassVar[tuple[str, str]] = ("loss", "min")
    """The figure of `judge` that selects the best checkpoint, and whether to minimise or maximise it."""
    repeats: ClassVar[bool] = False
    """Whether repeated loops are kept in the training data. Models that follow a whole song need them."""
    cuts: ClassVar[bool] = True
    """Whether it learns from loops that `rtgen-train prepare` cut; otherwise from the songs themselves."""

    @classmethod
    def source(cls, data: Path | str, split: str, config: Config) -> Source:
        """Load the music of a split.

        Args:
            data: dataset written by `rtgen-train prepare`, or what else the architecture learns from.
            split: train or valid.
            config: says the mixture.

        Raises:
            UserError: there is none.
        """
        from train.loops import mix

        return mix.source(data, split, config)

    @classmethod
    def settings_from(cls, loops: Loops, settings: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG003
        """Derive constructor arguments from the training loops, such as a pitch range or a vocabulary.

        Args:
            loops: training split.
            settings: architecture settings from the configuration.
        """
        return {}

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Groups of weights by name, each trained by its own optimiser."""
        return {"all": self.parameters()}

    @abstractmethod
    def task(self, sample: Sample, rng: Generator) -> Task:
        """Make a training task from loops that are already augmented."""

    @abstractmethod
    def aims(self, task: Task) -> Iterator[Aim]:
        """Yield the losses of a task one by one; the weights are updated after each."""

    def draw(self, source: Source, count: int, rng: Generator) -> Task:
        """Make a task from `count` loops. Override it if single loops are not enough."""
        return self.task(source.draw(count, rng), rng)

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Compute figures on validation loops, the same ones each time: `loss` and anything else worth logging.

        Args:
            source: validation split, without augmentation.
        """
        rng = np.random.default_rng(0)
        losses: dict[str, list[float]] = {}
        for _ in range(4):
            task = {name: x.to(self.device) for name, x in self.draw(source, JUDGED // 4, rng).items()}
            for aim in self.aims(task):
                name = "loss" if aim.part == "all" else f"loss_{aim.part}"
                for key, value in {name: aim.loss, **aim.log}.items():
                    losses.setdefault(key, []).append(float(value))
        return {name: float(np.mean(values)) for name, values in losses.items()}

    @abstractmethod
    def player(self) -> nn.Module:
        """Return the module to export, which shares this network's weights.

        Its inputs are those of the role in order, then the conditions; its outputs are those of the role in order.
        """

    @abstractmethod
    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Fields of `rtgen.inference.card.Card` that depend on the architecture: description, latents, steps ...

        Args:
            train: training loops without augmentation, to find ranges.
            valid: validation loops without augmentation, to tune thresholds.
        """

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device


class Source:
    """Samples augmented loops from a split, with a fixed share of each set.

    Args:
        loops: loops to sample from.
        shares: share of each set in the samples; sets not named are not used. None samples all loops uniformly.
        augmentation: random augmentation; None leaves loops unchanged.
        others: sources of loops in other metres with their shares of the draws, which sum to less than 1. Each draw is
            of one metre, since loops of different lengths do not fit in one array.
    """

    def __init__(
        self,
        loops: Loops,
        shares: Mapping[str, float] | None = None,
        augmentation: Augmentation | None = None,
        others: Sequence[tuple[Source, float]] = (),
    ) -> None:
        self.loops = loops
        self.shares = shares
        self.augmentation = augmentation
        self.others = others
        if shares:
            members = [(np.flatnonzero(loops.sets == name), share) for name, share in shares.items()]
            self._members = [(found, share) for found, share in members if len(found)]
        else:
            self._members = [(np.arange(len(loops)), 1.0)]
        weights = np.array([share for _, share in self._members])
        self._weights = weights / weights.sum()

    def __len__(self) -> int:
        """Number of loops to sample from, in all metres."""
        return sum(len(found) for found, _ in self._members) + sum(len(other) for other, _ in self.others)

    @property
    def sets(self) -> list[str]:
        """Names of the sets to sample from."""
        return [str(name) for name in self.shares or sorted(set(self.loops.sets))]

    def draw(self, count: int, rng: Generator) -> Sample:
        """Sample `count` loops of one metre, with replacement."""
        some = self.of_a_metre(rng)
        return some.take(some.pick(count, rng), rng)

    def of_a_metre(self, rng: Generator) -> Source:
        """Choose this source or one of `others`, by their shares."""
        at = rng.random() if self.others else 1.0
        for other, share in self.others:
            if at < share:
                return other
            at -= share
        return self

    def pick(self, count: int, rng: Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Sample the indices of `count` loops of this source's own metre, with replacement."""
        sets = rng.choice(len(self._members), count, p=self._weights)
        return np.array([rng.choice(self._members[i][0]) for i in sets])

    def take(self, indices: np.ndarray[Any, np.dtype[np.int64]], rng: Generator) -> Sample:
        """Return the augmented loops of some indices."""
        sample = Sample.of(self.loops, indices)
        return sample if self.augmentation is None else self.augmentation.apply(sample, rng)
