"""The control desk: parameter values, the controllers that set them, MIDI learn and tap tempo."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Literal

from rtgen.instrument.binding import DEFAULTS, Binding, Takeover, was_learned
from rtgen.instrument.controls import Controls, Learned
from rtgen.instrument.events import Learn, Output, Pressed, Turned
from rtgen.instrument.notices import ControlTaken, NothingLearned, SaveBindings
from rtgen.instrument.parameters import PARAMETERS
from rtgen.instrument.turns import Turn
from rtgen.music import midi
from rtgen.music.time import MAX_TEMPO, MIN_TEMPO

At = Literal["idle", "listening", "thinking", "answering"]
"""The instrument's current activity."""
STATE_CC = 3
"""The control change that reports the activity to controllers, on channel 1."""
LIGHTS: Mapping[At, int] = {"idle": 0, "listening": 32, "thinking": 64, "answering": 127}
"""Its values, as the increasing brightness of an LED."""
TURN_CC = 9
"""The control change that lights an LED while it is the player's turn, on channel 1. MIDI 1.0 leaves 3 and 9 free."""
_TAPS = 5
_LONGEST_TAP_S = 3.0
"""A tap tempo takes the last `_TAPS` taps, at most this many seconds apart."""


class Desk:
    """Parameter values, and the controllers that change them.

    Args:
        knobs: a value for every parameter.
        bindings: bindings of the controllers, by input.
        takeover: soft takeover mode.
        usual: bindings of the inputs that are not listed.
    """

    def __init__(
        self,
        knobs: Mapping[str, float],
        bindings: Mapping[int, Iterable[Binding]],
        takeover: Takeover,
        usual: Iterable[Binding] = DEFAULTS["knobs"],
    ) -> None:
        self.knobs = dict(knobs)
        self._bindings = dict(bindings)
        self._takeover: Takeover = takeover
        self._usual = tuple(usual)
        self._controls: dict[int, Controls] = {}
        self._learning: str | None = None
        self._at: At = "idle"
        self._turn: Turn = "none"
        self.bound: Mapping[str, str] = {}
        """The control of each parameter and button that has one, in words; replaced whole."""

    def controls(self, port: int) -> Controls:
        """Return the controls of an input."""
        if port not in self._controls:
            found = Controls(self.knobs.__getitem__, self._bindings.get(port, self._usual), self._takeover)
            found.learn(self._learning)
            self._controls[port] = found
            self._label()
        return self._controls[port]

    def feed(self, port: int, message: bytes, out: Output) -> tuple[Turned | Pressed, ...] | None:
        """Process a message from an input; return what it changes or presses, or None if it is music."""
        controls = self._controls.get(port) or self.controls(port)
        if self._learning is None and controls.bound(message) is None:
            return None  # fast path for nearly everything that is played
        done = controls.feed(message)
        for each in done:
            if isinstance(each, Learned):
                self._learned(port, each, out)
        if not done and controls.bound(message) is None:
            return None
        return tuple(each for each in done if not isinstance(each, Learned))

    def turn(self, turned: Turned, port: int | None, out: Output) -> bool:
        """Set a parameter.

        Args:
            turned: the parameter and its value.
            port: the input whose controller set it, and is not sent it back; None for any other source.
            out: receives the feedback for controllers.

        Returns:
            Whether the value changed.

        Raises:
            ValueError: the value is out of range.
        """
        value = PARAMETERS[turned.name].check(turned.value)
        if value == self.knobs[turned.name]:
            return False
        self.knobs[turned.name] = value
        self.show(turned.name, value, out, but=port)
        return True

    def load(self, knobs: Mapping[str, float], out: Output) -> None:
        """Set all parameters to a preset's values."""
        for name, value in knobs.items():
            self.turn(Turned(name, value), None, out)

    def light(self, at: At, turn: Turn, out: Output) -> None:
        """Show on all controllers the current activity, and whether it is the player's turn, where that is news."""
        messages = []
        if at != self._at:
            messages.append(midi.control(0, STATE_CC, LIGHTS[at]))
        if turn != self._turn:
            messages.append(midi.control(0, TURN_CC, 127 if turn == "yours" else 0))
        self._at, self._turn = at, turn
        out.echoes += [(port, message) for message in messages for port in self._controls]

    def show(self, name: str, value: float, out: Output, *, but: int | None = None) -> None:
        """Show a parameter's value or a button's state on all controllers but one."""
        for port, controls in self._controls.items():
            if port != but:
                out.echoes += [(port, message) for message in controls.shown(name, value)]

    def learn(self, event: Learn, out: Output) -> None:
        """Start or cancel MIDI learn, confirm that a control is taken from what it was bound to, or forget one."""
        if event.forget and event.to is not None:
            forgot = [port for port, controls in self._controls.items() if controls.forget(event.to)]
            self._label()
            out.requests += [SaveBindings(port, event.to, self.controls(port).bindings) for port in forgot]
            if not forgot:
                out.notices.append(NothingLearned(event.to))
            return
        if not event.over:
            self._listen_for(event.to)
            return
        for port, controls in self._controls.items():
            if (learned := controls.take()) is not None:
                self._learned(port, learned, out)

    def _label(self) -> None:
        # What was learned says more than a default, which every controller has.
        every = [binding for controls in self._controls.values() for binding in controls.bindings]
        self.bound = {b.to: b.said for b in sorted(every, key=was_learned)}

    def _listen_for(self, to: str | None) -> None:
        self._learning = to
        for controls in self._controls.values():
            controls.learn(to)

    def _learned(self, port: int, learned: Learned, out: Output) -> None:
        to = learned.binding.to
        if learned.instead is not None:
            out.notices.append(ControlTaken(port, to, learned.instead))
            return
        self._listen_for(None)
        self._label()
        out.requests.append(SaveBindings(port, to, self.controls(port).bindings))


class Taps:
    """Tap tempo."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_TAPS)

    def tap(self, now: float) -> float | None:
        """Add a tap at `now` (seconds); return the tempo in BPM, or None for a first tap."""
        if self._times and now - self._times[-1] > _LONGEST_TAP_S:
            self._times.clear()
        self._times.append(now)
        if len(self._times) < 2:
            return None
        each = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        return min(max(60 / max(each, 1e-3), MIN_TEMPO), MAX_TEMPO)
