"""What the bench makes of a set: of what the daemon says, and of what is heard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from rtgen.bench import played
from rtgen.bench.figures import Figures
from rtgen.bench.music import BAR
from rtgen.bench.server import Capture, TempoMap
from rtgen.bench.stage import Stage
from rtgen.bench.targets import targets
from rtgen.instrument.notices import Answered, DraftPlayed, Notice
from rtgen.music.files import note_events
from rtgen.music.note import Loop, Note
from rtgen.rig.told.telling import as_json, sentence

ANSWER = Loop(2 * BAR, (Note(0, 60, 100),))


class Told(Stage):
    """A stage whose daemon says what it is told to, a set after the other, and plays what is given."""

    def __init__(self, *sets: list[Notice], capture: Capture | None = None) -> None:
        self._sets = iter(sets)
        self._capture = capture or Capture()
        self.settings: dict[str, Any] = {}

    @contextmanager
    def playing(self, what: str, **settings: Any) -> Iterator[Any]:
        self.settings = settings
        yield SimpleNamespace(news=[json.loads(as_json(n, sentence(n))) for n in next(self._sets, [])])

    def perform(self, *_: object) -> Capture:
        return self._capture


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(played, "_PAUSE_S", 0.0)


def answer(outcome: Any, ms: float, lead_ms: float = 20.0) -> Notice:
    return Answered(1, 1, ANSWER, outcome, ms / 1000, lead_ms / 1000)


def test_of_every_start_the_first_answer_counts_apart_and_what_never_came_is_late() -> None:
    stage = Told(
        [answer("answer", 12), answer("answer", 9, 18)],
        [DraftPlayed(1, 1, ANSWER), answer("late", 70), answer("answer", 8, 90)],
        [answer("missed", 900)],
    )
    steps: list[str] = []
    (row,) = played.played(stage, ["vary"], ["alone"], 3, 2, steps.append)
    assert steps == ["vary, alone"]
    assert row.values == [12, 9, 70, 8, 900]
    assert row.more == {"late": 3, "asked": 6, "drafts": 1, "first_ms": [12, 70, 900], "lead_ms": [20, 18, 20, 90, 20]}
    assert "3 late of 6; a draft played for 1 of them; first answers at most 900.0 ms; lead 18 to 90" in row.remark
    assert stage.settings["use"] == "answer"
    assert stage.settings["preset"].endswith("vary.yaml")
    met = {t.what: t.met for t in targets(Figures("", "", None, rows=[row]))}
    assert met == {
        "no late answer in play, including the first ones": False,
        "vary, alone: lead of 20 ms at most": False,
    }


def test_loops_one_after_the_other_are_counted_as_one_set() -> None:
    stage = Told([answer("answer", 12), answer("late", 70, 90), answer("answer", 9)])
    (row,) = played.loops(stage, ["vary"], ["alone"], 3)
    assert (row.what, row.values) == ("vary, 3 loops, alone", [12, 70, 9])
    assert row.more["late"] == 1
    assert row.more["asked"] == 3
    assert row.more["first_ms"] == [12]
    assert stage.settings["use"] == "follow"


def test_last_notes_that_come_back_in_their_place_are_counted() -> None:
    tempos = TempoMap((0, 240))
    clock = [(float(tempos.frame(t)), b"\xf8") for t in range(0, 4 * BAR, 20)]
    clock = [(0.0, b"\xfa"), *clock, (float(tempos.frame(4 * BAR)), b"\xfc")]
    last = Note(BAR - 58, 67, 58)
    elsewhere = Note(480, 67, 58)
    heard = [
        (float(tempos.frame(e.tick)), e.data)
        for start, note in ((BAR, last), (3 * BAR, elsewhere))
        for e in note_events([note], start=start)
    ]
    (row,) = played.last_notes(Told(capture=Capture(output=heard, clock=clock)), 2)
    assert (row.values, row.unit, row.remark) == ([50.0], "%", "1 of 2; lead 0 ms at most")
