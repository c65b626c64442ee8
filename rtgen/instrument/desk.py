"""The desk: where every knob stands, which controllers turn them, and what is being learned."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Literal

from rtgen.instrument.binding import DEFAULT, Binding
from rtgen.instrument.controls import Controls, Learned, Takeover
from rtgen.instrument.events import Learn, Output, Pressed, Turned
from rtgen.instrument.notices import ControlTaken, SaveBindings
from rtgen.instrument.parameters import PARAMETERS
from rtgen.music import midi
from rtgen.music.time import MAX_TEMPO, MIN_TEMPO

At = Literal["idle", "listening", "thinking", "answering"]
"""What the instrument is at."""
STATE_CC = 3
"""The control change that tells controllers so, on channel 1."""
LIGHTS: Mapping[At, int] = {"idle": 0, "listening": 32, "thinking": 64, "answering": 127}
"""Its values: an LED that is dimmed by them goes from dark to bright."""
_TAPS = 5
_LONGEST_TAP_S = 3.0
"""Taps from which a tempo is told, and between two of them."""


class Desk:
    """Where every knob stands, and the controllers that turn and press.

    Args:
        knobs: a value for every parameter.
        bindings: what the controllers at some inputs are for; of all others, the usual.
        takeover: what a knob does that does not stand where its parameter is.
    """

    def __init__(
        self, knobs: Mapping[str, float], bindings: Mapping[int, Iterable[Binding]], takeover: Takeover
    ) -> None:
        self.knobs = dict(knobs)
        self._bindings = dict(bindings)
        self._takeover: Takeover = takeover
        self._controls: dict[int, Controls] = {}
        self._learning: str | None = None

    def controls(self, port: int) -> Controls:
        """The knobs and buttons at an input."""
        if port not in self._controls:
            found = Controls(self.knobs.__getitem__, self._bindings.get(port, DEFAULT), self._takeover)
            found.learn(self._learning)
            self._controls[port] = found
        return self._controls[port]

    def feed(self, port: int, message: bytes, out: Output) -> tuple[Turned | Pressed, ...] | None:
        """What a message from an input turns and presses; None if it is music."""
        controls = self._controls.get(port) or self.controls(port)
        if self._learning is None and controls.bound(message) is None:
            return None  # as nearly all that is played
        done = controls.feed(message)
        for each in done:
            if isinstance(each, Learned):
                self._learned(port, each, out)
        if not done and controls.bound(message) is None:
            return None
        return tuple(each for each in done if not isinstance(each, Learned))

    def turn(self, turned: Turned, port: int | None, out: Output) -> bool:
        """Turns a knob, by the controller at an input or otherwise; whether it stood elsewhere.

        Raises:
            ValueError: it does not go there.
        """
        value = PARAMETERS[turned.name].check(turned.value)
        if value == self.knobs[turned.name]:
            return False
        self.knobs[turned.name] = value
        self.show(turned.name, value, out, but=port)
        return True

    def load(self, knobs: Mapping[str, float], out: Output) -> None:
        """All knobs as a preset has them."""
        for name, value in knobs.items():
            self.turn(Turned(name, value), None, out)

    def light(self, at: At, out: Output) -> None:
        """Shows all controllers what the instrument is at."""
        message = midi.control(0, STATE_CC, LIGHTS[at])
        out.echoes += [(port, message) for port in self._controls]

    def show(self, name: str, value: float, out: Output, *, but: int | None = None) -> None:
        """Shows controllers, but for one, how a parameter or a button stands."""
        for port, controls in self._controls.items():
            if port != but:
                out.echoes += [(port, message) for message in controls.shown(name, value)]

    def learn(self, event: Learn, out: Output) -> None:
        """What is moved next is for something; or what was moved last is, though it was for something else."""
        if not event.over:
            self._listen_for(event.to)
            return
        for port, controls in self._controls.items():
            if (learned := controls.take()) is not None:
                self._learned(port, learned, out)

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
        out.requests.append(SaveBindings(port, to, self.controls(port).bindings))


class Taps:
    """A tempo that is tapped."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_TAPS)

    def tap(self, now: float) -> float | None:
        """A tap, at a second; the tempo in BPM, if there were others just before."""
        if self._times and now - self._times[-1] > _LONGEST_TAP_S:
            self._times.clear()
        self._times.append(now)
        if len(self._times) < 2:
            return None
        each = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        return min(max(60 / max(each, 1e-3), MIN_TEMPO), MAX_TEMPO)
