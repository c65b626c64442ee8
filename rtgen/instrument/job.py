"""What the instrument asks of the model, and what it gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from rtgen.music.note import Loop

Mode = Literal["clean", "vary", "continue", "blend", "generate"]
"""What the model does with a loop; which of these it can depends on its role."""
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class Job:
    """A loop to be answered.

    Args:
        loop: what was played.
        mode: what is wanted of it.
        knobs: the parameters of `parameters.PARAMETERS` by name.
        seed: of everything random in the answer.
        target: tick at which the answer begins.
        epoch: counts the breaks in the song's time; an answer from another epoch is void.
        past: what was played before, the oldest first; for `continue`.
        ends: the loops A and B; for `blend`.
        draft: whether more of the loop may be played yet, and its answer asked for again. It wakes the model, and is
            there if the answer itself is late; that one does not depend on it.
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


@dataclass(frozen=True, slots=True)
class Heard:
    """What has been played of a loop so far, for a model that hears the player while there is time for it.

    Whether it is heard or lost changes no answer, only how long one takes.

    Args:
        past: what was played before the loop, as a `Job` will have it.
        loop: the notes that have ended, up to the first that has not.
        knobs: as a `Job` will have them.
    """

    past: tuple[Loop, ...]
    loop: Loop
    knobs: Mapping[str, float] = field(default_factory=dict)


Place = tuple[float, ...]
"""Where a loop lies: a share, 0-1, of the range of each of the dimensions that the model's `Ready` names."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the loop of a job and its answer lie, and for a blend its ends A and B.

    Args:
        loop: what was played.
        answer: the answer to it.
        ends: A and B.
    """

    loop: Place
    answer: Place
    ends: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a job: its target and epoch are the job's, and so is whether it is a draft."""

    loop: Loop
    target: int
    epoch: int
    draft: bool = False
