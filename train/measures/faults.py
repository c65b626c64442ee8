"""Faults of an answer, found by rule."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN
from train.measures.features import chords

FAULTS = ("bass lost", "hole", "leap", "lonely", "clash", "cut")
"""A bass that the call has and the answer lacks; a beat of silence where the call has none; a leap of over an octave in
an outer voice; a note far from all others; a minor second or ninth that the call does not have; an end that is cut."""


def faults(call: Loop, answer: Loop) -> dict[str, bool]:
    """Which of `FAULTS` an answer has."""
    if not answer.notes:
        return dict.fromkeys(FAULTS, bool(call.notes))
    struck = chords(answer)
    outer = [[max(n.pitch for n in c) for c in struck], [min(n.pitch for n in c) for c in struck]]
    return {
        "bass lost": _has_bass(call) and not _has_bass(answer, min(n.pitch for n in call.notes) + 12),
        "hole": bool(_silent(answer) - _silent(call)),
        "leap": _largest(outer) > max(12, _largest_of(call)),
        "lonely": _lonely(answer) > _lonely(call),
        "clash": _clashes(answer) > _clashes(call),
        "cut": _cut(answer) > _cut(call),
    }


def _has_bass(loop: Loop, below: int | None = None) -> bool:
    """Whether there are notes an octave below the middle of the loop, or below a pitch."""
    pitches = [n.pitch for n in loop.notes]
    limit = below if below is not None else sum(pitches) / max(len(pitches), 1) - 8
    return any(p < limit for p in pitches)


def _silent(loop: Loop) -> set[int]:
    """Beats in which nothing sounds."""
    return {
        i
        for i in range(loop.length // PPQN)
        if not any(n.onset < (i + 1) * PPQN and n.end > i * PPQN for n in loop.notes)
    }


def _largest(lines: Sequence[Sequence[int]]) -> int:
    return max((abs(b - a) for line in lines for a, b in pairwise(line)), default=0)


def _largest_of(loop: Loop) -> int:
    struck = chords(loop)
    return _largest([[max(n.pitch for n in c) for c in struck], [min(n.pitch for n in c) for c in struck]])


def _lonely(loop: Loop) -> int:
    """Notes more than an octave from every other note."""
    return sum(len(loop) > 1 and all(abs(n.pitch - m.pitch) > 12 for m in loop.notes if m is not n) for n in loop.notes)


def _clashes(loop: Loop) -> int:
    """Pairs of notes that sound together for an eighth or longer, a minor second or ninth apart."""
    return sum(
        abs(a.pitch - b.pitch) in (1, 13) and _together(a, b) >= PPQN // 2
        for i, a in enumerate(loop.notes)
        for b in loop.notes[i + 1 :]
    )


def _together(a: Note, b: Note) -> int:
    return min(a.end, b.end) - max(a.onset, b.onset)


def _cut(loop: Loop) -> int:
    """Notes struck within the last sixteenth that end with the loop, before they sounded for a 32nd note."""
    return sum(n.end >= loop.length and n.duration < 60 for n in loop.notes)
