"""The protocol between the real-time process and the worker process: one JSON message per line.

The real-time process does not trust the worker: a line that it cannot parse becomes None, never an exception.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

from rtgen.instrument.job import MODES, PARTS, Answer, HalfBeat, Heard, Job, Piece, Place, Placed, Plan
from rtgen.instrument.preset import MAX_BARS
from rtgen.music import midi, parts
from rtgen.music.hand import MOST_MESSAGES, NO_HAND, Hand, Moved
from rtgen.music.note import Loop, Note
from rtgen.music.time import HALF, Metre
from rtgen.text import plain

_LONGEST = 2 * MAX_BARS * Metre(32, 1).bar
"""Ticks; no loop is longer, and no note of one, even if it begins before it or ends after it."""
_MOST_PIECES, _MOST_NOTES, _MOST_CHORD = 256, 64, 20
"""Half beats in a plan, notes that begin in one, and letters of a chord's name: there are never more."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded and warm.

    Args:
        model: its name.
        device: the device that it runs on.
        times: for each mode that it plays how long it takes until an answer begins to come, the longest of a few, each
            shortly after another; and the whole of the first, when the model was cold. In seconds.
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
        """The longest time until a warm answer begins to come in any mode, in seconds."""
        return max(warm_s for warm_s, _ in self.times.values())

    @property
    def whole_s(self) -> float:
        """The longest time of a whole answer in any mode, in seconds."""
        return max(map(max, self.times.values()))

    def seconds(self, mode: str) -> tuple[float, float]:
        """Returns the times of a mode as in `times`; of one that it does not play, the longest."""
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
    """A job was not answered: a newer one superseded it, it was a draft that failed or gave way, or for another one."""


Report = Ready | Answer | Plan | Failed | Placed
Said = Report | Skipped
Say = Callable[[Said], None]


def from_job(job: Job) -> str:
    """Encodes a job as a line; models hear notes alone."""
    fields = {n: getattr(job, n) for n in ("mode", "seed", "target", "epoch", "draft", "since")} | {
        "knobs": dict(job.knobs)
    }
    past = [_packed(loop) for loop in job.past]
    ends = [from_loop(loop.without_hand()) for loop in job.ends or ()]
    return _line({"loop": _packed(job.loop.without_hand()), **fields, "past": past, "ends": ends})


def to_job(line: str) -> Job:
    """Decodes a job.

    Raises:
        Exception: the line is not a valid job.
    """
    fields = json.loads(line)
    past, ends = tuple(map(_unpacked, fields["past"])), tuple(map(to_loop, fields["ends"]))
    return Job(**{**fields, "loop": _unpacked(fields["loop"]), "past": past, "ends": ends or None})


_TO_HEAR = '{"heard":'


def from_heard(heard: Heard) -> str:
    """Encodes music to hear as a line."""
    past = [_packed(loop) for loop in heard.past]
    return _line({"heard": from_loop(heard.loop.without_hand()), "past": past, "knobs": dict(heard.knobs)})


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


_HALF = '{"half":'


def from_half(half: HalfBeat) -> str:
    """Encodes a half beat to be played along with as a line."""
    names = "number", "epoch", "left", "since", "seed"
    fields = {name: getattr(half, name) for name in names}
    notes = None if half.notes is None else _rows(half.notes)
    before = [_rows(each) for each in half.before]
    return _line(
        {"half": notes, **fields, "before": before, "metre": str(half.metre), "knobs": dict(half.knobs)},
    )


def is_half(line: str) -> bool:
    """Returns whether a line is a half beat to be played along with."""
    return line.startswith(_HALF)


def to_half(line: str) -> HalfBeat:
    """Decodes a half beat.

    Raises:
        Exception: the line is not valid.
    """
    fields = json.loads(line)
    notes = fields["half"]
    return HalfBeat(
        fields["number"],
        fields["epoch"],
        None if notes is None else _from_rows(notes),
        Metre.parse(fields["metre"]),
        tuple(fields["left"]),
        fields["since"],
        tuple(map(_from_rows, fields["before"])),
        fields["seed"],
        fields["knobs"],
    )


def from_plan(plan: Plan) -> dict[str, Any]:
    """Encodes a plan as a JSON object."""
    pieces = [[p.chord, [(part, *_row(n)) for part, n in p.notes], p.ends] for p in plan.pieces]
    return {"epoch": plan.epoch, "heard": plan.heard, "since": plan.since, "certain": plan.certain, "pieces": pieces}


def to_plan(fields: dict[str, Any]) -> Plan:
    """Decodes a plan from a JSON object.

    Raises:
        Exception: the object is not a valid plan.
    """
    epoch, heard, since, certain = (_whole(fields[name]) for name in ("epoch", "heard", "since", "certain"))
    pieces = tuple(map(_to_piece, fields["pieces"]))
    if len(pieces) > _MOST_PIECES or not 0 <= certain <= len(pieces):
        raise ValueError("a plan that is too long, or more is certain than planned")
    return Plan(epoch, heard, since, certain, pieces)


def _to_piece(said: list[Any]) -> Piece:
    chord, notes, ends = said
    made = [(_to_part(part), Note(*map(_whole, row))) for part, *row in notes]
    if len(made) > _MOST_NOTES or any(not 0 <= n.onset < HALF or n.duration > _LONGEST for _, n in made):
        raise ValueError("too many notes, or one that is not in its half beat")
    return Piece(plain(str(chord))[:_MOST_CHORD], tuple(made), tuple(map(_to_part, ends)))


def _to_part(name: object) -> parts.Part:
    return parts.PARTS[parts.PARTS.index(name)]


def _row(note: Note) -> tuple[int, int, int, int]:
    return note.onset, note.pitch, note.duration, note.velocity


def _rows(notes: tuple[Note, ...]) -> list[tuple[int, int, int, int]]:
    return list(map(_row, notes))


def _from_rows(rows: list[list[int]]) -> tuple[Note, ...]:
    return tuple(Note(*row) for row in rows)


def from_task(task: Job | Heard | HalfBeat) -> str:
    """Encodes what is sent to a worker process as a line."""
    match task:
        case Heard():
            return from_heard(task)
        case HalfBeat():
            return from_half(task)
    return from_job(task)


def from_said(said: Said) -> str:
    """Encodes a message of the worker process as a line."""
    match said:
        case Answer():
            fields = {n: getattr(said, n) for n in ("target", "epoch", "draft", "part")}
            return _line({"kind": "answer", "loop": from_loop(said.loop), **fields})
        case Plan():
            return _line({"kind": "plan", **from_plan(said)})
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
                part = PARTS[PARTS.index(fields["part"])]
                return Answer(loop, _whole(fields["target"]), _whole(fields["epoch"]), draft, part)
            case "plan":
                return to_plan(fields)
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
    fields = {"length": loop.length, "bar": loop.bar, "notes": notes}
    if not loop.hand:
        return fields
    messages = [(tick, data.hex()) for tick, data in loop.hand.messages]
    return {**fields, "hand": {"messages": messages, "apart": loop.hand.apart}}


def to_loop(fields: dict[str, Any]) -> Loop:
    """Decodes a loop from a JSON object.

    Raises:
        Exception: the object is not a valid loop.
    """
    notes = (Note(*map(_whole, note)) for note in fields["notes"])
    hand = _to_hand(fields["hand"]) if "hand" in fields else NO_HAND
    loop = Loop(_whole(fields["length"]), tuple(notes), _whole(fields["bar"]), hand)
    if loop.length > _LONGEST or any(abs(n.onset) > _LONGEST or n.duration > _LONGEST for n in loop.notes):
        raise ValueError(f"a loop of {loop.length} ticks is too long, or its notes are")
    return loop


def _to_hand(fields: dict[str, Any]) -> Hand:
    messages = tuple(Moved(_whole(tick), bytes.fromhex(data)) for tick, data in fields["messages"])
    if len(messages) > MOST_MESSAGES or any(abs(tick) > _LONGEST or not _is_played(data) for tick, data in messages):
        raise ValueError("too many messages, or one that no hand plays")
    if any(later.tick < tick for (tick, _), later in pairwise(messages)):
        raise ValueError("messages out of order")
    return Hand(messages, fields["apart"] is True)


def _is_played(data: bytes) -> bool:
    size = 2 if data[:1] and data[0] & 0xF0 == 0xD0 else 3
    return len(data) == size and max(data[1:]) < 0x80 and (midi.is_note(data) or bool(midi.shape(data)))


# The past is sent with every job, and nearly all of it was sent before. A call comes again at the end of the next one's
# past. It is the same object then, so what is known of it is found without comparing its notes.


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
