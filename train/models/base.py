"""What every architecture is to the workshop: how it makes a task of loops, what it wants smaller, and how it plays.

An architecture is one file beside this one. `train.fit` trains it, `train.export` writes it as an `.onnx` that keeps
the contract of its role, and neither knows more of it than what stands here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from train.loops.augment import Augmentation
from train.loops.dataset import Loops
from train.loops.sample import Sample

Task = dict[str, Tensor]
"""What an architecture learns from in one step: tensors by name, all with the same batch size."""
JUDGED = 256
"""Loops that a validation looks at."""


@dataclass(frozen=True)
class Aim:
    """Something to be made smaller.

    Args:
        loss: a scalar.
        part: whose weights are to change for it; a key of `Architecture.parts`.
        log: further scalars for the log, by name.
    """

    loss: Tensor
    part: str = "all"
    log: Mapping[str, Tensor] = field(default_factory=dict)


class Architecture(nn.Module, ABC):
    """A network with its task and its losses.

    The arguments of a subclass's constructor are the settings under `architecture` in its YAML, and those that
    `settings_from` finds in the music.
    """

    role: ClassVar[str]
    """A key of `rtgen.inference.card.ROLES`."""
    better: ClassVar[tuple[str, str]] = ("loss", "min")
    """The figure of `judge` that says which checkpoint is the best, and whether it is to be small or large."""
    repeats: ClassVar[bool] = False
    """Whether it is shown a loop again each time that it comes back: who follows a song needs all of it."""

    @classmethod
    def settings_from(cls, loops: Loops, settings: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG003
        """Arguments of the constructor that follow from the training loops: a pitch range, a vocabulary.

        Args:
            loops: of the training split.
            settings: what the configuration says of the architecture.
        """
        return {}

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Weights that are trained apart, each by an optimiser of its own."""
        return {"all": self.parameters()}

    @abstractmethod
    def task(self, sample: Sample, rng: Generator) -> Task:
        """What is to be learnt from some loops that have been varied already."""

    @abstractmethod
    def aims(self, task: Task) -> Iterator[Aim]:
        """The losses of a task, one after the other; between two of them the weights change."""

    def draw(self, source: Source, count: int, rng: Generator) -> Task:
        """A task of `count` loops. Who needs more than loops one by one draws otherwise."""
        return self.task(source.draw(count, rng), rng)

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Figures on validation loops, the same loops each time; `loss` and whatever else a log should show.

        Args:
            source: of the validation split, without augmentation.
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
        """The network as its role wants it: the role's inputs in order, then the conditions; the outputs in order.

        It shares the weights with this one.
        """

    @abstractmethod
    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Fields of `rtgen.inference.card.Card` that only the architecture knows: description, latents, steps ...

        Args:
            train: loops without augmentation, to find ranges in.
            valid: likewise, to tune thresholds on.
        """

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device


class Source:
    """Draws loops of a split, varied, so that every set has its share.

    Args:
        loops: all there are.
        shares: of each set in what is drawn; sets that are not named are not drawn. Without any, every loop is as
            likely as another.
        augmentation: how they are varied; None leaves them as they are.
        others: sources of loops in other metres, and the share of the draws that each has, below 1 in all. A draw is of
            one metre, since loops of several lengths do not make an array.
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
        """Loops that can be drawn, of any metre."""
        return sum(len(found) for found, _ in self._members) + sum(len(other) for other, _ in self.others)

    def draw(self, count: int, rng: Generator) -> Sample:
        """`count` loops of one metre, with replacement."""
        some = self.of_a_metre(rng)
        return some.take(some.pick(count, rng), rng)

    def of_a_metre(self, rng: Generator) -> Source:
        """This one, or another, by their shares."""
        at = rng.random() if self.others else 1.0
        for other, share in self.others:
            if at < share:
                return other
            at -= share
        return self

    def pick(self, count: int, rng: Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The numbers of `count` loops of this one's metre, with replacement."""
        sets = rng.choice(len(self._members), count, p=self._weights)
        return np.array([rng.choice(self._members[i][0]) for i in sets])

    def take(self, indices: np.ndarray[Any, np.dtype[np.int64]], rng: Generator) -> Sample:
        """Some loops, varied."""
        sample = Sample.of(self.loops, indices)
        return sample if self.augmentation is None else self.augmentation.apply(sample, rng)
