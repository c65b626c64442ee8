"""The tables of all parameters and buttons.

The command line, presets, control changes, OSC, the panel and the documentation are generated from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from rtgen.music import key

Taper = Literal["linear", "whole", "switch"]
"""How a knob's position maps to a value: linearly, in whole numbers, or as a switch that is on from the centre up."""
Acts = Literal["answer", "next", "play"]
"""What a change affects: the answer itself, which is made anew; its playback from the next beat on; or its playback at
once."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A knob.

    Args:
        name: in presets and on the command line; `/rtgen/<name>` in OSC.
        default: default value.
        low: minimum.
        high: maximum.
        cc: default control change; None if there is none until one is learned.
        help: one line for the player.
        unit: of the value; empty for a share.
        taper: how the knob's position maps to a value.
        acts: what a change affects.
        choices: names of the whole values, the lowest first.
    """

    name: str
    default: float
    low: float
    high: float
    cc: int | None
    help: str
    unit: str = ""
    taper: Taper = "linear"
    acts: Acts = "answer"
    choices: tuple[str, ...] = ()

    def at(self, share: float) -> float:
        """Return the value at a position of 0-1."""
        match self.taper:
            case "switch":
                return self.high if share >= 0.5 else self.low
            case "whole":
                return float(round(self.low + (self.high - self.low) * share))
        return self.low + (self.high - self.low) * share

    def share(self, value: float) -> float:
        """Return the position, 0-1, of a value."""
        return (value - self.low) / (self.high - self.low)

    def check(self, value: float | str) -> float:
        """Return a valid value, given as a number or by name.

        Raises:
            ValueError: the number is out of range, or the name unknown.
        """
        if isinstance(value, str):
            if value not in self.choices:
                wanted = f"one of {', '.join(self.choices)}" if self.choices else "a number"
                raise ValueError(f"{self.name} is {value!r}, not {wanted}")
            return float(self.choices.index(value))
        if not self.low <= value <= self.high:
            raise ValueError(f"{self.name} is {value:g}; it goes from {self.low:g} to {self.high:g}")
        return value

    def said(self, value: float) -> float | str:
        """Return the name of a value, or the value if it has none."""
        return self.choices[round(value)] if self.choices else value


@dataclass(frozen=True, slots=True)
class Button:
    """A button.

    Args:
        name: on the command line; `/rtgen/<name>` in OSC.
        cc: default control change; values from 64 up press it.
        help: one line for the player.
        stays: whether it latches: on until released or pressed again.
    """

    name: str
    cc: int
    help: str
    stays: bool = False


LATENTS = tuple(f"latent{i}" for i in range(1, 33))
"""Knobs for the model's latent dimensions, in the order of its card."""
_ON_CC = 8
"""Number of latent knobs with a default control change."""
KEYS = ("auto", *key.NAMES)
SCALES = ("auto", "major", "minor")
_AS_PLAYED = {
    "density": (102, "fewer or more notes; 0.5 is as many as you played"),
    "register": (103, "lower or higher; 0.5 is where you played"),
    "polyphony": (104, "spread out or struck together; 0.5 is as you played"),
    "length": (105, "shorter or longer notes; 0.5 is as you played"),
    "syncopation": (106, "on the beat or before it; 0.5 is as you played"),
    "velocity": (107, "softer or louder; 0.5 is as you played"),
}


def _named(name: str, cc: int, choices: tuple[str, ...], says: str) -> Parameter:
    """Return a knob with named values, the first of which is the default."""
    return Parameter(name, 0, 0, len(choices) - 1, cc, says, taper="whole", choices=choices)


_ALL = (
    Parameter("distance", 0.35, 0.0, 1.0, 20, "how far a variation strays from what was played; 0 is exactly that"),
    Parameter("temperature", 1.0, 0.1, 2.0, 21, "how bold the model's choices are"),
    Parameter("key_lock", 0.5, 0.0, 1.0, 22, "how firmly new notes keep to the key"),
    _named("key", 12, KEYS, "the key that new notes keep to; auto is that of what you play"),
    _named("scale", 13, SCALES, "whether that is a major or a minor key; auto is as you play"),
    Parameter(
        "seed", 0, 0, 127, 31, "another answer to the same loop, and the same again when turned back", taper="whole"
    ),
    Parameter("blend", 0.5, 0.0, 1.0, 24, "where a blend lies between the loops A (0) and B (1)"),
    Parameter("keep_downbeats", 0.0, 0.0, 1.0, 27, "a variation leaves the notes on every bar's first", taper="switch"),
    Parameter("keep_bass", 0.0, 0.0, 1.0, 28, "a variation leaves the lowest notes where they are", taper="switch"),
    Parameter("fill", 0.0, 0.0, 1.0, 29, "the last share of the loop that is the model's own; before it is yours"),
    Parameter("humanise", 1.0, 0.0, 1.0, 30, "how much of a drummer's touch, in time and loudness, a beat takes"),
    *(Parameter(name, 0.5, 0.0, 1.0, cc, says) for name, (cc, says) in _AS_PLAYED.items()),
    *(
        Parameter(name, 0.5, 0.0, 1.0, 108 + i if i < _ON_CC else None, "a dimension of the model's own")
        for i, name in enumerate(LATENTS)
    ),
    Parameter("repetition", 0.5, 0.0, 1.0, 116, "how much of what was said a continuation says again"),
    Parameter(
        "swing", 0.5, 0.5, 0.75, 14, "where in a beat's half its second sixteenth falls; 0.5 is even", acts="next"
    ),
    Parameter("gate", 1.0, 0.1, 2.0, 15, "how long the answer's notes are, of what they would be", acts="play"),
    Parameter(
        "transpose", 0, -24, 24, 16, "how far the answer is moved up or down", "semitones", taper="whole", acts="play"
    ),
    Parameter("loudness", 1.0, 0.0, 2.0, 17, "how loud the answer is, of what it would be", acts="play"),
    Parameter(
        "quantise",
        0,
        0,
        1,
        19,
        "a turned knob is heard from the next bar on, not the next beat",
        taper="switch",
        acts="play",
    ),
    Parameter(
        "split",
        0,
        0,
        127,
        18,
        "the lowest key that is heard; what is played below only sounds",
        "pitch",
        taper="whole",
        acts="play",
    ),
)
PARAMETERS: Mapping[str, Parameter] = {p.name: p for p in _ALL}
BUTTONS: Mapping[str, Button] = {
    b.name: b
    for b in (
        Button("freeze", 23, "the present answer goes round until it is released", stays=True),
        Button("store_a", 25, "what was played last becomes the loop A of a blend"),
        Button("store_b", 26, "what was played last becomes the loop B of a blend"),
        Button("regenerate", 85, "another answer to the same loop"),
        Button("back", 86, "the answer before the present one; up to ten of them"),
        Button("keep", 87, "writes the present answer as a clip"),
        Button("clear", 88, "forgets what was played, A and B, and what is playing"),
        Button("mute", 89, "the answer is not heard until it is released", stays=True),
        Button("tap", 90, "the tempo of the internal clock, tapped"),
        Button("previous_preset", 117, "the preset before this one in the list"),
        Button("next_preset", 118, "the preset after this one in the list"),
        Button("panic", 119, "ends everything that sounds"),
    )
}


def listed() -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield the table of all parameters and buttons, row by row, headings first."""
    heard = {"answer": "next beat", "next": "next beat", "play": "at once"}
    yield "name", "CC", "OSC", "range", "heard", "what it does"
    others = LATENTS[_ON_CC:]
    for p in PARAMETERS.values():
        if p.name in others[1:]:
            continue
        name = f"{p.name} to {others[-1]}" if p.name in others else p.name
        way = "off, on" if p.taper == "switch" else f"{p.low:g} to {p.high:g} {p.unit}".rstrip()
        if p.choices:
            way = f"{p.choices[0]}, {p.choices[1]} to {p.choices[-1]}"
        cc = "" if p.cc is None else str(p.cc)
        usual = p.choices[0] if p.choices else f"{p.default:g}"
        yield name, cc, f"/rtgen/{p.name} f", f"{way} ({usual})", heard[p.acts], p.help
    for b in BUTTONS.values():
        yield b.name, str(b.cc), f"/rtgen/{b.name}", "stays on" if b.stays else "press", "at once", b.help
