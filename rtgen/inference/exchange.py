"""Exchanging notes of a loop for notes from a model's planes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.cells import Cell, Knobs, Spot, bold, in_key, log_odds, peaked, peaks, sounded
from rtgen.music import key
from rtgen.music.note import Loop, Note
from rtgen.music.roll import Plane, Roll, encode
from rtgen.music.time import TICKS_PER_SIXTEENTH, Grid

_NAMES = tuple(key.SCALES)
"""What the knob `scale` names from 3 on; 1 is major, 2 minor."""


def to_exchange(count: int, distance: float) -> int:
    """Number of `count` notes to exchange for a distance: exchanging h gives 2h / (count + h)."""
    return round(distance * count / (2 - distance))


def anchors(loop: Loop, knobs: Knobs) -> frozenset[Spot]:
    """The notes that a variation may neither move nor remove.

    With `keep_downbeats`, those on the first sixteenth of every bar; with `keep_bass`, the lowest note of each
    sixteenth if it lies in the lowest third of the loop's range.
    """
    held: set[Spot] = set()
    if knobs.get("keep_downbeats", 0) >= 0.5:
        near = TICKS_PER_SIXTEENTH / 2
        bars = (round(n.onset / loop.bar) * loop.bar for n in loop.notes)
        held |= {(n.onset, n.pitch) for n, bar in zip(loop.notes, bars, strict=True) if abs(n.onset - bar) <= near}
    if knobs.get("keep_bass", 0) >= 0.5 and loop.notes:
        pitches = [n.pitch for n in loop.notes]
        third = min(pitches) + (max(pitches) - min(pitches)) / 3
        lowest: dict[int, Note] = {}
        for n in loop.notes:
            column = round(n.onset / TICKS_PER_SIXTEENTH)
            lowest[column] = min(n, lowest.get(column, n), key=lambda n: n.pitch)
        held |= {(n.onset, n.pitch) for n in lowest.values() if n.pitch <= third}
    return frozenset(held)


def hidden_beside(mask: NDArray[np.float32], loop: Loop, held: frozenset[Spot], grid: Grid) -> NDArray[np.float32]:
    """Removes the held notes from one or several masks."""
    if not held:
        return mask
    shown = encode(loop.with_notes(n for n in loop.notes if (n.onset, n.pitch) in held), grid).hold
    return (mask * (1 - shown)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A variation, the number of notes exchanged, and the mean log-odds of the new ones."""

    loop: Loop
    exchanged: int
    belief: float


def exchange(
    loop: Loop,
    roll: Roll,
    mask: Plane,
    filled: Roll,
    wanted: int,
    scale: key.Key | None,
    knobs: Knobs,
    rng: np.random.Generator,
    grid: Grid,
) -> Attempt:
    """Exchanges `wanted` notes of a loop for notes that the model would play instead.

    Args:
        loop: the call.
        roll: of the loop.
        mask: 1 where notes may be removed and added.
        filled: the model's output.
        wanted: number of notes.
        scale: the key of new notes, enforced by the knob `key_lock`.
        knobs: by name.
        rng: source of randomness, scaled by the knob `temperature`.
        grid: of both rolls.
    """
    # Remove the notes that the model finds least likely.
    hidden = _cells(roll.onset * mask)
    old = sorted(hidden, key=lambda cell: float(filled.onset[cell]))[:wanted]
    gone = {(row + grid.pitch_low, column) for row, column in old}
    steps = grid.steps(loop.length)
    kept = loop.with_notes(n for n in loop.notes if (n.pitch, grid.column(n.onset, steps)) not in gone)
    # No new note where an old one is or was.
    free = (mask > 0) & (roll.onset == 0) & (encode(kept, grid).hold == 0)
    belief = in_key(peaked(log_odds(np.where(free, filled.onset, 0))), scale, knobs, grid)
    drawn = bold(belief, wanted, knobs, rng)
    new = peaks(drawn, len(old))
    added = sounded(new, filled, loop, grid)
    notes = loop.with_notes([*kept.notes, *added.notes]).monophonic_by_pitch()
    return Attempt(notes, len(new), float(np.mean([drawn[c] for c in new])) if new else -np.inf)


def _cells(plane: Plane) -> list[Cell]:
    return list(zip(*(i.tolist() for i in np.nonzero(plane)), strict=True))


def scale_of(notes: Iterable[Note], knobs: Knobs) -> key.Key | None:
    """Estimates the key of notes among the keys that the knobs `key` and `scale` allow.

    None if there are no notes.
    """
    tonic, kind = round(knobs.get("key", 0)), round(knobs.get("scale", 0))
    keys = [k for k in key.KEYS if kind in (0, k.minor + 1)] if kind <= 2 else key.of_scale(_NAMES[kind - 3])
    return key.estimate(notes, [k for k in keys if tonic in (0, k.tonic + 1)])


def moved(knobs: Knobs, semitones: int) -> Knobs:
    """The knobs for transposed music: a chosen key is transposed with it."""
    if not knobs.get("key"):
        return knobs
    return {**knobs, "key": float((round(knobs["key"]) - 1 + semitones) % 12 + 1)}
