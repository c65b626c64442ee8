"""Bindings: which controller message sets which parameter or presses which button."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from rtgen.errors import did_you_mean
from rtgen.instrument.parameters import BUTTONS, FREE, PARAMETERS
from rtgen.music import key, midi

Code = Literal["twos_complement", "binary_offset", "sign_magnitude"]
"""How a relative encoder encodes a step down and up: 127 and 1, 63 and 65, or 65 and 1."""
CODES: tuple[Code, ...] = get_args(Code)
Kind = Literal["cc", "cc14", "note"]
"""A control change; a pair of them that form a 14-bit value, the second numbered 32 above the first (MIDI 1.0); or a
key."""
KINDS: tuple[Kind, ...] = get_args(Kind)
NEVER = frozenset({midi.SUSTAIN, *range(120, 128)})
"""Control changes that are never bound: the sustain pedal and the channel mode messages."""
ATTACHED = frozenset({0, 32, 84, 88, *range(98, 102)})
"""Control changes that belong to the message after them, so that nobody means to teach them: bank select, portamento
control, the high-resolution velocity prefix (MIDI CA-031), and the numbers of (non-)registered parameters."""
PAIRED = 32
"""Offset from the first to the second control change of a 14-bit pair."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A controller's knob, button or key, and what it controls.

    Args:
        to: a parameter or a button.
        number: of the control change, or the pitch of the key.
        kind: message type.
        channel: 1-16; None is any.
        code: encoding of a relative encoder; None for an absolute control.
        toggles: whether a latching button is released by another press, rather than by letting go.

    Raises:
        ValueError: there is no such parameter or button, or no such message.
    """

    to: str
    number: int
    kind: Kind = "cc"
    channel: int | None = None
    code: Code | None = None
    toggles: bool = False

    def __post_init__(self) -> None:
        if self.to not in PARAMETERS and self.to not in BUTTONS:
            near = did_you_mean(self.to, [*PARAMETERS, *BUTTONS])
            raise ValueError(f"there is no parameter and no button {self.to!r}{near}")
        if self.kind not in KINDS or (self.code is not None and self.code not in CODES):
            raise ValueError(f"{self.to}: {self.kind!r} with {self.code!r} is no kind of message")
        most = 31 if self.kind == "cc14" else 127
        if type(self.number) is not int or not 0 <= self.number <= most:
            raise ValueError(f"{self.to}: {self.number!r} is not a number from 0 to {most}")
        if self.kind != "note" and self.number in NEVER:
            raise ValueError(f"{self.to}: control change {self.number} is the pedal's, or silences; choose another")
        if self.channel is not None and (type(self.channel) is not int or not 1 <= self.channel <= 16):
            raise ValueError(f"{self.to}: channel {self.channel!r} is not from 1 to 16")
        if self.kind == "note" and self.to in PARAMETERS:
            raise ValueError(f"{self.to}: a key presses, and cannot turn")

    @property
    def signs(self) -> tuple[tuple[str, int], ...]:
        """The messages that it matches: `cc` or `note`, and a number."""
        if self.kind == "note":
            return (("note", self.number),)
        return tuple(("cc", n) for n in (self.number, self.number + PAIRED)[: 1 + (self.kind == "cc14")])

    @property
    def said(self) -> str:
        """The control in a word or two, as a label has it: `CC 20`, or `key C2`."""
        if self.kind == "note":
            return f"key {key.NAMES[self.number % 12]}{self.number // 12 - 1}"
        return f"CC {self.number}"

    def clashes(self, other: Binding) -> bool:
        """Return whether a message could match both bindings."""
        apart = self.channel is not None and other.channel is not None and self.channel != other.channel
        return not apart and bool(set(self.signs) & set(other.signs))


Takeover = Literal["none", "pickup", "scale"]
"""Soft takeover, for a knob that is not at its parameter's value: `none` jumps there, `pickup` waits until the knob
reaches or crosses the value, `scale` moves both in proportion, so that they meet at the end of the range."""
TAKEOVERS: tuple[Takeover, ...] = get_args(Takeover)
Layout = Literal["knobs", "all", "learned"]
"""What is bound without having been learned: knobs whose control changes no instrument sends by itself; every knob and
button that has a control change; or nothing."""
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
_ALL = (
    *(Binding(p.name, p.cc) for p in PARAMETERS.values() if p.cc is not None),
    *(Binding(b.name, b.cc) for b in BUTTONS.values() if b.cc is not None),
)
_KNOBS = tuple(b for b in _ALL if b.to in PARAMETERS and b.number in FREE)
DEFAULTS: Mapping[Layout, tuple[Binding, ...]] = {"knobs": _KNOBS, "all": _ALL, "learned": ()}
"""The bindings of a controller from which nothing has been learned."""
_COPIED = 8
"""So many bindings of `_ALL` beyond the layout were copied from there, not chosen one by one."""


def bound(layout: Layout, learned: Iterable[Binding]) -> tuple[Binding, ...]:
    """Return the bindings of a controller: what was learned, and those of the layout that do not get in its way.

    In version 0.1 the first control that was learned stored all the bindings of `_ALL` beside it. Those that the layout
    has not are left out.

    Args:
        layout: the layout.
        learned: what is stored for the controller.
    """
    learned = tuple(learned)
    usual = DEFAULTS[layout]
    copied = {b for b in learned if b in _ALL and b not in usual}
    if len(copied) >= _COPIED:
        learned = tuple(b for b in learned if b not in copied)
    own = {b.to for b in learned}
    return (*(b for b in usual if b.to not in own and not any(b.clashes(other) for other in learned)), *learned)


def was_learned(binding: Binding) -> bool:
    """Return whether a binding is none of those that a controller may have by default."""
    return binding not in _ALL
