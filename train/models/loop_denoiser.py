"""A masked, conditioned convolutional denoiser of loops that starts as the identity.

Three steps of the roll are folded into channels, so a bar of 4/4 has 16 frames. Residual blocks of dilated convolutions
run along time and wrap around, as a loop does; the widest reaches one bar to either side. A lens then looks at every
cell more closely. The input is added to the output as logits, so the network only has to learn what to change.
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
from train.models.images import Planes, wrap

PLANES = 4
INPUTS = ("roll", "mask", "phase", "damage", "wish")
VALID_THRESHOLD = 0.4
FOLD = 3
"""Steps per frame."""
CONDITION = 32
"""Size of the conditioning vector (damage and wish) that the blocks receive."""
WISH = 2 * len(NAMES)
HOLD = 0.2
"""Loss weight of hold cells relative to onset cells."""
MIN_STEPS = 48
"""A bar of 4/4, the reach of the widest block. A circular network cannot tell a loop from its repetition."""


class Block(nn.Module):
    """A residual block: (batch, frames, width) -> the same; circular along frames.

    Dilated convolutions after Yu and Koltun (Multi-Scale Context Aggregation by Dilated Convolutions, 2016), written as
    matrix products with a frame per row; conditioned by scale and shift (Perez et al., FiLM, 2018).
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(width)
        self.condition = nn.Linear(CONDITION, 2 * width)
        self.across = nn.Linear(3 * width, width)
        self.within = nn.Linear(width, width)
        # Zero at first, so that every block starts as the identity.
        nn.init.zeros_(self.within.weight)
        nn.init.zeros_(self.within.bias)
        nn.init.zeros_(self.condition.weight)
        nn.init.zeros_(self.condition.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Apply the block; `condition` has shape (batch, 32)."""
        scale, shift = self.condition(condition).unsqueeze(1).chunk(2, dim=2)
        h = F.silu(self.norm(x) * (1 + scale) + shift)
        d = self.dilation
        h = self.across(torch.cat([later(h, d), h, later(h, -d)], dim=2))
        result: Tensor = x + self.within(F.silu(h))
        return result


def later(x: Tensor, frames: int) -> Tensor:
    """Rotate `x` (batch, frames, width) around the loop by so many frames; earlier if negative."""
    return torch.cat([x[:, -frames:], x[:, :-frames]], dim=1)


class Lens(nn.Module):
    """Circular 2D convolutions over time and pitch, shared by all pitches; the output is 0 at first.

    The trunk knows the whole loop but through few channels. The lens sees what was in this cell a bar, a beat or a step
    ago, and at neighbouring pitches.

    Args:
        channels: input channels.
        width: inner channels.
        looks: dilation in frames and kernel in pitches of each layer.
        out: output channels.
    """

    def __init__(self, channels: int, width: int, looks: Sequence[tuple[int, int]], out: int = PLANES * FOLD) -> None:
        super().__init__()
        self.dilations = [dilation for dilation, _ in looks]
        self.enter = nn.Conv2d(channels, width, 1)
        self.layers = nn.ModuleList(
            nn.Conv2d(width, width, (3, pitches), dilation=(dilation, 1), padding=(0, pitches // 2))
            for dilation, pitches in looks
        )
        self.leave = nn.Conv2d(width, out, 1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, frames, pitches) -> (batch, out, frames, pitches)."""
        # Convolutions with few channels train 1.5 times as fast in this layout.
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
        looks: dilation in frames and kernel in pitches of each lens layer.
        pitches: rows of the roll.
        corrupt: learn to repair damaged notes.
        humanise: learn to repair loose timing.
        in_key: transpose music to C major or A minor.
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
        # Initial logits of cells with and without a note are about those of the training data; velocity and
        # micro-timing pass through roughly unchanged.
        self.gain = nn.Parameter(torch.tensor([8.0, 8.0, 4.0, 2.0]))
        self.bias = nn.Parameter(torch.tensor([-5.0, -4.0, -2.0, 0.0]))

    def logits(self, roll: Tensor, mask: Tensor, phase: Tensor, damage: Tensor, wish: Tensor) -> Tensor:
        """Logits of the output planes before `forward` turns them into probabilities; shape (batch, 4, pitches, steps).

        Args:
            roll: onset, hold, velocity, micro; shape (batch, 4, pitches, steps).
            mask: 1 where hidden, shape (batch, pitches, steps).
            phase: `bar_phase`, shape (batch, 4, steps).
            damage: from 0 (trust the input) to 1, or -1 (let the model judge); shape (batch, 1).
            wish: attributes in standard deviations, then flags for those that are known; shape (batch, 12).
        """
        count, planes, pitches, steps = roll.shape
        frames = steps // FOLD
        # With a step per row, folding and unfolding three steps into a frame copies nothing.
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
        """Damaged and partly hidden loops, with the originals as targets."""
        b = batch.repair_task(sample, rng, corrupted=self.corrupt, humanised=self.humanise, in_key=self.in_key)
        return {name: torch.from_numpy(getattr(b, name)) for name in (*INPUTS, "target")}

    def aims(self, task: Task) -> Iterator[Aim]:
        """One loss: `loss`."""
        yield Aim(loss(self.logits(*(task[name] for name in INPUTS)).float(), task["target"]))

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Exact note F1 of validation loops that are damaged as in the evaluation, then repaired."""
        heard, meant = repairs.validation(source, in_key=self.in_key)
        found = repairs.answers(self.judging, heard, self.device)
        return {"note_f1": repairs.repaired_f1(found, heard, meant, VALID_THRESHOLD)}

    def judging(self, roll: Tensor, mask: Tensor, phase: Tensor) -> Planes:
        """Output planes with `damage` set to -1, so that the model judges the damage itself."""
        count = len(roll)
        damage = torch.full((count, 1), UNKNOWN, device=self.device)
        found: Planes = self(roll, mask, phase, damage, torch.zeros(count, WISH, device=self.device))
        return found

    def player(self) -> nn.Module:
        """The network itself."""
        return self

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Shapes, conditions and the tuned threshold."""
        del train
        return {
            "threshold": self.threshold(valid),
            "in_key": self.in_key,
            "min_steps": MIN_STEPS,
            "step_multiple": FOLD,
            "description": "Repairs wrong, missing, misplaced and broken notes of a loop, and fills in hidden parts.",
            "conditions": (
                Condition(
                    "damage", 1, (UNKNOWN,), "how much to repair: 0 trusts the input, 1 hardly, -1 lets the model judge"
                ),
                Condition("wish", WISH, (0.0,) * WISH, "target attributes, and flags for those that are set"),
            ),
        }

    def threshold(self, valid: Source) -> float:
        """The onset threshold that repairs validation loops best."""
        return repairs.tune(self.judging, valid, self.device, in_key=self.in_key)


def loss(logits: Tensor, target: Tensor, touch: float = 1.0) -> Tensor:
    """Cross-entropy of onset and hold, squared error of velocity and micro at onsets; averaged over loops.

    Args:
        logits: shape (batch, 4, pitches, steps).
        target: planes of the same shape.
        touch: weight of velocity and micro.
    """
    onset = F.binary_cross_entropy_with_logits(logits[:, 0], target[:, 0], reduction="sum")
    hold = F.binary_cross_entropy_with_logits(logits[:, 1], target[:, 1], reduction="sum")
    velocity = (target[:, 0] * (torch.sigmoid(logits[:, 2]) - target[:, 2]) ** 2).sum()
    micro = (target[:, 0] * (0.5 * torch.tanh(logits[:, 3]) - target[:, 3]) ** 2).sum()
    return (onset + HOLD * hold + touch * (2 * velocity + micro)) / len(target)
