"""The terminal's keys."""

from __future__ import annotations

import os
from queue import SimpleQueue

from rtgen.instrument.events import Pressed
from rtgen.rig.told.keys import Keys


def test_enter_closes_and_letters_correct() -> None:
    source, sink = os.pipe()
    pressed: SimpleQueue[Pressed] = SimpleQueue()
    with Keys(pressed.put, source):
        for typed in b"\n", b"what is this", b"\nh", b"\n D \r\n":
            os.write(sink, typed)
        assert [pressed.get(timeout=30).button for _ in range(3)] == ["close", "half", "double"]
        os.close(sink)
    assert pressed.empty()
