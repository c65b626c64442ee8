"""Checks what a session log says, as the file may be damaged: an event that no session has had ends it."""

from __future__ import annotations

from math import isfinite

from rtgen.instrument.events import (
    Chosen,
    Ended,
    Event,
    Given,
    Learn,
    Left,
    Linked,
    Paced,
    Plugged,
    Pressed,
    Turned,
    Used,
    Warmed,
)
from rtgen.instrument.job import PARTS, Answer, Plan
from rtgen.instrument.options import Options
from rtgen.instrument.parameters import BUTTONS, PARAMETERS
from rtgen.instrument.preset import USES
from rtgen.music.time import MAX_TEMPO, MIN_TEMPO

_BACK_S = 1.0
"""A step may be this much earlier than the latest: what is due comes before input that waits."""
_PAUSE_S = 400 * 86_400.0
"""Longest time between two steps."""
_LATEST_S = 1e10
_OFFSET_S = 10.0
MOST_AHEAD_S = 1.0
"""Longest time before it is due that a message is sent."""
_INPUTS = 256
_BEATS = 1e9
_TEMPI = 1.0, 2000.0


def possible_options(options: Options) -> Options:
    """Returns the options of a session.

    Raises:
        ValueError: no session has such options.
    """
    if abs(options.clock_offset_s) > _OFFSET_S or abs(options.output_offset_s) > _OFFSET_S:
        raise ValueError("an offset that cannot be")
    if max(options.ahead_s, options.delivery_s) > MOST_AHEAD_S:
        raise ValueError("a lookahead that cannot be")
    return options


def possible_time(now: float, latest: float | None) -> bool:
    """Returns whether a step can be at `now`, after steps up to `latest`, in seconds."""
    if latest is None:
        return 0 <= now < _LATEST_S
    return latest - _BACK_S <= now <= latest + _PAUSE_S


def possible(event: Event | Ended, options: Options) -> bool:
    """Returns whether a session with these options can have had an event."""
    match event:
        case Answer():
            of_job = _whole(event.target) and _whole(event.epoch) and type(event.draft) is bool
            return of_job and event.part in PARTS
        case Turned(name, value):
            # Computed from positions of a knob, which may round beyond its ends.
            p = PARAMETERS[name]
            room = 1e-6 * (p.high - p.low)
            return _number(value) and p.low - room <= value <= p.high + room
        case Paced(tempo):
            return _number(tempo) and MIN_TEMPO <= tempo <= MAX_TEMPO
        case Used(use):
            return use in USES
        case Pressed(button, down):
            return button in BUTTONS and (down is None or type(down) is bool)
        case Learn(to, over):
            return (to is None or to in PARAMETERS or to in BUTTONS) and type(over) is bool
        case Warmed(seconds, cold_s):
            return all(_number(each) and each >= 0 for each in (seconds, cold_s))
        case Plugged(direction, port, name, there):
            known = direction in ("in", "out") and type(port) is int and 0 <= port < _INPUTS
            return known and isinstance(name, str) and type(there) is bool
        case Linked():
            return options.clock == "link" and _linked(event)
        case Left(sounding, channels, at, tick, moved):
            inside = all(0 <= c < 16 and 0 <= p < 128 for c, p in sounding) and all(0 <= c < 16 for c in channels)
            inside = inside and all(0x80 <= status < 0xF0 and 0 <= number < 128 for status, number in moved)
            return inside and (at is None or _number(at)) and _whole(tick)
        case Chosen() | Given() | Plan() | Ended():
            return True
    return True


def _linked(event: Linked) -> bool:
    numbers = event.at, event.beat, event.bar, event.tempo, event.since
    if not all(map(_number, numbers)) or type(event.playing) is not bool or not _whole(event.peers):
        return False
    near = all(abs(each) < _BEATS for each in (event.beat, event.since)) and abs(event.at) < _LATEST_S
    return near and 0 < event.bar <= 128 and _TEMPI[0] <= event.tempo <= _TEMPI[1]


def _number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e15 and isfinite(value)  # type: ignore[arg-type]


def _whole(value: object) -> bool:
    return type(value) is int and abs(value) < 2**53
