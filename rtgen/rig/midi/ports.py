"""Opens MIDI input and output ports, of a MIDI system or of none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from types import MappingProxyType

from rtgen.rig.midi.ways import Changed, NamedPorts, Patch, Receive

Sent = Callable[[float, bytes], None]
"""Callback with the time and the bytes of a message sent."""


def open_ports(api: str, patch: Patch) -> NamedPorts:
    """Opens ports of a MIDI system.

    Raises:
        UserError: a port is missing, the system has stopped, or it has no virtual ports.
    """
    # Each imports what the other does without.
    if api == "jack":
        from rtgen.rig.midi.jack_ports import JackPorts

        return JackPorts(patch)
    from rtgen.rig.midi.system_ports import SystemPorts

    return SystemPorts(api, patch)


class LoopbackPorts:
    """A pair of ports within this process, without a MIDI system.

    Args:
        sent: called with the time (`perf_counter` seconds) and the bytes of each message sent.
        parts: the same for each part that has an output of its own.
    """

    def __init__(self, sent: Sent, parts: Mapping[str, Sent] = MappingProxyType({})) -> None:
        self._sent = {"": sent, **parts}
        self.parts = tuple(parts)
        self._receive: Receive | None = None

    def open(self, receive: Receive, changed: Changed = lambda _: None) -> None:  # noqa: ARG002
        """Starts passing input to `receive`; these ports never disappear, so `changed` is never called."""
        self._receive = receive

    def play(self, data: bytes) -> None:
        """Feeds a message into the input."""
        if self._receive is not None:
            self._receive(perf_counter(), 0, data)

    ahead_s = 0.0

    def take_back(self, now: float) -> None:
        """Does nothing, as messages are sent at once."""

    def send(self, at: float, data: bytes, part: str = "") -> None:  # noqa: ARG002
        """Passes a message to `sent`, or to that of a part."""
        self._sent[part](perf_counter(), data)

    def echo(self, port: int, data: bytes) -> None:
        """Does nothing, as there is no controller."""

    def close(self) -> None:
        """Stops receiving."""
        self._receive = None
