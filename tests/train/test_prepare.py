from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rtgen.errors import UserError
from rtgen.music.note import Note
from tests.train import live, songs
from train.__main__ import app, main
from train.loops import dataset
from train.prepare import pool, prepare, shards
from train.prepare.cut import Cutting
from train.prepare.findings import Report
from train.prepare.sources.find import find

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def rows_of(data: Path) -> list[dict[str, Any]]:
    names = dataset.manifest(data)["shards"]
    return [row for name in names for row in pq.read_table(data / name).to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def transposed(folder: Path, loops: int, keys: range = range(-11, 13)) -> Path:
    """Some loops of four bars, each in all keys and in two of them with a chord strummed: as the lo-fi set is."""
    for seed in range(loops):
        notes = songs.song(seed, bars=4)
        for up in keys:
            moved = [replace(n, pitch=n.pitch + up) for n in notes]
            if up in (-3, 8):
                strum = {n.pitch: 45 * i for i, n in enumerate(m for m in moved if m.onset == 3840)}
                moved = [replace(n, onset=n.onset + strum[n.pitch]) if n.onset == 3840 else n for n in moved]
            songs.save(folder / f"{(7 * up + seed) % 24}-blob{seed}.mid", tuple(moved), tempo=85.0)
    return folder


def leaks(data: Path, kind: Callable[[str], str] = str) -> int:
    """Of the loops and songs that are the same up to transposition, how many are in more than one split.

    Args:
        data: the dataset.
        kind: what songs are the same, by their names.
    """
    splits = defaultdict(set)
    for row in rows_of(data):
        splits["loop", row["loop_class"]].add(row["split"])
        splits["song", row["song_class"]].add(row["split"])
        splits["kind", kind(row["song"])].add(row["split"])
    return sum(len(found) > 1 for found in splits.values())


def test_loops_in_all_keys_never_leave_their_split(tmp_path: Path) -> None:
    folder = transposed(tmp_path / "set", 5)
    report = prepare.prepare(find([folder]), tmp_path / "data")
    rows = rows_of(tmp_path / "data")
    # Played a little otherwise in two keys, they are not the same notes; but the same loop.
    assert len({row["song_class"] for row in rows}) == 10
    assert len(rows) == 5 * 24 * 2
    assert {row["split"] for row in rows} == {"train", "valid", "test"}
    assert leaks(tmp_path / "data", lambda song: song.partition("-")[2]) == 0
    assert sum(not row["duplicate"] for row in rows) == 15
    assert report.duplicates["set"] == 240 - 15


def test_the_lofi_set_never_leaks(tmp_path: Path) -> None:
    path = SHARED / "lofi-samples.zip"
    if not path.exists():
        pytest.skip(f"the shared folder with {path.name} is not here")
    prepare.prepare(find([path]), tmp_path / "data")
    rows = rows_of(tmp_path / "data")
    # One of its files is empty.
    assert {row["song"] for row in rows} == {s.song for s in find([path])} - {"lofi-samples/testOutput.mid"}
    assert {row["tempo"] for row in rows} == {85.0}
    # blob, c, ii-V, reece and tree, of which blob is strummed in most keys, but not in two.
    kinds = {re.sub(r"\d+\.mid$", "", row["song"]) for row in rows}
    assert len(kinds) == 5
    assert leaks(tmp_path / "data", lambda song: re.sub(r"\d+\.mid$", "", song)) == 0
    assert not any(dataset.about(row["set"]).ship for row in rows)


def test_a_loop_in_two_splits_stays_in_the_most_held_out(tmp_path: Path) -> None:
    # The first loop of every song is the same.
    shared, own = songs.song(99), [songs.song(i, bars=8) for i in range(30)]
    for i, notes in enumerate(own):
        begun = (*(n for n in shared if n.end <= 3840), *(n for n in notes if n.onset >= 3840))
        songs.save(tmp_path / "set" / f"{i:02d}.mid", begun)
    report = prepare.prepare(find([tmp_path / "set"]), tmp_path / "data")
    rows = rows_of(tmp_path / "data")
    assert {row["split"] for row in rows} == {"train", "valid", "test"}
    first = [row for row in rows if row["start"] == 0]
    assert {row["split"] for row in first} == {"test"}
    assert [row["duplicate"] for row in first] == [False] + [True] * (len(first) - 1)
    assert report.left_out["set"] == 30 - len(first)
    assert leaks(tmp_path / "data") == 0


@pytest.mark.parametrize(("number", "split"), [("001", "train"), ("650", "train"), ("651", "valid"), ("701", "test")])
def test_pop909_is_split_by_number(number: str, split: str) -> None:
    assert prepare.given_split("pop909", f"POP909/{number}/{number}.mid") == split


def test_given_splits_are_kept() -> None:
    assert prepare.given_split("jsb-chorales-train-valid", "jsb-chorales/midi/train_000.mid") == "train"
    assert prepare.given_split("jsb-chorales-train-valid", "jsb-chorales/midi/valid_012.mid") == "valid"
    assert prepare.given_split("mine", "train_1.mid") is None


def test_songs_are_split_by_chance_but_families_stay_together() -> None:
    test, valid, train = range(3)
    share = np.array([0.01, 0.07, 0.5, 0.6, 0.02, 0.7])
    classes, none = (share * 2.0**64).astype(np.uint64), np.full(6, -1, np.int8)
    alone = np.arange(6)
    assert shards.splits_of(none, classes, alone).tolist() == [test, valid, train, train, test, train]
    # A family follows its first song, and that one the split that is given for it.
    family = np.array([0, 1, 2, 1, 2, 5])
    assert shards.splits_of(none, classes, family).tolist() == [test, valid, train, valid, train, train]
    given = np.array([-1, test, -1, train, -1, -1], np.int8)
    # Nothing is left for validation: the training family of the lowest class goes there.
    assert shards.splits_of(given, classes, family).tolist() == [test, test, valid, train, valid, train]


def test_a_song_is_of_the_family_with_which_it_shares_most_loops() -> None:
    song = np.array([0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4])
    loops = np.array([1, 2, 3, 2, 3, 9, 1, 7, 9, 3, 3, 8], np.uint64)
    # Two of song 1's loops are song 0's, and half of song 2's; of song 3's one is song 0's and one song 1's.
    assert shards.families(song, loops).tolist() == [0, 0, 0, 0, 4]
    assert shards.families(song[:8], np.array([1, 2, 3, 2, 8, 9, 6, 7], np.uint64)).tolist() == [0, 1, 2]
    # Song 2 is of song 1's family, and song 1 of song 0's.
    chain = np.array([1, 2, 1, 2, 3, 4, 5, 3, 4, 5], np.uint64)
    song = np.array([0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
    assert shards.families(song, chain).tolist() == [0, 0, 2]
    assert shards.families(song[:0], loops[:0]).tolist() == []


@pytest.mark.parametrize(
    ("count", "splits"), [(1, {"train"}), (2, {"train", "valid"}), (3, {"train", "valid", "test"})]
)
def test_few_songs_still_leave_something_to_validate_on(count: int, splits: set[str], tmp_path: Path) -> None:
    prepare.prepare(find([songs.folder(tmp_path / "set", count)]), tmp_path / "data")
    assert {row["split"] for row in rows_of(tmp_path / "data")} == splits


def test_the_same_sources_give_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD", 70)
    folder = songs.folder(tmp_path / "set", 40)
    archive = songs.zipped(folder, tmp_path / "zipped" / "set.zip")

    def backwards(work: Any, jobs: Any) -> Any:
        return [(job, work(job)) for job in reversed(jobs)]

    ways: list[Any] = [(folder, pool.run), (folder, backwards), (archive, pool.run), (f"file://{folder}", pool.run)]
    for i, (source, engine) in enumerate(ways):
        prepare.prepare(find([source]), tmp_path / str(i), engine=engine)
    assert sorted(contents(tmp_path / "0")) == [*(f"loops-{i:05d}.parquet" for i in range(3)), "manifest.json"]
    for i in range(1, len(ways)):
        assert contents(tmp_path / str(i)) == contents(tmp_path / "0")
    rows = rows_of(tmp_path / "0")
    assert len(rows) == 160
    keys = [(row["set"], row["song"], row["track"], row["start"]) for row in rows]
    assert keys == sorted(keys)


def test_a_dataset_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD", 5)
    prepare.prepare(find([songs.folder(tmp_path / "a", 6)]), tmp_path / "data")
    (tmp_path / "data" / "loops.parquet").write_bytes(b"of format 1")
    (tmp_path / "data" / "mine.txt").write_text("kept")
    prepare.prepare(find([songs.folder(tmp_path / "b", 2)]), tmp_path / "data")
    assert sorted(contents(tmp_path / "data")) == [
        "loops-00000.parquet",
        "loops-00001.parquet",
        "manifest.json",
        "mine.txt",
    ]
    assert set(dataset.load(tmp_path / "data", "all").sets) == {"b"}


KILLED = """
import sys, time
from pathlib import Path
from train.prepare import prepare
from train.prepare.sources.find import find

def work(chunk):
    time.sleep(0.1)
    return prepare.work(chunk)

if __name__ == "__main__":
    from train.prepare import pool
    prepare.prepare(find([sys.argv[1]]), sys.argv[2], engine=lambda _, jobs: pool.run(work, jobs, 2))
"""


def test_a_killed_preparation_goes_on_where_it_was(tmp_path: Path) -> None:
    folder, out = songs.folder(tmp_path / "set", 64), tmp_path / "data"
    (tmp_path / "killed.py").write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, tmp_path / "killed.py", folder, out], env=environment)
    until = time.monotonic() + 60
    while time.monotonic() < until and len(list((out / "parts").glob("*.parquet"))) < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(2.0)  # The workers see within half a second that they are alone.
    done = {p.name: p.stat().st_mtime_ns for p in (out / "parts").glob("*.parquet")}
    assert 5 <= len(done) < 32
    assert not (out / dataset.MANIFEST).exists()

    made = []

    def engine(work: Any, jobs: Any) -> Any:
        for job in jobs:
            made.append(job.part in done)
            assert (out / "parts" / job.part).exists() == made[-1]
            yield job, work(job)
            if made[-1]:
                assert (out / "parts" / job.part).stat().st_mtime_ns == done[job.part]

    report = prepare.prepare(find([folder]), out, engine=engine)
    assert sum(made) == len(done)
    assert report.files["set"] == report.songs["set"] == 64
    prepare.prepare(find([folder]), tmp_path / "unbroken")
    assert contents(out) == contents(tmp_path / "unbroken")


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    folder = songs.folder(tmp_path / "set", 3)
    names = [[c.part for c in prepare.chunks(find([folder]), "x", Cutting())]]
    songs.save(folder / "01.mid", songs.song(50, bars=12))
    names.append([c.part for c in prepare.chunks(find([folder]), "x", Cutting())])
    assert [a == b for a, b in zip(*names, strict=True)] == [True, False, True]
    assert names[1] != [c.part for c in prepare.chunks(find([folder]), "x", Cutting(bars=4))]


def test_a_worker_that_dies_is_a_sentence() -> None:
    with pytest.raises(UserError, match="a worker died"):
        list(pool.run(os._exit, [3, 3, 3], 2))


def test_a_live_set_becomes_loops_from_its_first_note(tmp_path: Path) -> None:
    notes = tuple((0.5 + i / 2, 60 + i % 7, 0.25, 80.0) for i in range(40))
    clips = (live.Clip(notes, end=20.5, name="riff"), live.Clip(notes[:6], end=4.0))
    songs_ = {"Piano": clips, "Bass": (live.Clip(notes[:10], end=8.0, metre=(3, 4)),)}
    live.save(tmp_path / "set" / "mine.als", live.xml("11", songs_, tempo=98.5, audio=("Voice",)))
    report = prepare.prepare(find([tmp_path / "set"]), tmp_path / "data", Cutting(keep_last=True))
    rows = rows_of(tmp_path / "data")
    assert [(r["track"], r["start"], r["filled"], r["bar"]) for r in rows] == [
        ("Bass", 240, 2880, 1440),
        ("Piano", 240, 1680, 1920),
        ("Piano / riff", 240, 3840, 1920),
        ("Piano / riff", 4080, 3840, 1920),
        ("Piano / riff", 7920, 1920, 1920),
    ]
    assert {(r["set"], r["song"], r["tempo"]) for r in rows} == {("set", "mine.als", 98.5)}
    assert rows[2]["onset"][:3] == [0, 240, 480]
    assert report.facts["set"]["audio track 'Voice' skipped"] == 1
    prepare.prepare(find([tmp_path / "set"]), tmp_path / "data")
    assert len(rows_of(tmp_path / "data")) == 3


def test_metres_and_drums_are_kept_or_left_out(tmp_path: Path) -> None:
    songs.save(tmp_path / "set" / "waltz.mid", songs.song(1), metre=songs.Metre(3, 4))
    songs.save(tmp_path / "set" / "drums.mid", songs.song(2), channel=9)
    songs.save(tmp_path / "set" / "song.mid", songs.song(3))

    def kept(cutting: Cutting) -> tuple[set[str], Report]:
        report = prepare.prepare(find([tmp_path / "set"]), tmp_path / "data", cutting)
        return {row["song"] for row in rows_of(tmp_path / "data")}, report

    assert kept(Cutting())[0] == {"waltz.mid", "song.mid"}
    assert kept(Cutting(drums=True))[0] == {"waltz.mid", "song.mid", "drums.mid"}
    found, report = kept(Cutting(metres="4/4"))
    assert found == {"song.mid"}
    assert report.facts["set"] == {"metre of 3 beats per bar left out": 1}
    assert sorted((song, why) for _, song, why in report.skipped) == [
        ("drums.mid", "only drums (--drums keeps them)"),
        ("waltz.mid", "nothing to cut"),
    ]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["prepare", *arguments], env={"COLUMNS": "200"}, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_a_name_is_no_markup(tmp_path: Path) -> None:
    songs.folder(tmp_path / "set", 3)
    (tmp_path / "set" / "[bold").mkdir()
    (tmp_path / "set" / "[bold" / "x].mid").write_bytes(b"")
    live.save(tmp_path / "set" / "a.als", live.xml("11", {}, audio=("[/red]", "[link=x]y")))
    output = run(str(tmp_path / "set"), "--out", str(tmp_path / "data"), "--workers", "1")
    for name in ("[bold/x].mid", "'[/red]'", "'[link=x]y'"):
        assert name in output


def test_the_command_tells_what_was_read_and_what_was_not_and_why(tmp_path: Path) -> None:
    folder = songs.folder(tmp_path / "set", 3)
    (folder / "bad.mid").write_bytes(b"MThd and then nothing")
    (folder / "cover.jpg").write_bytes(b"x")
    live.save(folder / "empty.als", live.xml("12", {}, audio=("Voice",)))
    output = " ".join(run(str(folder), "--out", str(tmp_path / "data"), "--workers", "1").split())
    for told in ("2 files skipped", "bad.mid", "empty.als", "audio track 'Voice' skipped", "(.jpg) not read"):
        assert told in output
    assert len(dataset.load(tmp_path / "data", "all")) == 12


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["{0}/none"], "{0}/none does not exist; give a music file, a folder or a .zip of them"),
        (["{0}", "--metres", "5/4"], "--metres 5/4 is invalid; use all or 4/4"),
        (["{0}", "--out", "{0}/a.txt"], "{0}/a.txt/parts cannot be written"),
        (
            ["{0}"],
            "no loops of 2 bars were found in 1 files; short.mid: too short, or too few notes; give files",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    arguments: list[str], why: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs.save(tmp_path / "short.mid", (Note(0, 60, 100), Note(480, 60, 100)))
    (tmp_path / "a.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["rtgen-train", "prepare", *(a.format(tmp_path) for a in arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert why.format(tmp_path) in told
    assert told.count("\n") == 1
