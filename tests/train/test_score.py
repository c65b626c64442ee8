from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mir_eval import transcription

from rtgen.music.note import Loop, Note
from train.loops.dataset import LENGTH
from train.loops.sample import GRID
from train.measures.score import bootstrap, note_f1

cells = st.tuples(st.integers(0, 20), st.integers(60, 62), st.integers(1, 12))
loops = st.lists(cells, max_size=12, unique_by=lambda c: c[:2]).map(
    lambda found: Loop(LENGTH, tuple(Note(s * 40, p, d * 40) for s, p, d in found))
)


def test_counts_notes_of_the_same_pitch_and_step() -> None:
    meant = Loop(LENGTH, (Note(0, 60, 400), Note(480, 62, 400), Note(960, 64, 400)))
    made = Loop(LENGTH, (Note(5, 60, 400), Note(520, 62, 200), Note(960, 65, 400)))
    assert note_f1(made, meant, GRID) == pytest.approx(1 / 3)
    assert note_f1(made, meant, GRID, tolerance=1) == pytest.approx(2 / 3)
    assert note_f1(made, meant, GRID, tolerance=1, offsets=True) == pytest.approx(1 / 3)


def test_a_note_counts_once() -> None:
    meant = Loop(LENGTH, (Note(40, 60, 40),))
    made = Loop(LENGTH, (Note(0, 60, 40), Note(80, 60, 40)))
    assert note_f1(made, meant, GRID, tolerance=1) == pytest.approx(2 / 3)


def test_silence_is_silence() -> None:
    assert note_f1(Loop(LENGTH), Loop(LENGTH), GRID) == 1
    assert note_f1(Loop(LENGTH), Loop(LENGTH, (Note(0, 60, 9),)), GRID) == 0


@given(loops, loops, st.sampled_from([0, 1]), st.booleans())
def test_agrees_with_mir_eval(made: Loop, meant: Loop, tolerance: int, offsets: bool) -> None:
    if not len(made) or not len(meant):
        return

    def arrays(loop: Loop) -> tuple[np.ndarray, np.ndarray]:
        spans = np.array([(n.onset, n.end) for n in loop.notes]) / GRID.step
        return spans, 440 * 2 ** ((np.array([n.pitch for n in loop.notes]) - 69) / 12)

    # A hair more than the tolerance, as mir_eval rounds.
    *_, expected, _ = transcription.precision_recall_f1_overlap(
        *arrays(meant),
        *arrays(made),
        onset_tolerance=tolerance + 1e-3,
        offset_ratio=0.2 if offsets else None,
        offset_min_tolerance=tolerance + 1e-3,
    )
    assert note_f1(made, meant, GRID, tolerance=tolerance, offsets=offsets) == pytest.approx(expected)


def test_the_interval_holds_the_mean() -> None:
    values = np.random.default_rng(0).random(200)
    low, high = bootstrap(values)
    assert low < values.mean() < high
    assert 0.05 < high - low < 0.12
    assert bootstrap(values) == (low, high)
