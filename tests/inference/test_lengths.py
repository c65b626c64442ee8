"""Loops that do not fit into a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rtgen.inference.answer import answer
from rtgen.inference.card import Card
from rtgen.inference.lengths import join, parts, refitted, repeated, shown
from rtgen.music.note import Loop, Note
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
    like = Loop(4320, (), 1440)
    refit = refitted(loop, like)
    assert refit == Loop(
        4320,
        tuple(
            replace(n, onset=n.onset + start) for start in (0, 1920, 3840) for n in loop.notes if n.onset + start < 4320
        ),
        1440,
    )
    assert refitted(loop, loop) == loop
