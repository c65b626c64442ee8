"""Session options: what a session is set up with, besides its preset. The session log stores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any, Literal, get_args

from rtgen.instrument.binding import LAYOUTS, TAKEOVERS, Binding, Layout, Takeover
from rtgen.instrument.clocks.first_loop import FASTEST, SLOWEST
from rtgen.music.time import MAX_TEMPO, MIN_TEMPO

ClockKind = Literal["midi", "internal", "link", "player"]
CLOCKS: tuple[ClockKind, ...] = get_args(ClockKind)
LEAST_PAUSE_S = 0.5
"""Shortest pause of the hands that may close a loop, in seconds."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a session is set up with.

    Args:
        clock: `midi` follows the input's clock, `internal` rolls at the preset's tempo from the first step, `link`
            follows an Ableton Link session, as told by `Linked` events, `player` finds tempo and downbeat in the first
            loop that is played.
        thru: whether input is also sent to the output.
        seed: of all randomness; job n of a session gets a seed derived from it and n.
        clock_offset_s: by how much the clock arrives late (early, if negative), in seconds.
        output_offset_s: by how much messages leave before their tick (after, if negative), in seconds.
        ahead_s: how long before it is due a message is sent, to ports that keep it until then; in seconds.
        delivery_s: how long before its boundary an answer has to be there for all of it to sound in time; in seconds.
        send_clock: whether the internal clock is sent to the output.
        slowest: lowest tempo that is looked for in the first loop, BPM.
        fastest: highest tempo, likewise.
        pause_s: how long the hands pause until the first loop is closed, in seconds; 0: only a press closes it.
        roll: whether to roll at the next bar if a clock comes without Start.
        takeover: what a knob does when it is not where its parameter is.
        listens: the MIDI channel, 1-16, to listen to; None listens to all.
        bindings: what the controls at some inputs do.
        controls: what the controls at all other inputs do: see `rtgen.instrument.binding.Layout`.
        ignores_programs: the inputs whose program changes select no preset.
        pitched: whether the model plays notes, and not drums, if that is known before `Warmed`.
        hears: whether it hears what is played in every mode, likewise.
        gestures: whether bends, pressure and controllers are part of a loop, and are ended like notes.

    Raises:
        ValueError: a value is of the wrong type or out of range.
    """

    clock: ClockKind = "midi"
    thru: bool = False
    seed: int = 0
    clock_offset_s: float = 0.0
    output_offset_s: float = 0.0
    ahead_s: float = 0.0
    delivery_s: float = 0.0
    send_clock: bool = False
    slowest: float = SLOWEST
    fastest: float = FASTEST
    pause_s: float = 0.0
    roll: bool = False
    takeover: Takeover = "none"
    listens: int | None = None
    bindings: Mapping[int, tuple[Binding, ...]] = field(default_factory=dict)
    controls: Layout = "knobs"
    ignores_programs: tuple[int, ...] = ()
    pitched: bool | None = None
    hears: bool = False
    gestures: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "ignores_programs", tuple(self.ignores_programs))  # JSON has lists only
        channel = self.listens is None or (type(self.listens) is int and 1 <= self.listens <= 16)
        right = {
            "clock": self.clock in CLOCKS,
            "thru": type(self.thru) is bool,
            "seed": type(self.seed) is int,
            "clock_offset_s": _is_number(self.clock_offset_s),
            "output_offset_s": _is_number(self.output_offset_s),
            "ahead_s": _is_number(self.ahead_s) and self.ahead_s >= 0,
            "delivery_s": _is_number(self.delivery_s) and self.delivery_s >= 0,
            "send_clock": type(self.send_clock) is bool,
            "slowest": _is_number(self.slowest) and self.slowest >= MIN_TEMPO,
            "fastest": _is_number(self.fastest) and 1.2 * self.slowest <= self.fastest <= MAX_TEMPO,
            "pause_s": _is_number(self.pause_s) and (self.pause_s == 0 or LEAST_PAUSE_S <= self.pause_s <= 60),
            "roll": type(self.roll) is bool,
            "takeover": self.takeover in TAKEOVERS,
            "listens": channel,
            "controls": self.controls in LAYOUTS,
            "pitched": self.pitched is None or type(self.pitched) is bool,
            "hears": type(self.hears) is bool,
            "gestures": type(self.gestures) is bool,
            "ignores_programs": all(type(port) is int for port in self.ignores_programs),
        }
        for name, fine in right.items():
            if not fine:
                raise ValueError(f"{name} cannot be {getattr(self, name)!r}")

    def plain(self) -> dict[str, Any]:
        """The options without the bindings, as JSON stores them."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "bindings"}


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and isfinite(value)  # type: ignore[arg-type]
