from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.music import key
from rtgen.music.key import KEYS, SCALES, Key, confidence, estimate, major_tonic, of_scale
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


def test_scales_begin_with_their_tonic_and_no_two_are_alike() -> None:
    assert all(0 in steps and all(0 <= step < 12 for step in steps) for steps in SCALES.values())
    assert len(set(SCALES.values())) == len(SCALES)
    assert [name for name, steps in SCALES.items() if len(steps) == 12] == ["chromatic"]


@pytest.mark.parametrize(
    ("scale", "major", "words"),
    [
        (Key(2, True, "dorian"), 0, "D dorian"),
        (Key(4, True, "phrygian"), 0, "E phrygian"),
        (Key(5, False, "lydian"), 0, "F lydian"),
        (Key(7, False, "mixolydian"), 0, "G mixolydian"),
        (Key(11, True, "locrian"), 0, "B locrian"),
        (Key(9, True, "natural_minor"), 0, "A natural minor"),
        (Key(9, True, "minor_pentatonic"), 0, "A minor pentatonic"),
        (Key(0, False, "major_pentatonic"), 0, "C major pentatonic"),
        (Key(9, True, "harmonic_minor"), 0, "A harmonic minor"),
        (Key(0, False, "whole_tone"), 0, "C whole tone"),
        (Key(9, True, "chromatic"), 0, "A chromatic"),
        (Key(9, True), 0, "A minor"),
        (Key(9), 9, "A major"),
    ],
)
def test_each_scale_has_a_major_key_that_models_know(scale: Key, major: int, words: str) -> None:
    assert major_tonic(scale) == major
    assert major_tonic(scale.moved(5)) == (major + 5) % 12
    assert str(scale) == words


@pytest.mark.parametrize("name", ["dorian", "phrygian", "lydian", "mixolydian", "harmonic_minor", "hirajoshi"])
def test_the_tonic_of_a_scale_is_found(name: str) -> None:
    for tonic in range(12):
        tune = [Note(i, 48 + tonic + step, 240) for i, step in enumerate(sorted(SCALES[name]))]
        tune += [Note(99, 48 + tonic, 960), Note(99, 55 + tonic, 480)]
        found = estimate(tune, of_scale(name))
        assert found == Key(tonic, found.minor, name) if found else False


def test_a_chromatic_scale_has_every_note_and_is_heard_as_major_or_minor() -> None:
    tune = [Note(i, 57 + step, 240) for i, step in enumerate((0, 2, 3, 5, 7, 8, 10, 12))]
    found, plain = estimate(tune, of_scale("chromatic")), estimate(tune)
    assert found is not None
    assert plain is not None
    assert (found.tonic, found.minor) == (plain.tonic, plain.minor)
    assert all(map(found.contains, range(128)))
    assert all(each in KEYS for each in (plain, key.estimate(tune)))
