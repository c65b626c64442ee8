from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from rtgen.errors import UserError
from rtgen.music.note import Loop, Note
from train.loops import dataset
from train.loops.dataset import LENGTH
from train.loops.sample import GRID, Sample
from train.models import build
from train.models.images import Planes
from train.models.mlp_vae import MlpVae
from train.models.vae import (
    LOUDNESS,
    SOUNDING,
    Repairs,
    divergence,
    latents_of,
    reconstruction_f1,
    reconstruction_loss,
    reparameterise,
)
from train.prepare.sources.piece import BAR

SMALL = {"latents": 4, "hidden": (8, 8)}
PLAIN = {
    **SMALL,
    "onset": False,
    "velocity": False,
    "prior_bias": False,
    "free_bits": 0.0,
    "beta": 1.0,
    "anneal": 0,
    "masked": False,
}


def sample(*notes: tuple[int, int, int, int], filled: int = LENGTH) -> Sample:
    """One loop of notes (onset, pitch, duration, velocity)."""
    flat = np.array([(0, *note) for note in notes], np.int32).reshape(-1, 5)
    one = np.ones(1)
    return Sample(flat, 1, LENGTH, BAR, (one * filled).astype(np.int32), one.astype(np.float32), one.astype(np.int64))


def task_of(net: MlpVae, *notes: tuple[int, int, int, int], filled: int = LENGTH) -> dict[str, Tensor]:
    return net.task(sample(*notes, filled=filled), np.random.default_rng(0))


def loss_of(net: MlpVae, task: dict[str, Tensor]) -> float:
    return float(next(iter(net.aims(task))).loss.detach())


def test_the_divergence_is_that_of_normal_distributions() -> None:
    mean, log_var = torch.randn(5, 3), torch.randn(5, 3)
    normal = torch.distributions.Normal(mean, torch.exp(log_var / 2))
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    assert torch.allclose(divergence(mean, log_var), expected, atol=1e-6)


def test_codes_are_drawn_as_wide_as_they_say() -> None:
    mean, log_var = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 2.0]])
    drawn = reparameterise(mean, log_var, torch.randn(20_000, 2))
    assert torch.allclose(drawn.mean(0), mean[0], atol=0.1)
    assert torch.allclose(drawn.std(0), torch.exp(log_var / 2)[0], atol=0.1)


def test_the_reconstruction_costs_by_plane_and_leaves_padding_out() -> None:
    picture = torch.zeros(1, 3, 2, 4)
    picture[0, :2, 0, 1], picture[0, 2, 0, 1] = 1, 0.8
    logits = torch.zeros(1, 3, 2, 4)
    expected = (8 * SOUNDING + 8) * np.log(2) + LOUDNESS * 0.3**2
    assert float(reconstruction_loss(logits, picture)) == pytest.approx(expected)
    half = torch.tensor([0.0, 0.0, 1.0, 1.0]).view(1, 1, 1, 4)
    assert float(reconstruction_loss(logits, picture, half)) == pytest.approx((4 * SOUNDING + 4) * np.log(2))
    assert float(reconstruction_loss(logits[:, :1], picture[:, :1], positive=5.0)) == pytest.approx(12 * np.log(2))


def test_a_plain_one_sees_one_plane_and_cannot_tell_a_long_note_from_two() -> None:
    long, twice = ((0, 60, 480, 90),), ((0, 60, 240, 90), (240, 60, 240, 90))
    plain, repaired = MlpVae(**PLAIN), MlpVae(**SMALL)
    seen = [[net.see(task_of(net, *notes)["roll"]) for notes in (long, twice)] for net in (plain, repaired)]
    assert seen[0][0].shape == (1, 1, 96, 96)
    assert torch.equal(*seen[0])
    assert seen[1][0].shape == (1, 3, 96, 96)
    assert not torch.equal(*seen[1])


def test_padding_counts_unless_it_is_masked() -> None:
    notes = (0, 60, 480, 90), (2400, 64, 480, 90)
    for settings, same in (SMALL, True), ({**SMALL, "masked": False}, False):
        torch.manual_seed(0)
        net = MlpVae(**settings).eval()
        tasks = [task_of(net, *notes, filled=1920), task_of(net, *notes, filled=1920)]
        # What it sees stays; only what is asked for in the padding changes.
        mean, log_var = net.encode(net.see(tasks[0]["roll"]))
        net.encode = lambda _, found=(mean, log_var): found  # type: ignore[method-assign]
        tasks[1]["roll"][:, :, :, 48:] = 0
        assert (loss_of(net, tasks[0]) == pytest.approx(loss_of(net, tasks[1]))) is same


def test_the_code_gets_dearer_step_by_step_and_costs_all_of_it_in_a_validation() -> None:
    net = MlpVae(**SMALL, beta=0.8, anneal=4)
    task = task_of(net, (0, 60, 480, 90))
    costs = []
    for _ in range(6):
        costs.append(net.beta())
        loss_of(net, task)
    assert costs == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 0.8])
    fresh = MlpVae(**SMALL, beta=0.8, anneal=4).eval()
    loss_of(fresh, task)
    assert fresh.beta() == 0.8
    assert int(fresh.steps) == 0


def test_bits_below_those_that_are_free_are_not_learnt_away() -> None:
    pulls = []
    for free in (0.0, 10.0):
        torch.manual_seed(0)
        net = MlpVae(**SMALL, beta=1.0, anneal=0, free_bits=free)
        task = task_of(net, (0, 60, 480, 90))
        pulls.append(torch.autograd.grad(next(iter(net.aims(task))).loss, net.to_mean.bias)[0])
    # The reconstruction pulls alike in both; what is left is the divergence, which pulls each mean to 0.
    mean = net.encode(net.see(task["roll"]))[0].detach()[0]
    assert mean.abs().max() > 1e-3
    assert torch.allclose(pulls[0] - pulls[1], mean, atol=1e-4)


def test_in_key_it_hears_everything_in_c() -> None:
    loops = sample(*((480 * i, pitch, 480, 90) for i, pitch in enumerate((62, 66, 69, 74, 73, 71, 69, 67))))
    for in_key, first in (True, 60), (False, 62):
        net = MlpVae(**SMALL, in_key=in_key)
        heard = net.heard(loops)
        assert heard.loops()[0].notes[0].pitch == first


def test_an_untrained_one_begins_at_the_density_of_music_or_at_a_half() -> None:
    code = torch.zeros(1, 4)
    for settings, onset, hold in ({}, 0.004, 0.04), ({"positive": 8.0}, 0.004, 0.04):
        net = MlpVae(**SMALL, **settings)
        planes = [plane.detach() for plane in net.planes(code)]
        assert float(planes[0].mean()) == pytest.approx(onset, abs=0.002)
        assert float(planes[1].mean()) == pytest.approx(hold, abs=0.01)
    assert float(MlpVae(**PLAIN).planes(code)[1].detach().mean()) == pytest.approx(0.5, abs=0.05)


def test_ranges_of_codes_are_those_of_the_music_and_idle_dimensions_have_some() -> None:
    rng = np.random.default_rng(0)
    codes = np.stack([rng.normal(3, 2, 5000), np.full(5000, 0.25)], 1).astype(np.float32)
    busy, idle = latents_of(codes)
    assert (busy.mean, busy.sd) == (pytest.approx(3, abs=0.1), pytest.approx(2, abs=0.1))
    assert (busy.low, busy.high) == (pytest.approx(3 - 4.1, abs=0.3), pytest.approx(3 + 4.1, abs=0.3))
    assert idle.low < idle.high
    assert idle.sd > 0
    assert idle.mean == pytest.approx(0.25)


def test_repairs_that_do_not_go_together_are_a_sentence() -> None:
    with pytest.raises(UserError, match="'velocity' needs 'onset'"):
        build("mlp_vae", {"onset": False, "velocity": True})
    with pytest.raises(UserError, match="'positive' must be above 0"):
        build("mlp_vae", {"positive": 0})
    assert Repairs().planes == 1
    assert replace(Repairs(), onset=True, velocity=True).planes == 3
    assert GRID.steps(LENGTH) == 96


# ---- three beats a bar ----------------------------------------------------------------------------------------------


def waltz(filled: int = 2880) -> Sample:
    loops = [Loop(2880, tuple(Note(at, 60 + at // 240 + i, 200) for at in range(0, 2880, 240)), 1440) for i in range(5)]
    full, tempos = np.full(5, filled, np.int32), np.full(5, 120, np.float32)
    return Sample(dataset.from_loops(loops), 5, 2880, 1440, full, tempos, np.arange(5))


def test_the_silence_beside_a_short_bar_is_learnt_and_padding_is_not() -> None:
    net = MlpVae(**SMALL)
    whole, half = (net.task(waltz(filled), np.random.default_rng(0)) for filled in (2880, 1440))
    assert whole["roll"].shape[-1] == whole["filled"].shape[-1] == 96
    assert whole["filled"].all()
    assert half["filled"][0, 0, 0].tolist() == [1] * 48 + [0] * 36 + [1] * 12


class Perfect(MlpVae):
    """A code that is the roll itself."""

    def mean(self, roll: Tensor) -> Tensor:
        return roll.flatten(1)

    def planes(self, code: Tensor) -> Planes:
        onset, hold, velocity, micro = code.reshape(-1, 4, 96, 96).unbind(1)
        return onset, hold, velocity, micro


def test_loops_of_another_metre_come_back_from_their_slots() -> None:
    net = Perfect(**SMALL)
    assert reconstruction_f1(net, waltz()) == 1
    assert net.codes(waltz()).shape == (5, 4 * 96 * 96)
