from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.music.note import Loop, Note
from rtgen.music.roll import bar_phase, encode
from rtgen.music.time import Metre
from tests.train import songs
from train.loops import augment, batch, corrupt, dataset
from train.loops.augment import Augmentation
from train.loops.corrupt import Rates
from train.loops.dataset import BAR, LENGTH, Notes
from train.loops.sample import DURATION, GRID, LOOP, ONSET, PITCH, VELOCITY, Sample

COUNT = 400
NONE = Rates(0, 0, 0, 0, 0, 0)


def sample(loops: list[Loop], filled: int | None = None, tempo: float = 120.0, bar: int = BAR) -> Sample:
    count, length = len(loops), loops[0].length
    return Sample(
        dataset.from_loops(loops),
        count,
        length,
        bar,
        np.full(count, length if filled is None else filled, np.int32),
        np.full(count, tempo, np.float32),
        np.arange(count),
    )


SONGS = sample([Loop(LENGTH, songs.song(seed, 2)) for seed in range(COUNT)])
MEANT = SONGS.notes


def drawn_loops(low: int, high: int) -> st.SearchStrategy[list[Loop]]:
    notes = st.builds(
        Note, st.integers(-20, LENGTH - 1), st.integers(low, high), st.integers(1, LENGTH), st.integers(1, 127)
    ).map(lambda n: replace(n, duration=min(n.duration, LENGTH - n.onset)))
    loops = st.lists(notes, max_size=40).map(lambda inside: Loop(LENGTH, tuple(inside)))
    return st.lists(loops, min_size=1, max_size=4)


some = drawn_loops(GRID.pitch_low, GRID.pitch_high)
augmentations = st.builds(
    Augmentation,
    *(st.booleans(), st.booleans(), st.floats(0, 6)),
    *(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.floats(0, 1)),
)


def corrupted(rates: Rates, damage: float = 0.5) -> Notes:
    return corrupt.corrupt(MEANT, np.full(COUNT, damage), LENGTH, np.random.default_rng(1), rates)


def keys(found: Notes, *columns: int) -> set[tuple[int, ...]]:
    return {tuple(row) for row in found[:, columns].tolist()}


def same(a: Sample, b: Sample) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def rolls(found: Sample) -> batch.Floats:
    return batch.rasterise(found.notes, found.count, found.length)


def is_music(found: Notes) -> bool:
    onset, pitch, duration, velocity = found[:, 1:].T
    return bool(
        np.all((onset >= -20) & (onset < LENGTH) & (duration >= 1) & (onset + duration <= LENGTH))
        and np.all((pitch >= 24) & (pitch <= 119) & (velocity >= 1) & (velocity <= 127))
        and np.all(np.diff(found[:, LOOP]) >= 0)
    )


# ---- what is meant --------------------------------------------------------------------------------------------------


@settings(max_examples=80)
@given(some, augmentations, st.integers(0, LENGTH), st.floats(20, 400), st.integers(0, 2**32))
def test_whatever_is_varied_is_music_and_a_function_of_its_seed(
    drawn: list[Loop], varied: Augmentation, filled: int, tempo: float, seed: int
) -> None:
    ended = [
        x.with_notes(replace(n, duration=min(n.duration, filled - n.onset)) for n in x.notes if n.onset < filled)
        for x in drawn
    ]
    before = sample(ended, filled, tempo)
    kept = before.notes.copy()
    after = varied.apply(before, np.random.default_rng(seed))
    assert same(after, varied.apply(before, np.random.default_rng(seed)))
    assert np.array_equal(before.notes, kept)
    assert is_music(after.notes)
    assert np.all((after.filled >= 0) & (after.filled <= LENGTH))
    # Nothing but seconds and repetition changes how many notes there are, but for those wrapped in two.
    if varied.ignore_tempo and not varied.shift and (varied.double_below == 0 or filled < LENGTH) and not varied.repeat:
        assert np.array_equal(np.bincount(after.notes[:, LOOP]), np.bincount(before.notes[:, LOOP]))


@settings(max_examples=20)
@given(some, st.integers(0, 2**32))
def test_switched_off_nothing_changes(drawn: list[Loop], seed: int) -> None:
    before = sample(drawn, tempo=77)
    assert same(Augmentation().apply(before, np.random.default_rng(seed)), before)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("transpose", 1, "transpose is 1, not true or false"),
        ("shift", "yes", "shift is 'yes', not true or false"),
        ("double_below", True, "double_below is True, not a number from 0 to 100"),
        ("double_below", -1, "double_below is -1, not a number from 0 to 100"),
        ("dynamics", 1.5, "dynamics is 1.5, not a number from 0 to 1"),
        ("dynamics", float("nan"), "dynamics is nan, not a number from 0 to 1"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}$"):
        Augmentation(**{name: value})


def test_transposed_loops_move_as_a_whole() -> None:
    after = augment.transpose(SONGS, np.random.default_rng(0)).notes
    by_loop = {(loop, by) for loop, by in zip(MEANT[:, LOOP], after[:, PITCH] - MEANT[:, PITCH], strict=True)}
    assert len(by_loop) == COUNT
    assert {int(by) for _, by in by_loop} == set(range(-5, 7))
    edges = sample([Loop(LENGTH, (Note(0, 24, 10), Note(0, 119, 10)))] * 50)
    assert same(augment.transpose(edges, np.random.default_rng(0)), edges)


def test_a_turned_loop_is_its_picture_rolled_and_holds_wrap_too() -> None:
    long = Loop(LENGTH, (Note(-10, 40, 900), Note(2400, 60, 1440), Note(1900, 61, 30), Note(3800, 62, 40)))
    both = [long.monophonic_by_pitch(), *(Loop(LENGTH, songs.song(s, 2)) for s in range(3))]
    before = sample(both * 4)
    quarters = np.repeat(np.arange(4), len(both))
    after = augment.rotate(before, quarters)
    hold, meant = rolls(after)[:, 1], rolls(before)[:, 1]
    for picture, goal, by in zip(hold, meant, quarters, strict=True):
        assert np.array_equal(picture, np.roll(goal, 24 * by, axis=1))
    assert len(after.notes) > len(before.notes)
    back = augment.rotate(after, (4 - quarters) % 4)
    assert np.array_equal(rolls(back)[:, 1], meant)


@settings(max_examples=50)
@given(some, st.integers(0, 3))
def test_no_note_is_lost_in_turning(drawn: list[Loop], by: int) -> None:
    before = sample(drawn)
    after = augment.rotate(before, np.full(len(drawn), by))
    turned = {(i, (on + 960 * by + 20) % LENGTH - 20, p) for i, on, p in keys(before.notes, LOOP, ONSET, PITCH)}
    assert turned <= keys(after.notes, LOOP, ONSET, PITCH)
    struck_again = len(after.notes) - len(before.notes)
    assert struck_again == sum(
        (n.onset + 960 * by + 20) % LENGTH - 20 + n.duration > LENGTH + 20 for x in drawn for n in x.notes
    )


def test_all_four_quarters_are_drawn_and_loops_with_padding_stay() -> None:
    after = Augmentation(shift=True).apply(SONGS, np.random.default_rng(0))
    found = set()
    for picture, goal in zip(rolls(after)[:, 1], rolls(SONGS)[:, 1], strict=True):
        found |= {by for by in range(4) if np.array_equal(picture, np.roll(goal, 24 * by, axis=1))}
    assert found == {0, 1, 2, 3}
    partly = replace(SONGS, filled=np.full(COUNT, LENGTH - 1, np.int32))
    assert same(Augmentation(shift=True).apply(partly, np.random.default_rng(0)), partly)


@pytest.mark.parametrize(
    ("beats", "unit", "bar", "turns"),
    [(3, 4, 36, {0, 36}), (7, 8, 42, {0, 42}), (2, 4, 24, {0, 12, 24, 36}), (6, 4, 72, {0, 36, 72, 108})],
)
def test_downbeats_stay_strong_in_any_metre(beats: int, unit: int, bar: int, turns: set[int]) -> None:
    length = 2 * Metre(beats, unit).bar
    notes = tuple(Note(onset, 60, 40) for onset in range(0, length, 440))
    before = sample([Loop(length, notes)] * 40, bar=Metre(beats, unit).bar)
    after = Augmentation(shift=True).apply(before, np.random.default_rng(0))
    goal = rolls(before)[0, 0]
    found = {
        by for picture in rolls(after)[:, 0] for by in range(2 * bar) if np.array_equal(picture, np.roll(goal, by, 1))
    }
    assert found == turns


def test_in_seconds_slow_loops_are_drawn_out_and_fast_ones_end_early() -> None:
    loop = Loop(LENGTH, (Note(0, 60, 480), Note(960, 62, 960), Note(1920, 64, 480)))
    slow, fast, plain = (augment.in_seconds(sample([loop], tempo=bpm)) for bpm in (60, 240, 120))
    assert keys(slow.notes, ONSET, DURATION) == {(0, 960), (1920, 1920)}
    assert keys(fast.notes, ONSET, DURATION) == {(0, 240), (480, 480), (960, 240)}
    assert (slow.filled[0], fast.filled[0], plain.filled[0]) == (LENGTH, LENGTH // 2, LENGTH)
    assert same(plain, sample([loop]))
    assert same(augment.in_seconds(fast), fast)


@pytest.mark.parametrize(
    ("filled", "period"), [(900, 1920), (1920, 1920), (2000, 2400), (2880, 2880), (3361, LENGTH), (LENGTH, LENGTH)]
)
def test_padding_becomes_the_loops_own_repetition(filled: int, period: int) -> None:
    inside = Loop(LENGTH, tuple(n for n in songs.song(3, 2) if n.end <= filled))
    before = sample([inside, Loop(LENGTH)], filled)
    after = augment.repeat(before)
    full = LENGTH if period < LENGTH else filled
    assert after.filled.tolist() == [full, full]
    hold = rolls(before)[0, 1, :, : period // GRID.step]
    assert np.array_equal(rolls(after)[0, 1], np.tile(hold, 3)[:, : LENGTH // GRID.step])
    assert keys(before.notes, *range(5)) <= keys(after.notes, *range(5))
    assert same(augment.repeat(after), after)


def test_sparse_loops_are_played_twice_at_double_speed() -> None:
    density = np.bincount(MEANT[:, LOOP]) / 8
    below = float(np.median(density))
    after = augment.double(SONGS, below)
    assert np.array_equal(np.bincount(after.notes[:, LOOP]), np.where(density < below, 2, 1) * density * 8)
    loop = int(np.argmin(density))
    own = after.notes[after.notes[:, LOOP] == loop]
    first, second = (own[own[:, ONSET] // (LENGTH // 2) == i] for i in (0, 1))
    assert keys(first, ONSET, PITCH, DURATION) == {
        (n.onset // 2, n.pitch, n.duration // 2) for n in songs.song(loop, 2)
    }
    assert np.array_equal(second[:, ONSET], first[:, ONSET] + LENGTH // 2)
    assert np.array_equal(second[:, 2:], first[:, 2:])
    partly = replace(SONGS, filled=np.full(COUNT, LENGTH - 1, np.int32))
    assert same(augment.double(partly, 100), partly)


@settings(max_examples=50)
@given(some)
def test_quantised_notes_stand_on_steps_and_do_so_once(drawn: list[Loop]) -> None:
    before = sample(drawn)
    after = augment.quantise(before)
    assert not (after.notes[:, [ONSET, DURATION]] % GRID.step).any()
    off = after.notes[:, ONSET] - before.notes[:, ONSET]
    assert np.all((abs(off) <= GRID.step // 2) | (before.notes[:, ONSET] > LENGTH - GRID.step))
    assert same(augment.quantise(after), after)


def test_a_quantised_loop_looks_the_same_on_a_roll_but_for_the_micro_timing() -> None:
    loose = corrupt.humanise(MEANT, COUNT, np.full(COUNT, 0.6), LENGTH, np.random.default_rng(3))
    before = SONGS.with_notes(loose)
    a, b = rolls(before), rolls(augment.quantise(before))
    assert np.array_equal(a[:, :3], b[:, :3])
    assert a[:, 3].any()
    assert not b[:, 3].any()


def test_louder_and_softer_loops() -> None:
    after = augment.scale_velocity(SONGS, np.random.default_rng(0)).notes
    factor = after[:, VELOCITY] / MEANT[:, VELOCITY]
    assert 0.69 < factor.min() < 0.75
    assert 1.15 < factor.max() < 1.21
    chords = MEANT[:, VELOCITY] == 70
    assert len(set(zip(MEANT[chords, LOOP].tolist(), factor[chords].tolist(), strict=True))) == COUNT


def test_beats_are_accented() -> None:
    onsets = (0, 15, 120, 480, 1000, 1920, 2400, 3600)
    loop = Loop(LENGTH, tuple(Note(on, 60, 10, 100) for on in onsets))
    after = augment.accent(sample([loop, loop]), np.array([0.2, 0.0]))
    assert after.notes[:8, VELOCITY].tolist() == [120, 120, 95, 110, 95, 120, 110, 95]
    assert after.notes[8:, VELOCITY].tolist() == [100] * 8


def test_contrast_is_scaled_about_the_mean_of_each_loop() -> None:
    pair = (Note(0, 60, 10, 40), Note(480, 60, 10, 80))
    after = augment.scale_contrast(sample([Loop(LENGTH, pair)] * 3 + [Loop(LENGTH)]), np.array([0.5, 1.0, 2.0, 2.0]))
    assert after.notes[:, VELOCITY].tolist() == [50, 70, 40, 80, 20, 100]


def test_unevenness_has_the_spread_asked_for() -> None:
    spread = np.where(np.arange(COUNT) < 200, 0.0, 6.0)
    after = augment.jitter_velocity(SONGS, spread, np.random.default_rng(0)).notes
    off = (after - MEANT)[:, VELOCITY]
    assert not off[MEANT[:, LOOP] < 200].any()
    assert off[MEANT[:, LOOP] >= 200].std() == pytest.approx(6, abs=0.4)


def test_dynamics_change_velocities_alone_and_more_the_more_is_asked() -> None:
    little, much = (augment.shape_dynamics(SONGS, x, np.random.default_rng(0)).notes for x in (0.1, 1.0))
    for after in little, much:
        assert np.array_equal(after[:, :VELOCITY], MEANT[:, :VELOCITY])
    off = [abs(after - MEANT)[:, VELOCITY].mean() for after in (little, much)]
    assert 0 < 4 * off[0] < off[1]


# ---- what is heard --------------------------------------------------------------------------------------------------


def test_no_damage_changes_nothing() -> None:
    assert np.array_equal(corrupted(corrupt.EVALUATION, 0.0), MEANT)


@pytest.mark.parametrize("kind", ["missed", "moved", "slipped", "length", "extra"])
def test_each_kind_comes_as_often_as_asked(kind: str) -> None:
    found = corrupted(replace(NONE, **{kind: 0.2}))
    kept = len(keys(MEANT, *range(5)) & keys(found, *range(5))) / len(MEANT)
    assert kept == pytest.approx(1.0 if kind == "extra" else 0.8, abs=0.02)
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
    found = corrupted(corrupt.EVALUATION)
    cells = [batch.rasterise(n, COUNT, LENGTH)[:, 0] for n in (found, MEANT)]
    f1 = 2 * (cells[0] * cells[1]).sum() / (cells[0].sum() + cells[1].sum())
    assert f1 == pytest.approx(0.69, abs=0.02)


def test_humanised_onsets_are_a_little_off_and_ends_stay() -> None:
    damage = np.where(np.arange(COUNT) < 200, 0.0, 1.0)
    found = corrupt.humanise(MEANT, COUNT, damage, LENGTH, np.random.default_rng(0))
    off = (found - MEANT)[:, ONSET]
    loose = MEANT[:, LOOP] >= 200
    assert not off[~loose].any()
    # A spread of 0 to 12 ticks by loop; notes on the downbeat cannot go before it.
    assert 4 < off[loose & (MEANT[:, ONSET] > 0)].std() < 9
    assert np.array_equal(found[:, ONSET] + found[:, DURATION], MEANT[:, ONSET] + MEANT[:, DURATION])


@settings(max_examples=60)
@given(some, st.integers(0, 2**32))
def test_whatever_is_damaged_is_music(drawn: list[Loop], seed: int) -> None:
    count, rng = len(drawn), np.random.default_rng(seed)
    found = corrupt.corrupt(dataset.from_loops(drawn), np.ones(count), LENGTH, rng)
    found = corrupt.humanise(found, count, np.ones(count), LENGTH, rng)
    assert is_music(found[np.argsort(found[:, LOOP], kind="stable")])


def test_snow_has_the_factor_asked_for_and_stays_within_the_picture() -> None:
    pictures = np.full((8, 1, 96, 96), 0.5, np.float32)
    snowy = corrupt.noisy(pictures, 0.1, np.random.default_rng(0))
    assert snowy.dtype == np.float32
    assert (snowy - pictures).std() == pytest.approx(0.1, abs=0.002)
    thick = corrupt.noisy(pictures, 2.0, np.random.default_rng(0))
    assert (thick.min(), thick.max()) == (0, 1)
    assert np.array_equal(corrupt.noisy(pictures, 0, np.random.default_rng(0)), pictures)
    assert np.array_equal(snowy, corrupt.noisy(pictures, 0.1, np.random.default_rng(0)))


# ---- arrays ---------------------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(drawn_loops(20, 123))
def test_many_loops_become_the_rolls_that_the_daemon_makes(drawn: list[Loop]) -> None:
    for roll, loop in zip(rolls(sample(drawn)), drawn, strict=True):
        assert np.array_equal(roll, encode(loop, GRID).stack())


def test_a_task_is_a_function_of_its_seed_and_hides_what_it_masks() -> None:
    a, b = (batch.repair_task(SONGS, np.random.default_rng(5)) for _ in range(2))
    assert all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    hidden = a.mask[:, None] * a.roll
    assert not hidden.any()
    assert a.mask.any()
    untouched = (a.mask.sum((1, 2)) == 0) & (a.damage[:, 0] == 0)
    assert untouched.sum() > 10
    assert np.array_equal(a.roll[untouched], a.target[untouched])


def test_each_damage_of_a_task_can_be_switched_off() -> None:
    off, loose, hurt = (
        batch.repair_task(SONGS, np.random.default_rng(7), corrupted=c, humanised=h)
        for c, h in ((False, False), (False, True), (True, False))
    )
    assert np.array_equal(off.roll, batch.hide(off.target, off.mask))
    shown = 1 - loose.mask[:, None]
    # A little off the beat, what sounds is hardly another; damaged, it is.
    assert not np.array_equal(loose.roll, loose.target * shown)
    assert (loose.roll[:, 1] != (loose.target * shown)[:, 1]).mean() < 0.005
    assert (hurt.roll[:, 1] != (hurt.target * (1 - hurt.mask[:, None]))[:, 1]).mean() > 0.005


def test_the_first_bar_is_cut_from_every_plane() -> None:
    task = batch.first_bar(batch.repair_task(SONGS, np.random.default_rng(6)))
    assert {x.shape[-1] for x in (task.roll, task.mask, task.phase, task.target)} == {48}


WALTZ = sample([Loop(2880, songs.song(seed, 2)[:9], 1440) for seed in range(30)], bar=1440)


def test_a_bar_that_is_short_is_shown_twice_as_in_play() -> None:
    drawn = [batch.repair_task(WALTZ, np.random.default_rng(seed)) for seed in range(20)]
    assert {x.target.shape[-1] for x in drawn} == {72}
    twice = [np.array_equal(x.target[..., :36], x.target[..., 36:]) for x in drawn]
    assert 0 < sum(twice) < 20
    for x, once in zip(drawn, twice, strict=True):
        assert np.allclose(x.phase[0], bar_phase(2880, 1440, GRID), atol=1e-5)
        if once:
            assert np.array_equal(x.roll[..., :36], x.roll[..., 36:])
            assert np.array_equal(x.target[..., :36], rolls(WALTZ)[..., :36])
            assert not x.wish.any()


@pytest.mark.parametrize(("metre", "steps"), [((7, 8), {168}), ((5, 4), {120}), ((2, 4), {48})])
def test_whatever_the_metre_a_task_can_be_folded_and_halved(metre: tuple[int, int], steps: set[int]) -> None:
    bar = Metre(*metre).bar
    loops = sample([Loop(2 * bar, (Note(0, 60, 100), Note(bar, 64, 100)), bar)] * 4, bar=bar)
    assert {batch.repair_task(loops, np.random.default_rng(seed)).roll.shape[-1] for seed in range(20)} == steps


def test_bars_of_three_beats_stand_in_slots_of_four() -> None:
    seen, plain = batch.in_slots(WALTZ), rolls(WALTZ)
    assert np.array_equal(seen[..., :36], plain[..., :36])
    assert np.array_equal(seen[..., 48:84], plain[..., 36:])
    assert not seen[..., 36:48].any()
    assert not seen[..., 84:].any()
    assert np.array_equal(batch.in_slots(SONGS), rolls(SONGS))
