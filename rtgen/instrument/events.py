"""What can happen to the instrument, and what it asks for in return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rtgen.instrument.binding import Binding
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
    """The player chose when answers are heard."""

    use: Use


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button was pressed.

    Args:
        button: one of `parameters.BUTTONS`.
        down: whether it is down now; of one that stays None turns it on or off, whichever it is not.
    """

    button: str
    down: bool | None = True


@dataclass(frozen=True, slots=True)
class Learn:
    """The player wants to move a knob, or press a button or key, that shall be for something from now on.

    Args:
        to: a parameter or a button; None: nothing any more.
        over: what was moved last is for this, though it was for something else.
    """

    to: str | None
    over: bool = False


@dataclass(frozen=True, slots=True)
class Warmed:
    """The model is ready.

    Args:
        seconds: what it took for an answer, right after another.
        cold_s: what it took for the first.
    """

    seconds: float
    cold_s: float = 0.0


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


@dataclass(frozen=True, slots=True)
class Ended:
    """The session ended; it is the last that happens in one that was not killed."""


Event = Received | Answer | Turned | Used | Pressed | Learn | Warmed | Plugged | Chosen | Linked


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth telling the player.

    Args:
        what: what happened; `call` is a captured loop that went to the model, `silence` one without notes, `answer` one
            that came in time, `draft` that it did not and its draft plays, `late` one that came late, `missed` one
            whose turn was over; `foreign` a clock on another input than the one that is followed, `doubled` one that
            comes twice; `overslept` that the machine slept or stood still; `preset` that another one took over;
            `stored` that a loop became A or B, or could not, as there is none; `kept` that the present answer shall be
            written as a clip, or cannot, as there is none; `wanted` that another preset is; `learned` that a knob or
            button is for something now, `taken` that it was for something else, and is not yet; `unplugged` and
            `plugged` that a port went and came back; `linked` that others came into the Link session, or left it.
        loop_index: which loop of the song it is about.
        loop: the notes of it.
        seconds: how long the answer took, or the machine slept.
        lead_s: how long before its boundary the loop went to the model.
        port: number of the input it is about.
        name: of the port, or `a` or `b`, or what was learned; of the preset that is wanted `next`, `previous`, or its
            number in the list, from 1.
        other: what a knob or button was for.
        preset: the one that took over, or that a kept answer is of.
        tempo: BPM, of an answer that is kept.
        bindings: all that the controller at the input turns and presses, when something was learned from it.
        peers: how many others are in the Link session.
    """

    what: Literal[
        "rolling", "stopped", "lost", "located", "call", "silence", "answer", "draft", "late", "missed",
        "foreign", "doubled", "overslept", "preset", "stored", "kept", "wanted",
        "learned", "taken", "unplugged", "plugged", "linked",
    ]  # fmt: skip
    loop_index: int = 0
    loop: Loop | None = None
    seconds: float = 0.0
    lead_s: float = 0.0
    port: int = 0
    name: str = ""
    other: str = ""
    preset: Preset | None = None
    tempo: float = 0.0
    bindings: tuple[Binding, ...] = ()
    peers: int = 0


@dataclass(slots=True)
class Output:
    """What a step asks for: messages to send now, in this order; jobs to compute; when to be stepped again.

    `draft` is a job that may be lost, as nothing but its own answer depends on it; `heard` is what the model may hear
    before it is asked for anything; `echoes` are messages for controllers, each with the number of the input that it
    plays.
    """

    messages: list[bytes] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    draft: Job | None = None
    heard: Heard | None = None
    echoes: list[tuple[int, bytes]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    wake_at: float | None = None
