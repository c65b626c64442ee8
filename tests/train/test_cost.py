"""What the parts of answers cost, as a card says it."""

from __future__ import annotations

from pathlib import Path

import onnx
from typer.testing import CliRunner

from rtgen.inference.file import card_of
from tests.data.make_tiny import build_composer
from train.measures.cost import app, costs, rows

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"


def test_the_card_says_what_parts_cost_and_on_which_machine(tmp_path: Path) -> None:
    path = tmp_path / "composer.onnx"
    onnx.save(build_composer(), path)
    before = card_of(path)
    assert rows(before)[1:] == []
    done = CliRunner().invoke(app, [str(path), "--count", "2", "--card"])
    assert done.exit_code == 0, done.output
    card = card_of(path)
    assert [row[:2] for row in rows(card)[1:]] == [
        (mode, part) for mode in card.kind.modes for part in ("first", "further")
    ]
    metrics = card.metrics
    assert metrics["continue_first_runs"] > metrics["continue_first_notes"] >= 0
    assert 0 < metrics["continue_further_ms"] <= metrics["continue_further_ms_p99"]
    assert " cores, " in card.training["timed_on"]
    assert (before.name, before.spelling) == (card.name, card.spelling)


def test_an_answer_that_comes_at_once_has_no_parts() -> None:
    assert costs(TINY, 1) == {}
