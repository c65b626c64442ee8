from __future__ import annotations

from pathlib import Path

import numpy as np

from rtgen.inference.model import Model
from rtgen.music.note import Note
from tests.train import melodies
from train.loops import songs
from train.measures import along
from train.measures.along import LOOP


def test_loops_begin_where_they_are_told_to_and_end_with_their_last_tick() -> None:
    notes = [Note(0, 60, 100), Note(1920, 62, 100), Note(1920 + LOOP - 100, 64, 500), Note(1920 + LOOP, 65, 100)]
    one, two = along.loops_of(notes, 1920, 1920 + 2 * LOOP + 5)
    assert [(n.onset, n.pitch, n.duration) for n in one.notes] == [(0, 62, 100), (LOOP - 100, 64, 100)]
    assert [(n.onset, n.pitch) for n in two.notes] == [(0, 65)]


def test_a_band_plays_to_songs_for_the_judge_and_random_chords_are_on_the_beat(tmp_path: Path) -> None:
    melodies.save(tmp_path / "set" / "001", 1, bars=12)
    (song,) = songs.load([tmp_path / "set"], "all")
    onset, pitch, end = song.notes
    melody = [Note(int(o), int(p), int(e - o)) for o, p, e in zip(onset, pitch, end, strict=True)]
    model = Model(Path(__file__).parents[2] / "models" / "harmoniser.onnx")
    (band,) = along.accompanied(model, [song], [melody])
    assert set(band) == {"bass", "comping"}
    assert all(band.values())
    assert max(n.onset for n in band["comping"]) < len(song) * 240
    drawn = along.struck_at_random(song, np.random.default_rng(0))
    assert all(n.onset % 480 == 0 for n in drawn)
    assert len(drawn) >= 3 * (len(song) // 2 - 1)
