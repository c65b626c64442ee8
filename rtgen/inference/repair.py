"""From what was played and what a denoiser makes of it to a repaired loop.

The network says which notes there should be; the hand that played them knows better how long and how loud. So a played
note that the network confirms stays as it was, one that it moved keeps its length and loudness, and only notes that
nobody played take everything from the network.
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
"""How much more the odds of a played note count than those of one that nobody played: the player has the benefit of the
doubt, so that good playing is left alone."""
SURE_ON, SURE_OFF = 0.5, 0.2
"""Hold probabilities beyond which the network's word on where a note ends counts more than the player's."""


def clean(loop: Loop, roll: Roll, grid: Grid, threshold: float) -> Loop:
    """`loop` repaired after `roll`.

    Args:
        loop: what was played.
        roll: what a denoiser answered to it, planes of shape (pitches, steps).
        grid: of the roll.
        threshold: onset probability from which a cell is a note.

    Returns:
        A loop of the same length. Notes outside the grid's pitches are left as played.
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
    """`note` up to the end of one that struck again where it ended, and should not have: both were one, broken."""
    for rest in gone:
        if rest.pitch == note.pitch and abs(rest.onset - note.end) <= grid.step // 2:
            return replace(note, duration=rest.end - note.onset)
    return note


def _in_favour_of(loop: Loop, roll: Roll, grid: Grid) -> Roll:
    """`roll` with the odds of what was played raised by `BENEFIT`."""
    onset = roll.onset.copy()
    for note in loop.notes:
        if grid.pitch_low <= note.pitch <= grid.pitch_high:
            cell = note.pitch - grid.pitch_low, _column(note, grid, roll)
            p = roll.onset[cell]
            onset[cell] = BENEFIT * p / (1 + (BENEFIT - 1) * p)
    return replace(roll, onset=onset)


def _column(note: Note, grid: Grid, roll: Roll) -> int:
    return min(max(round(note.onset / grid.step), 0), int(roll.onset.shape[1]) - 1)


def _nearest(note: Note, wanted: dict[tuple[int, int], Note], grid: Grid, roll: Roll) -> tuple[int, int] | None:
    """Where a note that was not confirmed was meant to be.

    At the same pitch a little earlier or later, or at a neighbour pitch at the same time.
    """
    column = _column(note, grid, roll)
    places = [(abs(s), (note.pitch, column + s)) for s in range(-MAX_STEPS, MAX_STEPS + 1) if s]
    places += [(abs(s), (note.pitch + s, column)) for s in range(-MAX_SEMITONES, MAX_SEMITONES + 1) if s]
    found = [(distance, place) for distance, place in places if place in wanted]
    return min(found)[1] if found else None


def _with_sure_end(note: Note, hold: Plane, grid: Grid) -> Note:
    """`note` ended where the network is sure that it ends; as played where it is not."""
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
