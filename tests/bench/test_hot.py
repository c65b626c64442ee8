"""What times the answers, and the same weights in torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtgen.bench.hot import Watched, lines, samples
from rtgen.errors import UserError
from rtgen.inference.card import modes_of
from rtgen.inference.file import card_of
from rtgen.shipped import available

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
            assert [s["mode"] for s in found] == [*modes_of(card_of(item.path)), "fill"]


def test_every_mode_of_the_shipped_models_is_timed() -> None:
    for item in available("models"):
        if item.origin == "shipped":
            model = Watched(item.path)
            found = samples([("onnxruntime", model)], 2)
            fills = ["fill"] if model.card.kind.hears else []
            assert [s["mode"] for s in found] == [*modes_of(model.card), *fills]
            assert all(time > 0 for s in found for time in s["network_ms"]), item.path
            assert all(bool(s["step_ms"]) == model.card.kind.hears for s in found), item.path
            assert all(bool(s["first_ms"]) == model.card.kind.hears for s in found)
            assert len(list(lines(found))) == 2 + len(found)


def test_a_model_of_another_make_is_a_sentence() -> None:
    pytest.importorskip("torch")
    from train.compare.eager import Eager

    with pytest.raises(UserError, match=r"tiny\.onnx: its card .* names no architecture"):
        Eager(TINY)
