from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from rtgen.errors import UserError
from rtgen.inference.card import Card
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.music.note import Loop
from tests.train import songs
from tests.train.test_fit import TINY
from train import export, fit, trainer, weights
from train.loops import dataset
from train.loops.sample import GRID
from train.models.images import wrap
from train.models.loop_denoiser import FOLD, MIN_STEPS, WISH, LoopDenoiser, loss

CARD = Card("tiny", "denoiser", GRID, min_steps=MIN_STEPS, step_multiple=FOLD)


def training() -> trainer.Training:
    """A run with a tiny model that is no longer pass-through."""
    torch.manual_seed(0)
    found = trainer.Training(TINY, TINY.architecture)
    with torch.no_grad():
        for p in found.average.parameters():
            p.add_(0.05 * torch.randn_like(p))
    found.seen += 10
    found.elapsed_s = 60.0
    return found.eval()


def shaken() -> LoopDenoiser:
    net = training().average
    assert isinstance(net, LoopDenoiser)
    return net


@pytest.fixture(scope="module")
def exported(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoopDenoiser, Path]:
    run = training()
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    card = export.card_of(run, run.average, small_data)
    report = export.write(run.average.player(), card, path)
    assert report.difference < export.PARITY
    assert 0 < report.rounding < 0.01
    net = export.rounded(run.average)
    assert isinstance(net, LoopDenoiser)
    return net, path


def inputs(count: int, steps: int) -> list[torch.Tensor]:
    feed = export.probe(CARD, count, steps)
    return [feed["roll"], feed["mask"], feed["phase"], torch.full((count, 1), 0.5), torch.zeros(count, WISH)]


def test_an_untrained_model_passes_through() -> None:
    roll, *others = inputs(2, 96)
    roll[:, 3] = roll[:, 0] * (torch.rand(roll[:, 0].shape) - 0.5)
    onset, hold, velocity, micro = LoopDenoiser(**TINY.architecture)(roll, *others)
    assert torch.equal(onset > 0.5, roll[:, 0] > 0.5)
    assert torch.equal(hold > 0.5, roll[:, 1] > 0.5)
    struck = roll[:, 0] > 0.5
    for made, given in ((velocity, roll[:, 2]), (micro, roll[:, 3])):
        assert torch.corrcoef(torch.stack([made[struck], given[struck]]))[0, 1] > 0.7


def test_a_loop_has_no_beginning_to_the_network() -> None:
    model, given = shaken(), inputs(1, 96)
    turned = [torch.roll(x, 30, dims=-1) if x.dim() > 2 else x for x in given]
    expected = torch.roll(model.logits(*given), 30, dims=-1)
    assert torch.allclose(model.logits(*turned), expected, atol=1e-5)


@pytest.mark.parametrize("margin", [1, 3, 5])
def test_a_wrap_is_learnt_through_as_slices_are(margin: int) -> None:
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: wrap(x, margin), (x,))
    assert torch.equal(wrap(x, margin), torch.cat([x[:, :, 5 - margin :], x, x[:, :, :margin]], dim=2))


def test_the_loss_falls_where_the_answer_is_right() -> None:
    target = inputs(2, 48)[0]
    right = torch.stack(
        [20 * target[:, 0] - 10, 20 * target[:, 1] - 10, target[:, 2].clamp(0.01, 0.99), target[:, 3]], 1
    )
    right[:, 2] = torch.logit(right[:, 2])
    assert loss(right, target) < 3
    assert loss(-right, target) > 100


def test_an_export_answers_as_its_model(exported: tuple[LoopDenoiser, Path]) -> None:
    model, path = exported
    assert export.check(model.player(), path).difference < export.PARITY
    with pytest.raises(RuntimeError, match="differs"):
        export.check(LoopDenoiser(**TINY.architecture), path)


def test_an_export_that_is_too_slow_fails(exported: tuple[LoopDenoiser, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_MS", 1e-6)
    with pytest.raises(RuntimeError, match="ms per run"):
        export.check(exported[0].player(), exported[1])


def test_its_weights_can_be_run_in_torch_again(exported: tuple[LoopDenoiser, Path]) -> None:
    feed = export.probe(Model(exported[1]).card, 2, 96)
    card, again = weights.rebuild(exported[1])
    assert card == Model(exported[1]).card
    for made, meant in zip(again.player()(*feed.values()), exported[0](*feed.values()), strict=True):
        assert torch.allclose(made, meant, atol=1e-5)


@pytest.mark.parametrize("path", sorted(Path("models").glob("*.onnx")), ids=lambda path: path.stem)
def test_so_can_those_of_what_comes_with_rtgen(path: Path) -> None:
    assert export.check(weights.rebuild(path)[1].player(), path).difference < export.PARITY


def test_large_weights_take_two_bytes_each_and_others_stay_whole(exported: tuple[LoopDenoiser, Path]) -> None:
    net, path = exported
    stored = {i.name: i.data_type for i in onnx.load(path).graph.initializer}
    halves = {name.removeprefix("net.") for name, kind in stored.items() if kind == onnx.TensorProto.FLOAT16}
    large = [name for name, p in net.named_parameters() if p.numel() >= export.LARGE]
    assert large
    assert halves == {f"{name}{weights.NARROW}" for name in large}
    with torch.no_grad():
        layer = torch.nn.Linear(40, 40)
        layer.weight[0, 0] = 1e6
        assert torch.equal(export.rounded(layer).weight, layer.weight), "16 bits cannot hold one of them"


def test_a_larger_network_begins_as_the_smaller_one_that_it_was() -> None:
    small, given = LoopDenoiser(**TINY.architecture), inputs(2, 96)
    for p in small.parameters():
        torch.nn.init.normal_(p, std=0.1)
    large = LoopDenoiser(**{**TINY.architecture, "dilations": [1, 16, 4]})
    weights.begin(large, small, "small.onnx")
    assert torch.allclose(large.logits(*given), small.logits(*given), atol=1e-5)
    with pytest.raises(UserError, match=r"large\.onnx does not fit: .* no place for its blocks\.2"):
        weights.begin(small, large, "large.onnx")


def test_its_card_is_complete(exported: tuple[LoopDenoiser, Path]) -> None:
    card = Model(exported[1]).card
    assert [(d.name, d.licence) for d in card.data] == [("set", "the user's own")]
    assert not export.may_ship(card)
    assert export.may_ship(replace(card, data=dataset.card_data(["pop909"])))
    assert dataset.card_data(["pop909"])[0].credit
    assert card.training["parameters"] == sum(p.numel() for p in exported[0].parameters())
    export.rewrite_card(exported[1], metrics={"f1_exact": 0.5})
    assert Model(exported[1]).card == replace(card, metrics={"f1_exact": 0.5})


def test_it_tells_nothing_of_the_machine_that_made_it(exported: tuple[LoopDenoiser, Path]) -> None:
    data = exported[1].read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in data
    assert b".py" not in data


def test_a_run_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist; train first"):
        fit.load(tmp_path / trainer.BEST)


@pytest.mark.parametrize("length", [1440, 1920, 3840, 7680])
def test_the_daemon_can_play_it_at_any_length(exported: tuple[LoopDenoiser, Path], length: int) -> None:
    played = Loop(length, tuple(n for n in songs.song(1) if n.end <= length))
    repaired = answer(Model(exported[1]), played, "clean", {}, 0)
    assert repaired.length == length
