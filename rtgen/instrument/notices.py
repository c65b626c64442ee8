"""What a session tells the player (notices), and what it asks the program around it to do (requests)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rtgen.instrument.binding import Binding
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop


@dataclass(frozen=True, slots=True)
class Rolling:
    """The transport started, in this loop of the song."""

    loop_index: int
    bars: int


@dataclass(frozen=True, slots=True)
class Halted:
    """The song's time broke: it was stopped, its clock was lost, or it was moved elsewhere."""

    why: Literal["stopped", "lost", "located"]


@dataclass(frozen=True, slots=True)
class Called:
    """A loop was captured.

    Args:
        loop_index: which loop of the song it is, counted from 0.
        bars: its length.
        loop: its notes.
        asked: whether it went to the model; a silent loop usually does not.
    """

    loop_index: int
    bars: int
    loop: Loop
    asked: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """The model answered.

    Args:
        loop_index: the loop of the song in which the answer plays.
        bars: its length.
        loop: its notes.
        outcome: `answer` if it came in time, `late` if it starts at a later bar, `missed` if its turn is over.
        seconds: how long it took.
        lead_s: how long before the boundary the model was asked.
    """

    loop_index: int
    bars: int
    loop: Loop
    outcome: Literal["answer", "late", "missed"]
    seconds: float
    lead_s: float


@dataclass(frozen=True, slots=True)
class DraftPlayed:
    """The answer is late, and its draft plays instead."""

    loop_index: int
    bars: int
    loop: Loop


@dataclass(frozen=True, slots=True)
class PlanLate:
    """What was to be played along came too late for its beginning."""


@dataclass(frozen=True, slots=True)
class CannotUse:
    """The preset's mode cannot be used so: only what plays along is used along."""

    use: str


@dataclass(frozen=True, slots=True)
class ForeignClock:
    """A second input sends a clock; it is ignored."""

    port: int


@dataclass(frozen=True, slots=True)
class DoubledClock:
    """Two clocks arrive at an input, or one clock twice."""

    port: int


@dataclass(frozen=True, slots=True)
class NoStart:
    """A clock comes, but no Start, as when rtgen is started while the sequencer plays.

    Args:
        tempo: BPM.
        rolls: whether it rolls at the next bar all the same.
    """

    tempo: float
    rolls: bool


@dataclass(frozen=True, slots=True)
class NoClock:
    """The player wants to roll, but no clock comes."""


@dataclass(frozen=True, slots=True)
class LoopClosed:
    """The player's first loop was closed, or its tempo corrected.

    Args:
        tempo: BPM that was found in it; 0 if none was.
        bars: its length.
        confidence: probability that this is right, 0-1.
    """

    tempo: float
    bars: int
    confidence: float


@dataclass(frozen=True, slots=True)
class NothingToClose:
    """The player wants to close the first loop, but has played none; or to correct a tempo that was not found."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The last rtgen of this name crashed.

    Args:
        notes: how many notes it left sounding, as far as its log knows; all have been ended.
        rolls: whether its song rolled, so that this one rolls on as soon as a clock comes.
    """

    notes: int
    rolls: bool


@dataclass(frozen=True, slots=True)
class Overslept:
    """The machine slept, or the process stood still."""

    seconds: float


@dataclass(frozen=True, slots=True)
class PresetChanged:
    """Another preset took over."""

    preset: Preset


@dataclass(frozen=True, slots=True)
class Stored:
    """The last call became A or B; None: nothing has been played yet."""

    which: Literal["a", "b"]
    loop: Loop | None


@dataclass(frozen=True, slots=True)
class ControlTaken:
    """MIDI learn: the control that was moved already does something else.

    Args:
        port: the input it is connected to.
        to: the parameter or button being learned.
        other: what the control does now.
    """

    port: int
    to: str
    other: str


@dataclass(frozen=True, slots=True)
class NothingLearned:
    """MIDI learn: nothing to forget, as no control was learned for this parameter or button."""

    to: str


@dataclass(frozen=True, slots=True)
class PortChanged:
    """A port went away or came back."""

    port: int
    name: str
    there: bool


@dataclass(frozen=True, slots=True)
class DrumsLeftOut:
    """Notes on channel 10 are drums, which the model does not play; said once."""


@dataclass(frozen=True, slots=True)
class PeersChanged:
    """The number of other peers in the Link session changed."""

    peers: int


@dataclass(frozen=True, slots=True)
class Recalled:
    """The player went back to an earlier answer, or forward again.

    Args:
        number: which of the answers to its call it is, from 1; 0 if there is no answer yet.
        count: how many there are.
        notes: how many notes it has.
        moved: whether there was one to go to.
    """

    number: int
    count: int
    notes: int
    moved: bool


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """The last call is answered again next, in place of what is played."""

    notes: int


@dataclass(frozen=True, slots=True)
class Layered:
    """The player overdubs, ends that, or took a layer away.

    Args:
        on: whether the player overdubs now.
        layers: how many layers there are, with the present answer if it is one.
        undone: what was taken away: the newest layer, what was played into this loop so far, or nothing, as there was
            nothing; None if that was not asked for.
    """

    on: bool
    layers: int
    undone: Literal["layer", "pass", "nothing"] | None = None


Notice = (
    Rolling
    | Halted
    | Called
    | Answered
    | DraftPlayed
    | PlanLate
    | CannotUse
    | ForeignClock
    | DoubledClock
    | NoStart
    | NoClock
    | LoopClosed
    | NothingToClose
    | TakenOver
    | Overslept
    | PresetChanged
    | Stored
    | ControlTaken
    | NothingLearned
    | PortChanged
    | DrumsLeftOut
    | PeersChanged
    | Recalled
    | AskedAgain
    | Layered
)


@dataclass(frozen=True, slots=True)
class SelectPreset:
    """Load a preset: `next`, `previous`, or a program number from 1."""

    which: str


@dataclass(frozen=True, slots=True)
class KeepAnswer:
    """Write the current answer as a clip; None: there is none yet.

    Args:
        loop: the answer.
        preset: that made it.
        tempo: BPM.
        number: which it is of the answers that are kept together, from 1.
        count: how many they are.
    """

    loop: Loop | None
    preset: Preset
    tempo: float
    number: int = 1
    count: int = 1


@dataclass(frozen=True, slots=True)
class SaveBindings:
    """Remember what was just learned, or forgotten.

    Args:
        port: the input the controller is connected to.
        to: the parameter or button that was learned; it was forgotten if no binding is to it.
        bindings: everything this controller is bound to now.
    """

    port: int
    to: str
    bindings: tuple[Binding, ...]

    @property
    def forgotten(self) -> bool:
        """Whether it was forgotten."""
        return all(binding.to != self.to for binding in self.bindings)


@dataclass(frozen=True, slots=True)
class UseClip:
    """Read the clip that is selected in Live, and answer it, or write variations of it beneath it."""

    how: Literal["answer", "vary"]


Request = SelectPreset | KeepAnswer | SaveBindings | UseClip
