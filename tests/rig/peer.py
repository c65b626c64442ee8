"""Another program with a keyboard and a synthesizer, that can go and come back: `python peer.py NAME`.

Each line on standard input is a message to play, in hexadecimal; each that is heard becomes a line on standard output.
"""

from __future__ import annotations

import sys
import time

import rtmidi


def main(name: str) -> None:
    keys = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name=f"{name}-out")
    synth = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name=f"{name}-in")
    synth.set_callback(lambda event, _: print(bytes(event[0]).hex(), flush=True))
    keys.open_virtual_port(f"{name} out")
    synth.open_virtual_port(f"{name} in")
    print(f"ready {time.perf_counter()}", flush=True)
    for line in sys.stdin:
        keys.send_message(bytes.fromhex(line))


if __name__ == "__main__":
    main(sys.argv[1])
