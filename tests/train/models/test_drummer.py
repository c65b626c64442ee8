"""The drummer: what it is told, what it learns of it, and how it is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.music.drums import TAP
from rtgen.music.note import Loop, Note
from tests.data import make_tiny
from tests.inference.models import KNOBS
from tests.train import songs
from train import config, export, fit, trainer, weights
from train.loops import beats, dataset
from train.loops.sample import GRID, LOOP, ONSET, PITCH, VELOCITY, Sample
from train.measures import drums, evaluate
from train.models import build, repairs
from train.models.base import Source
from train.models.drummer import Drummer
from train.prepare import prepare
from train.prepare.cut import Cutting
from train.prepare.sources.find import find

KICK, SNARE, HAT = 36, 38, 42
TINY = {"width": 32, "dilations": [1, 2], "lens": 4, "looks": [[16, 1], [1, 1]]}


def beat(seed: int, bars: int = 8) -> tuple[Note, ...]:
    """A rock beat: kick on one and three, snare on two and four, hats between, loud on the beat and late off it."""
    rng = np.random.default_rng(seed)
    notes = []
    for eighth in range(8 * bars):
        off = eighth % 2
        tick = eighth * 240 + 9 * off
        notes.append(Note(tick, HAT, 60, (90, 50)[off]))
        if not off:
            notes.append(Note(tick, (KICK, SNARE)[eighth // 2 % 2], 60, 110))
        elif rng.random() < 0.3:
            notes.append(Note(tick, KICK, 60, 70))
    return Loop(bars * 1920, tuple(notes)).monophonic_by_pitch().notes


@pytest.fixture(scope="module")
def groove(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty songs for drums as a dataset."""
    folder = tmp_path_factory.mktemp("groove")
    for seed in range(30):
        songs.save(folder / "set" / f"{seed}.mid", beat(seed), channel=9)
    prepare.prepare(find([folder / "set"]), folder / "data", Cutting(drums=True))
    return folder / "data"


def sample(data: Path, count: int = 64) -> Sample:
    loops = dataset.load(data, "train")
    return Sample.of(loops, np.arange(count) % len(loops))


def test_what_a_drummer_is_told(groove: Path) -> None:
    some = sample(groove)
    row = TAP - GRID.pitch_low
    taps = stiff = 0
    for seed in range(12):
        task = beats.beat_task(some, np.random.default_rng(seed))
        assert not (task.roll * task.mask[:, None]).any()
        assert not task.target[:, :, row].any()
        assert task.target[:, 0].any(axis=(1, 2)).mean() > 0.95
        is_tapped = task.roll[:, 0, row].any(axis=1)
        # Of what is tapped nothing else is heard.
        assert not np.delete(task.roll[is_tapped], row, axis=2).any()
        assert np.delete(task.mask[is_tapped], row, axis=1).all()
        whole = ~is_tapped & ~task.mask.any(axis=(1, 2)) & ~task.roll[:, 3].any(axis=(1, 2))
        for heard, meant in zip(task.roll[whole], task.target[whole], strict=True):
            if meant[0].any() and np.array_equal(heard[0], meant[0]):
                stiff += 1
                (level,) = set(heard[2][heard[0] > 0].tolist())
                assert abs(level - meant[2][meant[0] > 0].mean()) < 0.05  # it is that of both bars
        taps += int(is_tapped.sum())
    assert taps > 100
    assert stiff > 100


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(-19, 3839), st.integers(30, 60), st.integers(1, 127)), max_size=30
    )
)
def test_stiff_notes_are_what_a_machine_plays(rows: list[tuple[int, int, int, int]]) -> None:
    notes = np.array([(loop, onset, pitch, 30, velocity) for loop, onset, pitch, velocity in rows], np.int32)
    made = beats.stiffened(notes.reshape(-1, 5), 3, 3840)
    assert not (made[:, ONSET] % GRID.step).any()
    assert len(made) == len(rows)
    for loop in range(3):
        own, of = made[made[:, LOOP] == loop], notes.reshape(-1, 5)[notes.reshape(-1, 5)[:, LOOP] == loop]
        assert set(own[:, VELOCITY]) <= {round(float(np.mean(of[:, VELOCITY])))} if len(of) else not len(own)
    assert np.array_equal(made[:, PITCH], notes.reshape(-1, 5)[:, PITCH])


def test_a_little_of_it_can_be_learnt_and_played(groove: Path, tmp_path: Path) -> None:
    """How loud and late a note is, and what belongs to a rhythm; and the file plays as the network does."""
    loops, held_out = (Source(dataset.load(groove, split), None, None) for split in ("train", "valid"))
    torch.manual_seed(0)
    setting = config.Config(
        model="drummer", architecture=TINY, batch=32, learning_rate=0.004, average_over=20, optimiser="muon"
    )
    fit.fit(setting, (loops, held_out), tmp_path / "run", epochs=120 * 32 // len(loops))
    run = fit.load(tmp_path / "run" / trainer.LAST)
    found = run.average.judge(held_out)
    assert found["velocity"] > 0.5
    assert found["timing"] > 0.5
    assert found["beat_f1"] > 0.5
    path = tmp_path / "drummer.onnx"
    card = export.card_of(run, run.average, groove)
    assert export.write(run.average.player(), card, path).difference < export.PARITY
    model = Model(path)
    assert (model.card.role, model.card.in_key) == ("drummer", False)
    assert isinstance(weights.rebuild(path)[1], Drummer)
    stiff = Loop(3840, tuple(Note(t, HAT, 60, 80) for t in range(0, 3840, 240)))
    struck = answer(model, stiff, "clean", KNOBS, 0)
    on, off = ([n for n in struck.notes if round(n.onset / 240) % 2 == side] for side in (0, 1))
    assert np.mean([n.velocity for n in on]) > np.mean([n.velocity for n in off]) + 10
    figures = evaluate.evaluate(model, groove, "valid", "set", 10)
    own = figures[model.card.name]
    assert own["feel_velocity"].mean < figures["stiff"]["feel_velocity"].mean
    assert own["beat_f1"].mean > figures["all on the snare"]["beat_f1"].mean
    assert set(own) <= set(evaluate.WORDS)


def test_a_drummer_is_exported_without_tuning_a_threshold_that_nothing_reads(
    groove: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tune(*_: object, **__: object) -> float:
        raise AssertionError("tuned")

    monkeypatch.setattr(repairs, "tune", tune)
    loops = Source(dataset.load(groove, "valid"))
    card = build("drummer", TINY).card(loops, loops)
    assert (card["threshold"], card["in_key"]) == (0.5, False)


def test_what_is_usual_for_its_place_is_what_was_counted() -> None:
    loops = [
        Loop(3840, tuple(Note(t + 5 * (t % 480 > 0), HAT, 60, 100 - 40 * (t % 480 > 0)) for t in range(0, 3840, 240)))
    ] * 2
    usual = drums.Usual(loops, GRID)
    assert usual.struck(drums.stiff(loops[0], GRID)) == loops[0]


def test_the_nearest_rhythm_is_found() -> None:
    rhythms = np.eye(6, 96, dtype=bool)
    rhythms[:, 50:53] = True
    assert [drums._nearest(rhythm, rhythms) for rhythm in rhythms] == list(range(6))


def test_a_drummer_that_plays_what_it_hears_is_as_stiff_as_a_machine(groove: Path, tmp_path: Path) -> None:
    onnx.save(make_tiny.build(make_tiny.replace(make_tiny.CARD, role="drummer")), tmp_path / "d.onnx")
    model = Model(tmp_path / "d.onnx")
    figures = evaluate.evaluate(model, groove, "train", "set", 10)
    assert figures[model.card.name]["feel_velocity"] == figures["stiff"]["feel_velocity"]
    assert figures[model.card.name]["feel_timing"].mean == pytest.approx(figures["stiff"]["feel_timing"].mean, abs=0.5)
    assert figures["usual for its place"]["feel_velocity"].mean < 5
    assert figures["beat of the nearest rhythm"]["beat_f1"].mean > 0.9  # it has counted these very beats
    assert figures["all on the snare"]["beat_follows"].mean == 1


def test_the_settings_are_named() -> None:
    assert isinstance(build("drummer", TINY), Drummer)
    assert config.read("drummer").model == "drummer"
