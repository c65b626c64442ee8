from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtgen.errors import UserError
from rtgen.music.note import Loop
from tests.train import songs
from train.loops import dataset
from train.loops.sample import Sample
from train.prepare.cut import Cutting
from train.prepare.prepare import prepare
from train.prepare.sources.find import find


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    prepare(find([songs.folder(folder / "set", 30)]), folder / "data")
    return folder / "data"


def test_loops_tell_where_they_come_from(data: Path) -> None:
    loops = dataset.load(data, "all")
    assert len(loops) == 30 * 4
    assert set(loops.sets) == {"set"}
    assert set(loops.songs) == {f"{i:02d}.mid" for i in range(30)}
    assert loops.starts[:5].tolist() == [0, 3840, 7680, 11520, 0]
    assert set(loops.tracks) == {"Keys"}
    for values, value in ((loops.bars, 1920), (loops.filled, 3840), (loops.tempos, 120.0)):
        assert len(values) == 120
        assert set(values.tolist()) == {value}


def test_splits_are_apart_and_make_up_the_whole(data: Path) -> None:
    splits = {split: dataset.load(data, split) for split in dataset.SPLITS}
    assert sum(map(len, splits.values())) == 120
    songs_of = [set(loops.songs) for loops in splits.values()]
    assert sum(map(len, songs_of)) == 30
    assert len(splits["train"]) > 60


def test_take_counts_loops_anew(data: Path) -> None:
    loops = dataset.load(data, "train")
    whole = dataset.to_loops(loops.take(np.arange(len(loops))), len(loops))
    assert dataset.to_loops(loops.take(np.array([3, 0, 3])), 3) == [whole[3], whole[0], whole[3]]
    assert dataset.from_loops(whole[:2]).tolist() == loops.take(np.array([0, 1])).tolist()


def test_only_what_fits_is_loaded(tmp_path: Path) -> None:
    notes = songs.song(1)
    songs.save(tmp_path / "a" / "1.mid", notes)
    songs.save(tmp_path / "b" / "2.mid", songs.song(2), metre=songs.Metre(3, 4))
    songs.save(tmp_path / "b" / "3.mid", notes)
    prepare(find([tmp_path / "a", tmp_path / "b"]), tmp_path / "data", Cutting(keep_last=True))
    assert set(dataset.load(tmp_path / "data", "all").songs) == {"1.mid"}
    assert len(dataset.load(tmp_path / "data", "all", duplicates=True)) == 8
    assert set(dataset.load(tmp_path / "data", "all", ["b"], duplicates=True).songs) == {"3.mid"}
    waltz = dataset.load(tmp_path / "data", "all", length=2880, bar=1440)
    assert set(waltz.songs) == {"2.mid"}
    # Ten bars of three beats and two thirds of another: eleven.
    assert waltz.filled.tolist() == [2880] * 5 + [1440]
    assert waltz.length == 2880
    assert {loop.bar for loop in Sample.of(waltz, np.arange(6)).loops()} == {1440}
    with pytest.raises(UserError, match="no loops of c for 'all' with 2 bars of 4 beats"):
        dataset.load(tmp_path / "data", "all", ["c"])
    with pytest.raises(UserError, match="4 bars"):
        dataset.load(tmp_path / "data", "all", length=7680)


def test_some_of_the_loops_are_as_they_were_among_all(data: Path) -> None:
    loops = dataset.load(data, "all")
    some = loops.pick(np.array([0, 7, 7, 119]))
    assert len(some) == 4
    assert np.array_equal(some.notes, loops.take(np.array([0, 7, 7, 119])))
    assert np.array_equal(some.take(np.array([3])), loops.take(np.array([119])))
    assert some.songs.tolist() == loops.songs[[0, 7, 7, 119]].tolist()
    assert some.starts.tolist() == loops.starts[[0, 7, 7, 119]].tolist()


def test_loops_that_follow_on_each_other_are_joined(data: Path) -> None:
    loops = dataset.load(data, "all")
    long = dataset.joined(loops, 2)
    assert (len(long), long.length) == (60, 7680)
    assert set(long.filled.tolist()) == {7680}
    assert long.starts[:3].tolist() == [0, 7680, 0]
    a, b = loops.as_loops(np.array([2, 3]))
    (both,) = long.as_loops(np.array([1]))
    later = (replace(n, onset=n.onset + 3840) for n in b.notes)
    assert both == Loop(7680, (*a.notes, *later))
    # Of songs with four loops each the second is lost: only the last two of each follow on each other.
    some = loops.pick(np.flatnonzero(loops.starts != 3840))
    assert dataset.joined(some, 2).starts.tolist() == [7680] * 30
    assert len(dataset.joined(some, 4)) == 0
    with pytest.raises(UserError, match="no loops for 'all' of 16 bars of 4 beats"):
        dataset.load_bars(data, "all", None, 1920, 16)


def test_a_first_bar_is_what_begins_in_it(data: Path) -> None:
    loops = dataset.load(data, "all")
    bars = dataset.load_bars(data, "all", None, 1920, 1)
    assert bars.length == bars.filled.max() == 1920
    for whole, one in zip(loops.as_loops(np.arange(120)), bars.as_loops(np.arange(120)), strict=True):
        inside = (n for n in whole.notes if n.onset < 1900)
        assert one == Loop(1920, tuple(replace(n, duration=min(n.duration, 1920 - n.onset)) for n in inside))
    assert len(dataset.first_bars(loops, fewest=10)) < 120


def test_what_is_no_dataset_is_a_sentence(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rtgen-train prepare"):
        dataset.load(tmp_path, "train")
    (tmp_path / "loops.parquet").write_bytes(b"of format 1")
    with pytest.raises(UserError, match="of an earlier rtgen; make it with 'rtgen-train prepare"):
        dataset.load(tmp_path, "train")
    told = json.loads((data / dataset.MANIFEST).read_text())
    (tmp_path / dataset.MANIFEST).write_text(json.dumps({**told, "format": 3}))
    with pytest.raises(UserError, match="format 3, but this rtgen reads 2"):
        dataset.load(tmp_path, "train")
    (tmp_path / dataset.MANIFEST).write_text("[]")
    with pytest.raises(UserError, match="cannot be read"):
        dataset.load(tmp_path, "train")
    (tmp_path / dataset.MANIFEST).write_text(json.dumps(told))
    with pytest.raises(UserError, match="cannot be read"):
        dataset.load(tmp_path, "train")


def test_what_may_be_given_away_is_known() -> None:
    assert dataset.about("pop909").ship
    assert not dataset.about("lofi-samples").ship
    assert not dataset.about("my-loops").ship
    (card,) = dataset.card_data(["groove"])
    assert (card.licence, card.credit[:6]) == ("CC-BY-4.0", "Groove")
