from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rtgen.inference.card import Card, State
from rtgen.inference.cells import distance
from rtgen.inference.chords import NONE
from rtgen.inference.exchange import anchors
from rtgen.inference.hearing import hear
from rtgen.inference.modes import answer
from rtgen.inference.recall import followed
from rtgen.inference.sheet import Sheet, read
from rtgen.inference.spelling import SPELLING
from rtgen.instrument.job import Mode
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop, Note
from rtgen.music.time import Grid
from tests.train.models.coded import exported, song, trained
from train import export
from train.loops import dataset
from train.loops.links import linked
from train.measures import notes
from train.measures.music import spearman
from train.measures.small import SMALL
from train.models import passages
from train.models.base import Source
from train.models.composer import SIZES, Composer, losses
from train.models.passages import FOLLOWS, VARIES, Plan, Shown

GRID = Grid()


def piece(rng: np.random.Generator) -> list[Loop]:
    """Six loops in C major, the last ones like the first, played with touch."""
    roots = rng.choice([48, 50, 52, 53, 55], 8)
    first = [
        Note(480 * i + int(rng.integers(-9, 9)) * (i > 0), int(root) + up, 240 + 40 * i, 60 + 8 * i)
        for i, root in enumerate(roots)
        for up in (0, 7, 16)
    ]
    loops = []
    for _ in range(6):
        changed = [
            Note(n.onset, n.pitch + int(rng.choice([0, 0, 0, 2])) * (n.pitch > 60), n.duration, n.velocity)
            for n in first
        ]
        loops.append(Loop(dataset.LENGTH, tuple(changed)).monophonic_by_pitch())
    return loops


@pytest.fixture
def loops() -> dataset.Loops:
    return song(piece(np.random.default_rng(1)))


def test_relatives_are_linked_and_others_are_not(loops: dataset.Loops) -> None:
    found = linked(loops)
    assert found.follows[0] == found.follows[1] == -1
    assert all(0 <= found.follows[i] < i for i in range(2, 6))
    assert all(other != i for i, row in enumerate(found.alike.tolist()) for other in row)
    assert (found.draw(np.arange(6), np.random.default_rng(0)) >= 0).all()
    apart = song([Loop(dataset.LENGTH, (Note(480 * i, 40 + 7 * i, 100),)) for i in range(4)])
    assert (linked(apart).follows == -1).all()
    assert (linked(apart).alike == -1).all()


@pytest.mark.parametrize("kind", [0, FOLLOWS, VARIES])
def test_the_sheet_shows_what_the_lesson_shows(loops: dataset.Loops, kind: int) -> None:
    rng = np.random.default_rng(2)
    passage = passages.read(loops, linked(loops), np.array([0]), 120, np.array([kind]), rng, varied=False)
    plan = passages.hide(passage, np.array([False]), rng)
    begin, end = 288, 384
    # Of what follows the loop, the sheet knows nothing.
    given, opened = plan.given.copy(), plan.open.copy()
    given[:, end:], opened[:, end:], opened[:, :begin] = 0, True, False
    opened[:, begin:end] |= (passage.struck[:, begin:end] > 0) & (given[:, begin:end] == 0)
    plan = Plan(given, opened)
    passage.chord[:, end // 12 :] = NONE
    passage.recalled[:, end:], passage.recall[:, :3] = 0, 0
    shown = Shown.only(passage, "lags", "context")
    shown.chord[:, 3] = shown.wish[:, 3] = True
    task = passages.lesson(passage, plan, shown)
    net = Composer(units=24, hidden=16, channels=8).eval()
    with torch.no_grad():
        wanted = torch.stack(
            losses(
                net.logits({k: torch.from_numpy(np.ascontiguousarray(x)) for k, x in task.items()}),
                {"note": torch.from_numpy(task["note"])},
            ),
            dim=-1,
        )

    before = loops.as_loops(np.arange(3))
    up = int(passage.note[0, 0, 1]) + GRID.pitch_low - before[0].notes[0].pitch
    heard = read(before, up, GRID)
    n = len(heard.step)
    assert np.array_equal(heard.step, passage.step[0, :n])
    assert np.array_equal(heard.note, passage.note[0, :n])
    assert np.allclose(heard.place, task["place"][0, :n])
    assert np.allclose(heard.known, task["known"][0, :n], atol=1e-4)

    def as_cells(found: np.ndarray) -> np.ndarray:
        rows = [(s, r, found[s, r] - 1, 8, 4) for s, r in zip(*np.nonzero(found), strict=True)]
        return np.array(rows, np.int64).reshape(-1, 5)

    sheet = Sheet(
        heard,
        begin,
        96,
        48,
        GRID,
        as_cells(given[0, begin:end]),
        opened[0, begin:end],
        as_cells(passage.recalled[0, begin:end]) if kind else None,
        passage.chord[0, begin // 12 : end // 12],
    )
    player = net.player()
    memory = torch.zeros(1, 24)
    for i in range(n - 1):
        parts = (task[name][:, i] for name in ("note", "place", "known"))
        memory = player.remember(*map(torch.from_numpy, parts), memory)
    plain = [torch.zeros(1, sum(SIZES)), torch.ones(1, 1), torch.full((1, 1), 0.05), torch.zeros(1, SIZES[1])]
    for i in range(n - 1, 119):
        step = int(passage.step[0, i + 1])
        if step >= end:
            break
        seen = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in sheet.seen().items()}
        assert np.allclose(seen["rhythm"][0].numpy(), task["rhythm"][0, i], atol=1e-6)
        parts = [torch.from_numpy(task[name][:, i]) for name in ("note", "place", "known")]
        with torch.no_grad():
            _, chances, memory = player(
                *parts, *seen.values(), torch.from_numpy(task["note"][:, i + 1]), *plain, memory
            )
        torch.testing.assert_close(-chances[0], wanted[0, i], rtol=1e-3, atol=1e-3)
        sheet.strike(step, int(passage.note[0, i + 1, 1]), int(passage.note[0, i + 1, 2]))


# ---- as it is played ------------------------------------------------------------------------------------------------


class Untrained:
    """A composer of chance, run in torch, in place of a `Model`."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        self.player = Composer(units=16, hidden=16, channels=4).eval().player()
        state = State("memory", ("batch", 16))
        self.card = Card("untrained", "composer", states=(state,), spelling=SPELLING, in_key=True)
        self.runs = 0

    @torch.no_grad()
    def run(self, feed: dict[str, Any], only: tuple[str, ...] = ()) -> dict[str, Any]:
        """As `Model.run`."""
        self.runs += 1
        tensors = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in feed.items()}
        if only == ("memory_next",):
            of_note = (tensors[name] for name in ("note", "place", "known", "memory"))
            return {"memory_next": self.player.remember(*of_note).numpy()}
        assert {name: x.shape for name, x in feed.items()} == {
            name: tuple(1 if d == "batch" else d for d in shape) for name, shape in self.card.inputs().items()
        }
        chosen, chance, memory = self.player(*(tensors[name] for name in self.card.inputs()))
        return {"chosen": chosen.numpy(), "chance": chance.numpy(), "memory_next": memory.numpy()}


@pytest.fixture(scope="module")
def untrained() -> Any:
    return Untrained()


def knobs(**changed: float) -> dict[str, float]:
    return {**Preset().knobs, **changed}


CALL, *REST = piece(np.random.default_rng(5))


@pytest.mark.parametrize("mode", ["continue", "vary", "generate"])
@pytest.mark.parametrize("past", [(), tuple(REST)])
def test_an_answer_is_as_long_as_its_call_and_the_same_each_time(untrained: Any, mode: Mode, past: Any) -> None:
    first, again, other = (answer(untrained, CALL, mode, knobs(), seed, past=past) for seed in (1, 1, 2))
    assert first == again != other
    assert (first.length, first.bar) == (CALL.length, CALL.bar)
    assert first.notes
    assert all(0 <= n.onset < n.end <= CALL.length for n in first.notes)


def test_a_variation_lies_between_the_call_s_bass_and_two_semitones_above_it(untrained: Any) -> None:
    lowest, highest = (each(n.pitch for n in CALL.notes) for each in (min, max))
    for seed in range(8):
        found = answer(untrained, CALL, "vary", knobs(distance=0.2 + 0.1 * seed), seed)
        assert lowest <= min(n.pitch for n in found.notes)
        assert max(n.pitch for n in found.notes) <= highest + 2


def test_what_is_taken_away_does_not_come_back_and_the_rest_stays(untrained: Any) -> None:
    for seed in range(8):
        found = answer(untrained, CALL, "vary", knobs(distance=0.35), seed)
        steps = {(round(n.onset / GRID.step), n.pitch): n for n in CALL.notes}
        again = [n for n in found.notes if (round(n.onset / GRID.step), n.pitch) in steps]
        assert all(n.onset == steps[round(n.onset / GRID.step), n.pitch].onset for n in again)
        assert len(again) >= 0.6 * len(CALL)


def test_a_beat_gets_at_most_one_note_more_than_it_loses(untrained: Any) -> None:
    def in_beat(loop: Loop, beat: int) -> int:
        return sum(GRID.column(n.onset, 96) // 12 == beat for n in loop.notes)

    for seed in range(6):
        found = answer(untrained, CALL, "vary", knobs(distance=0.4), seed)
        assert all(in_beat(found, beat) <= in_beat(CALL, beat) + 1 for beat in range(8))


def test_distance_goes_as_far_as_it_is_turned(untrained: Any) -> None:
    ways = np.arange(1, 10) / 10
    for seed in range(4):
        found = [distance(CALL, answer(untrained, CALL, "vary", knobs(distance=d), seed), GRID) for d in ways]
        assert spearman(ways, found) > 0.9
        assert np.abs(np.array(found) - ways).mean() < 0.12
    assert answer(untrained, CALL, "vary", knobs(distance=0.0), 1) == CALL


@pytest.mark.parametrize("past", [(), tuple(REST)])
def test_an_ending_is_new_and_what_comes_before_it_is_not(untrained: Any, past: Any) -> None:
    found = answer(untrained, CALL, "vary", knobs(distance=0.0, fill=0.25), 3, past=past)
    begin = CALL.length * 3 // 4 - GRID.step // 2
    assert [n for n in found.notes if n.onset < begin] == [n for n in CALL.notes if n.onset < begin]
    assert {n for n in found.notes if n.onset >= begin} != {n for n in CALL.notes if n.onset >= begin}


def test_a_blend_takes_over_from_the_last_beat_to_the_first(untrained: Any) -> None:
    a, b = CALL, Loop(CALL.length, tuple(replace(n, pitch=n.pitch + 2) for n in REST[0].notes))

    def at(share: float, seed: int = 1) -> Loop:
        return answer(untrained, CALL, "blend", knobs(blend=share), seed, ends=(a, b))

    assert (at(0.0), at(1.0)) == (a, b)
    ways = [at(share / 10) for share in range(11)]
    assert at(0.5) == ways[5] != at(0.5, 2)
    own = [len(set(way.notes) & set(b.notes) - set(a.notes)) for way in ways]
    assert spearman(np.arange(11), own) > 0.95
    for way in ways:
        made = set(way.notes) - set(a.notes) - set(b.notes)
        # Of its own it writes the tune where that changes hands, in one beat or two.
        assert len({n.onset // 480 for n in made}) <= 2


def test_anchors_stay_whatever_else_changes(untrained: Any) -> None:
    turned = knobs(distance=0.9, keep_downbeats=1.0, keep_bass=1.0, fill=0.5)
    held = anchors(CALL, turned)
    found = answer(untrained, CALL, "vary", turned, 1)
    assert held <= {(n.onset, n.pitch) for n in found.notes}


def test_silence_is_answered_with_silence(untrained: Any) -> None:
    empty = Loop(dataset.LENGTH)
    for mode in ("continue", "vary", "generate"):
        assert answer(untrained, empty, mode, knobs(), 1, past=(CALL,)) == empty


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("mode", ["continue", "vary", "generate"])
def test_small_calls_are_answered(untrained: Any, name: str, mode: Mode) -> None:
    call = SMALL[name]
    found = answer(untrained, call, mode, knobs(fill=0.25), 1)
    assert found.length == call.length
    assert found.notes


def test_what_followed_something_alike_is_recalled() -> None:
    a, b, c = REST[:3]
    assert followed((), a) is None
    assert followed((a, b, c), a) == b
    apart = Loop(a.length, tuple(replace(n, pitch=n.pitch + 30) for n in a.notes))
    assert followed((apart,), a) is None


def test_hearing_in_pieces_changes_no_answer(untrained: Any) -> None:
    part = CALL.with_notes(CALL.notes[: len(CALL) // 2])
    hear(untrained, tuple(REST), part)
    before = answer(untrained, CALL, "continue", knobs(), 4, past=tuple(REST))
    assert before == answer(Untrained(), CALL, "continue", knobs(), 4, past=tuple(REST))  # type: ignore[arg-type]


def test_it_learns_and_is_exported(small_data: Path, tmp_path: Path) -> None:
    sizes = {"units": 32, "hidden": 32, "channels": 4, "notes": 48}
    run, losses = trained("composer", small_data, tmp_path / "run", epochs=2, **sizes)
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    figures = run.average.judge(Source(dataset.load(small_data, "valid", duplicates=True)))
    assert figures["bits_a_note"] == pytest.approx(
        sum(figures[f"bits_{x}"] for x in ("shift", "pitch", "duration")), abs=0.3
    )
    model, report = exported(run, small_data, tmp_path / "model.onnx")
    assert report.difference < export.PARITY
    assert (model.card.role, model.card.in_key) == ("composer", True)
    loops = dataset.load(small_data, "valid", duplicates=True)
    (passage,) = notes._passages(loops, np.array([0]))
    found = notes.foretold(model, passage)
    assert 0 < found["bits_a_note"][0] / found["notes"][0] < 40
