"""Swing: every second sixteenth later."""

from __future__ import annotations

from dataclasses import replace

from rtgen.music.note import Loop
from rtgen.music.time import PPQN

_PAIR = PPQN // 2


def swung(loop: Loop, swing: float) -> Loop:
    """A loop whose time runs unevenly within every half beat.

    Args:
        loop: as it was played.
        swing: where in a half beat its second sixteenth falls, 0.5 (in its middle) to 0.75.
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
    return loop.with_notes(notes).monophonic_by_pitch()
