"""The credits that go out with the models name all that these learned from."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest

from rtgen.inference.card import Card

ROOT = Path(__file__).parents[1]
MODELS = sorted((ROOT / "models").glob("*.onnx"))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_set_of_a_shipped_card_is_credited(path: Path) -> None:
    notice = re.sub(r"\s+", " ", (ROOT / "NOTICE").read_text("utf-8"))
    found = onnx.load(path, load_external_data=False).metadata_props
    card = Card.from_metadata({each.key: each.value for each in found}, path.name)
    assert card.data
    assert card.name in notice
    for each in card.data:
        assert f"{each.name} {each.credit} {each.licence}." in notice, each
