from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rtgen.inference.stream import SPELLING
from rtgen.music.note import Loop, Note
from tests.train.models.coded import exported, trained
from train import export
from train.loops import dataset
from train.loops.dataset import Loops
from train.models import streams
from train.models.base import Source
from train.models.continuer import SIZES, WINDOW, Continuer, losses


def song(loops: list[Loop], *, set_name: str = "set") -> Loops:
    """Loops one after the other, as one track of one song."""
    count = len(loops)
    notes = dataset.from_loops(loops)
    offsets = np.concatenate([[0], np.cumsum([len(loop) for loop in loops])])
    names = np.full(count, set_name)
    return Loops(
        notes,
        offsets,
        sets=names,
        songs=names,
        tracks=names,
        starts=np.arange(count, dtype=np.int32) * dataset.LENGTH,
        bars=np.full(count, 1920, np.int32),
        filled=np.full(count, dataset.LENGTH, np.int32),
        tempos=np.full(count, 120, np.float32),
    )


def chords(rng: np.random.Generator) -> Loop:
    """A loop of chords of two notes in C major, of changing velocity."""
    roots = rng.choice([48, 50, 52, 53, 55], 8)
    notes = [Note(480 * i, int(root) + up, 240 + 40 * i, 60 + 8 * i) for i, root in enumerate(roots) for up in (0, 7)]
    return Loop(dataset.LENGTH, tuple(notes))


@pytest.fixture
def told() -> streams.Streams:
    rng = np.random.default_rng(1)
    loops = song([chords(rng) for _ in range(5)])
    return streams.told(loops, np.array([0, 1]), 64)


def test_a_stream_tells_the_notes_in_order_of_time_and_from_below(told: streams.Streams) -> None:
    there = told.there[0] > 0
    assert there.sum() == 64
    assert (np.diff(told.step[0, there]) >= 0).all()
    shifts = np.array(SPELLING.shifts)[told.note[0, there, 0]]
    assert shifts[0] == 0
    assert (shifts[1:] == np.diff(told.step[0, there])).all()
    same = shifts[1:] == 0
    assert (np.diff(told.note[0, there, 1])[same] > 0).all()


def test_what_is_known_of_a_note_is_of_the_loop_before_its_own(told: streams.Streams) -> None:
    of_loop = told.step[0] // 96
    assert not told.context[0, of_loop == 0].any()
    assert (told.context[0, of_loop == 1, -1] == 1).all()
    # Both streams tell the second loop: as what came before it is in one of them alone, only that one knows of it.
    assert not told.context[1, told.step[1] // 96 == 0].any()


def test_a_silence_between_loops_is_heard_as_time() -> None:
    rng = np.random.default_rng(2)
    loops = song([chords(rng) for _ in range(2)])
    loops.starts[1] = 4 * dataset.LENGTH
    told = streams.told(loops, np.array([0]), 40)
    gap = int(np.diff(told.step[0, told.there[0] > 0]).max())
    assert gap == 4 * 96 - 7 * 12
    assert not told.context.any()


def test_loops_of_another_song_are_not_told() -> None:
    rng = np.random.default_rng(3)
    loops = song([chords(rng) for _ in range(3)])
    loops.songs[2] = "ot"
    told = streams.told(loops, np.array([0]), 64)
    assert told.there.sum() == 32


def test_a_step_of_the_player_says_what_the_lesson_says(told: streams.Streams) -> None:
    torch.manual_seed(0)
    net = Continuer(units=24, hidden=16, notes=63).eval()
    task = {name: torch.from_numpy(x) for name, x in streams.lesson(told, np.ones(2, bool)).items()}
    with torch.no_grad():
        wanted = torch.stack(losses(net.logits(task), task), dim=-1)
    step = net.player()
    memory = torch.zeros(2, 24)
    for i in range(63):
        past = np.zeros((2, SIZES[1], WINDOW + 1), np.float32)
        for row in range(2):
            for note, at in zip(told.note[row, : i + 1], told.step[row, : i + 1], strict=True):
                back = told.step[row, i] - at
                if told.there[row, i] and back <= WINDOW:
                    past[row, note[1], WINDOW - back] = note[2] + 1
        parts = (told.note[:, i], told.place[:, i], told.context[:, i], past, told.note[:, i + 1])
        chance = [torch.zeros(2, sum(SIZES)), torch.ones(2, 1), torch.zeros(2, 1), torch.zeros(2, SIZES[1])]
        with torch.no_grad():
            chosen, chances, memory = step(*map(torch.from_numpy, parts), *chance, torch.ones(2, 1), memory)
        there = torch.from_numpy(told.there[:, i + 1]) > 0
        assert torch.equal(chosen[there], torch.from_numpy(told.note[:, i + 1])[there])
        torch.testing.assert_close(-chances[there], wanted[:, i][there], rtol=1e-3, atol=1e-3)


def test_loudness_counts_only_where_somebody_played_it() -> None:
    rng = np.random.default_rng(4)
    flat = [Loop(dataset.LENGTH, tuple(Note(n.onset, n.pitch, n.duration, 90) for n in chords(rng).notes))]
    assert not streams.told(song(flat), np.array([0]), 16).loud.any()
    assert streams.told(song([chords(rng)]), np.array([0]), 16).loud.all()


def test_it_learns_and_is_exported(small_data: Path, tmp_path: Path) -> None:
    run, losses = trained("continuer", small_data, tmp_path / "run", epochs=2, units=32, hidden=32, notes=48)
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    figures = run.average.judge(Source(dataset.load(small_data, "valid", duplicates=True)))
    assert figures["bits_a_note"] == pytest.approx(sum(figures[f"bits_{x}"] for x in ("shift", "pitch", "duration")))
    model, report = exported(run, small_data, tmp_path / "model.onnx")
    assert report.difference < export.PARITY
    assert (model.card.role, model.card.in_key) == ("continuer", True)
