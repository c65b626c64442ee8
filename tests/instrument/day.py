"""A day with the instrument, faster than real time: somebody plays, and all sorts of things go wrong.

    python -m tests.instrument.day HOURS [SEED] [midi|internal]

prints what came of it. After every step the stream that was sent is held against the first rule: each note-on gets
exactly one note-off.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import random
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from rtgen.instrument.events import Chosen, Event, Output, Plugged, Pressed, Received, Turned, Used, Warmed
from rtgen.instrument.job import MODES, Answer
from rtgen.instrument.options import Options
from rtgen.instrument.parameters import PARAMETERS
from rtgen.instrument.preset import USES, Preset
from rtgen.instrument.session import Session
from rtgen.music import midi
from rtgen.music.midi import to_song_position
from tests.instrument.bandmate import planned
from tests.instrument.stage import divided, word

CLOCK, START, CONTINUE, STOP = (bytes((b,)) for b in (0xF8, 0xFA, 0xFB, 0xFC))
_SETTLED_S = 1800.0
"""After so much of the day memory has found its size."""


@dataclass
class Toll:
    """What came of a day."""

    hours: float
    steps: int = 0
    notes: int = 0
    answers: int = 0
    bytes_sent: int = 0
    digest: str = ""
    grew_mb: float = 0.0
    sounding: set[tuple[int, int]] = field(default_factory=set)
    shaped: dict[bytes, bytes] = field(default_factory=dict)


class Day:
    """Drives a session through a day.

    Args:
        hours: how long it lasts.
        seed: of all chance.
        clock: whose clock the session follows.
    """

    def __init__(self, hours: float, seed: int, clock: Literal["midi", "internal"] = "midi") -> None:
        self._rng = random.Random(seed)
        self._end = hours * 3600
        ours = clock == "internal"
        self._session = Session(
            Preset().changed(bars=1), Options(clock=clock, thru=True, seed=seed, send_clock=ours, controls="all")
        )
        self._coming: list[tuple[float, int, Event]] = []
        self._order = itertools.count()
        self._digest = hashlib.sha256()
        self._tempo = 120.0
        self._silent_until = 0.0
        self._toll = Toll(hours)

    def run(self) -> Toll:
        """Lives the day through."""
        rng, toll = self._rng, self._toll
        wake: float | None = 0.0
        clock_at, gesture_at, note_at = 0.0, 1.0, 0.5
        resident = None
        self._put(0.1, Received(0, START))
        now = 0.0
        while now < self._end:
            arrives = self._coming[0][0] if self._coming else float("inf")
            at = min(clock_at, gesture_at, note_at, arrives, wake if wake is not None else float("inf"))
            now = max(now, at)  # what came while the machine slept comes now
            event: Event | None = None
            if at == arrives:
                event = heapq.heappop(self._coming)[2]
            elif at == clock_at:
                event = self._clock(now)
                clock_at += 2.5 / self._tempo
            elif at == note_at:
                note_at += self._play(now)
            elif at == gesture_at:
                now += self._gesture(now)
                gesture_at = now + rng.expovariate(1 / 20)
                clock_at, note_at = max(clock_at, now), max(note_at, now)
            out = self._session.step(now, event)
            wake = out.wake_at
            self._take(now, out)
            if resident is None and now > _SETTLED_S:
                resident = _resident_mb()
        # To an output that has gone no end can be sent.
        self._take(now, self._session.step(now, Plugged("out", 0, "synth", True)))
        self._send(self._session.end())
        assert not toll.sounding, f"still sounding: {toll.sounding}"
        held = [d for shape, d in toll.shaped.items() if midi.returns(shape) and d != midi.at_rest(shape)]
        assert not held, f"still bent, pressed or held: {held}"
        toll.digest = self._digest.hexdigest()
        if resident is not None:
            toll.grew_mb = _resident_mb() - resident
        return toll

    def _put(self, at: float, event: Event) -> None:
        heapq.heappush(self._coming, (at, next(self._order), event))

    def _take(self, now: float, out: Output) -> None:
        rng = self._rng
        self._toll.steps += 1
        self._send(out.messages)
        for job in (*filter(None, (out.draft,)), *out.jobs):
            luck = rng.random()
            if luck < 0.005:
                continue  # the worker died
            took = rng.lognormvariate(-4.6, 0.3) if luck < 0.98 else rng.uniform(0.05, 3.0)
            up = rng.choice((-12, 0, 0, 7))
            notes = [replace(n, pitch=min(max(n.pitch + up, 0), 127)) for n in job.loop.notes]
            loop = job.loop.with_notes(notes).monophonic_by_pitch()
            cuts = () if job.draft or luck < 0.5 else range(loop.bar // 4, loop.length, loop.bar // 4)
            for part in divided(Answer(loop, job.target, job.epoch, job.draft), cuts):
                self._put(now + took, part)
                took += rng.uniform(0.0, 0.5)
        for half in out.halves:
            if rng.random() > 0.01:
                self._put(now + rng.lognormvariate(-4.6, 0.5), planned(half, half.number % 12))
        self._toll.answers += sum(word(n) == "answer" for n in out.notices)

    def _send(self, messages: list[bytes]) -> None:
        sounding = self._toll.sounding
        for data in messages:
            self._digest.update(data)
            self._toll.bytes_sent += len(data)
            if shape := midi.shape(data):
                self._toll.shaped[shape] = data
            elif midi.resets(data):
                shaped = self._toll.shaped
                self._toll.shaped = {s: d for s, d in shaped.items() if s[0] & 0x0F != data[0] & 0x0F}
            if len(data) < 3:
                continue
            key = (data[0] & 0x0F, data[1])
            if data[0] & 0xF0 == 0x90 and data[2]:
                assert key not in sounding, f"{key} struck while it sounds"
                sounding.add(key)
                self._toll.notes += 1
            elif data[0] & 0xF0 in (0x80, 0x90):
                assert key in sounding, f"an end for {key}, which does not sound"
                sounding.remove(key)

    def _clock(self, now: float) -> Event | None:
        """A clock that drifts, comes unevenly, and now and then does not come at all or twice."""
        rng = self._rng
        self._tempo = min(max(self._tempo * (1 + rng.gauss(0, 2e-4)), 50.0), 220.0)
        if now < self._silent_until:
            return None
        luck = rng.random()
        if luck < 1e-4:
            self._silent_until = now + rng.choice((1, 3, 200)) * 2.5 / self._tempo
            return None
        if luck < 2e-4:
            self._put(now + 0.001, Received(0, CLOCK))
        self._put(now + rng.uniform(0, 0.002), Received(0, CLOCK))
        return None

    def _play(self, now: float) -> float:
        """A note or a chord, and how long until the next."""
        rng = self._rng
        port = int(rng.random() < 0.1)
        for _ in range(rng.choice((1, 1, 1, 3))):
            pitch = rng.randrange(40, 80)
            self._put(now, Received(port, bytes((0x90, pitch, rng.randrange(1, 128)))))
            self._put(now + rng.expovariate(1 / 0.3), Received(port, bytes((0x80, pitch, 0))))
        if rng.random() < 0.1:
            self._shape(now, port)
        if rng.random() < 0.05:
            self._put(now, Received(port, bytes((0xB0, 64, 127))))
            self._put(now + rng.expovariate(1), Received(port, bytes((0xB0, 64, 0))))
        return rng.expovariate(3) if rng.random() < 0.98 else 10.0

    def _shape(self, now: float, port: int) -> None:
        """A bend, a pressure or a controller that moves for a while, and need not come back."""
        rng, channel = self._rng, self._rng.choice((0, 0, 1))
        pitch = rng.randrange(40, 80)
        shape = rng.choice((b"\xe0\x00", b"\xd0", bytes((0xA0, pitch)), *(bytes((0xB0, n)) for n in (11, 64, 67, 74))))
        for i in range(rng.randrange(1, 30)):
            value = bytes((shape[0] | channel,)) + shape[1:] + bytes((rng.randrange(128),))
            self._put(now + i * rng.uniform(0.001, 0.03), Received(port, value))

    def _gesture(self, now: float) -> float:
        """Something that a player does, or that happens; returns for how long the machine slept."""
        rng = self._rng
        put = self._put
        match rng.randrange(17):
            case 0:
                put(now, Received(0, STOP))
                put(now + rng.expovariate(1), Received(0, rng.choice((START, CONTINUE))))
            case 1:
                put(now, Received(0, START))
            case 2:
                put(now, Received(0, to_song_position(rng.choice((0, 16, 32, rng.randrange(4000))))))
            case 3:
                put(now, Received(0, STOP))
                put(now + 0.1, Received(0, to_song_position(rng.randrange(4000))))
                put(now + 0.2, Received(0, CONTINUE))
            case 4:
                self._tempo = rng.uniform(50, 220)
            case 5:
                port = rng.randrange(2)
                for i in range(200):
                    put(
                        now + i * rng.uniform(0.01, 0.03),
                        Received(port, rng.choice((CLOCK, CLOCK, CLOCK, START, STOP))),
                    )
            case 6 | 7:
                changes = {"bars": rng.choice((1, 1, 2, 4)), "mode": rng.choice(MODES)}
                changes |= {"channel": rng.randrange(1, 17), "tempo": rng.uniform(50, 220)}
                if changes["mode"] != "accompany":
                    changes["use"] = rng.choice([use for use in USES if use != "along"])
                changes |= {"metre": rng.choice(("4/4", "4/4", "3/4", "7/8"))}
                put(now, Chosen(Preset().changed(**changes)))
            case 8:
                put(now, rng.choice((Used(rng.choice(USES)), *map(Pressed, ("store_a", "store_b", "roll")))))
            case 9:
                put(now, Received(0, bytes((0xB0, rng.choice((1, *range(20, 27), 64)), rng.randrange(128)))))
            case 10:
                parameter = rng.choice(list(PARAMETERS.values()))
                put(now, Turned(parameter.name, rng.uniform(parameter.low, parameter.high)))
            case 11:
                put(now, Pressed("panic"))
            case 12:
                put(now, Plugged("out", 0, "synth", False))
                put(now + rng.expovariate(0.2), Plugged("out", 0, "synth", True))
            case 13:
                port = rng.randrange(2)
                put(now, Plugged("in", port, "keys", False))
                put(now + 2, Plugged("in", port, "keys", True))
            case 14:
                put(now, Received(0, bytes((0xB0, rng.choice((120, 123)), 0))))
            case 15:
                put(now, Received(0, bytes(rng.randrange(256) for _ in range(rng.randrange(40)))))
                put(now, Warmed(rng.uniform(0.001, 0.1)))
            case 16 if rng.random() < 0.005:
                return 3600.0
        return 0.0


def _resident_mb() -> float:
    """Memory of this process (Linux); 0 elsewhere."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 / 2**20 if statm.exists() else 0.0


def main(hours: str, seed: str = "1", clock: Literal["midi", "internal"] = "midi") -> None:
    """Lives a day and prints what came of it."""
    toll = Day(float(hours), int(seed), clock).run()
    print(json.dumps({name: value for name, value in vars(toll).items() if name not in ("sounding", "shaped")}))


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]
