"""Songs as streams of notes, for a model that predicts one note at a time.

A note is four choices: time since the last note, pitch, duration and velocity. Further inputs are what was struck a few
bars ago and a summary of the two bars before the current ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtgen.inference.stream import CONTEXT, LAGS, SPELLING, context_of
from train.loops import attributes
from train.loops.dataset import Loops
from train.loops.keys import lifted, lifts
from train.loops.sample import DURATION, GRID, LOOP, ONSET, PITCH, VELOCITY

AHEAD = 12
"""Maximum number of consecutive loops in a stretch."""
RHYTHM = 24
"""Steps of rhythmic look-ahead into what was struck some bars ago."""
CHORD = 9
"""Limit on the notes of a chord that are tracked."""
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Streams:
    """Stretches of songs, padded at the end to the same number of notes.

    Args:
        note: classes of shift, pitch, duration and velocity, shape (streams, notes, 4).
        place: step in the bar of each onset, and steps in the bar; shape (streams, notes, 2).
        step: step of each onset from the beginning of the stretch, shape (streams, notes).
        struck: duration class plus 1 where a note is struck, else 0; shape (streams, pitches, steps).
        context: summary of the two bars before those of the note, shape (streams, notes, numbers).
        there: 1 where there is a note, shape (streams, notes).
        loud: 1 where the velocity was actually played, shape (streams, notes).
    """

    note: Ints
    place: Floats
    step: Ints
    struck: NDArray[np.uint8]
    context: Floats
    there: Floats
    loud: Floats


def stretch(loops: Loops, first: int, most: int) -> int:
    """End index of the run of consecutive loops of a track that starts at `first`; at most `most` loops."""
    some = slice(first, first + most)
    same = [x[some] == x[first] for x in (loops.sets, loops.songs, loops.tracks, loops.bars)]
    other = np.flatnonzero(~np.all(same, axis=0))
    return first + (int(other[0]) if len(other) else len(same[0]))


def told(loops: Loops, firsts: Ints, notes: int, rng: Generator | None = None, most: int = AHEAD) -> Streams:
    """Encode stretches that start at given loops, each transposed to C major or A minor.

    Args:
        loops: songs in order, with repeated loops.
        firsts: first loop of each stretch.
        notes: number of notes of each.
        rng: shifts some stretches by an octave; None shifts none.
        most: maximum number of consecutive loops.
    """
    ends = [stretch(loops, int(first), most) for first in firsts]
    counts = np.array([end - first for first, end in zip(firsts, ends, strict=True)])
    indices = np.concatenate([np.arange(first, end) for first, end in zip(firsts, ends, strict=True)])
    flat = loops.take(indices)
    stream = np.repeat(np.arange(len(firsts)), counts)
    # One key per stretch.
    whole = flat.copy()
    whole[:, LOOP] = stream[flat[:, LOOP]]
    up = lifts(whole, len(firsts))
    if rng is not None:
        up = up + 12 * rng.choice([-1, 0, 1], len(up), p=[0.1, 0.8, 0.1])
    flat = lifted(flat, up[stream])
    known = context_of(attributes.measured(flat, len(indices), loops.length), *_habits(flat, len(indices), loops))
    return _streams(loops, indices, stream, flat, known, notes)


def _habits(flat: NDArray[np.int32], count: int, loops: Loops) -> tuple[Floats, Floats]:
    """Share of notes on each sixteenth of the bar, and share of time of each pitch class; a row per loop, sum 1."""
    bar = loops.bars[0]
    sixteenth = np.rint((flat[:, ONSET] % bar) / GRID.step / 3).astype(int) % 16
    groove = np.bincount(flat[:, LOOP] * 16 + sixteenth, minlength=count * 16)
    sounds = np.bincount(flat[:, LOOP] * 12 + flat[:, PITCH] % 12, flat[:, DURATION].astype(float), count * 12)
    return _shares(groove.reshape(count, 16).astype(float)), _shares(sounds.reshape(count, 12).astype(float))


def _shares(rows: NDArray[np.float64]) -> Floats:
    found: Floats = (rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-9)).astype(np.float32)
    return found


def _streams(loops: Loops, indices: Ints, stream: Ints, flat: NDArray[np.int32], known: Floats, notes: int) -> Streams:
    count = int(stream[-1]) + 1
    begins = loops.starts[indices] // GRID.step
    firsts = np.concatenate([[True], stream[1:] != stream[:-1]])
    begins = begins - begins[firsts][stream]
    length, bar = GRID.steps(loops.length), GRID.steps(int(loops.bars[0]))
    within = np.clip(np.rint(flat[:, ONSET] / GRID.step).astype(int), 0, length - 1)
    step = begins[flat[:, LOOP]] + within
    row = stream[flat[:, LOOP]]
    order = np.lexsort((flat[:, PITCH], step, row))
    flat, step, row = flat[order], step[order], row[order]
    pitch = flat[:, PITCH] - GRID.pitch_low
    single = np.concatenate([[True], (np.diff(row) != 0) | (np.diff(step) != 0) | (np.diff(pitch) != 0)])
    flat, step, row, pitch = flat[single], step[single], row[single], pitch[single]
    nth = np.arange(len(row)) - np.searchsorted(row, np.arange(count))[row]
    kept = nth < notes
    flat, step, row, pitch, nth = flat[kept], step[kept], row[kept], pitch[kept], nth[kept]
    before = np.where(nth > 0, np.concatenate([[0], step[:-1]]), step)

    note = np.zeros((count, notes, 4), np.int64)
    duration = SPELLING.duration(np.rint(flat[:, DURATION] / GRID.step))
    note[row, nth] = np.stack(
        [SPELLING.shift(step - before), pitch, duration, SPELLING.velocity(flat[:, VELOCITY])], axis=1
    )
    place = np.zeros((count, notes, 2), np.float32)
    place[..., 1] = bar
    place[row, nth, 0] = step % bar
    steps = np.zeros((count, notes), np.int64)
    steps[row, nth] = step
    struck = np.zeros((count, GRID.pitches, int(step.max(initial=0)) + 1), np.uint8)
    struck[row, pitch, step] = duration + 1
    context = np.zeros((count, notes, CONTEXT), np.float32)
    loop = flat[:, LOOP]
    # The two bars before: the previous loop of the stretch, if it ends where this one begins.
    follows = ~firsts & (begins == np.concatenate([[0], begins[:-1]]) + length)
    context[row, nth] = np.where(follows[loop, None], known[loop - 1], 0)
    there = np.zeros((count, notes), np.float32)
    there[row, nth] = 1
    flat_velocity = np.array([np.ptp(v) == 0 for v in np.split(flat[:, VELOCITY], np.flatnonzero(np.diff(row)) + 1)])
    loud = there * ~flat_velocity[:, None] if len(flat_velocity) == count else there
    return Streams(note, place, steps, struck, context, there, loud)


def lag_steps(place: Floats) -> Ints:
    """Steps back by each number of bars, shape (..., lags), from positions (..., 2)."""
    found: Ints = (place[..., 1:] * np.array(LAGS)).astype(np.int64)
    return found


def lesson(told: Streams, echo: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """Make inputs and targets; only the streams marked in `echo` get what was struck some bars ago."""
    struck = told.struck * echo[:, None, None]
    lags = lag_steps(told.place[:, :-1])
    now, following = told.step[:, :-1], told.step[:, 1:]
    row = np.arange(len(struck))[:, None, None]
    steps = struck.shape[2]

    def ago(at: Ints) -> NDArray[np.uint8]:
        """The columns at steps (streams, notes, ...), empty out of range: (streams, notes, ..., pitches)."""
        inside = (at >= 0) & (at < steps)
        rows = row.reshape(-1, *[1] * (at.ndim - 1))
        found = struck[rows, :, np.clip(at, 0, steps - 1)]
        kept: NDArray[np.uint8] = found * inside[..., None]
        return kept

    # Steps after the current note must not leak, even if the lag is short.
    ahead = np.arange(1, RHYTHM + 1)
    anything = np.any(struck, axis=1)
    at = now[:, :, None, None] - lags[..., None] + ahead
    past = (at >= 0) & (at <= now[:, :, None, None])
    rhythm = anything[row[..., None], np.clip(at, 0, steps - 1)] & past
    pitch = told.note[:, :-1, 1]
    above = np.arange(GRID.pitches) > pitch[:, :, None, None]
    more = ((ago(now[:, :, None] - lags) > 0) & above).sum(axis=-1, keepdims=True) / 2
    at = following[:, :, None] - lags
    before = ago(at) * (at <= now[:, :, None])[..., None]
    same = (following == now)[:, :, None]
    below = same & (np.arange(GRID.pitches) <= pitch[:, :, None])
    chord = np.zeros(below.shape, bool)
    for back in range(1, CHORD):
        with_it = np.zeros(following.shape, bool)
        with_it[:, back - 1 :] = now[:, : now.shape[1] - back + 1] == following[:, back - 1 :]
        b, n = np.nonzero(with_it)
        chord[b, n, pitch[b, n - back + 1]] = True
    known = np.concatenate(
        [before > 0, before / len(SPELLING.durations), chord[:, :, None], below[:, :, None]], axis=2, dtype=np.float32
    )
    rhythm = np.concatenate([rhythm, more], axis=3, dtype=np.float32).reshape(*now.shape, -1)
    return {
        "note": told.note,
        "place": told.place,
        "context": told.context,
        "rhythm": rhythm,
        "struck": known,
        "there": told.there,
        "loud": told.loud,
    }
