"""Features of a loop and of a call with its answer, by which `train.measures.judge` tells answers from music.

They describe what listeners notice: where notes fall, how they move, what clashes, how even the touch is. No model may
be trained or tuned on them directly: the judge has to stay independent of what it judges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from rtgen.music import key
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, TICKS_PER_SIXTEENTH

Features = dict[str, float]
_HOLE = float("nan")
"""Undefined, as an interval is in a loop with one note; gradient boosting takes it as missing."""
_NEAR = 30
"""Onsets within this many ticks of each other are one chord (a 64th note)."""


def chords(loop: Loop) -> list[list[Note]]:
    """The notes of a loop by chord: those struck within a 64th note of the first."""
    found: list[list[Note]] = []
    for note in loop.notes:
        if found and note.onset - found[-1][0].onset <= _NEAR:
            found[-1].append(note)
        else:
            found.append([note])
    return found


def of_loop(loop: Loop) -> Features:
    """About 95 numbers that describe a loop by itself."""
    if not loop.notes:
        return {"notes": 0.0}
    struck = chords(loop)
    return {
        **_places(loop),
        **_timing(loop),
        **_gaps(loop, struck),
        **_register(loop),
        **_voices(struck),
        **_harmony(loop, struck),
        **_classes(loop),
        **_lengths(loop, struck),
        **_touch(loop, struck),
        **_form(loop),
    }


def of_pair(call: Loop, answer: Loop) -> Features:
    """`of_loop` of the answer, and about 30 numbers that relate it to the call."""
    own, of_call = of_loop(answer), of_loop(call)
    related = {f"{name}_beside": own.get(name, _HOLE) - of_call.get(name, _HOLE) for name in _COMPARED}
    return {**own, **related, **_shared(call, answer)}


_COMPARED = (
    "notes_a_bar",
    "chords_a_bar",
    "polyphony",
    "pitch_mean",
    "pitch_sd",
    "pitch_low",
    "pitch_high",
    "velocity_mean",
    "velocity_sd",
    "length_mean",
    "length_sd",
    "gap_sd",
    "off_grid",
    "off_grid_sd",
    "top_leap",
    "bass_leap",
    "class_entropy",
    "in_key",
    "clash",
)


def _places(loop: Loop) -> Features:
    """Share of onsets on each sixteenth of a bar, up to 16 of them."""
    per_bar = loop.bar // TICKS_PER_SIXTEENTH
    places = Counter(round(n.onset / TICKS_PER_SIXTEENTH) % per_bar for n in loop.notes)
    return {f"place_{i}": places[i] / len(loop) for i in range(min(per_bar, 16))}


def _timing(loop: Loop) -> Features:
    off = np.array([n.onset - round(n.onset / TICKS_PER_SIXTEENTH) * TICKS_PER_SIXTEENTH for n in loop.notes], float)
    third = PPQN / 3
    triplet = np.array([abs(n.onset - round(n.onset / third) * third) for n in loop.notes])
    return {
        "off_grid": float(np.abs(off).mean()),
        "off_grid_sd": float(off.std()),
        "off_grid_lean": float(off.mean()),
        "on_grid": float((np.abs(off) < 1).mean()),
        "far_off_grid": float((np.abs(off) > 20).mean()),
        "triplets": float(((triplet < 8) & (np.abs(off) > 20)).mean()),
    }


def _gaps(loop: Loop, struck: Sequence[Sequence[Note]]) -> Features:
    onsets = np.array([c[0].onset for c in struck], float)
    around = np.diff([*onsets, onsets[0] + loop.length]) / TICKS_PER_SIXTEENTH
    steps = np.rint(around)
    bars = loop.length / loop.bar
    return {
        "notes_a_bar": len(loop) / bars,
        "chords_a_bar": len(struck) / bars,
        "gap_mean": float(around.mean()),
        "gap_sd": float(around.std()),
        "gap_largest": float(around.max()),
        "gap_under": float((around < 0.75).mean()),
        **{f"gap_{i}": float((steps == i).mean()) for i in (1, 2, 3, 4, 6, 8)},
        "beats_struck": len({int(max(o, 0) // PPQN) for o in onsets}) / (loop.length / PPQN),
    }


def _register(loop: Loop) -> Features:
    pitches = np.array([n.pitch for n in loop.notes], float)
    low, high = pitches.min(), pitches.max()
    once = Counter(pitches.tolist())
    lonely = [
        all(abs(n.pitch - m.pitch) > 9 for m in loop.notes if m is not n and abs(m.onset - n.onset) <= PPQN)
        for n in loop.notes
    ]
    return {
        "pitch_mean": float(pitches.mean()),
        "pitch_sd": float(pitches.std()),
        "pitch_low": float(low),
        "pitch_high": float(high),
        "low_gap": float(np.diff(np.unique(pitches)[:2]).sum()),
        "high_gap": float(np.diff(np.unique(pitches)[-2:]).sum()),
        "lonely": float(np.mean(lonely)),
        "once": float(np.mean([once[p] == 1 for p in pitches.tolist()])),
    }


def _voices(struck: Sequence[Sequence[Note]]) -> Features:
    top = np.array([max(n.pitch for n in c) for c in struck], float)
    bass = np.array([min(n.pitch for n in c) for c in struck], float)
    found: Features = {}
    for name, line in ("top", top), ("bass", bass):
        steps = np.diff(line)
        size = np.abs(steps)
        found |= {
            f"{name}_leap": float(size.mean()) if len(size) else _HOLE,
            f"{name}_leap_sd": float(size.std()) if len(size) else _HOLE,
            f"{name}_stays": float((size == 0).mean()) if len(size) else _HOLE,
            f"{name}_steps": float(((size > 0) & (size <= 2)).mean()) if len(size) else _HOLE,
            f"{name}_wide": float((size > 7).mean()) if len(size) else _HOLE,
            f"{name}_turns": float((steps[1:] * steps[:-1] < 0).mean()) if len(size) > 1 else _HOLE,
        }
    both = np.diff(top) * np.diff(bass)
    found["contrary"] = float((both < 0).mean()) if len(both) else _HOLE
    found["parallel"] = float(((both > 0) & (np.diff(top) == np.diff(bass))).mean()) if len(both) else _HOLE
    return found


def _harmony(loop: Loop, struck: Sequence[Sequence[Note]]) -> Features:
    sizes = np.array([len(c) for c in struck], float)
    above = Counter((n.pitch - min(m.pitch for m in c)) % 12 for c in struck for n in c[1:])
    count = max(sum(above.values()), 1)
    pairs = clashes = tritones = 0
    for i, a in enumerate(loop.notes):
        for b in loop.notes[i + 1 :]:
            if b.onset >= a.end - _NEAR:
                continue
            pairs += 1
            apart = abs(a.pitch - b.pitch)
            clashes += apart in (1, 11, 13)
            tritones += apart % 12 == 6
    beats = [
        {n.pitch % 12 for n in loop.notes if n.onset < (i + 1) * PPQN and n.end > i * PPQN}
        for i in range(loop.length // PPQN)
    ]
    changes = [len(a ^ b) / max(len(a | b), 1) for a, b in pairwise(beats)]
    return {
        "polyphony": float(sizes.mean()),
        "polyphony_sd": float(sizes.std()),
        "polyphony_most": float(sizes.max()),
        "single": float((sizes == 1).mean()),
        **{f"above_{i}": above[i] / count for i in range(12)},
        "clash": clashes / max(pairs, 1),
        "tritone": tritones / max(pairs, 1),
        "sounding": pairs / len(loop),
        "classes_a_beat": float(np.mean([len(b) for b in beats])),
        "classes_change": float(np.mean(changes)) if changes else _HOLE,
        "thirds": float(np.mean([_has_third(b) for b in beats if b])) if any(beats) else _HOLE,
    }


def _has_third(classes: set[int]) -> bool:
    return any((c + third) % 12 in classes for c in classes for third in (3, 4))


def _classes(loop: Loop) -> Features:
    scale = key.estimate(loop.notes)
    counts = np.bincount([n.pitch % 12 for n in loop.notes], minlength=12) / len(loop)
    tonic = scale.tonic if scale else 0
    turned = np.roll(counts, -tonic)
    some = counts[counts > 0]
    return {
        "class_entropy": float(-(some * np.log2(some)).sum()),
        "class_count": float(len(some)),
        "in_key": float(np.mean([scale.contains(n.pitch) for n in loop.notes])) if scale else _HOLE,
        **{f"degree_{i}": float(turned[i]) for i in (0, 2, 3, 4, 5, 7, 9, 11)},
    }


def _lengths(loop: Loop, struck: Sequence[Sequence[Note]]) -> Features:
    lengths = np.array([n.duration for n in loop.notes], float) / TICKS_PER_SIXTEENTH
    following = [c[0].onset for c in struck[1:]] + [loop.length]
    filled = [
        min(n.duration / max(after - n.onset, 1), 4.0) for c, after in zip(struck, following, strict=True) for n in c
    ]
    ends = [n.end % TICKS_PER_SIXTEENTH for n in loop.notes]
    return {
        "length_mean": float(lengths.mean()),
        "length_sd": float(lengths.std()),
        "length_median": float(np.median(lengths)),
        "length_short": float((lengths < 0.8).mean()),
        "length_long": float((lengths > 8).mean()),
        "length_kinds": len(set(np.rint(lengths * 2).tolist())) / len(lengths),
        "legato": float(np.mean(filled)),
        "legato_sd": float(np.std(filled)),
        "ends_even": float(np.mean([e == 0 for e in ends])),
        "held_over": float(np.mean([n.end >= loop.length - 1 for n in loop.notes])),
    }


def _touch(loop: Loop, struck: Sequence[Sequence[Note]]) -> Features:
    loud = np.array([n.velocity for n in loop.notes], float)
    means = np.array([np.mean([n.velocity for n in c]) for c in struck])
    within = [np.std([n.velocity for n in c]) for c in struck if len(c) > 1]
    pitches = np.array([n.pitch for n in loop.notes], float)
    related = loud.std() > 0 and pitches.std() > 0
    strong = [n.velocity for n in loop.notes if round(n.onset / TICKS_PER_SIXTEENTH) % 4 == 0]
    weak = [n.velocity for n in loop.notes if round(n.onset / TICKS_PER_SIXTEENTH) % 4]
    return {
        "velocity_mean": float(loud.mean()),
        "velocity_sd": float(loud.std()),
        "velocity_kinds": len(set(loud.tolist())) / len(loud),
        "velocity_jumps": float(np.abs(np.diff(means)).mean()) if len(means) > 1 else _HOLE,
        "velocity_in_chords": float(np.mean(within)) if within else _HOLE,
        "velocity_by_pitch": float(np.corrcoef(loud, pitches)[0, 1]) if related else _HOLE,
        "accent": float(np.mean(strong) - np.mean(weak)) if strong and weak else _HOLE,
    }


def _form(loop: Loop) -> Features:
    bars = [_cells(loop, at, at + loop.bar) for at in range(0, loop.length - loop.bar + 1, loop.bar)]
    first = [n for n in loop.notes if round(n.onset / TICKS_PER_SIXTEENTH) % 4 == 0]
    low = np.percentile([n.pitch for n in loop.notes], 30)
    beats = {round(n.onset / PPQN) for n in first if n.pitch <= low}
    if len(bars) < 2:
        return {"bass_on_beats": len(beats) / (loop.length / PPQN)}
    return {
        "bars_alike": float(np.mean([_jaccard(a, b) for a, b in pairwise(bars)])),
        "bars_rhythm": float(np.mean([_jaccard({o for o, _ in a}, {o for o, _ in b}) for a, b in pairwise(bars)])),
        "bass_on_beats": len(beats) / (loop.length / PPQN),
    }


def _shared(call: Loop, answer: Loop) -> Features:
    a, b = _cells(call, 0, call.length), _cells(answer, 0, answer.length)
    scales = key.estimate(call.notes), key.estimate(answer.notes)
    found: Features = {
        "same_cells": _jaccard(a, b),
        "same_rhythm": _jaccard({o for o, _ in a}, {o for o, _ in b}),
        "same_pitches": _jaccard({p for _, p in a}, {p for _, p in b}),
        "same_classes": _jaccard({p % 12 for _, p in a}, {p % 12 for _, p in b}),
        "same_key": float(scales[0] == scales[1]),
        "known_pitches": float(np.mean([p in {q for _, q in a} for _, p in b])) if b else _HOLE,
    }
    if call.notes and answer.notes:
        last, first = ([n.pitch for n in c] for c in (chords(call)[-1], chords(answer)[0]))
        found["seam_top"] = float(abs(max(first) - max(last)))
        found["seam_bass"] = float(abs(min(first) - min(last)))
        habit = _habit(call)
        off = [abs(_off(n) - habit[p]) for n in answer.notes if (p := _place(n, answer)) in habit]
        found["timing_habit"] = float(np.mean(off)) if off else _HOLE
    return found


def _cells(loop: Loop, begin: int, end: int) -> set[tuple[int, int]]:
    return {
        (round((n.onset - begin) / TICKS_PER_SIXTEENTH), n.pitch)
        for n in loop.notes
        if begin - _NEAR <= n.onset < end - _NEAR
    }


def _jaccard(a: set[int] | set[tuple[int, int]], b: set[int] | set[tuple[int, int]]) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0


def _place(note: Note, loop: Loop) -> int:
    return round(note.onset / TICKS_PER_SIXTEENTH) % (loop.bar // TICKS_PER_SIXTEENTH)


def _off(note: Note) -> float:
    return note.onset - round(note.onset / TICKS_PER_SIXTEENTH) * TICKS_PER_SIXTEENTH


def _habit(loop: Loop) -> dict[int, float]:
    """Mean deviation from the grid, in ticks, by place in the bar."""
    by_place: dict[int, list[float]] = {}
    for note in loop.notes:
        by_place.setdefault(_place(note, loop), []).append(_off(note))
    return {place: float(np.mean(offs)) for place, offs in by_place.items()}
