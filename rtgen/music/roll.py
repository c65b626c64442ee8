"""Piano rolls: a loop as arrays, and back.

Onset and hold are planes of their own, as in Onsets and Frames (Hawthorne et al., 2018): a roll of "note sounds here"
alone merges repeated notes.
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
"""A cell less likely than this is never a note, however many notes were asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Roll:
    """A loop on a grid; every plane has the shape (pitches, steps), float32.

    Args:
        onset: probability that a note starts here; 0 or 1 when encoded from a loop.
        hold: probability that a note sounds here, its onset included.
        velocity: velocity / 127 at onsets, elsewhere of no meaning (0 when encoded).
        micro: how far the note is off its step, in steps, -0.5 to 0.5, at onsets.
    """

    onset: Plane
    hold: Plane
    velocity: Plane
    micro: Plane

    def stack(self) -> Plane:
        """The planes onset, hold, velocity, micro as one array of shape (4, pitches, steps)."""
        return np.stack([self.onset, self.hold, self.velocity, self.micro])


def encode(loop: Loop, grid: Grid) -> Roll:
    """The roll of `loop`. Notes outside the grid's pitches are left out; of two on one cell the louder stays.

    Raises:
        ValueError: the loop's length is not a whole number of steps.
    """
    steps = grid.steps(loop.length)
    onset, hold, velocity, micro = np.zeros((4, grid.pitches, steps), np.float32)
    notes = [n for n in loop.notes if grid.pitch_low <= n.pitch <= grid.pitch_high]
    for note in loop.with_notes(notes).monophonic_by_pitch().notes:
        row = note.pitch - grid.pitch_low
        column = min(max(round(note.onset / grid.step), 0), steps - 1)
        end = min(max(round(note.end / grid.step), column + 1), steps)
        hold[row, column:end] = 1
        onset[row, column] = 1
        if note.velocity / 127 > velocity[row, column]:
            velocity[row, column] = note.velocity / 127
            micro[row, column] = min(max(note.onset / grid.step - column, -0.5), 0.5)
    return Roll(onset, hold, velocity, micro)


def pick_onsets(onset: Plane, count: int | None = None, threshold: float = 0.5) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cells (rows, columns) where notes start: peaks along time of each pitch.

    Args:
        onset: probabilities, shape (pitches, steps).
        count: the number of notes to take, the likeliest first; None takes all at or above `threshold`.
        threshold: probability.
    """
    before = np.pad(onset, ((0, 0), (1, 0)))[:, :-1]
    after = np.pad(onset, ((0, 0), (0, 1)))[:, 1:]
    # A certain cell is a note even beside another: exact rolls decode exactly.
    peak = ((onset >= before) & (onset > after)) | (onset >= 0.999)
    rows, columns = np.nonzero(peak & (onset >= (MIN_ONSET if count is not None else threshold)))
    if count is not None:
        likeliest = np.argsort(-onset[rows, columns], kind="stable")[:count]
        rows, columns = rows[likeliest], columns[likeliest]
    return rows, columns


def decode(
    roll: Roll, grid: Grid, length: int, *, bar: int = 1920, count: int | None = None, threshold: float = 0.5
) -> Loop:
    """The loop that a roll of probabilities describes; `decode(encode(loop)) == loop` for loops on the grid.

    A note lasts until hold falls below one half (a gap of one step is bridged) or the pitch starts again.

    Args:
        roll: planes of shape (pitches, steps).
        grid: the grid of the roll.
        length: ticks of the loop.
        bar: ticks of its bar.
        count: number of notes wanted; None decides by `threshold`.
        threshold: onset probability from which a cell is a note.
    """
    rows, columns = pick_onsets(roll.onset, count, threshold)
    if not len(rows):
        return Loop(length, (), bar)
    steps = roll.onset.shape[1]
    starts = np.zeros_like(roll.onset, bool)
    starts[rows, columns] = True
    sounding = roll.hold >= 0.5
    # Bridge one-step gaps, except before a new onset, where silence is meant.
    sounding[:, 1:-1] |= sounding[:, :-2] & sounding[:, 2:] & ~starts[:, 2:]
    ends_here = ~sounding | starts
    # next_end[p, s]: first column at or after s where a note that sounds at s - 1 must end.
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
    """Where each step lies in its bar and its beat, as sines and cosines; shape (4, steps)."""
    ticks = np.arange(grid.steps(length)) * grid.step
    angles = 2 * np.pi * np.stack([ticks / bar, ticks / (grid.step * grid.steps_per_beat)])
    return np.concatenate([np.sin(angles), np.cos(angles)]).astype(np.float32)
