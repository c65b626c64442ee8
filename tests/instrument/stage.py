"""A stage to play a session on, in ticks: who plays what when, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

from rtgen.instrument.events import Event, Received
from rtgen.instrument.job import Answer, Heard, Job, Part
from rtgen.instrument.notices import Answered, Called, DraftPlayed, Halted, Notice, Request
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session

CLOCK, START, CONTINUE, STOP = (bytes((b,)) for b in (0xF8, 0xFA, 0xFB, 0xFC))
BAR = 1920
TICK_S = 60 / (120 * 480)
"""Scores are played at 120 BPM."""


def on(pitch: int, velocity: int = 80) -> bytes:
    return bytes((0x90, pitch, velocity))


def off(pitch: int) -> bytes:
    return bytes((0x80, pitch, 0))


def divided(whole: Answer, cuts: Sequence[int]) -> Iterator[Answer]:
    """The parts of an answer, cut at ticks of its loop."""
    ends = [-(10**6), *cuts, 10**6]
    names: list[Part] = ["first", *["next"] * (len(cuts) - 1), "last"] if cuts else ["whole"]  # type: ignore[list-item]
    for part, (low, high) in zip(names, pairwise(ends), strict=True):
        yield replace(
            whole, loop=whole.loop.with_notes(n for n in whole.loop.notes if low <= n.onset < high), part=part
        )


_OF_THE_SESSION = {f.name for f in fields(Options)} - {"seed"}


class Stage:
    """Plays a session in ticks with a perfect clock, and answers its jobs after `answer_ticks`.

    The answer is the call, `up` semitones higher: an octave, or what a test sets.

    Args:
        answer_ticks: how long after a job its answer comes, or the first part of it.
        draft_ticks: the same for a draft; -1: it is lost.
        cuts: where an answer is cut into parts, in ticks.
        part_ticks: how long after a part the next one comes.
        settings: of the session or the preset.
    """

    up = 12
    """By how many semitones an answer is above its call."""

    def __init__(
        self,
        *,
        answer_ticks: int = 5,
        draft_ticks: int = 5,
        cuts: Sequence[int] = (),
        part_ticks: int = 1,
        **settings: Any,
    ) -> None:
        own = {name: settings.pop(name) for name in list(settings) if name in _OF_THE_SESSION}
        self.session = Session(Preset().changed(**{"bars": 1, "use": "answer", **settings}), Options(seed=7, **own))
        self.answer_ticks = answer_ticks
        self.draft_ticks = draft_ticks
        self.cuts, self.part_ticks = cuts, part_ticks
        self.sent: list[tuple[int, bytes]] = []
        self.jobs: list[Job] = []
        self.drafts: list[tuple[int, Job]] = []
        self.heard: list[tuple[int, Heard]] = []
        self.notices: list[Notice] = []
        self.requests: list[Request] = []
        self.echoes: list[tuple[int, bytes]] = []
        self._coming: list[tuple[float, Event]] = []
        self._wake: float | None = None
        self._origin = 0.0
        self.tick = 0

    def time(self, tick: float) -> float:
        return self._origin + tick * TICK_S

    def step(self, time: float, event: Event | None = None) -> None:
        out = self.session.step(time, event)
        self.sent += [(round((time - self._origin) / TICK_S), data) for data in out.messages]
        self.notices += out.notices
        self.requests += out.requests
        self.echoes += out.echoes
        if out.heard is not None:
            self.heard.append((round((time - self._origin) / TICK_S), out.heard))
        if out.draft is not None:
            self.drafts.append((round((time - self._origin) / TICK_S), out.draft))
            self._answer(out.draft, time, self.draft_ticks)
        for job in out.jobs:
            self.jobs.append(job)
            self._answer(job, time, self.answer_ticks)
        self._wake = out.wake_at

    def _answer(self, job: Job, time: float, ticks: int) -> None:
        if ticks >= 0:
            up = job.loop.with_notes(replace(n, pitch=n.pitch + self.up) for n in job.loop.notes)
            whole = Answer(up, job.target, job.epoch, job.draft)
            for i, part in enumerate(divided(whole, () if job.draft else self.cuts)):
                self._coming.append((time + (ticks + i * self.part_ticks) * TICK_S, part))

    def receive(self, data: bytes, port: int = 0) -> None:
        self.step(self.time(self.tick), Received(port, data))

    def until(self, tick: int, score: list[tuple[int, bytes]] | None = None, *, clock: bool = True) -> None:
        """Lets time pass up to a tick, with clocks, what is played, and whatever the session wanted to be woken for."""
        clocks = [(t, CLOCK) for t in range(-(-self.tick // 20) * 20, tick, 20)] if clock else []
        for at, data in sorted([*clocks, *(score or [])], key=lambda e: e[0]):
            self._pass(self.time(at))
            self.tick = at
            self.receive(data)
        self._pass(self.time(tick))
        self.tick = tick

    def _pass(self, time: float) -> None:
        while True:
            self._coming.sort(key=lambda c: c[0])
            arrives = self._coming[0][0] if self._coming else float("inf")
            wakes = self._wake if self._wake is not None else float("inf")
            if min(arrives, wakes) > time - 1e-9:
                return
            if arrives <= wakes:
                self.step(*self._coming.pop(0))
            else:
                self.step(wakes)

    @property
    def notes(self) -> list[tuple[int, int, int]]:
        """(onset, pitch, duration) of what was sent, in ticks."""
        begun: dict[int, int] = {}
        notes = []
        for tick, data in self.sent:
            if data[0] & 0xF0 == 0x90:
                begun[data[1]] = tick
            elif data[0] & 0xF0 == 0x80:
                notes.append((begun[data[1]], data[1], tick - begun.pop(data[1])))
        return sorted(notes)

    def whats(self) -> list[tuple[str, int]]:
        return [(word(n), getattr(n, "loop_index", 0)) for n in self.notices]


def word(notice: Notice) -> str:
    """What happened, in a word."""
    match notice:
        case Called():
            return "call" if notice.asked else "silence"
        case Answered():
            return notice.outcome
        case DraftPlayed():
            return "draft"
        case Halted():
            return notice.why
    return type(notice).__name__.lower()


CALL = [(0, on(60)), (400, off(60)), (960, on(64)), (1850, off(64))]
HEARD = [(0, 72, 400), (960, 76, 890)]


def at(start: int, events: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    return [(start + tick, data) for tick, data in events]


def moved(start: int, notes: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    return [(start + onset, pitch, duration) for onset, pitch, duration in notes]


def started(**settings: Any) -> Stage:
    stage = Stage(**settings)
    stage.receive(START)
    return stage
