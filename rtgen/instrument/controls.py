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
        """The parameter's value for a control change of 0-127."""
        return self.low + (self.high - self.low) * value / 127

    def check(self, value: float) -> float:
        """The value itself.

        Raises:
            ValueError: it is out of range.
        """
        if not self.low <= value <= self.high:
            raise ValueError(f"{self.name} is {value:g}; it goes from {self.low:g} to {self.high:g}")
        return value


PARAMETERS: Mapping[str, Parameter] = {
    p.name: p
    for p in (
        Parameter("distance", 0.35, 0.0, 1.0, 20, "how far a variation strays from what was played; 0 is exactly that"),
        Parameter("temperature", 1.0, 0.1, 2.0, 21, "how bold the model's choices are"),
        Parameter("key_lock", 0.5, 0.0, 1.0, 22, "how firmly new notes keep to the key of what was played"),
        Parameter("blend", 0.5, 0.0, 1.0, 24, "where a blend lies between the loops A (0) and B (1)"),
    )
}
HOLD_CC = 23
"""The control change that is a switch: from 64 up the present answer is held, below that it is released."""
STORE_CCS: Mapping[int, Literal["a", "b"]] = {25: "a", 26: "b"}
"""Control changes that are buttons: a value from 64 up stores what was played last as the loop A or B."""
BY_CC: Mapping[int, Parameter] = {p.cc: p for p in PARAMETERS.values()}
