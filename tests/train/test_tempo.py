"""The measure of first loops and of following, on a case that is made by rule."""

from __future__ import annotations

import random

import pytest

from rtgen.instrument.clocks.first_loop import Found, Onset
from train.measures.tempo import Case, drifted, followed, human, ours, steady, told, verdict

BEAT_S = 60 / 80


def case(bars: int = 2, after: int = 64) -> Case:
    """Eighths at 80 BPM, with a low note on each downbeat and a rest in each bar."""
    onsets = [
        Onset(10 + i * BEAT_S / 2, 36 if i % 8 == 0 else 60 + i % 3, 80)
        for i in range(bars * 8 + after * 2)
        if i % 8 != 5
    ]
    end = 10 + bars * 4 * BEAT_S
    return Case(
        "made",
        bars,
        tuple(10 + i * BEAT_S for i in range(bars * 4 + 1)),
        tuple(o for o in onsets if o.time < end - 0.01),
        tuple(o for o in onsets if o.time >= end - 0.01),
        tuple(end + i * BEAT_S for i in range(after)),
    )


def test_the_made_case_is_found_by_press_and_by_pause() -> None:
    for closed in case().beats[-1], None:
        assert verdict(case(), told(case(), closed)) == (True, True, "")
    found = ours(case(), case().beats[-1])
    assert found is not None
    assert found.bars in (1, 2, 4)


@pytest.mark.parametrize(
    ("tempo", "downbeat", "bars", "right"),
    [
        (80, 10.0, 2, (True, True, "")),
        (81, 10.03, 2, (True, False, "")),
        (40, 10.0, 1, (False, True, "half")),
        (160, 10.0, 4, (False, True, "double")),
        (120, 10.0, 3, (False, True, "other")),
    ],
)
def test_errors_have_names(tempo: float, downbeat: float, bars: int, right: tuple[bool, bool, str]) -> None:
    assert verdict(case(), Found(tempo, downbeat, bars, 1.0)) == right
    assert verdict(case(), None) == (False, False, "none")


def test_a_drift_is_followed_and_a_steady_clock_loses_it() -> None:
    onsets, beats = drifted(case(), "up")
    assert len(onsets) > 100
    assert (beats[-1] - beats[-2]) * 1.08 == pytest.approx(BEAT_S)
    # The notes are where they were between the beats.
    assert onsets[0].time == pytest.approx(beats[0])
    assert max(map(abs, followed(case(), "up", 0.1, False))) < 0.125
    assert max(map(abs, followed(case(), "up", 0.0, False))) > 1
    assert max(map(abs, followed(case(), "none", 0.1, False))) < 0.02


def test_uneven_beats_are_left_out() -> None:
    assert steady(case())
    ragged = case()
    after = [time + 0.2 * (i == 20) for i, time in enumerate(ragged.after)]
    assert not steady(Case("made", 2, ragged.beats, ragged.onsets, ragged.following, tuple(after)))


def test_humans_are_not_exact() -> None:
    moved = human(case(), 0.015, random.Random(1))
    errors = [a.time - b.time for a, b in zip(moved.onsets, case().onsets, strict=True)]
    assert 0.005 < max(map(abs, errors)) < 0.06
