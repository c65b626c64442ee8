from __future__ import annotations

import numpy as np

from rtgen.music.note import Loop, Note
from tests.inference.models import of_role
from tests.train.models.coded import song
from train.measures import senses


def scale(root: int) -> Loop:
    return Loop(3840, tuple(Note(480 * i, root + step, 240) for i, step in enumerate((0, 2, 4, 5, 7, 9, 11, 12))))


def test_pairs_are_of_one_song() -> None:
    loops = song([scale(60), scale(62), Loop(3840, ()), scale(64)])
    assert senses.pairs_of(loops) == [(scale(60), scale(62))]
    other = loops.pick(np.arange(2))
    other.songs[1] = "other"
    assert senses.pairs_of(other) == []


def test_each_sense_is_taken_away_by_itself() -> None:
    model = of_role("sequence")
    card = model.card
    found = senses.senses(model, [(scale(61), scale(61)), (scale(66), scale(66))])
    name = model.card.name
    assert set(found[name]) == {"in_call_key", "in_call_key_free", "bits"}
    assert found[senses.MUSIC]["in_call_key"] == [1, 1]
    assert len(found[f"{name}, no key"]["in_call_key"]) == len(found[f"{name}, no history"]["bits"]) == 2
    assert model.card == card
