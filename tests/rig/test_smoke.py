"""The whole daemon on a real JACK server with a real clock, as far as that can be shown on a machine that is busy.

Everything is asserted in notes. An answer may come late, and then begins at the next bar; so loops are two bars long
and played in the first, they go round or are played again, and what counts is that whole phrases come back. How
exactly in time they do is for the tests marked `timed`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from rtgen.bench.music import BAR
from rtgen.bench.programs import Program, daemon, workers
from rtgen.bench.server import CLOCK_OUT, RATE, Probe, Server, TempoMap
from rtgen.bench.streams import CLOCK, CONTINUE, STOP, Sounded
from rtgen.music import files, midi
from rtgen.music.note import Loop, Note
from rtgen.rig.kept import replay
from tests.data.make_faulty import faulty
from tests.rig.conftest import Rig, StartDaemon, joining, loop_of, stage
from tests.rig.test_osc import soon
from tests.rig.test_panel import Browser, Panels, in_a_browser, osc_port, panel
from tests.rig.test_rehearsal import osc_of

__all__ = ["panel"]

pytestmark = pytest.mark.jack
TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"
LENGTH = 2 * BAR
FAST = TempoMap((0, 240.0))
PERIOD = 256
"""Long enough for a server, a clock and a probe to cost next to nothing."""
linux = pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="reads /proc")


def phrase(*pitches: int) -> Loop:
    """One note after the other in the first bar of two, each of its own loudness."""
    return loop_of(*(Note(480 * i, pitch, 300, 90 - pitch % 50) for i, pitch in enumerate(pitches)), bars=2)


FIRST, SECOND = phrase(60, 64, 67, 72), phrase(62, 65, 69, 74)
HELD = loop_of(Note(0, 50, 3700, 90), Note(480, 62, 3200, 91), bars=2)


def times(heard: Sequence[Sounded], loop: Loop, up: int = 0) -> list[float]:
    """When a loop began that was heard as a whole, note after note, without another between them; in frames."""
    wanted = [(n.pitch + up, n.velocity) for n in loop.notes]
    found = [(n.pitch, n.velocity) for n in heard]
    return [heard[i].on for i in range(len(heard)) if found[i : i + len(wanted)] == wanted]


def pitches(*loops: Loop) -> set[int]:
    return {n.pitch for loop in loops for n in loop.notes}


def rounds(count: int) -> None:
    """Lets so many loops go by."""
    time.sleep(FAST.frame(count * LENGTH) / RATE)


@pytest.fixture(scope="module")
def _stage() -> Iterator[tuple[Server, Probe]]:
    with stage(PERIOD) as found:
        yield found


@pytest.fixture
def start(start_daemon: StartDaemon, tmp_path: Path) -> StartDaemon:
    """Starts the daemon with a tiny model, whose answer is what was played."""
    preset = tmp_path / "tiny.yaml"
    preset.write_text(f"model: {TINY}\nmode: vary\ndistance: 0\nuse: hold\nbars: 2\n", "utf-8")

    def start(*flags: str, **options: bool) -> Program:
        with joining():
            program = start_daemon("--preset", str(preset), *flags, wait=False, **options)
            program.wait_for_line("ports open")
        program.wait_for_line("model ready")
        return program

    return start


@pytest.mark.parametrize("late", [pytest.param(0.6, marks=pytest.mark.timed), 1.5])
def test_the_clock_is_followed_and_what_was_played_comes_back(rig: Rig, start: StartDaemon, late: float) -> None:
    """A loop begins so many seconds late at most: more where other programs want every core."""
    start("--no-thru")
    slower = 4 * LENGTH
    rig.perform(TempoMap((0, 240.0), (slower, 160.0)), [(0, FIRST)], slower + 3 * LENGTH)
    heard = rig.heard()
    assert pitches(FIRST) == {n.pitch for n in heard.notes}
    (run,) = heard.runs
    begun = times(heard.notes, FIRST)
    took = [(at, (then - at) / RATE) for at, then in pairwise(begun)]
    fast = [seconds for at, seconds in took if at + RATE < run.frame(slower)]
    slow = [seconds for at, seconds in took if at + RATE > run.frame(slower)]
    # Two bars of 240 BPM are 2 s, of 160 BPM 3 s.
    assert median(fast) == pytest.approx(2, rel=0.2)
    assert 3 - 0.6 <= median(slow) <= 3 + late


SHAPED: list[tuple[int, bytes]] = [
    # A unison of an MPE keyboard, each note with its own bend and pressure, and a pedal for both that comes up slowly.
    (0, b"\xb0\x40\x64"),
    (0, b"\xe1\x10\x42"),
    (0, b"\xb1\x4a\x30"),
    (0, b"\x91\x3c\x50"),
    (40, b"\xd1\x33"),
    (60, b"\xe2\x00\x30"),
    (60, b"\x92\x3c\x21"),
    *((100 + 20 * i, bytes((0xE1, i, 0x42 + i))) for i in range(20)),
    (600, b"\x81\x3c\x47"),
    (620, b"\xb0\x40\x32"),
    (640, b"\x82\x3c\x00"),
    (700, b"\xb0\x40\x00"),
    (720, b"\xd1\x00"),
]


def test_bends_and_mpe_come_back_byte_for_byte_and_nothing_of_them_stays(rig: Rig, start: StartDaemon) -> None:
    start("--no-thru")
    rig.probe.conduct(FAST)
    rig.probe.play([(FAST.frame(tick + 240), data) for tick, data in SHAPED])
    rig.probe.start()
    rig.probe.wait_for_frame(FAST.frame(4 * LENGTH + 500))  # in the middle of it
    rig.probe.stop()
    time.sleep(0.5)
    sent = [data for _, data in rig.heard().capture.output]
    played = [data for _, data in SHAPED]
    assert any(sent[i : i + len(played)] == played for i in range(len(sent))), sent
    stands = {shape: data for data in sent if (shape := midi.shape(data))}
    assert len(stands) == 5
    assert all(data == midi.at_rest(shape) for shape, data in stands.items())


def test_call_and_answer_take_turns(rig: Rig, start: StartDaemon) -> None:
    start("--no-thru", "--use", "answer")
    rig.perform(FAST, [(i * 2 * LENGTH, FIRST) for i in range(4)], 8 * LENGTH)
    heard = rig.heard()
    (run,) = heard.runs
    begun = [run.position(at) / LENGTH for at in times(heard.notes, FIRST)]
    # Every second loop is an answer, if not each of them was in time.
    assert begun, heard.notes
    assert all(round(at) % 2 == 1 for at in begun), begun


def test_following_answers_what_is_played_now(rig: Rig, start: StartDaemon) -> None:
    start("--no-thru", "--use", "follow")
    loops = [(i * LENGTH, FIRST if i < 3 else SECOND) for i in range(7)]
    rig.perform(FAST, loops, 8 * LENGTH)
    heard = rig.heard().notes
    first, second = times(heard, FIRST), times(heard, SECOND)
    assert first, heard
    assert second, heard
    assert max(first) < min(second)
    assert pitches(FIRST, SECOND) == {n.pitch for n in heard}


def test_stop_ends_every_note_and_starting_again_begins_anew(rig: Rig, start: StartDaemon) -> None:
    start("--no-thru", "--use", "follow")
    rig.perform(FAST, [(0, HELD), (LENGTH, HELD)], 2 * LENGTH + 2400)  # in the middle of what comes back
    time.sleep(2)
    rig.probe.rewind()
    rig.perform(FAST, [(i * LENGTH, FIRST) for i in range(3)], 4 * LENGTH)
    heard = rig.heard()  # every note that began has ended
    before, after = heard.runs
    assert before.stop is not None
    held = [n for n in heard.notes if n.on < before.stop]
    assert {n.pitch for n in held} == pitches(HELD)
    assert max(n.off for n in held) - before.stop < RATE
    assert times([n for n in heard.notes if n.on > after.clocks[0]], FIRST)


def test_what_is_played_goes_through_and_comes_back(rig: Rig, start: StartDaemon) -> None:
    start("--thru", "--use", "answer")
    rig.perform(FAST, [(0, FIRST), (2 * LENGTH, FIRST)], 4 * LENGTH)
    heard = rig.heard()
    assert len(heard.capture.played) == 4 * len(FIRST)
    # Twice through, and at least one answer.
    assert 3 <= len(times(heard.notes, FIRST)) <= 4


@linux
def test_a_worker_that_is_killed_is_replaced_and_the_music_goes_on(rig: Rig, start: StartDaemon) -> None:
    program = start("--no-thru", "--use", "follow")
    (before,) = workers(program.process.pid)

    def kill() -> None:
        rig.probe.wait_for_frame(FAST.frame(3 * LENGTH))
        os.kill(before, signal.SIGKILL)
        program.wait_for_line("died (SIGKILL)")
        soon(lambda: program.said.count("model ready") == 2)
        rounds(4)

    rig.perform(FAST, [(i * LENGTH, FIRST if i < 4 else SECOND) for i in range(40)], 0, meanwhile=kill)
    heard = rig.heard().notes
    assert times(heard, FIRST)
    assert times(heard, SECOND)
    (after,) = workers(program.process.pid)
    assert after != before


def test_two_daemons_play_side_by_side(rig: Rig, start: StartDaemon) -> None:
    start("--no-thru")
    other = start("--no-thru", connect=False)
    other.input, other.output = "rtgen 2-in:rtgen 2 in", "rtgen 2-out:rtgen 2 out"
    other.attach(rig.probe, "jack_midi_clock:mclk_out")
    with osc_of(other) as client:
        client.send("/rtgen/transpose", 24.0)
    rig.perform(FAST, [(0, FIRST)], 5 * LENGTH)
    heard = rig.heard().notes
    for up in 0, 24:
        assert times([n for n in heard if n.pitch - up in pitches(FIRST)], FIRST, up), up


def test_our_own_clock_goes_out(rig: Rig, start: StartDaemon) -> None:
    program = start("--clock", "internal", "--tempo", "150", "--send-clock", connect=False)
    program.attach(rig.probe)
    rig.probe.send(bytes((STOP,)))
    time.sleep(0.5)
    rig.probe.send(bytes((CONTINUE,)))
    time.sleep(3)
    assert program.end() == 0
    told = rig.heard().capture.output
    began = next(i for i, (_, data) in enumerate(told) if data[0] == CONTINUE)
    clocks = [frame for frame, data in told[began:] if data[0] == CLOCK]
    assert told[-1][1] == bytes((STOP,))
    # 24 clocks to the beat, 2.5 beats to the second.
    assert (len(clocks) - 1) / ((clocks[-1] - clocks[0]) / RATE) == pytest.approx(60, rel=0.1)


def test_a_signal_ends_the_daemon_and_every_note(rig: Rig, start: StartDaemon) -> None:
    program = start("--no-thru")

    def finish() -> None:
        rig.probe.wait_for_frame(FAST.frame(2 * LENGTH + 2400))
        assert program.end(signal.SIGTERM) == 0, program.said

    rig.perform(FAST, [(0, HELD)], 3 * LENGTH, meanwhile=finish)
    assert {n.pitch for n in rig.heard().notes} == pitches(HELD)


def test_after_a_kill_the_next_daemon_ends_what_sounded_and_rolls_on(rig: Rig, tmp_path: Path) -> None:
    preset = tmp_path / "tiny.yaml"
    preset.write_text(f"model: {TINY}\nmode: vary\ndistance: 0\nuse: follow\nbars: 2\n", "utf-8")
    flags = ("--preset", str(preset), "--no-thru", "--sessions", str(tmp_path / "sessions"))

    def start() -> Program:
        with joining():
            program = daemon(rig.server, *flags, name="killed")
            program.attach(rig.probe, CLOCK_OUT)
        program.wait_for_line("model ready")
        return program

    first = start()

    def kill() -> None:
        rig.probe.wait_for_frame(FAST.frame(2 * LENGTH + 2400))
        first.process.kill()
        first.close()
        second = start()
        programs.append(second)
        second.wait_for_line("the last rtgen crashed")
        second.wait_for_line("rolling, in")
        rounds(4)

    programs: list[Program] = []
    loops = [(0, HELD), (LENGTH, HELD), *((i * LENGTH, FIRST) for i in range(3, 40))]
    try:
        rig.perform(FAST, loops, 0, meanwhile=kill)
        rig.probe.stop()
        time.sleep(0.5)
    finally:
        for program in programs:
            assert program.end() == 0, program.said
            program.close()
    # Ends of notes that did not sound are among what is sent after a crash.
    sounding: set[int] = set()
    struck: list[int] = []
    for _, data in rig.probe.take().output:
        if data[0] & 0xF0 == 0x90 and data[2]:
            assert data[1] not in sounding
            sounding.add(data[1])
            struck.append(data[1])
        elif data[0] & 0xF0 in (0x80, 0x90):
            sounding.discard(data[1])
    assert sounding == set()
    assert pitches(HELD) <= set(struck)
    assert pitches(FIRST) <= set(struck)


def test_another_preset_with_another_model_is_chosen_while_it_plays(
    rig: Rig, start: StartDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = tmp_path / "rtgen" / "presets"
    folder.mkdir(parents=True)
    (folder / "other.yaml").write_text(f"model: {faulty(tmp_path, 'well')}\nmode: clean\nuse: follow\ntranspose: 12\n")
    program = start("--no-thru", "--use", "follow")

    def choose() -> None:
        rig.probe.wait_for_frame(FAST.frame(3 * LENGTH))
        with osc_of(program) as client:
            client.send("/rtgen/preset", "other")
        program.wait_for_line("preset other")
        rounds(4)

    rig.perform(FAST, [(i * LENGTH, FIRST) for i in range(40)], 0, meanwhile=choose)
    heard = rig.heard().notes
    before, after = times(heard, FIRST), times(heard, FIRST, 12)
    assert before, program.said
    assert after, program.said
    assert max(before) < min(after)


def test_a_session_can_be_played_again_to_the_byte(rig: Rig, start: StartDaemon, tmp_path: Path) -> None:
    program = start("--no-thru", "--sessions", str(tmp_path / "sessions"))
    rig.perform(FAST, [(0, FIRST)], 3 * LENGTH)
    heard = rig.heard().notes
    assert program.end() == 0
    (log,) = (tmp_path / "sessions").glob("*.rtlog")
    assert replay.replay(log).different is None
    played, answered = files.read(log.with_suffix(".mid")).tracks
    assert [n.pitch for n in played.notes()] == [n.pitch for n in FIRST.notes]
    assert len(answered.notes()) == len(heard) > 0


@in_a_browser
def test_the_page_shows_and_turns_what_plays(rig: Rig, start: StartDaemon, panel: Panels, tmp_path: Path) -> None:
    program = start("--no-thru", "--config", str(tmp_path / "c.yaml"))
    page = Browser(panel(osc_port(program))[0], tmp_path / "browser")
    soon(lambda: page.text("where") == "stopped")

    rig.probe.conduct(FAST)
    rig.probe.play([(FAST.frame(e.tick), e.data) for e in files.note_events(FIRST.notes)])
    rig.probe.start()
    soon(lambda: page.text("answer-count") == f"{len(FIRST)} notes")
    rounds(2)
    page.tab("knobs")
    page.keys("turn-transpose", "\ue014" * 7)  # arrow to the right
    soon(lambda: "+7" in page.text("knob-transpose"))
    rounds(2)
    rig.probe.stop()
    soon(lambda: page.text("where") == "stopped")
    page.close()
    heard = rig.heard().notes
    assert times(heard, FIRST)
    assert times(heard, FIRST, 7)


def test_without_a_clock_the_first_loop_that_is_played_starts_the_song(rig: Rig, start: StartDaemon) -> None:
    program = start("--clock", "player", "--send-clock", "--no-thru", connect=False)
    program.attach(rig.probe)
    client = osc_of(program)
    began = time.perf_counter()
    for number in range(8):
        time.sleep(max(began + 0.5 * number - time.perf_counter(), 0))
        rig.probe.send(bytes((0x90, 60 + number, 80)))
        time.sleep(0.2)
        rig.probe.send(bytes((0x80, 60 + number, 0)))
    time.sleep(max(began + 4.0 - time.perf_counter(), 0))
    client.send("/rtgen/close", 1)
    program.wait_for_line("press half or double to correct")
    time.sleep(6)
    assert program.end() == 0
    heard = rig.heard()
    told = [data[0] for _, data in heard.capture.output if data[0] >= 0xF0]
    assert told[0] == 0xFA
    assert told[-1] == STOP
    assert told.count(CLOCK) > 48
    assert {n.pitch for n in heard.notes} == set(range(60, 68))
