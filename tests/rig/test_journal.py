"""Session logs: what was written comes back, to the byte, however the session ended."""

from __future__ import annotations

import json
import os
import re
import struct
import sys
import time
from contextlib import suppress
from dataclasses import replace
from errno import ENOSPC
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import mido
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtgen.errors import UserError
from rtgen.instrument.binding import Binding
from rtgen.instrument.events import (
    Chosen,
    Ended,
    Event,
    Given,
    Learn,
    Left,
    Linked,
    Planned,
    Plugged,
    Pressed,
    Received,
    Step,
    Turned,
    Used,
    Warmed,
)
from rtgen.instrument.job import Answer
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset, Use
from rtgen.music import files
from rtgen.music.hand import Hand, Moved
from rtgen.music.note import Loop, Note
from rtgen.music.time import Metre
from rtgen.rig.kept import journal
from rtgen.rig.kept import scribe as scribes
from rtgen.rig.kept.journal import Journal, Opening, encoded, read
from rtgen.rig.kept.recovery import unfinished
from rtgen.rig.kept.replay import of, replay, write
from rtgen.rig.kept.scribe import Scribe, Where, where
from rtgen.rig.offline import ANSWER_S, with_clock

OPENING = Opening(
    Preset(name="lush").changed(bars=1),
    Options(
        thru=True, seed=3, takeover="pickup", ignores_programs=(1,), bindings={0: (Binding("blend", 70, channel=3),)}
    ),
)
EVENTS: list[Event | Ended] = [
    Received(1, b"\x90\x3c\x50"),
    Answer(Loop(1920, (Note(-3, 60, 100), Note(480, 64, 200, 9)), 1440), 1920, 4),
    Answer(Loop(1920), 1920, 4, draft=True),
    Answer(Loop(1920, (Note(0, 60, 100),)), 1920, 4, part="next"),
    Turned("distance", 0.7),
    Used("follow"),
    Pressed("freeze", None),
    Learn("mute", over=True),
    Warmed(0.01),
    Plugged("in", 1, "Knöbe", False),
    Chosen(Preset(name="x", metre=Metre(7, 8)).changed(distance=0.1, bars=4)),
    Given(Loop(3840, (Note(0, 60, 100), Note(480, 64, 200, 9)))),
    Given(Loop(1920, (Note(0, 60, 100),), 1920, Hand((Moved(-3, b"\xe1\x00\x50"), Moved(0, b"\x91\x3c\x50")), True))),
    Left(((0, 60), (9, 36)), (0, 9), 12.5, 1920),
    Left(((0, 60),), (0, 9), 12.5, 1920, ((0xE0, 0), (0xB9, 1))),
    Linked(1.0, 2.5, 4.0, 120.0, True, 0.0, 2),
    Ended(),
]


def logged(path: Path, steps: list[Step], opening: Opening = OPENING) -> Path:
    """A log with some steps."""
    said: list[str] = []
    with Journal(path, opening, said.append) as log:
        for step in steps:
            log.note(step)
    assert said == []
    return path


def performed(path: Path, notes: int = 24, opening: Opening = OPENING) -> tuple[Path, list[bytes]]:
    """The log of a performance, answered an octave up, and what was sent."""
    session = opening.session()
    tune = [e for i in range(notes) for e in files.note_events([Note(i * 240 + i % 5, 60 + i % 7, 200, 70 + i)])]
    timed = with_clock(tune, notes * 240, 120.0)
    happened: list[tuple[float, Event | None]] = [(t, Received(0, data)) for t, data in timed]
    happened += [(1.7, Turned("distance", 0.9)), (3.1, Pressed("regenerate")), (5.0, Turned("transpose", 5.0))]
    steps: list[Step] = []
    wake: float | None = None
    while happened:
        happened.sort(key=lambda e: e[0])
        now, event = happened[0]
        if wake is not None and wake < now:
            now, event = wake, None
        else:
            happened.pop(0)
        out = session.step(now, event)
        steps.append(Step(now, event, tuple(out.messages)))
        for job in out.jobs:
            up = job.loop.with_notes(replace(n, pitch=n.pitch + 12) for n in job.loop.notes)
            happened.append((now + ANSWER_S, Answer(up, job.target, job.epoch)))
        wake = out.wake_at
    steps.append(Step(steps[-1].now, Ended(), tuple(session.end())))
    return logged(path, steps, opening), [m for step in steps for m in step.sent]


# ---- what is written comes back -------------------------------------------------------------------------------------


def test_every_event_comes_back(tmp_path: Path) -> None:
    steps = [Step(0.1 * i, event, (b"\x90\x3c\x50", b"\xf8")[: i % 3]) for i, event in enumerate([None, *EVENTS])]
    linked = replace(OPENING, options=replace(OPENING.options, clock="link"))
    opening, found = read(logged(tmp_path / "a.rtlog", steps, linked))
    assert list(found) == steps
    assert opening == linked


events = st.one_of(
    st.none(),
    st.builds(Received, st.integers(0, 9), st.binary(max_size=9)),
    st.sampled_from(EVENTS),
)
steps = st.lists(st.builds(Step, st.floats(0, 1e6), events, st.lists(st.binary(max_size=3), max_size=3).map(tuple)))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.integers(0, 10_000))
def test_a_log_that_is_cut_anywhere_is_read_up_to_there(tmp_path: Path, some: list[Step], cut: int) -> None:
    path = tmp_path / "cut.rtlog"
    path.unlink(missing_ok=True)
    # Of silence there is no log, and time does not go back.
    some = [Step(0.0, Received(0, b"\xf8"), ()), *sorted(some, key=lambda step: step.now)]
    data = logged(path, some, replace(OPENING, options=replace(OPENING.options, clock="link"))).read_bytes()
    begins = len(data) - sum(len(journal.encoded(step)) for step in some)
    path.write_bytes(data[: min(begins + cut, len(data))])
    found = list(read(path)[1])
    # Of the last step not all that was sent may be there.
    assert found[:-1] == some[: max(len(found) - 1, 0)]
    if found:
        last = some[len(found) - 1]
        assert (found[-1].now, found[-1].event) == (last.now, last.event)
        assert found[-1].sent == last.sent[: len(found[-1].sent)]
    if cut >= len(data) - begins:
        assert found == some


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_are_more_than_a_sentence(tmp_path: Path, data: bytes, magic: bool) -> None:
    path = tmp_path / "any.rtlog"
    path.write_bytes((journal._MAGIC if magic else b"") + data)
    try:
        replay(path)
    except UserError as error:
        assert str(path) in str(error)


def test_what_is_no_log_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.rtlog").write_text("hello")
    with pytest.raises(UserError, match="is not a session log of rtgen"):
        read(tmp_path / "x.rtlog")
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "y.rtlog")
    (tmp_path / "z.rtlog").write_bytes(journal._MAGIC + b"H" + struct.pack("<I", 2**31))
    with pytest.raises(UserError, match="no readable start"):
        read(tmp_path / "z.rtlog")


def test_of_a_session_in_which_nothing_was_heard_there_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "quiet.rtlog"
    with Journal(path, OPENING) as quiet:
        quiet.note(Step(1.0, None, ()))
        assert path.exists()
    assert quiet.silent
    assert not path.exists()


# ---- a disk that fails ----------------------------------------------------------------------------------------------


class Disk:
    """The disk of a log: while it is full it takes `room` bytes and then no more."""

    def __init__(self, log: Journal) -> None:
        self.full, self.room = True, 0
        self._left = 0
        plain = log._open

        def opened() -> BinaryIO:
            self._file, self._left = plain(), self.room
            return cast("BinaryIO", self)

        log._close()
        log._open = opened  # type: ignore[method-assign]

    def write(self, data: bytearray) -> int:
        if not self.full:
            return self._file.write(data)
        if not self._left:
            raise OSError(ENOSPC, "No space left on device")
        taken, self._left = data[: self._left], 0
        return self._file.write(taken)

    def close(self) -> None:
        self._file.close()


def flushed(log: Journal) -> None:
    """What the thread does a few times a second."""
    log._take()
    log._flush()


@pytest.mark.parametrize("room", [0, 5])
def test_a_log_is_complete_after_the_disk_was_full_for_a_while(tmp_path: Path, room: int) -> None:
    said: list[str] = []
    log = Journal(tmp_path / "a.rtlog", OPENING, said.append)
    disk = Disk(log)
    disk.room = room
    steps = [Step(0.1 * i, Received(0, b"\x90\x3c\x50"), (b"\x90\x3c\x50",)) for i in range(100)]
    for i, step in enumerate(steps):
        disk.full = i not in (50, 99)
        log.note(step)
        flushed(log)
    assert len(said) == 4
    for fails, again in (said[:2], said[2:]):
        assert "a.rtlog cannot be written (No space left on device); the music goes on without it" in fails
        assert again.endswith("is written again, and nothing of it is missing")
    assert log.trouble == ""
    log._close()
    assert list(read(log.path)[1]) == steps


def test_a_session_that_cannot_be_logged_at_its_start_is_played_and_logged_later(tmp_path: Path) -> None:
    said: list[str] = []
    in_the_way = tmp_path / "sessions"
    in_the_way.touch()
    log = Journal(in_the_way / "a.rtlog", OPENING, said.append)
    assert re.search(r"cannot be written \(.*\); the music goes on without it, .* choose another --sessions", said[0])
    step = Step(1.0, Received(0, b"\xf8"), ())
    with log:
        log.note(Step(step.now, step.event, ()))
        in_the_way.unlink()
    assert said[1].endswith("is written again, and nothing of it is missing")
    assert list(read(log.path)[1]) == [step]
    if sys.platform != "win32":
        assert log.path.stat().st_mode & 0o077 == 0  # what was played is its player's own


def test_a_log_that_can_never_be_written_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_MOST_WAITING", 4000)
    said: list[str] = []
    in_the_way = tmp_path / "sessions"
    in_the_way.touch()
    log = Journal(in_the_way / "a.rtlog", OPENING, said.append)
    for i in range(500):
        log.note(Step(float(i), Received(0, b"\xf8"), ()))
        flushed(log)
    assert len(said) == 2
    assert "ends here; the music goes on without it" in said[1]
    assert len(log._waiting) == 0
    assert log.trouble == said[1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_of_once_and_is_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    log = Journal(tmp_path / "a.rtlog", OPENING, said.append)
    log._close()
    log._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 (the journal closes it)
    steps = [Step(float(i), Received(0, b"\xf8"), ()) for i in range(100)]
    with log:
        for step in steps:
            log.note(Step(step.now, step.event, ()))
            if step is steps[50]:
                time.sleep(1.0)
    assert [("No space left" in line, "is written again" in line) for line in said] == [(True, False), (False, True)]
    assert list(read(log.path)[1]) == steps


def test_what_was_written_is_put_on_the_disk_within_a_second_or_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, folders = list[int](), list[Path]()
    monkeypatch.setattr(journal, "to_disk", lambda file: sizes.append(os.fstat(file).st_size))
    monkeypatch.setattr(journal, "folder_to_disk", folders.append)
    with Journal(tmp_path / "a.rtlog", OPENING) as log:
        for number in range(3):
            log.note(Step(float(number), Received(0, b"\xf8"), ()))
            ends = time.perf_counter() + 20
            while len(sizes) == number and time.perf_counter() < ends:
                time.sleep(0.01)
            assert sizes[-1] == log._written
        time.sleep(2 * journal._TO_DISK * journal._FLUSH_S)
        assert len(sizes) == 3  # a disk that nothing is written to can sleep
    assert sizes == sorted(set(sizes))
    assert folders == [tmp_path]


# ---- a damaged log --------------------------------------------------------------------------------------------------

LINKED = Linked(1.0, 2.5, 4.0, 120.0, True, 0.0, 2)
IMPOSSIBLE: list[Event | Ended] = [
    LINKED,  # to a session that follows MIDI clock
    Turned("nothing", 0.5),
    Turned("distance", 1e300),
    Turned("distance", float("nan")),
    Turned("distance", cast("float", "far")),
    Used(cast("Use", "sometimes")),
    Pressed("nothing"),
    Pressed("freeze", cast("bool", 3)),
    Learn("nothing"),
    Warmed(float("inf")),
    Warmed(-1.0),
    Plugged(cast("Literal['in']", "up"), 1, "Knob", False),
    Plugged("in", -1, "Knob", False),
    Answer(Loop(10**12), 0, 0),
    Answer(Loop(1920, (Note(10**12, 60, 100),)), 0, 0),
    Answer(Loop(1920), 10**300, 0),
    Given(Loop(10**12)),
    Answer(Loop(1920), 0, 0, part="end"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("event", IMPOSSIBLE, ids=repr)
def test_an_event_that_no_session_has_had_ends_the_log(tmp_path: Path, event: Event) -> None:
    good = Step(1.0, Received(0, b"\xf8"), ())
    path = logged(tmp_path / "a.rtlog", [good, Step(2.0, event, ()), Step(3.0, None, ())])
    assert list(read(path)[1]) == [good]
    assert replay(path).steps == 1


@pytest.mark.parametrize("change", [{"tempo": 1e300}, {"bar": 0.0}, {"beat": 1e12}, {"at": -1e300}, {"peers": 0.5}])
def test_a_link_session_that_cannot_be_ends_the_log(tmp_path: Path, change: dict[str, float]) -> None:
    linked = replace(OPENING, options=replace(OPENING.options, clock="link"))
    some = [Step(1.0, Received(0, b"\xf8"), ()), Step(1.1, LINKED, ())]
    broken = replace(LINKED, **cast("dict[str, Any]", change))
    path = logged(tmp_path / "a.rtlog", [*some, Step(1.2, broken, ())], linked)
    assert list(read(path)[1]) == some


@pytest.mark.parametrize("now", [float("nan"), float("inf"), 1e300, -5.0, 1.0])
def test_a_time_that_cannot_be_ends_the_log(tmp_path: Path, now: float) -> None:
    good = [Step(3.0, Received(0, b"\xf8"), ()), Step(2.5, Received(0, b"\xf8"), ())]  # it waited
    path = logged(tmp_path / "a.rtlog", [*good, Step(now, None, ())])
    assert list(read(path)[1]) == good


def test_an_offset_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    opening = replace(OPENING, options=replace(OPENING.options, output_offset_s=1e9))
    with pytest.raises(UserError, match="no readable start"):
        read(logged(tmp_path / "a.rtlog", [Step(1.0, Received(0, b"\xf8"), ())], opening))


@pytest.mark.parametrize("sent", [b"", b"\x90", b"\x90\x3c", b"\x90\x3c\xf0", b"\x3c\x3c\x3c", b"\x90\x3c\x50\x50"])
def test_a_message_that_is_none_is_not_in_the_music(tmp_path: Path, sent: bytes) -> None:
    some = [Step(1.0, Received(0, b"\x90\x3c\x50"), (sent,)), Step(2.0, None, (b"\x90\x3c\x50",))]
    _, answered = files.read(write(logged(tmp_path / "a.rtlog", some))).tracks
    assert [event.data for event in answered.events if event.data[0] == 0x90] == [b"\x90\x3c\x50"]


@pytest.fixture(scope="module")
def performance(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return performed(tmp_path_factory.mktemp("log") / "a.rtlog", 8)[0].read_bytes()


flips = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 7)), min_size=1, max_size=4)


@settings(max_examples=150)
@given(flips)
def test_a_log_with_flipped_bits_is_replayed_as_far_as_it_goes(performance: bytes, bits: list[tuple[int, int]]) -> None:
    data = bytearray(performance)
    for at, bit in bits:
        data[len(journal._MAGIC) + at % (len(data) - len(journal._MAGIC))] ^= 1 << bit
    began = time.perf_counter()
    with suppress(UserError):
        of(*journal.parse(bytes(data), "a.rtlog"))
    assert time.perf_counter() - began < 20


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.rtlog")
    with pytest.raises(UserError, match=r"p.rtlog cannot be read \(it is not a regular file\)"):
        read(tmp_path / "p.rtlog")


# ---- played again ---------------------------------------------------------------------------------------------------


def test_a_session_is_played_again_to_the_same_bytes(tmp_path: Path) -> None:
    path, sent = performed(tmp_path / "a.rtlog")
    found = replay(path)
    assert found.different is None
    assert found.answers == 3
    assert sum(len(step.sent) for step in read(path)[1]) == len(sent)


def test_a_log_from_before_there_were_gestures_is_played_again_to_the_same_bytes() -> None:
    """It has bends, pressure, controllers and pedals, a panic, and an output that went and came back."""
    path = Path("tests/data/before_gestures.rtlog")
    opening, steps = read(path)
    assert not opening.options.gestures
    assert any(data[0] & 0xF0 == 0xE0 for step in steps for data in step.sent)
    found = replay(path)
    assert (found.different, found.answers, found.ended) == (None, 3, True)


BENT = [
    (0, b"\xd0\x30"),
    (0, b"\x90\x3c\x50"),
    (100, b"\xe0\x00\x50"),
    (200, b"\xa0\x3c\x40"),
    (300, b"\xb0\x01\x40"),
    (400, b"\x80\x3c\x00"),
    (500, b"\xe0\x00\x40"),
]


def bent(path: Path) -> Path:
    """The log of a performance with gestures, answered as it was played."""
    opening = Opening(OPENING.preset, replace(OPENING.options, thru=False))
    session = opening.session()
    happened: list[tuple[float, Event | None]] = [
        (t, Received(0, data)) for t, data in with_clock([files.Event(*each) for each in BENT], 3 * 1920, 120.0)
    ]
    steps: list[Step] = []
    wheres: list[Where] = []
    wake: float | None = None
    while happened:
        happened.sort(key=lambda e: e[0])
        now, event = (wake, None) if wake is not None and wake < happened[0][0] else happened.pop(0)
        out = session.step(now, event)
        steps.append(Step(now, event, tuple(out.messages)))
        wheres.append(where(session, now))
        happened += [(now + ANSWER_S, Answer(job.loop.without_hand(), job.target, job.epoch)) for job in out.jobs]
        wake = out.wake_at
    steps.append(Step(steps[-1].now, Ended(), tuple(session.end())))
    return logged(path, steps, opening)


def test_gestures_are_played_again_to_the_same_bytes_and_are_in_the_music(tmp_path: Path) -> None:
    path = bent(tmp_path / "a.rtlog")
    assert replay(path).different is None
    played, answered = files.read(write(path)).tracks
    assert [(e.tick, e.data) for e in played.events] == BENT
    assert [(e.tick - 1920, e.data) for e in answered.events if e.tick < 3840] == BENT


def test_an_endless_flood_of_gestures_leaves_room_for_the_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribes, "_MOST_GESTURES", 10)
    events = scribes._Events()
    for tick in range(20):
        events.add(tick, b"\xe0\x00\x50")
        events.add(tick, b"\xb0\x40\x50")
    kinds = [data[0] for _, data in events]
    assert (kinds.count(0xE0), kinds.count(0xB0)) == (10, 20)


def test_while_much_waits_the_notes_and_pedals_are_written_and_what_shapes_them_is_not() -> None:
    scribe = scribes.Scribe(OPENING.preset)
    messages = [data for _, data in BENT] + [b"\xb0\x40\x7f"]
    for n, data in enumerate(messages):
        at = Where(True, 10 * n, 120.0, OPENING.preset)
        scribe.write(n / 96, at, Received(0, data), (data,), hurried=True)
    decide = [(10 * n, data) for n, data in enumerate(messages) if data[0] in (0x90, 0x80) or data[1] == 0x40]
    assert [[(e.tick, e.data) for e in track.events] for track in scribe.score().tracks] == [decide, decide]


def test_what_is_left_of_a_log_that_is_cut_is_the_same_bytes(tmp_path: Path) -> None:
    path, _ = performed(tmp_path / "a.rtlog")
    data = path.read_bytes()
    whole = replay(path)
    assert whole.ended
    for cut in range(len(data) // 3, len(data) - 1, len(data) // 30 + 1):
        path.write_bytes(data[:cut])
        found = replay(path)
        assert (found.different, found.ended) == (None, False)
        assert 0 < found.steps <= whole.steps


def test_another_byte_is_noticed(tmp_path: Path) -> None:
    path, _ = performed(tmp_path / "a.rtlog")
    opening, some = read(path)
    changed = list(some)
    which = max(i for i, step in enumerate(changed) if step.sent)
    changed[which] = replace(changed[which], sent=(b"\x90\x01\x01",))
    assert replay(logged(tmp_path / "b.rtlog", changed, opening)).different == which


def test_the_music_of_a_session_is_as_it_was_played_and_answered(tmp_path: Path) -> None:
    path, sent = performed(tmp_path / "a.rtlog")
    score = files.read(write(path))
    played, answered = score.tracks
    assert [(n.onset, n.pitch) for n in played.notes()] == [(i * 240 + i % 5, 60 + i % 7) for i in range(24)]
    assert len(answered.notes()) == sum(m[0] & 0xF0 == 0x90 for m in sent)
    assert [round(tempo) for _, tempo in score.tempos] == [120]
    assert [text for _, text in score.markers] == ["lush"]
    assert score.tracks[1].notes()[-1].end <= score.end


def test_a_session_that_was_killed_has_its_music_and_no_stuck_note(tmp_path: Path) -> None:
    path, _ = performed(tmp_path / "a.rtlog")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    assert unfinished(tmp_path) == [path]
    ons = offs = 0
    for track in files.read(write(path)).tracks[1:]:
        ons += sum(e.data[0] & 0xF0 == 0x90 and e.data[2] > 0 for e in track.events)
        offs += sum(e.data[0] & 0xF0 == 0x80 for e in track.events)
    assert ons == offs > 0
    assert unfinished(tmp_path) == []
    # It was going on all the time: what somebody else wrote meanwhile is not all of it.
    os.utime(path.with_suffix(".mid"), (1, 1))
    assert unfinished(tmp_path) == [path]


def test_what_follows_a_stop_comes_after_it(tmp_path: Path) -> None:
    opening = replace(OPENING, options=replace(OPENING.options, clock="internal", thru=False))
    path = tmp_path / "a.rtlog"
    first = [
        Step(0.0, None, ()),
        Step(1.0, Received(0, b"\x90\x3c\x50"), ()),
        Step(1.1, Received(0, b"\x80\x3c\x00"), ()),
    ]
    stop = [Step(2.0, Received(0, b"\xfc"), ()), Step(5.0, Received(0, b"\xfa"), ())]
    later = [Step(6.0, Received(0, b"\x90\x3e\x50"), ()), Step(6.1, Received(0, b"\x80\x3e\x00"), ())]
    score = replay(logged(path, [*first, *stop, *later], opening)).score
    onsets = [n.onset for n in score.tracks[0].notes()]
    assert len(onsets) == 2
    assert onsets[1] - onsets[0] > 1900


# ---- written while it is played -------------------------------------------------------------------------------------


def followed(path: Path) -> Journal:
    """A journal that was told the steps of a log, and where the session was, as a daemon tells it."""
    opening, steps = read(path)
    session = opening.session()
    with Journal(path.with_name("live.rtlog"), opening) as log:
        for step in steps:
            if not isinstance(step.event, Ended):
                session.step(step.now, step.event)
            log.note(step, where(session, step.now))
    return log


def test_what_is_written_while_it_is_played_is_what_a_replay_writes(tmp_path: Path) -> None:
    path, _ = performed(tmp_path / "a.rtlog")
    live, again = followed(path).save_music(), write(path)
    assert live.read_bytes() == again.read_bytes()
    score = replay(path).score
    files.write(tmp_path / "b.mid", score)
    assert files.read(live) == files.read(tmp_path / "b.mid")
    assert [track.events for track in files.read(live).tracks] == [track.events for track in score.tracks]


def test_a_pause_of_days_is_a_valid_file(tmp_path: Path) -> None:
    first, last = (Step(now, Received(0, b"\x90\x3c\x50"), ()) for now in (1.0, 200 * 86_400.0))
    waits = [Step(1.0 + 3600.0 * i, None, ()) for i in range(1, 200)]
    path = logged(tmp_path / "a.rtlog", [first, *waits, last])
    played, _ = files.read(write(path)).tracks
    assert [event.tick for event in played.events] == [0, 200 * 60 * 960]  # a minute of each hour


def test_what_lies_farther_apart_than_a_file_can_say_is_still_in_its_place(tmp_path: Path) -> None:
    scribe = Scribe(OPENING.preset)
    far = 3 * 2**28 + 5
    for now, tick in ((0.0, 0), (1.0, far)):
        scribe.write(now, Where(True, tick, 120.0, OPENING.preset), Received(0, b"\x90\x3c\x50"), ())
    scribe.save(tmp_path / "a.mid")
    song = mido.MidiFile(tmp_path / "a.mid")
    bar = OPENING.preset.metre.bar
    assert sum(message.time for message in song.tracks[1]) in range(bar + 1)  # a jump goes on at the next bar
    track = scribes._track([(0, b"\x90\x3c\x50"), (far, b"\x80\x3c\x00")], far)
    head = b"MThd" + struct.pack(">IHHh", 6, 0, 1, 480)
    (read_again,) = mido.MidiFile(file=BytesIO(head + track)).tracks
    assert sum(message.time for message in read_again) == far


@pytest.mark.timed
def test_the_music_of_an_hour_is_there_within_a_second(tmp_path: Path) -> None:
    """As many messages as an hour at 240 BPM has had, played and sent."""
    scribe = Scribe(OPENING.preset)
    for i in range(42_000):
        note = bytes((0x90 if i % 2 else 0x80, 60 + (i + 1) // 2 % 12, 80))
        scribe.write(0.085 * i, Where(True, i * 160, 240.0, OPENING.preset), Received(0, note), (note,))
    began = time.perf_counter()
    scribe.save(tmp_path / "a.mid")
    took = time.perf_counter() - began
    print(f"an hour in {took:.2f} s")
    assert took < 1.0
    assert sum(len(track.events) for track in files.read(tmp_path / "a.mid").tracks) == 84_000


def test_the_music_of_a_session_ends_as_its_pedals_and_modes_did(tmp_path: Path) -> None:
    opening = replace(OPENING, options=replace(OPENING.options, clock="internal", thru=False))
    played = [
        (1.0, b"\xb0\x40\x7f\x90\x3c\x50\x80\x3c\x00"),  # the pedal holds it until the controllers are reset
        (2.0, b"\xb0\x79\x00\x90\x3e\x50"),
        (3.0, b"\xb0\x7b\x00"),
        (4.0, b"\x90\x40\x50\x80\x40\x00"),
    ]
    steps = [Step(0.0, None, ()), *(Step(t, Received(0, data), ()) for t, data in played), Step(6.0, None, ())]
    notes = replay(logged(tmp_path / "a.rtlog", steps, opening)).score.tracks[0].notes()
    second = round(opening.preset.tempo / 60 * 480)
    assert [(n.pitch, n.duration) for n in notes] == [(60, second), (62, second), (64, 1)]


def test_a_log_from_before_there_was_a_choice_has_all_controls(tmp_path: Path) -> None:
    path = logged(tmp_path / "a.rtlog", [Step(0.0, None, ()), Step(1.0, Received(0, b"\xb0\x59\x7f"), ())])
    data = path.read_bytes()
    at = data.index(b"H") + 1
    (size,) = struct.unpack_from("<I", data, at)
    head = json.loads(data[at + 4 : at + 4 + size])
    assert head["settings"].pop("controls") == "knobs"
    body = json.dumps(head).encode()
    path.write_bytes(data[:at] + struct.pack("<I", len(body)) + body + data[at + 4 + size :])
    opening, _ = read(path)
    assert opening.options == replace(OPENING.options, controls="all")
    session = opening.session()
    session.step(0.0, Received(1, b"\xb0\x59\x7f"))
    assert session.muted


ON, OFF = b"\x90\x3c\x50", b"\x80\x3c\x00"


def test_what_was_sent_ahead_comes_back_with_its_time(tmp_path: Path) -> None:
    options = replace(OPENING.options, ahead_s=0.005)
    steps = [Step(1.0, None, (Planned(ON, 1.004), OFF)), Step(1.1, None, ())]
    opening, found = read(logged(tmp_path / "a.rtlog", steps, replace(OPENING, options=options)))
    assert opening.options.ahead_s == 0.005
    (first, _) = found
    assert first.sent == (ON, OFF)
    assert [getattr(data, "at", None) for data in first.sent] == [1.004, None]


@pytest.mark.parametrize("at", [float("nan"), float("inf"), -float("inf"), 3.0])
def test_a_log_ends_where_a_message_has_a_time_that_cannot_be(tmp_path: Path, at: float) -> None:
    bad = encoded(Step(1.1, None, (Planned(ON, 1.2),))).replace(struct.pack("<d", 1.2), struct.pack("<d", at))
    path = logged(tmp_path / "a.rtlog", [Step(1.0, Received(0, ON), ())])
    path.write_bytes(path.read_bytes() + bad + encoded(Step(1.2, None, ())))
    assert [step.now for step in read(path)[1]] == [1.0, 1.1]
    options = replace(OPENING.options, ahead_s=1e9)
    with pytest.raises(UserError, match="no readable start"):
        read(logged(tmp_path / "b.rtlog", [Step(1.0, Received(0, ON), ())], replace(OPENING, options=options)))


def test_the_music_has_notes_where_they_were_planned_and_none_that_were_taken_back(tmp_path: Path) -> None:
    scribe = Scribe(OPENING.preset)

    def at(now: float) -> Where:
        return Where(True, round(now * 960), 120.0, OPENING.preset)

    scribe.write(1.0, at(1.0), None, (Planned(ON, 1.004),))
    scribe.write(1.5, at(1.5), None, (Planned(OFF, 1.504), Planned(b"\x90\x40\x50", 1.505)))
    scribe.write(1.502, at(1.502), None, (b"\x80\x40\x00",), takes_back=True)
    scribe.write(2.0, at(2.0), None, ())
    scribe.save(tmp_path / "a.mid")
    (note,) = files.read(tmp_path / "a.mid").tracks[-1].notes()
    assert (note.onset, note.pitch, note.duration) == (964, 60, 480)


def test_the_music_has_the_metre_of_each_preset_from_the_bar_in_which_it_began(tmp_path: Path) -> None:
    four, three, seven = (Preset().changed(metre=metre) for metre in ("4/4", "3/4", "7/8"))
    scribe = Scribe(four)
    for now, rolls, tick, preset in (
        (0.0, False, 0, three),  # chosen before anything was played
        (1.0, True, 0, three),
        (2.0, True, 2 * 1440 - 10, three),
        (3.0, True, 2 * 1440 + 20, four),  # its second bar has begun at tick 1920
        (4.0, True, 4 * 1920, four),
        (4.0, False, 0, four),
        (5.0, False, 0, seven),
        (6.0, True, 0, seven),
    ):
        scribe.write(now, Where(rolls, tick, 120.0, preset), None, (ON, OFF))
    metres = scribe.score().metres
    assert metres[:2] == ((0, three.metre), (1920, four.metre))
    # After a stop it goes on at the next bar of four.
    assert metres[2:] == ((5 * 1920, seven.metre),)
    path = tmp_path / "session.mid"
    scribe.save(path)
    assert files.read(path).metres == metres


def test_what_comes_with_an_earlier_time_makes_no_pause_longer() -> None:
    scribe = Scribe(OPENING.preset)
    stands = Where(False, 0, 120.0, OPENING.preset)
    for tenths in range(101):
        scribe.write(tenths / 10, stands, None, ())
        scribe.write(tenths / 10 - 0.09, stands, Received(0, ON), ())
    assert scribe.score().length == pytest.approx(10 * 960, abs=101)
