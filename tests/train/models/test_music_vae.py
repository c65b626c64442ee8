from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rtgen.music.note import Loop, Note
from rtgen.music.roll import encode
from tests.train.models.coded import exported, plays, song, trained
from train import config, export
from train.loops.sample import GRID, Sample
from train.models import build
from train.models.music_vae import FOLD, HELD, REST, MusicVae, melody_of, planes_of

TINY = {"latents": 8, "units": 16, "frame": 16}


def roll_of(*notes: Note) -> torch.Tensor:
    return torch.from_numpy(encode(Loop(3840, notes), GRID).stack()[None])


def does(melody: torch.Tensor) -> list[int]:
    """What a melody does in each frame."""
    assert torch.equal(melody.sum(dim=2), torch.ones(1, 1, 32))
    return melody[0, 0].argmax(dim=0).tolist()


@pytest.mark.parametrize("name", ["music_vae", "music_vae_melody", "music_vae_as_described"])
def test_its_configurations_build(name: str) -> None:
    c = config.read(name)
    net = build(c.model, c.architecture)
    assert isinstance(net, MusicVae)
    roll = roll_of(Note(0, 60, 960))
    onset, hold, velocity, micro = net.planes(net.mean(roll))
    assert onset.shape == hold.shape == velocity.shape == micro.shape == (1, 96, 96)
    assert 0 <= onset.min().item() <= onset.max().item() <= 1


def test_a_picture_goes_into_frames_and_back() -> None:
    net = MusicVae(**TINY)
    picture = torch.rand(2, 3, 96, 96)
    frames = net._frames(picture)
    assert frames.shape == (2, 32, 3 * 96 * FOLD)
    assert torch.equal(net._picture(frames), picture)


def test_a_melody_is_what_is_highest() -> None:
    melody = roll_of(
        Note(0, 60, 480),
        Note(0, 48, 1920),
        Note(480, 60, 480),
        Note(960, 55, 240),
        Note(960, 52, 480),
        Note(2400, 70, 120),
    )
    row = does(melody_of(melody))
    low, middle, high = 48 - 24, 60 - 24, 70 - 24
    assert row[:8] == [middle, HELD, HELD, HELD, middle, HELD, HELD, HELD]
    assert row[8:16] == [55 - 24, HELD, 52 - 24, HELD, low, HELD, HELD, HELD]
    assert row[16:] == [REST] * 4 + [high] + [REST] * 11


def test_a_melody_that_is_known_for_sure_is_played_as_it_was() -> None:
    notes = (Note(0, 60, 480), Note(480, 60, 960), Note(1920, 64, 120), Note(2880, 67, 960))
    roll = roll_of(*notes)
    onset, hold, _, _ = planes_of(40 * melody_of(roll))
    assert torch.allclose(onset, roll[:, 0], atol=1e-6)
    assert torch.allclose(hold, roll[:, 1], atol=1e-6)


def test_padding_counts_for_nothing_if_it_is_masked() -> None:
    torch.manual_seed(0)
    nets = [MusicVae(**TINY, masked=masked) for masked in (True, False)]
    nets.append(MusicVae(**TINY, masked=True, melody=True, onset=False, velocity=False, prior_bias=False))
    filled = torch.ones(1, 1, 1, 96)
    filled[..., 48:] = 0
    short, longer = roll_of(Note(0, 60, 480)), roll_of(Note(0, 60, 480), Note(2400, 67, 480))
    for net, same in zip(nets, (True, False, True), strict=True):
        logits = net.decode(torch.zeros(1, 8))
        losses = [net.lost(logits, net.see(roll), filled if net.repairs.masked else None) for roll in (short, longer)]
        assert (losses[0] == losses[1]) is same or bool(torch.isclose(*losses)) is same


def test_the_code_is_of_the_whole_loop() -> None:
    torch.manual_seed(0)
    net = MusicVae(**TINY)
    plain = net.mean(roll_of(Note(0, 60, 480), Note(1920, 64, 480)))
    for other in (Note(0, 61, 480), Note(1920, 64, 480)), (Note(0, 60, 480), Note(1920, 65, 480)):
        assert not torch.allclose(net.mean(roll_of(*other)), plain, atol=1e-5)
    onset = net.planes(torch.from_numpy(np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)))[0]
    assert bool(((onset[0] - onset[1]).abs().amax(dim=0) > 0).all()), "the code is heard in every step"


def test_each_beat_is_read_and_played_by_weights_of_its_own() -> None:
    torch.manual_seed(0)
    net = MusicVae(**TINY)
    assert net.to_mean.in_features == 2 * 8 * TINY["units"]
    assert net.to_beats is not None
    with torch.no_grad():  # the code is told to the fifth beat alone
        net.to_conductor.weight.zero_()
        net.to_beats.weight.view(8, TINY["frame"], -1)[torch.arange(8) != 4] = 0
    onset = net.planes(torch.randn(2, TINY["latents"]))[0]
    differs = (onset[0] - onset[1]).abs().amax(dim=0) > 0
    assert not differs[:48].any()
    assert differs[48:].all()


def test_of_melodies_it_hears_the_top_line_in_one_key() -> None:
    settings = config.read("music_vae_melody").architecture
    net = MusicVae(**{**settings, **TINY})
    doubled = [Note(240 * i, p - down, 240) for i, p in enumerate((62, 66, 69, 74)) for down in (0, 12)]
    (heard,) = net.heard(Sample.of(song([Loop(3840, tuple(doubled))]), np.arange(1))).loops()
    assert [n.pitch for n in heard.notes] == [60, 64, 67, 72]


@pytest.mark.parametrize("name", ["music_vae", "music_vae_as_described"])
def test_it_learns_is_exported_and_plays(name: str, small_data: Path, tmp_path: Path) -> None:
    run, losses = trained(name, small_data, tmp_path / "run", **TINY)
    assert sum(losses[-3:]) < sum(losses[:3])
    model, report = exported(run, small_data, tmp_path / "model.onnx")
    assert report.difference < export.PARITY
    assert (model.card.role, len(model.card.latents)) == ("autoencoder", 8)
    plays(model)
