from __future__ import annotations

from pathlib import Path

import pytest

from tests.train import live
from tests.train.live import Clip
from train.compare import by_heart

LOOPS = tuple(
    tuple((0.5 * i, 50 + (3 * i + 5 * n) % 24, 0.5, 60.0 + 4 * i) for i in range(15)) for n in range(4)
)  # four different clips


@pytest.fixture
def live_set(tmp_path: Path) -> Path:
    return live.save(tmp_path / "set.als", live.xml("10", {"Piano": tuple(Clip(notes) for notes in LOOPS)}))


@pytest.mark.parametrize("name", ["conv_dae_default", "conv_dae"])
def test_loops_of_a_set_are_learnt_and_cleaned(name: str, live_set: Path) -> None:
    loops = by_heart.loops_of([live_set])
    assert len(loops) == len(LOOPS)
    found = by_heart.learn(name, loops, steps=3)
    assert (found.name, found.steps) == (name, 3)
    assert 0 < found.squared_error < 1
    assert all(0 <= f1 <= 1 for f1 in (found.damaged, found.as_played, found.undamaged))
    assert found.as_played < 1
    assert [[title for title, _ in row] for row in found.rows] == [["damaged", "repaired", "meant"]] * len(LOOPS)
    # The repaired system begins as the identity; what was described begins with nothing.
    assert (found.undamaged > 0.9) is (name == "conv_dae")
