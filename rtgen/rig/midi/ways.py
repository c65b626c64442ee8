"""What the ports of every MIDI system have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rtgen.errors import UserError

if TYPE_CHECKING:
    from rtgen.instrument.events import Plugged

Direction = Literal["in", "out"]
Receive = Callable[[float, int, bytes], None]
"""Callback with the arrival time (`perf_counter` seconds), the index of the input, and the bytes."""
Changed = Callable[["Plugged"], None]
"""Callback for a port that disappeared or came back."""
SYSTEMS = {"jack": "JACK", "alsa": "ALSA", "core": "CoreMIDI", "winmm": "Windows MIDI"}
"""Display name of each MIDI system."""
GOES_S = 0.05
"""Seconds that the ports of a device or program take to disappear one after another."""


Choose = Callable[[str, list[str]], str]
"""Callback that asks the player which of several ports is meant."""


class Ports(Protocol):
    """A set of inputs and one output; beside it perhaps an output for each part of a band."""

    @property
    def parts(self) -> Sequence[str]:
        """The parts that have outputs of their own, which are there whenever the MIDI system is."""

    @property
    def ahead_s(self) -> float:
        """How long before it is due a message should be sent, in seconds; 0 if all are sent on at once."""

    def open(self, receive: Receive, changed: Changed = ...) -> None:
        """Opens the ports. `receive` is then called from a thread of the MIDI system, `changed` from another thread."""

    def send(self, at: float, data: bytes, part: str = "") -> None:
        """Sends a message that is due at `at` (`perf_counter` seconds), which is at most `ahead_s` in the future.

        With `part` it leaves by that part's output.
        """

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
        number: index among the inputs; 0 for an output.
        name: its name for the player.
        there: whether the port that was asked for is there.
        others: the ports that it is connected to; None if the MIDI system does not tell.
        shows: whether it sends knob positions back to a controller.
        part: the part of a band whose output it is.
    """

    direction: Direction
    number: int
    name: str
    there: bool
    others: tuple[str, ...] | None
    shows: bool
    part: str = ""


@dataclass(slots=True)
class Way:
    """One of our ports, connected or still waited for.

    Args:
        direction: input or output.
        number: index among the inputs; 0 for an output.
        named: the device or other program's port to connect to; None for a virtual port.
        title: its name for the player.
        client: the rtmidi client; None while the MIDI system is down, or if it is not rtmidi's.
        there: whether it is connected now.
        sought: whether it has never been found, so that `named` may be only part of the name.
        shows: whether it sends knob positions back to a controller; `number` is then that controller's input.
        heard: when its last message came, in `perf_counter` seconds.
        part: the part of a band whose output it is. Such a port is our own, and there whenever the MIDI system is, so
            it is never reported to have gone: the main output stands for it.
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
    part: str = ""

    def connection(self, others: tuple[str, ...] | None) -> Connection:
        """Returns it as `rtgen doctor` shows it; `others` are connected to it if it is virtual, None if not known."""
        if self.named is not None:
            others = (self.named,) if self.there else ()
        return Connection(self.direction, self.number, self.title, self.there, others, self.shows, self.part)

    @property
    def role(self) -> str:
        """What our own port is called, after our name."""
        return self.part or ("to controller" if self.shows else self.direction)

    def found(self, names: Sequence[str], api: str) -> str | None:
        """Returns which of the ports that are there it is to be connected to again; None if it is not among them."""
        if self.named is None:
            return None
        try:
            index = match(self.named, names, "port") if self.sought else same_port(self.named, names, api)
        except UserError:  # it is looked for again the next time
            return None
        return names[index] if index is not None else None


@dataclass(frozen=True, slots=True)
class Patch:
    """Which ports of ours there are to be, and what to connect them to.

    Args:
        name: our name, seen by other programs.
        inputs: names of the inputs to listen to; None for a virtual one.
        output: name of the output; None for a virtual one.
        choose: asks the player when a name is ambiguous.
        wait: whether to wait for a port that is missing or ambiguous.
        shown: names of the outputs back to the controllers at the inputs, in the same order.
        parts: the parts of a band that get outputs of their own.
    """

    name: str
    inputs: Sequence[str | None] = (None,)
    output: str | None = None
    choose: Choose | None = None
    wait: bool = False
    shown: Sequence[str] = ()
    parts: Sequence[str] = ()

    def ways(self) -> list[Way]:
        """Returns the ports, the output first."""
        ways = [Way("out", 0, self.output, self.output or f"{self.name} out")]
        ways += [Way("out", 0, None, f"{self.name} {part}", part=part) for part in self.parts]
        ways += [Way("in", number, i, i or f"{self.name} in") for number, i in enumerate(self.inputs)]
        return ways + [Way("out", number, name, name, shows=True) for number, name in enumerate(self.shown)]

    def target(self, way: Way, names: Sequence[str], ways: Sequence[Way]) -> str | None:
        """Returns the name of the port that one of `ways` is to be connected to; None if that is waited for.

        Args:
            way: with a name, or a part of it.
            names: of the ports that are there.
            ways: all of ours, those before it with their full names.

        Raises:
            UserError: it is missing or ambiguous and not waited for, or an input before this one has it: every note
                would be received twice.
        """
        assert way.named is not None
        try:
            name = names[match(way.named, names, f"{way.direction}put", self.choose)]
        except UserError:
            if not self.wait:
                raise
            way.there, way.sought = False, True
            return None
        if way.direction == "in" and any(o.direction == "in" and o.named == name for o in ways[: ways.index(way)]):
            raise UserError(f"MIDI input {name!r} is selected twice; name it once, or give more of the other name")
        return name


def title(ways: Sequence[Way], api: str) -> str:
    """Returns the names of the ports that are open, for the player."""
    order = sorted(ways, key=lambda way: way.direction)
    names = [way.title for way in order if not way.shows and not way.sought and not way.part]
    parts = [way.title for way in ways if way.part]
    with_parts = f", with {', '.join(parts)}" if parts else ""
    return f"{' and '.join(names) or 'none yet'}{with_parts} ({SYSTEMS[api]})"


def match(wanted: str, names: Sequence[str], kind: str, choose: Choose | None = None) -> int:
    """Finds a port by its name or part of it, case-insensitively; returns its index.

    Raises:
        UserError: no port matches, or several do and `choose` is None.
    """
    exact = [i for i, name in enumerate(names) if name == wanted]
    partial = exact or [i for i, name in enumerate(names) if wanted.lower() in name.lower()]
    if len(partial) == 1:
        return partial[0]
    if not partial:
        there = ", ".join(repr(n) for n in names) or "none"
        raise UserError(f"No MIDI {kind} matches {wanted!r} (found: {there}); check the cable, or run 'rtgen ports'")
    several = [names[i] for i in partial]
    if choose is not None:
        return names.index(choose(f"Which MIDI {kind} is {wanted!r}?", several))
    raise UserError(f"{wanted!r} matches several MIDI {kind}s: {', '.join(map(repr, several))}; give more of its name")


_ADDRESS = {"alsa": re.compile(r" \d+:\d+$"), "winmm": re.compile(r" \d+$")}
"""The address that some systems append to a name, which changes when the port comes back."""


def same_port(name: str, names: Sequence[str], api: str) -> int | None:
    """Returns the index of the port that was last seen as `name`; None if it is absent."""
    if name in names:
        return names.index(name)
    if (address := _ADDRESS.get(api)) is None:
        return None
    bare = [address.sub("", n) for n in names]
    wanted = address.sub("", name)
    return bare.index(wanted) if wanted in bare else None
