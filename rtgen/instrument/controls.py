"""Parameters: everything that can be turned, in one table.

The command line, presets, control changes and the documentation are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Parameter:
    """A knob.

    Args:
        name: in presets and on the command line.
        default: its value unless said otherwise.
        low: smallest value.
        high: largest value.
        cc: the control change that turns it unless bound otherwise.
        help: one line for the player.
    """

    name: str
    default: float
    low: float
    high: float
    cc: int
    help: str

    def from_cc(self, value: int) -> float:
        """The parameter's value for a control change of 0-127; 64 is the middle, as on a knob with a notch."""
        share = value / 128 if value < 64 else 0.5 + (value - 64) / 126
        return self.low + (self.high - self.low) * share

    def check(self, value: float) -> float:
        """The value itself.

        Raises:
            ValueError: it is out of range.
        """
        if not self.low <= value <= self.high:
            raise ValueError(f"{self.name} is {value:g}; it goes from {self.low:g} to {self.high:g}")
        return value


LATENTS = tuple(f"latent{i}" for i in range(1, 9))
"""Knobs for a model's own dimensions, in the order of its card."""
_AS_PLAYED = {
    "density": (102, "fewer or more notes; 0.5 is as many as you played"),
    "register": (103, "lower or higher; 0.5 is where you played"),
    "polyphony": (104, "spread out or struck together; 0.5 is as you played"),
    "length": (105, "shorter or longer notes; 0.5 is as you played"),
    "syncopation": (106, "on the beat or before it; 0.5 is as you played"),
    "velocity": (107, "softer or louder; 0.5 is as you played"),
}
PARAMETERS: Mapping[str, Parameter] = {
    p.name: p
    for p in (
        Parameter("distance", 0.35, 0.0, 1.0, 20, "how far a variation strays from what was played; 0 is exactly that"),
        Parameter("temperature", 1.0, 0.1, 2.0, 21, "how bold the model's choices are"),
        Parameter("key_lock", 0.5, 0.0, 1.0, 22, "how firmly new notes keep to the key of what was played"),
        Parameter("blend", 0.5, 0.0, 1.0, 24, "where a blend lies between the loops A (0) and B (1)"),
        Parameter("keep_downbeats", 0.0, 0.0, 1.0, 27, "from 0.5 up a variation leaves the notes on every bar's first"),
        Parameter("keep_bass", 0.0, 0.0, 1.0, 28, "from 0.5 up a variation leaves the lowest notes where they are"),
        Parameter("fill", 0.0, 0.0, 1.0, 29, "the last share of the loop that is the model's own; before it is yours"),
        Parameter("humanise", 1.0, 0.0, 1.0, 30, "how much of a drummer's touch, in time and loudness, a beat takes"),
        *(Parameter(name, 0.5, 0.0, 1.0, cc, says) for name, (cc, says) in _AS_PLAYED.items()),
        *(Parameter(name, 0.5, 0.0, 1.0, 108 + i, "a dimension of the model's own") for i, name in enumerate(LATENTS)),
        Parameter("repetition", 0.5, 0.0, 1.0, 116, "how much of what was said a continuation says again"),
    )
}
HOLD_CC = 23
"""The control change that is a switch: from 64 up the present answer is held, below that it is released."""
STORE_CCS: Mapping[int, Literal["a", "b"]] = {25: "a", 26: "b"}
"""Control changes that are buttons: a value from 64 up stores what was played last as the loop A or B."""
BY_CC: Mapping[int, Parameter] = {p.cc: p for p in PARAMETERS.values()}
