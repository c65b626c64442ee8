"""What happens, in words and as JSON."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from importlib.resources import files
from io import StringIO
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from rich.console import Console

from rtgen.instrument.binding import Binding
from rtgen.instrument.notices import (
    Answered,
    AskedAgain,
    Called,
    CannotUse,
    ControlTaken,
    DoubledClock,
    DraftPlayed,
    DrumsLeftOut,
    ForeignClock,
    Halted,
    KeepAnswer,
    Layered,
    LoopClosed,
    NoClock,
    NoStart,
    NothingLearned,
    NothingToClose,
    Notice,
    Overslept,
    PeersChanged,
    PlanLate,
    PortChanged,
    PresetChanged,
    Recalled,
    Request,
    Rolling,
    SaveBindings,
    SelectPreset,
    Stored,
    TakenOver,
    UseClip,
)
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop, Note
from rtgen.rig.ableton import LiveSaid
from rtgen.rig.daemon import News, View
from rtgen.rig.told.telling import Teller, as_json, sentence
from rtgen.rig.told.whose import whose
from tests.rig.test_osc import soon

LOOP = Loop(1920, (Note(0, 60, 100), Note(5, 62, 100)))
SENTENCES: list[tuple[Notice | Request, str]] = [
    (Rolling(1, 2), "rolling, in bars 3-4"),
    (Halted("stopped"), "stopped"),
    (Halted("lost"), "the clock stopped arriving; stopped until it is back"),
    (Halted("located"), "the song jumped to another place"),
    (
        DrumsLeftOut(),
        (
            "channel 10 is left out, as drums; choose a preset that plays drums, such as drummer, or set "
            "'listens: 10' in the settings if it is not drums"
        ),
    ),
    (Called(0, 2, LOOP, True), "heard bars 1-2: 2 notes"),
    (Called(0, 1, Loop(1920), False), "heard bar 1: silence"),
    (Answered(1, 1, LOOP, "answer", 0.0123, 0.02), "answering in bar 2: 2 notes, 12.3 ms (lead 20 ms)"),
    (Answered(1, 1, LOOP, "late", 0.07, 0.02), "the answer for bar 2 is late (70 ms); it starts at the next bar"),
    (Answered(1, 1, LOOP, "missed", 0.9, 0.02), "the answer for bar 2 came too late to play (900 ms)"),
    (DraftPlayed(1, 1, LOOP), "answering in bar 2: 2 notes, a draft: the answer itself is late"),
    (PlanLate(), "what plays along with you came too late, and left a rest"),
    (CannotUse("along"), "this preset answers loops; choose one that plays along, such as band"),
    (CannotUse("hold"), "this preset plays along with you; choose one that answers loops, such as vary"),
    (ForeignClock(1), "input 2 sends a clock too; it is ignored"),
    (DoubledClock(0), "input 1 gets two clocks, or one clock twice; remove one of the two connections"),
    (NoStart(119.96, False), "clock at 120 BPM, but no Start yet: stop it and press play, or press roll on a downbeat"),
    (NoStart(120.0, True), "clock at 120 BPM, but no Start yet: it rolls at the next bar"),
    (NoClock(), "no clock comes to roll with: switch on clock or sync for rtgen, or use --clock internal"),
    (LoopClosed(96.2, 2, 0.9), "tempo 96, 2 bars; press half or double to correct"),
    (LoopClosed(143.8, 1, 0.5), "tempo 144, 1 bar, perhaps; press half or double to correct"),
    (
        LoopClosed(0.0, 0, 0.0),
        "no tempo found in what was played; play a loop of 1 to 8 bars, and close it on the downbeat after it",
    ),
    (
        NothingToClose(),
        "no first loop yet: play one, and press close on the downbeat after it; this needs --clock player",
    ),
    (
        TakenOver(2, True),
        ("the last rtgen crashed: ended 2 notes that it left sounding; it rolls on at the next bar if a clock comes"),
    ),
    (TakenOver(0, True), "the last rtgen crashed; it rolls on at the next bar if a clock comes"),
    (TakenOver(1, False), "the last rtgen crashed: ended 1 note that it left sounding"),
    (Overslept(3600), "the computer slept, or stood still, for 3600 s"),
    (PresetChanged(Preset(name="lush")), "preset lush"),
    (Stored("a", LOOP), "stored the last loop as A: 2 notes"),
    (Stored("b", None), "nothing to store as B yet; play a loop first"),
    (ControlTaken(0, "fill", "blend"), "that control is already blend; confirm to make it fill, or move another one"),
    (PortChanged(0, "keys", False), "keys is gone; waiting for it"),
    (PortChanged(0, "keys", True), "keys is back"),
    (PeersChanged(1), "Link: 1 other peer"),
    (PeersChanged(2), "Link: 2 other peers"),
    (Recalled(2, 4, 1, True), "answer 2 of 4 to its call: 1 note"),
    (Recalled(1, 4, 7, False), "answer 1 of 4 to its call: 7 notes; there is none beyond it"),
    (Recalled(0, 0, 0, False), "there is no answer to go to yet"),
    (Layered(True, 1), "overdubbing, on 1 layer; undo takes the newest away"),
    (Layered(True, 0), "overdubbing, on no layers; undo takes the newest away"),
    (Layered(False, 3), "overdubbing ended, with 3 layers"),
    (Layered(True, 2, "layer"), "the newest layer is taken away; 2 layers left"),
    (Layered(True, 1, "pass"), "what you played into this loop is taken away; 1 layer left"),
    (Layered(False, 0, "nothing"), "there is no layer to take away; overdub lays what you play on the loop"),
    (AskedAgain(3), "the same call is answered again next: 3 notes"),
    (SelectPreset("3"), "loading preset 3 ..."),
    (SelectPreset("next"), "loading the next preset ..."),
    (KeepAnswer(None, Preset(), 120.0), "there is no answer to keep yet"),
    (KeepAnswer(LOOP, Preset(), 120.0), "keeping the answer: 2 notes"),
    (UseClip("answer"), "reading the clip that is selected in Live ..."),
    (NothingLearned("blend"), "no control was learned for blend; 'rtgen controls' lists the default ones"),
    (SaveBindings(0, "blend", (Binding("blend", 70),)), "learned blend"),
    (SaveBindings(0, "blend", (Binding("fill", 70),)), "forgot blend"),
]


@pytest.mark.parametrize("number", range(len(SENTENCES)))
def test_every_notice_and_request_has_its_sentence(number: int) -> None:
    item, said = SENTENCES[number]
    assert sentence(item) == said


def test_what_live_says_is_told_as_it_is() -> None:
    said = LiveSaid("Live answers: 120.0 BPM")
    assert sentence(said) == "Live answers: 120.0 BPM"
    assert json.loads(as_json(said, sentence(said)))["kind"] == "LiveSaid"


def test_none_is_left_out() -> None:
    assert {type(item) for item, _ in SENTENCES} == {*get_args(Notice), *get_args(Request)}


NOW: dict[str, Any] = {
    "rolling": True,
    "unstarted": False,
    "clock": "midi",
    "use": "answer",
    "turn": "yours",
    "played": False,
    "muted": False,
    "bars": 2,
}


@pytest.mark.parametrize(
    ("changes", "word", "hint"),
    [
        ({}, "YOUR TURN", "play 2 bars"),
        ({"bars": 1}, "YOUR TURN", "play 1 bar"),
        ({"played": True}, "LISTENING", "it answers when the loop is full"),
        ({"turn": "answer"}, "ANSWERING", "listen"),
        ({"turn": "answer", "muted": True}, "ANSWERING", "muted"),
        ({"use": "follow"}, "WITH YOU", "play, and it follows"),
        ({"use": "follow", "played": True}, "WITH YOU", "it follows your last loop"),
        ({"use": "hold"}, "YOUR TURN", "play 2 bars"),
        ({"use": "hold", "turn": "answer"}, "FROZEN", "freeze lets it go"),
        ({"overdubs": True, "use": "follow"}, "OVERDUB", "what you play goes round too; undo takes it away"),
        ({"rolling": False}, "NO CLOCK", "press play in your sequencer"),
        ({"rolling": False, "clock": "internal"}, "STOPPED", "press Play on the page"),
        ({"rolling": False, "clock": "link"}, "NO CLOCK", "press play in a program of the Link session"),
        ({"rolling": False, "clock": "player"}, "FIRST LOOP", "press close on the downbeat after it"),
        ({"rolling": False, "clock": "player", "turn": "none"}, "NO TEMPO", "play your first loop"),
        (
            {"rolling": False, "unstarted": True},
            "NO START",
            "stop your sequencer and press play, or press roll on a downbeat",
        ),
    ],
)
def test_it_says_whose_turn_it_is(changes: dict[str, Any], word: str, hint: str) -> None:
    assert whose(**NOW | changes) == (word, hint)


def test_the_page_has_the_same_words() -> None:
    page = (files("rtgen.panel") / "static" / "panel.js").read_text("utf-8")
    for word in (
        "YOUR TURN",
        "LISTENING",
        "ANSWERING",
        "WITH YOU",
        "FROZEN",
        "NO CLOCK",
        "NO START",
        "STOPPED",
        "NO TEMPO",
    ):
        assert f'"{word}"' in page
    assert "it answers when the loop is full" in page


def test_programs_get_numbers_and_names_and_the_sentence() -> None:
    item = Answered(1, 1, LOOP, "answer", 0.0123, 0.02)
    assert json.loads(as_json(item, sentence(item))) == {
        "kind": "Answered",
        "loop_index": 1,
        "bars": 1,
        "outcome": "answer",
        "seconds": 0.0123,
        "lead_s": 0.02,
        "said": "answering in bar 2: 2 notes, 12.3 ms (lead 20 ms)",
    }
    assert json.loads(as_json(None, "ports open")) == {"kind": "Line", "said": "ports open"}


def test_the_last_line_says_what_is_left_and_how_many_answers_there_were() -> None:
    console = Console(file=StringIO(), width=40)
    news: SimpleQueue[News | None] = SimpleQueue()
    for outcome in ("answer", "late", "answer", "missed"):
        news.put(Answered(1, 1, LOOP, outcome, 0.01, 0.02))
    with Teller(console, None, news) as teller:  # type: ignore[arg-type]
        pass
    teller.farewell(Path("some folder/2026-11-21 rtgen.rtlog"))
    assert isinstance(console.file, StringIO)
    said = console.file.getvalue().splitlines()
    assert said[-1] == "session saved as some folder/2026-11-21 rtgen.rtlog, 4 answers, 2 late"
    teller.farewell(None)
    assert console.file.getvalue().splitlines()[-1] == "4 answers, 2 late"


@pytest.mark.parametrize(
    ("late", "along", "said"),
    [
        (0, True, "played along, nothing late"),
        (1, True, "played along, 1 rest for what came too late"),
        (2, False, "0 answers, 0 late, played along, 2 rests for what came too late"),
    ],
)
def test_the_last_line_says_what_was_played_along(late: int, along: bool, said: str) -> None:
    console = Console(file=StringIO(), width=80)
    news: SimpleQueue[News | None] = SimpleQueue()
    for _ in range(late):
        news.put(PlanLate())
    with Teller(console, None, news) as teller:  # type: ignore[arg-type]
        pass
    teller.farewell(None, along=along)
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue().splitlines()[-1] == said


def test_a_terminal_keeps_in_whole_what_asks_for_something_and_not_what_passes() -> None:
    console = Console(file=StringIO(), width=40, force_terminal=True)
    news: SimpleQueue[News | None] = SimpleQueue()
    view = View(120.0, None, (), None, Preset(), "answer", {}, False, 0.01)
    no_start, passes = NoStart(120.0, False), Answered(1, 1, LOOP, "answer", 0.01, 0.02)
    with Teller(console, SimpleNamespace(view=view), news) as teller:  # type: ignore[arg-type]
        news.put(no_start)
        news.put(passes)
        del teller
    assert isinstance(console.file, StringIO)
    said = console.file.getvalue()
    assert sentence(no_start) in said
    assert sentence(passes) not in said


def test_a_terminal_shows_both_rolls_and_whose_turn_it_is_and_draws_nothing_while_nothing_changes() -> None:
    screen = StringIO()
    console = Console(file=screen, width=80, height=30, force_terminal=True, color_system=None)
    news: SimpleQueue[News | None] = SimpleQueue()
    daemon = SimpleNamespace(view=View(120.0, 480, LOOP.notes, None, Preset(), "answer", {}, False, 0.01, turn="yours"))
    with Teller(console, daemon, news):  # type: ignore[arg-type]
        soon(lambda: "LISTENING" in screen.getvalue())
        assert "answer: none yet" in screen.getvalue()
        size = len(screen.getvalue())
        time.sleep(0.5)
        assert len(screen.getvalue()) == size
        daemon.view = replace(daemon.view, turn="answer", answer=LOOP)
        soon(lambda: "ANSWERING" in screen.getvalue())
