"""Merges the call and a denoiser's output into a repaired loop.

The network decides which notes there should be; the player's duration and velocity are more reliable. So a note that
the network confirms stays unchanged, a moved note keeps its duration and velocity, and only added notes come entirely
from the network.
"""

from __future__ import annotations

from dataclasses import replace

from rtgen.music.note import Loop, Note
from rtgen.music.roll import Plane, Roll, decode
from rtgen.music.time import Grid

MAX_STEPS = 3
"""A played note may move this far in time."""
MAX_SEMITONES = 2
"""Or this far in pitch."""
BENEFIT = 1.5
"""Factor on the odds of played notes relative to added ones: the player has the benefit of the doubt, so that good
playing is left alone."""
SURE_ON, SURE_OFF = 0.5, 0.2
"""Hold probabilities beyond which the network overrides the player's note-off."""


def clean(loop: Loop, roll: Roll, grid: Grid, threshold: float) -> Loop:
    """Repairs `loop` by a denoiser's output.

    Args:
        loop: the call.
        roll: the denoiser's output, planes of shape (pitches, steps).
        grid: of the roll.
        threshold: onset probability from which a cell counts as a note.

    Returns:
        A loop of the same length. Notes outside the grid's pitch range are left as played.
    """
    believed = decode(_in_favour_of(loop, roll, grid), grid, loop.length, bar=loop.bar, threshold=threshold)
    wanted = {(note.pitch, _column(note, grid, roll)): note for note in believed.notes}
    kept: list[Note] = []
    confirmed: list[Note] = []
    waiting: list[Note] = []
    gone: list[Note] = []
    for note in loop.notes:
        if not grid.pitch_low <= note.pitch <= grid.pitch_high:
            kept.append(note)
        elif wanted.pop((note.pitch, _column(note, grid, roll)), None) is not None:
            confirmed.append(note)
        else:
            waiting.append(note)
    for note in waiting:
        goal = _nearest(note, wanted, grid, roll)
        if goal is None:
            gone.append(note)
        else:
            pitch, column = goal
            del wanted[goal]
            onset = note.onset if column == _column(note, grid, roll) else column * grid.step
            confirmed.append(Note(onset, pitch, min(note.duration, loop.length - onset), note.velocity))
    kept += (_with_sure_end(_joined(note, gone, grid), roll.hold, grid) for note in confirmed)
    return loop.with_notes([*kept, *wanted.values()]).monophonic_by_pitch()


def _joined(note: Note, gone: list[Note], grid: Grid) -> Note:
    """Extends `note` over a rejected note of the same pitch that begins where it ends: one note, broken in two."""
    for rest in gone:
        if rest.pitch == note.pitch and abs(rest.onset - note.end) <= grid.step // 2:
            return replace(note, duration=rest.end - note.onset)
    return note


def _in_favour_of(loop: Loop, roll: Roll, grid: Grid) -> Roll:
    """Raises the odds of played notes by `BENEFIT`."""
    onset = roll.onset.copy()
    for note in loop.notes:
        if grid.pitch_low <= note.pitch <= grid.pitch_high:
            cell = note.pitch - grid.pitch_low, _column(note, grid, roll)
            p = roll.onset[cell]
            onset[cell] = BENEFIT * p / (1 + (BENEFIT - 1) * p)
    return replace(roll, onset=onset)


def _column(note: Note, grid: Grid, roll: Roll) -> int:
    return grid.column(note.onset, int(roll.onset.shape[1]))


def _nearest(note: Note, wanted: dict[tuple[int, int], Note], grid: Grid, roll: Roll) -> tuple[int, int] | None:
    """Where a note that was not confirmed was meant to be: the nearest wanted cell.

    Either the same pitch slightly earlier or later, or a neighbouring pitch at the same time.
    """
    column = _column(note, grid, roll)
    places = [(abs(s), (note.pitch, column + s)) for s in range(-MAX_STEPS, MAX_STEPS + 1) if s]
    places += [(abs(s), (note.pitch + s, column)) for s in range(-MAX_SEMITONES, MAX_SEMITONES + 1) if s]
    found = [(distance, place) for distance, place in places if place in wanted]
    return min(found)[1] if found else None


def _with_sure_end(note: Note, hold: Plane, grid: Grid) -> Note:
    """Moves the end of `note` to where the network is sure of it; else leaves it as played."""
    row = hold[note.pitch - grid.pitch_low]
    column = max(round(note.onset / grid.step), 0)
    end = played = min(max(round(note.end / grid.step), column + 1), len(row))
    while end < len(row) and row[end] > SURE_ON:
        end += 1
    if end == played:
        while end > column + 1 and row[end - 1] < SURE_OFF:
            end -= 1
    if end == played:
        return note
    return replace(note, duration=max(end * grid.step - note.onset, 1))
