from __future__ import annotations

import io
import os
import zipfile
from collections import Counter
from pathlib import Path

import fsspec
import mido
import numpy as np
import pytest
import symusic
from hypothesis import given
from hypothesis import strategies as st

from rtgen.errors import UserError
from rtgen.music import files
from rtgen.music.note import Note
from rtgen.music.time import Metre, stretches
from tests import untrusted
from tests.music.test_files import UNUSUAL, smf
from tests.train import songs
from train.prepare.cut import Cutting
from train.prepare.findings import Report
from train.prepare.prepare import pieces_of
from train.prepare.sources import midi
from train.prepare.sources.find import Source, find, read
from train.prepare.sources.piece import Piece, part

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def only(path: Path | str) -> Source:
    (source,) = find([path])
    return source


def piece_of(path: Path) -> Piece:
    (piece,) = read(only(path)).pieces
    return piece


def notes(piece: Piece) -> list[list[int]]:
    return sorted(np.concatenate([n for _, n in piece.tracks], axis=1).T.tolist())


def same(a: Piece, b: Piece) -> bool:
    return (notes(a), a.stretches, a.bar, a.tempo) == (notes(b), b.stretches, b.bar, b.tempo)


def test_seconds_follow_the_tempo_map() -> None:
    ticks = np.array([0, 480, 960, 1440])
    assert midi.seconds_at(ticks, [(0, 120.0), (960, 60.0)]).tolist() == [0.0, 0.5, 1.0, 2.0]


@given(st.lists(st.floats(0.2, 1.5), min_size=3, max_size=20), st.floats(40, 240))
def test_warping_puts_each_beat_on_its_tick(lengths: list[float], tempo: float) -> None:
    beats = np.concatenate([[0.3], 0.3 + np.cumsum(lengths)])
    played = part(Note(round(t * tempo * 8), 60, 5, 80) for t in beats)
    warped = midi.warp(played, [(0, tempo)], beats)
    # A tick of the file is at most a hundredth of a beat here.
    assert [abs(onset - 480 * i) <= 10 for i, onset in enumerate(warped[0])] == [True] * len(beats)


def test_a_song_with_beats_beside_it_is_read_on_the_beat(tmp_path: Path) -> None:
    # Beats of .6 s, the first at 1 s, in a file that claims 120 BPM.
    seconds = [1.0 + 0.6 * i for i in range(17)]
    songs.save(tmp_path / "007.mid", tuple(Note(round(t * 960), 60, 300, 80) for t in seconds))
    lines = [f"{t:.6f} {1 - i % 2}.0 {float(i % 4 == 1)}" for i, t in enumerate(seconds)]
    (tmp_path / midi.BEATS).write_text("\n".join(lines))
    piece = piece_of(tmp_path)
    assert piece.stretches == ((480, 3 * 1920),)
    assert piece.tempo == 100.0
    assert [n[0] for n in notes(piece)] == [480 * i for i in range(17)]


def test_a_bar_of_three_beats_divides_a_song_with_beats(tmp_path: Path) -> None:
    songs.save(tmp_path / "007.mid", songs.song(1))
    downbeats = {0, 4, 8, 11, 15, 19}
    (tmp_path / midi.BEATS).write_text("\n".join(f"{i / 2} 0.0 {float(i in downbeats)}" for i in range(22)))
    assert piece_of(tmp_path).stretches == ((0, 2 * 1920), (11 * 480, 2 * 1920))


def test_unreadable_beats_are_an_error(tmp_path: Path) -> None:
    songs.save(tmp_path / "1.mid", songs.song(1))
    (tmp_path / midi.BEATS).write_text("1.0 0.0 1.0\n0.5 0.0 0.0\n")
    with pytest.raises(UserError, match="no ascending beats"):
        read(only(tmp_path))
    (tmp_path / midi.BEATS).write_text("one two\n")
    with pytest.raises(UserError, match="not readable"):
        read(only(tmp_path))


def test_folders_archives_globs_urls_and_files_give_the_same_pieces(tmp_path: Path) -> None:
    folder = songs.folder(tmp_path / "set", 3)
    archive = songs.zipped(folder, tmp_path / "set.zip")
    ways = [[folder], [archive], [f"{folder}/*.mid"], [f"file://{folder}"], [f"file://{archive}"], [tmp_path]]
    found = [find(way) for way in ways]
    for sources in found[:-1]:
        assert [(s.set_name, s.song) for s in sources] == [("set", f"{i:02d}.mid") for i in range(3)]
        for source, other in zip(sources, found[0], strict=True):
            assert same(*read(source).pieces, *read(other).pieces)
    # The folder above holds the files, and the archive as a set of its own.
    assert len(found[-1]) == 6


def test_music_is_read_from_wherever_fsspec_reaches(tmp_path: Path) -> None:
    path = songs.save(tmp_path / "a.mid", songs.song(1))
    with fsspec.open("memory://bucket/set/a.mid", "wb") as file:
        file.write(path.read_bytes())
    assert same(*read(only("memory://bucket/set")).pieces, piece_of(path))


def test_what_is_no_music_is_counted(tmp_path: Path) -> None:
    folder = songs.folder(tmp_path / "set", 1)
    for name in ("notes.txt", "._00.mid", "Backup/old.als", "live.als", "README"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    left_out: Counter[str] = Counter()
    assert [s.song for s in find([folder], left_out)] == ["00.mid", "live.als"]
    assert left_out == {
        "file of another type (.txt)": 1,
        "file of another type (no suffix)": 1,
        "Live's backup of a set": 1,
    }


def test_drums_are_left_out_unless_there_is_nothing_else(tmp_path: Path) -> None:
    drums = piece_of(songs.save(tmp_path / "d.mid", songs.song(1), channel=9))
    assert drums.drums
    both = files.read(songs.save(tmp_path / "keys.mid", songs.song(1)))
    events = tuple(files.Event(e.tick, bytes((e.data[0] | 9, *e.data[1:]))) for e in both.tracks[0].events)
    files.write(tmp_path / "both.mid", files.Score((*both.tracks, files.Track("Drums", events))))
    reading = read(only(tmp_path / "both.mid"))
    assert [name for name, _ in reading.pieces[0].tracks] == ["Keys"]
    assert reading.facts == {"drum track left out": 1}
    assert not reading.pieces[0].drums


def test_what_a_file_does_not_tell_is_taken_as_usual_and_counted(tmp_path: Path) -> None:
    file = mido.MidiFile(ticks_per_beat=96)
    file.tracks.append(mido.MidiTrack([mido.Message("note_on", note=60), mido.Message("note_off", note=60, time=96)]))
    file.save(tmp_path / "bare.mid")
    reading = read(only(tmp_path / "bare.mid"))
    assert reading.facts == {"no tempo: 120 BPM assumed": 1, "no metre: 4/4 assumed": 1}
    assert (reading.pieces[0].tempo, reading.pieces[0].stretches) == (120.0, ((0, 1920),))
    assert notes(reading.pieces[0]) == [[0, 60, 480, 64]]


def test_each_metre_is_a_piece_with_its_own_bars() -> None:
    metres = [(0, Metre()), (3840, Metre()), (7680, Metre(3, 4)), (7680 + 4000, Metre())]
    # The second 4/4 goes on from the first; of 3/4 two whole bars fit; the last bar is whole however it ends.
    three = Metre(3, 4)
    assert stretches(metres, 13700) == [(0, 7680, Metre()), (7680, 2880, three), (11680, 3840, Metre())]
    assert stretches([(0, Metre()), (960, Metre())], 1000) == [(960, 1920, Metre())]
    assert stretches([(0, Metre(6, 8)), (9999, Metre())], 1000) == [(0, 1440, Metre(6, 8))]


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        find([tmp_path / "none"])
    with pytest.raises(UserError, match="does not exist"):
        find(["memory://nothing/here"])
    with pytest.raises(UserError, match="matches no file"):
        find([f"{tmp_path}/*.mid"])
    with pytest.raises(UserError, match="no music files"):
        find([tmp_path])
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 not at all")
    with pytest.raises(UserError, match="not a readable zip"):
        find([tmp_path / "broken.zip"])
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match=r"none of \.als, \.kar, \.mid, \.midi, \.rmi"):
        find([tmp_path / "a.txt"])


def test_a_damaged_archive_is_a_sentence(tmp_path: Path) -> None:
    archive = songs.zipped(songs.folder(tmp_path / "set", 1), tmp_path / "set.zip")
    data = bytearray(archive.read_bytes())
    data[60:90] = bytes(30)
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"set\.zip/00\.mid cannot be read \(Bad CRC"):
        read(only(archive))


def test_a_member_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.mid", bytes(100_000))
    with pytest.raises(UserError, match="larger"):
        read(only(tmp_path / "bomb.zip"))


def test_tracks_come_apart_and_together() -> None:
    a, b = part([Note(0, 60, 100)]), part([Note(0, 40, 100)])
    voices = Piece((("left", b), ("right", a)), ((0, 1920),)).voices()
    assert [name for name, _ in voices] == ["left", "right", "together"]
    assert voices[2][1].T.tolist() == [*b.T.tolist(), *a.T.tolist()]


@st.composite
def performances(draw: st.DrawFn, waits: st.SearchStrategy[int]) -> mido.MidiFile:
    """A keyboard's messages, pedal and all, with notes struck again and let go in any order."""
    file = mido.MidiFile(ticks_per_beat=draw(st.sampled_from([96, 384, 480, 960])))
    for number in range(draw(st.integers(1, 3))):
        track = mido.MidiTrack()
        if draw(st.booleans()):
            track.append(mido.MetaMessage("track_name", name=f"Track of {number}"))
        sounding: set[tuple[int, int]] = set()
        for _ in range(draw(st.integers(1, 40))):
            kind, channel = draw(st.integers(0, 13)), draw(st.sampled_from([0, 0, 0, 9, 15]))
            wait, pitch = draw(waits), draw(st.integers(58, 62))
            if kind == 0:
                value = draw(st.sampled_from([0, 30, 64, 127]))
                number = draw(st.sampled_from([64, 64, 64, 121]))
                track.append(mido.Message("control_change", channel=channel, control=number, value=value, time=wait))
            elif kind == 10:
                track.append(draw(st.sampled_from(OTHERS)).copy(time=wait))
            elif (channel, pitch) in sounding:
                sounding.remove((channel, pitch))
                track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=0, time=wait))
            else:
                if kind < 13:
                    sounding.add((channel, pitch))
                track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=kind * 9 + 1, time=wait))
        track += [
            mido.Message("note_off", channel=channel, note=pitch, time=50)
            for channel, pitch in sorted(sounding)[: None if draw(st.integers(0, 9)) else -1]
        ]
        file.tracks.append(track)
    return file


OTHERS = [
    mido.Message("program_change", program=7),
    mido.Message("program_change", channel=9, program=1),
    mido.Message("aftertouch", value=9),
    mido.Message("polytouch", note=60, value=9),
    mido.Message("pitchwheel", pitch=100),
    mido.Message("control_change", control=1, value=100),
    mido.Message("control_change", control=123),
    mido.Message("sysex", data=[1] * 200),
    mido.MetaMessage("set_tempo", tempo=654_321),
    mido.MetaMessage("time_signature", numerator=5, denominator=8),
    mido.MetaMessage("lyrics", text="la" * 70),
]


def saved(file: mido.MidiFile) -> bytes:
    stream = io.BytesIO()
    file.save(file=stream)
    return stream.getvalue()


@given(performances(st.integers(1, 700)))
def test_the_quick_reader_hears_what_the_tolerant_one_hears(file: mido.MidiFile) -> None:
    untrusted.midi_file(saved(file))


@given(performances(st.integers(0, 3)))
def test_the_quick_reader_leaves_what_it_cannot_tell_to_the_tolerant_one(file: mido.MidiFile) -> None:
    untrusted.midi_file(saved(file))


@given(st.data())
def test_a_damaged_file_is_read_as_by_the_tolerant_reader(data: st.DataObject) -> None:
    """The quick reader believes no byte: what it reads the tolerant reader reads, and to the same notes."""
    content = bytearray(saved(data.draw(performances(st.integers(0, 300)))))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(14, len(content) - 1))
        content[place] = data.draw(st.sampled_from([0, 1, 0x3C, 0x7F, 0x80, 0x90, 0xB0, 0xC0, 0xF0, 0xF7, 0xFF]))
    untrusted.midi_file(bytes(content))


def test_a_regular_file_is_read_by_the_quick_reader(tmp_path: Path) -> None:
    assert untrusted.midi_file(songs.save(tmp_path / "a.mid", songs.song(1)).read_bytes())
    file = mido.MidiFile(ticks_per_beat=96)
    notes = [
        m for i in range(40) for m in (mido.Message("note_on", note=50 + i), mido.Message("note_off", note=50 + i))
    ]
    file.tracks.append(mido.MidiTrack([*OTHERS[:6], *OTHERS[7:], *(m.copy(time=9 + i) for i, m in enumerate(notes))]))
    assert untrusted.midi_file(saved(file))
    # Running status, as mido writes it, and none.
    plain = b"".join(bytes((9, 0x90, 50 + i, 64, 9, 0x80, 50 + i, 0)) for i in range(40))
    assert untrusted.midi_file(smf(0, 96, plain))


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_file_gives_the_same_notes(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(UNUSUAL[name])
    untrusted.midi_file(UNUSUAL[name])
    assert notes(piece_of(tmp_path / "a.mid")) == [[0, 60, 480, 64]]


@pytest.mark.parametrize("suffix", ["kar", "rmi", "mid", "midi", "KAR"])
def test_karaoke_and_riff_files_are_found(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / f"a.{suffix}").write_bytes(UNUSUAL["in a RIFF container"])
    assert notes(piece_of(tmp_path / "set")) == [[0, 60, 480, 64]]


def test_every_small_fault_known_is_read_alike() -> None:
    folder = SHARED.parent / "faults"
    if not folder.exists():
        pytest.skip("the shared folder with small faults is not here")
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".mid", ".kar", ".rmi")):
        untrusted.midi_file(path.read_bytes())
        assert len(read(only(path)).pieces) > 0, path.name


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in this system's folders")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    songs.folder(tmp_path / "set", 1)
    for name in ("a.mid", "b.als", "c.zip"):
        os.mkfifo(tmp_path / "set" / name)
    with pytest.raises(UserError, match=r"not a readable zip archive .*not a regular file"):
        find([tmp_path / "set"])
    (tmp_path / "set" / "c.zip").unlink()
    for source in find([tmp_path / "set"])[1:]:
        with pytest.raises(UserError, match="not a regular file"):
            read(source)
    os.mkfifo(tmp_path / "set" / midi.BEATS)
    with pytest.raises(UserError, match="not a regular file"):
        read(find([tmp_path / "set"])[0])


def test_a_file_that_is_endless_work_is_left_out(tmp_path: Path) -> None:
    """A thousand tracks, each of two notes far apart, in bars of a sixteenth: 100 million loops."""
    end = bytes((0x00, 0x90, 60, 64, 0x01, 0x80, 60, 0)) + b"\xdb\xd6\x00" + bytes((0x90, 60, 64, 1, 0x80, 60, 0))
    metre = bytes((0, 0xFF, 0x58, 4, 1, 4, 24, 8))
    (tmp_path / "a.mid").write_bytes(smf(1, 96, metre + end, *[end] * 999))
    report = Report()
    assert pieces_of(only(tmp_path / "a.mid"), Cutting(), report) == []
    assert [why for _, _, why in report.skipped] == [
        "too long for its metres and its number of tracks; cut it to parts"
    ]


@pytest.mark.parametrize("number", [120, 121, *range(123, 128)])
def test_channel_mode_messages_end_notes(tmp_path: Path, number: int) -> None:
    """CC 121 lifts the pedal, which the quick reader knows; the others may end notes, which it leaves to the other."""
    resets = number == 121
    played = [
        (0, bytes((0xB0, 64, 127 if resets else 0))),
        (0, bytes((0x90, 60, 80))),
        *([(480, bytes((0x80, 60, 0)))] if resets else []),
        (960, bytes((0xB0, number, 0))),
        (1440, bytes((0x90, 67, 80))),
        (1920, bytes((0x80, 67, 0))),
        *([] if resets else [(1920, bytes((0x80, 60, 0)))]),
    ]
    track = files.Track("keys", tuple(files.Event(*event) for event in played))
    files.write(tmp_path / "a.mid", files.Score((track,)))
    reading = read(only(tmp_path / "a.mid"))
    assert notes(reading.pieces[0]) == [[0, 60, 960, 80], [1440, 67, 480, 80]]
    assert (midi.quick((tmp_path / "a.mid").read_bytes()) is not None) == resets


@pytest.mark.parametrize(
    ("archive", "every"),
    [
        ("pop909", 40),
        ("free-midi-chords", 400),
        ("openscore-lieder", 60),
        ("js-fakes", 60),
        ("freedoom", 14),
        ("groove", 40),
    ],
)
def test_real_sets_are_read_as_by_the_tolerant_reader(archive: str, every: int) -> None:
    path = SHARED / f"{archive}.zip"
    if not path.exists():
        pytest.skip(f"the shared folder with {path.name} is not here")
    sources = find([path])[::every]
    quick = sum(untrusted.midi_file(source.bytes() or b"") for source in sources)
    # The others have notes without length or end.
    assert quick >= len(sources) * (0.4 if archive == "groove" else 0.8)


@pytest.mark.parametrize("archive", ["pop909", "openscore-lieder", "js-fakes"])
def test_real_sets_begin_their_notes_where_another_program_reads_them(archive: str) -> None:
    path = SHARED / f"{archive}.zip"
    if not path.exists():
        pytest.skip(f"the shared folder with {path.name} is not here")
    for source in find([path])[::97]:
        data = source.bytes() or b""
        other = symusic.Score.from_midi(data)
        scale = 480 / other.ticks_per_quarter
        theirs = Counter((round(n.time * scale), n.pitch) for t in other.tracks for n in t.notes)
        score = midi.quick(data) or midi.tolerant(data, source.name)
        ours = Counter((on, pitch) for _, _, n in score.tracks for on, pitch in n[:2].T.tolist())
        # Of notes struck twice on one tick we hear one.
        assert ours.keys() == theirs.keys(), source.name


def test_every_malformed_file_gives_music_or_one_sentence() -> None:
    path = SHARED / "malformed.zip"
    if not path.exists():
        pytest.skip("the shared folder with malformed.zip is not here")
    read_well, refused = 0, 0
    for source in find([path]):
        try:
            reading = read(source)
        except UserError as error:
            refused += 1
            assert source.song.rpartition("/")[2] in str(error)
            assert "\n" not in str(error)
        else:
            read_well += bool(reading.pieces)
    assert read_well > 40
    assert refused > 5
