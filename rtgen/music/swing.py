"""Swing: delays every second sixteenth."""

from __future__ import annotations

from dataclasses import replace

from rtgen.music.note import Loop
from rtgen.music.time import PPQN

_PAIR = PPQN // 2


def swung(loop: Loop, swing: float) -> Loop:
    """Return a loop with swing applied, by warping time within every half beat.

    Args:
        loop: without swing.
        swing: position of the second sixteenth within its half beat, 0.5 (straight) to 0.75.
    """
    if swing == 0.5:
        return loop

    def at(tick: int) -> int:
        pair, within = divmod(tick, _PAIR)
        half = _PAIR / 2
        bent = within * 2 * swing if within < half else _PAIR * swing + (within - half) * 2 * (1 - swing)
        return pair * _PAIR + round(bent)

    def bent(onset: int, end: int) -> tuple[int, int]:
        return min(at(onset), loop.length - 1), at(end)

    moved = ((note, *bent(note.onset, note.end)) for note in loop.notes)
    notes = (replace(note, onset=onset, duration=max(end - onset, 1)) for note, onset, end in moved)
    return replace(loop.with_notes(notes).monophonic_by_pitch(), hand=loop.hand.warped(at))
