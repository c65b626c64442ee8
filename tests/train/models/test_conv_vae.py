from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rtgen.errors import UserError
from tests.train.models.coded import exported, plays, trained
from train import config, export
from train.models import build
from train.models.conv_vae import ConvVae


def built(name: str) -> ConvVae:
    settings = config.read(name)
    net = build(settings.model, settings.architecture)
    assert isinstance(net, ConvVae)
    return net


def test_as_described_pictures_are_halved_twice_and_a_dense_layer_makes_the_code() -> None:
    net = built("conv_vae_as_described")
    assert net.shape == (64, 24, 24)
    assert (net.repairs.planes, net.repairs.beta, net.latents) == (1, 1, 16)
    assert not [name for name, _ in net.named_modules() if "norm" in name]


@pytest.mark.parametrize("name", ["conv_vae", "conv_vae_as_described"])
def test_a_picture_comes_back_in_its_own_size(name: str) -> None:
    net = built(name)
    picture = torch.zeros(2, net.repairs.planes, 96, 96)
    mean, log_var = net.encode(picture)
    assert mean.shape == log_var.shape == (2, net.latents)
    assert net.decode(mean).shape == picture.shape


def test_repaired_it_is_small_enough_to_ship() -> None:
    net = built("conv_vae")
    played = sum(p.numel() for name, p in net.named_parameters() if "log_var" not in name)
    assert played * 4 < 3e6


def test_strides_that_do_not_divide_a_picture_are_a_sentence() -> None:
    with pytest.raises(UserError, match="do not divide"):
        build("conv_vae", {"layers": [[8, 5, 2]]})


@pytest.mark.parametrize(
    ("name", "layers"),
    [("conv_vae", [[16, 12, 6], [16, 2, 4]]), ("conv_vae_as_described", [[8, 2, 2], [8, 2, 2]])],
)
def test_it_learns_is_exported_and_plays(name: str, layers: list[list[int]], small_data: Path, tmp_path: Path) -> None:
    run, losses = trained(name, small_data, tmp_path / "run", layers=layers, latents=8)
    assert sum(losses[-3:]) < sum(losses[:3])
    model, report = exported(run, small_data, tmp_path / "model.onnx")
    assert report.difference < export.PARITY
    assert (model.card.role, len(model.card.latents)) == ("autoencoder", 8)
    plays(model)
