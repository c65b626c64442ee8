"""Events that a session is stepped with, and the output of a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rtgen.instrument.job import Answer, Heard, Job
from rtgen.instrument.notices import Notice, Request
from rtgen.instrument.preset import Preset, Use


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


@dataclass(slots=True)
class Output:
    """What a step asks for: messages to send now, in this order; jobs to compute; when to be stepped again.

    Args:
        messages: to send, in order.
        jobs: for the model.
        draft: a job that may be lost: nothing but its own answer depends on it.
        heard: what the model may be shown before it is asked for anything.
        echoes: messages for controllers, each with the number of the input that the controller plays.
        notices: what to tell the player.
        requests: what the program around the session should do.
        wake_at: when to step again if nothing happens before, in seconds; None for never.
    """

    messages: list[bytes] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    draft: Job | None = None
    heard: Heard | None = None
    echoes: list[tuple[int, bytes]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    wake_at: float | None = None
