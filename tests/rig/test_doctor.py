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
from rtgen.errors import UserError
from rtgen.music import midi
from rtgen.rig import calibrate, doctor
from rtgen.rig.doctor import _clock, _notes, _scheduling, ask_live, examine_running, of_live, of_model, of_running
from rtgen.rig.midi.ports import LoopbackPorts
from rtgen.rig.realtime import Scheduling
from rtgen.rig.tally import Tally
from rtgen.rig.told import remote
from tests.instrument.ledger import check
from tests.rig.conftest import Rig
from tests.rig.fake_live import FakeLive
from tests.rig.test_ableton import free_port, script_of
from tests.rig.test_osc import Desk

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


# ---- an rtgen that runs is asked itself ----------------------------------------------------------------------------


def state(clocks: int = 0, starts: int = 0, notes: dict[str, int] | None = None, **changes: Any) -> dict[str, Any]:
    """What a running rtgen with one virtual input says: by default it rolls, and all is connected."""
    ports = [
        {"direction": "out", "number": 0, "name": "rtgen out", "there": True, "others": ["synth:in"], "shows": False},
        {"direction": "in", "number": 0, "name": "rtgen in", "there": True, "others": ["Live:out"], "shows": False},
    ]
    said = {
        "clock": "midi",
        "rolling": True,
        "tempo": 120.0,
        "at": "listening",
        "muted": False,
        "listens": None,
        "split": 0,
        "lead_s": 0.02,
        "ports": [port | changes.pop(port["direction"], {}) for port in ports],
        "inputs": {
            "0": {"clocks": clocks, "last": clocks / 48, "starts": starts, "notes": notes or {}, "low": {}}
            | changes.pop("first", {})
        }
        | changes.pop("more", {}),
    }
    return said | changes


HEARD = state(48 * 13, 1, {"1": 9})


@pytest.mark.parametrize(
    ("after", "subject", "verdict", "found", "cure"),
    [
        (state(480, 1, {"1": 9}), "Clock", "note", "none received in 3 s on rtgen in", "switch on Sync"),
        (
            HEARD | {"rolling": False, "inputs": state(624, 0, {"1": 9})["inputs"]},
            "Clock",
            "note",
            "120.0 BPM on 'rtgen in', but no Start yet",
            "press Play",
        ),
        (
            HEARD | {"clock": "internal"},
            "Clock",
            "note",
            "120.0 BPM on 'rtgen in' is not used, as rtgen runs with --clock internal",
            "--clock midi",
        ),
        (state(624, 1, {"1": 5}), "Notes", "note", "none received in 3 s on rtgen in", "play a few notes"),
        (
            HEARD | {"listens": 2},
            "Notes",
            "note",
            "4 received, none of them on channel 2, the only one that is heard (but on 1)",
            "set your keyboard to channel 2",
        ),
        (
            state(624, 1, {"1": 9}, split=72, first={"low": {"1": 4}}),
            "Notes",
            "note",
            "4 received, all of them below the split at 72",
            "rtgen set split 0",
        ),
        (
            state(624, 1, {"1": 9}, **{"in": {"others": []}}),
            "Ports",
            "bad",
            "nothing is connected to rtgen in",
            "connect your keyboard",
        ),
        (
            state(624, 1, {"1": 9}, out={"others": []}),
            "Ports",
            "bad",
            "rtgen out is connected to nothing",
            "connect it to an instrument",
        ),
        (
            state(624, 1, {"1": 9}, out={"there": False, "name": "nosynth"}),
            "Ports",
            "bad",
            "nosynth is not there",
            "plug it in",
        ),
        (HEARD | {"muted": True}, "Turn", "note", "the answers are muted", "rtgen press mute"),
    ],
)
def test_a_broken_set_up_is_named_with_its_cure(
    after: dict[str, Any], subject: str, verdict: str, found: str, cure: str
) -> None:
    before = state(480, 1, {"1": 5})
    findings = of_running(before, after, 3)
    (finding,) = (f for f in findings if f.subject == subject)
    assert (finding.verdict, finding.found) == (verdict, found)
    assert cure in finding.cure
    assert all(f.verdict == "good" for f in findings if f.subject != subject), "nothing else is amiss"


def test_what_is_in_order_is_said_as_well() -> None:
    said = [(f.subject, f.verdict, f.found) for f in of_running(state(480, 1, {"1": 5}), HEARD, 3)]
    assert said == [
        ("Ports", "good", "rtgen out to synth:in; rtgen in from Live:out"),
        ("Clock", "good", "120.0 BPM, on 'rtgen in'"),
        ("Notes", "good", "4 on channel 1"),
        ("Turn", "good", "listening"),
    ]
    # A port that was named is connected to itself, and not every system tells.
    named = state(out={"name": "synth", "others": ["synth"]}, **{"in": {"others": None}})
    assert of_running(named, named, 3)[0].found == "synth; rtgen in"
    # Of several outputs it is enough that one is heard.
    bass, drums = (HEARD["ports"][0] | {"name": f"rtgen {part}", "part": part} for part in ("bass", "drums"))
    parts = HEARD | {"ports": [HEARD["ports"][0] | {"others": []}, bass, drums | {"others": []}, HEARD["ports"][1]]}
    joined, idle = (f for f in of_running(state(480, 1), parts, 3) if f.subject == "Ports")
    assert (joined.verdict, joined.found) == ("good", "rtgen bass to synth:in; rtgen in from Live:out")
    assert (idle.verdict, idle.found) == ("note", "not connected to anything: rtgen out, rtgen drums")
    none = HEARD | {"ports": [port | {"others": []} for port in (HEARD["ports"][0], bass, drums)]}
    (mute,) = (f for f in of_running(state(480, 1), none, 3) if f.subject == "Ports")
    assert (mute.verdict, mute.found) == ("bad", "rtgen out is connected to nothing")
    # Two clocks at once.
    both = HEARD | {"inputs": HEARD["inputs"] | {"1": {"clocks": 96, "last": 2.0, "starts": 0, "notes": {}, "low": {}}}}
    both["ports"] = [*both["ports"], both["ports"][1] | {"number": 1, "name": "drums"}]
    (clock,) = (f for f in of_running(state(480, 1), both, 3) if f.subject == "Clock")
    assert clock.found.startswith("2 sources: on 'rtgen in' (120.0 BPM) and on 'drums' (")


def test_what_a_daemon_counts_is_what_the_doctor_reads() -> None:
    tally = Tally()
    for number in range(24):
        tally.count(number / 48, 0, CLOCK, 0)
    messages = (b"\xfa", b"\xfb", bytes((0x91, 50, 90)), bytes((0x91, 60, 90)), bytes((0x91, 60, 0)), b"", b"\x90\x3c")
    for data in messages:
        tally.count(1.0, 1, data, 60)
    assert tally.told() == {
        "0": {"clocks": 24, "last": 23 / 48, "starts": 0, "notes": {}, "low": {}},
        "1": {"clocks": 0, "last": 0.0, "starts": 2, "notes": {"2": 2}, "low": {"2": 1}},
    }


def test_a_running_rtgen_is_asked_by_osc() -> None:
    told = [json.dumps(state(480, 1, {"1": 5})), json.dumps(HEARD)]
    desk = Desk(examine=lambda: told.pop(0))
    with desk.remote:
        running = remote.running(desk.remote.port)
        findings = examine_running(running, 0.1)
        assert [f.subject for f in findings] == ["Running", "Ports", "Clock", "Notes", "Turn", "Model"]
        assert findings[0].found == f"desk, OSC port {desk.remote.port}"
        assert findings[-1].found == "preset lush: loop_denoiser plays vary, asked 20 ms before each answer"
        told += ["{}", "{}"]
        with pytest.raises(UserError, match="is it an older rtgen"):
            examine_running(running, 0.0)


def test_what_plays_along_is_not_asked_for_answers() -> None:
    assert of_model("band", "harmoniser", "accompany", 0.01).found == "preset band: harmoniser plays along"


# ---- Live -----------------------------------------------------------------------------------------------------------


def track(**changes: Any) -> dict[str, Any]:
    return {"name": "keys", "hears": False, "plays": False, "monitor": "In", "armed": False} | changes


ANSWERS, PLAYS = track(name="answers", hears=True), track(plays=True)


@pytest.mark.parametrize(
    ("tracks", "verdict", "found", "cure"),
    [
        ([PLAYS], "note", "no track takes its MIDI from rtgen out", "choose rtgen out as MIDI From"),
        ([ANSWERS], "note", "no track sends its MIDI to rtgen in", "choose rtgen in as MIDI To"),
        ([PLAYS, ANSWERS | {"monitor": "Auto"}], "note", "its Monitor is Auto", "switch its Monitor to In"),
        (
            [PLAYS, ANSWERS | {"monitor": "Off", "armed": True}],
            "note",
            "its Monitor is Off",
            "switch its Monitor to In",
        ),
        ([ANSWERS | {"plays": True}], "bad", "track answers takes its MIDI from rtgen, and sends it back", "MIDI To"),
    ],
)
def test_what_is_wrong_in_live_is_named_with_its_switch(tracks: list[Any], verdict: str, found: str, cure: str) -> None:
    findings = of_live({"there": True, "says": "120.0 BPM", "tracks": tracks}, ["rtgen in"], "rtgen out")
    assert (findings[0].verdict, findings[0].found) == ("good", "120.0 BPM")
    assert findings[1].verdict == verdict
    assert found in findings[1].found
    assert cure in findings[1].cure
    assert len(findings) == 2


def test_where_all_is_right_in_live_nothing_is_said() -> None:
    for answers in (ANSWERS, ANSWERS | {"monitor": "Auto", "armed": True}, ANSWERS | {"monitor": None, "armed": None}):
        told = {"there": True, "says": "120.0 BPM", "tracks": [PLAYS, answers]}
        assert [f.verdict for f in of_live(told, ["rtgen in"], "rtgen out")] == ["good"]
    assert [f.verdict for f in of_live({"there": True, "says": "", "tracks": []}, [], "")] == ["good"]
    (finding,) = of_live({"there": False, "says": "", "tracks": []}, [], "")
    assert "AbletonOSC" in finding.cure


def test_live_is_asked_where_nobody_else_does() -> None:
    with FakeLive(reply_port=free_port()) as live:
        live.tracks[0].output_routing_type = "rtgen in"
        live.tracks[1].current_monitoring_state = 1
        findings = ask_live(["rtgen in"], "rtgen out", live.port, live.reply_port)
        assert findings[0].found == "97.5 BPM, 4/4, C Major, stopped"
        assert [f.found for f in findings[1:]] == [
            "track answers takes its MIDI from rtgen out, but does not play it: its Monitor is Auto"
        ]
        taken = script_of(live)
        assert ask_live(["rtgen in"], "rtgen out", live.port, live.reply_port) == []
        taken.close()
    assert ask_live(["rtgen in"], "rtgen out", live.port, live.reply_port) == []


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
def test_a_connection_takes_no_time(rig: Rig) -> None:
    """What leaves at a frame arrives at that frame."""
    code, finding = diagnose(rig, ("rtgen doctor-out:rtgen doctor out", "rtgen doctor-in:rtgen doctor in"))
    notes, late_ms = struck(rig)
    median, jitter = numbers(finding)
    print(finding["found"])
    assert code == 0
    assert abs(median) <= 0.1
    assert jitter <= 0.1 + late_ms
    assert finding["verdict"] == "good"
    assert "0 lost" in finding["found"]
    assert notes >= 64


@pytest.mark.jack
@pytest.mark.timed
def test_an_echo_takes_a_period(rig: Rig) -> None:
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
    assert 0.3 * period_ms <= median <= 1.5 * period_ms
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
