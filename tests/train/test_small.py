"""Calls of few notes, as the shipped composer answers them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop, Note
from train.measures.faults import faults
from train.measures.small import SMALL, WAYS, counted

SHIPPED = Path(__file__).parents[2] / "models" / "composer.onnx"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SMALL)
def test_an_answer_to_few_notes_has_no_faults(name: str, way: str) -> None:
    mode, knobs = WAYS[way]
    model, call = Model(SHIPPED), SMALL[name]
    for seed in range(3):
        found = answer(model, call, mode, {**Preset().knobs, **knobs}, seed)
        assert not [fault for fault, has in faults(call, found).items() if has], seed


def test_answers_with_faults_are_counted_and_their_faults_named() -> None:
    call = Loop(1920, tuple(Note(t, 60 + t // 480, 470) for t in range(0, 1920, 480)))
    silent, leap = Loop(1920, (Note(0, 60, 470),)), Loop(1920, (*call.notes[:3], Note(1440, 80, 470)))
    assert counted(call, [call, call]) == "0"
    assert counted(call, [call, silent, leap]) == "2 (hole, leap, lonely)"
