"""What the ports of every MIDI system have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rtgen.errors import UserError
from rtgen.instrument.events import Plugged

Direction = Literal["in", "out"]
Receive = Callable[[float, int, bytes], None]
"""Callback with the arrival time (`perf_counter` seconds), the index of the input, and the bytes."""
Changed = Callable[[Plugged], None]
"""Callback for a port that disappeared or came back."""
SYSTEMS = {"jack": "JACK", "alsa": "ALSA", "core": "CoreMIDI", "winmm": "Windows MIDI"}
"""Display name of each MIDI system."""


class Ports(Protocol):
    """A set of inputs and one output."""

    @property
    def ahead_s(self) -> float:
        """How long before it is due a message should be sent, in seconds; 0 if all are sent on at once."""

    def open(self, receive: Receive, changed: Changed = ...) -> None:
        """Opens the ports. `receive` is then called from a thread of the MIDI system, `changed` from another thread."""

    def send(self, at: float, data: bytes) -> None:
        """Sends a message that is due at `at` (`perf_counter` seconds), which is at most `ahead_s` in the future."""

    def take_back(self, now: float) -> None:
        """Lets no note begin, and no clock leave, that is planned for later than `now` (seconds)."""

    def echo(self, port: int, data: bytes) -> None:
        """Sends feedback to the controller at an input, if it has an output for that."""

    def close(self) -> None:
        """Closes the ports."""


class NamedPorts(Ports, Protocol):
    """Ports of a MIDI system."""

    @property
    def title(self) -> str:
        """The names of the ports that are open, for the player."""

    @property
    def awaited(self) -> list[str]:
        """The names of ports that have never been found so far."""

    def connections(self) -> list[Connection]:
        """Returns our ports, and what is connected to them, where that can be known. From any thread."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One of our ports, as `rtgen doctor` shows it.

    Args:
        direction: input or output.
        number: index among the inputs; 0 for the output.
        name: its name for the player.
        there: whether the port that was asked for is there.
        others: the ports that it is connected to; None if the MIDI system does not tell.
        shows: whether it sends knob positions back to a controller.
    """

    direction: Direction
    number: int
    name: str
    there: bool
    others: tuple[str, ...] | None
    shows: bool


@dataclass(slots=True)
class Way:
    """One of our ports, connected or still waited for.

    Args:
        direction: input or output.
        number: index among the inputs; 0 for the output.
        named: the device or other program's port to connect to; None for a virtual port.
        title: its name for the player.
        client: the rtmidi client; None while the MIDI system is down, or if it is not rtmidi's.
        there: whether it is connected now.
        sought: whether it has never been found, so that `named` may be only part of the name.
        shows: whether it sends knob positions back to a controller; `number` is then that controller's input.
        heard: when its last message came, in `perf_counter` seconds.
    """

    direction: Direction
    number: int
    named: str | None
    title: str
    client: Any = None
    there: bool = True
    sought: bool = False
    shows: bool = False
    heard: float = 0.0


def title(ways: Sequence[Way], api: str) -> str:
    """Returns the names of the ports that are open, for the player."""
    order = sorted(ways, key=lambda way: way.direction)
    names = [way.title for way in order if not way.shows and not way.sought]
    return f"{' and '.join(names) or 'none yet'} ({SYSTEMS[api]})"


def refuse_twice(way: Way, name: str, ways: Sequence[Way]) -> None:
    """Rejects an input that is named twice: every note would be received twice.

    Raises:
        UserError: another input before this one has that name.
    """
    before = [other.named for other in ways[: ways.index(way)] if other.direction == "in"]
    if way.direction == "in" and name in before:
        raise UserError(f"MIDI input {name!r} is selected twice; name it once, or give more of the other name")
