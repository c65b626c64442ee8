"""Modes of models with a latent code: variations, blends of two loops, and new loops.

A variation decodes a point near the loop's code, a blend a point between two codes, and a new loop a sample from the
normal distribution that the codes were trained towards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.card import PLANES, Card
from rtgen.inference.cells import Belief, Cell, Knobs, Spot, in_key, inside, log_odds, peaked, peaks, raised, sounded
from rtgen.inference.exchange import anchors, exchange, hidden_beside, scale_of, to_exchange
from rtgen.inference.frame import in_c
from rtgen.inference.lengths import columns, laid, read
from rtgen.inference.model import Model
from rtgen.inference.touch import as_played
from rtgen.instrument.parameters import LATENTS
from rtgen.music import key
from rtgen.music.attributes import NAMES, Attributes, measure, standard
from rtgen.music.key import Key, folded, major_tonic
from rtgen.music.note import Loop, Note
from rtgen.music.roll import MIN_ONSET, Plane, Roll, encode
from rtgen.music.time import Grid

Code = NDArray[np.float64]
"""Shape (latents,), or (loops, latents) for several codes."""

NOISE = (0.5, 1.0, 2.0)
"""Standard deviations of the noise of each attempt at a variation, at distance 1; scaled in proportion below."""
CANDIDATES = 3
"""New loops decoded in one batch; the best is played."""
_SURE = 12.0
"""The model's log-odds are clipped here."""
_AT_ONCE = 5
"""Most simultaneous onsets, unless the call has more."""
_LEAST = 1e-9
"""Floor for probabilities, so that there is a most likely note even if the model gives 0 everywhere."""
_COPY = 0.3
"""A new loop that shares more than this part of its notes with the call counts as a copy."""


def vary(model: Model, loop: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Plays a variation at the distance set by the knob `distance` (one minus the Jaccard index of the cells).

    Several noise vectors are added to the loop's code in one batch. Of the notes that differ, only as many are
    exchanged as the distance asks for. At distance 0 the result is identical to the loop.
    """
    held = anchors(loop, knobs)
    return _turned(model, _strayed(model, loop, knobs, rng, held), knobs, rng, held)


def _strayed(model: Model, loop: Loop, knobs: Knobs, rng: np.random.Generator, held: frozenset[Spot]) -> Loop:
    grid = model.card.grid
    wanted = to_exchange(len(inside(loop, grid)), knobs["distance"])
    if not wanted:
        return loop
    roll = encode(loop, grid)
    _, sd = _normal(model.card)
    noise = rng.standard_normal((len(NOISE), len(sd)))
    codes = _encode(model, [loop]) + noise * sd * knobs["distance"] * np.array(NOISE)[:, None]
    scale = scale_of(loop.notes, knobs)
    mask = hidden_beside(np.ones_like(roll.onset), loop, held, grid)
    attempts = [
        exchange(loop, roll, mask, near, wanted, scale, knobs, rng, grid) for near in _decode(model, codes, loop)
    ]
    return min(attempts, key=lambda a: (abs(a.exchanged - wanted), -a.belief)).loop


def _turned(model: Model, loop: Loop, knobs: Knobs, rng: np.random.Generator, held: frozenset[Spot]) -> Loop:
    """Moves the code by the latent knobs, and exchanges the notes that this changes.

    Notes that become more likely are added, and notes that become less likely removed; knobs at 0.5 change nothing.
    """
    grid = model.card.grid
    there = inside(loop, grid)
    move = turned(model.card, {name: knobs.get(name, 0.5) for name in LATENTS})
    if not move.any() or not there:
        return loop
    code = _encode(model, [loop])
    before, after = _decode(model, np.concatenate([code, code + move]), loop)
    roll = encode(loop, grid)
    rather = np.clip(log_odds(after.onset), -_SURE, _SURE) - np.clip(log_odds(before.onset), -_SURE, _SURE)
    going = int(((roll.onset > 0) & (rather < 0)).sum())
    wanted = min(going, round(float(np.abs(after.onset - before.onset).sum()) / 2))
    if not wanted:
        return loop
    mask = hidden_beside((rather != 0).astype(np.float32), loop, held, grid)
    filled = replace(after, onset=(1 / (1 + np.exp(-rather))).astype(np.float32))
    sure = {**knobs, "temperature": 0.0}
    return exchange(loop, roll, mask, filled, wanted, scale_of(loop.notes, knobs), sure, rng, grid).loop


# ---- between two loops ----------------------------------------------------------------------------------------------


def blend(model: Model, a: Loop, b: Loop, knobs: Knobs) -> Loop:
    """Plays a point between two loops of the same length: near `a` at 0 of the knob `blend`, near `b` at 1.

    Notes of `a` leave one by one while notes of `b` enter, so the change is gradual and the number of notes is
    interpolated. Notes that suit the other loop leave last and enter first. In the middle, up to a quarter of the notes
    are the model's own.
    """
    share, grid = knobs["blend"], model.card.grid
    of_a, of_b = _by_cell(a, grid), _by_cell(b, grid)
    count = round((1 - share) * len(of_a) + share * len(of_b))
    if not count:
        return a.with_notes(())
    mean, sd = _normal(model.card)
    (up_a, in_c_a), (up_b, in_c_b) = (in_c(model.card, end, knobs) for end in (a, b))
    ends = (_encode(model, [in_c_a, in_c_b]) - mean) / sd
    path = np.stack([ends[0], slerp(ends[0], ends[1], share), ends[1]]) * sd + mean
    path[1] += turned(model.card, knobs)
    ups = up_a, up_a if share < 0.5 else up_b, up_b
    rolls = [raised(roll, -up) for roll, up in zip(_decode(model, path, a), ups, strict=True)]
    near = a if share < 0.5 else b
    keys = (scale_of(loop.notes, knobs) for loop in (a, near, b))
    like_a, between, like_b = (_whole(roll, key, knobs, grid) for roll, key in zip(rolls, keys, strict=True))
    both = [cell for cell in of_a if cell in of_b]
    of_a_alone, of_b_alone = (
        sorted(set(mine) - set(both), key=lambda cell: (-like[cell], cell))
        for mine, like in ((of_a, like_b), (of_b, like_a))
    )
    going = of_a_alone[: round((1 - share) * len(of_a_alone))]
    kept = [*both, *going, *of_b_alone[: count - len(both) - len(going)]]
    played = of_b | of_a if near is a else of_a | of_b
    most = round(share * (1 - share) * count)
    fresh = _besides(between, played, grid, most)
    # Swap the likeliest new notes for the unlikeliest kept ones while the model prefers them.
    weakest = sorted(kept, key=lambda cell: (between[cell], cell))
    pairs = zip(fresh, weakest, strict=False)
    swaps = sum(1 for _ in takewhile(lambda pair: between[pair[0]] > between[pair[1]], pairs))
    new = [(pitch - grid.pitch_low, column) for pitch, column in fresh[:swaps]]
    notes = sounded(new, rolls[1], a.with_notes((*a.notes, *b.notes)), grid).notes
    return a.with_notes([*notes, *(played[cell] for cell in weakest[swaps:])]).monophonic_by_pitch()


def slerp(a: Code, b: Code, share: float) -> Code:
    """Spherical linear interpolation (Shoemake, Animating Rotation with Quaternion Curves, 1985).

    High-dimensional codes lie near a sphere around their mean; a straight line would pass through its inside, where no
    loop's code lies. Falls back to linear interpolation where the arc is undefined, as between opposite points.
    """
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    angle = float(np.arccos(np.clip(a @ b / lengths, -1, 1))) if lengths else 0.0
    if not 1e-3 < angle < np.pi - 1e-3:
        return (1 - share) * a + share * b
    of_a, of_b = np.sin(np.array([1 - share, share]) * angle) / np.sin(angle)
    return np.asarray(of_a * a + of_b * b)


def _by_cell(loop: Loop, grid: Grid) -> dict[Cell, Note]:
    """The notes of a loop by pitch and column; the loudest if several share a cell."""
    steps = grid.steps(loop.length)
    notes = sorted(loop.monophonic_by_pitch().notes, key=lambda n: n.velocity)
    return {(n.pitch, grid.column(n.onset, steps)): n for n in notes}


def _whole(roll: Roll, scale: Key | None, knobs: Knobs, grid: Grid) -> Belief:
    """Log-odds of onsets, lower outside the key, padded to all 128 pitches."""
    belief = np.full((128, roll.onset.shape[1]), -_SURE)
    believed = np.clip(log_odds(roll.onset), -_SURE, _SURE)
    belief[grid.pitch_low : grid.pitch_high + 1] = in_key(believed, scale, knobs, grid)
    return belief


def _besides(belief: Belief, played: dict[Cell, Note], grid: Grid, count: int) -> list[Cell]:
    """The most likely notes that neither end has, at a distance from the notes that they have."""
    rows = slice(grid.pitch_low, grid.pitch_high + 1)
    free = np.full_like(belief, -np.inf)
    free[rows] = peaked(belief[rows])
    for pitch, column in played:
        free[pitch, max(column - 2, 0) : column + 3] = -np.inf
    return peaks(free, count)


# ---- new loops ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Idea:
    """Onsets of a new loop: cells of a roll, transposed by `up` semitones."""

    roll: Roll
    cells: list[Cell]
    up: int

    def pitches(self, grid: Grid) -> list[int]:
        return [folded(row + grid.pitch_low + self.up) for row, _ in self.cells]


def generate(model: Model, loop: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Generates a loop in the key, register, density and loudness of the call.

    Several codes are sampled, farther from the mean the higher the knob `temperature`. The decoded loops are transposed
    to the key and register of the call, and the best match is played. Copies of the call are excluded.
    """
    scale = scale_of(loop.notes, knobs)
    if scale is None:
        return loop
    grid = model.card.grid
    codes = _drawn(
        model, loop, knobs, rng.standard_normal((CANDIDATES, len(model.card.latents))) * knobs["temperature"]
    )
    rolls = _decode(model, codes + turned(model.card, knobs), loop)
    ideas = [_idea(roll, loop, scale, knobs, model.card) for roll in rolls]
    best = max(ideas, key=lambda idea: _fit(idea, loop, scale, grid))
    new = sounded(best.cells, best.roll, loop, grid)
    notes = [replace(n, pitch=folded(n.pitch + best.up)) for n in new.notes]
    if not np.ptp(best.roll.velocity):  # the model knows no loudness
        return new.with_notes(as_played(notes, loop, grid)).monophonic_by_pitch()
    louder = fmean(n.velocity for n in loop.notes) / fmean(n.velocity for n in notes)
    louder_notes = (replace(n, velocity=min(max(round(n.velocity * louder), 1), 127)) for n in notes)
    return new.with_notes(louder_notes).monophonic_by_pitch()


def _drawn(model: Model, loop: Loop, knobs: Knobs, noise: Code) -> Code:
    """Samples codes from the model's prior, given the attributes of the call, or else from a normal distribution."""
    if not model.card.prior:
        mean, sd = _normal(model.card)
        return np.asarray(mean + sd * noise)
    known = np.tile(np.array(standard(measure(in_c(model.card, loop, knobs)[1])), np.float32), (len(noise), 1))
    return np.asarray(model.run({"noise": noise.astype(np.float32), "attributes": known})["drawn"], np.float64)


def _idea(roll: Roll, loop: Loop, scale: Key, knobs: Knobs, card: Card) -> _Idea:
    """The most likely notes of a roll, as many as in `loop`, transposed to its key and register."""
    grid = card.grid
    free = peaked(log_odds(np.maximum(roll.onset, _LEAST)))
    first = [row + grid.pitch_low for row, _ in _struck(free, roll, loop, grid)]
    own = Key(0) if card.in_key else key.estimate(Note(0, pitch, 1) for pitch in first) or scale
    up = (major_tonic(scale) - major_tonic(own)) % 12
    up += 12 * round((fmean(n.pitch for n in loop.notes) - fmean(first) - up) / 12)
    free = in_key(free, scale.moved(-up), knobs, grid)
    cells = _struck(free, roll, loop, grid)
    played = [(pitch - up - grid.pitch_low, column) for pitch, column in _by_cell(loop, grid)]
    if len(set(cells).intersection(played)) > _COPY * len(cells):
        for row, column in played:
            if 0 <= row < grid.pitches:
                free[row, column] = -np.inf
        cells = _struck(free, roll, loop, grid)
    return _Idea(roll, cells, up)


def _struck(free: Belief, roll: Roll, loop: Loop, grid: Grid) -> list[Cell]:
    """The cells with the highest `free`, as many as `loop` has notes; at least half of them if the model is unsure.

    Never empty, even for a model that finds no note likely.
    """
    columns = Counter(round(n.onset / grid.step) for n in loop.notes)
    cells = peaks(free, len(loop), max(*columns.values(), _AT_ONCE))
    least = -(-len(loop) // 2)
    return [cell for i, cell in enumerate(cells) if i < least or roll.onset[cell] >= MIN_ONSET]


def _fit(idea: _Idea, loop: Loop, scale: Key, grid: Grid) -> float:
    """Scores an idea against the call: share of notes in key, minus differences in density and register."""
    pitches = idea.pitches(grid)
    off = abs(fmean(pitches) - fmean(n.pitch for n in loop.notes)) / 12
    return fmean(map(scale.contains, pitches)) - abs(len(pitches) - len(loop)) / len(loop) - off


def code_of(model: Model, loop: Loop) -> Code:
    """The latent code of a loop, shape (latents,)."""
    return np.asarray(_encode(model, [loop])[0])


# ---- knobs and gaps -------------------------------------------------------------------------------------------------


def own(card: Card) -> list[int]:
    """Indices of latents not named after an attribute, which the knobs `latent1` and so on control."""
    return [i for i, latent in enumerate(card.latents) if latent.name not in NAMES]


def turned(card: Card, knobs: Knobs) -> Code:
    """Offset of the code for the knobs: attribute knobs move latents of that name, `latent1` and so on the others.

    A knob turned all the way from the middle moves by half the range found in the training data.
    """
    by_number = dict(zip(own(card), LATENTS, strict=False))
    shares = [knobs.get(by_number.get(i, latent.name), 0.5) - 0.5 for i, latent in enumerate(card.latents)]
    return np.array(shares) * [latent.high - latent.low for latent in card.latents]


def wished(model: Model, loop: Loop, wanted: Attributes, knobs: Knobs) -> Roll | None:
    """The roll decoded from the loop's code after the knobs have moved it; None if the model cannot encode loops."""
    del wanted
    if "mean" not in model.card.outputs():
        return None
    up, lifted = in_c(model.card, loop, knobs)
    (found,) = _decode(model, _encode(model, [lifted]) + turned(model.card, knobs), loop)
    return raised(found, -up)


def imagined(model: Model, kept: Loop, mask: Plane) -> Roll:
    """The roll that the model decodes for a gap, from the code of a loop in which the bars before the gap repeat."""
    grid = model.card.grid
    gap = np.flatnonzero(mask.any(axis=0)) * grid.step
    before = int(gap[0]) if len(gap) else 0
    period = before // kept.bar * kept.bar or before
    again = [
        replace(n, onset=n.onset + start, duration=min(n.duration, kept.length - n.onset - start))
        for start in range(period, kept.length, period or kept.length)
        for n in kept.notes
        if n.onset < period and before <= n.onset + start < kept.length
    ]
    return _decode(model, _encode(model, [kept.with_notes([*kept.notes, *again])]), kept)[0]


# ---- the model ------------------------------------------------------------------------------------------------------


def _normal(card: Card) -> tuple[Code, Code]:
    """Mean and standard deviation of the codes."""
    return np.array([latent.mean for latent in card.latents]), np.array([latent.sd for latent in card.latents])


def _encode(model: Model, loops: Sequence[Loop]) -> Code:
    """The codes of loops of the same length and metre, laid out as in `lengths.columns`."""
    planes = np.stack([encode(loop, model.card.grid).stack() for loop in loops])
    return np.asarray(model.run({"roll": laid(planes, columns(model.card, loops[0]))})["mean"], np.float64)


def _decode(model: Model, codes: Code, like: Loop) -> list[Roll]:
    """Decodes codes to rolls of the length and metre of `like`."""
    outputs, shown = model.run({"code": codes.astype(np.float32)}), columns(model.card, like)
    return [Roll(*(read(outputs[plane][i], shown) for plane in PLANES)) for i in range(len(codes))]
