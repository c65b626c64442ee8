"""What happens, in words and as JSON."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import get_args

import pytest
from rich.console import Console

from rtgen.instrument.binding import Binding
from rtgen.instrument.notices import (
    Answered,
    Called,
    ControlTaken,
    DoubledClock,
    DraftPlayed,
    DrumsLeftOut,
    ForeignClock,
    Halted,
    KeepAnswer,
    NoClock,
    NoStart,
    NothingLearned,
    Notice,
    Overslept,
    PeersChanged,
    PortChanged,
    PresetChanged,
    Request,
    Rolling,
    SaveBindings,
    SelectPreset,
    Stored,
    TakenOver,
)
from rtgen.instrument.preset import Preset, Use
from rtgen.instrument.turns import Turn
from rtgen.music.note import Loop, Note
from rtgen.rig.daemon import News, View
from rtgen.rig.told.telling import Teller, as_json, sentence, whose

LOOP = Loop(1920, (Note(0, 60, 100), Note(5, 62, 100)))
SENTENCES: list[tuple[Notice | Request, str]] = [
    (Rolling(1, 2), "rolling, in bars 3-4"),
    (Halted("stopped"), "stopped"),
    (Halted("lost"), "the clock stopped arriving; stopped until it is back"),
    (Halted("located"), "located"),
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
    (ForeignClock(1), "input 2 sends a clock too; it is ignored"),
    (DoubledClock(0), "input 1 gets two clocks, or one clock twice; remove one of the two connections"),
    (NoStart(119.96, False), "clock at 120 BPM, but no Start yet: stop it and press play, or press roll on a downbeat"),
    (NoStart(120.0, True), "clock at 120 BPM, but no Start yet: it rolls at the next bar"),
    (NoClock(), "no clock comes to roll with: switch on clock or sync for rtgen, or use --clock internal"),
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
    (SelectPreset("3"), "loading preset 3 ..."),
    (SelectPreset("next"), "loading the next preset ..."),
    (KeepAnswer(None, Preset(), 120.0), "there is no answer to keep yet"),
    (KeepAnswer(LOOP, Preset(), 120.0), "keeping the answer: 2 notes"),
    (NothingLearned("blend"), "no control was learned for blend; 'rtgen controls' lists the default ones"),
    (SaveBindings(0, "blend", (Binding("blend", 70),)), "learned blend"),
    (SaveBindings(0, "blend", (Binding("fill", 70),)), "forgot blend"),
]


@pytest.mark.parametrize("number", range(len(SENTENCES)))
def test_every_notice_and_request_has_its_sentence(number: int) -> None:
    item, said = SENTENCES[number]
    assert sentence(item) == said


def test_none_is_left_out() -> None:
    assert {type(item) for item, _ in SENTENCES} == {*get_args(Notice), *get_args(Request)}


@pytest.mark.parametrize(
    ("turn", "use", "bars", "said"),
    [
        ("yours", "answer", 2, "your turn, 2 bars"),
        ("yours", "hold", 1, "your turn, 1 bar"),
        ("yours", "follow", 2, "listening"),
        ("answer", "answer", 2, "answering"),
    ],
)
def test_it_says_whose_turn_it_is(turn: Turn, use: Use, bars: int, said: str) -> None:
    preset = Preset().changed(bars=bars)
    assert whose(View(120.0, 0, (), None, preset, use, {}, False, 0.01, turn=turn)) == said


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
        news.put(Answered(1, 1, LOOP, outcome, 0.01, 0.02))  # type: ignore[arg-type]
    with Teller(console, None, news) as teller:  # type: ignore[arg-type]
        pass
    teller.farewell(Path("some folder/2026-11-21 rtgen.rtlog"))
    assert isinstance(console.file, StringIO)
    said = console.file.getvalue().splitlines()
    assert said[-1] == "session saved as some folder/2026-11-21 rtgen.rtlog, 4 answers, 2 late"
    teller.farewell(None)
    assert console.file.getvalue().splitlines()[-1] == "4 answers, 2 late"


def test_a_terminal_keeps_in_whole_what_asks_for_something_and_not_what_passes() -> None:
    console = Console(file=StringIO(), width=40, force_terminal=True)
    news: SimpleQueue[News | None] = SimpleQueue()
    view = SimpleNamespace(preset=Preset(), tick=None, tempo=120.0, turn="none", use="answer", unstarted=False)
    no_start, passes = NoStart(120.0, False), Answered(1, 1, LOOP, "answer", 0.01, 0.02)
    with Teller(console, SimpleNamespace(view=view), news) as teller:  # type: ignore[arg-type]
        news.put(no_start)
        news.put(passes)
        del teller
    assert isinstance(console.file, StringIO)
    said = console.file.getvalue()
    assert sentence(no_start) in said
    assert sentence(passes) not in said
