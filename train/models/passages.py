"""Songs as one stream of notes each, beside what is known of the notes to come, for a model that writes note by note.

A note is five choices: time since the last note, pitch, duration, velocity and micro-timing. Each choice is made in
sight of

- what was struck some bars ago;
- a recalled loop: what followed the last time that something like this was played, or the loop that is varied;
- the given notes, which stand in the loop already, and the open cells, where new ones may be struck;
- the chord of the beat.

`read` cuts stretches out of songs, `hide` decides what is given, `lesson` makes inputs and targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtgen.inference import chords
from rtgen.inference.sheet import (
    FADE,
    FOLLOWS,
    GIVEN_RHYTHM,
    KINDS,
    LOOK,
    PAST_RHYTHM,
    STATIC,
    VARIES,
    WISH,
)
from rtgen.inference.spelling import CONTEXT, LAGS, SPELLING, context_of
from rtgen.music.time import PPQN
from train.loops import attributes
from train.loops.dataset import Loops
from train.loops.keys import lifted, lifts
from train.loops.links import Links
from train.loops.sample import DURATION, GRID, LOOP, ONSET, PITCH, VELOCITY

PLANES = STATIC + 5
"""Features of each pitch; see `lesson`."""
STRICT = 0.6
"""Share of the loops with a relative in which the notes of both are given, and no others of the relative are open."""
RECALLED = 0.75
"""Share of the loops of a stretch with recalled loops that get theirs."""
AHEAD = 12
"""Most loops of a stretch."""
_GAP = 2
"""A stretch ends at a rest of more than this many loops."""
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class Passage:
    """Stretches of songs, padded at the end to the same number of notes.

    Args:
        note: classes of shift, pitch, duration, velocity and timing, shape (stretches, notes, 5).
        step: step of each onset from the beginning, shape (stretches, notes).
        loop: loop of each note within its stretch, likewise.
        there: 1 where there is a note, likewise.
        loud: 1 where the velocity was played, likewise.
        timed: 1 where the timing was played, likewise.
        struck: duration class plus 1 at each onset, shape (stretches, columns, pitches).
        recalled: the same of the recalled loops, likewise.
        recall: what the recalled loop is to each loop, 0 if there is none; shape (stretches, loops).
        begins: first step of each loop, likewise; -1 for loops that are not there.
        chord: chord of each beat, shape (stretches, beats).
        context: summary of the two bars before those of each loop, shape (stretches, loops, numbers).
        wish: attributes of each loop, shape (stretches, loops, `WISH`).
        bar: steps in a bar.
        length: steps in a loop.
    """

    note: Ints
    step: Ints
    loop: Ints
    there: Floats
    loud: Floats
    timed: Floats
    struck: NDArray[np.uint8]
    recalled: NDArray[np.uint8]
    recall: Ints
    begins: Ints
    chord: Ints
    context: Floats
    wish: Floats
    bar: int
    length: int


def read(
    loops: Loops, links: Links, firsts: Ints, notes: int, kinds: Ints, rng: Generator, varied: bool = True
) -> Passage:
    """Encode stretches that start at given loops, each transposed to C major or A minor.

    Args:
        loops: songs in order, with repeated loops.
        links: relations between them.
        firsts: first loop of each stretch.
        notes: number of notes of each.
        kinds: what the recalled loops shall be to the loops of each stretch: 0, `FOLLOWS` or `VARIES`.
        rng: chooses among likenesses, and shifts some stretches by an octave.
        varied: whether to shift any, and to leave out some of the recalled loops.
    """
    length, bar = GRID.steps(loops.length), GRID.steps(int(loops.bars[0]))
    indices, stream = _stretches(loops, firsts, length)
    count = len(firsts)
    flat = loops.take(indices)
    whole = flat.copy()
    whole[:, LOOP] = stream[flat[:, LOOP]]
    up = lifts(whole, count)
    if varied:
        up = up + 12 * rng.choice([-1, 0, 1], len(up), p=[0.1, 0.8, 0.1])
    flat = lifted(flat, up[stream])

    nth = np.arange(len(indices)) - np.searchsorted(stream, np.arange(count))[stream]
    begin = loops.starts[indices] // GRID.step
    begin = begin - begin[nth == 0][stream]
    most = int(nth.max()) + 1
    begins = np.full((count, most), -1)
    begins[stream, nth] = begin
    columns = int(begin.max()) + length + LOOK

    column = np.clip(np.rint(flat[:, ONSET] / GRID.step).astype(int), 0, length - 1)
    row, step = stream[flat[:, LOOP]], begin[flat[:, LOOP]] + column
    found = _first_of_each(flat, row, step, column)
    flat, row, step, column = found
    pitch = flat[:, PITCH] - GRID.pitch_low
    duration = SPELLING.duration(np.rint(flat[:, DURATION] / GRID.step))
    struck = np.zeros((count, columns, GRID.pitches), np.uint8)
    struck[row, step, pitch] = duration + 1

    passage = Passage(
        **_notes(flat, row, step, column, nth[flat[:, LOOP]], count, notes),
        struck=struck,
        recalled=np.zeros_like(struck),
        recall=np.zeros((count, most), np.int64),
        begins=begins,
        chord=np.full((count, columns // 12 + 1), chords.NONE),
        context=np.zeros((count, most, CONTEXT), np.float32),
        wish=np.zeros((count, most, WISH), np.float32),
        bar=bar,
        length=length,
    )
    _describe(passage, loops, flat, indices, stream, nth, begin)
    _recall(passage, loops, links, indices, stream, nth, begin, up, kinds, rng, every=not varied)
    return passage


def stretch(loops: Loops, first: int, most: int) -> int:
    """End index of the run of consecutive loops of a track that starts at `first`; at most `most` loops."""
    some = slice(first, first + most)
    same = [x[some] == x[first] for x in (loops.sets, loops.songs, loops.tracks, loops.bars)]
    other = np.flatnonzero(~np.all(same, axis=0))
    return first + (int(other[0]) if len(other) else len(same[0]))


def _stretches(loops: Loops, firsts: Ints, length: int) -> tuple[Ints, Ints]:
    """Indices of the loops of all stretches, and the stretch of each."""
    found, stream = [], []
    for i, first in enumerate(firsts.tolist()):
        end = stretch(loops, first, AHEAD)
        begins = loops.starts[first:end] // GRID.step
        far = np.flatnonzero(np.diff(begins) > (_GAP + 1) * length)
        end = first + int(far[0]) + 1 if len(far) else end
        found.append(np.arange(first, end))
        stream.append(np.full(end - first, i))
    return np.concatenate(found), np.concatenate(stream)


def _first_of_each(
    flat: NDArray[np.int32], row: Ints, step: Ints, column: Ints
) -> tuple[NDArray[np.int32], Ints, Ints, Ints]:
    """Order notes by stretch, step and pitch, and leave out all but the first of those in one cell."""
    order = np.lexsort((flat[:, PITCH], step, row))
    flat, row, step, column = flat[order], row[order], step[order], column[order]
    single = np.concatenate([[True], (np.diff(row) != 0) | (np.diff(step) != 0) | (np.diff(flat[:, PITCH]) != 0)])
    return flat[single], row[single], step[single], column[single]


def _notes(
    flat: NDArray[np.int32], row: Ints, step: Ints, column: Ints, loop: Ints, count: int, notes: int
) -> dict[str, Any]:
    nth = np.arange(len(row)) - np.searchsorted(row, np.arange(count))[row]
    before = np.where(nth > 0, np.concatenate([[0], step[:-1]]), step)
    off = flat[:, ONSET] - column * GRID.step
    classes = np.stack(
        [
            SPELLING.shift(step - before),
            flat[:, PITCH] - GRID.pitch_low,
            SPELLING.duration(np.rint(flat[:, DURATION] / GRID.step)),
            SPELLING.velocity(flat[:, VELOCITY]),
            SPELLING.timing(off),
        ],
        axis=1,
    )
    kept = nth < notes
    at = row[kept], nth[kept]
    note = np.zeros((count, notes, 5), np.int64)
    note[at] = classes[kept]
    steps, of_loop = np.zeros((count, notes), np.int64), np.zeros((count, notes), np.int64)
    steps[at], of_loop[at] = step[kept], loop[kept]
    there = np.zeros((count, notes), np.float32)
    there[at] = 1
    # Music that was written, not played, says nothing of touch.
    loudest, softest = np.zeros(count), np.full(count, 128)
    np.maximum.at(loudest, row, flat[:, VELOCITY])
    np.minimum.at(softest, row, flat[:, VELOCITY])
    moved = np.bincount(row, off != 0, count) > 0
    return {
        "note": note,
        "step": steps,
        "loop": of_loop,
        "there": there,
        "loud": there * (loudest > softest)[:, None],
        "timed": there * moved[:, None],
    }


def _describe(
    passage: Passage, loops: Loops, flat: NDArray[np.int32], indices: Ints, stream: Ints, nth: Ints, begin: Ints
) -> None:
    """Fill in chords, contexts and wishes."""
    count, beats = len(indices), loops.length // PPQN
    measured = attributes.measured(flat, count, loops.length)
    known = context_of(measured, *_habits(flat, count, loops))
    follows = np.concatenate([[False], (np.diff(begin) == passage.length) & (np.diff(stream) == 0)])
    passage.context[stream, nth] = np.where(follows[:, None], np.roll(known, 1, axis=0), 0)
    passage.wish[stream, nth, :-1] = attributes.standard(measured)
    passage.wish[stream, nth, -1] = 1
    onset = flat[:, ONSET].astype(np.int64)
    sounds, bass = chords.heard(
        flat[:, LOOP].astype(np.int64),
        onset,
        np.minimum(onset + flat[:, DURATION], loops.length),
        flat[:, PITCH].astype(np.int64),
        count,
        beats,
        PPQN,
    )
    found = chords.estimated(sounds, bass, max(int(loops.bars[0]) // PPQN, 1))
    passage.chord[stream[:, None], begin[:, None] // 12 + np.arange(beats)] = found


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


def _recall(
    passage: Passage,
    loops: Loops,
    links: Links,
    indices: Ints,
    stream: Ints,
    nth: Ints,
    begin: Ints,
    up: NDArray[np.int32],
    kinds: Ints,
    rng: Generator,
    *,
    every: bool,
) -> None:
    kind = kinds[stream]
    chosen = np.where(kind == FOLLOWS, links.follows[indices], np.where(kind == VARIES, links.draw(indices, rng), -1))
    if not every:
        chosen = np.where(rng.random(len(chosen)) < RECALLED, chosen, -1)
    some = np.flatnonzero(chosen >= 0)
    if not len(some):
        return
    passage.recall[stream[some], nth[some]] = kind[some]
    flat = lifted(loops.take(chosen[some]), up[stream[some]])
    column = np.clip(np.rint(flat[:, ONSET] / GRID.step).astype(int), 0, passage.length - 1)
    of = some[flat[:, LOOP]]
    duration = SPELLING.duration(np.rint(flat[:, DURATION] / GRID.step))
    passage.recalled[stream[of], begin[of] + column, flat[:, PITCH] - GRID.pitch_low] = duration + 1


# ---- what is given --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of the notes to come.

    Args:
        given: duration class plus 1 at the onset of each given note, shape (stretches, columns, pitches).
        open: where new notes may be struck, likewise.
    """

    given: NDArray[np.uint8]
    open: Bools


def hide(passage: Passage, free: Bools, rng: Generator) -> Plan:
    """Decide which notes are given.

    Args:
        passage: the music.
        free: stretches without any given note, shape (stretches).
        rng: chooses what is hidden in each loop of the others.
    """
    struck = passage.struck
    opened = np.zeros(struck.shape, bool)
    hidden = np.zeros(struck.shape, bool)
    for row, every in enumerate(free.tolist()):
        if every:
            opened[row] = hidden[row] = True
            continue
        for kind, begin in zip(passage.recall[row].tolist(), passage.begins[row].tolist(), strict=True):
            if begin < 0:
                continue
            inside = row, slice(begin, begin + passage.length)
            _hide_some(struck[inside], opened[inside], hidden[inside], passage.bar, rng)
            if kind == VARIES and rng.random() < STRICT:
                # As when a loop is varied: what both loops share stays, and nothing else of the other comes back.
                opened[inside] &= passage.recalled[inside] == 0
                hidden[inside] &= passage.recalled[inside] == 0
    return Plan(np.where(hidden, 0, struck), opened)


def hide_span(passage: Passage, begin: float, end: float) -> Plan:
    """Hide the same span of every loop, as shares of its length."""
    opened = np.zeros(passage.struck.shape, bool)
    for row, begins in enumerate(passage.begins.tolist()):
        for at in begins:
            if at >= 0:
                opened[row, at + round(begin * passage.length) : at + round(end * passage.length)] = True
    return Plan(np.where(opened, 0, passage.struck), opened)


_WAYS = ("nothing", "all", "span", "ending", "voice", "share", "beats")
_OFTEN = (0.15, 0.07, 0.23, 0.1, 0.2, 0.15, 0.1)


def _hide_some(struck: NDArray[np.uint8], opened: Bools, hidden: Bools, bar: int, rng: Generator) -> None:
    """Hide some notes of a loop in one of `_WAYS`; views of shape (steps, pitches)."""
    steps = len(struck)
    way = rng.choice(_WAYS, p=_OFTEN)
    begin, end, low, high, share = 0, steps, 0, struck.shape[1], 1.0
    match way:
        case "nothing":
            return
        case "span":
            long = int(rng.integers(1, max(3 * bar // 24, 2))) * 6
            begin = int(rng.integers(0, max((steps - long) // 3, 0) + 1)) * 3
            end = min(begin + long, steps)
        case "ending":
            begin = steps - int(rng.integers(1, 9)) * steps // 16
        case "voice":
            begin, end, low, high = _voice(struck, bar, rng)
        case "share":
            share = float(rng.uniform(0.1, 0.9))
            if rng.random() < 0.5:
                begin = int(rng.integers(0, steps // 12)) * 12
                end = min(begin + int(rng.integers(1, 5)) * 12, steps)
        case "beats":
            for at in range(0, steps, 12):
                if rng.random() < 0.5:
                    opened[at : at + 12] = hidden[at : at + 12] = True
            return
    opened[begin:end, low:high] = True
    hidden[begin:end, low:high] = True if share == 1 else rng.random((end - begin, high - low)) < share


def _voice(struck: NDArray[np.uint8], bar: int, rng: Generator) -> tuple[int, int, int, int]:
    """A range of pitches, for some time: the upper voices, the lower ones, or those between."""
    steps, pitches = struck.shape
    begin, end = 0, steps
    if rng.random() < 0.6:
        long = int(rng.integers(2, 2 * bar // 12 + 1)) * 12
        begin = int(rng.integers(0, max((steps - long) // 12, 0) + 1)) * 12
        end = min(begin + long, steps)
    there = np.flatnonzero(struck[begin:end].any(axis=0))
    if not len(there):
        return begin, end, 0, pitches
    limit = int(rng.choice(there))
    match rng.random():
        case at if at < 0.55:
            return begin, end, limit, pitches
        case at if at < 0.8:
            return begin, end, 0, limit + 1
    other = int(rng.choice(there))
    return begin, end, min(limit, other), max(limit, other) + 1


# ---- inputs and targets ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """Which inputs a stretch gets; the others are blank.

    Args:
        lags: what was struck some bars ago, shape (stretches).
        context: the summary of the bars before, shape (stretches).
        chord: the chord of each beat, shape (stretches, loops).
        wish: the attributes of the loop, shape (stretches, loops).
    """

    lags: Bools
    context: Bools
    chord: Bools
    wish: Bools

    @classmethod
    def some(cls, passage: Passage, rng: Generator) -> Shown:
        """Draw them for training. Chords and wishes are told of all loops of a stretch, of none, or of some."""
        count, loops = passage.begins.shape
        lags, context = (np.less(rng.random(count), share) for share in (0.85, 0.9))
        chord, wish = (
            rng.random((count, loops)) < rng.choice([0.0, 0.5, 1.0], (count, 1), p=[0.25, 0.4, 0.35]) for _ in range(2)
        )
        return cls(lags, context, chord, wish)

    @classmethod
    def only(cls, passage: Passage, *names: str) -> Shown:
        """Those of the given names, for all stretches."""
        count, loops = passage.begins.shape
        lags, context = (np.full(count, name in names) for name in ("lags", "context"))
        chord, wish = (np.full((count, loops), name in names) for name in ("chord", "wish"))
        return cls(lags, context, chord, wish)


def lesson(passage: Passage, plan: Plan, shown: Shown) -> dict[str, NDArray[Any]]:
    """Make inputs and targets. A decision leads from a note to the next one.

    Returns:
        By name:
            note: classes, shape (stretches, notes, 5).
            place: step in the bar and steps in the bar, shape (stretches, notes, 2).
            known: context, wish, kind of recall, and chord, at each note; shape (stretches, notes, numbers).
            rhythm: for the time until the next note, shape (stretches, notes - 1, numbers).
            planes: for its pitch, shape (stretches, notes - 1, `PLANES`, pitches).
            harmony: chords of its beat and of the next beat, shape (stretches, notes - 1, 2 * `chords.TOLD`).
            there, free, loud, timed: 1 where a choice counts, shape (stretches, notes).
    """
    row = np.arange(len(passage.note))[:, None]
    now, then = passage.step[:, :-1], np.maximum(passage.step[:, 1:], passage.step[:, :-1])
    pitch = passage.note[..., 1]
    struck = passage.struck * shown.lags[:, None, None]
    lags = passage.bar * np.array(LAGS)
    beats = passage.chord.shape[1]
    told = chords.told(passage.chord) * _by_beat(passage, shown.chord)[..., None]
    beat = np.minimum(then // 12, beats - 1), np.minimum(then // 12 + 1, beats - 1)
    harmony = np.concatenate([told[row, beat[0]], told[row, beat[1]]], axis=-1)

    kind = np.eye(KINDS, dtype=np.float32)[passage.recall][..., 1:]
    context = passage.context * shown.context[:, None, None]
    wish = passage.wish * shown.wish[..., None]
    of_loop = np.concatenate([context, wish, kind], axis=-1)[row, passage.loop]
    at_beat = told[row, np.minimum(passage.step // 12, beats - 1)]
    known = np.concatenate([of_loop, at_beat], axis=-1)

    place = np.stack([passage.step % passage.bar, np.full_like(passage.step, passage.bar)], axis=-1)
    hidden = plan.given[row, passage.step, pitch] == 0
    return {
        "note": passage.note,
        "place": place.astype(np.float32),
        "known": known.astype(np.float32),
        "rhythm": _rhythm(struck, passage.recalled, plan, row, now, pitch[:, :-1], lags),
        "planes": _planes(passage, struck, plan, row, now, then, told, lags),
        "harmony": harmony,
        "there": passage.there,
        "free": passage.there * hidden,
        "loud": passage.loud * hidden,
        "timed": passage.timed * hidden,
    }


def _by_beat(passage: Passage, of_loop: Bools) -> Bools:
    """Values of loops, for each beat: (stretches, loops) -> (stretches, beats)."""
    found = np.zeros(passage.chord.shape, bool)
    beats = passage.length // 12
    for nth in range(of_loop.shape[1]):
        rows = np.flatnonzero((passage.begins[:, nth] >= 0) & of_loop[:, nth])
        found[rows[:, None], passage.begins[rows, nth, None] // 12 + np.arange(beats)] = True
    return found


def _rhythm(
    struck: NDArray[np.uint8],
    recalled: NDArray[np.uint8],
    plan: Plan,
    row: Ints,
    now: Ints,
    pitch: Ints,
    lags: NDArray[np.int64],
) -> Floats:
    """What is struck at the steps after a note: some bars ago, in the recalled loop, and among the given notes.

    For each of these, first whether anything is, then how many notes are above this one at its own step. Then where
    cells are open, and the distance to the next given note.
    """
    above = np.arange(GRID.pitches) > pitch[..., None]
    ahead, further = np.arange(1, PAST_RHYTHM + 1), np.arange(1, GIVEN_RHYTHM + 1)
    parts = []
    anything = np.any(struck, axis=2)
    for lag in lags.tolist():
        at = now[..., None] - lag + ahead
        # Steps after the present note must not leak, even if the lag is short.
        seen = (at >= 0) & (at <= now[..., None])
        parts.append(anything[row[..., None], np.maximum(at, 0)] & seen)
        column = struck[row, np.maximum(now - lag, 0)] * (now >= lag)[..., None]
        parts.append(_half((column > 0) & above))
    parts += [np.any(recalled, axis=2)[row[..., None], now[..., None] + ahead], _half((recalled[row, now] > 0) & above)]
    given = np.any(plan.given, axis=2)
    parts += [given[row[..., None], now[..., None] + further], _half((plan.given[row, now] > 0) & above)]
    parts += [np.any(plan.open, axis=2)[row[..., None], now[..., None] + further]]
    parts += [np.any(plan.open[row, now] & above, axis=-1)[..., None]]
    parts.append((_until(given)[row, now] / LOOK)[..., None])
    return np.concatenate(parts, axis=-1, dtype=np.float32)


def _half(found: Bools) -> Floats:
    counted: Floats = (found.sum(axis=-1, keepdims=True) / 2).astype(np.float32)
    return counted


def _until(given: Bools) -> Ints:
    """Steps from each column to the next given one after it, at most `LOOK`; shape (stretches, columns)."""
    count, columns = given.shape
    found = np.full((count, columns), LOOK)
    far = np.full(count, LOOK)
    for at in range(columns - 1, -1, -1):
        found[:, at] = np.minimum(far, LOOK)
        far = np.where(given[:, at], 1, far + 1)
    return found


def _planes(
    passage: Passage,
    struck: NDArray[np.uint8],
    plan: Plan,
    row: Ints,
    now: Ints,
    then: Ints,
    told: Floats,
    lags: NDArray[np.int64],
) -> Floats:
    """Features of each pitch at the step of the next note.

    For each lag whether it was struck, and its duration; the same for the recalled and for the given notes; whether it
    is given in the next given column; whether it is open; whether it sounds; how lately it was struck; whether it is in
    the chord so far; whether it is at or below the last note of it; whether it was in the chord before; the present
    harmony and its root; the harmony of the next beat.
    """
    durations = len(SPELLING.durations)
    count, notes = now.shape
    found = np.zeros((count, notes, PLANES, GRID.pitches), np.float32)
    at = 0

    def add(*planes: NDArray[Any]) -> None:
        nonlocal at
        for plane in planes:
            found[:, :, at] = plane
            at += 1

    for lag in lags.tolist():
        column = struck[row, np.maximum(then - lag, 0)] * ((then >= lag) & (then - lag <= now))[..., None]
        add(column > 0, column / durations)
    recalled, given = passage.recalled[row, then], plan.given[row, then]
    add(recalled > 0, recalled / durations, given > 0, given / durations)
    after = np.minimum(then + _until(np.any(plan.given, axis=2))[row, then], passage.struck.shape[1] - 1)
    add(plan.given[row, after] > 0, plan.open[row, then])

    ends, last, chord, before = sounding(passage)
    same = (then == now)[..., None]
    pitch = passage.note[:, :-1, 1]
    add(ends > then[..., None])
    add(np.where(last >= 0, np.exp2(-(then[..., None] - last) / FADE), 0))
    add(chord & same, same & (np.arange(GRID.pitches) <= pitch[..., None]), np.where(same, before, chord))
    beat, following = then // 12, np.minimum(then // 12 + 1, told.shape[1] - 1)
    classes = (np.arange(GRID.pitches) + GRID.pitch_low) % 12
    add(told[row, beat][..., classes], told[row, beat][..., 12 + classes], told[row, following][..., classes])
    assert at == PLANES
    return found


def sounding(passage: Passage) -> tuple[Ints, Ints, Bools, Bools]:
    """What sounds after each note but the last, by pitch, each of shape (stretches, notes - 1, pitches).

    Returns:
        The step at which each pitch ends, the step at which it was last struck (-1 if never), whether it is in the
        chord of the note so far, and whether it was in the chord before that.
    """
    count, notes = passage.step.shape
    durations = np.array(SPELLING.durations)[passage.note[..., 2]]
    shape = (count, notes - 1, GRID.pitches)
    ends, last = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    chord, before = np.zeros(shape, bool), np.zeros(shape, bool)
    end, struck = np.zeros((count, GRID.pitches), np.int64), np.full((count, GRID.pitches), -1)
    present, previous = np.zeros((count, GRID.pitches), bool), np.zeros((count, GRID.pitches), bool)
    rows = np.arange(count)
    for i in range(notes - 1):
        pitch = passage.note[:, i, 1]
        if i:
            begun = passage.step[:, i] != passage.step[:, i - 1]
            previous = np.where(begun[:, None], present, previous)
            present = present & ~begun[:, None]
        end[rows, pitch] = passage.step[:, i] + durations[:, i]
        struck[rows, pitch] = passage.step[:, i]
        present[rows, pitch] = True
        ends[:, i], last[:, i], chord[:, i], before[:, i] = end, struck, present, previous
    return ends, last, chord, before
