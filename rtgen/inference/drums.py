"""Modes of a drummer: a beat with feel, a variation of it, or a beat from a rhythm tapped on any key."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rtgen.inference.cells import Knobs, bold, log_odds, peaked, peaks, sounded
from rtgen.inference.denoise import run
from rtgen.inference.model import Model
from rtgen.music.drums import GENERAL_MIDI, TAP
from rtgen.music.note import Loop, Note
from rtgen.music.roll import encode
from rtgen.music.time import Grid

_OF_PITCH = ("register", "polyphony", "length")


def unpitched(knobs: Knobs) -> Knobs:
    """Removes the knobs that mean nothing for drums: key, pitch and duration."""
    return {**{name: value for name, value in knobs.items() if name not in _OF_PITCH}, "key_lock": 0.0}


def feel(model: Model, loop: Loop, knobs: Knobs) -> Loop:
    """Gives each note a drummer's velocity and timing, scaled by the knob `humanise`.

    The model sees only which notes there are and their mean velocity, not how each was struck.
    """
    grid, much = model.card.grid, knobs.get("humanise", 1.0)
    if not loop.notes or not much:
        return loop
    roll = encode(stiff(loop, grid), grid)
    (heard,) = run(model, loop, roll, np.zeros((1, *roll.onset.shape), np.float32))

    def struck(note: Note) -> Note:
        row, column = _row(note, grid), _column(note, loop, grid)
        if row is None:
            return note
        onset = (column + float(heard.micro[row, column])) * grid.step
        velocity = 127 * float(heard.velocity[row, column])
        return replace(
            note,
            onset=min(round(note.onset + much * (onset - note.onset)), loop.length - 1),
            velocity=min(max(round(note.velocity + much * (velocity - note.velocity)), 1), 127),
        )

    return loop.with_notes(map(struck, loop.notes)).monophonic_by_pitch()


def stiff(loop: Loop, grid: Grid) -> Loop:
    """The loop as a machine would play it: quantised, at the mean velocity."""
    velocity = round(sum(n.velocity for n in loop.notes) / max(len(loop), 1))
    return loop.with_notes(
        Note(_column(n, loop, grid) * grid.step, GENERAL_MIDI.get(n.pitch, n.pitch), n.duration, velocity)
        for n in loop.notes
    )


def beat(model: Model, loop: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Generates a beat from a rhythm tapped on any keys."""
    if not loop.notes:
        return loop
    grid = model.card.grid
    roll = encode(loop.with_notes(replace(n, pitch=TAP) for n in loop.notes), grid)
    mask = np.ones((1, *roll.onset.shape), np.float32)
    mask[:, TAP - grid.pitch_low] = 0
    (heard,) = run(model, loop, roll, mask)
    onset = heard.onset.copy()
    onset[TAP - grid.pitch_low] = 0
    count = max(round(float(onset.sum())), 1)
    cells = peaks(bold(peaked(log_odds(onset)), count, knobs, rng), count)
    return sounded(cells, heard, loop, grid)


def _row(note: Note, grid: Grid) -> int | None:
    pitch = GENERAL_MIDI.get(note.pitch, note.pitch)
    return pitch - grid.pitch_low if grid.pitch_low <= pitch <= grid.pitch_high else None


def _column(note: Note, loop: Loop, grid: Grid) -> int:
    return grid.column(note.onset, grid.steps(loop.length))
