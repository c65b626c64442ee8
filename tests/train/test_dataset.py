from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rtgen.errors import UserError
from tests.train import songs
from train import dataset
from train.__main__ import app, main
from train.sources import midi


def prepared(tmp_path: Path, count: int = 40) -> Path:
    folder = songs.folder(tmp_path / "set", count)
    dataset.prepare(midi.find([folder]), tmp_path / "data")
    return tmp_path / "data"


def test_loops_come_back_from_disk_as_they_were_cut(tmp_path: Path) -> None:
    data = prepared(tmp_path, 6)
    rows = [row for s in midi.find([tmp_path / "set"]) for row in dataset.rows_of(s)]
    found = []
    for split in {row.split for row in rows}:
        loops = dataset.load(data, split)
        found += dataset.to_loops(loops.take(np.arange(len(loops))), len(loops))
    assert sorted(found, key=lambda x: x.notes) == sorted((r.loop for r in rows), key=lambda x: x.notes)


def test_the_same_sources_give_the_same_file(tmp_path: Path) -> None:
    folder = songs.folder(tmp_path / "set", 4)
    for out in ("a", "b"):
        dataset.prepare(midi.find([folder]), tmp_path / out)
    files = [(tmp_path / out / dataset.FILE).read_bytes() for out in ("a", "b")]
    assert files[0] == files[1]


def test_transposed_copies_never_leave_their_split(tmp_path: Path) -> None:
    for seed in range(30):
        for up in (0, 3, 7):
            notes = tuple(replace(n, pitch=n.pitch + up) for n in songs.song(seed))
            songs.save(tmp_path / "set" / f"{seed:02d}-{up}.mid", notes)
    dataset.prepare(midi.find([tmp_path / "set"]), tmp_path / "data")
    rows = pq.read_table(tmp_path / "data" / dataset.FILE).to_pylist()
    splits = defaultdict(set)
    for row in rows:
        splits[row["song_class"]].add(row["split"])
        # Kept once, in whatever key.
        splits[row["loop_class"]].add((row["song"], row["start"], row["track"]))
    assert {len(s) for s in splits.values()} == {1}
    assert len(rows) == 30 * 4
    assert {row["split"] for row in rows} > {"train"}


def test_a_loop_in_two_splits_stays_in_the_most_held_out(tmp_path: Path) -> None:
    row = dataset.rows_of(midi.find([songs.save(tmp_path / "a.mid", songs.song(1))])[0])[0]
    rows = [replace(row, split=split, song=split) for split in ("train", "valid", "test")]
    assert [r.split for r in dataset.deduplicate(rows)] == ["test"]


@pytest.mark.parametrize(("number", "split"), [("001", "train"), ("650", "train"), ("651", "valid"), ("701", "test")])
def test_pop909_is_split_by_number(number: str, split: str) -> None:
    assert dataset.split_of("pop909", f"POP909/{number}/{number}.mid", "0" * 16) == split


def test_take_counts_loops_anew(tmp_path: Path) -> None:
    loops = dataset.load(prepared(tmp_path, 6), "train")
    whole = dataset.to_loops(loops.take(np.arange(len(loops))), len(loops))
    assert dataset.to_loops(loops.take(np.array([3, 0, 3])), 3) == [whole[3], whole[0], whole[3]]
    assert dataset.from_loops(whole[:2]).tolist() == loops.take(np.array([0, 1])).tolist()


def test_a_bad_file_is_skipped_and_listed(tmp_path: Path) -> None:
    folder = songs.folder(tmp_path / "set", 3)
    (folder / "bad.mid").write_bytes(b"MThd and then nothing")
    result = CliRunner().invoke(app, ["prepare", str(folder), "--out", str(tmp_path / "data")], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "1 files skipped" in result.output
    assert "bad.mid" in result.output
    assert dataset.load(tmp_path / "data", "train")


def test_a_mistake_is_one_sentence_and_status_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["rtgen-train", "prepare", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert (
        capsys.readouterr().err == f"{tmp_path / 'none'} does not exist; name a .mid file, a folder or a .zip of them\n"
    )


def test_nothing_to_learn_from_is_a_sentence(tmp_path: Path) -> None:
    path = songs.save(tmp_path / "short.mid", songs.song(1)[:2])
    with pytest.raises(UserError, match="no loops"):
        dataset.prepare(midi.find([path]), tmp_path / "data")
    with pytest.raises(UserError, match="rtgen-train prepare"):
        dataset.load(tmp_path / "data", "train")
    with pytest.raises(UserError, match="no loops of pop909"):
        dataset.load(prepared(tmp_path, 3), "train", ["pop909"])


@pytest.mark.parametrize("archive", ["pop909.zip", "malformed.zip"])
def test_real_archives_are_read(archive: str) -> None:
    path = Path(__file__).parents[2].parent / "shared" / "data" / archive
    if not path.exists():
        pytest.skip(f"the shared folder with {archive} is not here")
    read, refused = 0, 0
    for source in midi.find([path])[:60:3]:
        try:
            read += len(dataset.rows_of(source)) > 0
        except UserError:
            refused += 1
    assert read > 0
    assert (refused > 0) == (archive == "malformed.zip")
