from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from rtgen.errors import UserError
from rtgen.inference.cells import distance
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.inference.sequence import groups
from rtgen.music.note import Loop
from rtgen.music.time import PPQN
from tests.inference.models import KNOBS
from tests.train import songs
from train import config, export, fit, trainer
from train.loops import mix
from train.loops.sample import GRID
from train.models import build, kind, symbols
from train.models.base import Source
from train.models.note_lstm import NoteLstm
from train.models.recurrent import Lstm

SMALL = {"units": [24, 16], "dense": 16}
REPAIRED, DESCRIBED = (
    replace(c, sets=None, batch=16, architecture={**c.architecture, **SMALL, "context": 24, "embedding": embedding})
    for c, embedding in ((config.read("note_lstm"), 16), (config.read("note_lstm_as_described"), 0))
)


def built(c: config.Config, data: Path) -> tuple[NoteLstm, Source]:
    torch.manual_seed(0)
    source = mix.source(data, "train", c)
    settings = {**c.architecture, **kind(c.model).settings_from(source.loops, c.architecture)}
    net = build(c.model, settings)
    assert isinstance(net, NoteLstm)
    return net, source


@pytest.mark.parametrize("name", ["note_lstm", "note_lstm_as_described", "note_lstm_small"])
def test_its_configurations_build(name: str, small_data: Path) -> None:
    c = replace(config.read(name), sets=None)
    net, source = built(c, small_data)
    task = net.draw(source, 2, np.random.default_rng(0))
    assert task["symbol"].shape == (2, c.architecture["context"] + 1)
    assert torch.isfinite(next(iter(net.aims(task))).loss)


def test_music_is_told_as_it_is_played(small_data: Path) -> None:
    net, source = built(replace(REPAIRED, architecture={**REPAIRED.architecture, "in_key": False}), small_data)
    said = symbols.told(source.loops, 0, 10_000, net.book, in_key=False, apart=True)
    at, cells = 0, set()
    for number in said:
        cells |= {(at, pitch) for pitch in net.vocabulary[number][0]}
        at += net.vocabulary[number][1]
    row = [symbols.loop_at(source.loops, i) for i in range(symbols.in_a_row(source.loops, 0))]
    assert at == GRID.steps(source.loops.length) * len(row)
    assert cells == {
        (i * 96 + column, pitch)
        for i, loop in enumerate(row)
        for column, both in groups(loop, GRID, 0)
        for pitch in both
    }


def test_a_song_is_told_to_its_end(small_data: Path) -> None:
    net, source = built(REPAIRED, small_data)
    loops = source.loops
    assert [symbols.in_a_row(loops, i) for i in range(4)] == [4, 3, 2, 1]
    apart, on = (symbols.told(loops, 3, 10_000, net.book, in_key=True, apart=apart) for apart in (True, False))
    assert on[: len(apart)] == apart
    assert len(on) > 2 * len(apart)


def test_every_key_is_told_as_the_same(small_data: Path) -> None:
    net, source = built(REPAIRED, small_data)
    loops = source.loops
    told = symbols.told(loops, 0, 60, net.book, in_key=True, apart=True)
    for up in (-3, 2, 4):
        notes = loops.notes.copy()
        notes[:, 2] += up
        other = symbols.told(replace(loops, notes=notes), 0, 60, net.book, in_key=True, apart=True)
        assert other == told


def test_as_described_a_chord_is_its_pitch_classes_and_lasts_half_a_beat(small_data: Path) -> None:
    net, _ = built(DESCRIBED, small_data)
    assert {steps for _, steps in net.vocabulary[1:]} == {6}
    for pitches, _ in net.vocabulary[1:]:
        assert len(pitches) == 1 or all(60 <= pitch < 72 for pitch in pitches)
    assert [net.vocabulary[s][0] for s in net.book.said([(0, frozenset((48, 52, 55)))], 96)] == [[60, 64, 67]]


def test_padding_is_not_learnt_from(small_data: Path) -> None:
    net, source = built(REPAIRED, small_data)
    net.eval()
    task = net.draw(source, 4, np.random.default_rng(0))
    task["symbol"][:, 10:] = 0
    wanted = next(iter(net.aims(task))).loss
    short = {"symbol": task["symbol"][:, :10]}
    assert torch.allclose(wanted, next(iter(net.aims(short))).loss)


def test_one_symbol_after_the_other_is_as_good_as_all_at_once(small_data: Path) -> None:
    net, source = built(REPAIRED, small_data)
    net.eval()
    heard = net.draw(source, 3, np.random.default_rng(0))["symbol"]
    whole, after = net(heard, net.nothing(3))
    memory, said = net.nothing(3), []
    for symbol in heard.T:
        logits, memory = net(symbol[:, None], memory)
        said.append(logits)
    assert torch.allclose(torch.cat(said, dim=1), whole, atol=1e-5)
    assert torch.allclose(memory, after, atol=1e-5)


def test_some_units_do_not_hear_themselves_while_it_learns() -> None:
    torch.manual_seed(0)
    layer = Lstm(2, 400, dropout=0.5)
    x, zeros = torch.zeros(1, 2, 2), torch.zeros(1, 400)
    said, *_ = layer(x, zeros, zeros)
    (said[0, 1].sum() + said[0, 0].sum()).backward()
    weights = dict(layer.layer.named_parameters())["weight_hh_l0"]
    assert weights.grad is not None
    heard = (weights.grad.abs().sum(dim=0) > 0).float().mean()
    assert 0.4 < heard < 0.6


def test_guesses_are_chances_and_know_what_follows() -> None:
    pairs = torch.zeros(4, 4, dtype=torch.int32)
    pairs[1, 2], pairs[2, 1], pairs[2, 3] = 8, 4, 4
    chances = symbols.markov(pairs, torch.tensor([1, 2, 3, 0]))
    assert torch.allclose(chances.sum(dim=1), torch.ones(4, dtype=torch.double))
    assert chances[0, 2] > 0.9
    assert torch.allclose(chances[1, 1], chances[1, 3], atol=0.05)
    assert torch.allclose(chances[2], symbols.unigram(pairs))
    assert not chances[:, 0].any()


def test_loops_of_a_song_are_not_varied_one_by_one(small_data: Path) -> None:
    net, _ = built(REPAIRED, small_data)
    for augmentation, fits in ({"transpose": True}, True), ({"shift": True}, False):
        source = mix.source(small_data, "train", replace(REPAIRED, augmentation=augmentation))
        if fits:
            net.draw(source, 2, np.random.default_rng(0))
        else:
            with pytest.raises(UserError, match="transpose"):
                net.draw(source, 2, np.random.default_rng(0))


@pytest.mark.parametrize("c", [REPAIRED, DESCRIBED], ids=["repaired", "as described"])
def test_it_learns_is_exported_and_continues(c: config.Config, small_data: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    c = replace(c, learning_rate=0.01)
    state = fit.fit(c, small_data, tmp_path, epochs=5, progress=lambda s: losses.append(s.loss))
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    assert state.valid["bits_markov"] < state.valid["bits_unigram"]
    assert state.valid["bits"] < state.valid["bits_unigram"] or c.schedule == "constant"
    training = fit.load(tmp_path / trainer.LAST)
    path = tmp_path / "m.onnx"
    card = export.card_of(training, training.average, small_data)
    found = export.write(training.average.player(), card, path)
    assert found.difference < export.PARITY

    model = Model(path)
    played = Loop(3840, tuple(n for n in songs.song(99) if n.end <= 3840))
    continued = answer(model, played, "continue", KNOBS, 1, past=[played])
    assert len(continued) > 4
    assert distance(continued, played, GRID) > 0.2
    if not c.architecture["rhythm"]:
        onsets = sorted({n.onset for n in continued.notes})
        assert {b - a for a, b in pairwise(onsets)} == {PPQN // 2}
