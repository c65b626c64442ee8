"""Cells of a model's planes: log-odds, peak picking, sampling without replacement, and decoding to notes."""

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
"""Log-odds penalty of a note outside the key, at full key lock."""
_MIN_STEPS = 2
"""Shortest new note, in steps."""
_REACH = 3.0
"""Every note within this many log-odds of the likeliest may be sampled."""


def distance(a: Loop, b: Loop, grid: Grid) -> float:
    """One minus the Jaccard index of two loops' onset cells (pitch, nearest step).

    0 if both are silent.
    """
    cells_a, cells_b = ({(n.pitch, round(n.onset / grid.step)) for n in loop.notes} for loop in (a, b))
    return 1 - len(cells_a & cells_b) / len(cells_a | cells_b) if cells_a or cells_b else 0.0


def inside(loop: Loop, grid: Grid) -> list[Note]:
    """The notes of a loop within the grid's pitch range."""
    return [n for n in loop.notes if grid.pitch_low <= n.pitch <= grid.pitch_high]


def log_odds(probability: Plane) -> Belief:
    """Log-odds of probabilities; minus infinity at 0."""
    p = np.clip(probability.astype(np.float64), 0, 1 - 1e-6)
    with np.errstate(divide="ignore"):
        return np.log(p / (1 - p))


def peaked(belief: Belief) -> Belief:
    """Keeps local maxima along time; minus infinity elsewhere."""
    edge = np.full((len(belief), 1), -np.inf)
    before, after = np.hstack([edge, belief[:, :-1]]), np.hstack([belief[:, 1:], edge])
    return np.where((belief >= before) & (belief >= after), belief, -np.inf)


def in_key(belief: Belief, scale: key.Key | None, knobs: Knobs, grid: Grid) -> Belief:
    """Lowers the log-odds of notes outside the key by the knob `key_lock`."""
    if scale is None:
        return belief
    outside = np.array([not scale.contains(row + grid.pitch_low) for row in range(grid.pitches)])
    return belief - OUT_OF_KEY * knobs["key_lock"] * outside[:, None]


def bold(belief: Belief, wanted: int, knobs: Knobs, rng: np.random.Generator) -> Belief:
    """Adds Gumbel noise, scaled by the knob `temperature`, to the cells that may be sampled; minus infinity elsewhere.

    Args:
        belief: log-odds; modified in place.
        wanted: number of cells to be sampled.
        knobs: by name.
        rng: source of randomness.
    """
    likely = _likely(belief, 3 * wanted)
    belief[likely] += rng.gumbel(size=len(likely[0])) * knobs["temperature"]
    drawn = np.full_like(belief, -np.inf)
    drawn[likely] = belief[likely]
    return drawn


def _likely(belief: Belief, count: int) -> tuple[NDArray[np.intp], ...]:
    """The cells that may be sampled: those within reach of the likeliest, or at least the `count` best.

    Without this limit, thousands of nearly impossible cells would together be as likely as music.
    """
    finite = np.sort(belief[np.isfinite(belief)])[::-1]
    if not len(finite):
        return np.nonzero(np.zeros_like(belief))
    floor = min(finite[min(count, len(finite)) - 1], finite[0] - _REACH)
    return np.nonzero(belief >= floor)


def peaks(belief: Belief, count: int, at_once: int | None = None) -> list[Cell]:
    """The `count` largest cells in descending order, excluding neighbours of the same pitch.

    With Gumbel noise on log-probabilities this samples without replacement (Kool et al., 2019).

    Args:
        belief: minus infinity where no note may be.
        count: number of cells; fewer if there are no more.
        at_once: most cells in one column.
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
    """Turns chosen cells into notes with the model's duration, velocity and timing.

    The hold plane gives the probability that any note sounds; minus that of later onsets, it is the probability that
    this note still does. The note ends where that falls to half its initial value, or at the longest duration in the
    call.
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
    """Transposes a roll; rows that enter from outside are silent."""

    def moved(plane: Plane) -> Plane:
        found = np.zeros_like(plane)
        rows = np.arange(len(plane))
        rows = rows[(rows - semitones >= 0) & (rows - semitones < len(plane))]
        found[rows] = plane[rows - semitones]
        return found

    return Roll(*map(moved, (roll.onset, roll.hold, roll.velocity, roll.micro))) if semitones else roll
