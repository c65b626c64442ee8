"""A rehearsal over a real MIDI server: play, learn a knob, turn it, freeze, keep, panic, and read the log."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import symusic
import yaml

from rtgen.bench.music import BAR
from rtgen.bench.programs import Program, daemon, preset_file
from rtgen.bench.server import CLOCK_OUT, PROBE_OUTPUT, PROBE_PLAY, TempoMap
from rtgen.bench.streams import UnsafeError, runs, sounded, within
from rtgen.instrument.parameters import BUTTONS, PARAMETERS
from rtgen.music import files
from rtgen.music.attributes import MEAN, NAMES, SD
from rtgen.music.files import note_events
from rtgen.music.note import Loop, Note
from rtgen.rig.kept import replay
from rtgen.rig.told.osc import Client
from rtgen.shipped import folders
from tests.busy import void
from tests.rig.conftest import Rig, StartDaemon, loop_of
from tests.rig.test_unplugged import Peer

pytestmark = [pytest.mark.jack, pytest.mark.timed]

REGISTER = dict(zip(NAMES, SD, strict=True))["register"]
PHRASE = loop_of(*(Note(i * 240, 60 + (0, 4, 7, 5)[i % 4], 200, 90) for i in range(16)), bars=2)
TEMPO = TempoMap((0, 120.0))
KNOB = 70
assert len(MEAN) == len(NAMES)


def osc_of(program: Program) -> Client:
    """Speaks with a daemon."""
    program.wait_for_line("OSC on")
    found = re.search(r"OSC on \S+ port (\d+)", program.said)
    assert found
    return Client(int(found[1]))


def mean_pitch(notes: list[tuple[float, int]]) -> float:
    return sum(pitch for _, pitch in notes) / len(notes)


def test_a_rehearsal(rig: Rig, start_daemon: StartDaemon, tmp_path: Path) -> None:
    config, clips, sessions = tmp_path / "config.yaml", tmp_path / "clips", tmp_path / "sessions"
    kept = ("--config", str(config), "--clips", str(clips), "--sessions", str(sessions))
    program = start_daemon("--no-thru", *kept)
    knob = [(100 + 20 * i, bytes((0xB0, KNOB, value))) for i, value in enumerate((60, 61, 62, 63, 64))]
    # Up while the first answer sounds: that is heard from the next beat on.
    knob.append((3 * BAR + 100, bytes((0xB0, KNOB, 127))))
    score = [(e.tick, e.data) for start in (0, 4 * BAR) for e in note_events(PHRASE.notes, start=start)]
    rig.probe.conduct(TEMPO)
    rig.probe.play([(TEMPO.frame(tick), data) for tick, data in sorted([*score, *knob], key=lambda e: e[0])])
    with osc_of(program) as client:

        def at(tick: int, address: str, *values: float) -> None:
            rig.probe.wait_for_frame(TEMPO.frame(tick))
            client.send(address, *values)

        client.send("/rtgen/learn", "register")
        time.sleep(0.2)
        rig.probe.start()
        at(7 * BAR, "/rtgen/freeze", 1.0)
        at(9 * BAR, "/rtgen/keep")
        at(11 * BAR + 200, "/rtgen/panic")
        at(11 * BAR + 400, "/rtgen/freeze", 0.0)
        rig.probe.wait_for_frame(TEMPO.frame(12 * BAR))
        rig.probe.stop()
    heard = rig.heard()
    (run,) = heard.runs

    def notes(begin: int, end: int) -> list[tuple[float, int]]:
        return [(run.position(n.on), n.pitch) for n in within(heard.notes, run, begin, end)]

    # What was learned turns, and is remembered.
    learned = yaml.safe_load(config.read_text())["controllers"]["rtgen in"]
    assert {"to": "register", "number": KNOB, "channel": 1} in learned
    # Before it is turned the answer is what was played; from the next beat on it is higher; the next is so as a whole.
    before, after, whole = notes(2 * BAR, 3 * BAR), notes(3 * BAR + 480, 4 * BAR), notes(6 * BAR, 8 * BAR)
    assert [p for _, p in before] == [n.pitch for n in PHRASE.notes if n.onset < BAR]
    played = mean_pitch([(0.0, n.pitch) for n in PHRASE.notes])
    moved = [(mean_pitch(part) - played) / REGISTER for part in (after, whole)]
    print("the register moved by {:.2f} standard deviations at once, {:.2f} in the next answer".format(*moved))
    assert mean_pitch(after) - played >= REGISTER
    assert mean_pitch(whole) - played >= REGISTER
    # Frozen it goes round; after panic nothing sounds until the next round.
    assert [p for _, p in notes(8 * BAR, 10 * BAR)] == [p for _, p in whole]
    assert notes(11 * BAR + 300, 12 * BAR) == []
    # What was kept is as long as the loop.
    (clip,) = clips.iterdir()
    assert symusic.Score(clip, ttype="tick").end() <= 2 * BAR
    assert files.read(clip).tracks[0].notes()[0].pitch == whole[0][1]
    assert program.end() == 0
    # And all of it can be played again.
    (log,) = sessions.glob("*.rtlog")
    again = replay.replay(log)
    assert again.different is None
    assert again.answers >= 3
    music = files.read(log.with_suffix(".mid"))
    assert [t.name for t in music.tracks] == ["played", "answered"]
    assert len(music.tracks[1].notes()) == len(heard.notes)


def test_a_second_set(rig: Rig, start_daemon: StartDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two loops are stored, another preset brings another model, they are blended, and the keyboard is pulled out."""
    other = loop_of(*(Note(i * 480, (67, 71, 74, 79)[i % 4], 300, 70) for i in range(8)), bars=2)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    mine = dict(folders("presets"))["yours"]
    mine.mkdir(parents=True, exist_ok=True)
    (mine / "between.yaml").write_text("model: loop_vae\nmode: blend\nuse: answer\nprogram: 77\n", "utf-8")
    ports = ("--in", PROBE_PLAY, "--in", CLOCK_OUT, "--in", "peer-out", "--out", PROBE_OUTPUT, "--wait")
    program = start_daemon("--no-thru", "--controls", "all", *ports, connect=False)

    def cc(tick: int, name: str, value: int = 127) -> tuple[int, bytes]:
        number = (PARAMETERS.get(name) or BUTTONS[name]).cc
        assert number is not None
        return tick, bytes((0xB0, number, value))

    buttons = [
        cc(2 * BAR + 960, "store_a"),
        (2 * BAR + 1000, bytes((0xC0, 76))),
        cc(6 * BAR + 960, "store_b"),
        cc(8 * BAR + 200, "blend", 0),
        cc(11 * BAR - 900, "blend", 127),
    ]
    calls = [(0, PHRASE), (4 * BAR, other), (8 * BAR, PHRASE)]
    score = [(e.tick, e.data) for start, loop in calls for e in note_events(loop.notes, start=start)]
    rig.probe.conduct(TEMPO)
    rig.probe.play([(TEMPO.frame(tick), data) for tick, data in sorted([*score, *buttons], key=lambda e: e[0])])
    rig.probe.start()
    with Peer(rig.server) as keyboard:
        program.wait_for_line("peer-out is back")
        rig.probe.wait_for_frame(TEMPO.frame(12 * BAR + 480))
        keyboard.play(bytes((0x90, 50, 80)))
        rig.probe.wait_for_frame(TEMPO.frame(12 * BAR + 960))
    program.wait_for_line("peer-out is gone")
    rig.probe.wait_for_frame(TEMPO.frame(16 * BAR + 480))
    with Peer(rig.server) as keyboard:
        ends = time.perf_counter() + 5
        while program.said.count("peer-out is back") < 2 and time.perf_counter() < ends:
            time.sleep(0.01)
        keyboard.play(bytes((0x90, 52, 80)))
        rig.probe.wait_for_frame(TEMPO.frame(17 * BAR))
        keyboard.play(bytes((0x80, 52, 0)))
        rig.probe.wait_for_frame(TEMPO.frame(20 * BAR))
    rig.probe.stop()
    time.sleep(0.3)
    # The server stands still for a moment when a client is killed: here it does not count how long.
    capture = rig.probe.take()
    try:
        (run,), notes = runs(capture.clock), sounded(capture.output)
    except UnsafeError:
        if capture.gaps:  # the beginning of a note may have been in one
            void(rig.test, "the probe missed cycles")
        raise

    def pitches(begin: int, end: int) -> list[int]:
        early = 60  # on a busy machine the clock is not told to the tick
        return [n.pitch for n in within(notes, run, begin - early, end - early)]

    def of(loop: Loop, begin: int, end: int) -> list[int]:
        return [n.pitch for n in loop.notes if begin <= n.onset < end]

    # The one model answers until the other is ready, and no answer is late for it.
    assert pitches(2 * BAR, 4 * BAR) == of(PHRASE, 0, 2 * BAR)
    assert "is late" not in program.said
    assert "too late" not in program.said
    ready = [at for at, line in program.log if "model ready" in line]
    print(
        f"the other model was ready {program.wait_for_line('preset between') - ready[1]:.2f} s before its preset began"
    )
    # In the middle of the way lies something of both; at its ends is what was stored.
    assert set(pitches(6 * BAR, 8 * BAR)) & set(of(other, 0, 2 * BAR))
    assert pitches(10 * BAR, 11 * BAR - 960) == of(PHRASE, 0, BAR - 960)
    assert pitches(11 * BAR, 12 * BAR) == of(other, BAR, 2 * BAR)
    # What was held when the keyboard went has ended, and what is played on it when it is back is heard.
    assert re.search(r"heard bars 13-14: 1 note", program.said)
    assert re.search(r"heard bars 17-18: 1 note", program.said)
    assert len(pitches(18 * BAR, 20 * BAR)) > 0


def test_a_session_that_is_killed_is_there_the_next_time(rig: Rig, start_daemon: StartDaemon, tmp_path: Path) -> None:
    sessions = ("--sessions", str(tmp_path / "sessions"))
    program = daemon(rig.server, "--preset", str(preset_file(tmp_path)), "--no-thru", *sessions, name="killed")
    program.attach(rig.probe, CLOCK_OUT)
    program.wait_for_line("model ready")
    phrase = Loop(2 * BAR, PHRASE.notes)
    rig.perform(TEMPO, [(0, phrase)], 3 * BAR, meanwhile=lambda: None)
    time.sleep(1.0)
    program.process.kill()
    program.close()
    rig.probe.take()
    (log,) = (tmp_path / "sessions").glob("*.rtlog")
    assert not log.with_suffix(".mid").exists()
    start_daemon("--no-thru", *sessions, "--name", "again", wait=False, connect=False)
    ends = time.perf_counter() + 15
    while not log.with_suffix(".mid").exists() and time.perf_counter() < ends:
        time.sleep(0.1)
    played, answered = files.read(log.with_suffix(".mid")).tracks
    assert [n.pitch for n in played.notes()] == [n.pitch for n in PHRASE.notes]
    assert answered.notes()
