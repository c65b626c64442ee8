"""A performance that is rendered from a file: what is answered, and that its last answer is in it."""

from __future__ import annotations

import pytest

from rtgen.instrument.preset import Preset
from rtgen.music.files import Event, Score, Track
from rtgen.rig import offline
from tests.instrument.stage import BAR, CALL, at


@pytest.mark.parametrize("bar", [0, 1, 2, 5])
def test_a_performance_that_begins_late_is_answered_up_to_its_end(bar: int) -> None:
    played = Track("played", tuple(Event(tick, data) for tick, data in at(bar * BAR, CALL)))
    preset = Preset().changed(bars=1, use="answer", tempo=120)
    score, _ = offline.render(Score((played,), ((0, 120.0),), ((0, preset.metre),)), preset, lambda job: job.loop, 0)
    answer = [(n.onset - (bar + 1) * BAR, n.pitch, n.duration) for n in score.tracks[-1].notes()]
    assert answer == [(0, 60, 400), (960, 64, 890)]
