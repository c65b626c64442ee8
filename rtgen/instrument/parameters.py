"""The tables of all parameters and buttons.

The command line, presets, control changes, OSC, the panel and the documentation are generated from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from rtgen.instrument.job import ANSWERS, MODES, Mode
from rtgen.music import key
from rtgen.music.parts import CHANNELS, PARTS, STYLES, Part

Taper = Literal["linear", "whole", "switch"]
"""How a knob's position maps to a value: linearly, in whole numbers, or as a switch that is on from the centre up."""
Acts = Literal["answer", "next", "play"]
"""What a change affects: the answer itself, which is made anew; its playback from the next beat on; or its playback at
once."""
Group = Literal["answer", "attributes", "latents", "band", "playing"]
"""Where a knob stands on the page: it shapes the answer, moves one attribute of it, moves the model's latent code, is
of a part of the band, or changes how it is played."""
Of = Literal["all", "pitches", "drums"]
"""Which models have a use for a knob: all, or only those that play pitches, or drums."""


def out_of_range(name: str, value: float, low: float, high: float) -> str:
    """Return the message for a number that is out of range; a whole number may be larger than any float."""
    said = f"{value:g}" if isinstance(value, float) or abs(value) < 10**15 else "too large"
    return f"{name} is {said}; it goes from {low:g} to {high:g}"


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
        group: where it stands on the page.
        modes: in which it acts.
        of: the models that it acts on.
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
    group: Group = "answer"
    modes: tuple[Mode, ...] = ANSWERS
    of: Of = "all"

    def rests(self, mode: Mode, *, drums: bool) -> bool:
        """Return whether a turn changes nothing in a mode of a model."""
        return mode not in self.modes or self.of == ("pitches" if drums else "drums")

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
            raise ValueError(out_of_range(self.name, value, self.low, self.high))
        return value

    def said(self, value: float) -> float | str:
        """Return the name of a value, or the value if it has none."""
        return self.choices[round(value)] if self.choices else value


@dataclass(frozen=True, slots=True)
class Button:
    """A button.

    Args:
        name: on the command line; `/rtgen/<name>` in OSC.
        cc: control change, bound only where that was chosen, of which values from 64 up press it; None if there is none
            until one is learned.
        help: one line for the player.
        stays: whether it latches: on until released or pressed again.
    """

    name: str
    cc: int | None
    help: str
    stays: bool = False


FREE = frozenset((14, 15, *range(20, 32), *range(102, 113)))
"""Control changes that knobs may have by default.

The MIDI 1.0 specification leaves them undefined, and no instrument is known to send them by itself while it is played.
docs/controls.md says what sends the others.
"""
ALONE = ("end", "vamp", "rest")
"""What the band does when you play nothing."""
LATENTS = tuple(f"latent{i}" for i in range(1, 33))
"""Knobs for the model's latent dimensions, in the order of its card."""
_ON_CC = 8
"""Number of latent knobs with a control change."""
KEYS = ("auto", *key.NAMES)
SCALES = ("auto", "major", "minor", *key.SCALES)
_AS_PLAYED: Mapping[str, tuple[int, str, Of]] = {
    "density": (102, "fewer or more notes; 0.5 = as many as you played", "all"),
    "register": (103, "lower or higher; 0.5 = as you played", "pitches"),
    "polyphony": (104, "single notes or chords; 0.5 = as you played", "pitches"),
    "length": (105, "shorter or longer notes; 0.5 = as you played", "pitches"),
    "syncopation": (106, "on the beat or off it; 0.5 = as you played", "all"),
    "velocity": (107, "softer or louder; 0.5 = as you played", "all"),
}
_OF_CHANCE: tuple[Mode, ...] = ("vary", "continue", "blend", "generate", "accompany")


def _named(name: str, cc: int, choices: tuple[str, ...], says: str) -> Parameter:
    """Return a knob with named values, the first of which is the default."""
    return Parameter(name, 0, 0, len(choices) - 1, cc, says, taper="whole", choices=choices, of="pitches")


def _vary(name: str, default: float, cc: int, says: str, taper: Taper = "linear") -> Parameter:
    """Return a knob of 0 to 1 that acts on variations only."""
    return Parameter(name, default, 0.0, 1.0, cc, says, taper=taper, modes=("vary",))


def _play(
    name: str,
    default: float,
    low: float,
    high: float,
    cc: int | None,
    says: str,
    unit: str = "",
    taper: Taper = "linear",
    acts: Acts = "play",
    modes: tuple[Mode, ...] = MODES,
) -> Parameter:
    """Return a knob of how the answer is played."""
    return Parameter(name, default, low, high, cc, says, unit, taper, acts, group="playing", modes=modes)


def _band(
    name: str,
    default: float,
    low: float,
    high: float,
    says: str,
    unit: str = "",
    taper: Taper = "linear",
    choices: tuple[str, ...] = (),
) -> Parameter:
    """Return a knob of what plays along, which acts on what is not committed yet."""
    return Parameter(name, default, low, high, None, says, unit, taper, "play", choices, "band", ("accompany",))


def _of_part(part: Part) -> Iterator[Parameter]:
    """Yield the knobs of a part of the band."""
    what = _PARTS[part]
    styles = STYLES[part]
    yield _band(f"{part}_mute", float(part == "second"), 0, 1, f"silences {what}", taper="switch")
    yield _band(f"{part}_level", 1.0, 0.0, 2.0, f"velocities of {what}, as a factor")
    if part != "drums":
        yield _band(f"{part}_register", 0.5, 0.0, 1.0, f"{what} lower or higher, by up to an octave")
    yield _band(f"{part}_density", 0.5, 0.0, 1.0, f"{what} calmer or busier; 0.5 = goes with what you play")
    said = f"how {what} is played; free goes with you"
    yield _band(f"{part}_style", 0, 0, len(styles) - 1, said, taper="whole", choices=styles)
    yield _band(f"{part}_channel", CHANNELS[part], 1, 16, f"MIDI channel of {what}", taper="whole")


_PARTS: Mapping[Part, str] = {
    "bass": "the bass",
    "comping": "the comping",
    "drums": "the beat",
    "second": "the second voice",
}


_ALL = (
    _vary("distance", 0.35, 20, "how far a variation departs from your loop; 0 = unchanged"),
    Parameter(
        "temperature", 1.0, 0.1, 2.0, 21, "sampling temperature: low is cautious, high is bold", modes=_OF_CHANCE
    ),
    Parameter("key_lock", 0.5, 0.0, 1.0, 22, "how strictly new notes keep to the key", of="pitches"),
    _named("key", 12, KEYS, "key of new notes; auto detects it from your playing"),
    _named("scale", 13, SCALES, "scale of new notes; auto detects major or minor from your playing"),
    Parameter(
        "seed", 0, 0, 127, 31, "each value gives a different but repeatable answer", taper="whole", modes=_OF_CHANCE
    ),
    Parameter("blend", 0.5, 0.0, 1.0, 24, "position of a blend between loop A (0) and loop B (1)", modes=("blend",)),
    _vary("keep_downbeats", 0.0, 27, "variations keep your notes on the downbeats", "switch"),
    _vary("keep_bass", 0.0, 28, "variations keep your lowest notes", "switch"),
    _vary("fill", 0.0, 29, "share of the loop, from its end, that the model rewrites"),
    Parameter(
        "humanise",
        1.0,
        0.0,
        1.0,
        30,
        "how much of a drummer's timing and dynamics a beat gets",
        modes=("clean",),
        of="drums",
    ),
    *(
        Parameter(name, 0.5, 0.0, 1.0, cc, says, group="attributes", of=of)
        for name, (cc, says, of) in _AS_PLAYED.items()
    ),
    *(
        Parameter(
            name,
            0.5,
            0.0,
            1.0,
            108 + i if i < _ON_CC else None,
            "one of the model's own latent dimensions",
            group="latents",
        )
        for i, name in enumerate(LATENTS)
    ),
    Parameter(
        "repetition",
        0.5,
        0.0,
        1.0,
        116,
        "how much a continuation repeats; how often a new loop keeps your chords",
        modes=("continue", "generate"),
    ),
    Parameter("curves", 0.0, 0.0, 1.0, None, "share of new notes that are bent and pressed as yours are", of="pitches"),
    _play(
        "swing", 0.5, 0.5, 0.75, 14, "swing of the sixteenths: 0.5 straight, 0.67 triplets", acts="next", modes=ANSWERS
    ),
    _play("gate", 1.0, 0.1, 2.0, 15, "note lengths of the answer, as a factor"),
    _play("transpose", 0, -24, 24, 16, "transposes the answer up or down", "semitones", "whole", modes=ANSWERS),
    _play("loudness", 1.0, 0.0, 2.0, 17, "velocities of the answer, as a factor"),
    _play(
        "quantise", 0, 0, 1, 19, "knob changes wait for the next bar, not the next beat", taper="switch", modes=ANSWERS
    ),
    _play("spread", 0, 0, 1, None, "each layer on the next free channel", taper="switch"),
    _play("give", 5, 0, 10, None, "how far the tempo follows your playing, with --clock player", "%"),
    _play(
        "split",
        0,
        0,
        127,
        18,
        "lowest key the model hears; lower ones are your chord for a band",
        "pitch",
        "whole",
    ),
    _band("ahead", 2, 1, 4, "how long before it sounds what plays along is committed", "half beats", "whole"),
    _band("alone", 0, 0, len(ALONE) - 1, "what the band does when you play nothing", "", "whole", ALONE),
    _band("patience", 2, 1, 8, "for so long you play nothing before it does", "bars", "whole"),
    *(each for part in PARTS for each in _of_part(part)),
)
PARAMETERS: Mapping[str, Parameter] = {p.name: p for p in _ALL}
FRONT: Mapping[Mode, tuple[str, ...]] = {
    "clean": ("density", "swing", "gate", "loudness"),
    "vary": ("distance", "temperature", "density", "key_lock"),
    "continue": ("temperature", "repetition", "density", "key_lock"),
    "blend": ("blend", "density", "register", "key_lock"),
    "generate": ("temperature", "density", "register", "length"),
    "accompany": ("bass_level", "comping_level", "drums_level", "second_level"),
}
"""The knobs that matter most in a mode, which the page has in front."""
FRONT_OF_DRUMS: Mapping[Mode, tuple[str, ...]] = {
    "clean": ("humanise", "density", "swing", "loudness"),
    "vary": ("distance", "density", "velocity", "swing"),
    "generate": ("temperature", "density", "velocity", "swing"),
}
"""The same for drums."""
BUTTONS: Mapping[str, Button] = {
    b.name: b
    for b in (
        Button("freeze", 23, "repeats the current answer until released", stays=True),
        Button("overdub", None, "lays what you play, as it is answered, on the loop that goes round", stays=True),
        Button("undo", None, "takes away the newest layer; while you overdub, first what you just played"),
        Button("store_a", 25, "stores the loop you played last as A of a blend"),
        Button("store_b", 26, "stores the loop you played last as B of a blend"),
        Button("regenerate", 85, "makes another answer to the same loop"),
        Button("back", 86, "goes back to the previous answer, up to ten times"),
        Button("forward", None, "goes forward again, after back"),
        Button("keep", 87, "saves the current answer as a MIDI clip"),
        Button("keep_all", None, "saves all answers to the same loop, each as a clip"),
        Button("answer_clip", None, "answers the clip that is selected in Live, in place of what you play"),
        Button("vary_clip", None, "writes four variations of the clip that is selected in Live beneath it"),
        Button("clear", 88, "clears your loops, A and B, and the current answer"),
        Button("mute", 89, "silences the answer until released", stays=True),
        Button("close", None, "closes your first loop on the downbeat after it, with --clock player; later it stops"),
        Button("half", None, "halves the tempo that was found, with --clock player"),
        Button("double", None, "doubles the tempo that was found, with --clock player"),
        Button("tap", 90, "taps the tempo of the internal clock"),
        Button("roll", None, "rolls at the next bar with a clock that came without Start; press it on a downbeat"),
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
        cc = "" if b.cc is None else f"{b.cc}*"
        yield b.name, cc, f"/rtgen/{b.name}", "stays on" if b.stays else "press", "at once", b.help
