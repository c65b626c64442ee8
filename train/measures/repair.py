"""Evaluation of the role `denoiser`: held-out loops are damaged, repaired as in play, and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rtgen.inference.model import Model
from rtgen.inference.modes import answer, filled
from rtgen.music import key
from rtgen.music.note import Loop, Note
from rtgen.music.time import TICKS_PER_SIXTEENTH
from train.loops import corrupt
from train.loops.dataset import from_loops, to_loops
from train.loops.sample import GRID
from train.measures.knobs import FEWER, anchored, defaults, follows, steers
from train.measures.music import Library, in_key, onset_f1
from train.measures.score import note_f1
from train.measures.table import Scores

Repair = Callable[[Loop], Loop]
MEASURES: dict[str, tuple[int, bool]] = {"f1_exact": (0, False), "f1_near": (1, False), "f1_near_and_end": (1, True)}
"""Onset tolerance in steps, and whether the end counts."""
AS_MEASURED, AS_MEASURED_DAMAGE = corrupt.Rates(length=0.035), 0.515
"""Damage rates and strength at which unrepaired loops have a note F1 of .687, .737 and .668, by the three `MEASURES`.

The goals come from an evaluation where these were .688, .738 and .670; the usual damage is harder on note ends.
"""


def nearest_sixteenth(loop: Loop) -> Loop:
    """Baseline: quantise every onset to the nearest sixteenth."""
    notes = (
        replace(n, onset=min(round(n.onset / TICKS_PER_SIXTEENTH) * TICKS_PER_SIXTEENTH, loop.length - 1))
        for n in loop.notes
    )
    return loop.with_notes(notes)


def in_scale(loop: Loop) -> Loop:
    """Baseline: drop the notes outside the loop's estimated key."""
    found = key.estimate(loop.notes)
    return loop if found is None else loop.with_notes(n for n in loop.notes if found.contains(n.pitch))


BASELINES: Mapping[str, Repair] = {
    "identity": lambda loop: loop,
    "nearest sixteenth": nearest_sixteenth,
    "in scale": in_scale,
}


def damaged(
    loops: Sequence[Loop],
    seed: int,
    damage: float = corrupt.EVALUATION_DAMAGE,
    rates: corrupt.Rates = corrupt.EVALUATION,
) -> list[Loop]:
    """Damage loops of one length as playing and MIDI cables do; the default strength is that of the evaluation."""
    rng = np.random.default_rng(seed)
    length, bar = loops[0].length, loops[0].bar
    heard = corrupt.corrupt(from_loops(loops), np.full(len(loops), damage), length, rng, rates)
    return to_loops(heard, len(loops), length, bar)


def scores(model: Model, loops: Sequence[Loop], library: Library, seed: int, *, knobs: bool = True) -> Scores:
    """Note F1 of repaired loops by each of `MEASURES`, `do_no_harm` of undamaged ones, in-filling, and the `knobs`.

    The measures with `as_measured_` use the damage of the evaluation that the goals come from.
    """
    del library
    heard = {
        "": damaged(loops, seed),
        "as_measured_": damaged(loops, seed, AS_MEASURED_DAMAGE, AS_MEASURED),
    }
    repairs: dict[str, Repair] = {**BASELINES, model.card.name: lambda loop: answer(model, loop, "clean", {}, 0)}
    found: Scores = {}
    for name, repair in repairs.items():
        found[name] = {}
        for how, worn in heard.items():
            made = [repair(loop) for loop in worn]
            found[name] |= {
                how + measure: [
                    note_f1(a, b, GRID, tolerance=t, offsets=ends) for a, b in zip(made, loops, strict=True)
                ]
                for measure, (t, ends) in MEASURES.items()
            }
        found[name]["do_no_harm"] = [note_f1(repair(loop), loop, GRID) for loop in loops]
    for name, measures in filled_in(model, loops, seed).items():
        found[name] = found.get(name, {}) | measures
    if knobs:
        found[model.card.name] |= follows(model, loops, seed) | steers(model, loops, seed)
        found[model.card.name] |= anchored(model, loops, seed)
    return found


# ---- in-filling -----------------------------------------------------------------------------------------------------


def filled_in(model: Model, loops: Sequence[Loop], seed: int, pasts: Sequence[Sequence[Loop]] | None = None) -> Scores:
    """Hide and fill half a bar, compared with a copy of the other bar and with random notes.

    A model that hears is told what came before each loop, `pasts`, as it is in play.

    `infill_f1`: onset F1 of the notes in the gap; only the original counts as right, so good answers may score low.
    `infill_in_key`: share of them in the loop's key. `infill_notes`: their number relative to the original.
    """
    rng = np.random.default_rng(seed)
    past: Sequence[Loop] = ()
    contenders: dict[str, Callable[[Loop, int, int], Loop]] = {
        model.card.name: lambda loop, begin, end: filled(model, loop, begin, end, defaults(), rng, past),
        "copy of the other bar": copied,
        "notes by chance": lambda loop, begin, end: by_chance(loop, begin, end, rng),
    }
    found: Scores = {name: {"infill_f1": [], "infill_in_key": [], "infill_notes": []} for name in contenders}
    whole = [i for i, loop in enumerate(loops) if loop.length == 2 * loop.bar]
    for number, i in enumerate(whole[:FEWER]):
        loop, past = loops[i], pasts[i] if pasts else ()
        half = loop.bar // 2 // GRID.step * GRID.step
        begin = number % 4 * half
        true = _within(loop, begin, begin + half)
        rest = loop.with_notes(set(loop.notes) - set(true.notes))
        if not true.notes or not rest.notes:
            continue
        for name, fill in contenders.items():
            made = _within(fill(rest, begin, begin + half), begin, begin + half)
            found[name]["infill_f1"].append(onset_f1(made, true))
            found[name]["infill_in_key"].append(in_key(made, key.estimate(loop.notes)))
            found[name]["infill_notes"].append(len(made) / len(true))
    return found


def _within(loop: Loop, begin: int, end: int) -> Loop:
    early = GRID.step // 2
    return loop.with_notes(n for n in loop.notes if begin - early <= n.onset < end - early)


def copied(loop: Loop, begin: int, end: int) -> Loop:
    """Baseline: the same place of the other of two bars."""
    away = loop.bar if begin < loop.bar else -loop.bar
    there = _within(loop, begin + away, end + away)
    return loop.with_notes([*loop.notes, *(replace(n, onset=n.onset - away) for n in there.notes)])


def by_chance(loop: Loop, begin: int, end: int, rng: np.random.Generator) -> Loop:
    """Baseline: random notes on sixteenths, with the density and pitch range of the rest of the loop."""
    count = max(round(len(loop) * (end - begin) / (loop.length - end + begin)), 1)
    low, high = min(n.pitch for n in loop.notes), max(n.pitch for n in loop.notes)
    columns = rng.integers((end - begin) // TICKS_PER_SIXTEENTH, size=count)
    pitches = rng.integers(low, high + 1, count)
    new = (
        Note(begin + int(c) * TICKS_PER_SIXTEENTH, int(p), TICKS_PER_SIXTEENTH)
        for c, p in zip(columns, pitches, strict=True)
    )
    return loop.with_notes([*loop.notes, *new])
