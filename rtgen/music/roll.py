"""Piano rolls: encodes a loop as arrays, and decodes it.

Onset and hold are separate planes, as in Onsets and Frames (Hawthorne et al., 2018): a single plane of sounding notes
would merge repeated ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtgen.music.note import Loop, Note
from rtgen.music.time import Grid

Plane = NDArray[np.float32]

MIN_ONSET = 0.03
"""Onset probability below which a cell is never a note, however many notes are requested."""


@dataclass(frozen=True, slots=True, eq=False)
class Roll:
    """A loop on a grid; every plane is a float32 array of shape (pitches, steps).

    Args:
        onset: probability that a note starts here; 0 or 1 when encoded from a loop.
        hold: probability that a note sounds here, its onset included.
        velocity: velocity / 127 at onsets; undefined elsewhere (0 when encoded).
        micro: microtiming at onsets: offset from the step, in steps, -0.5 to 0.5.
    """

    onset: Plane
    hold: Plane
    velocity: Plane
    micro: Plane

    def stack(self) -> Plane:
        """Return onset, hold, velocity and micro as one array of shape (4, pitches, steps)."""
        return np.stack([self.onset, self.hold, self.velocity, self.micro])


def encode(loop: Loop, grid: Grid) -> Roll:
    """Encode a loop. Notes outside the grid's pitch range are dropped; of two notes in one cell the louder is kept.

    Raises:
        ValueError: the loop's length is not a whole number of steps.
    """
    steps = grid.steps(loop.length)
    onset, hold, velocity, micro = np.zeros((4, grid.pitches, steps), np.float32)
    notes = [n for n in loop.notes if grid.pitch_low <= n.pitch <= grid.pitch_high]
    for note in loop.with_notes(notes).monophonic_by_pitch().notes:
        row = note.pitch - grid.pitch_low
        column = grid.column(note.onset, steps)
        end = min(max(round(note.end / grid.step), column + 1), steps)
        hold[row, column:end] = 1
        onset[row, column] = 1
        if note.velocity / 127 > velocity[row, column]:
            velocity[row, column] = note.velocity / 127
            micro[row, column] = min(max(note.onset / grid.step - column, -0.5), 0.5)
    return Roll(onset, hold, velocity, micro)


def pick_onsets(onset: Plane, count: int | None = None, threshold: float = 0.5) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the cells (rows, columns) where notes start: per pitch, the peaks along time.

    Args:
        onset: probabilities, shape (pitches, steps).
        count: maximum number of notes, the most likely first; None takes all at or above `threshold`.
        threshold: minimum onset probability, if `count` is None.
    """
    before = np.pad(onset, ((0, 0), (1, 0)))[:, :-1]
    after = np.pad(onset, ((0, 0), (0, 1)))[:, 1:]
    # A cell of probability 1 is a note even next to another one, so that exact rolls decode exactly.
    peak = ((onset >= before) & (onset > after)) | (onset >= 0.999)
    rows, columns = np.nonzero(peak & (onset >= (MIN_ONSET if count is not None else threshold)))
    if count is not None:
        likeliest = np.argsort(-onset[rows, columns], kind="stable")[:count]
        rows, columns = rows[likeliest], columns[likeliest]
    return rows, columns


def decode(
    roll: Roll, grid: Grid, length: int, *, bar: int = 1920, count: int | None = None, threshold: float = 0.5
) -> Loop:
    """Decode a roll of probabilities; `decode(encode(loop)) == loop` for loops on the grid.

    A note lasts until hold falls below 0.5 (gaps of one step are bridged) or its pitch starts again.

    Args:
        roll: planes of shape (pitches, steps).
        grid: the grid of the roll.
        length: of the loop, ticks.
        bar: ticks per bar.
        count: number of notes; None decides by `threshold`.
        threshold: minimum onset probability of a note, if `count` is None.
    """
    rows, columns = pick_onsets(roll.onset, count, threshold)
    if not len(rows):
        return Loop(length, (), bar)
    steps = roll.onset.shape[1]
    starts = np.zeros_like(roll.onset, bool)
    starts[rows, columns] = True
    sounding = roll.hold >= 0.5
    # Bridge gaps of one step, except before an onset, where the rest is intended.
    sounding[:, 1:-1] |= sounding[:, :-2] & sounding[:, 2:] & ~starts[:, 2:]
    ends_here = ~sounding | starts
    # next_end[p, s]: first column from s on where a note that sounds at s - 1 must end.
    index = np.where(ends_here, np.arange(steps), steps)
    next_end = np.minimum.accumulate(index[:, ::-1], axis=1)[:, ::-1]
    next_end = np.pad(next_end, ((0, 0), (0, 1)), constant_values=steps)
    notes = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        onset = round((column + min(max(float(roll.micro[row, column]), -0.5), 0.5)) * grid.step)
        end = int(next_end[row, column + 1]) * grid.step
        velocity = min(max(round(float(roll.velocity[row, column]) * 127), 1), 127)
        notes.append(Note(onset, row + grid.pitch_low, max(end - column * grid.step, 1), velocity))
    return Loop(length, tuple(notes), bar)


def bar_phase(length: int, bar: int, grid: Grid) -> Plane:
    """Return the phase of each step in its bar and beat, as sines and cosines; shape (4, steps)."""
    ticks = np.arange(grid.steps(length)) * grid.step
    angles = 2 * np.pi * np.stack([ticks / bar, ticks / (grid.step * grid.steps_per_beat)])
    return np.concatenate([np.sin(angles), np.cos(angles)]).astype(np.float32)
