"""What can happen to the instrument, and what it asks for in return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rtgen.instrument.job import Answer, Heard, Job
from rtgen.instrument.preset import Preset, Use
from rtgen.music.note import Loop


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes arrived at an input port."""

    port: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Turned:
    """A parameter was set."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Used:
    """The player chose when answers are heard; to release a hold is to choose another use."""

    use: Use


@dataclass(frozen=True, slots=True)
class Stored:
    """The player chose what was played last as the loop A or B of a blend."""

    which: Literal["a", "b"]


@dataclass(frozen=True, slots=True)
class Warmed:
    """The model is ready, and has taken `seconds` for an answer."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Panic:
    """The player pressed panic."""


@dataclass(frozen=True, slots=True)
class Plugged:
    """A port came back, or went.

    Args:
        direction: whether we hear it or play to it.
        port: its number among the inputs; 0 for the output.
        name: what it is called.
        there: whether it is there now.
    """

    direction: Literal["in", "out"]
    port: int
    name: str
    there: bool


@dataclass(frozen=True, slots=True)
class Chosen:
    """The player chose another preset; it takes over at the next boundary, or at once when nothing rolls."""

    preset: Preset


@dataclass(frozen=True, slots=True)
class Linked:
    """Where an Ableton Link session is.

    Args:
        at: when it was there, in seconds as those of `Session.step`.
        beat: the beat (quarter note) that it was at; multiples of `bar` are bar lines.
        bar: beats to the bar.
        tempo: BPM.
        playing: whether it plays; never, unless somebody in it has switched on start/stop sync.
        since: the beat at which it began to play, or will.
        peers: how many others are in it.
    """

    at: float
    beat: float
    bar: float
    tempo: float
    playing: bool
    since: float
    peers: int


Event = Received | Answer | Turned | Used | Stored | Warmed | Panic | Plugged | Chosen | Linked


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth telling the player.

    Args:
        what: what happened; `call` is a captured loop that went to the model, `silence` one without notes, `answer` one
            that came in time, `late` one that came late, `missed` one whose turn was over; `foreign` a clock on another
            input than the one that is followed, `doubled` one that comes twice; `overslept` that the machine slept or
            stood still; `preset` that another one took over; `stored` that a loop became A or B, or could not, as there
            is none; `unplugged` and `plugged` that a port went and came back; `linked` that others came into the Link
            session, or left it.
        loop_index: which loop of the song it is about.
        loop: the notes of it.
        seconds: how long the answer took, or the machine slept.
        lead_s: how long before its boundary the loop went to the model.
        port: number of the input it is about.
        name: of the port, or `a` or `b`.
        preset: the one that took over.
        peers: how many others are in the Link session.
    """

    what: Literal[
        "rolling", "stopped", "lost", "located", "call", "silence", "answer", "late", "missed",
        "foreign", "doubled", "overslept", "preset", "stored", "unplugged", "plugged", "linked",
    ]  # fmt: skip
    loop_index: int = 0
    loop: Loop | None = None
    seconds: float = 0.0
    lead_s: float = 0.0
    port: int = 0
    name: str = ""
    preset: Preset | None = None
    peers: int = 0


@dataclass(slots=True)
class Output:
    """What a step asks for: messages to send now, in this order; jobs to compute; when to be stepped again.

    `heard` is what the model may hear before it is asked for anything.
    """

    messages: list[bytes] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    heard: Heard | None = None
    notices: list[Notice] = field(default_factory=list)
    wake_at: float | None = None
