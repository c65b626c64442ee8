"""A program that plays far too much: `python flood.py NAME PER_SECOND`.

It begins with the first line of standard input and ends when that ends.

Notes, controllers, pitch bend, pressure and clock, and every two seconds a system exclusive message of 1 MB in pieces.
What it has sent it says at the end.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator

import jack

_PIECE, _EXCLUSIVE, _PIECES_PER_CYCLE = 1000, 1_000_000, 16
_EVERY_S = 2.0


def messages() -> Iterator[bytes]:
    """What is played, over and over: every note-on has its note-off."""
    for n in itertools.count():
        pitch = 36 + n % 48
        yield bytes((0x93, pitch, 100))
        yield bytes((0xB3, 70 + n % 12, n % 128))  # for no knob, and for no button, as that would be meant
        yield bytes((0xE3, n % 128, 64))
        yield bytes((0xD3, n % 128))
        yield bytes((0xA3, pitch, n % 128))
        yield b"\xf8"
        yield bytes((0x83, pitch, 0))


def exclusive() -> Iterator[bytes]:
    """The pieces of 1 MB."""
    yield b"\xf0" + bytes(_PIECE - 1)
    for _ in range(_EXCLUSIVE // _PIECE - 2):
        yield bytes(_PIECE)
    yield bytes(_PIECE - 1) + b"\xf7"


def main(name: str, rate: float) -> None:
    client = jack.Client(name, use_exact_name=True, no_start_server=True)
    port = client.midi_outports.register("out")
    stream, pieces = messages(), iter(())
    sent: Counter[str] = Counter()
    owed, pause, playing = 0.0, 0.0, False

    def process(frames: int) -> None:
        nonlocal pieces, owed, pause
        port.clear_buffer()
        if not playing:
            return
        now = list(itertools.islice(pieces, _PIECES_PER_CYCLE))
        if now:
            sent["exclusive"] += sum(map(len, now))
        else:
            # While an exclusive message is under way nothing else may be played; it is made good.
            owed += rate * frames / client.samplerate
            now = list(itertools.islice(stream, min(int(owed), 200)))
            owed -= len(now)
            sent["messages"] += len(now)
            pause += frames / client.samplerate
            if pause >= _EVERY_S:
                pause, pieces = 0.0, exclusive()
        for data in now:
            port.write_midi_event(0, data)

    client.set_process_callback(process)
    client.activate()
    sys.stdin.readline()
    playing = True
    sys.stdin.read()
    client.deactivate()
    client.close()
    print(json.dumps(sent))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
