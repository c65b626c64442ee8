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
        cc: control change; None if there is none until one is learned. It is bound by default if it is in `FREE`.
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
        cc: control change, bound only where that was chosen; values from 64 up press it.
        help: one line for the player.
        stays: whether it latches: on until released or pressed again.
    """

    name: str
    cc: int
    help: str
    stays: bool = False


FREE = frozenset((14, 15, *range(20, 32), *range(102, 113)))
"""Control changes that knobs may have by default.

The MIDI 1.0 specification leaves them undefined, and no instrument is known to send them by itself while it is played.
docs/controls.md says what sends the others.
"""
LATENTS = tuple(f"latent{i}" for i in range(1, 33))
"""Knobs for the model's latent dimensions, in the order of its card."""
_ON_CC = 8
"""Number of latent knobs with a control change."""
KEYS = ("auto", *key.NAMES)
SCALES = ("auto", "major", "minor")
_AS_PLAYED = {
    "density": (102, "fewer or more notes; 0.5 = as many as you played"),
    "register": (103, "lower or higher; 0.5 = as you played"),
    "polyphony": (104, "single notes or chords; 0.5 = as you played"),
    "length": (105, "shorter or longer notes; 0.5 = as you played"),
    "syncopation": (106, "on the beat or off it; 0.5 = as you played"),
    "velocity": (107, "softer or louder; 0.5 = as you played"),
}


def _named(name: str, cc: int, choices: tuple[str, ...], says: str) -> Parameter:
    """Return a knob with named values, the first of which is the default."""
    return Parameter(name, 0, 0, len(choices) - 1, cc, says, taper="whole", choices=choices)


_ALL = (
    Parameter("distance", 0.35, 0.0, 1.0, 20, "how far a variation departs from your loop; 0 = unchanged"),
    Parameter("temperature", 1.0, 0.1, 2.0, 21, "sampling temperature: low is cautious, high is bold"),
    Parameter("key_lock", 0.5, 0.0, 1.0, 22, "how strictly new notes keep to the key"),
    _named("key", 12, KEYS, "key of new notes; auto detects it from your playing"),
    _named("scale", 13, SCALES, "major or minor; auto detects it from your playing"),
    Parameter("seed", 0, 0, 127, 31, "each value gives a different but repeatable answer", taper="whole"),
    Parameter("blend", 0.5, 0.0, 1.0, 24, "position of a blend between loop A (0) and loop B (1)"),
    Parameter("keep_downbeats", 0.0, 0.0, 1.0, 27, "variations keep your notes on the downbeats", taper="switch"),
    Parameter("keep_bass", 0.0, 0.0, 1.0, 28, "variations keep your lowest notes", taper="switch"),
    Parameter("fill", 0.0, 0.0, 1.0, 29, "share of the loop, from its end, that the model rewrites"),
    Parameter("humanise", 1.0, 0.0, 1.0, 30, "how much of a drummer's timing and dynamics a beat gets"),
    *(Parameter(name, 0.5, 0.0, 1.0, cc, says) for name, (cc, says) in _AS_PLAYED.items()),
    *(
        Parameter(name, 0.5, 0.0, 1.0, 108 + i if i < _ON_CC else None, "one of the model's own latent dimensions")
        for i, name in enumerate(LATENTS)
    ),
    Parameter("repetition", 0.5, 0.0, 1.0, 116, "how much a continuation repeats earlier material"),
    Parameter("swing", 0.5, 0.5, 0.75, 14, "swing of the sixteenths: 0.5 straight, 0.67 triplets", acts="next"),
    Parameter("gate", 1.0, 0.1, 2.0, 15, "note lengths of the answer, as a factor", acts="play"),
    Parameter("transpose", 0, -24, 24, 16, "transposes the answer up or down", "semitones", taper="whole", acts="play"),
    Parameter("loudness", 1.0, 0.0, 2.0, 17, "velocities of the answer, as a factor", acts="play"),
    Parameter(
        "quantise",
        0,
        0,
        1,
        19,
        "knob changes wait for the next bar, not the next beat",
        taper="switch",
        acts="play",
    ),
    Parameter(
        "split",
        0,
        0,
        127,
        18,
        "lowest key the model hears; lower keys are not captured",
        "pitch",
        taper="whole",
        acts="play",
    ),
)
PARAMETERS: Mapping[str, Parameter] = {p.name: p for p in _ALL}
BUTTONS: Mapping[str, Button] = {
    b.name: b
    for b in (
        Button("freeze", 23, "repeats the current answer until released", stays=True),
        Button("store_a", 25, "stores the loop you played last as A of a blend"),
        Button("store_b", 26, "stores the loop you played last as B of a blend"),
        Button("regenerate", 85, "makes another answer to the same loop"),
        Button("back", 86, "goes back to the previous answer, up to ten times"),
        Button("keep", 87, "saves the current answer as a MIDI clip"),
        Button("clear", 88, "clears your loops, A and B, and the current answer"),
        Button("mute", 89, "silences the answer until released", stays=True),
        Button("tap", 90, "taps the tempo of the internal clock"),
        Button("previous_preset", 117, "selects the previous preset in the list"),
        Button("next_preset", 118, "selects the next preset in the list"),
        Button("panic", 119, "stops everything that sounds"),
    )
}


def listed() -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield the table of all parameters and buttons, row by row, headings first.

    A control change with a star is not bound by default.
    """
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
        cc = "" if p.cc is None else str(p.cc) if p.cc in FREE else f"{p.cc}*"
        usual = p.choices[0] if p.choices else f"{p.default:g}"
        yield name, cc, f"/rtgen/{p.name} f", f"{way} ({usual})", heard[p.acts], p.help
    for b in BUTTONS.values():
        yield b.name, f"{b.cc}*", f"/rtgen/{b.name}", "stays on" if b.stays else "press", "at once", b.help
