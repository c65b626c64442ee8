from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rtgen.errors import UserError
from rtgen.inference.modes import answer
from tests.inference.models import KNOBS, melody
from tests.train.models.coded import exported, plays, trained
from train import config, export
from train.loops import dataset
from train.loops.batch import rasterise
from train.loops.sample import Sample
from train.models import build
from train.models.base import Source
from train.models.implicit import rates
from train.models.nemui import Nemui, stretches
from train.models.vae import STEPS

SMALL = {"width": 48, "layers": 2, "latents": 8, "songs": 6, "moments": 24}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks so small only wait for each other on two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_as_described_it_is_a_function_of_fractions_that_says_what_sounds() -> None:
    described = config.read("nemui_as_described")
    net = build(described.model, described.architecture)
    assert isinstance(net, Nemui)
    assert (net.role, net.reader, net.prior, net.places) == ("generator", None, False, 8)
    assert torch.allclose(net.rates * 8 * STEPS, 2 * torch.pi * torch.tensor([1.0, 2, 4, 8, 16, 32]))
    assert net.logits(torch.zeros(2, 128), torch.zeros(2, 5)).shape == (2, 1, 96, 5)
    assert float(net.table.weight.detach().std() * 10) == pytest.approx(1, abs=0.05)


def test_in_beats_the_length_of_a_song_changes_no_clock() -> None:
    short, long = rates(2, beats=True), rates(16, beats=True)
    assert torch.equal(short, long[: len(short)])
    assert len(long) > len(short)
    # In fractions, what told two steps apart in a short song does not in a long one.
    assert rates(2, beats=False).max() == pytest.approx(8 * float(rates(16, beats=False).max()))


@pytest.mark.parametrize("bars", [2, 16])
def test_in_beats_no_two_moments_of_a_song_are_alike(bars: int) -> None:
    angles = torch.arange(bars * 48)[:, None] * rates(bars, beats=True)
    told = torch.cat([angles.sin(), angles.cos()], dim=1)
    apart = torch.cdist(told, told) + 9 * torch.eye(len(told))
    assert apart.min() > 0.5


def test_songs_are_stretches_without_gaps(small_data: Path) -> None:
    loops = dataset.load(small_data, "train", duplicates=True)
    assert len(stretches(loops, 1)) == len(loops)
    pairs = stretches(loops, 2)
    assert np.all(loops.songs[pairs] == loops.songs[pairs + 1])
    assert np.all(loops.starts[pairs + 1] - loops.starts[pairs] == loops.length)
    assert len(set(pairs) | set(pairs + 1)) == 2 * len(pairs)
    gone = replace(loops, starts=loops.starts * 2)
    assert len(stretches(gone, 2)) == 0


def test_songs_are_chosen_from_the_music(small_data: Path) -> None:
    loops = dataset.load(small_data, "train", duplicates=True)
    found = Nemui.settings_from(loops, {"songs": 5, "bars": 4})["firsts"]
    assert len(set(found)) == 5
    assert set(found) <= set(stretches(loops, 2).tolist())
    assert found == Nemui.settings_from(loops, {"songs": 5, "bars": 4})["firsts"]
    with pytest.raises(UserError, match="no 64 consecutive bars"):
        Nemui.settings_from(loops, {"bars": 64})


def test_settings_that_do_not_go_together_are_sentences() -> None:
    with pytest.raises(UserError, match="multiple of 2"):
        build("nemui", {"bars": 3})
    with pytest.raises(UserError, match=r"'songs'.* above 0"):
        build("nemui", {"songs": 0})
    with pytest.raises(UserError, match="'reader' needs songs of 2 bars"):
        build("nemui", {"bars": 16})


def learnt(source: Source, steps: int, **settings: object) -> Nemui:
    torch.manual_seed(0)
    settings = {**SMALL, "reader": False, "prior": False, **settings}
    net = Nemui(**settings, **Nemui.settings_from(source.loops, settings))  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for step in range(steps):
        for aim in net.aims(net.draw(source, 16, np.random.default_rng(step))):
            optimiser.zero_grad()
            aim.loss.backward()
            optimiser.step()
    return net.eval()


def test_codes_and_function_learn_the_songs_by_heart_each_place_of_them(small_data: Path) -> None:
    source = Source(dataset.load(small_data, "train", duplicates=True))
    net = learnt(source, 250, bars=4)
    figures = net.judge(source)
    assert figures["onset_f1"] > 0.9
    second = Sample.of(source.loops, net.firsts + 1)
    meant = torch.from_numpy(rasterise(second.notes, second.count, second.length)[:, 0] > 0)
    codes = net.table.weight * 10
    first_place, second_place = (net.planes(codes, torch.full((6, 1), float(place)))[0] > 0.5 for place in (0, 1))
    assert (second_place & meant).sum() > 0.8 * meant.sum()
    assert (first_place & meant).sum() < 0.5 * meant.sum()
    # What is not trained says nothing halfway.
    assert learnt(source, 0, bars=4, prior=True).judge(source)["blend_notes"] == 0


def test_the_prior_holds_codes_together(small_data: Path) -> None:
    source = Source(dataset.load(small_data, "train", duplicates=True))
    held = learnt(source, 60, prior=True, beta=5.0)
    free = learnt(source, 60)
    assert held.table.weight.norm(dim=1).mean() < 0.5 * free.table.weight.norm(dim=1).mean()


def test_reader_and_function_learn_together_from_loops_with_and_without_codes(small_data: Path) -> None:
    net = Nemui(**SMALL, firsts=range(6))
    source = Source(dataset.load(small_data, "train", duplicates=True))
    task = net.draw(source, 8, np.random.default_rng(0))
    assert (task["song"] < 0).tolist() == [False] * 2 + [True] * 6
    (aim,) = net.aims(task)
    aim.loss.backward()
    assert net.reader is not None
    assert all(p.grad is not None and p.grad.any() for p in (net.table.weight, *net.function.leave.parameters()))
    assert all(p.grad is not None and p.grad.any() for p in net.reader.parameters())
    # Codes are those of the songs drawn, and of no others.
    touched = net.table.weight.grad.any(dim=1)  # type: ignore[union-attr]
    assert set(torch.nonzero(touched).flatten().tolist()) == set(task["song"][:2].tolist())


def test_the_code_scales_every_layer_or_enters_the_first_alone() -> None:
    for scaled in (True, False):
        net = Nemui(**SMALL, reader=False, scaled=scaled)
        assert (net.function.scales is not None) is scaled


def test_it_learns_is_exported_and_plays_by_its_reader(small_data: Path, tmp_path: Path) -> None:
    run, losses = trained("nemui", small_data, tmp_path / "run", **SMALL)
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert len(run.net.firsts) == 6
    model, report = exported(run, small_data, tmp_path / "model.onnx")
    assert report.difference < export.PARITY
    assert (model.card.role, len(model.card.latents)) == ("autoencoder", 8)
    read = run.average.codes(run.average.heard(Sample.of(dataset.load(small_data, "train"), np.arange(50))))
    assert all(x.low - x.sd < mean < x.high + x.sd for x, mean in zip(model.card.latents, read.mean(0), strict=True))
    plays(model)


def test_without_a_reader_it_draws_new_songs_and_any_place_of_them(small_data: Path, tmp_path: Path) -> None:
    run, losses = trained("nemui_as_described", small_data, tmp_path / "run", **{**SMALL, "bars": 4})
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    model, report = exported(run, small_data, tmp_path / "model.onnx")
    assert report.difference < export.PARITY
    assert (model.card.role, [c.name for c in model.card.conditions]) == ("generator", ["place"])
    code = np.zeros((1, 8), np.float32)
    here, there = (model.run({"code": code, "place": np.full((1, 1), n, np.float32)})["hold"] for n in (0, 1))
    assert not np.allclose(here, there)
    assert np.array_equal(model.run({"code": code})["hold"], here)
    new = answer(model, melody(), "generate", KNOBS, 1)
    assert len(melody()) // 2 <= len(new) <= len(melody())
    assert new != answer(model, melody(), "generate", KNOBS, 2)
