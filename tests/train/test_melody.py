from __future__ import annotations

import numpy as np

from rtgen.music.note import Loop, Note
from tests.train.models.coded import song
from train.loops.melody import top_line
from train.loops.sample import Sample


def line(*notes: Note) -> list[tuple[int, int, int]]:
    """Onset, pitch and duration of the top line of a loop."""
    loops = song([Loop(3840, (Note(0, 60, 480),)), Loop(3840, notes)])
    found = top_line(Sample.of(loops, np.arange(2))).loops()
    assert [(n.onset, n.pitch) for n in found[0].notes] == [(0, 60)]
    return [(n.onset, n.pitch, n.duration) for n in found[1].notes]


def test_of_a_chord_the_highest_note_stays() -> None:
    assert line(Note(0, 48, 480), Note(0, 64, 480), Note(0, 60, 960)) == [(0, 64, 480)]


def test_what_begins_below_a_note_that_sounds_is_left_out_and_what_begins_above_ends_it() -> None:
    assert line(Note(0, 64, 960), Note(480, 60, 480)) == [(0, 64, 960)]
    assert line(Note(0, 64, 960), Note(480, 67, 480)) == [(0, 64, 480), (480, 67, 480)]
    assert line(Note(0, 64, 960), Note(480, 64, 960)) == [(0, 64, 480), (480, 64, 960)]
    assert line(Note(0, 64, 480), Note(480, 60, 480)) == [(0, 64, 480), (480, 60, 480)]


def test_notes_come_on_sixteenths_and_last_one_at_least() -> None:
    assert line(Note(7, 64, 20), Note(230, 60, 300), Note(3800, 62, 40)) == [
        (0, 64, 120),
        (240, 60, 240),
        (3720, 62, 120),
    ]
