from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rtgen.errors import UserError
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.music.note import Loop
from tests.inference.models import KNOBS
from tests.train import songs
from train import config, export, fit, trainer
from train.loops import corrupt, dataset
from train.loops.batch import rasterise
from train.loops.sample import GRID, Sample
from train.measures.score import note_f1
from train.models import build, images
from train.models.base import Source
from train.models.conv_dae import ConvDae

CONFIGS = [name for name in config.names() if name.startswith("conv_dae")]


def tiny(name: str, **changes: Any) -> config.Config:
    """A configuration that comes with rtgen, made small."""
    read = config.read(name)
    settings = {**read.architecture, "channels": [8, 8]}
    return replace(read, architecture=settings, sets=None, batch=16, average_over=20, loops=0, **changes)


def net(name: str, **changes: Any) -> ConvDae:
    torch.manual_seed(0)
    found = build("conv_dae", {**tiny(name).architecture, **changes})
    assert isinstance(found, ConvDae)
    return found


def sample(data: Path, count: int = 8) -> Sample:
    return Sample.of(dataset.load(data, "train"), np.arange(count))


def test_the_experiments_are_there_and_build() -> None:
    assert {"conv_dae", "conv_dae_default", "conv_dae_overfit", "conv_dae_little_noise"} < set(CONFIGS)
    default = config.read("conv_dae_default")
    assert (default.epochs, default.learning_rate, default.batch) == (10, 0.001, 32)
    assert default.architecture["noise_factor"] == 0.5
    for name in CONFIGS:
        read = config.read(name)
        planes = build(read.model, read.architecture).player()(*feed(1, 48))
        assert [tuple(p.shape) for p in planes] == [(1, 96, 48)] * 4


def feed(count: int, steps: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.zeros(count, 4, 96, steps), torch.zeros(count, 96, steps), torch.zeros(count, 4, steps)


def test_what_is_described_is_snow_over_a_grey_picture(small_data: Path) -> None:
    made, loops = net("conv_dae_as_described"), sample(small_data)
    task = made.task(loops, np.random.default_rng(0))
    assert torch.equal(task["target"], images.draw(loops, velocity=True))
    assert task["target"].max() == pytest.approx(loops.notes[:, 4].max() / 127)
    assert (task["picture"].min(), task["picture"].max()) == (0, 1)
    silent = task["picture"][task["target"] == 0]
    # Half of what a normal deviate adds to black is clipped away.
    assert float((silent > 0).float().mean()) == pytest.approx(0.5, abs=0.01)
    assert float(silent.mean()) == pytest.approx(0.5 * 0.3989, abs=0.015)


def test_repaired_it_also_hears_damaged_and_hidden_notes(small_data: Path) -> None:
    made = net("conv_dae", noise_factor=0.0)
    task = made.task(sample(small_data, 64), np.random.default_rng(0))
    different = (task["picture"] != task["target"]).flatten(1).any(dim=1)
    assert 0.5 < float(different.float().mean()) < 0.9
    hidden = task["mask"].unsqueeze(1).expand_as(task["picture"]) == 1
    assert hidden.any()
    assert not task["picture"][hidden].any()


def test_rows_that_the_music_does_not_use_are_cut_off_and_played_as_they_come(small_data: Path) -> None:
    loops = dataset.load(small_data, "train")
    found = ConvDae.settings_from(loops, {})
    pitches = loops.notes[:, 2]
    assert found == {"low": pitches.min(), "high": pitches.max()}
    assert ConvDae.settings_from(loops, {"low": 30}) == {"high": pitches.max()}
    made = net("conv_dae_as_described", **found)
    task = made.task(sample(small_data), np.random.default_rng(0))
    assert task["picture"].shape[2] == pitches.max() - pitches.min() + 1
    roll = torch.rand(2, 4, 96, 96)
    low, high = made.rows.start, made.rows.stop
    for given, played in zip(roll.unbind(1), made.player()(roll, *feed(2, 96)[1:]), strict=True):
        assert torch.equal(played[:, :low], given[:, :low])
        assert torch.equal(played[:, high:], given[:, high:])
        assert not torch.equal(played[:, low:high], given[:, low:high])
    with pytest.raises(UserError, match="not a range within 24 to 119"):
        build("conv_dae", {"low": 10})


def test_masked_padding_does_not_count(small_data: Path) -> None:
    loops = replace(sample(small_data), filled=np.full(8, 1920, np.int32))

    def lost(mask_padding: bool, second_bar: float) -> float:
        made = net("conv_dae_as_described", mask_padding=mask_padding)
        task = made.task(loops, np.random.default_rng(0))
        task["target"][..., 48:] = second_bar
        return float(next(made.aims(task)).loss.detach())

    assert lost(True, 0) == lost(True, 1)
    assert lost(False, 0) != lost(False, 1)


def test_with_a_skip_it_begins_as_pass_through(small_data: Path) -> None:
    made, loops = net("conv_dae"), sample(small_data)
    roll = torch.from_numpy(rasterise(loops.notes, loops.count, loops.length))
    onset, hold, velocity, _ = made.player()(roll, *feed(8, 96)[1:])
    assert torch.equal(onset > 0.5, roll[:, 0] > 0.5)
    assert torch.equal(hold > 0.5, roll[:, 1] > 0.5)
    struck = roll[:, 0] > 0
    assert torch.allclose(velocity[struck], roll[:, 2][struck], atol=1e-5)


def test_layers_that_do_not_go_together_are_a_sentence() -> None:
    for settings in {"channels": [8]}, {"channels": [8, 8], "strides": [[2, 2]]}:
        with pytest.raises(UserError, match=r"fewer than two layers, or not as many"):
            build("conv_dae", settings)


def reach(made: ConvDae) -> int:
    """Steps from a cell to the farthest step of the input that has a say in it."""
    for weights in made.parameters():
        torch.nn.init.uniform_(weights, 0.01, 0.02)
    roll, mask, phase = feed(1, 192)
    picture = torch.full_like(made.pictures(roll), 0.5).requires_grad_()
    made(picture, mask, phase)[0, -1, 48, 96].backward()
    assert picture.grad is not None
    return int((torch.nonzero(picture.grad.abs().sum(dim=(0, 1, 2)))[:, 0] - 96).abs().max())


def test_it_sees_a_bar_to_either_side_where_it_was_described_to_see_a_beat() -> None:
    full = [config.read(name).architecture for name in ("conv_dae", "conv_dae_as_described")]
    wide, narrow = (reach(ConvDae(**settings)) for settings in full)
    assert wide >= 48
    assert narrow < 24


@pytest.mark.parametrize("name", ["conv_dae", "conv_dae_as_described"])
def test_it_learns(name: str, small_data: Path) -> None:
    made, source = net(name), Source(dataset.load(small_data, "train"))
    held_out = made.draw(Source(dataset.load(small_data, "valid")), 32, np.random.default_rng(99))

    def lost() -> float:
        (aim,) = made.aims(held_out)
        return float(aim.loss.detach())

    before = lost()
    optimiser = torch.optim.Adam(made.parameters(), 1e-2)
    for step in range(20):
        (aim,) = made.aims(made.draw(source, 16, np.random.default_rng(step)))
        optimiser.zero_grad()
        aim.loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert lost() < 0.7 * before


def test_it_trains_is_exported_and_plays(small_data: Path, tmp_path: Path) -> None:
    state = fit.fit(tiny("conv_dae"), small_data, tmp_path / "run", epochs=3, device="cpu")
    assert {"loss", "note_f1", "note_f1_as_played", "note_f1_undamaged"} <= set(state.valid)
    assert state.valid["note_f1_as_played"] == pytest.approx(0.69, abs=0.1)
    training = fit.load(tmp_path / "run" / trainer.LAST)
    path = tmp_path / "conv_dae.onnx"
    card = export.card_of(training, training.average, small_data)
    assert (card.role, card.min_steps, card.step_multiple) == ("denoiser", 48, 3)
    assert export.write(training.average.player(), card, path).difference < export.PARITY
    model = Model(path)
    meant = [Loop(3840, songs.song(seed, 2)) for seed in range(90, 110)]
    notes = corrupt.corrupt(dataset.from_loops(meant), np.full(20, 0.5), 3840, np.random.default_rng(0))
    heard = dataset.to_loops(notes[np.argsort(notes[:, 0], kind="stable")], 20)
    cleaned = [answer(model, loop, "clean", KNOBS, 0) for loop in heard]
    assert all(len(loop) > len(played) / 2 for loop, played in zip(cleaned, heard, strict=True))
    assert any(loop != played for loop, played in zip(cleaned, heard, strict=True))
    better = [note_f1(c, m, GRID) - note_f1(h, m, GRID) for c, m, h in zip(cleaned, meant, heard, strict=True)]
    assert np.mean(better) > -0.03  # hardly trained, it changes little, and does little harm
    varied = answer(model, meant[0], "vary", {**KNOBS, "distance": 0.5}, 1)
    assert len(varied)
    assert varied != meant[0]
