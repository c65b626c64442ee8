from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.train.models.coded import trained
from train import fit, muon


def test_matrices_are_wide_and_not_looked_up() -> None:
    net = nn.ModuleDict({"a": nn.Conv1d(16, 32, 3), "b": nn.Linear(8, 64), "c": nn.Embedding(32, 32)})
    found = muon.matrices(net, net.parameters())
    assert [id(p) for p in found] == [id(net["a"].weight)]


def test_a_kernel_moves_as_far_in_every_direction() -> None:
    torch.manual_seed(0)
    net = nn.Conv1d(16, 24, 3, bias=False)
    before = net.weight.detach().clone()
    optimiser = muon.Muon([net.weight], 0.02, 0.0)
    # A gradient in which one direction is a hundred times as steep as another.
    left, right = torch.linalg.qr(torch.randn(24, 2))[0], torch.linalg.qr(torch.randn(48, 2))[0]
    net.weight.grad = (left @ torch.diag(torch.tensor([100.0, 1.0])) @ right.T).reshape(24, 16, 3)
    optimiser.step()
    moved = (net.weight.detach() - before).flatten(1)
    along = [float(-left[:, i] @ moved @ right[:, i]) for i in range(2)]
    assert 0.3 < along[1] / along[0] < 3
    optimiser.zero_grad()
    assert net.weight.grad is None


@pytest.mark.parametrize("shape", [(48, 20), (20, 48), (24, 8, 3)])
def test_its_steps_are_those_of_torch_but_for_precision(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    own = nn.Parameter(torch.randn(shape))
    theirs = nn.Parameter(own.detach().flatten(1).clone())
    optimisers = muon.Muon([own], 0.02, 0.1), torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1)
    for _ in range(4):
        own.grad = torch.randn(shape)
        theirs.grad = own.grad.flatten(1).clone()
        for optimiser in optimisers:
            optimiser.step()
    torch.testing.assert_close(own.detach().flatten(1), theirs.detach(), rtol=0, atol=2e-3)


def test_a_run_with_muon_learns_and_goes_on(small_data: Path, tmp_path: Path) -> None:
    run, losses = trained("composer", small_data, tmp_path / "run", epochs=1, units=32, hidden=32, channels=4, notes=48)
    assert run.config.optimiser == "muon"
    assert losses[-1] < losses[0]
    state = fit.fit(run.config, small_data, tmp_path / "run", epochs=2, resume=True, device="cpu")
    assert state.step == 2 * len(losses)
