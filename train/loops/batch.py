"""Converts notes to a network's input arrays: `rtgen.music.roll.encode`, vectorised, with masks and denoising tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtgen.inference.lengths import Columns, laid, slots
from rtgen.music.attributes import NAMES
from rtgen.music.roll import bar_phase
from rtgen.music.time import Grid
from train.loops.attributes import measured, standard
from train.loops.corrupt import UNKNOWN, corrupt, humanise
from train.loops.dataset import LENGTH, Notes
from train.loops.keys import lifted, lifts
from train.loops.sample import DURATION, GRID, LOOP, ONSET, PITCH, VELOCITY, Sample
from train.prepare.sources.piece import BAR

Floats = NDArray[np.float32]
FEWEST, MULTIPLE = 48, 24
"""Steps of a denoiser's input: the minimum, and a factor that allows folding by three and halving three times."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A denoising task: input and target.

    Args:
        roll: input, 0 in masked cells, shape (loops, 4, pitches, steps).
        mask: 1 where masked, shape (loops, pitches, steps).
        phase: `bar_phase`, shape (loops, 4, steps).
        damage: 0-1 or `UNKNOWN`, shape (loops, 1).
        target: the original, shape of `roll`.
        wish: known attributes of the target, shape (loops, 12); see `wishes`.
    """

    roll: Floats
    mask: Floats
    phase: Floats
    damage: Floats
    target: Floats
    wish: Floats


def rasterise(notes: Notes, count: int, length: int, grid: Grid = GRID) -> Floats:
    """Renders `count` loops as piano rolls, shape (count, 4, pitches, steps): onset, hold, velocity, micro."""
    steps = grid.steps(length)
    # As in Loop.monophonic_by_pitch: the loudest note on a tick stays, and a note ends at the next onset of its pitch.
    order = np.lexsort((-notes[:, DURATION], -notes[:, VELOCITY], notes[:, ONSET], notes[:, PITCH], notes[:, LOOP]))
    notes = notes[order]
    notes = notes[(notes[:, PITCH] >= grid.pitch_low) & (notes[:, PITCH] <= grid.pitch_high)]
    same = np.all(notes[1:, :3] == notes[:-1, :3], axis=1)
    notes = notes[np.concatenate([[True], ~same])] if len(notes) else notes
    loop, row = notes[:, LOOP], notes[:, PITCH] - grid.pitch_low
    end = np.minimum(notes[:, ONSET] + notes[:, DURATION], length)
    key = loop * 128 + notes[:, PITCH]
    follows = np.flatnonzero(key[1:] == key[:-1])
    end[follows] = np.minimum(end[follows], notes[follows + 1, ONSET])
    column = np.clip(np.rint(notes[:, ONSET] / grid.step).astype(int), 0, steps - 1)
    last = np.clip(np.rint(end / grid.step).astype(int), column + 1, steps)

    roll = np.zeros((count, 4, grid.pitches, steps), np.float32)
    change = np.zeros((count, grid.pitches, steps + 1), np.int16)
    np.add.at(change, (loop, row, column), 1)
    np.add.at(change, (loop, row, last), -1)
    roll[:, 1] = np.cumsum(change, axis=2, dtype=np.int16)[:, :, :steps] > 0
    # Of two notes in one cell, the louder is written last and wins; of equals, the earlier.
    quiet_first = np.lexsort((-notes[:, ONSET], notes[:, VELOCITY]))
    cells = (loop[quiet_first], row[quiet_first], column[quiet_first])
    roll[:, 0][cells] = 1
    roll[:, 2][cells] = notes[quiet_first, VELOCITY] / 127
    roll[:, 3][cells] = np.clip(notes[quiet_first, ONSET] / grid.step - column[quiet_first], -0.5, 0.5)
    return roll


def in_slots(sample: Sample) -> Floats:
    """Piano rolls of loops in any metre, laid out for networks of one fixed length, shape (count, 4, pitches, 96)."""
    return laid(rasterise(sample.notes, sample.count, sample.length), slotted(sample))


def slotted(sample: Sample, grid: Grid = GRID) -> Columns:
    """Step of the sample's loops in each column of a roll of two bars of four beats."""
    return slots(grid.steps(sample.length), grid.steps(sample.bar), grid.steps(LENGTH), grid)


def draw_masks(
    notes: Notes, count: int, steps: int, rng: Generator, grid: Grid = GRID, *, hidden: float = 0.4
) -> Floats:
    """Draws masks for in-filling, shape (count, pitches, steps).

    In a share `hidden` of the loops, masks a span of time, a band of pitches, some notes with their surroundings, or
    everything; in the others nothing.
    """
    mask = np.zeros((count, grid.pitches, steps), np.float32)
    shares = [1 - hidden, 0.325 * hidden, 0.25 * hidden, 0.375 * hidden, 0.05 * hidden]
    kinds = rng.choice(["none", "span", "band", "notes", "all"], count, p=shares)
    bounds = np.searchsorted(notes[:, LOOP], np.arange(count + 1))
    for i in np.flatnonzero(kinds != "none"):
        own = notes[bounds[i] : bounds[i + 1]]
        if kinds[i] == "all":
            mask[i] = 1
        elif kinds[i] == "span":
            width = int(rng.integers(3, steps // 2 + 1))
            mask[i][:, (rng.integers(0, steps) + np.arange(width)) % steps] = 1
        elif kinds[i] == "band" and len(own):
            low = rng.choice(own[:, PITCH]) - grid.pitch_low - rng.integers(0, 12)
            mask[i, max(low, 0) : low + int(rng.integers(3, 25))] = 1
        else:
            for note in own[rng.random(len(own)) < rng.uniform(0.05, 0.7)]:
                # Wider than the note, so that the mask does not reveal what it hides.
                row, column = note[PITCH] - grid.pitch_low, note[ONSET] // grid.step
                low, first = row - rng.integers(0, 6), column - rng.integers(0, 6)
                end = column + note[DURATION] // grid.step + rng.integers(1, 6)
                mask[i, max(low, 0) : row + rng.integers(1, 7), max(first, 0) : end] = 1
    return mask


def hide(roll: Floats, mask: Floats) -> Floats:
    """Sets all planes of `roll` to 0 where `mask` is 1."""
    return roll * (1 - mask[:, None])


def phases(count: int, length: int, bar: int = BAR, grid: Grid = GRID) -> Floats:
    """Bar phase of each loop, shape (count, 4, steps)."""
    return np.repeat(bar_phase(length, bar, grid)[None], count, axis=0)


def wishes(meant: Notes, count: int, length: int, rng: Generator) -> Floats:
    """Attributes of the target given to a denoiser: six values, then 1 for each that is known, else 0.

    For 60 % of the loops none is known, for 20 % some are, for 20 % all. Shape (loops, 12).
    """
    kind = rng.random(count)
    known = np.where(kind[:, None] < 0.2, rng.random((count, len(NAMES))) < 0.4, kind[:, None] < 0.4)
    values = standard(measured(meant, count, length)) * known
    return np.concatenate([values, known], axis=1, dtype=np.float32)


def repair_task(
    sample: Sample, rng: Generator, *, corrupted: bool = True, humanised: bool = True, in_key: bool = False
) -> Batch:
    """Makes a denoising task: loops damaged by a random amount and partly masked.

    30 % of the loops are undamaged; in half of the cases the amount of damage is `UNKNOWN` to the network.

    Args:
        sample: the targets.
        rng: random generator.
        corrupted: whether notes are missed, moved, slipped and so on.
        humanised: whether half of the loops also get timing jitter.
        in_key: whether to transpose everything from the damaged loop's estimated key to C major or A minor.
    """
    meant, count, length = sample.notes, sample.count, sample.length
    damage = np.where(rng.random(count) < 0.3, 0, rng.random(count))
    heard = corrupt(meant, damage, length, rng) if corrupted else meant
    if humanised:
        heard = humanise(heard, count, damage * (rng.random(count) < 0.5), length, rng)
    if in_key:
        up = lifts(heard, count)
        heard, meant = lifted(heard, up), lifted(meant, up)
    wish = wishes(meant, count, length, rng)
    target = rasterise(meant, count, length)
    mask = draw_masks(meant, count, target.shape[3], rng)
    told = np.where(rng.random(count) < 0.5, UNKNOWN, damage).astype(np.float32)[:, None]
    phase = phases(count, length, sample.bar)
    task = Batch(hide(rasterise(heard, count, length), mask), mask, phase, told, target, wish)
    return first_bar(task, sample.bar) if rng.random() < 0.15 else shown(task, target.shape[3])


def first_bar(task: Batch, bar: int = BAR, grid: Grid = GRID) -> Batch:
    """Reduces a task to its first bar, since in a one-bar loop no figure has been played twice."""
    # Attributes of two bars do not hold for one.
    return shown(replace(task, wish=np.zeros_like(task.wish)), grid.steps(bar))


def shown(task: Batch, steps: int) -> Batch:
    """The first `steps` of a task, repeated as in play until the width suits every network."""
    wide = steps
    while wide < FEWEST or wide % MULTIPLE:
        wide += steps
    if wide == steps == task.roll.shape[-1]:
        return task
    columns = np.arange(wide) % steps
    planes = (task.roll, task.mask, task.phase, task.target)
    roll, mask, phase, target = (np.take(x, columns, axis=-1) for x in planes)
    return replace(task, roll=roll, mask=mask, phase=phase, target=target)
