"""Events that a session is stepped with, and the output of a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Self

from rtgen.instrument.job import Answer, HalfBeat, Heard, Job, Plan
from rtgen.instrument.notices import Notice, Request
from rtgen.instrument.preset import Preset, Use
from rtgen.music.note import Loop


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes arrived at an input."""

    port: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Turned:
    """A parameter was set."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Paced:
    """The player set the tempo, in BPM; only the internal clock follows."""

    tempo: float


@dataclass(frozen=True, slots=True)
class Used:
    """The player chose when answers are heard: answer, follow or hold; what plays along has no other use."""

    use: Use


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button was pressed.

    Args:
        button: one of `parameters.BUTTONS`.
        down: whether it is down now; None toggles a button that stays on.
    """

    button: str
    down: bool | None = True


@dataclass(frozen=True, slots=True)
class Learn:
    """MIDI learn: assign the next control that moves.

    Args:
        to: the parameter or button to assign it to; None cancels.
        over: assign the control that moved last, even though it already does something else.
        forget: forget what was learned for the parameter or button instead.
    """

    to: str | None
    over: bool = False
    forget: bool = False


@dataclass(frozen=True, slots=True)
class Warmed:
    """The model is ready.

    Args:
        seconds: response time right after another job.
        cold_s: response time of the first job.
        pitched: whether it plays notes, and not drums; None if that is not known.
        hears: whether it hears what is played, note by note, in every mode.
    """

    seconds: float
    cold_s: float = 0.0
    pitched: bool | None = None
    hears: bool = False


@dataclass(frozen=True, slots=True)
class Plugged:
    """A port came back, or went.

    Args:
        direction: input or output.
        port: its number among the inputs; 0 for the output.
        name: its name.
        there: whether it is there.
    """

    direction: Literal["in", "out"]
    port: int
    name: str
    there: bool


@dataclass(frozen=True, slots=True)
class Chosen:
    """Another preset was chosen; it takes over at the next boundary, or at once unless the transport rolls.

    Args:
        preset: None takes back the choice, if the preset has not taken over yet.
    """

    preset: Preset | None


@dataclass(frozen=True, slots=True)
class Linked:
    """The timeline of an Ableton Link session.

    Args:
        at: a time, in seconds of the clock of `Session.step`.
        beat: the beat (quarter note) at that time; multiples of `bar` are bar lines.
        bar: beats per bar.
        tempo: BPM.
        playing: whether it plays; always false unless a peer uses start/stop sync.
        since: the beat at which it started to play, or will.
        peers: number of other peers.
    """

    at: float
    beat: float
    bar: float
    tempo: float
    playing: bool
    since: float
    peers: int


@dataclass(frozen=True, slots=True)
class Given:
    """A loop that is to be answered next in place of what is played, such as a clip of a sequencer.

    Args:
        loop: it waits for a preset with loops of its length.
    """

    loop: Loop


@dataclass(frozen=True, slots=True)
class Left:
    """What an rtgen of the same name left behind when it crashed.

    Args:
        sounding: the notes that it did not end, as (channel 0-15, pitch).
        channels: the channels that it sent notes on.
        at: a time at which its song rolled, in seconds of the clock of `Session.step`; None if it did not.
        tick: position of its song at that time.
        moved: the bends, pressures and controllers that it is known to have moved, as the first two bytes of a message.
    """

    sounding: tuple[tuple[int, int], ...]
    channels: tuple[int, ...]
    at: float | None = None
    tick: int = 0
    moved: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The session ended; the last event of every session that was not killed."""


Event = (
    Received
    | Answer
    | Plan
    | Turned
    | Paced
    | Used
    | Pressed
    | Learn
    | Warmed
    | Plugged
    | Chosen
    | Linked
    | Given
    | Left
)


class Planned(bytes):
    """A message that leaves at a time of its own, which may lie ahead.

    Args:
        data: the message.
        at: when it is due, in seconds.
        part: the part of a band that plays it; empty for all else.
    """

    at: float
    part: str

    def __new__(cls, data: bytes, at: float, part: str = "") -> Self:
        """Return the message with its time."""
        planned = super().__new__(cls, data)
        planned.at, planned.part = at, part
        return planned


@dataclass(slots=True)
class Output:
    """What a step asks for: messages to send; jobs to compute; when to be stepped again.

    Args:
        takes_back: whether notes that are planned shall not begin, nor planned clocks leave. This comes first.
        messages: to send, in this order; at once, except those that are `Planned`.
        jobs: for the model.
        draft: a job that may be lost: nothing but its own answer depends on it.
        heard: what the model may be shown before it is asked for anything.
        halves: what was played, for a model that plays along, in order.
        echoes: messages for controllers, each with the number of the input that the controller plays.
        notices: what to tell the player.
        requests: what the program around the session should do.
        wake_at: when to step again if nothing happens before, in seconds; None for never.
    """

    takes_back: bool = False
    messages: list[bytes] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    draft: Job | None = None
    heard: Heard | None = None
    halves: list[HalfBeat] = field(default_factory=list)
    echoes: list[tuple[int, bytes]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    wake_at: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a session.

    Args:
        now: seconds of a steady clock.
        event: None if only time passed.
        sent: the messages sent.
        takes_back: as in `Output`; it follows from the rest, so a log need not say it.
    """

    now: float
    event: Event | Ended | None
    sent: tuple[bytes, ...]
    takes_back: bool = field(default=False, compare=False)
