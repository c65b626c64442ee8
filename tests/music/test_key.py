from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtgen.music.key import confidence
from rtgen.music.note import Note


def test_a_scale_is_a_sure_key_and_all_twelve_pitches_are_none() -> None:
    assert confidence(Note(i * 240, 60 + step, 240) for i, step in enumerate((0, 2, 4, 5, 7, 9, 11, 12))) == 1
    assert confidence(Note(i * 240, 57 + step, 240) for i, step in enumerate((0, 2, 3, 5, 7, 8, 11, 12))) == 1
    assert confidence(Note(i * 240, 60 + i, 240) for i in range(12)) == 0
    assert confidence([]) == 0


def test_a_passing_note_does_little_and_notes_by_chance_do_much() -> None:
    tune = [Note(i * 240, 60 + step, 240) for i, step in enumerate((0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0))]
    assert 0.9 < confidence([*tune, Note(0, 66, 120)]) <= 1
    rng = np.random.default_rng(0)
    chance = [
        confidence(Note(i, int(pitch), 240) for i, pitch in enumerate(rng.integers(48, 84, 24))) for _ in range(50)
    ]
    assert np.mean(chance) < 0.4


@given(st.lists(st.tuples(st.integers(12, 115), st.integers(1, 2000)), max_size=20), st.integers(-11, 11))
def test_it_is_as_sure_in_any_key(notes: list[tuple[int, int]], up: int) -> None:
    here, there = ([Note(i, p + by, d) for i, (p, d) in enumerate(notes)] for by in (0, up))
    assert 0 <= confidence(here) <= 1
    if len({p % 12 for p, _ in notes}) > 4:
        assert abs(confidence(here) - confidence(there)) < 1e-9
