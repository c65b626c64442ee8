"""What the real-time process and the worker process say to each other: JSON, a line a message.

Neither end trusts the other to be whole: what cannot be understood is None, and never an exception.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from rtgen.instrument.job import MODES, Answer, Heard, Job, Place, Placed
from rtgen.music.note import Loop, Note


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded and warm.

    Args:
        model: its name.
        device: what runs it.
        seconds: the longest of a few whole answers, each soon after another.
        cold_s: the longest of the first answers.
        remark: a sentence for the player, or nothing.
        role: what kind of model it is.
        modes: what it plays.
        dimensions: what it tells the place of a loop by.
        file: where it is; added by who started the process, and not said by it.
    """

    model: str
    device: str
    seconds: float
    remark: str = ""
    role: str = ""
    modes: tuple[str, ...] = MODES
    dimensions: tuple[str, ...] = ()
    cold_s: float = 0.0
    file: Path | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.seconds) and self.seconds > 0 and isfinite(self.cold_s) and self.cold_s >= 0):
            raise ValueError(f"{self.seconds} and {self.cold_s} are no times for an answer")


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker could not do what was asked.

    Args:
        reason: one sentence.
        final: whether it has given up; on the wire, whether it is the model that cannot be run at all.
    """

    reason: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """A job was not answered, as a newer one had come."""


Report = Ready | Answer | Failed | Placed
Said = Report | Skipped
Say = Callable[[Said], None]


def from_job(job: Job) -> str:
    """A job as a line."""
    fields = {n: getattr(job, n) for n in ("mode", "seed", "target", "epoch", "draft")} | {"knobs": dict(job.knobs)}
    past = [from_loop(loop) for loop in job.past]
    ends = [from_loop(loop) for loop in job.ends or ()]
    return _line({"loop": from_loop(job.loop), **fields, "past": past, "ends": ends})


def to_job(line: str) -> Job:
    """A job from its line.

    Raises:
        Exception: it is none.
    """
    fields = json.loads(line)
    past, ends = (tuple(map(to_loop, fields[name])) for name in ("past", "ends"))
    return Job(**{**fields, "loop": to_loop(fields["loop"]), "past": past, "ends": ends or None})


_TO_HEAR = '{"heard":'


def from_heard(heard: Heard) -> str:
    """What there is to hear, as a line."""
    past = [from_loop(loop) for loop in heard.past]
    return _line({"heard": from_loop(heard.loop), "past": past, "knobs": dict(heard.knobs)})


def is_to_hear(line: str) -> bool:
    """Whether a line is something to hear, and no job."""
    return line.startswith(_TO_HEAR)


def to_heard(line: str) -> Heard:
    """What there is to hear, from its line.

    Raises:
        Exception: it is none.
    """
    fields = json.loads(line)
    return Heard(tuple(map(to_loop, fields["past"])), to_loop(fields["heard"]), fields["knobs"])


def from_said(said: Said) -> str:
    """What the worker process says, as a line."""
    match said:
        case Answer():
            fields = {n: getattr(said, n) for n in ("target", "epoch", "draft")}
            return _line({"kind": "answer", "loop": from_loop(said.loop), **fields})
        case Skipped():
            return _line({"kind": "skipped"})
        case Placed():
            return _line({"kind": "placed", "loop": said.loop, "answer": said.answer, "ends": said.ends})
        case Failed():
            return _line({"kind": "failed", "reason": said.reason, "final": said.final})
        case Ready():
            fields = {"model": said.model, "device": said.device, "seconds": said.seconds, "remark": said.remark}
            more = {n: getattr(said, n) for n in ("role", "modes", "dimensions", "cold_s")}
            return _line({"kind": "ready", **fields, **more})


def to_said(line: str) -> Said | None:
    """What a line of the worker process says; None for a line that says nothing we know."""
    try:
        fields = json.loads(line)
        match fields.pop("kind"):
            case "answer":
                loop, draft = to_loop(fields["loop"]), bool(fields["draft"])
                return Answer(loop, _whole(fields["target"]), _whole(fields["epoch"]), draft)
            case "skipped":
                return Skipped()
            case "failed":
                return Failed(str(fields["reason"]), bool(fields["final"]))
            case "ready":
                model, device, remark, role = (str(fields[n]) for n in ("model", "device", "remark", "role"))
                modes, dimensions = (tuple(map(str, fields[n])) for n in ("modes", "dimensions"))
                return Ready(model, device, fields["seconds"], remark, role, modes, dimensions, fields["cold_s"])
            case "placed":
                return Placed(_place(fields["loop"]), _place(fields["answer"]), tuple(map(_place, fields["ends"])))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    return None


def _line(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":")) + "\n"


def from_loop(loop: Loop) -> dict[str, Any]:
    """A loop as JSON holds it."""
    notes = [(n.onset, n.pitch, n.duration, n.velocity) for n in loop.notes]
    return {"length": loop.length, "bar": loop.bar, "notes": notes}


def to_loop(fields: dict[str, Any]) -> Loop:
    """A loop from JSON.

    Raises:
        Exception: it is none.
    """
    notes = (Note(*map(_whole, note)) for note in fields["notes"])
    return Loop(_whole(fields["length"]), tuple(notes), _whole(fields["bar"]))


def _place(shares: list[float]) -> Place:
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"{shares!r} is no place")
    return tuple(map(float, shares))


def _whole(value: object) -> int:
    """A position must be whole: a float would drift."""
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value
