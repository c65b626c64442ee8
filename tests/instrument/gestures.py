"""Bytes as a story for a session: what a fuzzer and a property test make up, both read by the same reader.

Whatever the bytes are, the session must not raise, must keep every note's end, and must ask to be woken in the future.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf, nextafter

from rtgen.instrument.clocks.transport import State
from rtgen.instrument.events import Chosen, Event, Output, Planned, Plugged, Pressed, Received, Turned, Used, Warmed
from rtgen.instrument.job import ANSWERS, Answer, HalfBeat, Job
from rtgen.instrument.memory import PAST
from rtgen.instrument.options import Options
from rtgen.instrument.preset import USES, Preset
from rtgen.instrument.session import Session
from rtgen.music import midi
from rtgen.music.parts import PARTS
from rtgen.music.time import HALF
from rtgen.rig.midi.routing import Routing
from rtgen.rig.midi.schedule import Schedule
from tests.instrument.bandmate import planned
from tests.instrument.stage import divided

_STEPS_S = 0.0, 0.001, 0.0208333, 0.0208333, 0.05, 0.5, 3.0, 4000.0
_PRESETS = [
    Preset().changed(bars=bars, metre=metre, use=use, mode=mode, channel=channel)
    for bars, metre in ((1, "1/4"), (1, "4/4"), (2, "7/8"))
    for use in USES
    if use != "along"
    for mode, channel in zip(ANSWERS, (1, 9, 1, 9, 1), strict=True)
]
for _at, _bars, _metre in (2, 2, "7/8"), (4, 1, "1/4"):
    _PRESETS.insert(_at, Preset().changed(bars=_bars, metre=_metre, mode="accompany"))


_CHOICES = [
    *map(Used, USES * 3),
    *(Turned("distance", value / 15) for value in range(9, 14)),
    *map(Pressed, ("store_a", "store_b")),
]


class Story:
    """A session, what is told to it, and what is sounding.

    What it sends goes through the `Schedule` of each port, as with JACK, where messages are sent ahead.

    Args:
        clock: 0 for MIDI clock, 1 for our own, 2 for the player's.
        offset_ms: output offset.
        ahead_ms: how long before they are due messages are sent.
        parts: whether each part of a band has an output of its own.
    """

    def __init__(self, clock: int = 0, offset_ms: int = 0, ahead_ms: int = 0, *, parts: bool = False) -> None:
        self.session = Session(
            _PRESETS[0],
            Options(
                clock=("midi", "internal", "player")[clock],
                pause_s=1.0 if clock == 2 else 0.0,
                thru=True,
                output_offset_s=offset_ms / 1e3,
                ahead_s=ahead_ms / 1e3,
                send_clock=bool(clock),
                controls="all",
            ),
        )
        self.now = 0.0
        self.jobs: list[Job] = []
        self.parts: list[Answer] = []
        self.halves: list[HalfBeat] = []
        self.sounding: set[tuple[str, int, int]] = set()
        self.struck: list[tuple[int, int]] = []
        self.shaped: dict[bytes, bytes] = {}
        outputs = PARTS if parts else ()
        self._routing = Routing(outputs)
        self._ports = {output: Schedule() for output in ("", *outputs)}
        # What ended at the outputs of parts when the main one went, and may end once more when it is back.
        self._again: set[tuple[str, int, int]] = set()
        self._sent_at = 0.0
        self._wake: float | None = None

    def tell(self, event: Event | None) -> None:
        """Something happens now."""
        self._take(self.session.step(self.now, event))
        if isinstance(event, Plugged) and event.direction == "out" and not event.there:
            ends = self._routing.ends()
            for output, message in ends:
                self._ports[output].add(self._sent_at, message)
            self._sound(nextafter(self.now, inf))
            self._again |= {(output, message[0] & 0x0F, message[1]) for output, message in ends}
            assert not [output for output, *_ in self.sounding if output], "a part sounds while nothing can end it"

    def hear(self, data: bytes, port: int = 0) -> None:
        """Bytes arrive."""
        self.tell(Received(port, data))

    def wait(self, seconds: float) -> None:
        """Time passes; the session is woken when it asked for it, or is not woken for hours at all."""
        until = self.now + seconds
        while seconds < 1000 and self._wake is not None and self._wake < until:
            self.now = max(self.now, self._wake)
            self.tell(None)
        self.now = until

    def answer(self, which: int, up: int) -> None:
        """The worker answers one of the jobs, perhaps one of long ago, or plans after a half beat."""
        if self.halves:
            half = self.halves.pop(which % len(self.halves))
            assert len(half.before) <= 64
            assert all(n.end > 0 and n.onset < HALF for n in half.notes or ())
            self.tell(planned(half, up, 1 + up % 3))
        elif self.jobs:
            job = self.jobs.pop(which % len(self.jobs))
            assert all(heard.notes for heard in job.past)
            assert sum(heard.length for heard in job.past[1:]) <= PAST
            assert (job.ends is not None) == (job.mode == "blend")
            assert job.loop.notes or job.ends
            notes = [replace(n, pitch=min(n.pitch + up % 12, 127)) for n in job.loop.notes]
            loop = job.loop.with_notes(notes).monophonic_by_pitch()
            cuts = [loop.length * i // 4 for i in range(1, 1 + up % 4)]
            whole = Answer(loop, job.target, job.epoch)
            self.parts += divided(whole, cuts)
            self.more()

    def more(self) -> None:
        """The next part of an answer comes, if there is one."""
        if self.parts:
            self.tell(self.parts.pop(0))

    def planned(self) -> list[int]:
        """The pitches of notes that were sent ahead and have not begun."""
        return [data[1] for port in self._ports.values() for _, _, data in port._waiting if data[0] & 0xF0 == 0x90]

    def end(self) -> None:
        """The last messages; nothing sounds after them, if there is an output to send them to."""
        self.tell(Plugged("out", 0, "port", True))
        self._take_back()
        self._send(self.session.end())
        self._sound(inf)
        assert not self.sounding, f"still sounding: {self.sounding}"
        assert not self.held(), f"still bent, pressed or held: {self.held()}"

    def held(self) -> list[bytes]:
        """Where bends, pressures and pedals are that are not at rest."""
        return [d for shape, d in self.shaped.items() if midi.returns(shape) and d != midi.at_rest(shape)]

    def _take(self, out: Output) -> None:
        self._sound(self.now)
        if out.takes_back:
            self._take_back()
        self._send(out.messages)
        self._sound(nextafter(self.now, inf))
        if self.session.transport.state is not State.ROLLING:
            assert not self.planned(), "a note outlives the song"
        self.jobs = (self.jobs + out.jobs)[-8:]
        self.halves = (self.halves + out.halves)[-4:]
        assert out.wake_at is None or out.wake_at > self.now, "asks to be woken in the past"
        self._wake = out.wake_at

    def _send(self, messages: Iterable[bytes]) -> None:
        """As `Daemon` sends them."""
        self._sent_at = max(self._sent_at, self.now)
        for message in messages:
            for output in self._routing.outputs(message):
                self._ports[output].add(message.at if isinstance(message, Planned) else self._sent_at, message)

    def _take_back(self) -> None:
        for port in self._ports.values():
            port.take_back(self.now)

    def _sound(self, until: float) -> None:
        """What is due leaves."""
        for output, port in self._ports.items():
            self._check(output, (data for _, data in port.take(until)))

    def _check(self, output: str, messages: Iterable[bytes]) -> None:
        for data in messages:
            kind = data[0] & 0xF0
            assert data[0] >= 0x80
            assert all(byte < 0x80 for byte in data[1:])
            if shape := midi.shape(data):
                self.shaped[shape] = data
            elif midi.resets(data):
                self.shaped = {s: d for s, d in self.shaped.items() if s[0] & 0x0F != data[0] & 0x0F}
            if kind not in (0x80, 0x90):
                assert not output or data[:2] in (bytes((0xB0 | data[0] & 0x0F, n)) for n in (120, 123)), "no note"
                continue
            key = (output, data[0] & 0x0F, data[1])
            if kind == 0x90 and data[2]:
                assert key not in self.sounding, f"{key} struck while it sounds"
                self.sounding.add(key)
                self.struck.append(key[1:])
                self._again.discard(key)
            elif key in self._again:
                self._again.remove(key)
                self.sounding.discard(key)
            else:
                assert key in self.sounding, f"an end for {key}, which does not sound"
                self.sounding.remove(key)


def read(story: Story, data: bytes) -> None:
    """Tells a story: each gesture is a byte, and what it takes."""
    at = 0
    while at < len(data):
        kind, value = data[at] % 16, data[at] // 16
        at += 1
        match kind:
            case 0 | 1 | 2:
                story.wait(_STEPS_S[value % len(_STEPS_S)])
            case 3 | 4:
                for _ in range(value * 8):
                    story.hear(b"\xf8")
                    story.wait(0.0208333)
            case 5:
                story.hear((b"\xfa", b"\xfb", b"\xfc", b"\xff")[value % 4], port=value // 8)
            case 6 | 7 | 8 | 9:
                size = value % 8 + 1
                story.hear(data[at : at + size], port=value // 8)
                at += size
            case 10:
                story.answer(value, value)
            case 11:
                story.more()
            case 12:
                story.tell(Chosen(_PRESETS[value % len(_PRESETS)]))
            case 13:
                story.tell(Plugged(("in", "out")[value % 2], value // 8, "port", value // 2 % 2 == 0))  # type: ignore[arg-type]
            case 14:
                story.tell(_CHOICES[value])
            case _:
                story.tell(Pressed("panic") if value % 2 else Warmed(value / 10))
    story.end()
