"""`rtgen doctor --calibrate`: how long a note takes out of the output and back into the input."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from rtgen.music import midi
from rtgen.rig.midi.ports import LoopbackPorts, SystemPorts
from rtgen.rig.realtime import prefer_this_thread

CHANNEL = 15
"""Channel 16, which the fewest instruments listen to."""
_VELOCITY = 1
_LOWEST = 32
NOTES = 64
"""Each has a pitch of its own, so that none is taken for another, however long it is under way."""
_LENGTH_S = 0.010
_GAPS_S = 0.020, 0.050
"""Uneven, so that they fall everywhere in the periods of an audio server."""
_TAIL_S = 0.5


@dataclass
class RoundTrips:
    """What became of the test notes.

    Args:
        sent: how many there were.
        seconds: how long each took that came back, in order of time.
    """

    sent: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many did not come back."""
        return self.sent - len(self.seconds)

    @property
    def median_s(self) -> float:
        """The round trip: half of them took longer."""
        return statistics.median(self.seconds)

    @property
    def jitter_s(self) -> float:
        """How far from the median all but the furthest twentieth were."""
        off = sorted(abs(s - self.median_s) for s in self.seconds)
        return off[(len(off) - 1) * 19 // 20]


class _Ears:
    """Hears which of the notes come back, and when."""

    def __init__(self) -> None:
        self.arrived: dict[int, float] = {}
        self.any = threading.Event()

    def __call__(self, now: float, _port: int, data: bytes) -> None:
        if midi.is_note_on(data) and data[0] & 0x0F == CHANNEL:
            self.arrived.setdefault(data[1], now)
            self.any.set()


def measure(ports: SystemPorts | LoopbackPorts, patience_s: float) -> RoundTrips:
    """Sends the test notes, as soon as a first one has come back; each of them ends.

    Args:
        ports: an output that leads to an input; closed at the end.
        patience_s: how long to wait for the first one.
    """
    prefer_this_thread()
    ears, trips = _Ears(), RoundTrips()
    ports.open(ears)
    try:
        until = perf_counter() + patience_s
        while not ears.any.wait(0.1):
            if perf_counter() >= until:
                return RoundTrips(1)
            _strike(ports, _LOWEST - 1)
        return _measure(ports, ears, trips)
    finally:
        ports.close()


def _measure(ports: SystemPorts | LoopbackPorts, ears: _Ears, trips: RoundTrips) -> RoundTrips:
    gaps = random.Random(1)
    sent = {}
    for pitch in range(_LOWEST, _LOWEST + NOTES):
        time.sleep(gaps.uniform(*_GAPS_S))
        sent[pitch] = _strike(ports, pitch)
    time.sleep(_TAIL_S)
    arrived = dict(ears.arrived)
    trips.sent = len(sent)
    trips.seconds = [arrived[pitch] - at for pitch, at in sent.items() if pitch in arrived]
    return trips


def _strike(ports: SystemPorts | LoopbackPorts, pitch: int) -> float:
    """Plays a short note; when it was sent."""
    at = perf_counter()
    try:
        ports.send(midi.note_on(CHANNEL, pitch, _VELOCITY))
        time.sleep(_LENGTH_S)
    finally:
        ports.send(midi.note_off(CHANNEL, pitch))
    return at


def sentences(trips: RoundTrips, inputs: Sequence[str], output: str) -> tuple[str, str]:
    """What was found, and what to do about it."""
    way = f"from {output!r} to {' or '.join(map(repr, inputs))}"
    if not trips.seconds:
        cure = (
            "lead the output back into the input: by a cable, by a port of IAC or loopMIDI named as both --out and "
            "--in, or by a connection in JACK"
        )
        return f"no test note (channel {CHANNEL + 1}) came back {way}", cure
    median, jitter = trips.median_s * 1e3, trips.jitter_s * 1e3
    found = f"{median:.1f} ms {way}, within {jitter:.1f} ms; {trips.sent} notes sent, {trips.lost} lost"
    cure = (
        f"play with 'rtgen run --output-offset-ms {median:.1f}': the clock comes in late and the answers go out late, "
        "together by as much"
    )
    return found, cure
