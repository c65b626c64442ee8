from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.errors import UserError
from rtgen.music.note import Note
from rtgen.music.time import Metre
from tests.train import songs
from train.sources import midi
from train.sources.piece import BAR, Piece, cut, windows


def only(path: Path) -> midi.Source:
    (source,) = midi.find([path])
    return source


def test_seconds_follow_the_tempo_map() -> None:
    ticks = np.array([0, 480, 960, 1440])
    assert midi.seconds_at(ticks, [(0, 120.0), (960, 60.0)]).tolist() == [0.0, 0.5, 1.0, 2.0]


@settings(deadline=None)
@given(st.lists(st.floats(0.2, 1.5), min_size=3, max_size=20), st.floats(40, 240))
def test_warping_puts_each_beat_on_its_tick(lengths: list[float], tempo: float) -> None:
    beats = np.concatenate([[0.3], 0.3 + np.cumsum(lengths)])
    played = [Note(round(t * tempo * 8), 60, 5, 80) for t in beats]
    warped = midi.warp(played, [(0, tempo)], beats)
    # A tick of the file is at most a hundredth of a beat here.
    assert [abs(n.onset - 480 * i) <= 10 for i, n in enumerate(warped)] == [True] * len(beats)


def test_a_song_with_beats_beside_it_is_read_on_the_beat(tmp_path: Path) -> None:
    # Beats of .6 s, the first at 1 s, in a file that claims 120 BPM.
    seconds = [1.0 + 0.6 * i for i in range(17)]
    songs.save(tmp_path / "007.mid", tuple(Note(round(t * 960), 60, 300, 80) for t in seconds))
    lines = [f"{t:.6f} {1 - i % 2}.0 {float(i % 4 == 1)}" for i, t in enumerate(seconds)]
    (tmp_path / midi.BEATS).write_text("\n".join(lines))
    piece = midi.read(only(tmp_path))
    assert piece.downbeats == (480, 2400, 4320, 6240)
    assert [n.onset for n in piece.tracks[0][1]] == [480 * i for i in range(17)]


def test_unreadable_beats_are_an_error(tmp_path: Path) -> None:
    songs.save(tmp_path / "1.mid", songs.song(1))
    (tmp_path / midi.BEATS).write_text("1.0 0.0 1.0\n0.5 0.0 0.0\n")
    with pytest.raises(UserError, match="no ascending beats"):
        midi.read(only(tmp_path))
    (tmp_path / midi.BEATS).write_text("one two\n")
    with pytest.raises(UserError, match="not readable"):
        midi.read(only(tmp_path))


def test_folders_archives_and_files_give_the_same_pieces(tmp_path: Path) -> None:
    folder = songs.folder(tmp_path / "set", 3)
    archive = songs.zipped(folder, tmp_path / "set.zip")
    pieces = [[midi.read(s) for s in midi.find([p])] for p in (folder, archive)]
    assert pieces[0] == pieces[1]
    assert {s.set_name for s in midi.find([folder, archive, folder / "00.mid"])} == {"set"}
    assert midi.read(only(folder / "00.mid")) == pieces[0][0]


def test_drums_are_left_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="drums only"):
        midi.read(only(songs.save(tmp_path / "d.mid", songs.song(1), channel=9)))


def test_other_metres_are_told_apart_from_damage(tmp_path: Path) -> None:
    with pytest.raises(midi.OtherMetreError):
        midi.read(only(songs.save(tmp_path / "waltz.mid", songs.song(1), metre=Metre(3, 4))))


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        midi.find([tmp_path / "none"])
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 not at all")
    with pytest.raises(UserError, match="not a readable zip"):
        midi.find([tmp_path / "broken.zip"])


def test_a_member_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midi.files, "MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.mid", bytes(100_000))
    with pytest.raises(UserError, match="larger"):
        midi.read(only(tmp_path / "bomb.zip"))


def test_windows_lie_side_by_side_over_whole_bars_of_four() -> None:
    assert windows((480, 2400, 4320, 6240, 8160), 2) == [480, 4320]
    # The third bar has three beats only: no loop runs over it.
    assert windows((0, 1920, 3840, 5280, 7200, 9120), 2) == [0, 5280]


def test_a_loop_holds_what_begins_in_it_and_an_early_downbeat() -> None:
    notes = (Note(0, 60, 9000), Note(3825, 62, 100), Note(3839, 64, 100), Note(5000, 65, 9000))
    first, second = cut(notes, [0, 3840], 2)
    assert first.notes == (Note(0, 60, 3840),)
    assert second.notes == (Note(-15, 62, 100), Note(-1, 64, 100), Note(1160, 65, 2680))


def test_tracks_come_apart_and_together() -> None:
    a, b = (Note(0, 60, 100),), (Note(0, 40, 100),)
    piece = Piece("x", (("left", b), ("right", a)), (0, BAR))
    assert piece.voices() == [("left", b), ("right", a), ("together", b + a)]
