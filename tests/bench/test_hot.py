"""What times the answers, and the same weights in torch."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from rtgen.bench.hot import Watched, samples
from rtgen.errors import UserError
from rtgen.inference.card import modes_of
from rtgen.inference.file import card_of
from rtgen.shipped import available
from tests.data.make_tiny import build_composer

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"


def test_the_network_is_a_part_of_every_answer() -> None:
    found = samples([("onnxruntime", Watched(TINY)), ("again", Watched(TINY))], 3)
    assert [(s["engine"], s["mode"]) for s in found] == [
        (engine, mode) for mode in ("clean", "vary") for engine in ("onnxruntime", "again")
    ]
    for sample in found:
        assert sample["model"] == "tiny"
        assert len(sample["whole_ms"]) == len(sample["network_ms"]) == 3
        assert all(0 < n < w for n, w in zip(sample["network_ms"], sample["whole_ms"], strict=True))
        assert sample["first"] == sample["further"] == []


def test_the_parts_of_an_answer_cost_together_what_the_whole_does(tmp_path: Path) -> None:
    path = tmp_path / "composer.onnx"
    onnx.save(build_composer(), path)
    for sample in samples([("onnxruntime", Watched(path))], 4):
        parts = [*sample["first"], *sample["further"]]
        assert 0 < len(sample["first"]) < len(parts)
        assert all(part["network_ms"] < part["ms"] and bool(part["network_ms"]) is (part["runs"] > 0) for part in parts)
        if sample["mode"] != "blend":  # of which some answers are one of the two loops, and come whole
            assert sum(part["ms"] for part in parts) == pytest.approx(sum(sample["whole_ms"]))
            assert sum(part["network_ms"] for part in parts) == pytest.approx(sum(sample["network_ms"]))
        if sample["mode"] == "continue":
            # Each note is a run, and the next one has to be known before a part is told.
            assert all(first["runs"] > first["notes"] for first in sample["first"])


@pytest.mark.slow
def test_shipped_weights_run_in_torch_as_they_are() -> None:
    pytest.importorskip("torch")
    from train.compare.eager import Eager

    models = [Watched(item.path) for item in available("models") if item.origin == "shipped"]
    denoisers = [model for model in models if model.card.role == "denoiser"]
    assert denoisers
    for model in denoisers:
        Eager(model.path)  # or it says that it differs
    for item in available("models"):
        if card_of(item.path).kind.hears:
            found = samples([("torch eager", Eager(item.path))], 1)
            assert [s["mode"] for s in found] == list(modes_of(card_of(item.path)))


def test_every_mode_of_the_shipped_models_is_timed() -> None:
    for item in available("models"):
        if item.origin == "shipped":
            model = Watched(item.path)
            found = samples([("onnxruntime", model)], 2)
            assert [s["mode"] for s in found] == list(modes_of(model.card))
            assert all(time > 0 for s in found for time in s["network_ms"]), item.path
            assert all(bool(s["step_ms"]) == model.card.kind.hears for s in found), item.path
            in_parts = {s["mode"] for s in found if s["first"]}
            assert in_parts == ({*modes_of(model.card)} if model.card.kind.hears else set())


def test_a_model_of_another_make_is_a_sentence() -> None:
    pytest.importorskip("torch")
    from train.compare.eager import Eager

    with pytest.raises(UserError, match=r"tiny\.onnx: its card .* names no architecture"):
        Eager(TINY)
