from __future__ import annotations

from pathlib import Path

import pytest

from tests.train import songs
from train.compare import prepare as compare_prepare
from train.prepare.sources.find import find

pytest.importorskip("pretty_midi")


def test_both_make_as_many_loops_of_the_same_files(tmp_path: Path) -> None:
    sources = find([songs.folder(tmp_path / "set", 3)])
    assert compare_prepare.ours(sources) == 12
    assert compare_prepare.theirs(sources, compare_prepare.loops) == 12
    assert compare_prepare.theirs(sources, compare_prepare.arrays) == 12
    assert compare_prepare.theirs(sources, compare_prepare.rolls) == 12
