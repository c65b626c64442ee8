"""Session logs: what was written comes back, to the byte, however the session ended."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtgen.errors import UserError
from rtgen.instrument.binding import Binding
from rtgen.instrument.events import (
    Chosen,
    Ended,
    Event,
    Learn,
    Linked,
    Plugged,
    Pressed,
    Received,
    Turned,
    Used,
    Warmed,
)
from rtgen.instrument.job import Answer
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.music import files
from rtgen.music.note import Loop, Note
from rtgen.music.time import Metre
from rtgen.rig.kept import journal
from rtgen.rig.kept.journal import Journal, Opening, Step, read
from rtgen.rig.kept.replay import replay, unfinished, write
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
    Turned("distance", 0.7),
    Used("follow"),
    Pressed("freeze", None),
    Learn("mute", over=True),
    Warmed(0.01),
    Plugged("in", 1, "Knöbe", False),
    Chosen(Preset(name="x", metre=Metre(7, 8)).changed(distance=0.1, bars=4)),
    Linked(1.0, 2.5, 4.0, 120.0, True, 0.0, 2),
    Ended(),
]


def logged(path: Path, steps: list[Step], opening: Opening = OPENING) -> Path:
    """A log with some steps."""
    said: list[str] = []
    with Journal(path, opening, said.append) as log:
        for step in steps:
            log.note(step.now, step.event, list(step.sent))
    assert said == []
    return path


def performed(path: Path, notes: int = 24, opening: Opening = OPENING) -> tuple[Path, list[bytes]]:
    """The log of a performance, answered an octave up, and what was sent."""
    session = opening.session()
    tune = [e for i in range(notes) for e in files.note_events([Note(i * 240 + i % 5, 60 + i % 7, 200, 70 + i)])]
    timed = with_clock(tune, notes * 240, 120.0)
    happened: list[tuple[float, Event | None]] = [(t, Received(0, data)) for t, data in timed]
    happened += [(1.7, Turned("distance", 0.9)), (4.1, Pressed("regenerate")), (5.0, Turned("transpose", 5.0))]
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
    opening, found = read(logged(tmp_path / "a.rtlog", steps))
    assert list(found) == steps
    assert opening == OPENING


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
    some = [Step(0.0, Received(0, b"\xf8"), ()), *some]  # of silence there is no log
    data = logged(path, some).read_bytes()
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
        quiet.note(1.0, None, [])
        assert path.exists()
    assert quiet.silent
    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written .*choose another --sessions"):
        Journal(tmp_path / "file" / "a.rtlog", OPENING)


def test_a_disk_that_fails_ends_the_log_and_not_the_music(tmp_path: Path) -> None:
    said: list[str] = []
    log = Journal(tmp_path / "a.rtlog", OPENING, said.append)
    log._file.close()
    log._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 (the journal closes it)
    with log:
        for i in range(100):
            log.note(float(i), None, [])
    assert len(said) == 1
    assert "can no longer be written (No space left on device); the music goes on" in said[0]


# ---- played again ---------------------------------------------------------------------------------------------------


def test_a_session_is_played_again_to_the_same_bytes(tmp_path: Path) -> None:
    path, sent = performed(tmp_path / "a.rtlog")
    found = replay(path)
    assert found.different is None
    assert found.answers == 2
    assert sum(len(step.sent) for step in read(path)[1]) == len(sent)


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
    assert [(n.pitch, n.duration) for n in notes if n.duration] == [(60, second), (62, second)]


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
