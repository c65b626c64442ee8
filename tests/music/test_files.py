from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.errors import UserError
from rtgen.music import files
from rtgen.music.files import Event, Score, Track
from rtgen.music.note import Note
from rtgen.music.time import Metre


def on(tick: int, pitch: int, velocity: int = 80, channel: int = 0) -> Event:
    return Event(tick, bytes((0x90 | channel, pitch, velocity)))


def off(tick: int, pitch: int, channel: int = 0) -> Event:
    return Event(tick, bytes((0x80 | channel, pitch, 0)))


def pedal(tick: int, value: int) -> Event:
    return Event(tick, bytes((0xB0, 64, value)))


def mode(tick: int, number: int, channel: int = 0) -> Event:
    """A channel mode message."""
    return Event(tick, bytes((0xB0 | channel, number, 0)))


@pytest.mark.parametrize(
    ("events", "notes"),
    [
        ([on(0, 60), off(10, 60)], [Note(0, 60, 10)]),
        ([on(0, 60), on(10, 60, 0)], [Note(0, 60, 10)]),
        ([on(0, 60), on(5, 60), off(9, 60)], [Note(0, 60, 5), Note(5, 60, 4)]),
        ([on(0, 60), off(9, 60, 1), off(10, 60)], [Note(0, 60, 10)]),
        ([off(3, 60)], []),
        ([on(0, 60), on(4, 62), off(10, 62)], [Note(0, 60, 10), Note(4, 62, 6)]),
        ([on(0, 60), off(0, 60), on(5, 60), off(9, 60)], [Note(0, 60, 1), Note(5, 60, 4)]),
        ([on(0, 60), on(5, 60), off(5, 60), off(9, 60)], [Note(0, 60, 5), Note(5, 60, 4)]),
        ([on(0, 60), on(5, 60), off(5, 60), off(5, 60), off(9, 60)], [Note(0, 60, 5), Note(5, 60, 1)]),
        ([on(0, 60), off(0, 60), on(1, 60), off(9, 60)], [Note(0, 60, 1), Note(1, 60, 8)]),
        ([pedal(0, 127), on(1, 60), off(2, 60), pedal(9, 0)], [Note(1, 60, 8)]),
        ([on(0, 60), pedal(1, 64), off(2, 60), on(5, 60), off(6, 60), pedal(8, 63)], [Note(0, 60, 5), Note(5, 60, 3)]),
        # CC 121 lifts the pedal, and a note that comes later is not held by it.
        ([pedal(0, 127), on(1, 60), off(2, 60), mode(5, 121), on(6, 60), off(8, 60)], [Note(1, 60, 4), Note(6, 60, 2)]),
        ([pedal(0, 127), on(1, 60), on(1, 62), off(2, 60), mode(5, 120), off(9, 62)], [Note(1, 60, 4), Note(1, 62, 4)]),
        *(([on(1, 60), mode(5, number), off(9, 60)], [Note(1, 60, 4)]) for number in (120, *range(123, 128))),
        # What the pedal holds sounds on through All Notes Off, as Roland's and other implementations have it.
        ([pedal(0, 127), on(1, 60), mode(5, 123), pedal(7, 0), off(9, 60)], [Note(1, 60, 6)]),
        ([on(1, 60), mode(5, 123, channel=1), mode(6, 121), mode(6, 122), off(9, 60)], [Note(1, 60, 8)]),
    ],
)
def test_notes_are_paired(events: list[Event], notes: list[Note]) -> None:
    assert files.notes_of(events) == notes


def test_the_events_of_all_tracks_keep_short_notes_short() -> None:
    """A note-off on the tick of its note-on once came before it: the note lasted until the next one of its pitch."""
    short = Track("a", (on(0, 60), off(0, 60), on(480, 60), off(480, 60)))
    other = Track("b", (on(0, 64), off(480, 64)))
    told = [(e.tick, e.data[0], e.data[1]) for e in Score((short, other)).merged()]
    assert told == [
        *((0, 0x90, 60), (0, 0x90, 64), (1, 0x80, 60)),
        *((480, 0x80, 64), (480, 0x90, 60), (481, 0x80, 60)),
    ]
    # A pitch that is struck again on the tick on which it is let go is let go first.
    again = Track("a", (on(0, 60), on(480, 60), off(480, 60), off(960, 60)))
    assert [(e.tick, e.data[0]) for e in Score((again,)).merged()] == [(0, 0x90), (480, 0x80), (480, 0x90), (960, 0x80)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(60, 61), st.booleans()), max_size=20))
def test_every_note_that_ends_has_its_own_length(told: list[tuple[int, int, bool]]) -> None:
    tick, events = 0, []
    for wait, pitch, starts in told:
        tick += wait
        events.append(on(tick, pitch) if starts else off(tick, pitch))
    found = files.settled(events)
    assert found == files.settled(found)
    assert sorted((e.data, e.tick) for e in found if e.data[0] == 0x90) == sorted(
        (e.data, e.tick) for e in events if e.data[0] == 0x90
    )
    assert len(found) == len(events)
    assert all(note.duration > 0 for note in files.notes_of(events))


def test_a_score_is_read_as_it_was_written(tmp_path: Path) -> None:
    notes = [Note(0, 60, 480, 90), Note(480, 64, 240, 30)]
    score = Score(
        (Track("Grüße", tuple(files.note_events(notes, start=960))),),
        ((0, 90.0), (1920, 180.0)),
        ((0, Metre(3, 4)),),
        ((1440, "two"),),
    )
    path = tmp_path / "a.mid"
    files.write(path, score)
    assert files.read(path) == score
    assert [n.onset for n in files.read(path).tracks[0].notes()] == [960, 1440]
    assert not list(tmp_path.glob("*.part"))


def test_other_divisions_are_converted() -> None:
    midi = mido.MidiFile(ticks_per_beat=96)
    midi.tracks.append(
        mido.MidiTrack([mido.Message("note_on", note=60, time=96), mido.Message("note_off", note=60, time=48)])
    )
    stream = io.BytesIO()
    midi.save(file=stream)
    stream.seek(0)
    assert files.read(stream, "it").tracks[0].notes() == [Note(480, 60, 240, 64)]


def smf(kind: int, division: int, *tracks: bytes) -> bytes:
    head = b"MThd" + struct.pack(">IHHh", 6, kind, len(tracks), division)
    return head + b"".join(b"MTrk" + struct.pack(">I", len(t)) + t for t in tracks)


NOTE = bytes((0, 0x90, 60, 64, 96, 0x80, 60, 0, 0, 0xFF, 0x2F, 0))
SHARED = Path(__file__).parents[3] / "shared"


def riff(data: bytes) -> bytes:
    chunk = b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"RMID" + chunk


FOREIGN = b"XFIH" + struct.pack(">I", 3) + b"abc"
UNUSUAL = {
    "in a RIFF container": riff(smf(0, 96, NOTE)),
    "a chunk of another kind": smf(0, 96, NOTE)[:14] + FOREIGN + smf(0, 96, NOTE)[14:] + FOREIGN,
    "a longer header": b"MThd" + struct.pack(">IHHhH", 8, 0, 1, 96, 7) + smf(0, 96, NOTE)[14:],
    "more tracks than it says": smf(0, 96, NOTE) + b"MTrk" + bytes(4),
    "a key signature out of range": smf(0, 96, bytes((0, 0xFF, 0x59, 2, 8, 2)) + NOTE),
    "a key signature that is too short": smf(0, 96, bytes((0, 0xFF, 0x59, 0)) + NOTE),
    "a tempo that is too short": smf(0, 96, bytes((0, 0xFF, 0x51, 2, 7, 8)) + NOTE),
    "a tempo of 0": smf(0, 96, bytes((0, 0xFF, 0x51, 3, 0, 0, 0)) + NOTE),
    "a metre of 0 beats": smf(0, 96, bytes((0, 0xFF, 0x58, 4, 0, 2, 24, 8)) + NOTE),
    "a metre of 64ths": smf(0, 96, bytes((0, 0xFF, 0x58, 4, 4, 6, 24, 8)) + NOTE),
    "an exclusive message": smf(0, 96, bytes((0, 0xF0, 5, 0x7E, 0x7F, 9, 1, 0xF7)) + NOTE),
    "an exclusive message in packets": smf(0, 96, bytes((0, 0xF0, 3, 67, 18, 0, 0, 0xF7, 2, 67, 0xF7)) + NOTE),
    "an exclusive message without end": smf(0, 96, bytes((0, 0xF0, 2, 67, 18)) + NOTE),
    "an escape": smf(0, 96, bytes((0, 0xF7, 2, 0xF3, 1)) + NOTE),
    "an escaped note-on": smf(0, 96, bytes((0, 0xF7, 3, 0x90, 61, 64)) + NOTE),
    "a system message": smf(0, 96, bytes((0, 0xF2, 1, 2, 0, 0xFE)) + NOTE),
    "running status": smf(0, 96, bytes((0, 0x90, 60, 64, 96, 60, 0))),
    "running status after a text": smf(0, 96, bytes((0, 0x90, 60, 64, 96, 0xFF, 1, 1, 65, 0, 60, 0))),
    "running status after an exclusive message": smf(0, 96, bytes((0, 0x90, 60, 64, 96, 0xF0, 1, 0xF7, 0, 60, 0))),
    "data above 127": smf(0, 96, bytes((0, 0x90, 60, 64, 96, 0x80, 60, 0x90))),
    "notes after the end of the track": smf(0, 96, NOTE + NOTE),
    "a late end of the track": smf(0, 96, NOTE[:-4] + bytes((0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0x2F, 0))),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_file_is_read_as_if_it_were_none(name: str) -> None:
    score = files.read(io.BytesIO(UNUSUAL[name]), "it")
    assert [track.notes() for track in score.tracks] == [[Note(0, 60, 480, 64)]]
    assert (score.tempos, score.metres) == (((0, 120.0),), ((0, Metre()),))


@pytest.mark.parametrize("name", ["sysex-in-two-packets", "sysex-in-two-packets-b", "sysex-escape", "slowest-tempo"])
def test_a_melody_of_quarters_is_on_the_beat(name: str) -> None:
    path = SHARED / "faults" / f"{name}.mid"
    if not path.exists():
        pytest.skip(f"the shared folder with {path.name} is not here")
    assert [note.onset for note in files.read(path).tracks[0].notes()] == list(range(0, 480 * 32, 480))


@given(st.integers(1, 0xFFFFFF) | st.sampled_from([1, 2, 500_001, 0xFFFFFE, 0xFFFFFF]))
def test_a_tempo_is_kept_to_the_microsecond(beat_us: int) -> None:
    tempo = b"\0\xff\x51\x03" + beat_us.to_bytes(3)
    score = files.parse(smf(0, 96, tempo + NOTE), "it")
    with TemporaryDirectory() as folder:
        files.write(Path(folder) / "a.mid", score)
        data = (Path(folder) / "a.mid").read_bytes()
    assert tempo[1:] in data
    assert files.parse(data, "it").tempos == score.tempos


def test_a_round_tempo_is_read_as_one() -> None:
    # 666,667 us are nearest to 90 BPM.
    assert files.parse(smf(0, 96, b"\0\xff\x51\x03" + (666_667).to_bytes(3) + NOTE), "it").tempos == ((0, 90.0),)


@pytest.mark.parametrize("bpm", [0.0, 1e-9, 3.0, 1e9, float("inf")])
def test_a_tempo_that_no_file_can_state_becomes_the_nearest(bpm: float, tmp_path: Path) -> None:
    files.write(tmp_path / "a.mid", Score((Track("a", (on(0, 60), off(480, 60))),), ((0, bpm),)))
    assert files.read(tmp_path / "a.mid").tempos[0][1] == pytest.approx(60e6 if bpm > 1e6 else 3.576, rel=1e-3)


BROKEN = {
    "empty": (b"", "not a readable MIDI file"),
    "no music": (b"RIFF" + bytes(60), "not a readable MIDI file"),
    "truncated": (smf(1, 96, NOTE)[:-6], "not a readable MIDI file"),
    "type 2": (smf(2, 96, NOTE), "type 2"),
    "division 0": (smf(1, 0, NOTE), "division of 0"),
    "negative division": (smf(1, -1, NOTE), "division of -1"),
    "no notes": (smf(1, 96, NOTE[-4:]), "no notes"),
    "no tracks": (smf(1, 96), "no notes"),
    "fewer tracks than it says": (smf(1, 96, NOTE)[:11] + b"\2" + smf(1, 96, NOTE)[12:], "1 of its 2 tracks"),
    "a RIFF container without music": (riff(b""), "not a readable MIDI file"),
    "cut within an event": (smf(1, 96, NOTE[:3]), "within an event"),
    "cut within a text": (smf(1, 96, NOTE[:8] + bytes((0, 0xFF, 1, 9, 65))), "within an event"),
    "running status at the start": (smf(1, 96, NOTE[:1] + NOTE[2:]), "running status"),
    "undefined status": (smf(1, 96, bytes((0, 0xF4)) + NOTE), "status F4"),
    "a number of five bytes": (smf(1, 96, b"\xff\xff\xff\xff\x7f" + NOTE[1:]), "more than four bytes"),
    "a delta of 2^28 ticks": (smf(1, 480, b"\xff\xff\xff\x7f" + NOTE[1:]), "559,240 beats long, and 50,000 are"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_sentence_with_a_cure(tmp_path: Path, name: str) -> None:
    data, reason = BROKEN[name]
    path = tmp_path / "song.mid"
    path.write_bytes(data)
    with pytest.raises(UserError, match=reason) as caught:
        files.read(path)
    assert str(path) in str(caught.value)
    assert ";" in str(caught.value)


def test_more_events_than_a_performance_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_EVENTS", 8)
    nothing = bytes((0, 0xFF, 1, 0))
    assert files.parse(smf(1, 96, nothing * 5 + NOTE), "it").tracks
    for data in (smf(1, 96, nothing * 6 + NOTE), smf(1, 96, NOTE, NOTE, NOTE)):
        with pytest.raises(UserError, match=r"it has more than 8 events; cut it"):
            files.parse(data, "it")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in this system's folders")
def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mid")
    for path in (tmp_path / "pipe.mid", Path("/dev/zero")):
        with pytest.raises(UserError, match="is not a regular file;"):
            files.read(path)
        with pytest.raises(UserError, match="is not a regular file;"):
            files.write(path, Score((Track("a", (on(0, 60),)),)))
    assert Path("/dev/zero").is_char_device()


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        files.read(tmp_path / "nowhere.mid")
    with pytest.raises(UserError, match="is a folder"):
        files.read(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        files.write(tmp_path / "no" / "folder.mid", Score((Track("a", (on(0, 60),)),)))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_score_or_a_sentence(data: bytes) -> None:
    for content in (data, smf(1, 96, data)):
        try:
            files.read(io.BytesIO(content), "it")
        except UserError as error:
            assert "it" in str(error)


def test_every_damaged_file_known_is_a_score_or_a_sentence() -> None:
    archive = SHARED / "data" / "malformed.zip"
    if not archive.exists():
        pytest.skip("the set of damaged files is not here (shared/data/malformed.zip)")
    import zipfile

    with zipfile.ZipFile(archive) as folder:
        names = [n for n in folder.namelist() if n.endswith((".mid", ".midi"))]
        assert names
        for name in names:
            try:
                assert files.read(io.BytesIO(folder.read(name)), name).tracks
            except UserError as error:
                assert name in str(error)
