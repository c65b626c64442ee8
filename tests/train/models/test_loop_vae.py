from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rtgen.errors import UserError
from rtgen.music.attributes import NAMES
from tests.train.models.coded import exported, plays, trained
from train import export
from train.loops import attributes, dataset
from train.loops.batch import rasterise
from train.loops.sample import Sample
from train.models import build
from train.models.loop_vae import LoopVae, soft
from train.models.prior import Flow

SMALL = {"layers": [[16, 12, 12], [16, 2, 2]], "latents": 12}


def test_the_soft_attributes_of_a_picture_of_notes_are_those_of_the_notes(small_data: Path) -> None:
    loops = dataset.load(small_data, "train")
    sample = Sample.of(loops, np.arange(40))
    picture = LoopVae().see(torch.from_numpy(rasterise(sample.notes, sample.count, sample.length)))
    found = soft(picture).numpy()
    real = attributes.standard(attributes.measured(sample.notes, sample.count, sample.length))
    for i, name in enumerate(NAMES):
        if name == "length":  # the logarithm of a mean is not the mean of logarithms, but rises with it
            assert np.corrcoef(found[:, i], real[:, i])[0, 1] > 0.9
        else:
            assert found[:, i] == pytest.approx(real[:, i], abs=0.15), name


def test_too_few_latents_are_a_sentence() -> None:
    with pytest.raises(UserError, match="too few"):
        build("loop_vae", {"latents": 6})


def test_a_flow_turned_round_gives_back_what_went_in() -> None:
    torch.manual_seed(0)
    flow = Flow(7, 3, hidden=16)
    for weights in flow.parameters():
        torch.nn.init.normal_(weights, std=0.2)
    noise, known = torch.randn(5, 7), torch.randn(5, 3)
    codes = flow(noise, known)
    # As the nats of a normal deviate: what a change of the noise does to them, it does through the layers.
    far = flow.nats(flow(3 * noise, known), known) - flow.nats(codes, known)

    def turned(z: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.autograd.functional.jacobian(lambda x: flow(x[None], k[None])[0], z)
        return found

    jacobian = torch.stack([turned(z, k) for z, k in zip(noise, known, strict=True)])
    wanted = 0.5 * (noise**2).sum(dim=1) + torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(flow.nats(codes, known), wanted, rtol=1e-3, atol=1e-3)
    assert (far > 0).all()


def test_a_prior_learns_what_codes_there_are() -> None:
    torch.manual_seed(0)
    flow = Flow(4, 1, hidden=32)
    optimiser = torch.optim.Adam(flow.parameters(), 3e-3)
    known = torch.randn(512, 1)
    side = torch.randint(0, 2, (512, 1)) * 4.0 - 2
    codes = torch.cat([side, -side, known, torch.zeros(512, 1)], dim=1) + 0.1 * torch.randn(512, 4)
    for _ in range(300):
        optimiser.zero_grad()
        flow.nats(codes, known).mean().backward()
        optimiser.step()
    drawn = flow(torch.randn(512, 4), known)
    # Two places, on either side; nothing in the middle, as a normal distribution would have it.
    assert (drawn[:, 0].abs() < 1).float().mean() < 0.15
    assert np.corrcoef(drawn[:, 0].detach(), drawn[:, 1].detach())[0, 1] < -0.9
    assert np.corrcoef(drawn[:, 2].detach(), known[:, 0])[0, 1] > 0.9


def test_it_learns_is_exported_and_plays(small_data: Path, tmp_path: Path) -> None:
    run, losses = trained("loop_vae", small_data, tmp_path / "run", epochs=2, **SMALL)
    assert sum(losses[-3:]) < sum(losses[:3])
    model, report = exported(run, small_data, tmp_path / "model.onnx")
    assert report.difference < export.PARITY
    assert [latent.name for latent in model.card.latents[: len(NAMES)]] == list(NAMES)
    assert model.card.in_key
    plays(model)
