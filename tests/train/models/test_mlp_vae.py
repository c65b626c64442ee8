from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from rtgen.errors import UserError
from tests.train.models.coded import exported, plays, trained
from train import config, export
from train.loops.sample import GRID
from train.models import build
from train.models.mlp_vae import MlpVae
from train.models.vae import STEPS


def units(layers: nn.Module) -> list[tuple[int, int]]:
    return [(m.in_features, m.out_features) for m in layers.modules() if isinstance(m, nn.Linear)]


def test_as_described_it_has_the_layers_and_the_training_that_were_described() -> None:
    described = config.read("mlp_vae_as_described")
    net = build(described.model, described.architecture)
    assert isinstance(net, MlpVae)
    cells = 96 * STEPS
    assert units(net.encoder) == [(cells, 256), (256, 128), (128, 64)]
    assert units(net.to_mean) == units(net.to_log_var) == [(64, 16)]
    assert units(net.decoder) + units(net.leave) == [(16, 64), (64, 128), (128, 256), (256, cells)]
    assert (net.repairs.beta, net.repairs.free_bits, net.repairs.planes) == (1, 0, 1)
    assert (described.optimiser, described.learning_rate, described.schedule) == ("adam", 0.001, "constant")
    assert (described.batch, described.epochs, described.average_over, described.clip) == (64, 50, 0, 0)


def test_repaired_it_has_the_same_layers_and_fewer_cells() -> None:
    repaired = config.read("mlp_vae")
    net = build(repaired.model, repaired.architecture)
    assert isinstance(net, MlpVae)
    assert units(net.decoder) == [(16, 64), (64, 128), (128, 256)]
    assert net.shape == (2, 72, 32)
    assert sum(p.numel() for p in net.parameters()) < 14_000_000 / 5
    with pytest.raises(UserError, match="no setting 'latent'; did you mean 'latents'"):
        build("mlp_vae", {"latent": 3})


def test_folded_pictures_are_drawn_at_the_beginning_of_their_columns() -> None:
    net = MlpVae(latents=4, hidden=(8,), velocity=False, low=30, high=100, fold=3)
    roll = torch.zeros(1, 4, GRID.pitches, STEPS)
    roll[0, 0, 40, 7] = roll[0, 1, 40, 7:11] = 1
    seen = net.see(roll)
    assert seen.shape == (1, *net.shape) == (1, 2, 71, 32)
    assert seen[0, 0].nonzero().tolist() == [[34, 2], [34, 3]]
    assert seen[0, 1].nonzero().tolist() == [[34, 2]]
    onset, hold, _, _ = net.planes(torch.randn(1, 4))
    assert onset.shape == hold.shape == (1, GRID.pitches, STEPS)
    likely = onset[0] > 1e-5
    assert likely[6:77, ::3].all()
    assert int(likely.sum()) == 71 * 32
    with pytest.raises(UserError, match="'fold' is 7, which does not divide"):
        build("mlp_vae", {"fold": 7})


def test_it_learns_is_exported_and_plays(small_data: Path, tmp_path: Path) -> None:
    run, losses = trained("mlp_vae", small_data, tmp_path / "run", hidden=(32, 16, 16), latents=8)
    assert sum(losses[-3:]) < sum(losses[:3])
    model, report = exported(run, small_data, tmp_path / "model.onnx")
    assert report.difference < export.PARITY
    assert (model.card.role, len(model.card.latents)) == ("autoencoder", 8)
    assert model.card.min_steps == model.card.max_steps == STEPS
    plays(model)
