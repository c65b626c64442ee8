"""What a running rtgen tells `rtgen doctor`: what has come in at each input, and what is connected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rtgen.music import midi

if TYPE_CHECKING:
    from rtgen.rig.daemon import Daemon
    from rtgen.rig.midi.ways import Connection

_MOST = 16
"""Most connections of a port that are told: a datagram has its limits."""


class Tally:
    """Counts since the start; the real-time loop counts, any thread may read."""

    def __init__(self) -> None:
        self._clocks: Counter[int] = Counter()
        self._last: dict[int, float] = {}
        self._starts: Counter[int] = Counter()
        self._notes: Counter[tuple[int, int]] = Counter()
        self._low: Counter[tuple[int, int]] = Counter()

    def count(self, now: float, port: int, data: bytes, split: float) -> None:
        """Count a message.

        Args:
            now: when it came, in seconds.
            port: number of the input.
            data: the message; only the first one of several counts.
            split: the lowest key that is heard.
        """
        status = data[0] if data else 0
        if status == midi.CLOCK:
            self._clocks[port] += 1
            self._last[port] = now
        elif status in (midi.START, midi.CONTINUE):
            self._starts[port] += 1
        elif len(data) > 2 and midi.is_note_on(data):
            key = port, (status & 0x0F) + 1
            self._notes[key] += 1
            self._low[key] += data[1] < split

    def told(self) -> dict[str, dict[str, Any]]:
        """Return the counts by input: clocks, time of the last one, Starts; notes, and those too low, by channel."""
        notes, low = dict(self._notes), dict(self._low)
        ports = sorted({*dict(self._clocks), *dict(self._starts), *(port for port, _ in notes)})
        return {
            str(port): {
                "clocks": self._clocks[port],
                "last": self._last.get(port, 0.0),
                "starts": self._starts[port],
                "notes": {str(channel): count for (each, channel), count in notes.items() if each == port},
                "low": {str(channel): count for (each, channel), count in low.items() if each == port},
            }
            for port in ports
        }


def report(daemon: Daemon, ports: Sequence[Connection], live: Mapping[str, Any] | None = None) -> str:
    """Return what comes in and what is connected, as JSON.

    Keys: `clock` (its kind), `rolling`, `tempo`, `at` (the current activity), `muted`, `listens` (channel or None),
    `split`, `ports` (fields of `Connection`), `inputs` (as `Tally.told`, by number of the input) and `live` (as
    `LiveSet.told`; None if Live is not spoken with).
    """
    view = daemon.view
    connections = [{**asdict(port), "others": port.others and port.others[:_MOST]} for port in ports]
    return json.dumps(
        {
            "clock": view.clock,
            "rolling": view.tick is not None,
            "tempo": round(view.tempo, 1),
            "at": view.at,
            "muted": view.muted,
            "listens": view.listens,
            "split": view.knobs.get("split", 0),
            "lead_s": round(view.lead_s, 4),
            "ports": connections,
            "inputs": daemon.tally.told(),
            "live": live,
        }
    )
