"""The protocol between the real-time process and the worker process: one JSON message per line.

The real-time process does not trust the worker: a line that it cannot parse becomes None, never an exception.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from rtgen.instrument.job import MODES, Answer, Heard, Job, Place, Placed
from rtgen.instrument.preset import MAX_BARS
from rtgen.music.note import Loop, Note
from rtgen.music.time import Metre

_LONGEST = 2 * MAX_BARS * Metre(32, 1).bar
"""Ticks; no loop is longer, and no note of one, even if it begins before it or ends after it."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded and warm.

    Args:
        model: its name.
        device: the device that it runs on.
        seconds: the longest of a few answers, each shortly after another.
        remark: a sentence for the player; may be empty.
        role: the model's role.
        modes: the modes that it plays.
        dimensions: the names of the map dimensions that it gives a loop's position in.
        cold_s: the longest of the first answers, in seconds.
        file: the model file; added by the parent process, not sent by the worker.
        pitched: whether it plays notes; otherwise they are drums.
        hears: whether it hears what is played, note by note, in every mode.
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
    pitched: bool = True
    hears: bool = False

    def __post_init__(self) -> None:
        if not (isfinite(self.seconds) and self.seconds > 0 and isfinite(self.cold_s) and self.cold_s >= 0):
            raise ValueError(f"{self.seconds} and {self.cold_s} are not valid answer times")


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker could not do what was asked.

    Args:
        reason: one sentence.
        final: whether the worker has given up; on the wire, whether the model cannot be run at all.
        file: the model file, if the model was set aside for this; added by the parent process.
        heir: the model file that answers instead of one that plays or was to play next; added by the parent process.
    """

    reason: str
    final: bool = False
    file: Path | None = None
    heir: Path | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A job was not answered: a newer one superseded it, or it was a draft that failed."""


Report = Ready | Answer | Failed | Placed
Said = Report | Skipped
Say = Callable[[Said], None]


def from_job(job: Job) -> str:
    """Encodes a job as a line."""
    fields = {n: getattr(job, n) for n in ("mode", "seed", "target", "epoch", "draft")} | {"knobs": dict(job.knobs)}
    past = [_packed(loop) for loop in job.past]
    ends = [from_loop(loop) for loop in job.ends or ()]
    return _line({"loop": from_loop(job.loop), **fields, "past": past, "ends": ends})


def to_job(line: str) -> Job:
    """Decodes a job.

    Raises:
        Exception: the line is not a valid job.
    """
    fields = json.loads(line)
    past, ends = tuple(map(_unpacked, fields["past"])), tuple(map(to_loop, fields["ends"]))
    return Job(**{**fields, "loop": to_loop(fields["loop"]), "past": past, "ends": ends or None})


_TO_HEAR = '{"heard":'


def from_heard(heard: Heard) -> str:
    """Encodes music to hear as a line."""
    past = [_packed(loop) for loop in heard.past]
    return _line({"heard": from_loop(heard.loop), "past": past, "knobs": dict(heard.knobs)})


def is_to_hear(line: str) -> bool:
    """Returns whether a line is music to hear rather than a job."""
    return line.startswith(_TO_HEAR)


def to_heard(line: str) -> Heard:
    """Decodes music to hear.

    Raises:
        Exception: the line is not valid.
    """
    fields = json.loads(line)
    return Heard(tuple(map(_unpacked, fields["past"])), to_loop(fields["heard"]), fields["knobs"])


def from_said(said: Said) -> str:
    """Encodes a message of the worker process as a line."""
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
            more = {n: getattr(said, n) for n in ("role", "modes", "dimensions", "cold_s", "pitched", "hears")}
            return _line({"kind": "ready", **fields, **more})


def to_said(line: str) -> Said | None:
    """Decodes a message of the worker process; returns None if it is malformed or unknown."""
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
                seconds, cold_s, pitched, hears = (fields[n] for n in ("seconds", "cold_s", "pitched", "hears"))
                told = model, device, seconds, remark, role, modes, dimensions, cold_s
                return Ready(*told, pitched=bool(pitched), hears=bool(hears))
            case "placed":
                return Placed(_place(fields["loop"]), _place(fields["answer"]), tuple(map(_place, fields["ends"])))
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
        pass
    return None


def _line(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":")) + "\n"


def from_loop(loop: Loop) -> dict[str, Any]:
    """Encodes a loop as a JSON object."""
    notes = [(n.onset, n.pitch, n.duration, n.velocity) for n in loop.notes]
    return {"length": loop.length, "bar": loop.bar, "notes": notes}


def to_loop(fields: dict[str, Any]) -> Loop:
    """Decodes a loop from a JSON object.

    Raises:
        Exception: the object is not a valid loop.
    """
    notes = (Note(*map(_whole, note)) for note in fields["notes"])
    loop = Loop(_whole(fields["length"]), tuple(notes), _whole(fields["bar"]))
    if loop.length > _LONGEST or any(abs(n.onset) > _LONGEST or n.duration > _LONGEST for n in loop.notes):
        raise ValueError(f"a loop of {loop.length} ticks is too long, or its notes are")
    return loop


# The past is sent with every job, and nearly all of it was sent before.


@lru_cache(maxsize=256)
def _packed(loop: Loop) -> str:
    return json.dumps(from_loop(loop), separators=(",", ":"))


@lru_cache(maxsize=256)
def _unpacked(text: str) -> Loop:
    return to_loop(json.loads(text))


def _place(shares: list[float]) -> Place:
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"{shares!r} is not a place")
    return tuple(map(float, shares))


def _whole(value: object) -> int:
    """Checks for an integer, as positions in floating point would drift, that has a time in seconds."""
    if type(value) is not int or abs(value) >= 2**53:
        raise TypeError("not an integer, or one that is too large")
    return value
