"""With the models as shipped: no answer depends on the draft that was asked for before it."""

from __future__ import annotations

import pytest

from rtgen.bench.music import made_loop
from rtgen.inference.card import modes_of
from rtgen.inference.hearing import hear
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.instrument.parameters import PARAMETERS
from rtgen.shipped import Item, available

KNOBS = {p.name: p.default for p in PARAMETERS.values()}
MODELS = [item for item in available("models") if item.origin == "shipped"]


@pytest.mark.parametrize("item", MODELS, ids=lambda item: item.name)
def test_an_answer_is_the_same_with_and_without_its_draft(item: Item) -> None:
    plain, drafted = Model(item.path), Model(item.path)
    past, ends = [made_loop(1), made_loop(2)], (made_loop(3), made_loop(4))
    loop = made_loop(5)
    so_far = loop.with_notes(n for n in loop.notes if n.onset < loop.length - 480)
    assert len(so_far) < len(loop)
    for mode in modes_of(plain.card):
        hear(drafted, past, so_far.with_notes(so_far.notes[:6]), KNOBS) if plain.card.kind.hears else None
        answer(drafted, so_far, mode, KNOBS, 7, past=past, ends=ends)
        after = answer(drafted, loop, mode, KNOBS, 7, past=past, ends=ends)
        assert after == answer(plain, loop, mode, KNOBS, 7, past=past, ends=ends)
