from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtgen.music.note import Loop, Note
from tests.train.models.coded import exported, trained
from train.measures import latents


def test_a_dimension_moves_what_rises_or_falls_with_it(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = trained("mlp_vae", small_data, tmp_path / "run", latents=3, hidden=(8, 8))
    model, _ = exported(run, small_data, tmp_path / "model.onnx")
    loops = [Loop(3840, (Note(0, 60, 480), Note(960, 64, 480))), Loop(3840, (Note(0, 72, 240),))]
    first, second, _ = model.card.latents

    def of(code: np.ndarray) -> Loop:
        """The first dimension makes it higher, the second quieter, the third nothing."""
        up = round(24 * (code[0] - first.low) / (first.high - first.low))
        quiet = round(40 * (code[1] - second.low) / (second.high - second.low))
        return Loop(3840, (Note(0, 48 + up, 480, 100 - quiet), Note(480, 50 + up, 480, 90 - quiet)))

    monkeypatch.setattr(latents, "decoded", lambda _, codes: [of(code) for code in codes])
    high, soft, idle = latents.moved(model, loops, loops)
    assert (high.latent, soft.latent, idle.latent) == ("z1", "z2", "z3")
    assert "pitch" in high.feature or high.feature.startswith(("top", "bass", "low", "high"))
    assert abs(high.rank) == pytest.approx(1, abs=0.01)
    assert soft.rank == pytest.approx(-1, abs=0.01)
    assert idle.rank == 0
