from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rtgen.inference import ear
from rtgen.inference.harmoniser import Harmoniser
from rtgen.inference.model import Model
from rtgen.music.chord import KINDS
from rtgen.music.note import Note
from rtgen.music.time import Metre
from tests.train import melodies
from train import config, export, fit, trainer
from train.loops.songs import BAR, NONE
from train.measures import chords
from train.models.harmoniser import Harmoniser as Network
from train.models.harmoniser import Songs, Step, _astray, _modulate, _stretches

SMALL = {"channels": 8, "window": 64, "dropout": 0.0, "inside": 0.2}
CONFIG = replace(config.read("harmoniser"), architecture=SMALL, batch=8, learning_rate=0.004, average_over=20)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return melodies.folder(tmp_path_factory.mktemp("music") / "set", 40)


def network() -> Network:
    torch.manual_seed(0)
    return Network(**SMALL)


def turned(logits: torch.Tensor, up: int) -> torch.Tensor:
    """Logits of the chords so many semitones above."""
    named = logits[..., :-1].unflatten(-1, (12, -1)).roll(up, -2).flatten(-2)
    return torch.cat([named, logits[..., -1:]], dim=-1)


def test_a_melody_in_another_key_gives_the_same_chords_in_that_key() -> None:
    net = network().eval()
    heard, chord, place = torch.rand(2, 9, 12, ear.HEARD), torch.rand(2, 9, 12, ear.TOLD), torch.rand(2, 9, ear.PLACE)
    plain = net._say(*net.hear(heard, place), chord, place)
    for up in (1, 5, 11):
        moved = net._say(*net.hear(heard.roll(up, 2), place), chord.roll(up, 2), place)
        assert torch.allclose(turned(plain, up), moved, atol=1e-5)
    assert not torch.allclose(turned(plain, 1), plain, atol=1e-3)


def test_a_step_is_what_the_sequence_says() -> None:
    net = network().eval()
    heard, chord, place = torch.rand(2, 9, 12, ear.HEARD), torch.rand(2, 9, 12, ear.TOLD), torch.rand(2, 9, ear.PLACE)
    whole = net._say(*net.hear(heard, place), chord, place).log_softmax(dim=-1)
    step, memory = Step(net), torch.zeros(2, net.units)
    for t in range(9):
        said, memory = step(heard[:, t], chord[:, t], place[:, t], memory)
        assert torch.allclose(said, whole[:, t], atol=1e-5)


def test_nothing_is_heard_ahead(music: Path) -> None:
    """What a network is told before a half beat does not depend on the melody in it, nor on its chord."""
    net = network().eval()
    source = Network.source(music, "train", CONFIG)
    task = net.draw(source, 4, np.random.default_rng(0))
    heard = task["heard"][:, 1:, :, 0]
    assert torch.equal(heard, task["meant"][:, :-1])
    assert torch.equal(task["before"][:, 1:], task["chord"][:, :-1])
    assert not task["heard"][:, 0].any()
    assert bool((task["before"][:, 0] == NONE).all())


def test_its_own_chords_are_told_as_they_are_in_play(music: Path) -> None:
    net = network().eval()
    task = net.draw(Network.source(music, "train", CONFIG), 3, np.random.default_rng(0))
    read, states = net.hear(task["heard"], task["place"])
    before, place = net.freely(read, states, task["place"])
    said = net._say(read, states, net.told[before], place)
    # In silence all keys are alike, so the likeliest chord is one of twelve.
    of_own = said[:, :-1].gather(2, before[:, 1:, None])[..., 0]
    assert torch.allclose(of_own, said[:, :-1].amax(dim=-1), atol=1e-5)
    for row, places in zip(before.numpy(), place.numpy(), strict=True):
        assert np.allclose(places[:, -1], np.minimum(ear.held(row), ear.LONGEST) / ear.LONGEST)


def test_training_goes_astray_modulates_and_hides() -> None:
    rng = np.random.default_rng(0)
    chord = np.repeat(rng.integers(0, NONE, 24), BAR)
    wrong = [np.mean(_astray(chord, rng) != chord) for _ in range(200)]
    assert 0.2 < np.mean(np.array(wrong) == 0) < 0.6
    assert 0.05 < np.mean(wrong) < 0.5
    moves = 0
    for _ in range(100):
        heard, moved = np.eye(12, dtype=np.float32)[chord // len(KINDS)][..., None].repeat(5, 2), chord.copy()
        _modulate(heard, moved, rng)
        assert np.array_equal(heard[..., 0].argmax(axis=1), moved // len(KINDS))
        assert np.array_equal(moved % len(KINDS), chord % len(KINDS))
        moves += bool((moved != chord).any())
    assert 15 < moves < 45
    hidden = np.array([_stretches(192, rng, 1, BAR, 2 * BAR) for _ in range(100)])
    assert 0.1 < hidden.mean() < 0.4


def test_stretches_are_of_whole_bars(music: Path) -> None:
    source = Network.source(music, "train", CONFIG)
    assert isinstance(source, Songs)
    rng = np.random.default_rng(0)
    for _ in range(50):
        song, first = source.stretch(rng)
        assert song.position[first] == 0
        assert first + SMALL["window"] <= len(song)


def test_it_learns_is_exported_and_follows(music: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    state = fit.fit(CONFIG, music, tmp_path, epochs=50, device="cpu", progress=lambda s: losses.append(s.loss))
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    assert state.valid["root"] > 0.3
    training = fit.load(tmp_path / trainer.LAST)
    path = tmp_path / "h.onnx"
    card = export.card_of(training, training.average, music)
    assert "prepare" not in " ".join(card.training["commands"])
    assert export.write(training.average.player(), card, path).difference < export.PARITY
    model = Model(path)
    assert (model.card.role, model.card.chords) == ("harmoniser", KINDS)
    one = Harmoniser(model, Metre(), ahead=0)
    for half in range(4 * BAR):
        pitch = 62 + (0, 4, 7, 4)[half // 2 % 4]  # D major, an arpeggio
        one.hear([Note(half // 2 * 480, pitch, 430)])
    chord = one.plan(1)[0]
    assert chord is not None
    assert set(chord.classes) & {2, 6, 9}
    share, root = (
        chords.scored(song, song.chord)[name]
        for song in [Network.source(music, "train", CONFIG).songs[0]]
        for name in ("share", "root")
    )
    assert (share, root) == (1.0, 1.0)
