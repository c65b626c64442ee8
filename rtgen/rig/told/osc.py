"""Remote control over Open Sound Control (OSC 1.0, UDP): parameters and buttons in, state out.

    /rtgen/<parameter> f       set a parameter     /rtgen/<button> [f]      press a button; 0 releases it
    /rtgen/preset s|i          a name, `next`, `previous`, or a program number
    /rtgen/use s               answer, follow or hold
    /rtgen/tempo f             of the internal clock, in BPM
    /rtgen/learn s             MIDI learn; `/rtgen/learn/over` reassigns a control that is taken
    /rtgen/learn/forget s      forget what was learned
    /rtgen/doctor              what comes in and what is connected, as JSON, under `/rtgen/state/doctor`
    /rtgen/subscribe [i]       send the state to this port of the sender; `/rtgen/unsubscribe`

The state arrives under the same addresses, so that faders follow, and under `/rtgen/state/...`. A subscription ends
unless it is renewed.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any, Self

from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import BuildError, OscMessageBuilder
from pythonosc.osc_packet import OscPacket, ParseError

from rtgen.errors import UserError, did_you_mean
from rtgen.instrument.events import Event, Learn, Paced, Pressed, Turned, Used
from rtgen.instrument.job import Placed
from rtgen.instrument.notices import Answered, ControlTaken, KeepAnswer, NothingLearned, SaveBindings
from rtgen.instrument.parameters import BUTTONS, PARAMETERS
from rtgen.instrument.preset import USES
from rtgen.music.note import Loop, Note
from rtgen.music.time import MAX_TEMPO, MIN_TEMPO, PPQN
from rtgen.rig.daemon import View

PORT = 7770
"""Default port; if it is taken, one of the next nine."""
PORTS = range(PORT, PORT + 10)
LEASE_S = 30.0
"""How long a subscription lasts, in seconds."""
MOST = 64
"""Messages accepted per `_ROUND_S`; the rest are dropped and reported."""
LISTENERS = 16
"""Most subscriptions at a time."""
COMPLETE = "/rtgen/state/complete"
"""Ends the full state that a new subscriber receives."""
NOTES = 256
"""Most notes of a loop that are sent: a datagram has its limits."""
_ROUND_S = 0.05
_IDLE_S = 0.5
_COMPLAIN_S = 1.0
_BYTES = 65_536
Address = tuple[str, int]
Said = tuple[str, tuple[Any, ...]]
"""An OSC address and its values."""


@dataclass(slots=True)
class _Listener:
    """A subscriber: until when, and the last state sent."""

    until: float
    told: dict[str, tuple[Any, ...]] = field(default_factory=dict)


class Remote:
    """An OSC server in a thread of its own.

    Args:
        hear: hands an event to the instrument.
        view: returns the current state.
        choose: loads another preset; returns why it cannot, or None.
        complain: shows a sentence to the player.
        about: constant facts by name: `name`, and what else a client should know.
        host: address to listen on.
        port: to listen on; None takes a free one of `PORTS`.
        examine: returns what comes in and what is connected, as JSON.

    Raises:
        UserError: the port is taken, or the address is not one of this machine.
    """

    def __init__(
        self,
        hear: Callable[[Event], None],
        view: Callable[[], View],
        choose: Callable[[str], str | None],
        complain: Callable[[str], None],
        about: Mapping[str, str],
        host: str = "127.0.0.1",
        port: int | None = None,
        examine: Callable[[], str] = lambda: "{}",
    ) -> None:
        self._hear, self._view, self._choose, self._complain = hear, view, choose, complain
        self._examine = examine
        self._about = dict(about)
        self._socket = _bound(host, port)
        self._socket.settimeout(_ROUND_S)
        self.host, self.port = self._socket.getsockname()[:2]
        """The address it listens on."""
        self._listeners: dict[Address, _Listener] = {}
        self._news: SimpleQueue[Said] = SimpleQueue()
        self._dropped = 0
        self._complained = float("-inf")
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="osc", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._thread.join(1.0)
        self._socket.close()

    def tell(self, address: str, *values: Any) -> None:
        """Send a message to all subscribers; from any thread."""
        self._news.put((address, values))

    def heard(self, item: object, line: str) -> None:
        """Send news: a sentence, and values for answers (ms taken, ms of lead), learned controls and kept clips."""
        if isinstance(item, Answered):
            self.tell("/rtgen/state/took", round(1e3 * item.seconds, 2), round(1e3 * item.lead_s, 2), item.outcome)
        elif isinstance(item, SaveBindings):
            self.tell(f"/rtgen/state/{'forgotten' if item.forgotten else 'learned'}", item.to)
        elif isinstance(item, NothingLearned):
            self.tell("/rtgen/state/forgotten", item.to)
        elif isinstance(item, ControlTaken):
            self.tell("/rtgen/state/taken", item.to, item.other)
        elif isinstance(item, KeepAnswer):
            self.tell("/rtgen/state/kept", len(item.loop or ()))
        self.tell("/rtgen/state/news", line)

    # ---- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            # Without subscribers it sleeps until something arrives.
            round_ends = perf_counter() + (_ROUND_S if self._listeners else _IDLE_S)
            taken = 0
            while (left := round_ends - perf_counter()) > 0:
                self._socket.settimeout(left)
                try:
                    data, sender = self._socket.recvfrom(_BYTES)
                except TimeoutError:
                    break
                except OSError:
                    continue  # a subscriber is gone, which the system reports here
                taken += 1
                round_ends = min(round_ends, perf_counter() + _ROUND_S) if taken == 1 else round_ends
                if taken <= MOST:
                    self._take(data, sender)
                else:
                    self._dropped += 1
            self._feed(perf_counter())

    def _take(self, data: bytes, sender: Address) -> None:
        try:
            messages = [timed.message for timed in OscPacket(data).messages][:MOST]
        except (ParseError, ValueError, IndexError, RecursionError):
            self._refuse(sender, "not an OSC message")
            return
        for message in messages:
            wrong = self._do(message, sender)
            if wrong is not None:
                self._refuse(sender, wrong)

    def _refuse(self, sender: Address, why: str) -> None:
        self._send(sender, ("/rtgen/error", (why,)))
        now = perf_counter()
        if now - self._complained > _COMPLAIN_S:
            self._complained = now
            self._complain(f"OSC from {sender[0]}: {why}")

    def _do(self, message: OscMessage, sender: Address) -> str | None:
        """Carry out a message; return why it cannot be, or None."""
        address, values = message.address, list(message.params)
        name = address.removeprefix("/rtgen/")
        first = values[0] if values else None
        if name == address:
            return f"{address} is not an rtgen address; they all start with /rtgen/"
        if name in PARAMETERS:
            return self._turn(name, first)
        if name in BUTTONS:
            if first is not None and not isinstance(first, int | float):
                return f"/rtgen/{name} takes no value, or a number, not {first!r}"
            stays = BUTTONS[name].stays and first is None
            self._hear(Pressed(name, None if stays else first is None or first > 0))
            return None
        match name:
            case "preset" if isinstance(first, str | int) and not isinstance(first, bool):
                return self._choose(str(first))
            case "use" if first in USES:
                self._hear(Used(first))
            case "learn" if first in ("", None) or first in PARAMETERS or first in BUTTONS:
                self._hear(Learn(first or None))
            case "learn/over":
                self._hear(Learn(None, over=True))
            case "learn/forget" if first in PARAMETERS or first in BUTTONS:
                self._hear(Learn(first, forget=True))
            case "tempo" if isinstance(first, int | float) and not isinstance(first, bool):
                return self._pace(first)
            case "doctor":
                self._send(sender, ("/rtgen/state/doctor", (self._examine(),)))
            case "subscribe" if first is None or (type(first) is int and 0 < first < 65_536):
                return self._subscribe((sender[0], first or sender[1]))
            case "unsubscribe":
                self._listeners.pop((sender[0], first if type(first) is int else sender[1]), None)
            case "preset" | "use" | "learn" | "learn/forget" | "tempo" | "subscribe":
                return f"/rtgen/{name} cannot be {first!r}"
            case _:
                known = [*PARAMETERS, *BUTTONS, "preset", "use", "tempo", "learn"]
                return f"there is no {address}{did_you_mean(name, known)}"
        return None

    def _turn(self, name: str, value: Any) -> str | None:
        wanted = (int, float, str) if PARAMETERS[name].choices else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted) or value != value:
            return f"/rtgen/{name} takes a number, not {value!r}"
        try:
            self._hear(Turned(name, PARAMETERS[name].check(value)))
        except ValueError as error:
            return str(error)
        return None

    def _pace(self, tempo: float) -> str | None:
        clock = self._view().clock
        if clock != "internal":
            whose = "the MIDI clock" if clock == "midi" else "the Link session"
            return f"the tempo is that of {whose}; set it there, or restart rtgen with --clock internal"
        if not MIN_TEMPO <= tempo <= MAX_TEMPO:
            return f"tempo is {tempo:g}; it goes from {MIN_TEMPO:g} to {MAX_TEMPO:g}"
        self._hear(Paced(float(tempo)))
        return None

    def _subscribe(self, listener: Address) -> str | None:
        if listener not in self._listeners and len(self._listeners) >= LISTENERS:
            return f"{LISTENERS} subscriptions are the most; /rtgen/unsubscribe one"
        told = self._listeners.pop(listener, _Listener(0.0)).told
        self._listeners[listener] = _Listener(perf_counter() + LEASE_S, told)
        self._send(listener, ("/rtgen/state/alive", (1,)))
        return None

    # ---- telling ----------------------------------------------------------------------------------------------------

    def _feed(self, now: float) -> None:
        if self._dropped and now - self._complained > _COMPLAIN_S:
            self._complained = now
            self._complain(f"more OSC comes in than can be played: {self._dropped} messages dropped")
            self._dropped = 0
        self._listeners = {a: each for a, each in self._listeners.items() if each.until > now}
        news: list[Said] = []
        with suppress(Empty):
            while True:
                news.append(self._news.get_nowait())
        if not self._listeners:
            return
        state = {f"/rtgen/state/{name}": (value,) for name, value in self._about.items()} | dict(told(self._view()))
        for address, listener in self._listeners.items():
            for said in state.items():
                if listener.told.get(said[0]) != said[1]:
                    self._send(address, said)
            listener.told = state
            for said in news:
                self._send(address, said)

    def _send(self, to: Address, said: Said) -> None:
        with suppress(OSError, BuildError):
            self._socket.sendto(datagram(*said), to)


def _bound(host: str, port: int | None) -> socket.socket:
    for number in PORTS if port is None else (port,):
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            found.bind((host, number))
        except OSError as error:
            found.close()
            reason = error.strerror or str(error)
        else:
            return found
    which = f"ports {PORTS[0]} to {PORTS[-1]} of {host} are" if port is None else f"port {port} of {host} is"
    raise UserError(f"OSC {which} already in use ({reason}); choose another with --osc, or --osc off")


def told(view: View) -> Iterator[Said]:
    """Yield the state as OSC addresses and values."""
    for name, value in view.knobs.items():
        yield f"/rtgen/{name}", (float(value),)
    yield "/rtgen/freeze", (float(view.use == "hold"),)
    yield "/rtgen/mute", (float(view.muted),)
    yield "/rtgen/state/preset", (view.preset.name, view.preset.program)
    yield "/rtgen/state/settings", (json.dumps(view.preset.as_dict()),)
    yield "/rtgen/state/model", (view.preset.model,)
    yield "/rtgen/state/mode", (view.preset.mode,)
    yield "/rtgen/state/use", (view.use,)
    yield "/rtgen/state/at", (view.at,)
    yield "/rtgen/state/bars", (view.preset.bars, str(view.preset.metre))
    yield "/rtgen/state/channel", (view.preset.channel,)
    yield "/rtgen/state/tempo", (round(view.tempo, 2),)
    yield "/rtgen/state/rolling", (int(view.tick is not None),)
    yield "/rtgen/state/clock", (round(1e3 * view.health.jitter_s, 1), view.health.lost, view.health.extra)
    yield "/rtgen/state/dimensions", view.dimensions
    placed = view.placed or Placed((), ())
    a, b = placed.ends or ((), ())
    for name, place in {"loop": placed.loop, "answer": placed.answer, "a": a, "b": b}.items():
        yield f"/rtgen/state/map/{name}", place
    tick = view.tick or 0
    bar, rest = divmod(tick, view.preset.metre.bar)
    yield "/rtgen/state/bar", (bar + 1, rest // PPQN + 1)
    yield "/rtgen/state/tick", (tick,)
    yield "/rtgen/state/lead", (round(1e3 * view.lead_s, 1),)
    yield "/rtgen/state/played", flat(view.played, view.preset.length)
    answer = view.answer or Loop(view.preset.length)
    yield "/rtgen/state/answer", flat(answer.notes, answer.length)
    yield COMPLETE, (1,)


def flat(notes: tuple[Note, ...], length: int) -> tuple[int, ...]:
    """Return notes as OSC values in ticks: the loop's length, then onset, pitch, duration, velocity of each."""
    return (length, *(value for n in notes[:NOTES] for value in (n.onset, n.pitch, n.duration, n.velocity)))


def datagram(address: str, values: tuple[Any, ...]) -> bytes:
    """Return the bytes of a message."""
    builder = OscMessageBuilder(address)
    for value in values:
        builder.add_arg(value)
    found: bytes = builder.build().dgram
    return found


class Client:
    """An OSC client of a daemon.

    Args:
        port: of the daemon.
        host: of the daemon.
    """

    def __init__(self, port: int = PORT, host: str = "127.0.0.1") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((host, port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, address: str, *values: Any) -> None:
        """Send a message; it is lost if nobody listens."""
        with suppress(OSError):
            self._socket.send(datagram(address, values))

    def hear(self, seconds: float) -> Iterator[Said]:
        """Yield what arrives within `seconds`."""
        ends = perf_counter() + seconds
        while (left := ends - perf_counter()) > 0:
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(_BYTES)
            except TimeoutError:
                return
            except OSError:
                continue
            with suppress(ParseError):
                for timed in OscPacket(data).messages:
                    yield timed.message.address, tuple(timed.message.params)
