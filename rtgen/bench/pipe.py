"""MIDI over standard input and output, for machines without a MIDI server: each message with its send time.

    python -m rtgen.bench.pipe '{"preset": "vary.yaml", "use": "follow"}'

runs the daemon with such ports: the same session, loop and worker as in `rtgen run`, without rtmidi. Times are from the
system's steady clock, which all processes share.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

_HEAD = struct.Struct("<dB")


def pack(at: float, data: bytes) -> bytes:
    """Encodes a message: seconds, length, bytes (255 at most)."""
    return _HEAD.pack(at, len(data)) + data


def messages(descriptor: int) -> Iterator[tuple[float, bytes]]:
    """Reads messages and their send times from a file descriptor until it ends."""
    buffer = b""
    while chunk := os.read(descriptor, 1 << 16):
        buffer += chunk
        while len(buffer) >= _HEAD.size:
            at, length = _HEAD.unpack_from(buffer)
            if len(buffer) < _HEAD.size + length:
                break
            yield at, buffer[_HEAD.size : _HEAD.size + length]
            buffer = buffer[_HEAD.size + length :]


def output() -> Callable[[float, bytes], None]:
    """Reserves standard output for messages; other prints go to standard error from then on."""
    descriptor = os.dup(1)
    os.dup2(2, 1)

    def send(at: float, data: bytes) -> None:
        os.write(descriptor, pack(at, data))

    return send


def _play(settings: dict[str, object]) -> None:
    from queue import SimpleQueue

    from rtgen.instrument.options import Options
    from rtgen.instrument.session import Session
    from rtgen.rig.daemon import Daemon, News
    from rtgen.rig.kept import presets
    from rtgen.rig.midi.ports import LoopbackPorts
    from rtgen.rig.realtime import prefer_this_thread
    from rtgen.rig.told.telling import Teller
    from rtgen.shipped import find
    from rtgen.terminal import Terminal

    send = output()
    preset = presets.load(Path(str(settings.pop("preset"))))
    thru, seed = bool(settings.pop("thru", False)), int(str(settings.pop("seed", 0)))
    ours, send_clock = settings.pop("clock", "midi") == "internal", bool(settings.pop("send_clock", False))
    preset = preset.changed(**settings)
    ports = LoopbackPorts(send)
    news: SimpleQueue[News | None] = SimpleQueue()
    options = Options(clock="internal" if ours else "midi", thru=thru, seed=seed, send_clock=send_clock)
    session = Session(preset, options)
    daemon = Daemon(session, ports, find("models", preset.model), "cpu", news.put)
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop())

    def listen() -> None:
        prefer_this_thread()  # as a MIDI system's own threads have
        for _, data in messages(0):
            ports.play(data)
        daemon.stop()

    daemon.open()
    with Teller(Terminal(stderr=True, highlight=False), daemon, news, form="json") as teller:
        teller.say("ports open")
        threading.Thread(target=listen, daemon=True).start()
        daemon.run()


class BarePorts:
    """Minimal ports over these pipes, with the interface of rtmidi's ports."""

    def __init__(self) -> None:
        self._send = output()
        self.send_message = lambda data: self._send(perf_counter(), bytes(data))
        print("ports open", file=sys.stderr, flush=True)

    def set_callback(self, hear: Callable[[tuple[list[int], float], object], None]) -> None:
        """Calls `hear` for each message from a separate thread; the process ends at the end of input."""

        def listen() -> None:
            for _, data in messages(0):
                hear((list(data), 0.0), None)
            os._exit(0)

        threading.Thread(target=listen, daemon=True).start()


if __name__ == "__main__":
    _play(json.loads(sys.argv[1]))
