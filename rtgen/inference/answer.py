"""Answers: a loop, the knobs and a seed in, a loop out; one function per mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.card import PLANES, Card
from rtgen.inference.model import Model
from rtgen.inference.repair import clean as repair
from rtgen.instrument.job import Mode
from rtgen.music import key
from rtgen.music.note import Loop, Note
from rtgen.music.roll import Plane, Roll, bar_phase, decode, encode
from rtgen.music.time import Grid

CANDIDATES = 3
"""Variations that are computed as one batch, of which the best is played."""
_OUT_OF_KEY = 6.0
"""What a full key lock takes from the log-odds of a note outside the key."""

_MASK_STEPS = 12
"""Steps that are hidden together."""
_MIN_STEPS = 2
"""No new note is shorter."""
_REACH = 3.0
"""Log-odds below the likeliest note within which every note may be drawn."""

Cell = tuple[int, int]


def answer(model: Model, loop: Loop, mode: Mode, knobs: Mapping[str, float], seed: int) -> Loop:
    """The model's answer to a loop, of the same length. The same arguments give the same answer.

    Notes outside the model's pitches come back as they were played; a silent loop gets a silent answer.
    """
    answers = [_MODES[mode](model, part, knobs, seed) for part in _parts(loop, model.card)]
    return _join(answers, loop)


def clean(model: Model, loop: Loop, knobs: Mapping[str, float], seed: int) -> Loop:
    """The loop, played right: slips and timing repaired, everything else as it was."""
    del knobs, seed  # what is right does not depend on them
    roll = encode(loop, model.card.grid)
    (heard,) = _run(model, loop, roll, np.zeros((1, *roll.onset.shape), np.float32))
    return repair(loop, heard, model.card.grid, model.card.threshold)


def vary(model: Model, loop: Loop, knobs: Mapping[str, float], seed: int) -> Loop:
    """A relative of the loop, as far from it as the knob `distance` says (one minus the Jaccard index of its cells).

    Parts of the loop are hidden from the model, which fills them in; of several attempts the likeliest at the right
    distance is played. At distance 0 it is the loop itself, to the note.
    """
    inside = [n for n in loop.notes if model.card.grid.pitch_low <= n.pitch <= model.card.grid.pitch_high]
    # The Jaccard distance of n notes of which h are exchanged is 2h / (n + h).
    distance, n = knobs["distance"], len(inside)
    exchanged = round(distance * n / (2 - distance))
    if not exchanged:
        return loop
    rng = np.random.default_rng(seed)
    roll = encode(loop, model.card.grid)
    share = min(1.0, 1.4 * exchanged / n)
    masks = np.stack([_mask(rng, roll, share) for _ in range(CANDIDATES)])
    filled = _run(model, loop, roll, masks)
    scale = key.estimate(loop.notes)
    attempts = [
        _exchange(loop, roll, mask, fill, exchanged, scale, knobs, rng, model.card.grid)
        for mask, fill in zip(masks, filled, strict=True)
    ]
    best = min(attempts, key=lambda a: (abs(a.exchanged - exchanged), -a.belief))
    return best.loop


_MODES: dict[Mode, Callable[[Model, Loop, Mapping[str, float], int], Loop]] = {"clean": clean, "vary": vary}


def distance(a: Loop, b: Loop, grid: Grid) -> float:
    """One minus the Jaccard index of the cells (pitch, nearest step) on which the notes of two loops begin.

    0 if both are silent.
    """
    cells_a, cells_b = ({(n.pitch, round(n.onset / grid.step)) for n in loop.notes} for loop in (a, b))
    return 1 - len(cells_a & cells_b) / len(cells_a | cells_b) if cells_a or cells_b else 0.0


# ---- variation ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A variation, the number of notes exchanged in it, and how likely the model finds the new ones."""

    loop: Loop
    exchanged: int
    belief: float


def _mask(rng: np.random.Generator, roll: Roll, share: float) -> Plane:
    """Hides at least `share` of the notes: beats in random order, each whole or only above or below its middle."""
    mask = np.zeros_like(roll.onset)
    pitches, steps = mask.shape
    wanted = share * roll.onset.sum()
    split = int(np.median(np.nonzero(roll.onset)[0]))
    part = [slice(0, pitches), slice(split, pitches), slice(0, split)][rng.integers(3)]
    for region in (part, slice(0, pitches)):
        for start in rng.permutation(np.arange(0, steps, _MASK_STEPS)):
            if (mask * roll.onset).sum() >= wanted:
                return mask
            mask[region, start : start + _MASK_STEPS] = 1
    return mask


def _exchange(
    loop: Loop,
    roll: Roll,
    mask: Plane,
    filled: Roll,
    wanted: int,
    scale: key.Key | None,
    knobs: Mapping[str, float],
    rng: np.random.Generator,
    grid: Grid,
) -> _Attempt:
    """Exchanges `wanted` of the hidden notes for some that the model would put in their place."""
    # What the model would least have put where it was goes first.
    hidden = _cells(roll.onset * mask)
    old = sorted(hidden, key=lambda cell: float(filled.onset[cell]))[:wanted]
    gone = {(row + grid.pitch_low, column) for row, column in old}
    last = grid.steps(loop.length) - 1
    kept = loop.with_notes(
        n for n in loop.notes if (n.pitch, min(max(round(n.onset / grid.step), 0), last)) not in gone
    )
    # Nothing new where something old is, or was.
    free = (mask > 0) & (roll.onset == 0) & (encode(kept, grid).hold == 0)
    belief = _belief(np.where(free, filled.onset, 0), knobs, scale, grid)
    likely = _likely(belief, 3 * wanted)
    belief[likely] += rng.gumbel(size=len(likely[0])) * knobs["temperature"]
    drawn = np.full_like(belief, -np.inf)
    drawn[likely] = belief[likely]
    new = _peaks(drawn, len(old))
    added = _sounded(new, filled, loop, grid)
    notes = loop.with_notes([*kept.notes, *added.notes]).monophonic_by_pitch()
    return _Attempt(notes, len(new), float(np.mean([drawn[c] for c in new])) if new else -np.inf)


def _cells(plane: Plane) -> list[Cell]:
    return list(zip(*(i.tolist() for i in np.nonzero(plane)), strict=True))


def _belief(onset: Plane, knobs: Mapping[str, float], scale: key.Key | None, grid: Grid) -> NDArray[np.float64]:
    """Log-odds of notes at the peaks along time, less outside the key; minus infinity elsewhere."""
    p = np.clip(onset.astype(np.float64), 0, 1 - 1e-6)
    before, after = np.pad(p, ((0, 0), (1, 0)))[:, :-1], np.pad(p, ((0, 0), (0, 1)))[:, 1:]
    with np.errstate(divide="ignore"):
        belief = np.where((p >= before) & (p >= after), np.log(p / (1 - p)), -np.inf)
    if scale is not None:
        outside = np.array([not scale.contains(row + grid.pitch_low) for row in range(grid.pitches)])
        belief[outside] -= _OUT_OF_KEY * knobs["key_lock"]
    return belief


def _likely(belief: NDArray[np.float64], count: int) -> tuple[NDArray[np.intp], ...]:
    """The cells that may be drawn: those within reach of the likeliest, or the `count` best if these are fewer.

    Without a limit, thousands of cells that are each all but impossible are together as likely as music.
    """
    finite = np.sort(belief[np.isfinite(belief)])[::-1]
    if not len(finite):
        return np.nonzero(np.zeros_like(belief))
    floor = min(finite[min(count, len(finite)) - 1], finite[0] - _REACH)
    return np.nonzero(belief >= floor)


def _peaks(belief: NDArray[np.float64], count: int) -> list[Cell]:
    """The `count` largest cells, none beside another of the same pitch, the largest first.

    With Gumbel noise on log-probabilities this is to draw without replacement (Kool et al., 2019).
    """
    cells: list[Cell] = []
    taken = belief.copy()
    for _ in range(count):
        row, column = (int(i) for i in np.unravel_index(int(np.argmax(taken)), taken.shape))
        if taken[row, column] == -np.inf:
            break
        cells.append((row, column))
        taken[row, max(column - 2, 0) : column + 3] = -np.inf
    return cells


def _sounded(new: list[Cell], filled: Roll, loop: Loop, grid: Grid) -> Loop:
    """Notes on cells that were drawn, with the model's length, velocity and timing.

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


# ---- loops that are shorter or longer than the model takes ----------------------------------------------------------


def _run(model: Model, loop: Loop, roll: Roll, masks: NDArray[np.float32]) -> list[Roll]:
    """The model's view of a roll under several masks, of shape (masks, pitches, steps).

    A loop is shown repeated until it is as long as the model needs, in steps that it can take.
    """
    card = model.card
    steps = card.grid.steps(loop.length)
    times = ceil(card.min_steps / steps)
    while times * steps % card.step_multiple:
        times += 1
    planes = roll.stack()[None] * (1 - masks[:, None])
    phase = np.repeat(bar_phase(loop.length, loop.bar, card.grid)[None], len(masks), axis=0)
    inputs = {"roll": planes, "mask": masks, "phase": phase}
    outputs = model.run({name: np.tile(tensor, times) for name, tensor in inputs.items()})
    return [Roll(*(outputs[plane][i, :, :steps] for plane in PLANES)) for i in range(len(masks))]


def _parts(loop: Loop, card: Card) -> list[Loop]:
    """The loop in parts of as many bars as the model takes at once."""
    bars = max(1, card.max_steps * card.grid.step // loop.bar)
    size = bars * loop.bar
    if loop.length <= size:
        return [loop]
    parts = []
    for start in range(0, loop.length, size):
        end = min(start + size, loop.length)
        # An early downbeat belongs to the first part; elsewhere a note belongs to the part that it begins in.
        inside = [n for n in loop.notes if (n.onset >= start or start == 0) and n.onset < end]
        notes = (Note(n.onset - start, n.pitch, min(n.end, end) - n.onset, n.velocity) for n in inside)
        parts.append(Loop(end - start, tuple(notes), loop.bar))
    return parts


def _join(parts: list[Loop], loop: Loop) -> Loop:
    notes: list[Note] = []
    start = 0
    for part in parts:
        notes += [Note(n.onset + start, n.pitch, n.duration, n.velocity) for n in part.notes]
        start += part.length
    return loop.with_notes(notes)
