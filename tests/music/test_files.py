from __future__ import annotations

import io
import struct
from pathlib import Path

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

BROKEN = {
    "empty": (b"", "not a readable MIDI file"),
    "no music": (b"RIFF" + bytes(60), "not a readable MIDI file"),
    "truncated": (smf(1, 96, NOTE)[:-6], "not a readable MIDI file"),
    "type 2": (smf(2, 96, NOTE), "type 2"),
    "division 0": (smf(1, 0, NOTE), "division of 0"),
    "negative division": (smf(1, -1, NOTE), "division of -1"),
    "no notes": (smf(1, 96, NOTE[-4:]), "no notes"),
    "no tracks": (smf(1, 96), "no notes"),
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
    archive = Path(__file__).parents[3] / "shared" / "data" / "malformed.zip"
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
