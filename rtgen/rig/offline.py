"""Runs a session offline, in simulated time, and renders files with it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from itertools import count
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from rtgen.errors import UserError
from rtgen.instrument.binding import Layout
from rtgen.instrument.events import Event, Received
from rtgen.instrument.job import Answer, Job
from rtgen.instrument.notices import Notice
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music import files, midi
from rtgen.music.drums import CHANNEL
from rtgen.music.note import Loop
from rtgen.music.time import TICKS_PER_CLOCK, seconds_per_tick

if TYPE_CHECKING:
    from rtgen.inference.model import Model

ANSWER_S = 0.005
"""Time that an answer takes, in simulated time."""
Answerer = Callable[[Job], Loop]


def open_model(preset: Preset, path: Path, device: str) -> Model:
    """Loads the model of a preset.

    Raises:
        UserError: the model cannot be run, or does not play the preset's mode.
    """
    from rtgen.inference.card import modes_of
    from rtgen.inference.model import DEVICES, Model

    model = Model(path, next(d for d in DEVICES if d == device))
    mismatch = preset.mismatch(model.card.name, model.card.role, modes_of(model.card))
    if mismatch is not None:
        raise UserError(mismatch)
    return model


def only_drums(score: files.Score) -> bool:
    """Whether all notes of a score are on channel 10, which General MIDI has for drums."""
    return all(e.data[0] & 0x0F == CHANNEL for track in score.tracks for e in track.events if midi.is_note_on(e.data))


def simulate(
    session: Session, timed: Iterable[tuple[float, bytes]], answerer: Answerer, end: float
) -> tuple[list[tuple[float, bytes]], list[Notice]]:
    """Runs a session on timed input until `end`, as fast as possible.

    Args:
        session: a new session.
        timed: (time in seconds, MIDI message) in order of time.
        answerer: answers a job; the answer arrives `ANSWER_S` later.
        end: time in seconds.

    Returns:
        The messages sent with their times in seconds, including the note-offs at the end; and the notices.
    """
    order = count()
    coming: list[tuple[float, int, Event]] = [(time, next(order), Received(0, data)) for time, data in timed]
    heapq.heapify(coming)
    sent: list[tuple[float, bytes]] = []
    notices: list[Notice] = []
    wake_at: float | None = 0.0
    while True:
        at_wake = wake_at if wake_at is not None else float("inf")
        now, event = at_wake, None
        if coming and coming[0][0] <= at_wake:
            now, _, event = heapq.heappop(coming)
        if now > end:
            break
        out = session.step(now, event)
        sent += [(now, data) for data in out.messages]
        notices += out.notices
        for job in out.jobs:
            answer = Answer(answerer(job), job.target, job.epoch)
            heapq.heappush(coming, (now + ANSWER_S, next(order), answer))
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
    loops = ceil(max(last_tick, 1) / preset.length)
    return (loops + (loops % 2 if preset.use == "answer" else 1)) * preset.length


def render(
    score: files.Score,
    preset: Preset,
    answerer: Answerer,
    seed: int,
    controls: Layout = "knobs",
    pitched: bool | None = None,
) -> tuple[files.Score, list[Notice]]:
    """Plays a score to a session and returns it with the answers added as a track.

    Time is musical: the score's tempo map is kept, and does not affect the notes. The result is deterministic for a
    score, preset and seed.

    Args:
        score: the performance.
        preset: the musical settings.
        answerer: answers a job.
        seed: of all randomness.
        controls: what the control changes in the score do.
        pitched: whether the model plays notes; drums on channel 10 are left out then. None leaves out nothing.
    """
    tempo = preset.tempo
    end = song_end(score.end, preset)
    session = Session(preset, Options(seed=seed, controls=controls, pitched=pitched))
    # One clock beyond the end, so that everything due at the last clock is still sent.
    sent, notices = simulate(
        session, with_clock(score.merged(), end, tempo), answerer, (end + TICKS_PER_CLOCK) * seconds_per_tick(tempo)
    )
    ticks = 1 / seconds_per_tick(tempo)
    answers = tuple(files.Event(round(time * ticks), data) for time, data in sent)
    track = files.Track("rtgen", answers)
    return files.Score((*score.tracks, track), score.tempos, score.metres, score.markers), notices
