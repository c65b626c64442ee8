"""Convolutional denoising autoencoder on pictures of loops.

The method is that of Vincent et al. (Extracting and Composing Robust Features with Denoising Autoencoders, 2008). This
is the first of the systems that this project started from. A loop is a grey picture, with velocity as brightness,
cropped to the pitches that the music uses. Noise is added to it, and the network has to restore the picture.

Known failures, each repaired by a switch:

- `mask_padding`: padding of partly filled loops is left out of the loss; otherwise the network learns that loops end
  early.
- `onset`: a second plane holds the onsets. Without it, repeated notes merge into one long note.
- `notes`: besides pixel noise, notes are damaged and hidden as in the evaluation, and the network sees the mask.
  Players do not produce pixel noise, and a network that knows nothing else cannot handle a wrong note.
- `phase`: the network sees the position in the bar and the beat.
- `in_key`: all music is transposed to one key.
- `strides` and `dilations`: the first layer sees three steps at once, the second an octave, and dilated convolutions
  in the middle reach a bar to either side and go around as the loop does. Where every layer halves, a cell sees about a
  beat, which knows no harmony and no figure that returns.
- `skip`: the input is added to the output as logits and seen again by the last layers, at the resolution of the first
  layer, so that the network only has to learn the changes. Without it, whatever does not fit through the bottleneck is
  lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional as F

from train.loops import batch
from train.loops.corrupt import noisy
from train.loops.dataset import Loops
from train.loops.keys import in_c
from train.loops.sample import GRID, PITCH, Sample
from train.models import images, repairs
from train.models.base import Aim, Architecture, Source, Task
from train.models.conv_vae import Block
from train.models.images import Planes
from train.models.loop_denoiser import Lens

PHASE = 4
"""Features of a step's position in the bar and the beat."""
SNOW = 0.1
"""Share of loops with pixel noise where notes are damaged as well."""
FAR = 6
"""Semitones by which music is transposed at most into C major or A minor."""
HALF = (2, 2)
Stride = tuple[int, int]
"""In pitches and in steps; within the network in steps and in pitches."""
THRESHOLDS = tuple(round(0.04 * i, 2) for i in range(1, 17))
"""Candidate onset thresholds."""
FEWER = 128
"""Loops that are repaired in a validation, which would else take longer than the training between two of them."""
QUICK = (0.1, 0.25, 0.4, 0.55)
"""Candidate onset thresholds during training."""
MIN_STEPS = 48


class ConvDae(Architecture):
    """The role `denoiser`; takes any number of steps that the encoder can halve.

    Args:
        low: lowest pitch of the pictures.
        high: highest pitch. Pitches outside the range pass through unchanged.
        channels: channels of the encoder layers; the decoder mirrors them.
        strides: of each of these layers; by default each halves pitches and steps.
        dilations: of residual blocks after them, in columns of the last layer.
        lens: channels of the last layers, which work at the resolution of the first layer; with `skip`.
        looks: their dilations in its columns, and their kernels in its rows.
        noise_factor: scale of the normal noise added to each pixel; the result is clipped to 0-1.
        mask_padding: leave padding out of the loss.
        onset: add an onset plane.
        notes: also damage and hide notes.
        phase: add the position in the bar as input.
        skip: start as the identity.
        in_key: transpose all music to C major or A minor.
    """

    role: ClassVar[str] = "denoiser"
    better: ClassVar[tuple[str, str]] = ("note_f1", "max")

    def __init__(
        self,
        low: int = GRID.pitch_low,
        high: int = GRID.pitch_high,
        channels: Sequence[int] = (32, 16, 8),
        strides: Sequence[Stride] = (),
        dilations: Sequence[int] = (),
        lens: int = 12,
        looks: Sequence[tuple[int, int]] = ((16, 3), (4, 3), (1, 3)),
        noise_factor: float = 0.5,
        mask_padding: bool = True,
        onset: bool = True,
        notes: bool = True,
        phase: bool = True,
        skip: bool = True,
        in_key: bool = False,
    ) -> None:
        super().__init__()
        if not GRID.pitch_low <= low <= high <= GRID.pitch_high:
            raise ValueError(f"pitches {low} to {high} are not a range within {GRID.pitch_low} to {GRID.pitch_high}")
        if len(channels) < 2 or (strides and len(strides) != len(channels)):
            raise ValueError("'channels' has fewer than two layers, or not as many as 'strides'")
        self.rows = slice(low - GRID.pitch_low, high - GRID.pitch_low + 1)
        self.noise_factor = noise_factor
        self.mask_padding, self.onset, self.notes, self.phase = mask_padding, onset, notes, phase
        self.skip, self.in_key = skip, in_key
        # Within the network time comes first, as in the lens and in a block.
        self.strides: list[Stride] = [(steps, rows) for rows, steps in strides or [HALF] * len(channels)]
        planes = 1 + onset
        seen = planes + notes + PHASE * phase
        self.narrow = nn.ModuleList(map(_down, [seen, *channels], channels, self.strides))
        self.blocks = nn.ModuleList(Block(channels[-1], d) for d in dilations)
        widths = [*channels[::-1]] if skip else [*channels[::-1], planes]
        self.widen = nn.ModuleList(map(_up, widths, widths[1:], self.strides[::-1]))
        if skip:
            window = prod(self.strides[0])
            self.lens = Lens(channels[0] + seen * window, lens, looks, planes * window)
            # The output starts as the input, and the layers contribute nothing.
            self.gain = nn.Parameter(torch.ones(planes, 1, 1))

    @classmethod
    def settings_from(cls, loops: Loops, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The pitch range of the music, within the range of the roll; in one key it is about half an octave wider."""
        far = FAR if settings.get("in_key") else 0
        low, high = int(loops.notes[:, PITCH].min()) - far, int(loops.notes[:, PITCH].max()) + far
        found = {"low": max(low, GRID.pitch_low), "high": min(high, GRID.pitch_high)}
        return {name: value for name, value in found.items() if name not in settings}

    # ---- the network ------------------------------------------------------------------------------------------------

    def forward(self, picture: Tensor, mask: Tensor, phase: Tensor) -> Tensor:
        """Denoised pictures: grey values not yet clipped to 0-1, and onset logits; shape of `picture`.

        Without a skip there is no sigmoid on the grey values: as nearly all pixels are black, it would soon saturate at
        silence and stay there.

        Args:
            picture: noisy picture, shape (batch, planes, rows, steps).
            mask: 1 where hidden, shape (batch, rows, steps).
            phase: `bar_phase`, shape (batch, 4, steps).
        """
        seen = [picture]
        if self.notes:
            seen.append(mask.unsqueeze(1))
        if self.phase:
            seen.append(phase.unsqueeze(2).expand(-1, -1, picture.shape[2], -1))
        x = torch.cat(seen, dim=1)
        rows = picture.shape[2]
        x = F.pad(x, (0, 0, 0, -rows % prod(n for _, n in self.strides))).transpose(2, 3)
        # A third faster on CPUs.
        x = x.contiguous(memory_format=torch.channels_last)
        y = x
        for layer in self.narrow:
            y = F.relu(layer(y))
        for block in self.blocks:
            y = block(y)
        *between, last = self.widen
        for layer in between:
            y = F.relu(layer(y))
        change: Tensor = last(y)
        if self.skip:
            y = torch.cat([F.relu(change), _windows(x, self.strides[0])], dim=1)
            change = _cells(self.lens(y), self.strides[0])
        change = change.transpose(2, 3)[:, :, :rows]
        if not self.skip:
            return change
        logits = change + self.gain * torch.logit(picture.clamp(0.02, 0.98))
        return torch.cat([torch.sigmoid(logits[:, :1]), logits[:, 1:]], dim=1)

    def pictures(self, roll: Tensor) -> Tensor:
        """Convert rolls (batch, 4, pitches, steps) to input pictures (batch, planes, rows, steps)."""
        return images.from_roll(roll[:, :, self.rows], velocity=True, onset=self.onset)

    # ---- training ---------------------------------------------------------------------------------------------------

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Noisy pictures, possibly with damaged and hidden notes, and the clean pictures as targets."""
        if self.notes:
            made = batch.repair_task(sample, rng, in_key=self.in_key)
            heard, target, mask, phase = made.roll, made.target, made.mask, made.phase
        else:
            sample = in_c(sample) if self.in_key else sample
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
        """One loss: the squared error per pixel, plus the cross-entropy of onsets."""
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

    # ---- evaluation and playing -------------------------------------------------------------------------------------

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Compute the loss, and the note F1 of loops that are damaged as in the evaluation, then repaired.

        For comparison: the F1 of the damaged loops as they are, and that of undamaged loops after "repair".
        """
        heard, meant = repairs.validation(source, FEWER, in_key=self.in_key)
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
        """Return a module from roll, mask and phase to the planes of a roll."""
        return _Player(self)

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Shapes, description and the tuned threshold."""
        del train
        return {
            "threshold": repairs.tune(self.player(), valid, self.device, THRESHOLDS, in_key=self.in_key),
            "in_key": self.in_key,
            "min_steps": MIN_STEPS,
            "step_multiple": prod(n for n, _ in self.strides),
            "description": "Removes noise from the picture of a loop, and with it wrong notes.",
        }


def _down(before: int, after: int, stride: Stride) -> nn.Module:
    kernel, padding = _window(stride, 3)
    return nn.Conv2d(before, after, kernel, stride, padding)


def _up(before: int, after: int, stride: Stride) -> nn.Module:
    kernel, padding = _window(stride, 4)
    return nn.ConvTranspose2d(before, after, kernel, stride, padding)


def _window(stride: Stride, halving: int) -> tuple[Stride, Stride]:
    """Kernel and padding: of size `halving` and over the edges where a layer halves, else each window by itself."""
    a, b = stride
    return (halving if a == 2 else a, halving if b == 2 else b), (int(a == 2), int(b == 2))


def _windows(x: Tensor, stride: Stride) -> Tensor:
    """(batch, channels, steps, rows) -> (batch, channels * window, windows, windows), each window as channels."""
    count, channels, steps, rows = x.shape
    a, b = stride
    x = x.reshape(count, channels, steps // a, a, rows // b, b)
    return x.permute(0, 1, 3, 5, 2, 4).reshape(count, channels * a * b, steps // a, rows // b)


def _cells(x: Tensor, stride: Stride) -> Tensor:
    """The inverse of `_windows`."""
    count, channels, steps, rows = x.shape
    a, b = stride
    x = x.reshape(count, channels // (a * b), a, b, steps, rows)
    return x.permute(0, 1, 4, 2, 5, 3).reshape(count, channels // (a * b), steps * a, rows * b)


class _Player(nn.Module):
    """The network applied to the full pitch range of a roll."""

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
