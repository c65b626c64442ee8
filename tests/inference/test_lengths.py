"""Loops that do not fit into a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rtgen.inference.card import Card
from rtgen.inference.lengths import Columns, columns, join, laid, parts, read, refitted, repeated, shown, slots
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.instrument.job import Mode
from rtgen.music.note import Loop, Note
from rtgen.music.time import Metre
from rtgen.shipped import find
from tests.data.make_tiny import AUTOENCODER
from tests.inference.models import KNOBS, melody, of_role

ANY = Card("any", "denoiser", min_steps=24, max_steps=384, step_multiple=12)


@pytest.mark.parametrize(
    ("card", "steps", "expected"),
    [
        (ANY, 96, 96),
        (ANY, 12, 24),
        (ANY, 21, 84),  # as often as it takes to be a multiple
        (ANY, 3, 24),
        (ANY, 383, 384),  # repeating it would take too long: cut
        (AUTOENCODER, 96, 96),
        (AUTOENCODER, 48, 96),
        (AUTOENCODER, 72, 96),  # a loop in 3/4: shown once and a third
        (AUTOENCODER, 42, 96),
    ],
)
def test_how_much_a_model_is_shown(card: Card, steps: int, expected: int) -> None:
    assert shown(card, steps) == expected


def test_planes_are_repeated_and_cut() -> None:
    planes = np.arange(6).reshape(2, 3)
    assert repeated(planes, 5).tolist() == [[0, 1, 2, 0, 1], [3, 4, 5, 3, 4]]


@pytest.mark.parametrize(
    ("length", "bar", "lengths"),
    [(3840, 1920, [3840]), (15360, 1920, [3840] * 4), (4320, 1440, [2880, 1440]), (11520, 5760, [3840] * 3)],
)
def test_parts_are_whole_bars_where_the_model_takes_bars(length: int, bar: int, lengths: list[int]) -> None:
    assert [part.length for part in parts(Loop(length, (), bar), AUTOENCODER)] == lengths


def test_parts_put_together_are_the_loop_with_the_notes_that_were_cut() -> None:
    notes = (Note(-10, 60, 100), Note(3800, 64, 500), Note(3900, 60, 10), Note(7000, 62, 8000))
    loop = Loop(15360, notes)
    pieces = parts(loop, AUTOENCODER)
    assert [len(piece) for piece in pieces] == [1 + 1, 1 + 1, 0, 0]
    assert max(n.end for piece in pieces for n in piece.notes) <= 3840
    assert join(pieces, loop) == loop


@pytest.mark.parametrize("role", ["denoiser", "autoencoder"])
def test_eight_bars_come_back_as_they_were_at_distance_0_and_keep_notes_whole_near_it(role: str) -> None:
    loop = melody(8)
    loop = loop.with_notes([*loop.notes, Note(3800, 40, 5000, 33)])
    knobs = {**KNOBS, "distance": 0.0}
    assert answer(of_role(role), loop, "vary", knobs, 1) == loop
    near = answer(of_role(role), loop, "vary", {**knobs, "distance": 0.1}, 1)
    kept = set(near.notes) & set(loop.notes)
    assert len(kept) >= 0.85 * len(loop)


def test_another_length_is_repeated_or_cut() -> None:
    loop = Loop(1920, (Note(-10, 60, 100), Note(1900, 61, 20)))
    like = Loop(4800, (), 1920)
    starts = (0, 1920, 3840)
    expected = (replace(n, onset=n.onset + start) for start in starts for n in loop.notes if n.onset + start < 4800)
    assert refitted(loop, like) == Loop(4800, tuple(expected))
    assert refitted(loop, loop) == loop


def test_downbeats_stay_downbeats_in_another_metre() -> None:
    bar = (Note(-10, 40, 300), Note(960, 60, 2000), Note(1500, 62, 100))
    late = (Note(1910, 41, 300), Note(2880, 64, 100))  # the first of them early, for the second bar
    waltz = refitted(Loop(3840, bar + late), Loop(5760, (), 1440))
    once = (Note(-10, 40, 300), Note(960, 60, 480), Note(1430, 41, 300), Note(2400, 64, 100))
    assert waltz == Loop(5760, once + tuple(replace(n, onset=n.onset + 2880) for n in once), 1440)
    back = refitted(waltz, Loop(1920))
    assert back == Loop(1920, (Note(-10, 40, 300), Note(960, 60, 480), Note(1910, 41, 10)))


# ---- slots ----------------------------------------------------------------------------------------------------------

METRES = [(4, 4), (3, 4), (6, 8), (2, 4), (5, 4), (7, 8), (6, 4), (3, 8), (5, 8), (9, 8), (7, 4), (1, 4), (9, 4)]


def bars_shown(found: Columns, bar: int) -> list[int]:
    """The columns that show the first step of a bar."""
    return np.flatnonzero((found >= 0) & (found % bar == 0)).tolist()


@pytest.mark.parametrize(
    ("metre", "bars", "begin", "silent"),
    [
        ((4, 4), 2, [0, 48], 0),
        ((4, 4), 1, [0, 48], 0),
        ((3, 4), 2, [0, 48], 24),
        ((3, 4), 1, [0, 48], 24),
        ((7, 8), 2, [0, 48], 12),
        ((2, 4), 4, [0, 24, 48, 72], 0),
        ((2, 4), 1, [0, 24, 48, 72], 0),
        ((3, 8), 4, [0, 18, 48, 66], 24),
        ((5, 4), 1, [0], 36),
        ((7, 4), 1, [0], 12),
    ],
)
def test_every_bar_begins_with_a_slot(metre: tuple[int, int], bars: int, begin: list[int], silent: int) -> None:
    bar = Metre(*metre).bar
    found = columns(AUTOENCODER, Loop(bars * bar, (), bar))
    assert bars_shown(found, bar // 40) == begin
    assert (found < 0).sum() == silent


@pytest.mark.parametrize("metre", METRES)
@pytest.mark.parametrize("bars", [1, 2, 4, 8])
def test_what_is_laid_out_is_read_again(metre: tuple[int, int], bars: int) -> None:
    bar = Metre(*metre).bar
    pieces = parts(Loop(bars * bar, (), bar), AUTOENCODER)
    assert sum(piece.length for piece in pieces) == bars * bar
    for piece in pieces:
        planes = np.random.default_rng(bars).random((2, 3, piece.length // 40), np.float32)
        found = columns(AUTOENCODER, piece)
        shown = laid(planes, found)
        assert shown.shape == (2, 3, 96)
        assert not shown[..., found < 0].any()
        assert np.array_equal(read(shown, found), planes)


def test_bars_that_are_alike_are_shown_alike() -> None:
    for metre, span in ((3, 4), 48), ((7, 8), 48), ((3, 8), 48), ((2, 4), 24):
        bar = Metre(*metre).bar // 40
        one = np.random.default_rng(0).random((4, bar), np.float32)
        several = 96 // span
        seen = laid(np.tile(one, several), slots(several * bar, bar, 96, AUTOENCODER.grid)).reshape(4, several, span)
        assert np.array_equal(seen, np.repeat(seen[:, :1], several, axis=1))
        assert np.array_equal(seen.reshape(4, 96), laid(one, slots(bar, bar, 96, AUTOENCODER.grid)))


def test_what_has_no_room_in_slots_is_repeated_and_cut() -> None:
    assert slots(90, 36, 96, AUTOENCODER.grid).tolist() == [*range(90), *range(6)]
    assert columns(ANY, Loop(2880, (), 1440)).tolist() == list(range(72))


MODES: dict[str, tuple[Mode, ...]] = {"autoencoder": ("vary", "blend", "generate"), "denoiser": ("clean", "vary")}


@pytest.mark.parametrize("role", MODES)
@pytest.mark.parametrize("metre", METRES)
@pytest.mark.parametrize("bars", [1, 2, 4, 8])
def test_every_metre_and_length_is_answered(role: str, metre: tuple[int, int], bars: int) -> None:
    loop, other = (melody(bars, Metre(*metre), up=up) for up in (0, -5))
    for mode in MODES[role]:
        made = answer(of_role(role), loop, mode, {**KNOBS, "distance": 0.5, "blend": 0.4}, 1, ends=(loop, other))
        assert (made.length, made.bar) == (loop.length, loop.bar)
        assert made.notes
        assert all(-40 < n.onset < loop.length and n.end <= loop.length for n in made.notes)


def test_the_bars_of_a_circular_model_are_alike_if_they_were_played_alike() -> None:
    model = Model(find("models", "loop_denoiser"))
    for metre in (3, 4), (5, 4), (4, 4):
        bar = Metre(*metre).bar
        one = melody(1, Metre(*metre), every=160)
        slip = (*one.notes, Note(bar // 2, 61, 80, 30))
        twice = Loop(2 * bar, (*slip, *(replace(n, onset=n.onset + bar) for n in slip)), bar)
        repaired = answer(model, twice, "clean", {}, 0)
        halves = [{(n.onset % bar, n.pitch, n.velocity) for n in repaired.notes if n.onset // bar == i} for i in (0, 1)]
        assert halves[0] == halves[1]
        alone = answer(model, Loop(bar, slip, bar), "clean", {}, 0)
        assert {(n.onset, n.pitch, n.velocity) for n in alone.notes} == halves[0]
