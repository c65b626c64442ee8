from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rtgen.errors import UserError
from rtgen.inference.model import Model
from rtgen.shipped import find
from tests.train import songs
from tests.train.test_fit import TINY
from train import export, fit, personal, trainer, weights
from train.loops import dataset

BASE = Path(__file__).parents[2] / "models" / "loop_denoiser.onnx"


@pytest.fixture(scope="module")
def base(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny denoiser, hardly trained."""
    folder = tmp_path_factory.mktemp("base")
    fit.fit(TINY, small_data, folder / "run", epochs=1)
    run = fit.load(folder / "run" / trainer.LAST)
    export.write(run.average.player(), export.card_of(run, run.average, small_data), folder / "tiny.onnx")
    return folder / "tiny.onnx"


@pytest.mark.slow
def test_a_model_of_ones_own_is_found_by_name_and_worth_no_less(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    music = songs.folder(tmp_path / "mine", 20)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    command = [sys.executable, "-m", "train", "personal", str(music), "--base", str(base), "--name", "mine"]
    done = subprocess.run([*command, "--budget", "2s"], capture_output=True, text=True, check=True)
    assert "your loops, damaged" in done.stdout
    path = find("models", "mine")
    card = Model(path).card
    assert (card.name, card.data[-1].name, card.data[-1].licence) == ("mine", "mine", "the user's own")
    assert not export.may_ship(card)
    assert card.metrics["yours_own"] >= card.metrics["yours_base"]
    assert card.metrics["clean_own"] >= card.metrics["clean_base"] - personal.HARM
    assert card.metrics["other_own"] >= card.metrics["other_base"] - personal.FORGOTTEN


@pytest.mark.slow
def test_what_forgets_is_not_taken(base: Path, small_data: Path) -> None:
    card, net = weights.rebuild(base)
    _, ruined = weights.rebuild(base)
    with torch.no_grad():
        for p in ruined.parameters():
            p.add_(100 * torch.randn_like(p))
    judges = (
        personal.Source(dataset.load(small_data, "valid")),
        personal.Source(personal.as_loops([personal.exercise(i) for i in range(8)])),
    )
    before = personal.worth(net, card, *judges)
    share, chosen, after = personal.choose(net, ruined, card, before, judges)
    assert (share, chosen, after) == (0.0, net, before)


@pytest.mark.slow
def test_a_mixture_lies_between(base: Path) -> None:
    _, a = weights.rebuild(base)
    _, b = weights.rebuild(base)
    with torch.no_grad():
        for p in b.parameters():
            p.add_(1)
    for x, old, new in zip(personal.mix(a, b, 0.25).parameters(), a.parameters(), b.parameters(), strict=True):
        assert torch.allclose(x, old + 0.25 * (new - old))


def test_what_is_held_out_is_whole_songs_or_the_end_of_the_only_one(small_data: Path) -> None:
    loops = dataset.load(small_data, "all")
    learnt, held = personal.halves(loops)
    assert not set(learnt.songs) & set(held.songs)
    assert len(learnt) + len(held) == len(loops)
    one = loops.pick(np.flatnonzero(loops.songs == loops.songs[0]))
    learnt, held = personal.halves(one)
    assert len(held) == round(len(one) * personal.HELD_OUT) or len(held) == len(one) - len(learnt)
    assert max(learnt.starts) < min(held.starts)


def test_exercises_are_music_in_a_key() -> None:
    loops = personal.as_loops([personal.exercise(i) for i in range(24)])
    assert len(loops) == 24
    assert len({tuple(n.pitch for n in personal.exercise(i).notes) for i in range(24)}) == 24


@pytest.mark.slow
def test_too_little_music_and_a_wrong_base_are_sentences(base: Path, tmp_path: Path) -> None:
    music = songs.folder(tmp_path / "mine", 2)
    with pytest.raises(UserError, match=r"there are only \d+ two-bar loops.*add some files"):
        personal.personal([music], base, tmp_path, name="mine")
    (tmp_path / "odd.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a readable model"):
        personal.personal([music], tmp_path / "odd.onnx", tmp_path, name="mine")


def test_the_shipped_denoiser_can_be_trained_on() -> None:
    card, net = weights.rebuild(BASE)
    feed = export.probe(card, 1, 96)
    found = Model(BASE).run({name: x.numpy() for name, x in feed.items()})
    with torch.no_grad():
        assert np.abs(net.player()(*feed.values())[0].numpy() - found["onset"]).max() < 1e-4
