from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rtgen.music.chord import KINDS
from tests.data.make_tiny import CHORDS, build_harmoniser
from tests.inference.models import loaded
from tests.train import melodies
from train.loops import songs
from train.loops.songs import BAR, NONE, Song
from train.measures import chords
from train.measures.markov import Markov

LOWEST = loaded(build_harmoniser(replace(CHORDS, chords=KINDS)))
"""Says the major triad on the lowest note that it heard last."""


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> tuple[Song, ...]:
    folder = tmp_path_factory.mktemp("music") / "set"
    for seed in range(12):
        melodies.save(folder / f"{seed + 1:03d}", seed, bars=40)
    return songs.load([folder], "all")


def test_a_song_is_all_in_its_own_chords_and_seldom_in_others(every: tuple[Song, ...]) -> None:
    own = chords.scored(every[0], every[0].chord)
    assert (own["share"], own["share_notes"], own["root"], own["four"]) == (1, 1, 1, 0)
    assert 0.5 < own["changes"] <= 1
    none = chords.scored(every[0], np.full(len(every[0]), NONE))
    assert (none["share"], none["share_notes"], none["root"]) == (0, 0, 0)
    rng = np.random.default_rng(0)
    drawn = [chords.scored(song, chords.at_random(song, rng)) for song in every]
    assert 0.3 < np.mean([found["share"] for found in drawn]) < 0.8


def test_a_chord_that_comes_half_a_beat_late_counts_where_it_is_right(every: tuple[Song, ...]) -> None:
    late = np.concatenate([[NONE], every[0].chord[:-1]])
    found = chords.scored(every[0], late)
    assert 0.7 < found["share_notes"] < 1
    assert found["share"] > found["share_notes"] - 0.1


@pytest.mark.parametrize("who", ["chain", "model"])
def test_no_one_hears_ahead(every: tuple[Song, ...], who: str) -> None:
    follow = Markov(every).followed if who == "chain" else chords.by_model(LOWEST)
    heard, position = chords.padded(every)
    at = 20 * BAR
    other = heard.copy()
    other[:, at:] = np.roll(heard[:, at:], 3, axis=2)
    one, two = follow(heard, position), follow(other, position)
    assert np.array_equal(one[:, : at + 1], two[:, : at + 1])
    assert not np.array_equal(one[:, at + 1 :], two[:, at + 1 :])


def test_a_chain_finds_more_if_it_hears_the_end(every: tuple[Song, ...]) -> None:
    chain = Markov(every, firm=2.0)
    heard, position = chords.padded(every)
    ahead = chain.followed(heard, position)
    after = [chain.decoded(song.heard, song.position) for song in every]
    right = [
        np.mean([chords.scored(song, chord[: len(song)])["root"] for song, chord in zip(every, said, strict=True)])
        for said in (ahead, after)
    ]
    assert right[0] < right[1]
    assert right[1] > 0.5


def test_a_chain_is_the_same_in_every_key(every: tuple[Song, ...]) -> None:
    chain, song = Markov(every), every[0]
    plain = chain.decoded(song.heard, song.position)
    moved = chain.decoded(np.roll(song.heard, 5, axis=1), song.position)
    named = plain != NONE
    assert np.array_equal(named, moved != NONE)
    first = int(song.heard.any(axis=(1, 2)).argmax())  # before it, all keys are alike
    assert np.array_equal(((plain + 5 * len(KINDS)) % NONE)[first:][named[first:]], moved[first:][named[first:]])


def test_recovery_is_counted_in_bars(every: tuple[Song, ...]) -> None:
    moved, unmoved = chords.recovery(chords.by_model(LOWEST), every)
    assert len(moved) == len(unmoved) == 16
    assert chords.bars_until(moved, unmoved) <= 1  # it needs no key
    assert chords.bars_until([0.2, 0.4, 0.49, 0.5, 0.5], [0.5] * 5) == 2
    assert chords.bars_until([0.2, 0.5, 0.2, 0.5, 0.5], [0.5] * 5) == 3
    assert chords.bars_until([0.1] * 4, [0.5] * 4) == 4


def test_struck_triads_are_followed_by_what_hears_the_bass() -> None:
    one, two = chords.struck(LOWEST, 40)
    assert one == two
    assert 0.2 < one < 0.5  # the root is the lowest of three


def test_a_half_beat_is_timed(every: tuple[Song, ...]) -> None:
    for median, late in chords.step_ms(LOWEST, every[0], 40):
        assert 0 < median <= late
