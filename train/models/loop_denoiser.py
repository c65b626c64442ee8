"""A denoiser of loops: a masked, conditioned, convolutional network that starts as pass-through.

Three steps of the roll are folded into channels, so a bar is 16 frames. Residual blocks of dilated convolutions run
along time and wrap round, as a loop does; the widest looks one bar to either side. A lens then looks at every cell more
closely. The input is added to the output as logits, so the network has only to learn what to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional as F

from rtgen.inference.card import Condition
from rtgen.music.attributes import NAMES
from train.loops import batch
from train.loops.corrupt import UNKNOWN
from train.loops.sample import Sample
from train.models import repairs
from train.models.base import Aim, Architecture, Source, Task
from train.models.images import Planes

PLANES = 4
INPUTS = ("roll", "mask", "phase", "damage", "wish")
VALID_THRESHOLD = 0.4
FOLD = 3
"""Steps in a frame."""
CONDITION = 32
"""Numbers that tell the blocks how damaged the loop is, and what is wished of it."""
WISH = 2 * len(NAMES)
HOLD = 0.2
"""How much a cell that sounds counts, beside one in which a note begins."""
MIN_STEPS = 48
"""A bar of 4/4, as far as the widest block looks. A circular network cannot tell a loop from the same twice."""


class Block(nn.Module):
    """A residual block: (batch, frames, width) -> the same; circular along frames.

    Its convolutions are written as products of matrices, a frame a row.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(width)
        self.condition = nn.Linear(CONDITION, 2 * width)
        self.across = nn.Linear(3 * width, width)
        self.within = nn.Linear(width, width)
        # Zero at first: every block starts as pass-through.
        nn.init.zeros_(self.within.weight)
        nn.init.zeros_(self.within.bias)
        nn.init.zeros_(self.condition.weight)
        nn.init.zeros_(self.condition.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """`condition`: (batch, 32)."""
        scale, shift = self.condition(condition).unsqueeze(1).chunk(2, dim=2)
        h = F.silu(self.norm(x) * (1 + scale) + shift)
        d = self.dilation
        h = self.across(torch.cat([later(h, d), h, later(h, -d)], dim=2))
        result: Tensor = x + self.within(F.silu(h))
        return result


def later(x: Tensor, frames: int) -> Tensor:
    """`x` of shape (batch, frames, width) moved round the loop by so many frames; earlier if they are negative."""
    return torch.cat([x[:, -frames:], x[:, :-frames]], dim=1)


class _Wrap(torch.autograd.Function):
    """`wrap` with a faster way back: with autograd's own, through three slices, a step takes a tenth longer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, margin: int) -> Tensor:
        ctx.margin = margin
        return _wrapped(x, margin)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        (slope,), margin = slopes, ctx.margin
        found = slope[:, :, margin:-margin].clone()
        found[:, :, -margin:] += slope[:, :, :margin]
        found[:, :, :margin] += slope[:, :, -margin:]
        return found, None


def wrap(x: Tensor, margin: int) -> Tensor:
    """`x` with `margin` frames of its other end at either end, along its third dimension; there must be as many."""
    if torch.is_grad_enabled() and x.requires_grad:
        found: Tensor = _Wrap.apply(x, margin)  # type: ignore[no-untyped-call]
        return found
    return _wrapped(x, margin)


def _wrapped(x: Tensor, margin: int) -> Tensor:
    return torch.cat([x[:, :, -margin:], x, x[:, :, :margin]], dim=2)


class Lens(nn.Module):
    """Looks at every cell closely, with the same eyes at every pitch: (batch, channels, frames, pitches) -> the same.

    The trunk knows the loop as a whole but sees it through few channels. What stood in this very cell a bar, a beat or
    a step ago, or at the pitches beside it, is seen here, by two-dimensional convolutions.

    Args:
        channels: of what is looked at.
        width: channels within.
        looks: dilation in frames and kernel in pitches of each layer.
    """

    def __init__(self, channels: int, width: int, looks: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.dilations = [dilation for dilation, _ in looks]
        self.enter = nn.Conv2d(channels, width, 1)
        self.layers = nn.ModuleList(
            nn.Conv2d(width, width, (3, pitches), dilation=(dilation, 1), padding=(0, pitches // 2))
            for dilation, pitches in looks
        )
        self.leave = nn.Conv2d(width, PLANES * FOLD, 1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, frames, pitches) -> (batch, planes * 3, frames, pitches)."""
        # Convolutions of few channels are learnt half as fast again in this layout.
        x = F.silu(self.enter(x.contiguous(memory_format=torch.channels_last)))
        for dilation, layer in zip(self.dilations, self.layers, strict=True):
            x = x + F.silu(layer(wrap(x, dilation)))
        result: Tensor = self.leave(x)
        return result


class LoopDenoiser(Architecture):
    """The role `denoiser` of `rtgen.inference.card`.

    Args:
        width: channels of the blocks.
        dilations: of each block, in frames.
        lens: channels of the lens.
        looks: dilation in frames and kernel in pitches of each of the lens's layers.
        pitches: rows of the roll.
        corrupt: whether it learns to put damaged notes right.
        humanise: whether it learns to put loose timing right.
        in_key: whether it is told music as if it were in C major or A minor.
    """

    role: ClassVar[str] = "denoiser"
    better: ClassVar[tuple[str, str]] = ("note_f1", "max")

    def __init__(
        self,
        width: int = 240,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 1),
        lens: int = 16,
        looks: Sequence[tuple[int, int]] = ((16, 3), (4, 3), (1, 3)),
        pitches: int = 96,
        corrupt: bool = True,
        humanise: bool = True,
        in_key: bool = True,
    ) -> None:
        super().__init__()
        self.pitches = pitches
        self.corrupt, self.humanise, self.in_key = corrupt, humanise, in_key
        self.enter = nn.Linear(((PLANES + 1) * pitches + 4) * FOLD, width)
        self.told = nn.Sequential(nn.Linear(2 + WISH, 64), nn.SiLU(), nn.Linear(64, CONDITION), nn.SiLU())
        self.blocks = nn.ModuleList(Block(width, d) for d in dilations)
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, PLANES * pitches * FOLD)
        self.lens = Lens((2 * PLANES + 1) * FOLD, lens, looks)
        # Before any learning: logits of a cell with and without a note, about as the training data have it, and
        # velocity and micro-timing about as they are heard.
        self.gain = nn.Parameter(torch.tensor([8.0, 8.0, 4.0, 2.0]))
        self.bias = nn.Parameter(torch.tensor([-5.0, -4.0, -2.0, 0.0]))

    def logits(self, roll: Tensor, mask: Tensor, phase: Tensor, damage: Tensor, wish: Tensor) -> Tensor:
        """What `forward` turns into probabilities; shape (batch, 4, pitches, steps).

        Args:
            roll: onset, hold, velocity, micro; shape (batch, 4, pitches, steps).
            mask: 1 where hidden, shape (batch, pitches, steps).
            phase: `bar_phase`, shape (batch, 4, steps).
            damage: 0 (trust) to 1, or -1 (judge), shape (batch, 1).
            wish: attributes in standard deviations, and which of them are known, shape (batch, 12).
        """
        count, planes, pitches, steps = roll.shape
        frames = steps // FOLD
        # A step a row, so that to fold three into a frame, and to unfold them, moves nothing.
        heard = torch.cat([roll.flatten(1, 2), mask, phase], dim=1).transpose(1, 2)
        x = self.enter(heard.reshape(count, frames, -1))
        unknown = (damage < 0).to(damage.dtype)
        condition = self.told(torch.cat([damage * (1 - unknown), unknown, wish], dim=1))
        for block in self.blocks:
            x = block(x, condition)
        context = self.leave(F.silu(self.norm(x))).reshape(count, frames, -1, pitches)
        cells = heard[:, :, : (planes + 1) * pitches].reshape(count, frames, -1, pitches)
        seen = torch.cat([context, cells.to(context.dtype)], dim=2)
        change = context + self.lens(seen.transpose(1, 2)).transpose(1, 2)
        change = change.reshape(count, steps, -1).transpose(1, 2).reshape(roll.shape)
        result: Tensor = change + self.gain.view(1, planes, 1, 1) * roll + self.bias.view(1, planes, 1, 1)
        return result

    def forward(self, roll: Tensor, mask: Tensor, phase: Tensor, damage: Tensor, wish: Tensor) -> Planes:
        """Onset and hold probabilities, velocity (0-1), micro-timing (±0.5 step); each (batch, pitches, steps)."""
        onset, hold, velocity, micro = self.logits(roll, mask, phase, damage, wish).unbind(1)
        return torch.sigmoid(onset), torch.sigmoid(hold), torch.sigmoid(velocity), 0.5 * torch.tanh(micro)

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Loops that are damaged and partly hidden, and what they were."""
        b = batch.repair_task(sample, rng, corrupted=self.corrupt, humanised=self.humanise, in_key=self.in_key)
        return {name: torch.from_numpy(getattr(b, name)) for name in (*INPUTS, "target")}

    def aims(self, task: Task) -> Iterator[Aim]:
        """One: `loss`."""
        yield Aim(loss(self.logits(*(task[name] for name in INPUTS)).float(), task["target"]))

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Exact note F1 of validation loops, damaged as in the evaluation and repaired."""
        heard, meant = repairs.validation(source, in_key=self.in_key)
        found = repairs.answers(self.judging, heard, self.device)
        return {"note_f1": repairs.repaired_f1(found, heard, meant, VALID_THRESHOLD)}

    def judging(self, roll: Tensor, mask: Tensor, phase: Tensor) -> Planes:
        """Its answer when it is to judge the damage for itself."""
        count = len(roll)
        damage = torch.full((count, 1), UNKNOWN, device=self.device)
        found: Planes = self(roll, mask, phase, damage, torch.zeros(count, WISH, device=self.device))
        return found

    def player(self) -> nn.Module:
        """Itself."""
        return self

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Its shape, and the threshold that suits it."""
        del train
        return {
            "threshold": repairs.tune(self.judging, valid, self.device, in_key=self.in_key),
            "in_key": self.in_key,
            "min_steps": MIN_STEPS,
            "step_multiple": FOLD,
            "description": "Repairs wrong, missing, misplaced and broken notes of a loop, and fills in what is hidden.",
            "conditions": (
                Condition(
                    "damage", 1, (UNKNOWN,), "how much to repair: 0 trusts what is played, 1 little of it, -1 judges"
                ),
                Condition("wish", WISH, (0.0,) * WISH, "attributes that the loop should have, and which are known"),
            ),
        }


def loss(logits: Tensor, target: Tensor, touch: float = 1.0) -> Tensor:
    """Mean over loops of: cross-entropy of onset and hold, squared error of velocity and micro at onsets.

    Args:
        logits: shape (batch, 4, pitches, steps).
        target: likewise, as planes.
        touch: how much velocity and micro count.
    """
    onset = F.binary_cross_entropy_with_logits(logits[:, 0], target[:, 0], reduction="sum")
    hold = F.binary_cross_entropy_with_logits(logits[:, 1], target[:, 1], reduction="sum")
    velocity = (target[:, 0] * (torch.sigmoid(logits[:, 2]) - target[:, 2]) ** 2).sum()
    micro = (target[:, 0] * (0.5 * torch.tanh(logits[:, 3]) - target[:, 3]) ** 2).sum()
    return (onset + HOLD * hold + touch * (2 * velocity + micro)) / len(target)
