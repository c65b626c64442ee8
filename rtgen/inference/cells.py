"""Cells of a model's planes: log-odds, peaks, drawing without replacement, and the notes that cells stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rtgen.music import key
from rtgen.music.note import Loop, Note
from rtgen.music.roll import Plane, Roll, decode
from rtgen.music.time import Grid

Cell = tuple[int, int]
"""Row and column of a plane."""
Belief = NDArray[np.float64]
"""Log-odds of notes, shape (pitches, steps)."""
Knobs = Mapping[str, float]
Spot = tuple[int, int]
"""Onset and pitch of a note."""

OUT_OF_KEY = 6.0
"""What a full key lock takes from the log-odds of a note outside the key."""
_MIN_STEPS = 2
"""No new note is shorter."""
_REACH = 3.0
"""Log-odds below the likeliest note within which every note may be drawn."""


def distance(a: Loop, b: Loop, grid: Grid) -> float:
    """One minus the Jaccard index of the cells (pitch, nearest step) on which the notes of two loops begin.

    0 if both are silent.
    """
    cells_a, cells_b = ({(n.pitch, round(n.onset / grid.step)) for n in loop.notes} for loop in (a, b))
    return 1 - len(cells_a & cells_b) / len(cells_a | cells_b) if cells_a or cells_b else 0.0


def inside(loop: Loop, grid: Grid) -> list[Note]:
    """The notes of a loop that are within the grid's pitches."""
    return [n for n in loop.notes if grid.pitch_low <= n.pitch <= grid.pitch_high]


def log_odds(probability: Plane) -> Belief:
    """Log-odds of probabilities; minus infinity at 0."""
    p = np.clip(probability.astype(np.float64), 0, 1 - 1e-6)
    with np.errstate(divide="ignore"):
        return np.log(p / (1 - p))


def peaked(belief: Belief) -> Belief:
    """The peaks along time; elsewhere minus infinity."""
    edge = np.full((len(belief), 1), -np.inf)
    before, after = np.hstack([edge, belief[:, :-1]]), np.hstack([belief[:, 1:], edge])
    return np.where((belief >= before) & (belief >= after), belief, -np.inf)


def in_key(belief: Belief, scale: key.Key | None, knobs: Knobs, grid: Grid) -> Belief:
    """Less belief in notes outside a key, as the knob `key_lock` says."""
    if scale is None:
        return belief
    outside = np.array([not scale.contains(row + grid.pitch_low) for row in range(grid.pitches)])
    return belief - OUT_OF_KEY * knobs["key_lock"] * outside[:, None]


def bold(belief: Belief, wanted: int, knobs: Knobs, rng: np.random.Generator) -> Belief:
    """Belief in the cells that may be drawn, with chance as the knob `temperature` says; elsewhere minus infinity.

    Args:
        belief: log-odds; changed.
        wanted: how many are going to be drawn.
        knobs: by name.
        rng: for chance.
    """
    likely = _likely(belief, 3 * wanted)
    belief[likely] += rng.gumbel(size=len(likely[0])) * knobs["temperature"]
    drawn = np.full_like(belief, -np.inf)
    drawn[likely] = belief[likely]
    return drawn


def _likely(belief: Belief, count: int) -> tuple[NDArray[np.intp], ...]:
    """The cells that may be drawn: those within reach of the likeliest, or the `count` best if these are fewer.

    Without a limit, thousands of cells that are each all but impossible are together as likely as music.
    """
    finite = np.sort(belief[np.isfinite(belief)])[::-1]
    if not len(finite):
        return np.nonzero(np.zeros_like(belief))
    floor = min(finite[min(count, len(finite)) - 1], finite[0] - _REACH)
    return np.nonzero(belief >= floor)


def peaks(belief: Belief, count: int, at_once: int | None = None) -> list[Cell]:
    """The `count` largest cells, none beside another of the same pitch, the largest first.

    With Gumbel noise on log-probabilities this is to draw without replacement (Kool et al., 2019).

    Args:
        belief: minus infinity where no note may be.
        count: of cells; fewer if there are no more.
        at_once: most of them in one column.
    """
    cells: list[Cell] = []
    rows, columns = np.nonzero(np.isfinite(belief))
    order = np.argsort(-belief[rows, columns], kind="stable")
    beside = np.zeros(belief.shape, bool)
    in_column: Counter[int] = Counter()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if len(cells) == count:
            break
        if not beside[row, column] and in_column[column] != at_once:
            cells.append((row, column))
            beside[row, max(column - 2, 0) : column + 3] = True
            in_column[column] += 1
    return cells


def sounded(new: list[Cell], filled: Roll, loop: Loop, grid: Grid) -> Loop:
    """Notes on cells that were chosen, with the model's length, velocity and timing.

    The hold plane tells how likely any note sounds; less those that begin later, how likely this one still does. It
    lasts until that is half of what it was at its beginning, but no longer than the longest note that was played.
    """
    starts, hold = np.zeros((2, *filled.onset.shape), np.float32)
    longest = max(round(max(n.duration for n in loop.notes) / grid.step), _MIN_STEPS)
    for row, column in new:
        starts[row, column] = 1
        later = np.cumsum(filled.onset[row, column:]) - filled.onset[row, column]
        level = max(float(filled.hold[row, column]), float(filled.onset[row, column]))
        faded = np.nonzero(filled.hold[row, column:] - later < level / 2)[0]
        length = min(max(int(faded[0]) if len(faded) else longest, _MIN_STEPS), longest)
        hold[row, column : column + length] = 1
    return decode(Roll(starts, hold, filled.velocity, filled.micro), grid, loop.length, bar=loop.bar)


def raised(roll: Roll, semitones: int) -> Roll:
    """A roll moved up; what comes in from below is silent."""

    def moved(plane: Plane) -> Plane:
        found = np.zeros_like(plane)
        rows = np.arange(len(plane))
        rows = rows[(rows - semitones >= 0) & (rows - semitones < len(plane))]
        found[rows] = plane[rows - semitones]
        return found

    return Roll(*map(moved, (roll.onset, roll.hold, roll.velocity, roll.micro))) if semitones else roll
