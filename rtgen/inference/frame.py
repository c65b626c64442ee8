"""Models that hear all music in one key: input is transposed to C major or A minor, and answers back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rtgen.inference.card import Card
from rtgen.inference.cells import Knobs
from rtgen.inference.exchange import moved, scale_of
from rtgen.music.key import folded, into_c
from rtgen.music.note import Loop

_NONE: Knobs = {}


def in_c(card: Card, loop: Loop, knobs: Knobs = _NONE) -> tuple[int, Loop]:
    """Transposes a loop for the model; returns the semitones and the loop, or 0 and the loop if it accepts any key.

    Notes that would leave the MIDI range are dropped.
    """
    scale = scale_of(loop.notes, knobs) if card.in_key else None
    up = into_c(scale) if scale else 0
    if not up:
        return 0, loop
    lifted = (replace(n, pitch=n.pitch + up) for n in loop.notes if 0 <= n.pitch + up <= 127)
    return up, loop.with_notes(lifted)


def told_in_c(card: Card, loop: Loop, knobs: Knobs, play: Callable[[Loop, Knobs], Loop]) -> Loop:
    """Transposes a loop for the model, calls `play`, and transposes back; notes that cannot be transposed are kept."""
    up, lifted = in_c(card, loop, knobs)
    answered = play(lifted, moved(knobs, up))
    if answered == lifted:
        return loop
    if not up:
        return answered
    back = [replace(n, pitch=folded(n.pitch - up)) for n in answered.notes]
    left = [n for n in loop.notes if not 0 <= n.pitch + up <= 127]
    return loop.with_notes([*left, *back]).monophonic_by_pitch()
