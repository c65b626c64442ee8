"""Jobs for the model, and its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from rtgen.music.note import Loop

Mode = Literal["clean", "vary", "continue", "blend", "generate"]
"""What the model does with a loop; its role decides which modes it has."""
MODES: tuple[Mode, ...] = get_args(Mode)


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
    """The answer to a job; target, epoch and draft are the job's."""

    loop: Loop
    target: int
    epoch: int
    draft: bool = False
