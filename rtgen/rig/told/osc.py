"""Remote control over Open Sound Control (OSC 1.0, UDP): parameters and buttons in, state out.

    /rtgen/<parameter> f       set a parameter     /rtgen/<button> [f]      press a button; 0 releases it
    /rtgen/preset s|i          a listed name, `next`, `previous`, or a program number
    /rtgen/use s               answer, follow, hold or along
    /rtgen/tempo f             of the internal clock, in BPM
    /rtgen/learn s             MIDI learn; `/rtgen/learn/over` reassigns a control that is taken
    /rtgen/learn/forget s      forget what was learned
    /rtgen/doctor              what comes in and what is connected, as JSON, under `/rtgen/state/doctor`
    /rtgen/subscribe [i]       send the state to this port of the sender; `/rtgen/unsubscribe`

The state arrives under the same addresses, so that faders follow, and under `/rtgen/state/...`. A subscription ends
unless it is renewed.

Packets come from strangers, and share the interpreter with the music. So how much of them is read is bounded by the
round of `_ROUND_S`, before anything is parsed; a parser of our own (`packet`) does a bounded amount of work for each;
and no exception ends the thread.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from errno import EACCES, EADDRINUSE
from itertools import chain
from queue import Empty, SimpleQueue
from time import perf_counter, sleep
from typing import Any, Self

from rtgen.errors import UserError, did_you_mean
from rtgen.instrument.along import Coming
from rtgen.instrument.events import Event, Learn, Paced, Pressed, Turned, Used
from rtgen.instrument.job import Placed
from rtgen.instrument.notices import Answered, ControlTaken, KeepAnswer, NothingLearned, SaveBindings
from rtgen.instrument.parameters import BUTTONS, PARAMETERS
from rtgen.instrument.preset import USES
from rtgen.music import midi
from rtgen.music.hand import Moved
from rtgen.music.note import Loop, Note
from rtgen.music.parts import Part
from rtgen.music.time import HALF, MAX_TEMPO, MIN_TEMPO, PPQN
from rtgen.rig.daemon import View
from rtgen.rig.told.packet import Said, datagram, parse

PORT = 7770
"""Default port; if it is taken, one of the next nine."""
PORTS = range(PORT, PORT + 10)
LEASE_S = 30.0
"""How long a subscription lasts, in seconds."""
MOST = 64
"""Messages and datagrams accepted per `_ROUND_S`; the rest are dropped unread, and reported."""
LONGEST = 4096
"""Longest datagram that is read, in bytes."""
LISTENERS = 16
"""Most subscriptions at a time."""
COMPLETE = "/rtgen/state/complete"
"""Ends the full state that a new subscriber receives."""
NOTES = 256
"""Most notes of a loop that are sent: a datagram has its limits."""
_ROUND_S = 0.05
_IDLE_S = 0.5
_COMPLAIN_S = 1.0
_ROUND_BYTES = 16_384
"""Bytes parsed per `_ROUND_S`."""
_HINTS = 3
"""Most times per `_ROUND_S` that a word close to an unknown one is looked for, which takes a millisecond."""
_DRAINED = 1024
"""Most datagrams thrown away at the end of a round: more than fit into the socket's buffer."""
_LOADS = 8
"""Most presets loaded within `_LOADS_S`: each reads a file."""
_LOADS_S = 1.0
_SHOWN = 60
"""Most characters of a stranger's word that are repeated."""
_STATE_BYTES = 65_536
STATE_VALUES = 1 + 4 * NOTES
"""Most values of a message to a subscriber."""
Address = tuple[str, int]


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
        self._hints = 0
        self._loads: deque[float] = deque(maxlen=_LOADS)
        self._survived: set[type[Exception]] = set()
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
            try:
                self._round()
            except Exception as error:  # remote control must outlive its own defects
                self._survive(error)
                sleep(_ROUND_S)

    def _round(self) -> None:
        """Takes what arrives until the round or its allowance ends, then tells the subscribers what is new."""
        # Without subscribers it sleeps until something arrives.
        ends = perf_counter() + (_ROUND_S if self._listeners else _IDLE_S)
        self._hints = _HINTS
        taken = messages = size = 0
        while (left := ends - perf_counter()) > 0:
            if taken >= MOST or messages >= MOST or size >= _ROUND_BYTES:
                self._drain(left)
                break
            self._socket.settimeout(left)
            data = b""
            try:
                data, sender = self._socket.recvfrom(LONGEST + 1)
            except TimeoutError:
                break
            except OSError:  # a subscriber is gone, which the system reports here; on Windows, a datagram is too long
                sender = None
            taken += 1
            ends = min(ends, perf_counter() + _ROUND_S) if taken == 1 else ends
            size += len(data)
            messages += self._take(data, sender) if sender is not None else 0
        self._feed(perf_counter())

    def _drain(self, seconds: float) -> None:
        """Sleeps, and then throws away what arrived meanwhile, unread."""
        sleep(seconds)
        self._socket.settimeout(0)
        for _ in range(_DRAINED):
            try:
                self._socket.recv(1)
            except BlockingIOError:
                return
            except OSError:
                pass  # Windows reports that there was more than one byte
            self._dropped += 1

    def _take(self, data: bytes, sender: Address) -> int:
        """Carries out a datagram; returns how many messages it had."""
        try:
            if len(data) > LONGEST:
                raise ValueError(f"a datagram is longer than {LONGEST} bytes")
            messages = parse(data)
        except ValueError as error:
            self._refuse(sender, str(error))
            return 1
        for message in messages:
            try:
                wrong = self._do(message, sender)
            except Exception as error:  # as in `_run`
                self._survive(error)
                continue
            if wrong is not None:
                self._refuse(sender, wrong)
        return len(messages)

    def _survive(self, error: Exception) -> None:
        """Reports a defect once for each type of exception."""
        if type(error) not in self._survived:
            self._survived.add(type(error))
            self._complain(f"an OSC message was left out ({_short(error)}); OSC goes on, but please report this defect")

    def _refuse(self, sender: Address, why: str) -> None:
        self._send(sender, ("/rtgen/error", (why,)))
        now = perf_counter()
        if now - self._complained > _COMPLAIN_S:
            self._complained = now
            self._complain(f"OSC from {sender[0]}: {why}")

    def _do(self, message: Said, sender: Address) -> str | None:
        """Carries out a message; returns why it cannot be carried out, or None."""
        address, values = message
        name = address.removeprefix("/rtgen/")
        first = values[0] if values else None
        if name == address:
            return f"{_cut(address)} is not an rtgen address; they all start with /rtgen/"
        if name in PARAMETERS:
            return self._turn(name, first)
        if name in BUTTONS:
            if first is not None and not isinstance(first, int | float):
                return f"/rtgen/{name} takes no value, or a number, not {_short(first)}"
            stays = BUTTONS[name].stays and first is None
            self._hear(Pressed(name, None if stays else first is None or first > 0))
            return None
        match name:
            case "preset" if isinstance(first, str | int) and not isinstance(first, bool):
                return self._load(str(first))
            case "use" if first in USES:
                self._hear(Used(first))
            case "use":
                return f"/rtgen/use cannot be {_short(first)}; it is {', '.join(USES[:-1])} or {USES[-1]}"
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
            case "preset" | "learn" | "learn/forget" | "tempo" | "subscribe":
                return f"/rtgen/{name} cannot be {_short(first)}"
            case _ if name == "error" or name.startswith("state/"):
                return None  # another rtgen says so; an answer would be answered for ever
            case _:
                return f"there is no {_cut(address)}{self._hint(name)}"
        return None

    def _hint(self, name: str) -> str:
        self._hints -= 1
        if self._hints < 0 or len(name) > _SHOWN:
            return ""
        return did_you_mean(name, [*PARAMETERS, *BUTTONS, "preset", "use", "tempo", "learn"])

    def _turn(self, name: str, value: Any) -> str | None:
        wanted = (int, float, str) if PARAMETERS[name].choices else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted) or value != value:
            return f"/rtgen/{name} takes a number, not {_short(value)}"
        try:
            self._hear(Turned(name, PARAMETERS[name].check(value)))
        except ValueError as error:
            return _cut(str(error), 4 * _SHOWN)
        return None

    def _load(self, which: str) -> str | None:
        now = perf_counter()
        if len(self._loads) == _LOADS and now - self._loads[0] < _LOADS_S:
            return f"more than {_LOADS} presets within a second cannot be loaded; wait a moment"
        self._loads.append(now)
        return self._choose(which)

    def _pace(self, tempo: float) -> str | None:
        clock = self._view().clock
        if clock not in ("internal", "player"):
            whose = "the MIDI clock" if clock == "midi" else "the Link session"
            return f"the tempo is that of {whose}; set it there, or restart rtgen with --clock internal"
        if not MIN_TEMPO <= tempo <= MAX_TEMPO:
            return f"tempo is {tempo:g}; it goes from {MIN_TEMPO:g} to {MAX_TEMPO:g}"
        self._hear(Paced(float(tempo)))
        return None

    def _subscribe(self, listener: Address) -> str | None:
        if listener[1] == self.port and listener[0] in ("127.0.0.1", self.host):
            return f"port {self.port} is rtgen's own; subscribe with a port of yours"
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
            self._complain(f"more OSC comes in than can be played: at least {self._dropped} messages dropped")
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
        with suppress(OSError):
            self._socket.sendto(datagram(*said), to)


def _bound(host: str, port: int | None) -> socket.socket:
    for number in PORTS if port is None else (port,):
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            found.bind((host, number))
        except (OSError, UnicodeError) as error:
            found.close()
            reason = getattr(error, "strerror", None) or str(error)
            if getattr(error, "errno", None) not in (EADDRINUSE, EACCES):
                cure = "give --osc an address of this machine, or --osc off"
                raise UserError(f"OSC cannot listen on {host} ({reason}); {cure}") from error
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
    yield "/rtgen/overdub", (float(view.overdubs),)
    yield "/rtgen/state/layers", (view.layers,)
    yield "/rtgen/state/preset", (view.preset.name, view.preset.program)
    yield "/rtgen/state/settings", (json.dumps(view.preset.as_dict()),)
    yield "/rtgen/state/model", (view.preset.model,)
    yield "/rtgen/state/mode", (view.preset.mode,)
    yield "/rtgen/state/use", (view.use,)
    yield "/rtgen/state/at", (view.at,)
    yield "/rtgen/state/turn", (view.turn,)
    yield "/rtgen/state/bars", (view.preset.bars, str(view.preset.metre))
    yield "/rtgen/state/channel", (view.preset.channel,)
    yield "/rtgen/state/drums", (int(view.drums),)
    yield "/rtgen/state/tempo", (round(view.tempo, 2),)
    yield "/rtgen/state/rolling", (int(view.tick is not None),)
    yield "/rtgen/state/source", (view.clock,)
    yield "/rtgen/state/unstarted", (int(view.unstarted),)
    yield "/rtgen/state/source", (view.clock,)
    yield "/rtgen/state/clock", (round(1e3 * view.health.jitter_s, 1), view.health.lost, view.health.extra)
    yield "/rtgen/state/dimensions", view.dimensions
    placed = view.placed or Placed((), ())
    a, b = placed.ends or ((), ())
    for name, place in {"loop": placed.loop, "answer": placed.answer, "a": a, "b": b}.items():
        yield f"/rtgen/state/map/{name}", place
    yield "/rtgen/state/bound", tuple(chain.from_iterable(view.bound.items()))
    for name, loop in zip(("a", "b"), view.stored, strict=True):
        yield f"/rtgen/state/stored/{name}", flat(loop.notes, loop.length) if loop is not None else ()
    tick = view.tick or 0
    bar, rest = divmod(tick, view.preset.metre.bar)
    yield "/rtgen/state/bar", (bar + 1, rest // PPQN + 1)
    yield "/rtgen/state/tick", (tick,)
    yield "/rtgen/state/lead", (round(1e3 * view.lead_s, 1),)
    yield "/rtgen/state/played", flat(view.played, view.preset.length)
    answer = view.answer or Loop(view.preset.length)
    yield "/rtgen/state/answer", flat(answer.notes, answer.length)
    yield "/rtgen/state/channels/answer", channels(answer)
    yield "/rtgen/state/moved/played", curves(view.moved)
    yield "/rtgen/state/moved/answer", curves(moved for _, moved in answer.hand.gestures())
    coming = view.coming
    yield "/rtgen/state/plan", (coming.start, coming.certain, *(piece.chord for piece in coming.pieces))
    planned = _expected(coming, tick // answer.length * answer.length)
    expected = tuple(each for each in planned if not view.knobs.get(f"{each[0]}_mute"))
    yield "/rtgen/state/expected", flat(tuple(note for _, note in expected), answer.length)
    yield (
        "/rtgen/state/channels/expected",
        tuple(int(view.knobs.get(f"{part}_channel", 1)) for part, _ in expected[:NOTES]),
    )
    yield COMPLETE, (1,)


def _expected(coming: Coming, start: int) -> Iterator[tuple[Part, Note]]:
    """Yield the notes of a plan that may still change, with their parts, and onsets from a tick of the song."""
    for number in range(coming.certain, len(coming.pieces)):
        at = coming.start + number * HALF - start
        for part, note in coming.pieces[number].notes:
            yield part, replace(note, onset=note.onset + at)


def flat(notes: tuple[Note, ...], length: int) -> tuple[int, ...]:
    """Return notes as OSC values in ticks: the loop's length, then onset, pitch, duration, velocity of each."""
    return (length, *(value for n in notes[:NOTES] for value in (n.onset, n.pitch, n.duration, n.velocity)))


def channels(loop: Loop) -> tuple[int, ...]:
    """Return the channel of each note as an OSC value, 1 to 16; nothing if all are on one."""
    if not loop.hand.apart:
        return ()
    on: dict[tuple[int, int], list[int]] = {}
    for stroke in loop.hand.strokes():
        on.setdefault((stroke.onset, stroke.pitch), []).append((stroke.channel or 0) + 1)
    found = (on.get((n.onset, n.pitch)) for n in loop.notes[:NOTES])
    return tuple(each.pop(0) if each else 1 for each in found)


def curves(moves: Iterable[Moved]) -> tuple[int, ...]:
    """Return bends, pressure and the sustain pedal as OSC values: kind and channel, tick, value of each.

    A kind is 0 for a bend (-8192 to 8191), 16 for channel pressure, 32 for the pedal (0 to 127); the channel, 0-15, is
    added to it. Of many only some are told.
    """
    found = []
    for tick, data in moves:
        channel = data[0] & 0x0F
        match data[0] & 0xF0:
            case 0xE0:
                found.append((channel, tick, data[1] + 128 * data[2] - 8192))
            case 0xD0:
                found.append((16 + channel, tick, data[1]))
            case 0xB0 if data[1] == midi.SUSTAIN:
                found.append((32 + channel, tick, data[2]))
    return tuple(chain.from_iterable(found[:: max(-(-len(found) // NOTES), 1)]))


def _cut(text: str, most: int = _SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _short(value: object) -> str:
    return _cut(repr(value))


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
                data = self._socket.recv(_STATE_BYTES)
            except TimeoutError:
                return
            except OSError:
                continue
            try:
                messages = parse(data, STATE_VALUES)
            except ValueError:
                continue  # another program has the port
            yield from messages
