"""Controller input: bindings, MIDI learn, soft takeover and relative encoders.

Sans I/O, like the whole instrument: messages in, parameter changes and button presses out. Every controller has its own
`Controls`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from rtgen.instrument.binding import ATTACHED, DEFAULTS, NEVER, PAIRED, Binding, Code, Takeover, was_learned
from rtgen.instrument.events import Pressed, Turned
from rtgen.instrument.parameters import BUTTONS, PARAMETERS
from rtgen.music import midi

STEP = 1 / 100
"""Share of a linear parameter's range per step of a relative encoder; other parameters step by whole numbers."""
_FINE = 2 / 127
"""Share of the range within which a knob counts as being at its parameter's value."""
_HALF = 64
_GESTURE = 4
"""Control changes needed to recognise the type of a knob."""


@dataclass(frozen=True, slots=True)
class Learned:
    """The result of MIDI learn.

    Args:
        binding: the new binding.
        instead: what the control is bound to already, if anything; then nothing has changed yet, and `Controls.take`
            confirms.
    """

    binding: Binding
    instead: str | None = None


Done = Turned | Pressed | Learned


@dataclass(slots=True)
class _Knob:
    """The state of a binding's knob.

    Args:
        high: the last value of the first control change (MSB) of a pair.
        paired: whether the second (LSB) has ever come.
        stands: last position, 0-1.
        set_to: position, 0-1, of the value that it last set.
    """

    high: int = 0
    paired: bool = False
    stands: float | None = None
    set_to: float | None = None


class Controls:
    """The knobs and buttons of one controller.

    Args:
        value_of: returns the current value of a parameter.
        bindings: initial bindings; of two that clash the first is kept.
        takeover: soft takeover mode.
    """

    def __init__(
        self,
        value_of: Callable[[str], float],
        bindings: Iterable[Binding] = DEFAULTS["knobs"],
        takeover: Takeover = "none",
    ) -> None:
        self._value_of = value_of
        self.takeover: Takeover = takeover
        self._bindings: list[Binding] = []
        # Indexed by message type and number, as every message that is played is looked up.
        self._found: dict[tuple[bool, int], list[Binding]] = {}
        kept: list[Binding] = []
        for binding in bindings:
            if not any(binding.clashes(other) for other in kept):
                kept.append(binding)
        self._set(kept)
        self._knobs: dict[Binding, _Knob] = {}
        self._learning: str | None = None
        self._seen: deque[tuple[int, int, int]] = deque(maxlen=2 * _GESTURE)
        self._offered: Binding | None = None

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The current bindings."""
        return tuple(self._bindings)

    def bound(self, message: bytes) -> Binding | None:
        """Return the binding that a message belongs to, if any."""
        kind = message[0] & 0xF0
        found = self._found.get((kind == 0xB0, message[1])) if kind in (0x80, 0x90, 0xB0) else None
        if found is None:
            return None
        channel = (message[0] & 0x0F) + 1
        return next((b for b in found if b.channel in (None, channel)), None)

    def feed(self, message: bytes) -> tuple[Done, ...]:
        """Process a message from the controller; return what it does, nothing if it is not bound."""
        if self._learning is not None and (learned := self._learn(message)) is not None:
            return (learned,)
        binding = self.bound(message)
        if binding is None:
            return ()
        if binding.to in BUTTONS:
            return self._press(binding, message)
        return self._turn(binding, message)

    # ---- playing --------------------------------------------------------------------------------------------------

    def _press(self, binding: Binding, message: bytes) -> tuple[Done, ...]:
        down = midi.is_note_on(message) if binding.kind == "note" else message[2] >= _HALF
        knob = self._knobs.setdefault(binding, _Knob())
        before, knob.stands = knob.stands, message[2] / 127
        # A knob that moves within one half does not press again; a button that sends no release does.
        same = before is not None and (before >= _HALF / 127) == down
        if binding.kind != "note" and same and before != knob.stands:
            return ()
        if BUTTONS[binding.to].stays:
            if not binding.toggles:
                return (Pressed(binding.to, down),)
            return (Pressed(binding.to, None),) if down else ()
        return (Pressed(binding.to),) if down else ()

    def _turn(self, binding: Binding, message: bytes) -> tuple[Done, ...]:
        parameter = PARAMETERS[binding.to]
        knob = self._knobs.setdefault(binding, _Knob())
        now = parameter.share(self._value_of(binding.to))
        if binding.code is not None:
            steps = by(binding.code, message[2])
            step = STEP if parameter.taper == "linear" else 1 / max(parameter.high - parameter.low, 1)
            share = min(max(now + steps * step, 0.0), 1.0)
            return () if share == now else (Turned(parameter.name, parameter.at(share)),)
        stands = _stands(binding, knob, message)
        if stands is None:
            return ()
        taken = self._taken_over(knob, stands, now)
        knob.stands = stands
        if taken is None:
            return ()
        value = parameter.at(taken)
        knob.set_to = parameter.share(value)
        return (Turned(parameter.name, value),)

    def _taken_over(self, knob: _Knob, stands: float, now: float) -> float | None:
        """Return the new position of the parameter, 0-1; None while the knob has not taken over.

        Args:
            knob: the knob that moved, with its position before.
            stands: its position, 0-1.
            now: the parameter's position, 0-1.
        """
        held = knob.set_to is not None and abs(knob.set_to - now) < 1e-6
        if self.takeover == "none" or abs(stands - now) <= _FINE:
            return stands
        before = knob.stands
        if self.takeover == "pickup":
            crossed = before is not None and (before - now) * (stands - now) <= 0
            return stands if held or crossed else None
        if before is None or stands == before:
            return None
        # Value scaling: knob and parameter reach the end of their range together.
        there = 1.0 if stands > before else 0.0
        if before == there:
            return there
        return min(max(now + (stands - before) * (there - now) / (there - before), 0.0), 1.0)

    # ---- MIDI learn -------------------------------------------------------------------------------------------------

    def learn(self, to: str | None) -> None:
        """MIDI learn: assign the next control that moves to a parameter or a button; None cancels.

        Relative encoders must be turned to the right.

        Raises:
            ValueError: there is no such parameter or button.
        """
        if to is not None and to not in PARAMETERS and to not in BUTTONS:
            raise ValueError(f"there is no parameter and no button {to!r}")
        self._learning, self._offered = to, None
        self._seen.clear()

    def take(self) -> Learned | None:
        """Confirm the assignment of a control that was bound to something else."""
        offered, self._offered = self._offered, None
        if offered is None:
            return None
        self.learn(None)
        return self._bind(offered)

    def forget(self, to: str) -> bool:
        """Remove what was learned for a parameter or button; return whether there was any."""
        if not any(b.to == to and was_learned(b) for b in self._bindings):
            return False
        self._set([b for b in self._bindings if b.to != to])
        return True

    def _set(self, bindings: list[Binding]) -> None:
        self._bindings = bindings
        self._found.clear()
        for binding in bindings:
            for kind, number in binding.signs:
                self._found.setdefault((kind == "cc", number), []).append(binding)

    def _learn(self, message: bytes) -> Learned | None:
        assert self._learning is not None
        channel = (message[0] & 0x0F) + 1
        if midi.is_note_on(message) and self._learning in BUTTONS:
            stays = BUTTONS[self._learning].stays
            return self._offer(Binding(self._learning, message[1], "note", channel, toggles=stays))
        # A key that is pressed to teach a button may send some of these first.
        if message[0] & 0xF0 != 0xB0 or message[1] in NEVER or message[1] in ATTACHED:
            return None
        self._seen.append((channel, message[1], message[2]))
        found = recognised(self._learning, self._seen)
        return self._offer(found) if found is not None else None

    def _offer(self, binding: Binding) -> Learned | None:
        if binding == self._offered:
            return None
        self._offered = binding
        other = next((b for b in self._bindings if b.clashes(binding) and b.to != binding.to), None)
        # Default bindings were never learned: replace them without asking.
        if other is not None and was_learned(other):
            return Learned(binding, other.to)
        return self.take()

    def _bind(self, binding: Binding) -> Learned:
        kept = [b for b in self._bindings if b.to != binding.to and not b.clashes(binding)]
        self._set([*kept, binding])
        return Learned(binding)

    # ---- controller feedback --------------------------------------------------------------------------------------

    def shown(self, name: str, value: float) -> tuple[bytes, ...]:
        """Return the messages that show a parameter's value or a button's state on the controller (LED rings, lights).

        Args:
            name: a parameter or a button.
            value: of the parameter; 1 or 0 for the button.
        """
        share = PARAMETERS[name].share(value) if name in PARAMETERS else value
        messages: list[bytes] = []
        for binding in self._bindings:
            if binding.to != name or binding.code is not None:
                continue
            channel = (binding.channel or 1) - 1
            if binding.kind == "note":
                messages.append(midi.note_on(channel, binding.number, round(127 * share)))
            elif binding.kind == "cc14":
                value14 = round(16383 * share)
                messages.append(midi.control(channel, binding.number, value14 >> 7))
                messages.append(midi.control(channel, binding.number + PAIRED, value14 & 0x7F))
            else:
                messages.append(midi.control(channel, binding.number, as_cc(share)))
        return tuple(messages)


def of_cc(value: int) -> float:
    """Return the position, 0-1, for a control change of 0-127; 64 is the exact centre, as on a knob with a detent."""
    return value / 128 if value < _HALF else 0.5 + (value - _HALF) / 126


def as_cc(share: float) -> int:
    """Return the control change, 0-127, for a position of 0-1."""
    return round(128 * share) if share < 0.5 else round(_HALF + 126 * (share - 0.5))


def by(code: Code, value: int) -> int:
    """Return the number of steps that a relative encoder was turned; negative to the left."""
    match code:
        case "twos_complement":
            return value if value < _HALF else value - 128
        case "binary_offset":
            return value - _HALF
        case "sign_magnitude":
            return value if value < _HALF else _HALF - value


def recognised(to: str, seen: Iterable[tuple[int, int, int]]) -> Binding | None:
    """Recognise the type of the control that is moved, as soon as the messages allow.

    Args:
        to: the parameter or button to bind.
        seen: channel, number and value of recent control changes, the oldest first.
    """
    every = list(seen)
    channel, number, _ = every[-1]
    if to in BUTTONS:
        return Binding(to, number, "cc", channel) if every[-1][2] >= _HALF else None
    own = {n: [v for c, m, v in every if (c, m) == (channel, n)] for n in (number, number - PAIRED, number + PAIRED)}
    first = number - PAIRED if own[number - PAIRED] else number
    # The other half of a 14-bit pair may still come.
    if len(own[number]) < _GESTURE:
        return None
    if first < PAIRED and own.get(first) and own.get(first + PAIRED):
        return Binding(to, first, "cc14", channel)
    return Binding(to, number, "cc", channel, _code(own[number]))


def _code(values: list[int]) -> Code | None:
    """Return the encoding of a relative encoder that is turned to the right; None for an absolute knob."""
    if all(0 < v < 8 for v in values) and any(a >= b for a, b in pairwise(values)):
        # Two's complement and sign-magnitude differ only to the left (127 or 65), and most controllers send 127.
        return "twos_complement"
    if all(_HALF < v < _HALF + 8 for v in values) and any(a >= b for a, b in pairwise(values)):
        return "binary_offset"
    return None


def _stands(binding: Binding, knob: _Knob, message: bytes) -> float | None:
    """Return the position of an absolute knob, 0-1; None while only half of a 14-bit value has come."""
    if binding.kind == "cc":
        return of_cc(message[2])
    if message[1] == binding.number:
        knob.high = message[2]
        return None if knob.paired else of_cc(message[2])
    knob.paired = True
    return (knob.high << 7 | message[2]) / 16383
