"""Sessions as music to learn from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rtgen.errors import UserError
from rtgen.instrument.events import Received
from rtgen.rig.kept.journal import Step
from rtgen.rig.kept.replay import write
from tests.rig.test_journal import logged, performed
from train.prepare.sources.find import find, read


def test_what_was_played_is_learnt_and_what_was_answered_is_not(tmp_path: Path) -> None:
    log, _ = performed(tmp_path / "sessions" / "a.rtlog")
    write(log)
    left_out: Counter[str] = Counter()
    (source,) = find([tmp_path / "sessions"], left_out)
    assert left_out == {".mid of a session with a log": 1}
    (piece,) = read(source).pieces
    ((name, notes),) = piece.tracks
    assert name == "played"
    assert notes[1].tolist() == [60 + i % 7 for i in range(24)]
    assert (piece.stretches, piece.tempo) == (((0, 3 * 1920),), pytest.approx(120, abs=0.1))


def test_a_session_in_which_nothing_was_played_is_a_sentence(tmp_path: Path) -> None:
    log = logged(tmp_path / "a.rtlog", [Step(0.0, Received(0, b"\xf8"), ())])
    (source,) = find([log])
    with pytest.raises(UserError, match=r"a.rtlog: nothing was played in this session"):
        read(source)
    log.write_bytes(b"no log")
    with pytest.raises(UserError, match="is not a session log"):
        read(source)
