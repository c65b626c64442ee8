"""A fuzzer for everything that strangers send, led by coverage (Atheris): `pip install --group fuzz`, then

    python -m tests.fuzz TARGET CORPUS -max_total_time=600

TARGET is one of `TARGETS`. It ends with the bytes that broke a rule, if there are any. Kept they are a test: those for
the session in `tests/instrument/test_machine.py`, OSC packets in `tests/rig/test_osc.py`, Live's in
`tests/rig/test_ableton.py`, MIDI files in `tests/train/test_sources.py`, Live sets in `tests/train/test_als.py`,
session logs in `tests/rig/test_journal.py`, presets in `tests/instrument/test_preset.py`, models in
`tests/inference/test_file.py`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(
    include=[
        "rtgen.instrument",
        "rtgen.music",
        "rtgen.rig.kept",
        "rtgen.rig.told",
        "rtgen.rig.ableton",
        "rtgen.inference",
        "rtgen.settings",
        "train.prepare",
    ]
):
    from tests import untrusted
    from tests.instrument.gestures import Story, read
    from tests.rig.test_osc import still_hears


def session(data: bytes) -> None:
    """The first byte chooses the clock, the offset, the lookahead and the outputs, the rest is a story."""
    if data:
        offset_ms, ahead_ms = (0, 30, -30)[data[0] // 2 % 3], (0, 5)[data[0] // 6 % 2]
        read(Story(data[0] % 2, offset_ms, ahead_ms, parts=data[0] >= 128), data[1:])


TARGETS = {
    "session": session,
    "osc": lambda data: still_hears([data]),
    "live": untrusted.live,
    "midi": untrusted.midi_file,
    "als": untrusted.live_set,
    "log": untrusted.session_log,
    "preset": untrusted.preset,
    "model": untrusted.model,
}

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
