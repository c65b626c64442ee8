"""In the virtual machine: a sequencer with a clock and a keyboard plays to rtgen by ALSA, and says what comes back.

    python -m tests.rig.alsa_peer PRESET TEMPO

The last line that it prints is JSON: `said`, all that rtgen printed, and `heard`, each message that came back, with its
tick.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import Any

import rtmidi

from rtgen.music.time import PPQN, TICKS_PER_CLOCK

NOTES = [(0, 60, 200), (480, 64, 200), (960, 67, 200), (1440, 72, 200)]
"""Tick, pitch and ticks of what is played in the first bar."""
BARS = 3
_PATIENCE_S = 600.0
_PATIENT = (
    "from rtgen.rig.worker import worker; worker.LOAD_S = worker.RELOAD_S = 600.0; worker.ANSWER_S = 60.0;"
    "from rtgen.cli import main; main()"
)
"""rtgen that waits for its model: what is emulated on a busy machine loads it in minutes."""


def _soon(condition: Any, what: str) -> None:
    until = time.perf_counter() + _PATIENCE_S
    while not condition():
        if time.perf_counter() > until:
            raise SystemExit(f"vm: {what} did not come")
        time.sleep(0.05)


def _connected(client: Any, name: str) -> None:
    _soon(lambda: any(name in port for port in client.get_ports()), name)
    client.open_port(next(i for i, port in enumerate(client.get_ports()) if name in port))


def main(preset: str, tempo: float) -> None:
    """Play three bars: a call, its answer, and one more."""
    flags = "--api", "alsa", "--no-thru", "--sessions", "off", "--osc", "off", "--seed", "1", "--preset", preset
    command = [sys.executable, "-c", _PATIENT, "run", *flags]
    said: list[str] = []
    program = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert program.stderr is not None

    def read() -> None:
        for line in program.stderr or ():
            said.append(line)
            print(f"vm: {line}", end="", flush=True)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    _soon(lambda: program.poll() is not None or any("model ready" in line for line in said), "the model")
    if program.poll() is not None:
        raise SystemExit("vm: rtgen has ended")
    heard: list[tuple[float, list[int]]] = []
    keys, synth = rtmidi.MidiOut(rtmidi.API_LINUX_ALSA), rtmidi.MidiIn(rtmidi.API_LINUX_ALSA)
    synth.set_callback(lambda event, _: heard.append((time.perf_counter(), event[0])))
    _connected(keys, "rtgen in")
    _connected(synth, "rtgen out")
    time.sleep(0.5)
    tick_s = 60 / tempo / PPQN
    played: list[tuple[int, list[int]]] = [(tick, [0xF8]) for tick in range(0, BARS * 4 * PPQN, TICKS_PER_CLOCK)]
    played += [(tick, [0x90, pitch, 90]) for tick, pitch, _ in NOTES]
    played += [(tick + long, [0x80, pitch, 0]) for tick, pitch, long in NOTES]
    played.sort(key=lambda timed: timed[0])
    began = time.perf_counter() + 0.1
    keys.send_message([0xFA])
    for tick, message in played:
        time.sleep(max(began + tick * tick_s - time.perf_counter(), 0))
        keys.send_message(message)
    keys.send_message([0xFC])
    time.sleep(0.5)
    program.terminate()
    status = program.wait(60)
    reader.join(5)
    messages = [(round((at - began) / tick_s), message) for at, message in heard]
    print(json.dumps({"said": "".join(said), "status": status, "heard": messages}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
