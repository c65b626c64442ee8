"""The judge: calibrated on loops whose makers are known, and faults of answers that have one each."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.errors import UserError
from rtgen.music.note import Loop, Note
from train.measures.faults import FAULTS, faults
from train.measures.features import chords, of_loop, of_pair
from train.measures.judge import Example, judge, judged, random_in_key, real_next, repeated

BAR = 1920


def song(number: int, loops: int = 8) -> list[Loop]:
    """Two-bar loops of a song: a bass on the beats, and a tune that walks up and down its scale."""
    rng = np.random.default_rng(number)
    scale = [p + number % 12 for p in (48, 50, 52, 53, 55, 57, 59, 60, 62, 64, 65, 67, 69, 71, 72)]
    made = []
    for _ in range(loops):
        root, at = int(rng.integers(0, 5)), int(rng.integers(8, 12))
        notes = [Note(t, scale[root] - 12, 450, int(rng.integers(60, 75))) for t in range(0, 2 * BAR, 960)]
        for t in range(0, 2 * BAR, 240):
            if rng.random() < 0.7:
                at = min(max(at + int(rng.integers(-2, 3)), 6), 14)
                notes.append(Note(t + int(rng.integers(0, 6)), scale[at], 200, int(rng.integers(70, 95))))
        made.append(Loop(2 * BAR, tuple(notes)))
    return made


def some(songs: range) -> list[Example]:
    found = []
    for number in songs:
        loops = song(number)
        found += [Example(str(number), tuple(loops[:i]), loops[i], loops[i + 1]) for i in range(2, 7)]
    return found


def test_music_cannot_be_told_from_music_and_random_notes_always_can() -> None:
    ours, others = some(range(14)), some(range(14, 28))
    real = judged(real_next, ours, others)
    assert 0.38 < real.alone.auc < 0.62
    assert real.alone.low < 0.5 < real.alone.high
    noise = judged(random_in_key, ours, others)
    assert noise.alone.auc > 0.8  # of so few loops
    assert noise.beside.auc > 0.8
    again = judged(repeated, ours, others)
    assert again.alone.auc < 0.65
    assert again.beside.auc > 0.8
    assert again.beside.telling[0][0].startswith("same_") or again.beside.telling[0][0].endswith("_beside")


def test_it_needs_songs() -> None:
    music = [of_loop(loop) for loop in song(0)]
    with pytest.raises(UserError, match="at least 10 songs, and there are 2"):
        judge(music, ["a"] * len(music), music, ["b"] * len(music))


def test_the_same_answers_are_judged_alike() -> None:
    features, songs = [of_loop(e.call) for e in some(range(10))], [e.song for e in some(range(10))]
    assert judge(features, songs, features, songs) == judge(features, songs, features, songs)


@settings(max_examples=40)
@given(
    st.lists(
        st.builds(Note, st.integers(-20, 2 * BAR - 1), st.integers(0, 127), st.integers(1, 4000), st.integers(1, 127)),
        max_size=12,
    )
)
def test_any_loop_has_features_and_they_are_numbers(notes: list[Note]) -> None:
    loop = Loop(2 * BAR, tuple(notes))
    call = song(0)[0]
    for found in (of_loop(loop), of_pair(call, loop), of_pair(loop, call)):
        assert all(isinstance(value, float) for value in found.values())
        assert not any(np.isinf(value) for value in found.values())
    assert faults(call, loop).keys() == set(FAULTS)


def test_a_chord_is_what_is_struck_together() -> None:
    loop = Loop(BAR, (Note(0, 60, 100), Note(12, 64, 100), Note(60, 67, 100)))
    assert [[n.pitch for n in c] for c in chords(loop)] == [[60, 64], [67]]


def test_features_say_what_they_are_called() -> None:
    loop = Loop(2 * BAR, tuple(Note(t, 60 + t // 480, 240, 80) for t in range(0, 2 * BAR, 480)))
    found = of_loop(loop)
    assert found["notes_a_bar"] == found["chords_a_bar"] == 4
    assert found["place_0"] == found["place_4"] == 0.25
    assert found["top_leap"] == 1
    assert found["on_grid"] == 1
    assert found["velocity_sd"] == 0
    assert isfinite(found["gap_sd"])


CALL = Loop(
    2 * BAR,
    (
        *(Note(t, 40, 900, 70) for t in range(0, 2 * BAR, 960)),
        *(Note(t, 64 + t // 480 % 3, 470, 80) for t in range(0, 2 * BAR, 480)),
    ),
)


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ("bass lost", [n for n in CALL.notes if n.pitch > 50]),
        ("hole", [replace(n, duration=300) for n in CALL.notes if not 1440 <= n.onset < 2400]),
        ("leap", [*(n for n in CALL.notes if n.onset != 960), Note(960, 40, 900, 70), Note(960, 100, 400, 80)]),
        ("lonely", [*CALL.notes, Note(1200, 100, 100, 80)]),
        ("clash", [*CALL.notes, Note(0, 65, 470, 80)]),
        ("cut", [*CALL.notes, Note(2 * BAR - 30, 66, 30, 80)]),
    ],
)
def test_a_fault_is_found_where_it_is(fault: str, answer: list[Note]) -> None:
    assert not any(faults(CALL, CALL).values())
    assert faults(CALL, CALL.with_notes(answer))[fault]


def test_silence_has_every_fault() -> None:
    assert all(faults(CALL, Loop(2 * BAR)).values())
    assert not any(faults(Loop(2 * BAR), Loop(2 * BAR)).values())
