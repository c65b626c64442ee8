"""The protocol between the real-time process and the worker process: one JSON message per line.

The real-time process does not trust the worker: a line that it cannot parse becomes None, never an exception.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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
        times: for each mode that it plays the longest of a few answers, each shortly after another; and the first,
            when the model was cold. In seconds.
        remark: a sentence for the player; may be empty.
        role: the model's role.
        dimensions: the names of the map dimensions that it gives a loop's position in.
        file: the model file; added by the parent process, not sent by the worker.
        pitched: whether it plays notes; otherwise they are drums.
        hears: whether it hears what is played, note by note, in every mode.
    """

    model: str
    device: str
    times: Mapping[str, tuple[float, float]]
    remark: str = ""
    role: str = ""
    dimensions: tuple[str, ...] = ()
    file: Path | None = None
    pitched: bool = True
    hears: bool = False

    def __post_init__(self) -> None:
        if not self.times or any(mode not in MODES for mode in self.times):
            raise ValueError("no modes, or unknown ones")
        for warm_s, cold_s in self.times.values():
            if not (isfinite(warm_s) and warm_s > 0 and isfinite(cold_s) and cold_s >= 0):
                raise ValueError(f"{warm_s} and {cold_s} are not valid answer times")

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that it plays."""
        return tuple(self.times)

    @property
    def slowest_s(self) -> float:
        """The longest time of a warm answer in any mode, in seconds."""
        return max(warm_s for warm_s, _ in self.times.values())

    def seconds(self, mode: str) -> tuple[float, float]:
        """Returns the times of a warm and of a cold answer in seconds; of a mode that it does not play, the longest."""
        return self.times.get(mode) or (self.slowest_s, max(cold_s for _, cold_s in self.times.values()))


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
            names = "model", "device", "remark", "role", "dimensions", "pitched", "hears"
            return _line({"kind": "ready", "times": dict(said.times), **{n: getattr(said, n) for n in names}})


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
                times = {
                    str(mode): (float(warm_s), float(cold_s)) for mode, (warm_s, cold_s) in fields["times"].items()
                }
                dimensions = tuple(map(str, fields["dimensions"]))
                pitched, hears = bool(fields["pitched"]), bool(fields["hears"])
                return Ready(model, device, times, remark, role, dimensions, pitched=pitched, hears=hears)
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
