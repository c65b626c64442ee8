"""Jobs for the model, and its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from rtgen.music.note import Loop, Note
from rtgen.music.parts import Part as Voice
from rtgen.music.parts import Struck
from rtgen.music.time import Metre

Mode = Literal["clean", "vary", "continue", "blend", "generate", "accompany"]
"""What the model does with a loop; its role decides which modes it has."""
MODES: tuple[Mode, ...] = get_args(Mode)
ANSWERS: tuple[Mode, ...] = MODES[:-1]
"""Those that answer loops; `accompany` plays along."""
Part = Literal["whole", "first", "next", "last"]
"""Which part of an answer comes."""
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True)
class Job:
    """A loop to be answered.

    Args:
        loop: the call.
        mode: what to do with it.
        seed: seed of all random choices in the answer.
        target: tick at which the answer begins.
        epoch: counts the discontinuities in the song's time; an answer from another epoch is void.
        knobs: values of `parameters.PARAMETERS` by name.
        past: earlier calls, the oldest first; for `continue`.
        ends: the loops A and B; for `blend`.
        draft: whether the loop is still being played, and will be sent again when complete. A draft warms up the model,
            and stands in if the final answer is late; the final answer does not depend on it.
        model: the model that is to answer it, as the preset names it.
        since: how many ticks of the answer lie before `target`, if it is made anew while it plays.
    """

    loop: Loop
    mode: Mode
    seed: int
    target: int
    epoch: int
    knobs: Mapping[str, float] = field(default_factory=dict)
    past: tuple[Loop, ...] = ()
    ends: tuple[Loop, Loop] | None = None
    draft: bool = False
    model: str = ""
    since: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What has been played of a loop so far, for a model that can process it ahead of the job.

    Whether it is processed or lost changes no answer, only how long one takes.

    Args:
        past: earlier calls, as in the `Job` to come.
        loop: the notes that have ended, up to the first that still sounds.
        knobs: as in the `Job` to come.
    """

    past: tuple[Loop, ...]
    loop: Loop
    knobs: Mapping[str, float] = field(default_factory=dict)


Place = tuple[float, ...]
"""A loop's latent code: for each dimension that the model's `Ready` names, a share of its range, 0-1."""


@dataclass(frozen=True, slots=True)
class Placed:
    """The latent codes of a job's loop and its answer, and for a blend those of A and B.

    Args:
        loop: of the call.
        answer: of the answer.
        ends: of A and B.
    """

    loop: Place
    answer: Place
    ends: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a job, or a part of it.

    Args:
        loop: the notes that were not in an earlier part.
        target: of the job.
        epoch: of the job.
        draft: of the job.
        part: the parts of an answer come in order, `first` and `last` once each.
    """

    loop: Loop
    target: int
    epoch: int
    draft: bool = False
    part: Part = "whole"


@dataclass(frozen=True, slots=True)
class HalfBeat:
    """A half beat as it was played, for a model that plays along.

    They come one by one, as the song rolls. Of one that is lost the model knows that it did not hear it.

    Args:
        number: which half beat of the song it is, from its tick; below 0 before the first bar.
        epoch: as in a `Job`.
        notes: all that sound in it, with onsets in ticks from its beginning; of those that are held, the end lies at
            its end or later. None: it goes on, and only the chord of the left hand is new.
        metre: of the song.
        left: pitches that the left hand holds as a chord; empty if it holds none.
        since: the half beat from which on that chord is taken.
        before: the half beats before it, the oldest first, if the model may not know them.
        seed: of all chance.
        knobs: as in a `Job`.
        model: likewise.
    """

    number: int
    epoch: int
    notes: tuple[Note, ...] | None
    metre: Metre = Metre()  # noqa: RUF009 (frozen)
    left: tuple[int, ...] = ()
    since: int = 0
    before: tuple[tuple[Note, ...], ...] = ()
    seed: int = 0
    knobs: Mapping[str, float] = field(default_factory=dict)
    model: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is to be played in a half beat.

    Args:
        chord: its name; empty for none.
        notes: those that begin in it, with their parts, and onsets in ticks from its beginning.
        ends: the parts whose earlier notes end where it begins, if they would last longer.
    """

    chord: str = ""
    notes: tuple[Struck, ...] = ()
    ends: tuple[Voice, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be played along in the half beats to come.

    Args:
        epoch: as in the `HalfBeat` that it follows.
        heard: number of that half beat.
        since: number of the half beat of its first piece. Of earlier plans nothing from there on is played.
        certain: how many of the pieces are committed: the first ones. The others may change.
        pieces: one for each half beat.
    """

    epoch: int
    heard: int
    since: int
    certain: int
    pieces: tuple[Piece, ...]
