"""A denoising autoencoder of pictures of loops: narrowing convolutions, then widening ones, and the noise is gone.

The first of the systems that this project began from. A loop is a grey picture, as bright as it is loud, cut to the
pitches that the music uses. Snow is laid over it, and the network is to give back the picture without the snow.

What is known to fail, and what a switch puts right:

- `mask_padding`: the padding of loops that are not full does not count, or the network learns that loops end early.
- `onset`: a second picture says where notes begin. Without it, what is struck again is one long note.
- `notes`: beside the snow, notes are damaged and hidden as in the evaluation, and the network sees what is hidden. No
  player makes snow, and a network that only knows snow has nothing to say about a wrong note.
- `phase`: the network sees where in the bar and the beat it is.
- `skip`: the input is added to the output as logits and seen again by the last layers, so that the network has only to
  learn what to change. Without it, whatever does not fit through the narrow part is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional as F

from train.loops import batch
from train.loops.corrupt import noisy
from train.loops.dataset import Loops
from train.loops.sample import GRID, PITCH, Sample
from train.models import images, repairs
from train.models.base import Aim, Architecture, Source, Task
from train.models.images import Planes

CLOSE = 12
"""Channels of the last layers, which see every pixel."""
PHASE = 4
"""Numbers that say where in the bar and the beat a step is."""
SNOW = 0.5
"""Share of the loops that lie under snow, where notes are damaged as well."""
THRESHOLDS = tuple(round(0.04 * i, 2) for i in range(1, 17))
"""Onset thresholds to choose from."""
QUICK = (0.1, 0.25, 0.4, 0.55)
"""Onset thresholds of which the best is taken during training."""
MIN_STEPS = 48


class ConvDae(Architecture):
    """The network; of any number of steps that its narrowing can halve.

    Args:
        low: lowest pitch of the pictures.
        high: highest. Pitches beyond are passed on as they come.
        channels: of each narrowing layer, each of which halves pitches and steps.
        noise_factor: what is added to a pixel is a normal deviate times this; then all is clipped to 0-1.
        mask_padding: whether padding is left out of the loss.
        onset: whether there is a picture of onsets.
        notes: whether notes are damaged and hidden, too.
        phase: whether it sees where in the bar it is.
        skip: whether it begins as pass-through.
    """

    role: ClassVar[str] = "denoiser"
    better: ClassVar[tuple[str, str]] = ("note_f1", "max")

    def __init__(
        self,
        low: int = GRID.pitch_low,
        high: int = GRID.pitch_high,
        channels: Sequence[int] = (32, 16, 8),
        noise_factor: float = 0.5,
        mask_padding: bool = True,
        onset: bool = True,
        notes: bool = True,
        phase: bool = True,
        skip: bool = True,
    ) -> None:
        super().__init__()
        if not GRID.pitch_low <= low <= high <= GRID.pitch_high:
            raise ValueError(f"pitches {low} to {high} are no range of {GRID.pitch_low} to {GRID.pitch_high}")
        self.rows = slice(low - GRID.pitch_low, high - GRID.pitch_low + 1)
        self.noise_factor = noise_factor
        self.mask_padding, self.onset, self.notes, self.phase, self.skip = mask_padding, onset, notes, phase, skip
        planes = 1 + onset
        seen = planes + notes + PHASE * phase
        widths = (*channels[::-1], CLOSE if skip else planes)
        self.narrow = nn.ModuleList(map(_halving, (seen, *channels), channels))
        self.widen = nn.ModuleList(map(_doubling, widths, widths[1:]))
        if skip:
            self.look = nn.Conv2d(CLOSE + seen, CLOSE, 3, padding=1)
            self.leave = nn.Conv2d(CLOSE, planes, 3, padding=1)
            # What goes out is at first what comes in, and what the layers make of it is nothing yet.
            self.gain = nn.Parameter(torch.ones(planes, 1, 1))
            for weights in self.leave.parameters():
                nn.init.zeros_(weights)
        # A third faster on processors.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def settings_from(cls, loops: Loops, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The range of the pitches in the music, as far as rolls go."""
        pitches = np.clip(loops.notes[:, PITCH], GRID.pitch_low, GRID.pitch_high)
        found = {"low": int(pitches.min()), "high": int(pitches.max())}
        return {name: value for name, value in found.items() if name not in settings}

    # ---- the network ------------------------------------------------------------------------------------------------

    def forward(self, picture: Tensor, mask: Tensor, phase: Tensor) -> Tensor:
        """The pictures without noise: grey, not yet clipped to 0-1, and the logits of onsets; shape of `picture`.

        Without a skip, a sigmoid over the grey would hold it for ever where it is soon, at silence: so few pixels are
        not black.

        Args:
            picture: with noise, shape (batch, planes, rows, steps).
            mask: 1 where it is hidden, shape (batch, rows, steps).
            phase: `bar_phase`, shape (batch, 4, steps).
        """
        seen = [picture]
        if self.notes:
            seen.append(mask.unsqueeze(1))
        if self.phase:
            seen.append(phase.unsqueeze(2).expand(-1, -1, picture.shape[2], -1))
        x = torch.cat(seen, dim=1)
        rows = picture.shape[2]
        x = F.pad(x, (0, 0, 0, -rows % 2 ** len(self.narrow)))
        y = x
        for layer in self.narrow:
            y = F.relu(layer(y))
        for layer in self.widen[:-1]:
            y = F.relu(layer(y))
        change: Tensor = self.widen[-1](y)
        if not self.skip:
            return change[:, :, :rows]
        y = F.relu(self.look(torch.cat([x, F.relu(change)], dim=1)))
        change = self.leave(y)[:, :, :rows]
        logits = change + self.gain * torch.logit(picture.clamp(0.02, 0.98))
        return torch.cat([torch.sigmoid(logits[:, :1]), logits[:, 1:]], dim=1)

    def pictures(self, roll: Tensor) -> Tensor:
        """Rolls of shape (batch, 4, pitches, steps) as this network sees them: (batch, planes, rows, steps)."""
        return images.from_roll(roll[:, :, self.rows], velocity=True, onset=self.onset)

    # ---- learning ---------------------------------------------------------------------------------------------------

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Pictures under snow, of notes that may be damaged and hidden; and the pictures that were meant."""
        if self.notes:
            made = batch.repair_task(sample, rng)
            heard, target, mask, phase = made.roll, made.target, made.mask, made.phase
        else:
            heard = target = batch.rasterise(sample.notes, sample.count, sample.length)
            mask, phase = np.zeros_like(target[:, 0]), batch.phases(sample.count, sample.length, sample.bar)
        picture = self.pictures(torch.from_numpy(heard)).numpy()
        snow = rng.random(sample.count) < (SNOW if self.notes else 1)
        picture[snow] = noisy(picture[snow], self.noise_factor, rng)
        return {
            "picture": torch.from_numpy(picture),
            "mask": torch.from_numpy(mask[:, self.rows]),
            "phase": torch.from_numpy(phase),
            "filled": images.filled(sample)[..., np.arange(target.shape[3]) % GRID.steps(sample.length)],
            "target": self.pictures(torch.from_numpy(target)),
        }

    def aims(self, task: Task) -> Iterator[Aim]:
        """One: `loss`, the squared error of a pixel; and of onsets the cross-entropy."""
        found = self(task["picture"], task["mask"], task["phase"]).float()
        target = task["target"]
        counts = task["filled"][:, 0].expand_as(target[:, 0]) if self.mask_padding else torch.ones_like(target[:, 0])
        squared = ((found[:, 0] - target[:, 0]) ** 2 * counts).sum() / counts.sum()
        if not self.onset:
            yield Aim(squared)
            return
        each = F.binary_cross_entropy_with_logits(found[:, 1], target[:, 1], reduction="none")
        onset = (each * counts).sum() / counts.sum()
        yield Aim(squared + onset, log={"squared_error": squared.detach(), "onset_entropy": onset.detach()})

    # ---- what it is worth, and how it plays -------------------------------------------------------------------------

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """The loss; and the note F1 of loops that are damaged as in the evaluation, and repaired.

        Beside it stands what these loops are worth as they are, and what undamaged ones are once they were "repaired".
        """
        heard, meant = repairs.validation(source)
        player = self.player()
        of_heard, of_meant = (repairs.answers(player, sample, self.device) for sample in (heard, meant))
        f1, threshold = max((repairs.repaired_f1(of_heard, heard, meant, t), t) for t in QUICK)
        return {
            **super().judge(source),
            "note_f1": f1,
            "note_f1_as_played": repairs.played_f1(heard, meant),
            "note_f1_undamaged": repairs.repaired_f1(of_meant, meant, meant, threshold),
        }

    def player(self) -> nn.Module:
        """Roll, mask and phase to the planes of a roll."""
        return _Player(self)

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Its shape, and the threshold that suits it."""
        del train
        return {
            "threshold": repairs.tune(self.player(), valid, self.device, THRESHOLDS),
            "min_steps": MIN_STEPS,
            "step_multiple": 2 ** len(self.narrow),
            "description": "Takes noise from the picture of a loop, and with it notes that do not belong there.",
        }


def _halving(before: int, after: int) -> nn.Module:
    return nn.Conv2d(before, after, 3, stride=2, padding=1)


def _doubling(before: int, after: int) -> nn.Module:
    return nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)


class _Player(nn.Module):
    """The network within all the pitches of a roll."""

    def __init__(self, net: ConvDae) -> None:
        super().__init__()
        self.net = net

    def forward(self, roll: Tensor, mask: Tensor, phase: Tensor) -> Planes:
        """Onset and hold probabilities, velocity (0-1) and micro-timing (steps), each (batch, pitches, steps)."""
        rows = self.net.rows
        made = self.net(self.net.pictures(roll), mask[:, rows], phase)
        picture = torch.cat([made[:, :1].clamp(0, 1), torch.sigmoid(made[:, 1:])], dim=1)
        found = images.to_planes(picture, velocity=True)
        whole = [
            torch.cat([given[:, : rows.start], plane, given[:, rows.stop :]], dim=1)
            for given, plane in zip(roll.unbind(1), found, strict=True)
        ]
        return whole[0], whole[1], whole[2], whole[3]
