"""Runs a session offline, in simulated time, and renders files with it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from math import ceil
from pathlib import Path

from rtgen.errors import UserError
from rtgen.instrument.binding import Layout
from rtgen.instrument.events import Chosen, Event, Received
from rtgen.instrument.job import Answer, HalfBeat, Job, Plan
from rtgen.instrument.notices import Answered, Called, DraftPlayed, Notice, Rolling
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music import files, midi
from rtgen.music.drums import CHANNEL
from rtgen.music.note import Loop
from rtgen.music.parts import PARTS, PROGRAMS, Part
from rtgen.music.time import HALF, TICKS_PER_CLOCK, seconds_per_tick, stretches
from rtgen.rig.worker.alone import Alone

ANSWER_S = 0.005
"""Time that an answer takes, in simulated time."""
MELODY = "melody"
"""A track of this name is all that a band hears, where there is one."""
Answerer = Callable[[Job], Loop]
Planner = Callable[[HalfBeat], Plan]


def _plans_nothing(half: HalfBeat) -> Plan:
    return Plan(half.epoch, half.number, half.number + 1, 0, ())


@contextmanager
def opened(preset: Preset, path: Path, device: str) -> Iterator[Alone]:
    """Loads the model of a preset in a process of its own, for the time of a context.

    Raises:
        UserError: the model cannot be run, or does not play the preset's mode.
    """
    with Alone(path, device) as model:
        mismatch = preset.mismatch(model.ready.model, model.ready.role, model.ready.modes)
        if mismatch is not None:
            raise UserError(mismatch)
        yield model


def only_drums(score: files.Score) -> bool:
    """Whether all notes of a score are on channel 10, which General MIDI has for drums."""
    return all(e.data[0] & 0x0F == CHANNEL for track in score.tracks for e in track.events if midi.is_note_on(e.data))


def heard(score: files.Score, preset: Preset) -> files.Score:
    """Return what of a score is played to a preset: to a band the melody alone, if a track is called so."""
    named = tuple(track for track in score.tracks if track.name.strip().lower() == MELODY)
    return replace(score, tracks=named) if preset.along and not only_drums(replace(score, tracks=named)) else score


def simulate(
    session: Session,
    timed: Iterable[tuple[float, bytes | Event]],
    answerer: Answerer,
    end: float,
    planner: Planner = _plans_nothing,
) -> tuple[list[tuple[float, bytes]], list[Notice]]:
    """Runs a session on timed input until `end`, as fast as possible.

    Args:
        session: a new session.
        timed: (time in seconds, MIDI message or event) in order of time; they are taken one by one.
        answerer: answers a job; the answer arrives `ANSWER_S` later.
        end: time in seconds.
        planner: plans what is played along; the plan arrives `ANSWER_S` later.

    Returns:
        The messages sent with their times in seconds, including the note-offs at the end; and the notices.
    """
    order = count()
    input_ = iter(timed)
    coming = next(input_, None)
    answers: list[tuple[float, int, Event]] = []
    sent: list[tuple[float, bytes]] = []
    notices: list[Notice] = []
    wake_at: float | None = 0.0
    while True:
        at_wake = wake_at if wake_at is not None else float("inf")
        now, event = at_wake, None
        if coming is not None and coming[0] <= min(at_wake, answers[0][0] if answers else at_wake):
            now, told = coming
            event = Received(0, told) if isinstance(told, bytes) else told
            coming = next(input_, None)
        elif answers and answers[0][0] <= at_wake:
            now, _, event = heapq.heappop(answers)
        if now > end:
            break
        out = session.step(now, event)
        sent += [(now, data) for data in out.messages]
        notices += out.notices
        for job in out.jobs:
            answer = Answer(answerer(job), job.target, job.epoch)
            heapq.heappush(answers, (now + ANSWER_S, next(order), answer))
        for half in out.halves:
            heapq.heappush(answers, (now + ANSWER_S, next(order), planner(half)))
        wake_at = out.wake_at
    sent += [(end, data) for data in session.end()]
    return sent, notices


def with_clock(events: Iterable[files.Event], end: int, tempo: float) -> list[tuple[float, bytes]]:
    """Adds a sequencer's MIDI clock to events: Start, 24 clocks a beat until `end` (ticks), Stop.

    Returns:
        Times in seconds and messages, in order; at equal times the clock comes first.
    """
    clocks = [files.Event(tick, bytes((midi.CLOCK,))) for tick in range(0, end, TICKS_PER_CLOCK)]
    # The sort is stable, so a clock comes before the notes at its tick.
    merged = sorted([*clocks, *events], key=lambda e: e.tick)
    second = seconds_per_tick(tempo)
    return [
        (0.0, bytes((midi.START,))),
        *((e.tick * second, e.data) for e in merged if e.tick < end),
        (end * second, bytes((midi.STOP,))),
    ]


def song_end(last_tick: int, preset: Preset) -> int:
    """Returns the tick at which a performance of `last_tick` ticks has been captured and answered."""
    return (ceil(max(last_tick, 1) / preset.length) + 1) * preset.length


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a score in one metre, in which loops are captured and answered.

    Args:
        start: tick at which it starts.
        loops: how many there are; in the last one nothing is answered any more.
        preset: the settings, with the section's metre.
    """

    start: int
    loops: int
    preset: Preset

    @property
    def end(self) -> int:
        """Tick at which it ends."""
        return self.start + self.loops * self.preset.length


def sections(score: files.Score, preset: Preset) -> tuple[list[Section], int]:
    """Finds the stretches of a score in which something can be answered.

    Loops lie side by side from where a metre begins to where another does, as if the song were started there. What is
    too short for a loop and its answer is left out, as is a pick-up bar. In the last one there is room for the answer.

    Returns:
        The sections, at least one, and how many stretches were left out.

    Raises:
        UserError: the preset cannot be played in a metre of the score.
    """
    found = []
    every = stretches(score.metres, max(score.end, 1))
    for start, length, metre in every:
        try:
            chosen = preset.changed(metre=metre)
        except ValueError as error:
            raise UserError(f"Preset {preset.name}: {error}; choose another preset or file") from None
        whole = length // chosen.length
        if (start, length, metre) == every[-1]:
            whole = song_end(score.end - start, chosen) // chosen.length
        if whole > 1:
            found.append(Section(start, whole, chosen))
    return found, len(every) - len(found)


def _performed(events: Sequence[files.Event], played: Sequence[Section], tempo: float) -> Iterator[tuple[float, Event]]:
    """Yields what a sequencer sends that plays one section after the other, with times in seconds.

    Each begins with Start, and has 24 clocks a beat and Stop at its end.
    """
    second = seconds_per_tick(tempo)
    # At equal ticks a clock comes before the notes.
    queues: list[Iterable[tuple[int, int, Event]]] = [
        ((e.tick, 1, Received(0, e.data)) for e in events if e.tick < played[-1].end)
    ]
    queues += [_transport(section, other) for section, other in zip(played, [played[0], *played], strict=False)]
    for tick, _, event in heapq.merge(*queues, key=lambda each: each[:2]):
        yield tick * second, event


def _transport(section: Section, before: Section) -> Iterator[tuple[int, int, Event]]:
    if section.preset != before.preset:
        yield section.start, 0, Chosen(section.preset)
    yield section.start, 0, Received(0, bytes((midi.START,)))
    clock = Received(0, bytes((midi.CLOCK,)))
    for tick in range(section.start, section.end, TICKS_PER_CLOCK):
        yield tick, 0, clock
    yield section.end, -1, Received(0, bytes((midi.STOP,)))


def render(
    score: files.Score,
    preset: Preset,
    answerer: Answerer,
    seed: int,
    controls: Layout = "knobs",
    pitched: bool | None = None,
    hears: bool = False,
    planner: Planner = _plans_nothing,
) -> tuple[files.Score, list[Notice]]:
    """Plays a score to a session and returns it with the answers added as a track.

    What is played along has a track for each part, and its chords are markers.

    Time is musical: the score's tempo map is kept, and does not affect the notes. Its metres are those of the loops
    (`sections`). The result is deterministic for a score, preset and seed.

    Args:
        score: the performance.
        preset: the musical settings.
        answerer: answers a job.
        seed: of all randomness.
        controls: what the control changes in the score do.
        pitched: whether the model plays notes; drums on channel 10 are left out then. None leaves out nothing.
        hears: whether the model hears what was played before in every mode.
        planner: plans what is played along.
    """
    tempo, (played, _) = preset.tempo, sections(score, preset)
    session = Session(played[0].preset, Options(seed=seed, controls=controls, pitched=pitched, hears=hears))
    chords = _Chords(planner, played)
    # One clock beyond the end, so that everything due at the last clock is still sent.
    end = (played[-1].end + TICKS_PER_CLOCK) * seconds_per_tick(tempo)
    sent, notices = simulate(session, _performed(score.merged(), played, tempo), answerer, end, chords.plan)
    ticks = 1 / seconds_per_tick(tempo)
    answers = tuple(files.Event(round(time * ticks), data) for time, data in sent)
    tracks = by_part(answers, preset) if preset.along else (files.Track("rtgen", answers),)
    return replace(score, tracks=(*score.tracks, *tracks), markers=(*score.markers, *chords.begun())), notices


class _Chords:
    """What is planned along in a score, and the chords that are committed.

    Args:
        planner: plans.
        played: the sections of the score, one after the other.
    """

    def __init__(self, planner: Planner, played: Sequence[Section]) -> None:
        self._planner, self._coming = planner, iter(played)
        self._section = next(self._coming)
        self._number = 0
        self._said: dict[int, str] = {}

    def plan(self, half: HalfBeat) -> Plan:
        """Plan, and note the chords."""
        if half.number < self._number:
            self._section = next(self._coming, self._section)
            self._said[self._section.start] = ""
        self._number = half.number
        plan = self._planner(half)
        for number, piece in enumerate(plan.pieces[: plan.certain], plan.since):
            tick = self._section.start + number * HALF
            if tick < self._section.end:
                self._said[tick] = piece.chord
        return plan

    def begun(self) -> list[tuple[int, str]]:
        """Return the name of each chord with the tick at which it begins; "-" where there is none any more."""
        found: list[tuple[int, str]] = []
        for tick, name in sorted(self._said.items()):
            if (name or "-") != (found[-1][1] if found else "-"):
                found.append((tick, name or "-"))
        return found


def by_part(events: Sequence[files.Event], preset: Preset) -> tuple[files.Track, ...]:
    """Returns a track for each channel on which anything was played along, named after its parts, with its sound."""
    names: dict[int, list[Part]] = {}
    for part in PARTS:
        names.setdefault(round(preset.knobs[f"{part}_channel"]) - 1, []).append(part)
    found = []
    for channel, parts in names.items():
        own = tuple(event for event in events if event.data[0] & 0x0F == channel)
        if any(midi.is_note_on(event.data) for event in own):
            sounds = [bytes((0xC0 | channel, PROGRAMS[part])) for part in parts if part in PROGRAMS]
            begins = [files.Event(0, sound) for sound in sounds[:1] if channel != CHANNEL]
            found.append(files.Track(" and ".join(parts), (*begins, *own)))
    return tuple(found)


def answered(notices: Iterable[Notice], played: Sequence[Section]) -> int:
    """Returns how many loops were answered, not counting those whose answer would have been beyond their section."""
    found, number = 0, -1
    for notice in notices:
        if isinstance(notice, Rolling):
            number += 1
        elif isinstance(notice, Called):
            loops = played[min(number, len(played) - 1)].loops
            found += notice.asked and notice.loop_index < loops - 1
    return found


def pairs_of(notices: Iterable[Notice]) -> list[tuple[Loop, Loop]]:
    """Returns every call with its answer; an empty loop if there was none."""
    calls: list[tuple[int, int, Loop]] = []
    answers: dict[tuple[int, int], Loop] = {}
    # Loops are counted anew from each Start on.
    start = 0
    for notice in notices:
        match notice:
            case Rolling():
                start += 1
            case Called():
                calls.append((start, notice.loop_index, notice.loop))
            case DraftPlayed():
                answers[start, notice.loop_index] = notice.loop
            case Answered() if notice.outcome != "missed":  # a late answer replaces its draft
                answers[start, notice.loop_index] = notice.loop
    return [(call, answers.get((start, index + 1)) or call.with_notes(())) for start, index, call in calls]
