"""What is measured of many loops at once is what is measured of each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.music import key
from rtgen.music.attributes import NAMES, measure, standard
from rtgen.music.key import into_c
from rtgen.music.note import Loop, Note
from train.loops import attributes, dataset
from train.loops.keys import lifted, lifts
from train.loops.sample import GRID

LENGTH = 2880
NOTES = st.builds(
    Note,
    onset=st.integers(-59, LENGTH - 1),
    pitch=st.integers(0, 127),
    duration=st.integers(1, LENGTH),
    velocity=st.integers(1, 127),
)
LOOPS = st.lists(st.lists(NOTES, max_size=24), min_size=1, max_size=5).map(
    lambda many: [Loop(LENGTH, tuple(notes), 1440) for notes in many]
)


@given(LOOPS)
def test_attributes(loops: list[Loop]) -> None:
    found = attributes.measured(dataset.from_loops(loops), len(loops), LENGTH)
    for row, loop in zip(found, loops, strict=True):
        assert row.tolist() == pytest.approx([measure(loop)[name] for name in NAMES], rel=1e-5, abs=1e-5)
        assert attributes.standard(row).tolist() == pytest.approx(standard(measure(loop)), rel=1e-4, abs=1e-4)


@given(LOOPS)
def test_the_way_into_c(loops: list[Loop]) -> None:
    scales = [key.estimate(loop.notes) for loop in loops]
    assert lifts(dataset.from_loops(loops), len(loops)).tolist() == [into_c(s) if s else 0 for s in scales]


@given(LOOPS, st.integers(-20, 20))
def test_what_is_moved_stays_on_the_grid_and_keeps_its_name(loops: list[Loop], up: int) -> None:
    notes = dataset.from_loops(loops)
    moved = lifted(notes, np.full(len(loops), up, np.int32))
    assert ((moved[:, 2] >= GRID.pitch_low) & (moved[:, 2] <= GRID.pitch_high)).all()
    assert ((moved[:, 2] - notes[:, 2] - up) % 12 == 0).all()
    assert (moved[:, [0, 1, 3, 4]] == notes[:, [0, 1, 3, 4]]).all()
