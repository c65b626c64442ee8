from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.music.note import Loop, Note
from rtgen.music.roll import encode
from tests.train import songs
from train import augment, batch, dataset
from train.augment import DURATION, GRID, LOOP, ONSET, PITCH, VELOCITY, Rates
from train.dataset import LENGTH, Notes

COUNT = 400
NONE = Rates(0, 0, 0, 0, 0, 0)


def many(count: int = COUNT) -> Notes:
    loops = [Loop(LENGTH, songs.song(seed, 2)) for seed in range(count)]
    return dataset.from_loops(loops)


MEANT = many()

notes = st.builds(
    Note, st.integers(-20, LENGTH - 1), st.integers(20, 123), st.integers(1, LENGTH), st.integers(1, 127)
).map(lambda n: replace(n, duration=min(n.duration, LENGTH - n.onset)))
loops = st.lists(notes, max_size=40).map(lambda inside: Loop(LENGTH, tuple(inside)))


def corrupted(rates: Rates, damage: float = 0.5) -> Notes:
    return augment.corrupt(MEANT, np.full(COUNT, damage), LENGTH, np.random.default_rng(1), rates)


def keys(found: Notes, *columns: int) -> set[tuple[int, ...]]:
    return {tuple(row) for row in found[:, columns].tolist()}


def test_no_damage_changes_nothing() -> None:
    assert np.array_equal(corrupted(augment.EVALUATION, 0.0), MEANT)


@pytest.mark.parametrize("kind", ["missed", "moved", "slipped", "length", "extra"])
def test_each_kind_comes_as_often_as_asked(kind: str) -> None:
    found = corrupted(replace(NONE, **{kind: 0.2}))
    same = len(keys(MEANT, *range(5)) & keys(found, *range(5))) / len(MEANT)
    assert same == pytest.approx(1.0 if kind == "extra" else 0.8, abs=0.02)
    assert len(found) / len(MEANT) == pytest.approx({"missed": 0.8, "extra": 1.2}.get(kind, 1.0), abs=0.02)


def test_damage_scales_the_rates() -> None:
    quarter, full = corrupted(replace(NONE, missed=0.2), 0.25), corrupted(replace(NONE, missed=0.2), 1.0)
    assert len(quarter) / len(MEANT) == pytest.approx(0.9, abs=0.02)
    assert len(full) / len(MEANT) == pytest.approx(0.6, abs=0.02)


def test_moved_notes_keep_their_pitch_and_go_at_most_three_steps() -> None:
    found = corrupted(replace(NONE, moved=1.0))
    steps = np.abs(found[:, ONSET] - MEANT[:, ONSET]) // GRID.step
    assert np.array_equal(found[:, PITCH], MEANT[:, PITCH])
    assert set(steps.tolist()) == {1, 2, 3}
    assert found[:, ONSET].min() >= -20


def test_slipped_notes_land_beside_their_pitch() -> None:
    found = corrupted(replace(NONE, slipped=1.0))
    assert set(np.abs(found[:, PITCH] - MEANT[:, PITCH]).tolist()) == {1, 2}
    assert np.array_equal(found[:, ONSET], MEANT[:, ONSET])


def test_split_notes_sound_as_long_in_two() -> None:
    found = corrupted(replace(NONE, split=1.0))
    assert len(found) == 2 * len(MEANT)  # every note of these songs is two steps or longer
    assert found[:, DURATION].sum() == MEANT[:, DURATION].sum()
    assert keys(MEANT, LOOP, ONSET, PITCH) <= keys(found, LOOP, ONSET, PITCH)


def test_evaluation_damage_leaves_about_as_much_as_was_measured() -> None:
    found = corrupted(augment.EVALUATION)
    cells = [batch.rasterise(n, COUNT, LENGTH)[:, 0] for n in (found, MEANT)]
    f1 = 2 * (cells[0] * cells[1]).sum() / (cells[0].sum() + cells[1].sum())
    assert f1 == pytest.approx(0.69, abs=0.02)


@settings(max_examples=60, deadline=None)
@given(st.lists(loops, min_size=1, max_size=4), st.integers(0, 2**32))
def test_whatever_is_drawn_is_music(drawn: list[Loop], seed: int) -> None:
    grid = [x.with_notes(n for n in x.notes if 24 <= n.pitch <= 119) for x in drawn]
    count, rng = len(grid), np.random.default_rng(seed)
    found = dataset.from_loops(grid)
    changes: list[Callable[[Notes], Notes]] = [
        lambda n: augment.transpose(n, count, rng),
        lambda n: augment.rotate(n, count, LENGTH, rng),
        lambda n: augment.scale_velocity(n, count, rng),
        lambda n: augment.corrupt(n, np.ones(count), LENGTH, rng),
        lambda n: augment.humanise(n, count, np.ones(count), LENGTH, rng),
    ]
    for change in changes:
        found = change(found)
        assert np.all((found[:, ONSET] >= -20) & (found[:, ONSET] < LENGTH))
        assert np.all((found[:, PITCH] >= 24) & (found[:, PITCH] <= 119))
        assert np.all(found[:, DURATION] >= 1)
        assert np.all(found[:, ONSET] + found[:, DURATION] <= LENGTH)
        assert np.all((found[:, VELOCITY] >= 1) & (found[:, VELOCITY] <= 127))


@settings(max_examples=100, deadline=None)
@given(st.lists(loops, min_size=1, max_size=3))
def test_many_loops_become_the_rolls_that_the_daemon_makes(drawn: list[Loop]) -> None:
    rolls = batch.rasterise(dataset.from_loops(drawn), len(drawn), LENGTH)
    for roll, loop in zip(rolls, drawn, strict=True):
        assert np.array_equal(roll, encode(loop, GRID).stack())


def test_turning_a_loop_once_round_keeps_its_notes() -> None:
    turned = augment.rotate(MEANT, COUNT, LENGTH, np.random.default_rng(0))
    assert np.array_equal(np.sort(turned[:, PITCH]), np.sort(MEANT[:, PITCH]))
    beats = (turned[:, ONSET] - MEANT[:, ONSET]) % LENGTH / 480
    assert set(beats.tolist()) == set(range(8))


def test_a_batch_is_a_function_of_its_seed_and_hides_what_it_masks() -> None:
    a, b = (batch.draw(MEANT, COUNT, LENGTH, np.random.default_rng(5)) for _ in range(2))
    assert all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    hidden = a.mask[:, None] * a.roll
    assert not hidden.any()
    assert a.mask.any()
    untouched = (a.mask.sum((1, 2)) == 0) & (a.damage[:, 0] == 0)
    assert untouched.sum() > 10
    assert np.array_equal(a.roll[untouched], a.target[untouched])


def test_the_first_bar_is_cut_from_every_plane() -> None:
    task = batch.first_bar(batch.draw(MEANT, COUNT, LENGTH, np.random.default_rng(6)))
    assert {x.shape[-1] for x in (task.roll, task.mask, task.phase, task.target)} == {48}
