"""What happens, in words."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from rtgen.instrument.events import Notice
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop, Note
from rtgen.rig.told.telling import sentence

LOOP = Loop(1920, (Note(0, 60, 100), Note(5, 62, 100)))


@pytest.mark.parametrize("what", get_args(get_type_hints(Notice)["what"]))
def test_every_notice_is_a_sentence(what: str) -> None:
    assert sentence(Notice(what, loop=LOOP, name="a"), Preset())  # type: ignore[arg-type]


def test_a_stored_loop_is_told_and_so_is_that_there_is_none() -> None:
    assert sentence(Notice("stored", name="a", loop=LOOP), Preset()) == "A is what was played last: 2 notes"
    assert "nothing has been played yet" in sentence(Notice("stored", name="b"), Preset())
