from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.inference.repair import clean
from rtgen.music.note import Loop, Note
from rtgen.music.roll import Roll, encode
from rtgen.music.time import Grid

GRID = Grid()
LENGTH = 3840
MEANT = Loop(LENGTH, (Note(0, 60, 480, 90), Note(480, 64, 480, 80), Note(960, 67, 960, 70)))


def network(loop: Loop) -> Roll:
    """A network that knows what was meant."""
    return encode(loop, GRID)


def repaired(played: Loop, meant: Loop = MEANT) -> Loop:
    return clean(played, network(meant), GRID, 0.5)


def test_what_is_right_stays_as_it_was_played() -> None:
    played = MEANT.with_notes([Note(7, 60, 470, 33), Note(473, 64, 300, 44), Note(960, 67, 951, 55)])
    unsure = network(MEANT)
    unsure.hold[:] = 0.5
    assert clean(played, unsure, GRID, 0.5) == played


def test_an_extra_note_goes_and_a_missed_one_comes() -> None:
    played = MEANT.with_notes([*MEANT.notes[1:], Note(1920, 61, 480)])
    assert repaired(played) == MEANT


@pytest.mark.parametrize("wrong", [Note(560, 64, 480, 44), Note(400, 64, 480, 44), Note(480, 65, 480, 44)])
def test_a_moved_or_slipped_note_keeps_its_length_and_loudness(wrong: Note) -> None:
    played = MEANT.with_notes([MEANT.notes[0], wrong, MEANT.notes[2]])
    assert repaired(played).notes[1] == Note(480, 64, 480, 44)


def test_a_split_note_is_one_again() -> None:
    played = MEANT.with_notes([*MEANT.notes[:2], Note(960, 67, 400, 70), Note(1360, 67, 560, 70)])
    assert repaired(played) == MEANT


def test_a_broken_note_is_joined_to_the_tick_though_nobody_knows_how_long_it_was_meant() -> None:
    unsure = network(MEANT)
    unsure.hold[:] = 0.35
    broken = [Note(960, 67, 403, 70), Note(1363, 67, 511, 70)]
    assert clean(MEANT.with_notes([*MEANT.notes[:2], *broken]), unsure, GRID, 0.5).notes[2] == Note(960, 67, 914, 70)
    # After a rest it was struck again, and not broken: what should not be there goes.
    apart = [broken[0], Note(1500, 67, 300, 70)]
    assert clean(MEANT.with_notes([*MEANT.notes[:2], *apart]), unsure, GRID, 0.5).notes[2] == broken[0]


def test_a_note_of_the_wrong_length_ends_where_the_network_is_sure() -> None:
    for duration in (200, 2000):
        played = MEANT.with_notes([*MEANT.notes[:2], Note(960, 67, duration, 70)])
        assert repaired(played) == MEANT


def test_the_player_has_the_benefit_of_the_doubt() -> None:
    unsure = network(MEANT)
    unsure.onset[:] *= 0.4
    assert clean(MEANT, unsure, GRID, 0.5) == MEANT
    assert clean(Loop(LENGTH), unsure, GRID, 0.5) == Loop(LENGTH)


def test_notes_that_the_network_cannot_see_stay() -> None:
    played = MEANT.with_notes([*MEANT.notes, Note(0, 12, 480), Note(100, 125, 100)])
    assert repaired(played) == played


@given(
    st.lists(
        st.builds(Note, st.integers(-20, LENGTH - 100), st.integers(0, 127), st.integers(1, 100), st.integers(1, 127)),
        max_size=30,
    ),
    st.integers(0, 2**32),
)
def test_whatever_the_network_says_is_a_loop(notes: list[Note], seed: int) -> None:
    rng = np.random.default_rng(seed)
    onset, hold, velocity = (rng.random((96, 96), np.float32) ** 4 for _ in range(3))
    noise = Roll(onset, hold, velocity, rng.random((96, 96), np.float32) - 0.5)
    made = clean(Loop(LENGTH, tuple(notes)), noise, GRID, 0.4)
    assert made.length == LENGTH
    assert all(n.onset >= -20 and n.end <= LENGTH for n in made.notes)
    assert made == made.monophonic_by_pitch()
