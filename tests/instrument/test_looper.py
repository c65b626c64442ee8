from __future__ import annotations

import pytest

from rtgen.instrument.looper import Looper
from rtgen.music.note import Note

BAR = 1920


def on(pitch: int, velocity: int = 80) -> bytes:
    return bytes((0x90, pitch, velocity))


def off(pitch: int) -> bytes:
    return bytes((0x80, pitch, 0))


def pedal(value: int) -> bytes:
    return bytes((0xB0, 64, value))


def mode(number: int, channel: int = 0) -> bytes:
    """A channel mode message."""
    return bytes((0xB0 | channel, number, 0))


Score = list[tuple[int, bytes]]


@pytest.mark.parametrize(
    ("played", "notes"),
    [
        ([(10, on(60, 33)), (200, off(60))], [Note(10, 60, 190, 33)]),
        ([(-12, on(60)), (200, off(60))], [Note(-12, 60, 212)]),
        ([(0, on(60)), (100, on(60)), (200, off(60))], [Note(0, 60, 100), Note(100, 60, 100)]),
        ([(0, pedal(127)), (10, on(60)), (50, off(60)), (400, pedal(0))], [Note(10, 60, 390)]),
        (
            [(0, on(60)), (10, pedal(127)), (50, off(60)), (90, on(60)), (99, off(60))],
            [Note(0, 60, 90), Note(90, 60, 1830)],
        ),
        ([(0, on(60)), (10, pedal(64)), (20, pedal(0)), (50, off(60))], [Note(0, 60, 50)]),
        ([(1000, on(60))], [Note(1000, 60, 920)]),
        ([(0, on(60)), (0, off(60))], [Note(0, 60, 1)]),
        ([(1925, on(60)), (1930, off(60))], [Note(1919, 60, 1)]),
        ([(5, off(60))], []),
        ([(0, on(60)), (10, on(62)), (300, mode(123))], [Note(0, 60, 300), Note(10, 62, 290)]),
        ([(0, pedal(127)), (10, on(60)), (50, off(60)), (300, mode(121))], [Note(10, 60, 290)]),
        ([(0, pedal(127)), (9, mode(121)), (10, on(60)), (50, off(60))], [Note(10, 60, 40)]),
        ([(0, pedal(127)), (10, on(60)), (20, mode(123)), (50, off(60)), (300, pedal(0))], [Note(10, 60, 290)]),
        (
            [(0, pedal(127)), (5, on(60)), (9, off(60)), (10, on(62)), (20, mode(120))],
            [Note(5, 60, 15), Note(10, 62, 10)],
        ),
        *(([(0, on(60)), (300, mode(number)), (400, off(60))], [Note(0, 60, 300)]) for number in range(124, 128)),
        ([(0, on(60)), (10, mode(120, 1)), (20, mode(123, 1)), (30, mode(122)), (300, off(60))], [Note(0, 60, 300)]),
    ],
    ids=[
        "plain",
        "early",
        "again",
        "pedal",
        "again under pedal",
        "pedal up first",
        "held",
        "instant",
        "hair late",
        "orphan",
        "all-off",
        "reset lifts the pedal",
        "reset before",
        "all-off under pedal",
        "all sound off under pedal",
        "omni off",
        "omni on",
        "mono",
        "poly",
        "another channel",
    ],
)
def test_what_is_played_is_captured(played: Score, notes: list[Note]) -> None:
    looper = Looper()
    looper.begin(0)
    for tick, message in played:
        looper.feed(tick, message)
    assert list(looper.take(BAR, BAR).notes) == notes
    assert not looper.capturing


def test_a_loop_begins_where_it_is_told() -> None:
    looper = Looper()
    looper.begin(2 * BAR)
    looper.feed(2 * BAR + 7, on(60))
    looper.feed(2 * BAR + 9, off(60))
    assert looper.take(BAR, BAR).notes == (Note(7, 60, 2),)


def test_what_was_struck_before_the_loop_is_not_in_it() -> None:
    looper = Looper()
    looper.feed(-100, on(60))
    looper.begin(0)
    looper.feed(100, off(60))
    assert looper.take(BAR, BAR).notes == ()


def test_a_pedal_held_since_before_the_loop_sustains_in_it() -> None:
    looper = Looper()
    looper.feed(-100, pedal(127))
    looper.begin(0)
    looper.feed(0, on(60))
    looper.feed(10, off(60))
    looper.feed(500, pedal(0))
    assert looper.take(BAR, BAR).notes == (Note(0, 60, 500),)


def test_a_key_held_across_the_boundary_is_cut_there_and_not_in_the_next_loop() -> None:
    looper = Looper()
    looper.begin(0)
    looper.feed(1800, on(60))
    first = looper.take(BAR, BAR)
    looper.begin(BAR)
    looper.feed(BAR + 100, off(60))
    assert first.notes == (Note(1800, 60, 120),)
    assert looper.take(BAR, BAR).notes == ()


def test_what_sounds_is_in_view_before_it_ends() -> None:
    looper = Looper()
    assert looper.notes(50) == ()
    looper.begin(0)
    looper.feed(10, on(60))
    assert looper.notes(50) == (Note(10, 60, 40),)


def test_what_is_complete_is_what_has_ended_up_to_the_first_note_that_sounds() -> None:
    looper = Looper()
    looper.begin(BAR)
    assert looper.complete(BAR, BAR).notes == ()
    score = [(0, on(60)), (100, off(60)), (200, on(48)), (300, on(64)), (400, off(64)), (500, on(67)), (600, off(67))]
    for tick, message in score:
        looper.feed(BAR + tick, message)
    first = (Note(0, 60, 100),)
    assert looper.complete(BAR, BAR).notes == first
    looper.feed(BAR + 700, off(48))
    whole = looper.complete(BAR, BAR)
    assert whole.notes == (*first, Note(200, 48, 500), Note(300, 64, 100), Note(500, 67, 100))
    assert looper.capturing
    assert looper.take(BAR, BAR) == whole
