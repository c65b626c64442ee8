"""What a continuer is told in play is what it was told in training, to the number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtgen.inference.sequence import into_c
from rtgen.inference.stream import SPELLING, WINDOW, tell
from rtgen.music import key
from train.loops import dataset
from train.loops.sample import GRID
from train.models import streams


@pytest.mark.parametrize("song", range(6))
def test_songs_are_told_alike_in_training_and_in_play(small_data: Path, song: int) -> None:
    loops = dataset.load(small_data, "train", duplicates=True)
    firsts = np.flatnonzero(np.concatenate([[True], loops.songs[1:] != loops.songs[:-1]]))
    first = int(firsts[song])
    taught = streams.told(loops, np.array([first]), 400)
    played = loops.as_loops(np.arange(first, streams.stretch(loops, first, streams.AHEAD)))
    scale = key.estimate(n for loop in played for n in loop.notes)
    assert scale is not None
    told = tell(played, into_c(scale), SPELLING, GRID)
    count = len(told.note)
    assert count == taught.there.sum() > 20
    assert np.array_equal(told.note, taught.note[0, :count])
    assert np.array_equal(told.step, taught.step[0, :count])
    assert np.array_equal(told.place, taught.place[0, :count])
    np.testing.assert_allclose(told.context, taught.context[0, :count], atol=1e-5)
    assert told.context[:, -1].any()
    struck = taught.struck[0]
    assert np.array_equal(told.struck(GRID.pitches)[:, WINDOW : WINDOW + struck.shape[1]], struck)
