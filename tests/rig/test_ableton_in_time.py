"""Beside a real JACK server: what is kept goes into Live's slots, and nothing else changes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from rtgen.bench import figures
from rtgen.bench.figures import Event
from rtgen.bench.music import BAR, made_loop
from rtgen.bench.server import CLOCK_OUT, PROBE_OUTPUT, PROBE_PLAY, TempoMap
from rtgen.bench.streams import milliseconds
from rtgen.music.files import note_events
from rtgen.rig.ableton.script import PORT, REPLY_PORT
from rtgen.rig.told.osc import Client
from tests.rig.conftest import Rig, StartDaemon
from tests.rig.fake_live import FakeLive
from tests.rig.test_ableton import wait_until

LENGTH = 2 * BAR
TEMPOS = TempoMap((0, 120))
CALM, KEEPING = range(2, 6), range(6, 10)
KEEPS = 60
OSC = 7739
PLAYED = 5


@pytest.mark.jack
@pytest.mark.timed
def test_notes_go_through_as_before_while_answers_are_kept_in_live(
    rig: Rig, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    try:
        live = FakeLive(poll_s=0.1, scenes=KEEPS + 4, port=PORT, reply_port=REPLY_PORT)
    except OSError:
        pytest.skip(f"another program has port {PORT}")
    script = [(TEMPOS.frame(e.tick), e.data) for e in note_events(made_loop(3, 2).notes)]
    first, last = TEMPOS.frame(CALM.start * LENGTH) + 4000, TEMPOS.frame(KEEPING.stop * LENGTH)
    for frame in range(first, last - 4000, 2401):  # notes that go through, at every place within a period
        script += [(frame, bytes((0x90 | PLAYED, 60, 64))), (frame + 900, bytes((0x80 | PLAYED, 60, 64)))]
    begin = threading.Event()

    def press() -> None:
        begin.wait()
        with Client(OSC) as client:
            for _ in range(KEEPS):
                client.send("/rtgen/keep")
                time.sleep(0.25)

    with live:
        ports = ["--in", PROBE_PLAY, "--in", CLOCK_OUT, "--out", PROBE_OUTPUT]
        wants = ["--live", "--live-track", "answers", "--osc", str(OSC), "--clips", str(tmp_path / "clips")]
        program = start_daemon(*ports, "--bars", "2", "--use", "hold", "--thru", *wants, connect=False)
        program.wait_for_line("Live answers")
        presser = threading.Thread(target=press, daemon=True)
        presser.start()
        rig.probe.conduct(TEMPOS)
        rig.probe.play(sorted(script))
        rig.probe.start()
        rig.probe.wait_for_frame(TEMPOS.frame(KEEPING.start * LENGTH))
        begin.set()
        rig.probe.wait_for_frame(last)
        rig.probe.stop()
        presser.join()
        wait_until(lambda: sum(clip is not None for clip in live.tracks[1].slots) == KEEPS, 60)
        heard = rig.heard()
    assert len(list((tmp_path / "clips").iterdir())) == KEEPS
    assert len({str(clip.notes) for clip in live.tracks[1].slots if clip}) == 1

    (grid,) = heard.runs
    into = [f for f, data in heard.capture.played if data[0] & 0x0F == PLAYED]
    out = [f for f, data in heard.capture.output if data[0] & 0x0F == PLAYED]
    through: list[list[Event]] = []
    for part in CALM, KEEPING:
        border = range(int(grid.frame(part.start * LENGTH)), int(grid.frame(part.stop * LENGTH)))
        through.append([(b - a, (a, b)) for a, b in zip(into, out, strict=True) if a in border])
    before, during = (
        [figures.quantile([milliseconds(e) for e, _ in part], q) for q in (0.5, 0.99)] for part in through
    )
    slack = heard.capture.stood_still_ms()
    print(f"\nthrough, ms (p50, p99): before {before}, keeping {during}, server late by {slack:.1f} in 1.5 s")
    assert during[0] < before[0] + 1.0
    assert during[1] < before[1] + 3.0 + 2 * slack
