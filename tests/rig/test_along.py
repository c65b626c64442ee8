"""The whole daemon plays along over JACK, with a real clock: three parts come back, in the chords that were planned."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rtgen.bench.programs import Program, port_processes, workers
from rtgen.bench.server import CLOCK_OUT, PROBE_PLAY, Probe, Server, TempoMap, end
from rtgen.instrument.job import Plan
from rtgen.music import midi
from rtgen.music.files import note_events
from rtgen.music.note import Loop
from rtgen.music.time import HALF
from rtgen.rig.kept import journal, replay
from rtgen.rig.told.remote import doctored
from tests.instrument.along import BAR, CHANNELS, melody
from tests.instrument.ledger import check, sounding
from tests.rig.conftest import Rig, StartDaemon, joining, stage
from tests.rig.test_ableton import free_port
from tests.rig.test_osc import soon
from tests.rig.test_unplugged import Peer

pytestmark = pytest.mark.jack
PERIOD = 256
BARS = 8
TUNE = Loop(BARS * BAR, melody(BARS))
TEMPO = TempoMap((0, 120.0))
PLAYERS = "bass", "comping", "drums"
"""The parts of a band."""


@pytest.fixture(scope="module")
def _stage() -> Iterator[tuple[Server, Probe]]:
    with stage(PERIOD) as found:
        yield found


@pytest.fixture
def start(start_daemon: StartDaemon) -> StartDaemon:
    """Starts the daemon with a preset that plays along."""

    def start(preset: str, *flags: str) -> Program:
        with joining():
            program = start_daemon("--preset", preset, "--no-thru", *flags, wait=False)
            program.wait_for_line("ports open")
        program.wait_for_line("model ready")
        return program

    return start


def join(rig: Rig) -> None:
    """Connects the outputs of parts, each with its peer."""
    rig.probe.connect(*((f"rtgen-out:rtgen {part}", f"{part}-in:{part} in") for part in PLAYERS))


def begun(messages: list[bytes]) -> set[str]:
    """The parts whose channels notes began on."""
    return {CHANNELS[data[0] & 0x0F] for data in messages if midi.is_note_on(data)}


def log_of(program: Program) -> Path:
    (found,) = Path(program.folder.name).glob(f"*{journal.SUFFIX}")  # type: ignore[union-attr]
    return found


def committed(log: Path) -> dict[int, tuple[str, set[tuple[str, int]]]]:
    """The chord and the notes (part and pitch) of each half beat, as they were committed."""
    _, steps = journal.read(log)
    found = {}
    for step in steps:
        if isinstance(plan := step.event, Plan):
            for i, piece in enumerate(plan.pieces[: plan.certain]):
                found[plan.since + i] = piece.chord, {(part, n.pitch) for part, n in piece.notes}
    return found


@pytest.mark.parametrize("late", [pytest.param(1, marks=pytest.mark.timed), 7])
def test_three_parts_play_along_and_end_at_stop(rig: Rig, start: StartDaemon, late: int) -> None:
    """Notes are late by no more than so many half beats; where other programs want every core, by less than a bar."""
    program = start("band")
    rig.perform(TEMPO, [(0, TUNE)], BARS * BAR)
    time.sleep(1.0)
    heard = rig.heard()  # which raises if a note has no end
    (run,) = heard.runs
    assert program.end() == 0
    plans = committed(log_of(program))
    assert sum(bool(chord) for chord, _ in plans.values()) > 4 * BARS
    by_part: dict[str, int] = {}
    for note in heard.notes:
        part, half = CHANNELS[note.channel], round(run.position(note.on)) // HALF
        # It is one that was committed for then.
        near = (half, half - 1, half + 1, *range(half - 2, half - late - 1, -1))
        chord = [plans[n][0] for n in near if (part, note.pitch) in plans.get(n, ("", ()))[1]]
        assert chord, (part, note, half)
        assert chord[0] or part == "drums"
        by_part[part] = by_part.get(part, 0) + 1
    assert set(by_part) == {"bass", "comping", "drums"}
    assert all(count > BARS for count in by_part.values()), by_part
    assert max(run.position(note.off) for note in heard.notes) < (BARS + 1) * BAR
    again = replay.replay(log_of(program))
    assert again.different is None
    assert again.ended


@pytest.mark.parametrize("stops", [True, False])
def test_each_part_leaves_by_its_own_output(rig: Rig, start: StartDaemon, tmp_path: Path, stops: bool) -> None:
    """They end at Stop, or with the daemon in the middle of a bar."""
    settings = tmp_path / "config.yaml"
    settings.write_text("parts: true\n")
    port, wanted = free_port(), ("--parts",) if stops else ("--config", str(settings))
    program = start("band", *wanted, "--osc", str(port))
    with ExitStack() as stack:
        peers = {part: stack.enter_context(Peer(rig.server, part)) for part in PLAYERS}
        join(rig)
        told = doctored(port)["ports"]
        assert {each["name"]: each["others"] for each in told if each["part"]} == {
            **{f"rtgen {part}": [f"{part}-in:{part} in"] for part in peers},
            "rtgen second": [],
        }
        if stops:
            rig.perform(TEMPO, [(0, TUNE)], BARS * BAR)
            time.sleep(1.0)
        else:
            rig.begin(TEMPO, [(0, TUNE)])
            rig.probe.wait_for_frame(TEMPO.frame(BARS * BAR - BAR // 3))
            assert program.end() == 0
            time.sleep(0.2)
        heard = {part: list(peer.heard) for part, peer in peers.items()}
    assert program.end() == 0
    assert rig.heard().notes == []
    notes = {pair for _, pairs in committed(log_of(program)).values() for pair in pairs}
    for part, messages in heard.items():
        assert check(messages) > BARS // 2, part
        assert begun(messages) == {part}
        assert {(part, data[1]) for data in messages if midi.is_note_on(data)} <= notes


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="reads /proc")
def test_parts_are_silent_while_the_output_that_was_named_is_gone(rig: Rig, start_daemon: StartDaemon) -> None:
    """And all outputs are back if the process that has them dies."""
    with ExitStack() as stack:
        synth = stack.enter_context(Peer(rig.server, "synth"))
        peers = {part: stack.enter_context(Peer(rig.server, part)) for part in PLAYERS}
        program = start_daemon("--preset", "band", "--parts", "--out", "synth-in", "--no-thru", connect=False)
        rig.probe.connect((PROBE_PLAY, program.input), (CLOCK_OUT, program.input))
        join(rig)
        rig.begin(TEMPO, [(start, TUNE) for start in range(0, 8 * BARS * BAR, BARS * BAR)])
        soon(lambda: all(begun(peer.heard) for peer in peers.values()))
        soon(lambda: any(sounding(peer.heard) for peer in peers.values()))
        end(synth.process, signal.SIGKILL)
        program.wait_for_line("synth-in is gone")
        soon(lambda: not any(sounding(peer.heard) for peer in peers.values()))
        before = {part: len(peer.heard) for part, peer in peers.items()}
        time.sleep(1.0)
        assert before == {part: len(peer.heard) for part, peer in peers.items()}
        again = stack.enter_context(Peer(rig.server, "synth"))
        program.wait_for_line("synth-in is back")
        soon(lambda: all(begun(peer.heard[before[part] :]) for part, peer in peers.items()))
        rig.probe.stop()
        soon(lambda: not any(sounding(peer.heard) for peer in peers.values()))

        (pid,) = port_processes(program.process.pid)
        os.kill(pid, signal.SIGKILL)
        program.wait_for_line("rtgen in is back")
        rig.probe.connect((PROBE_PLAY, program.input), (CLOCK_OUT, program.input))
        join(rig)
        before = {part: len(peer.heard) for part, peer in peers.items()}
        rig.probe.rewind()
        rig.probe.start()
        soon(lambda: all(begun(peer.heard[before[part] :]) for part, peer in peers.items()))
        assert program.end() == 0
        time.sleep(0.2)
        for part, peer in peers.items():
            assert check(peer.heard[before[part] :]), part
            assert begun(peer.heard) == {part}
        assert not sounding(synth.heard + again.heard)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="reads /proc")
def test_another_process_of_the_model_goes_on_with_what_was_played(rig: Rig, start: StartDaemon) -> None:
    program = start("band")
    rig.probe.conduct(TEMPO)
    rig.probe.play([(TEMPO.frame(e.tick), e.data) for e in note_events(melody(16))])
    rig.probe.start()
    rig.probe.wait_for_frame(TEMPO.frame(4 * BAR))
    (pid,) = workers(program.process.pid)
    os.kill(pid, signal.SIGKILL)
    soon(lambda: program.said.count("model ready") == 2)
    from_here = rig.probe.now()
    time.sleep(4.0)
    rig.probe.stop()
    time.sleep(1.0)
    heard = rig.heard()
    assert {CHANNELS[n.channel] for n in heard.notes if n.on > from_here} == {"bass", "comping", "drums"}
