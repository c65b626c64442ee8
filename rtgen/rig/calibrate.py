"""`rtgen doctor --calibrate`: measures the MIDI round trip from the output back to the input."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from rtgen.music import midi
from rtgen.rig.midi.ways import Ports
from rtgen.rig.realtime import prefer_this_thread

CHANNEL = 15
"""Channel 16 (counted from 0), as hardly any instrument listens to it."""
_VELOCITY = 1
_LOWEST = 32
NOTES = 64
"""Number of test notes. Each has its own pitch, so that they cannot be confused, however long the round trip is."""
_LENGTH_S = 0.010
_GAPS_S = 0.020, 0.050
"""Range of the random gaps between notes, so that they fall at all phases of an audio server's period."""
_TAIL_S = 0.5


@dataclass
class RoundTrips:
    """The result of a measurement.

    Args:
        sent: number of test notes sent.
        seconds: round trips of the notes that came back, in the order of sending.
    """

    sent: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Number of notes that did not come back."""
        return self.sent - len(self.seconds)

    @property
    def median_s(self) -> float:
        """The median round trip."""
        return statistics.median(self.seconds)

    @property
    def jitter_s(self) -> float:
        """The 95th percentile of the absolute deviation from the median."""
        off = sorted(abs(s - self.median_s) for s in self.seconds)
        return off[(len(off) - 1) * 19 // 20]


class _Ears:
    """Records which test notes come back, and when."""

    def __init__(self) -> None:
        self.arrived: dict[int, float] = {}
        self.any = threading.Event()

    def __call__(self, now: float, _port: int, data: bytes) -> None:
        if midi.is_note_on(data) and data[0] & 0x0F == CHANNEL:
            self.arrived.setdefault(data[1], now)
            self.any.set()


def measure(ports: Ports, patience_s: float) -> RoundTrips:
    """Sends probe notes until one comes back, then measures the test notes; every note-on gets its note-off.

    Args:
        ports: an output that is connected to an input; closed at the end.
        patience_s: how long to wait for the first note to come back.
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


def _measure(ports: Ports, ears: _Ears, trips: RoundTrips) -> RoundTrips:
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


def _strike(ports: Ports, pitch: int) -> float:
    """Plays a short note; returns when it was due."""
    at = perf_counter() + ports.ahead_s
    try:
        ports.send(at, midi.note_on(CHANNEL, pitch, _VELOCITY))
        time.sleep(_LENGTH_S)
    finally:
        ports.send(at + _LENGTH_S, midi.note_off(CHANNEL, pitch))
    return at


def sentences(trips: RoundTrips, inputs: Sequence[str], output: str) -> tuple[str, str]:
    """Returns the finding and its cure, each as a sentence."""
    way = f"from {output!r} to {' or '.join(map(repr, inputs))}"
    if not trips.seconds:
        cure = (
            "connect the output to the input: with a cable, with an IAC or loopMIDI port given as both --out and "
            "--in, or with a connection in JACK"
        )
        return f"no test note (channel {CHANNEL + 1}) arrived {way}", cure
    median, jitter = trips.median_s * 1e3, trips.jitter_s * 1e3
    found = f"{median:.1f} ms {way}, constant within {jitter:.1f} ms; {trips.sent} notes sent, {trips.lost} lost"
    cure = (
        f"start 'rtgen run --output-offset-ms {median:.1f}': it compensates for the delay of the incoming clock and of "
        "the outgoing answers together"
    )
    return found, cure
