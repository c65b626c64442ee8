"""A stage on which a session is played along with: a melody goes in, what the parts play comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rtgen.inference.along import Along
from rtgen.inference.model import Model
from rtgen.instrument.events import Event, Planned
from rtgen.instrument.job import HalfBeat, Job, Plan
from rtgen.instrument.notices import Notice
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music import files, midi
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN
from rtgen.rig.offline import simulate, with_clock

BAR = 4 * PPQN
TEMPO = 120.0
SECOND = PPQN * TEMPO / 60
"""Ticks."""
CHANNELS = {0: "answer", 1: "bass", 2: "comping", 9: "drums", 3: "second"}
_TUNE = (
    (0, 1, 64), (1, 1, 64), (2, 1, 67), (3, 1, 72), (4, 2, 69), (6, 1, 67), (7, 1, 65),
    (8, 1, 64), (9, 1, 65), (10, 1, 67), (11, 1, 64), (12, 3, 62), (15, 1, 60),
    (16, 1, 69), (17, 1, 69), (18, 1, 72), (19, 1, 76), (20, 2, 74), (22, 1, 71), (23, 1, 67),
    (24, 1, 72), (25, 1, 71), (26, 1, 69), (27, 1, 67), (28, 4, 64),
    (32, 1, 65), (33, 1, 69), (34, 1, 72), (35, 1, 69), (36, 2, 67), (38, 1, 64), (39, 1, 60),
    (40, 1, 62), (41, 1, 65), (42, 1, 69), (43, 1, 65), (44, 2, 67), (46, 1, 65), (47, 1, 62),
    (48, 1, 64), (49, 1, 67), (50, 1, 72), (51, 1, 67), (52, 2, 69), (54, 1, 67), (55, 1, 65),
    (56, 1, 64), (57, 1, 62), (58, 1, 62), (59, 1, 59), (60, 4, 60),
)  # fmt: skip
"""A melody of sixteen bars in C major: beat, beats and pitch. It was written for these tests, and trained no model."""


def melody(bars: int = 16, up: int = 0) -> tuple[Note, ...]:
    """The first bars of the melody, some semitones up."""
    return tuple(
        Note(at * PPQN, pitch + up, beats * PPQN - 40, 84 if at % 4 else 96)
        for at, beats, pitch in _TUNE
        if at < 4 * bars
    )


@cache
def harmoniser() -> Model:
    """The model that comes with rtgen."""
    return Model(Path(__file__).parents[2] / "models" / "harmoniser.onnx")


class Played:
    """What came back.

    Args:
        sent: messages with the time they were sent, in seconds.
        notices: of the session.
    """

    def __init__(self, sent: Iterable[tuple[float, bytes]], notices: Sequence[Notice]) -> None:
        self.notices = notices
        self.bytes = [(round(at, 9), data) for at, data in sent]
        self.parts: dict[str, list[Note]] = {name: [] for name in CHANNELS.values()}
        self.stuck = 0
        down: dict[tuple[int, int], tuple[int, int]] = {}
        for then, data in self.bytes:
            if not midi.is_note(data):
                continue
            at = round((data.at if isinstance(data, Planned) else then) * SECOND)
            key = data[0] & 0x0F, data[1]
            if midi.is_note_on(data):
                assert key not in down
                down[key] = at, data[2]
            else:
                begun, velocity = down.pop(key)
                self.parts[CHANNELS[key[0]]].append(Note(begun, key[1], max(at - begun, 1), velocity))
        self.stuck = len(down)

    def all(self) -> list[Note]:
        """All notes."""
        return [note for notes in self.parts.values() for note in notes]


def nobody(*_: object) -> Loop:
    """Answers no jobs: none are asked when a session is played along with."""
    raise AssertionError


def play(
    notes: Sequence[Note],
    song: int,
    more: Sequence[tuple[float, Event]] = (),
    *,
    planner: Callable[[HalfBeat], Plan] | None = None,
    answerer: Callable[[Job], Loop] = nobody,
    session: Session | None = None,
    **settings: Any,
) -> Played:
    """What is played along with a melody over so many bars, with MIDI clock and Stop at their end.

    Args:
        notes: what is played, in ticks.
        song: its length in bars.
        more: events with the ticks at which they happen.
        planner: plans instead of the model.
        answerer: answers jobs, if any are asked.
        session: a session of one's own.
        settings: of the preset.
    """
    preset = Preset().changed(mode="accompany", model="harmoniser", tempo=TEMPO, temperature=0.1, **settings)
    session = session or Session(preset, Options(seed=3))
    timed: list[tuple[float, bytes | Event]] = [*with_clock(files.note_events(notes), song * BAR, TEMPO)]
    timed += [(at / SECOND, event) for at, event in more]
    timed.sort(key=lambda each: each[0])
    plan = planner or Along(harmoniser()).hear
    return Played(*simulate(session, timed, answerer, (song + 1) * BAR / SECOND, plan))
