from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtgen.errors import UserError
from rtgen.music.chord import KINDS
from tests.train import melodies
from train.loops import songs
from train.loops.songs import BAR, NONE, number
from train.prepare.sources.find import find

NAMES = [kind.name for kind in KINDS]


def of(root: int, name: str) -> int:
    return root * len(KINDS) + NAMES.index(name)


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ("C:maj", of(0, "")),
        ("Bb:min", of(10, "m")),
        ("F#:maj/3", of(6, "/3")),
        ("Cb:min7/b7", of(11, "m7/b7")),
        ("G:sus4(b7)", of(7, "7sus4")),
        ("D:maj6", of(2, "")),
        ("E:hdim7", of(4, "m7b5")),
        ("A:min/2", of(9, "m")),
        ("N", NONE),
    ],
)
def test_a_chord_is_read(label: str, wanted: int) -> None:
    assert number(label) == wanted


@pytest.mark.parametrize("label", ["C", "H:maj", "C:quartal", ":maj", ""])
def test_what_is_no_chord_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match=r"chord|root|kind"):
        number(label)


def test_bars_are_counted_from_the_downbeats() -> None:
    downbeats = np.array([0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0], bool)
    beats = songs.positions(downbeats)[::2] // 2
    assert beats.tolist() == [2, 3, 0, 1, 2, 3, 0, 1, 0, 1, 2, 3, 0, 1]


def test_a_song_is_read_by_half_beats(tmp_path: Path) -> None:
    melodies.save(tmp_path / "001", 0)
    (song,) = songs.load([tmp_path], "all")
    assert len(song) == 12 * BAR
    assert song.position[:10].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]
    assert not song.heard[: 3 * BAR].any()
    # Each note lasts nine tenths of a beat, from the beat on.
    assert song.heard[3 * BAR, :, 0].max() == 1
    assert song.heard[3 * BAR + 1, :, 0].max() == pytest.approx(0.8, abs=0.01)
    assert song.heard[3 * BAR + 1, :, 1].max() == 0
    assert song.agrees
    assert len(set(song.chord.tolist())) > 1
    assert all(len(set(song.chord[bar : bar + BAR].tolist())) == 1 for bar in range(0, len(song), BAR))


def test_songs_whose_chords_are_of_another_key_do_not_agree(tmp_path: Path) -> None:
    path = melodies.save(tmp_path / "001", 0)
    chords = path.parent / "chord_midi.txt"
    lines = [line.split("\t") for line in chords.read_text().splitlines()]
    moved = [(a, b, melodies.NAMES[(melodies.NAMES.index(c.split(":")[0]) + 1) % 12] + ":maj") for a, b, c in lines]
    chords.write_text("\n".join("\t".join(row) for row in moved))
    (song,) = songs.load([tmp_path], "all")
    assert not song.agrees


def test_songs_keep_their_split_and_none_is_lost(tmp_path: Path) -> None:
    melodies.folder(tmp_path / "set", 30)
    every = {song.name for song in songs.load([tmp_path / "set"], "all")}
    assert len(every) == 30
    parts = [songs.split_of(source) for source in find([tmp_path / "set"])]
    assert parts.count("train") > 20
    (source,) = find([melodies.save(tmp_path / "pop909" / "701", 700).parent.parent])
    assert songs.split_of(source) == "test"


def test_what_is_not_in_four_or_has_no_chords_is_left_out(tmp_path: Path) -> None:
    path = melodies.save(tmp_path / "001", 0)
    beats = path.parent / "beat_midi.txt"
    whole = beats.read_text()
    beats.write_text("\n".join(f"{i * 0.5} 0.0 {float(i % 3 == 0)}" for i in range(49)))
    with pytest.raises(UserError, match="no songs for 'all'"):
        songs.load([tmp_path], "all")
    beats.write_text(whole)
    (path.parent / "chord_midi.txt").write_text("0.0 1.0 H:maj\n")
    with pytest.raises(UserError, match=r"chord_midi.txt beside .* not readable"):
        songs.load([f"{tmp_path}/."], "all")
    (path.parent / "chord_midi.txt").unlink()
    with pytest.raises(UserError, match="no songs for 'all'"):
        songs.load([f"{tmp_path}/../{tmp_path.name}"], "all")
