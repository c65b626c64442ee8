"""Loops as pictures, as the systems that this project began from saw them, and what such a picture is as a roll.

A picture has pitches for rows and steps for columns. Where a note sounds it is 1, or the note's velocity (0-1). Such a
picture cannot tell a long note from the same pitch struck again; a second plane with the onsets can.
"""

from __future__ import annotations

import torch
from torch import Tensor

from train.loops.batch import in_slots
from train.loops.sample import GRID, Sample

VELOCITY = 0.63
"""Of notes from a picture without velocities: 80 of 127."""
SOUNDS = 0.15
"""Velocity in a picture from which a note is more likely there than not."""
LONGEST = 2**11 - 1
"""Steps that a note may sound."""
Planes = tuple[Tensor, Tensor, Tensor, Tensor]
"""Onset and hold probabilities, velocity (0-1) and micro-timing (steps); each of shape (batch, pitches, steps)."""


def draw(sample: Sample, *, velocity: bool = False, onset: bool = False) -> Tensor:
    """The pictures of some loops, shape (loops, planes, pitches, 96); those of other metres in slots.

    Args:
        sample: the loops.
        velocity: whether a note is as bright as it is loud.
        onset: whether there is a second plane, 1 where a note begins.
    """
    return from_roll(torch.from_numpy(in_slots(sample)), velocity, onset)


def from_roll(roll: Tensor, velocity: bool, onset: bool) -> Tensor:
    """The pictures of rolls of shape (batch, 4, pitches, steps): onset, hold, velocity at onsets, micro."""
    starts, hold, loud, _ = roll.unbind(1)
    first = _carried(starts, hold, loud) if velocity else hold
    return torch.stack([first, starts], dim=1) if onset else first.unsqueeze(1)


def _carried(starts: Tensor, hold: Tensor, loud: Tensor) -> Tensor:
    """The velocity of each onset for as long as its note sounds.

    Every column looks up the onset that was last before it. How far back that is doubles from turn to turn, since an
    `.onnx` knows neither a cumulative maximum nor a loop over a number of steps that is left free.
    """
    columns = torch.arange(hold.shape[2], device=hold.device).expand_as(hold)
    last = torch.where(starts > 0, columns, torch.zeros_like(columns))
    for turn in range(LONGEST.bit_length()):
        before = torch.nn.functional.pad(last, (1 << turn, 0))[:, :, : hold.shape[2]]
        last = torch.maximum(last, before)
    return hold * torch.gather(loud, 2, last)


def filled(sample: Sample) -> Tensor:
    """1 where a column is music and 0 where it is padding, shape (loops, 1, 1, steps)."""
    steps = torch.arange(GRID.steps(sample.length)) * GRID.step
    return (steps < torch.from_numpy(sample.filled)[:, None]).float()[:, None, None]


def to_planes(picture: Tensor, velocity: bool) -> Planes:
    """What a picture with values of 0-1 is as a roll; shape of the picture (batch, planes, pitches, steps).

    Without a plane of onsets, a note begins where it was not there a step before.
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
