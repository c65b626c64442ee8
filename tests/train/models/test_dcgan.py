from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rtgen.inference.cells import distance
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.instrument.parameters import PARAMETERS
from rtgen.music import key
from rtgen.music.note import Loop, Note
from tests.train import songs
from train import config, export, fit, trainer
from train.compare.corpora import ends, figures, history, pictures
from train.loops import dataset
from train.loops.keys import in_c
from train.loops.sample import GRID, Sample
from train.measures.likeness import alike, likeness, measures, overlap, shared
from train.models import build
from train.models.base import Source
from train.models.dcgan import FOLD, Dcgan, _Joined, _Windows, slope


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small networks are slower on several."""
    torch.set_num_threads(1)


KNOBS = {p.name: p.default for p in PARAMETERS.values()}
TINY = {"latents": 8, "width": 4}
THESIS = [
    f"thesis_{size}_{kind}" for size in ("small", "middle", "large") for kind in ("gan", "gan_penalty", "gan_repaired")
]


def tiny(name: str, **changes: Any) -> config.Config:
    """A configuration that comes with rtgen, made small."""
    read = config.read(name)
    return replace(read, architecture={**read.architecture, **TINY}, sets=None, batch=8, average_over=20, **changes)


def net(name: str) -> Dcgan:
    torch.manual_seed(0)
    found = build("dcgan", tiny(name).architecture)
    assert isinstance(found, Dcgan)
    return found


@pytest.mark.parametrize("name", ["dcgan", "dcgan_as_described", *THESIS])
def test_every_configuration_builds(name: str) -> None:
    read = config.read(name)
    found = build(read.model, read.architecture)
    assert isinstance(found, Dcgan)
    assert read.betas == (0.5, 0.999)
    planes = found.eval().player()(torch.zeros(1, found.latents))
    assert [tuple(p.shape) for p in planes] == [(1, 96, 96)] * 4


def test_the_described_one_has_no_repairs_and_the_other_has_all() -> None:
    described, repaired = net("dcgan_as_described"), net("dcgan")
    assert any(isinstance(m, nn.BatchNorm2d) for m in described.discriminator.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in repaired.discriminator.modules())
    assert (described.gradient_penalty, described.onset, described.in_key, described.binary) == (0, False, False, False)
    assert all((repaired.gradient_penalty, repaired.onset, repaired.in_key, repaired.binary))


@pytest.mark.parametrize("name", ["dcgan", "dcgan_as_described"])
def test_each_aim_changes_its_own_network_and_gains(name: str, small_data: Path) -> None:
    made = net(name)
    source = Source(dataset.load(small_data, "train"))
    task = made.draw(source, 16, np.random.default_rng(0))
    optimisers = {part: torch.optim.Adam(list(w), 2e-3, (0.5, 0.999)) for part, w in made.parts().items()}
    before = {part: [p.detach().clone() for p in w] for part, w in made.parts().items()}
    accuracy = []
    for _ in range(12):
        aims = made.aims(task)
        first = next(aims)
        assert first.part == "discriminator"
        _step(first.loss, optimisers["discriminator"])
        accuracy.append(float(first.log["accuracy_real"] + first.log["accuracy_drawn"]) / 2)
    assert accuracy[-1] > max(accuracy[0], 0.9)  # alone, it wins
    assert all(torch.equal(a, b) for a, b in zip(before["generator"], made.generator.parameters(), strict=True))
    judge = [p.detach().clone() for p in made.discriminator.parameters()]
    lost = []
    for _ in range(40):
        aims = made.aims(task)
        next(aims)
        second = next(aims)
        assert second.part == "generator"
        lost.append(float(second.loss.detach()))
        _step(second.loss, optimisers["generator"])
        with pytest.raises(StopIteration):
            next(aims)
    assert lost[-1] < lost[0]
    assert all(torch.equal(a, b) for a, b in zip(judge, made.discriminator.parameters(), strict=True))


def _step(loss: torch.Tensor, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def test_the_penalty_is_the_slope() -> None:
    at = torch.randn(5, 2, 3, 3, requires_grad=True)
    weights = torch.randn(18)
    judged = (at.flatten(1) @ weights)[:, None]
    assert float(slope(judged, at)) == pytest.approx(float(weights.square().sum()), rel=1e-4)


def test_the_discriminator_sees_notes_or_none_and_the_gradient_passes() -> None:
    made = net("dcgan")
    code = torch.randn(3, made.latents)
    drawn = made.shown(made.chances(code))
    assert set(torch.unique(drawn.detach().round(decimals=5)).tolist()) <= {0.0, 1.0}
    drawn.sum().backward()  # type: ignore[no-untyped-call]
    assert any(float(p.grad.abs().sum()) > 0 for p in made.generator.parameters() if p.grad is not None)
    described = net("dcgan_as_described")
    assert len(torch.unique(described.shown(described.chances(code)))) > 100


def test_music_is_moved_into_c(small_data: Path) -> None:
    loops = dataset.load(small_data, "train")
    moved = songs.song(3, tonic=66)
    notes = dataset.from_loops([Loop(15360, moved)])
    sample = Sample.of(loops, np.arange(1))
    found = in_c(sample.with_notes(notes))
    scale = key.estimate(Note(*row[1:]) for row in found.notes.tolist())
    assert scale in (key.Key(0), key.Key(9, minor=True))
    assert np.array_equal(np.unique(found.notes[:, 2] - sample.with_notes(notes).notes[:, 2]).shape, [1])


def test_likeness_of_the_same_of_others_and_of_silence(small_data: Path) -> None:
    loops = dataset.load(small_data, "train")
    a, b = (dataset.to_loops(loops.take(np.arange(i, 160, 2)), 80) for i in (0, 1))
    rng = np.random.default_rng(0)
    noise = [
        Loop(3840, tuple(Note(int(o), int(p), 40) for o, p in zip(*rng.integers(24, 100, (2, 9)), strict=True)))
        for _ in a
    ]
    same = likeness(measures(a), measures(b))
    assert same > 0.75
    assert likeness(measures(a), measures(a)) == 1
    assert likeness(measures(noise), measures(b)) < same - 0.3
    silent = measures([Loop(3840)] * 4)
    assert all(not values.any() for values in silent.values())
    assert measures([a[0]] * 4)["apart"].tolist() == [0.0] * 4
    assert overlap(np.zeros(5), np.zeros(7)) == 1
    assert overlap(np.zeros(5), np.ones(5)) == 0
    # Half of what is made is as it should be, though in twice the number; the rest is nowhere in music.
    assert shared(np.array([0.0, 0, 5, 5]), np.array([0.0, 10, 10, 10])).tolist() == [0.5, 0.5, 0, 0]
    assert np.mean(alike(measures(noise), measures(b))) == likeness(measures(noise), measures(b))


def test_a_window_holds_a_beat_of_both_bars_and_an_octave() -> None:
    picture = torch.rand(2, 2, 96, 32)
    cut = _Windows()(picture)
    assert cut.shape == (2, 2 * 2 * 12 * 4, 8, 4)
    assert torch.equal(_Joined()(cut), picture)
    inside = torch.cat([picture[1, :, 36:48, first : first + 4].flatten() for first in (8, 24)])
    assert torch.equal(cut[1, :, 3, 2].sort().values, inside.sort().values)


def test_with_windows_it_hears_and_plays_sixteenths(small_data: Path) -> None:
    made = net("dcgan")
    onset, hold, _, _ = (p.detach() for p in made.eval().planes(torch.randn(2, made.latents)))
    assert float(onset[..., 1::FOLD].max()) == float(onset[..., 2::FOLD].max()) == 0
    assert float(onset[..., ::FOLD].min()) > 0
    assert torch.equal(hold[..., ::FOLD], hold[..., 2::FOLD])
    sample = Source(dataset.load(small_data, "train")).draw(8, np.random.default_rng(0))
    assert made.task(sample, np.random.default_rng(0))["picture"].shape == (8, 2, 96, 96 // FOLD)


def test_what_is_less_likely_than_not_is_rarer_in_play() -> None:
    made = net("dcgan").eval()
    code = torch.randn(2, made.latents)
    with torch.no_grad():
        chances, (onset, hold, _, _) = made.chances(code), made.planes(code)
    for seen, played in (chances[:, 0], hold[..., ::FOLD]), (chances[:, 1], onset[..., ::FOLD]):
        assert torch.equal(seen > 0.5, played > 0.5)
        assert bool((played[seen < 0.4] < seen[seen < 0.4] / 2).all())
        assert bool((seen < 0.4).any())


def test_the_discriminator_sees_whether_all_are_the_same() -> None:
    judge = net("dcgan").discriminator
    some = (torch.rand(8, 2, 96, 32) > 0.9).float()
    alone, same = judge(some), judge(some[:1].expand(8, -1, -1, -1))
    assert not torch.allclose(alone[0], same[0], atol=1e-6)


def test_the_ends_of_a_run_are_its_tenths() -> None:
    assert ends([5.0] * 10 + [1.0] * 80 + [9.0] * 10) == (5, 9)
    assert ends([2.0, 4.0]) == (2, 4)


def test_it_trains_is_exported_and_plays(small_data: Path, tmp_path: Path) -> None:
    small = tiny("dcgan", loops=64)
    # Without the prior it finds all notes as likely as not, and need not train until it finds some likely.
    small = replace(small, architecture={**small.architecture, "prior_bias": False})
    state = fit.fit(small, small_data, tmp_path / "run", epochs=3, device="cpu")
    assert state.step == 24
    assert {"accuracy_real", "accuracy_drawn", "likeness", "apart", "real_notes"} <= set(state.valid)
    found = figures(tmp_path / "run", small_data)
    assert found["steps"] == 24
    assert len(history(tmp_path / "run", "train/accuracy_drawn")) >= 2
    assert 0 < found["like"][0] < found["like"][1] < 1
    assert all(0 <= share <= 1 for share in found["tells_apart"])
    pictures([tmp_path / "run"], small_data, tmp_path / "pictures")
    assert all(
        (tmp_path / "pictures" / name).read_bytes().startswith(b"\x89PNG") for name in ("losses.png", "drawn.png")
    )
    training = fit.load(tmp_path / "run" / trainer.LAST)
    path = tmp_path / "dcgan.onnx"
    card = export.card_of(training, training.average, small_data)
    assert (card.in_key, card.min_steps, card.max_steps, len(card.latents)) == (True, 96, 96, 8)
    assert export.write(training.average.player(), card, path).difference < export.PARITY
    model = Model(path)
    loop = Loop(3840, tuple(n for n in songs.song(99, tonic=62) if n.onset < 3600))
    made = [answer(model, loop, "generate", KNOBS, seed) for seed in range(3)]
    for one in made:
        assert len(one) >= len(loop) / 2
        assert distance(one, loop, GRID) > 0.5
    assert made[0] != made[1]
