"""Songs as streams of notes, for a model that says one note after the other.

A note is four choices: how long after the one before it is struck, its pitch, how long it sounds and how loud it is.
Beside them a model is told what was struck a few bars ago, and what the two bars before these were like.
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
"""Most loops in a row that are told at once."""
RHYTHM = 24
"""Steps ahead of which a model is told whether anything was struck then, so many bars ago."""
CHORD = 9
"""Notes of a chord that are looked back at."""
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Streams:
    """Some stretches of songs, padded behind to the same number of notes.

    Args:
        note: the classes of shift, pitch, duration and velocity, shape (streams, notes, 4).
        place: step in the bar at which each is struck, and steps in the bar; shape (streams, notes, 2).
        step: at which each is struck, from the beginning of the stretch, shape (streams, notes).
        struck: the class of the duration, plus 1, where a note is struck; shape (streams, pitches, steps).
        context: what is known of the two bars before those that a note is in, shape (streams, notes, numbers).
        there: 1 where there is a note, shape (streams, notes).
        loud: 1 where its loudness was played by somebody, shape (streams, notes).
    """

    note: Ints
    place: Floats
    step: Ints
    struck: NDArray[np.uint8]
    context: Floats
    there: Floats
    loud: Floats


def stretch(loops: Loops, first: int, most: int) -> int:
    """The loop after the last of those from `first` on that follow each other in a track; `most` at most."""
    some = slice(first, first + most)
    same = [x[some] == x[first] for x in (loops.sets, loops.songs, loops.tracks, loops.bars)]
    other = np.flatnonzero(~np.all(same, axis=0))
    return first + (int(other[0]) if len(other) else len(same[0]))


def told(loops: Loops, firsts: Ints, notes: int, rng: Generator | None = None, most: int = AHEAD) -> Streams:
    """Stretches from loops on, each moved into C major or A minor.

    Args:
        loops: of songs, in order, with all that comes back.
        firsts: where the stretches begin.
        notes: how many of each are told.
        rng: what moves some stretches by an octave; None moves none.
        most: loops in a row.
    """
    ends = [stretch(loops, int(first), most) for first in firsts]
    counts = np.array([end - first for first, end in zip(firsts, ends, strict=True)])
    indices = np.concatenate([np.arange(first, end) for first, end in zip(firsts, ends, strict=True)])
    flat = loops.take(indices)
    stream = np.repeat(np.arange(len(firsts)), counts)
    # Each stretch has one key.
    whole = flat.copy()
    whole[:, LOOP] = stream[flat[:, LOOP]]
    up = lifts(whole, len(firsts))
    if rng is not None:
        up = up + 12 * rng.choice([-1, 0, 1], len(up), p=[0.1, 0.8, 0.1])
    flat = lifted(flat, up[stream])
    known = context_of(attributes.measured(flat, len(indices), loops.length), *_habits(flat, len(indices), loops))
    return _streams(loops, indices, stream, flat, known, notes)


def _habits(flat: NDArray[np.int32], count: int, loops: Loops) -> tuple[Floats, Floats]:
    """How often each sixteenth of the bar is struck, and each pitch class; rows add up to 1; by loop."""
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
    # What came two bars before: the loop before in the stretch, if it ends where this one begins.
    follows = ~firsts & (begins == np.concatenate([[0], begins[:-1]]) + length)
    context[row, nth] = np.where(follows[loop, None], known[loop - 1], 0)
    there = np.zeros((count, notes), np.float32)
    there[row, nth] = 1
    flat_velocity = np.array([np.ptp(v) == 0 for v in np.split(flat[:, VELOCITY], np.flatnonzero(np.diff(row)) + 1)])
    loud = there * ~flat_velocity[:, None] if len(flat_velocity) == count else there
    return Streams(note, place, steps, struck, context, there, loud)


def lag_steps(place: Floats) -> Ints:
    """Steps back to what came so many bars before, shape (..., lags), of places (..., 2)."""
    found: Ints = (place[..., 1:] * np.array(LAGS)).astype(np.int64)
    return found


def lesson(told: Streams, echo: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """What is heard, and what follows; with what was struck some bars ago in those streams that `echo` names."""
    struck = told.struck * echo[:, None, None]
    lags = lag_steps(told.place[:, :-1])
    now, following = told.step[:, :-1], told.step[:, 1:]
    row = np.arange(len(struck))[:, None, None]
    steps = struck.shape[2]

    def ago(at: Ints) -> NDArray[np.uint8]:
        """The columns at steps (streams, notes, ...), nothing where there are none: (streams, notes, ..., p)."""
        inside = (at >= 0) & (at < steps)
        rows = row.reshape(-1, *[1] * (at.ndim - 1))
        found = struck[rows, :, np.clip(at, 0, steps - 1)]
        kept: NDArray[np.uint8] = found * inside[..., None]
        return kept

    # What comes after now must not be seen, even if the lag is short.
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
