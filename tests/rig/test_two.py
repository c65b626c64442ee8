"""Two daemons of one name on one MIDI server: ports that can be told apart, and nothing that one learns is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtgen.bench.music import BAR
from rtgen.bench.programs import Program, daemon
from rtgen.bench.server import CLOCK_OUT, PROBE_OUTPUT, PROBE_PLAY, TempoMap
from rtgen.bench.streams import within
from rtgen.music.note import Note
from rtgen.rig.kept import config
from rtgen.rig.told import remote
from tests.rig.conftest import Rig, StartDaemon, loop_of
from tests.rig.test_osc import soon
from tests.rig.test_rehearsal import osc_of

pytestmark = [pytest.mark.jack, pytest.mark.timed]
SECOND = "rtgen 2-in:rtgen 2 in", "rtgen 2-out:rtgen 2 out"
TAUGHT = "controllers:\n  rtgen in:\n  - {to: transpose, number: 70}\n  - {to: blend, number: 71}\n"


def value(program: Program, address: str) -> object:
    """What a daemon tells under an address."""
    with osc_of(program) as client:
        client.send("/rtgen/subscribe")
        return dict(client.hear(0.2)).get(address, (None,))[0]


def teach(rig: Rig, program: Program, to: str, number: int) -> None:
    """Has a knob learned by whichever daemon listens to the probe, which is this one."""
    with osc_of(program) as client:
        client.send("/rtgen/learn", to)
        soon(lambda: value(program, "/rtgen/state/alive") is not None)
        for step in range(60, 66):
            rig.probe.send(bytes((0xB0, number, step)))
        program.wait_for_line(f"learned {to} from")


def test_the_second_has_a_name_of_its_own_and_knows_what_the_first_was_taught(
    rig: Rig, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    settings = tmp_path / "config.yaml"
    settings.write_text(TAUGHT)
    flags = ("--no-thru", "--config", str(settings))
    first = start_daemon(*flags, connect=False)
    second = start_daemon(*flags, connect=False)
    ours = {port for port in rig.probe.ports() if "rtgen" in port}
    assert ours == {f"{n}-{way}:{n} {way}" for n in ("rtgen", "rtgen 2") for way in ("in", "out")}
    assert "another rtgen is running: this one is called rtgen 2; choose a name with --name" in second.said
    assert "another" not in first.said
    assert [value(each, "/rtgen/state/name") for each in (first, second)] == ["rtgen", "rtgen 2"]
    # Another terminal can tell them apart.
    with pytest.raises(remote.UserError, match=r"several rtgens are running, on ports .*\(rtgen\), .*\(rtgen 2\)"):
        remote.the_one(None)
    # What was learned turns the second, too.
    second.input, second.output = SECOND
    second.attach(rig.probe, CLOCK_OUT)
    rig.probe.send(bytes((0xB0, 70, 127)))
    soon(lambda: value(second, "/rtgen/transpose") == 24.0)
    assert value(first, "/rtgen/transpose") == 0.0
    rig.probe.send(bytes((0xB0, 70, 64)))
    # It learns for itself, and the first after it: neither forgets what the other knows.
    teach(rig, second, "register", 72)
    second.process.send_signal(15)
    assert second.process.wait(10) == 0
    first.attach(rig.probe, CLOCK_OUT)
    teach(rig, first, "repetition", 73)
    known = config.load(settings).controllers
    assert {name: {(b.to, b.number) for b in bindings} for name, bindings in known.items()} == {
        "rtgen in": {("transpose", 70), ("blend", 71), ("repetition", 73)},
        "rtgen 2 in": {("transpose", 70), ("blend", 71), ("register", 72)},
    }


def test_both_play(rig: Rig, start_daemon: StartDaemon) -> None:
    start_daemon("--no-thru")
    second = start_daemon("--no-thru", connect=False)
    second.input, second.output = SECOND
    second.attach(rig.probe, CLOCK_OUT)
    with osc_of(second) as client:
        client.send("/rtgen/transpose", 12.0)
    phrase = loop_of(Note(0, 60, 400, 90), Note(960, 64, 400, 90), bars=2)
    rig.perform(TempoMap((0, 120.0)), [(0, phrase)], 4 * BAR)
    heard = rig.heard()
    (run,) = heard.runs
    answered = [n.pitch for n in within(heard.notes, run, 2 * BAR, 4 * BAR)]
    assert (sorted(answered[:2]), sorted(answered[2:])) == ([60, 72], [64, 76])


def test_a_name_is_free_again_when_its_owner_has_ended(rig: Rig, start_daemon: StartDaemon) -> None:
    first = start_daemon("--seconds", "0.5", wait=False, connect=False)
    assert first.process.wait(20) == 0
    again = start_daemon(connect=False)
    assert "ports open: rtgen in and rtgen out" in again.said


def test_an_input_that_is_named_twice_would_be_heard_twice(rig: Rig) -> None:
    ports = ("--in", "probe:pl", "--in", PROBE_PLAY, "--out", PROBE_OUTPUT)
    with daemon(rig.server, *ports) as program:
        assert program.process.wait(20) == 2
        program.end()  # and all that it said is here
    (line,) = (line for _, line in program.log)
    assert line == f"rtgen: MIDI input '{PROBE_PLAY}' is selected twice; name it once, or give more of the other name"
