from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.music.note import Loop, Note
from rtgen.music.roll import Roll, bar_phase, decode, encode
from rtgen.music.time import Grid

GRID = Grid()
STEPS = 96


@st.composite
def loops_on_the_grid(draw: st.DrawFn) -> Loop:
    notes = []
    for _ in range(draw(st.integers(0, 25))):
        start = draw(st.integers(0, STEPS - 1))
        steps = draw(st.integers(1, STEPS - start))
        # Few pitches, so that notes follow hard on one another.
        pitch = draw(st.sampled_from([24, 60, 61, 72, 119]))
        notes.append(Note(start * GRID.step, pitch, steps * GRID.step, draw(st.integers(1, 127))))
    return Loop(STEPS * GRID.step, tuple(notes)).monophonic_by_pitch()


@given(loops_on_the_grid())
def test_what_is_encoded_is_decoded(loop: Loop) -> None:
    assert decode(encode(loop, GRID), GRID, loop.length) == loop


@given(loops_on_the_grid(), st.data())
def test_timing_within_half_a_step_is_kept(loop: Loop, data: st.DataObject) -> None:
    moved = [replace(n, onset=n.onset + data.draw(st.integers(-19, 19))) for n in loop.notes]
    decoded = decode(encode(loop.with_notes(moved), GRID), GRID, loop.length)
    onsets = {(n.onset, n.pitch) for n in moved}
    # Two notes that have moved onto one cell become one; nothing else is lost or shifted.
    cells = {(n.pitch, min(max(round(n.onset / GRID.step), 0), STEPS - 1)) for n in moved}
    assert {(n.onset, n.pitch) for n in decoded.notes} <= onsets
    assert len(decoded) == len(cells)


def test_an_early_downbeat_stays_at_the_beginning() -> None:
    loop = Loop(3840, (Note(-15, 60, 480, 90),))
    (note,) = decode(encode(loop, GRID), GRID, 3840).notes
    assert note.onset == -15


def test_pitches_outside_the_grid_are_left_out() -> None:
    loop = Loop(3840, (Note(0, 23, 480), Note(0, 120, 480)))
    assert not encode(loop, GRID).onset.any()


def roll(onset: dict[tuple[int, int], float], hold: dict[tuple[int, int], float]) -> Roll:
    planes = np.zeros((4, GRID.pitches, STEPS), np.float32)
    planes[2] = 0.5
    for plane, cells in zip(planes, (onset, hold), strict=False):
        for (pitch, step), value in cells.items():
            plane[pitch - GRID.pitch_low, step] = value
    return Roll(*planes)


def test_by_count_the_likeliest_notes_are_taken_and_never_the_impossible() -> None:
    unsure = roll({(60, 0): 0.4, (62, 12): 0.2, (64, 24): 0.02}, {})
    assert [n.pitch for n in decode(unsure, GRID, 3840, count=1).notes] == [60]
    assert [n.pitch for n in decode(unsure, GRID, 3840, count=9).notes] == [60, 62]
    assert decode(unsure, GRID, 3840).notes == ()
    assert [n.pitch for n in decode(unsure, GRID, 3840, threshold=0.3).notes] == [60]


def test_only_the_peak_of_a_blurred_onset_is_a_note() -> None:
    blurred = roll({(60, 3): 0.6, (60, 4): 0.9, (60, 5): 0.7}, {})
    (note,) = decode(blurred, GRID, 3840).notes
    assert note.onset == 4 * GRID.step


def test_a_gap_of_one_step_is_bridged_and_of_two_is_not() -> None:
    hold = {(60, s): 1.0 for s in (0, 1, 3, 4, 7)}
    (note,) = decode(roll({(60, 0): 0.9}, hold), GRID, 3840).notes
    assert note.duration == 5 * GRID.step


def test_a_rest_before_the_same_pitch_is_meant() -> None:
    hold = {(60, s): 1.0 for s in (0, 1, 3)}
    first, second = decode(roll({(60, 0): 0.9, (60, 3): 0.9}, hold), GRID, 3840).notes
    assert (first.duration, second.onset) == (2 * GRID.step, 3 * GRID.step)


def test_phase_turns_once_a_bar_and_once_a_beat() -> None:
    phase = bar_phase(2 * 1440, 1440, GRID)
    assert phase.shape == (4, 72)
    np.testing.assert_allclose(phase[:, 0], [0, 0, 1, 1], atol=1e-6)
    np.testing.assert_allclose(phase[:, 36], phase[:, 0], atol=1e-5)
    np.testing.assert_allclose(phase[[1, 3], 12], [0, 1], atol=1e-5)


def test_a_loop_of_broken_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number of steps"):
        encode(Loop(100), GRID)
