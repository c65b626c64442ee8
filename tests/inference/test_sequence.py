"""What is continued, symbol by symbol."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.inference.card import Card, Symbol
from rtgen.inference.model import Model, Tensor
from rtgen.inference.modes import answer
from rtgen.inference.sequence import CONTEXT, SYMBOLS_PER_BEAT, Book
from rtgen.music import key
from rtgen.music.note import Loop, Note
from tests.data.make_tiny import HALF_BEATS, PIECES
from tests.inference.models import KNOBS, melody, of_role, sequence

MODEL = of_role("sequence")


def read(card: Card, symbols: list[int]) -> tuple[set[tuple[int, int]], int]:
    """What symbols mean, by the contract: cells (step, pitch) that are struck, and how long it all is."""
    at, cells = 0, set()
    for number in symbols:
        cells |= {(at, pitch) for pitch in card.vocabulary[number].pitches}
        at += card.vocabulary[number].steps
    return cells, at


@given(st.dictionaries(st.integers(0, 95), st.frozensets(st.integers(36, 96), min_size=1, max_size=4), max_size=20))
def test_what_can_be_said_is_said_whole(played: dict[int, frozenset[int]]) -> None:
    symbols = Book(PIECES).said(sorted(played.items()), 96)
    assert read(PIECES, symbols) == ({(step, pitch) for step, pitches in played.items() for pitch in pitches}, 96)
    assert 0 not in symbols


def test_a_chord_of_the_vocabulary_is_one_symbol() -> None:
    symbols = Book(PIECES).said([(0, frozenset((50, 54, 57)))], 24)
    assert [PIECES.vocabulary[s].pitches for s in symbols] == [(50, 54, 57), ()]


def test_what_cannot_be_said_is_said_by_what_is_most_like_it() -> None:
    book = Book(HALF_BEATS)
    for played, said in {(60, 64, 68): (60, 64, 67), (36, 43, 52): (60, 64, 67), (20,): (56,)}.items():
        (symbol,) = book.said([(0, frozenset(played))], 96)
        assert HALF_BEATS.vocabulary[symbol].pitches == said
    only = replace(HALF_BEATS, vocabulary=(Symbol((60,), 6), Symbol((67,), 6)))
    assert Book(only).said([(0, frozenset((62,)))], 96) == []


def test_what_was_played_last_is_heard_from_the_beginning_of_a_bar() -> None:
    book = Book(PIECES)
    bars = book.said([(step, frozenset((60,))) for step in range(0, 480, 6)], 480)
    assert len(bars) > CONTEXT
    heard = book.latest(bars, 48)
    assert CONTEXT - 2 * 8 < len(heard) <= CONTEXT
    assert read(PIECES, heard)[1] % 48 == 0
    assert book.latest(bars, 5000) == bars[-CONTEXT:]
    assert book.latest(bars[:10], 48) == bars[:10]


# ---- continuing -----------------------------------------------------------------------------------------------------


def test_the_past_is_heard() -> None:
    first, other = (answer(MODEL, melody(), "continue", KNOBS, 1, past=past) for past in ((), (melody(every=160),)))
    quiet = replace(melody(), notes=tuple(n for n in melody().notes if n.onset < 480))
    short = [answer(MODEL, quiet, "continue", KNOBS, 1, past=past) for past in ((), (melody(every=160),))]
    assert short[0] != short[1]
    assert first.notes
    assert other.notes


@pytest.mark.parametrize("up", [2, -3, 5])
def test_a_model_that_thinks_in_c_answers_in_the_players_key(up: int) -> None:
    low = answer(MODEL, melody(), "continue", KNOBS, 1, past=(melody(every=480),))
    high = answer(MODEL, melody(up=up), "continue", KNOBS, 1, past=(melody(every=480, up=up),))
    assert [replace(n, pitch=n.pitch + up) for n in low.notes] == list(high.notes)


def test_a_locked_key_is_kept() -> None:
    loop = melody(up=3)
    scale = key.estimate(loop.notes)
    assert scale is not None

    def kept(model: Model, lock: float) -> float:
        answers = (answer(model, loop, "continue", {**KNOBS, "key_lock": lock}, seed) for seed in range(6))
        return fmean(scale.contains(n.pitch) for answered in answers for n in answered.notes)

    for model in (MODEL, sequence(HALF_BEATS)):
        assert kept(model, 1.0) > 0.95
        assert kept(model, 0.0) < 0.9


def test_a_low_temperature_leaves_little_to_chance() -> None:
    def answers(temperature: float) -> list[Loop]:
        knobs = {**KNOBS, "temperature": temperature}
        return [answer(MODEL, melody(), "continue", knobs, seed) for seed in range(6)]

    def shared(loops: list[Loop]) -> float:
        first = {(n.onset, n.pitch) for n in loops[0].notes}
        return fmean(len(first & {(n.onset, n.pitch) for n in other.notes}) / len(first) for other in loops[1:])

    assert shared(answers(0.1)) > 2 * shared(answers(2.0))


def test_loudness_and_length_are_the_players() -> None:
    quarter = Loop(3840, tuple(Note(t, 60 + t // 480, 120, 30 if t < 1920 else 110) for t in range(0, 3840, 480)))
    notes = answer(sequence(HALF_BEATS), quarter, "continue", KNOBS, 1).notes
    assert {n.velocity for n in notes if n.onset < 1600} == {30}
    assert {n.velocity for n in notes if n.onset > 2000} == {110}
    # A quarter of the time to the next note, as the player's.
    assert {n.duration for n in notes} == {60}


def test_each_voice_is_struck_as_the_player_strikes_it() -> None:
    # The bass is loud and late, the tune soft and on the beat.
    played = tuple(
        note for t in range(0, 3840, 480) for note in (Note(t + 9, 43, 400, 100), Note(t, 76 + t // 960, 400, 40))
    )
    notes = answer(sequence(HALF_BEATS), Loop(3840, played), "continue", KNOBS, 1).notes
    on_the_beat = [n for n in notes if round(n.onset / 240) % 2 == 0]
    assert on_the_beat
    assert {(n.velocity, n.onset % 240) for n in on_the_beat if n.pitch > 70} <= {(40, 0)}
    assert {(n.velocity, n.onset % 240) for n in on_the_beat if n.pitch < 50} <= {(100, 9)}
    assert {n.velocity for n in notes} <= {40, 100}


class Counting(Model):
    """Counts its runs."""

    runs = 0

    def run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        self.runs += 1
        return super().run(inputs)


WAIT, STRIKE = PIECES.vocabulary.index(next(s for s in PIECES.vocabulary if s.steps == 1)), 20


@pytest.mark.parametrize(
    "favour",
    [{WAIT: 50.0}, {STRIKE: 50.0}, {0: 50.0}, dict.fromkeys(range(1, 74), 50.0), dict.fromkeys(range(74, 79), 50.0)],
    ids=["waits", "one strike", "padding", "strikes", "any wait"],
)
@pytest.mark.parametrize("length", [240, 1920, 3840, 15360])
def test_a_model_that_says_only_one_thing_comes_to_an_end(favour: dict[int, float], length: int) -> None:
    model = sequence(PIECES, favour)
    model.__class__ = Counting
    assert isinstance(model, Counting)
    model.runs = 0
    loop = Loop(length, tuple(Note(t, 60 + t // 240 % 5, 200) for t in range(0, length, 240)))
    answered = answer(model, loop, "continue", {**KNOBS, "temperature": 0.1}, 1)
    assert answered.notes
    assert model.runs <= 2 * SYMBOLS_PER_BEAT[1] * length // 480 + 4
    at_once = Counter(n.onset for n in answered.notes)
    assert max(at_once.values()) <= 8
    pitches = [n.pitch for n in answered.notes]
    assert not any(len(set(pitches[i : i + 6])) == 1 for i in range(len(pitches) - 5))


def test_a_player_who_repeats_a_note_may_hear_it_repeated() -> None:
    strike = next(i for i, s in enumerate(HALF_BEATS.vocabulary) if s.pitches == (64,))
    loop = Loop(3840, tuple(Note(t, 64, 200) for t in range(0, 3840, 240)))
    answered = answer(sequence(HALF_BEATS, {strike: 50.0}), loop, "continue", KNOBS, 1)
    assert [(n.onset, n.pitch) for n in answered.notes] == [(t, 64) for t in range(0, 3840, 240)]


def test_states_begin_with_nothing_and_are_handed_on() -> None:
    """One symbol after the other leaves the same state as all at once."""
    symbols = np.array([[5, 6, 7]], np.int64)
    hidden = np.zeros((1, 1, 8), np.float32)
    whole = MODEL.run({"symbol": symbols, "hidden": hidden})
    for i in range(3):
        step = MODEL.run({"symbol": symbols[:, i : i + 1], "hidden": hidden})
        hidden = step["hidden_next"]
    np.testing.assert_allclose(hidden, whole["hidden_next"], atol=1e-6)
    np.testing.assert_allclose(step["logits"][0, -1], whole["logits"][0, -1], atol=1e-5)
