from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.music.key import Key, estimate
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, Grid, Metre


@pytest.mark.parametrize(("text", "bar"), [("4/4", 1920), ("3/4", 1440), ("6/8", 1440), ("7/8", 1680), ("1/16", 120)])
def test_a_metre_has_the_bar_it_says(text: str, bar: int) -> None:
    metre = Metre.parse(text)
    assert metre.bar == bar
    assert str(metre) == text


@pytest.mark.parametrize("text", ["", "4", "4/", "/4", "4/3", "0/4", "33/4", "-3/4", "four/4", "3.5/4"])
def test_what_is_no_metre_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a valid metre"):
        Metre.parse(text)


def test_a_grid_has_whole_steps() -> None:
    grid = Grid()
    assert (grid.step, grid.pitches, grid.steps(3840)) == (40, 96, 96)
    with pytest.raises(ValueError, match="whole number of steps"):
        grid.steps(3841)
    with pytest.raises(ValueError, match="do not divide"):
        Grid(steps_per_beat=7)
    with pytest.raises(ValueError, match="not within"):
        Grid(pitch_low=60, pitch_high=59)


def test_loops_with_the_same_notes_are_equal_in_whatever_order() -> None:
    a, b = Note(0, 60, 10), Note(5, 55, 10)
    assert Loop(PPQN, (a, b)) == Loop(PPQN, (b, a))


@pytest.mark.parametrize("fields", [(0, 128, 1, 1), (0, -1, 1, 1), (0, 0, 0, 1), (0, 0, 1, 0), (0, 0, 1, 128)])
def test_a_note_out_of_range_does_not_exist(fields: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"pitch|duration|velocity"):
        Note(*fields)


notes = st.builds(Note, st.integers(-20, 3839), st.integers(58, 62), st.integers(1, 2000), st.integers(1, 127))


@given(st.lists(notes, max_size=30))
def test_a_pitch_sounds_once_at_a_time(many: list[Note]) -> None:
    loop = Loop(3840, tuple(many)).monophonic_by_pitch()
    for pitch in {n.pitch for n in loop.notes}:
        line = [n for n in loop.notes if n.pitch == pitch]
        assert all(a.end <= b.onset for a, b in itertools.pairwise(line))
        assert line[-1].end <= 3840
    assert {(n.onset, n.pitch) for n in loop.notes} == {(n.onset, n.pitch) for n in many}


def test_of_two_notes_at_once_the_loudest_stays() -> None:
    loop = Loop(480, (Note(0, 60, 100, 30), Note(0, 60, 50, 90))).monophonic_by_pitch()
    assert loop.notes == (Note(0, 60, 50, 90),)


SCALE = (0, 2, 4, 5, 7, 9, 11)


@pytest.mark.parametrize("tonic", range(12))
def test_a_scale_that_dwells_on_its_tonic_is_in_its_key(tonic: int) -> None:
    line = [Note(i * 240, 60 + tonic + step, 480 if step in (0, 7) else 240) for i, step in enumerate(SCALE)]
    key = estimate(line)
    assert key == Key(tonic)
    assert all(key.contains(n.pitch) for n in line)
    assert not key.contains(61 + tonic)


def test_a_minor_cadence_is_minor_and_silence_has_no_key() -> None:
    key = estimate([Note(0, p, 480) for p in (57, 60, 64, 62, 65, 69, 64, 68, 71, 57, 60, 64)])
    assert str(key) == "A minor"
    assert estimate([]) is None
