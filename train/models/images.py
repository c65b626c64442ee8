"""Loops as pictures, as in the systems that this project started from, and back to rolls.

Rows of a picture are pitches, columns are steps. A cell with a sounding note is 1, or the note's velocity (0-1). Such a
picture cannot tell a long note from the same pitch struck again; a second plane with onsets can.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from train.loops.batch import in_slots
from train.loops.sample import GRID, Sample

VELOCITY = 0.63
"""Velocity of notes from pictures without velocities: 80 of 127."""
SOUNDS = 0.15
"""Velocity in a picture above which a note is likelier there than not."""
LONGEST = 2**11 - 1
"""Longest note, in steps."""
Planes = tuple[Tensor, Tensor, Tensor, Tensor]
"""Onset and hold probabilities, velocity (0-1) and micro-timing (steps); each of shape (batch, pitches, steps)."""


def draw(sample: Sample, *, velocity: bool = False, onset: bool = False) -> Tensor:
    """Pictures of loops, shape (loops, planes, pitches, 96); bars of other metres are laid into slots.

    Args:
        sample: the loops.
        velocity: use the velocity as brightness.
        onset: add a plane that is 1 at onsets.
    """
    return from_roll(torch.from_numpy(in_slots(sample)), velocity, onset)


def from_roll(roll: Tensor, velocity: bool, onset: bool) -> Tensor:
    """Pictures of rolls (batch, 4, pitches, steps) with the planes onset, hold, velocity at onsets and micro."""
    starts, hold, loud, _ = roll.unbind(1)
    first = _carried(starts, hold, loud) if velocity else hold
    return torch.stack([first, starts], dim=1) if onset else first.unsqueeze(1)


def _carried(starts: Tensor, hold: Tensor, loud: Tensor) -> Tensor:
    """Spread the velocity of each onset over the whole note.

    Every column looks up the last onset before it. The distance doubles in each turn, since ONNX has neither a
    cumulative maximum nor a loop over a variable number of steps.
    """
    columns = torch.arange(hold.shape[2], device=hold.device).expand_as(hold)
    last = torch.where(starts > 0, columns, torch.zeros_like(columns))
    for turn in range(LONGEST.bit_length()):
        before = torch.nn.functional.pad(last, (1 << turn, 0))[:, :, : hold.shape[2]]
        last = torch.maximum(last, before)
    return hold * torch.gather(loud, 2, last)


def filled(sample: Sample) -> Tensor:
    """1 in columns of music and 0 in padding, shape (loops, 1, 1, steps)."""
    steps = torch.arange(GRID.steps(sample.length)) * GRID.step
    return (steps < torch.from_numpy(sample.filled)[:, None]).float()[:, None, None]


def to_planes(picture: Tensor, velocity: bool) -> Planes:
    """Convert pictures with values 0-1, shape (batch, planes, pitches, steps), to planes of a roll.

    Without an onset plane, a note starts where it did not sound a step before.
    """
    first = picture[:, 0]
    hold = (first / (2 * SOUNDS)).clamp(0, 1) if velocity else first
    loud = first if velocity else torch.full_like(first, VELOCITY)
    if picture.shape[1] > 1:
        onset = picture[:, 1]
    else:
        before = torch.nn.functional.pad(hold, (1, 0))[:, :, :-1]
        onset = (hold * (1 - before)).clamp(0, 1)
    return onset, hold, loud, torch.zeros_like(first)


class _Wrap(torch.autograd.Function):
    """`wrap` with a faster backward pass: through autograd's three slices a training step takes a tenth longer."""

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
    """Circular padding of `margin` frames on both sides of the third dimension, which must have at least as many."""
    if torch.is_grad_enabled() and x.requires_grad:
        found: Tensor = _Wrap.apply(x, margin)  # type: ignore[no-untyped-call]
        return found
    return _wrapped(x, margin)


def _wrapped(x: Tensor, margin: int) -> Tensor:
    return torch.cat([x[:, :, -margin:], x, x[:, :, :margin]], dim=2)
