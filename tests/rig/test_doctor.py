from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtgen.bench.programs import baseline
from rtgen.bench.server import PROBE_OUTPUT
from rtgen.music import midi
from rtgen.rig import calibrate, doctor
from rtgen.rig.doctor import _clock, _notes, _scheduling
from rtgen.rig.midi.ports import LoopbackPorts
from rtgen.rig.realtime import Scheduling
from tests.instrument.ledger import check
from tests.rig.conftest import Rig

PERIOD_S = 64 / 48000
CLOCK = bytes((midi.CLOCK,))


def clocks(tempo: float, count: int = 60, start: float = 0.0, port: int = 0) -> list[tuple[float, int, bytes]]:
    """Clocks as a JACK server hands them over, in whole periods."""
    true = [start + i * 2.5 / tempo for i in range(count)]
    return [(t - t % PERIOD_S + PERIOD_S, port, CLOCK) for t in true]


def test_the_tempo_is_right_although_clocks_come_in_whole_periods_and_once_stopped() -> None:
    finding = _clock(clocks(120) + clocks(120, start=3), ["mclk"], 5)
    assert finding.verdict == "good"
    assert float(finding.found.split()[0]) == pytest.approx(120, abs=0.5)
    assert "mclk" in finding.found


def test_two_clocks_at_once_are_named() -> None:
    both = sorted(clocks(120) + clocks(97, port=2) + [(1.0, 1, CLOCK)])
    finding = _clock(both, ["Live", "keys", "drums"], 3)
    assert finding.verdict == "note"
    assert "'Live' (120" in finding.found
    assert "'drums' (97" in finding.found
    assert "keys" not in finding.found
    assert "Sync" in finding.cure


def test_no_clock_and_no_notes_come_with_a_cure() -> None:
    for finding in (_clock([(0.0, 0, CLOCK)], ["keys"], 3), _notes([(0.0, 0, bytes((0x90, 60, 0)))], ["keys"], 3)):
        assert finding.verdict == "note"
        assert "keys" in finding.found
        assert finding.cure


def test_the_channels_of_notes_are_named() -> None:
    notes = [(0.0, 0, bytes((0x92, 60, 9))), (0.1, 0, bytes((0x90, 60, 9)))]
    assert _notes(notes, ["keys"], 3).found == "2 on channel 1, 3"


def test_scheduling_is_named_or_comes_with_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "prefer_this_thread", lambda: Scheduling("SCHED_FIFO"))
    assert (_scheduling().verdict, _scheduling().cure) == ("good", "")
    assert "SCHED_FIFO" in _scheduling().found
    monkeypatch.setattr(doctor, "prefer_this_thread", lambda: Scheduling("", "join the group"))
    assert (_scheduling().verdict, _scheduling().cure) == ("note", "for steadier timing, join the group")


# ---- the round trip -------------------------------------------------------------------------------------------------


class Cable:
    """Leads what is sent back into the input, late by so much, but not every note."""

    def __init__(self, delay: Callable[[int], float | None]) -> None:
        self.sent: list[bytes] = []
        self._delay = delay
        self.ports = LoopbackPorts(self._lead)

    def _lead(self, _now: float, data: bytes) -> None:
        self.sent.append(data)
        delay = self._delay(data[1])
        if delay is not None:
            timer = threading.Timer(delay, self.ports.play, (data,))
            timer.daemon = True
            timer.start()


@pytest.mark.timed
def test_a_late_cable_is_measured_and_what_it_loses_is_counted() -> None:
    cable = Cable(lambda pitch: None if pitch in (40, 41, 90) else 0.15)  # later than the next notes are sent
    trips = calibrate.measure(cable.ports, 2)
    assert (trips.sent, trips.lost) == (64, 3)
    assert 0.15 <= trips.median_s < 0.17
    assert trips.jitter_s < 0.02
    assert check(cable.sent) >= 65
    assert {data[0] & 0x0F for data in cable.sent} == {15}
    found, cure = calibrate.sentences(trips, ["keys"], "synth")
    assert "'synth'" in found
    assert "'keys'" in found
    assert "3 lost" in found
    assert f"--output-offset-ms {trips.median_s * 1e3:.1f}" in cure


@pytest.mark.timed
def test_no_cable_is_a_sentence() -> None:
    cable = Cable(lambda _: None)
    began = time.perf_counter()
    trips = calibrate.measure(cable.ports, 0.5)
    assert time.perf_counter() - began < 1.5
    assert check(cable.sent) > 0
    found, cure = calibrate.sentences(trips, ["keys"], "synth")
    assert "no test note" in found
    assert "JACK" in cure


def diagnose(rig: Rig, *connections: tuple[str, str]) -> tuple[int, dict[str, Any]]:
    """Has the doctor calibrate on the rig's server, and connects its ports; exit status and finding."""
    command = [sys.executable, "-m", "rtgen", "doctor", "--calibrate", "--json"]
    with subprocess.Popen(command, env=rig.server.environment, stdout=subprocess.PIPE, text=True) as process:
        out = "rtgen doctor-out:rtgen doctor out"
        rig.probe.wait_for_ports(out, "rtgen doctor-in:rtgen doctor in")
        rig.probe.connect((out, PROBE_OUTPUT), *connections)
        said, _ = process.communicate(timeout=30)
    (finding,) = json.loads(said)
    return process.returncode, finding


def struck(rig: Rig) -> tuple[int, float]:
    """The notes that went out, all of which ended, and for how many ms the server stood still at most."""
    time.sleep(0.15)
    capture = rig.probe.take()
    messages = [data for _, data in capture.output]
    if messages and messages[0][0] & 0xF0 == 0x80:
        del messages[0]  # of a note that began before we were connected
    return check(messages), capture.stood_still_ms()


def numbers(finding: dict[str, Any]) -> tuple[float, float]:
    """Round trip and jitter, in ms."""
    words = finding["found"].split()
    return float(words[0]), float(words[words.index("within") + 1])


@pytest.mark.jack
@pytest.mark.timed
def test_a_connection_takes_one_or_two_periods(rig: Rig) -> None:
    code, finding = diagnose(rig, ("rtgen doctor-out:rtgen doctor out", "rtgen doctor-in:rtgen doctor in"))
    notes, late_ms = struck(rig)
    period_ms = rig.server.period / 48
    median, jitter = numbers(finding)
    print(finding["found"])
    assert code == 0
    assert 0.3 * period_ms <= median <= 2.5 * period_ms
    assert jitter <= period_ms + 5 + late_ms
    assert finding["verdict"] == "good"
    assert "0 lost" in finding["found"]
    assert notes >= 64


@pytest.mark.jack
@pytest.mark.timed
def test_an_echo_takes_a_period_more(rig: Rig) -> None:
    with baseline(rig.server, "echo") as echo:
        rig.probe.wait_for_ports(echo.input, echo.output)
        code, finding = diagnose(
            rig, ("rtgen doctor-out:rtgen doctor out", echo.input), (echo.output, "rtgen doctor-in:rtgen doctor in")
        )
        notes, _ = struck(rig)
    period_ms = rig.server.period / 48
    median, _ = numbers(finding)
    print(finding["found"])
    assert code == 0
    assert 1.3 * period_ms <= median <= 3.5 * period_ms
    assert notes >= 64


@pytest.mark.jack
@pytest.mark.timed
def test_an_output_that_leads_nowhere_is_told_with_the_cure(rig: Rig) -> None:
    code, finding = diagnose(rig)
    assert code == 1
    assert finding["verdict"] == "bad"
    assert "no test note" in finding["found"]
    assert finding["cure"]
    assert struck(rig)[0] > 5


def test_the_page_of_troubles_is_made_of_its_sentences() -> None:
    text = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text("utf-8")
    assert doctor.page() in text, "put what rtgen.rig.doctor.page() returns into the page"
