from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rtgen.errors import UserError
from tests.train import songs
from train import dataset, fit
from train.sources import midi

TINY = fit.Config(
    "loop_denoiser",
    sets={"set": 1.0},
    architecture={"width": 16, "dilations": [1, 16], "lens": 4, "looks": [[16, 3]]},
    batch=4,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    dataset.prepare(midi.find([songs.folder(folder / "set", 60)]), folder / "data")
    return folder / "data"


def test_a_run_learns_saves_and_resumes(data: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    first = fit.fit(TINY, data, tmp_path, 1.5, progress=lambda _, loss: losses.append(loss))
    assert first.step > 5
    assert sum(losses[-3:]) < sum(losses[:3])
    assert (tmp_path / "log.csv").read_text().startswith("step,elapsed_s,rate,loss,f1")
    second = fit.fit(TINY, data, tmp_path, first.elapsed_s + 0.5, resume=True)
    assert second.step > first.step
    assert second.elapsed_s > first.elapsed_s


def test_a_signal_saves_and_ends(data: Path, tmp_path: Path) -> None:
    def terminate(state: fit.State, loss: float) -> None:
        if state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    state = fit.fit(TINY, data, tmp_path, 60, progress=terminate)
    assert state.step == 3
    assert fit.load_checkpoint(tmp_path / "last.pt")["state"]["step"] == 3


def test_the_same_seed_gives_the_same_weights(data: Path, tmp_path: Path) -> None:
    runs = []
    for name in ("a", "b"):
        torch.set_num_threads(1)
        run = fit.Run(TINY, tmp_path / name, resume=False)
        runs.append(torch.cat([p.flatten() for p in run.model.parameters()]))
    assert torch.equal(*runs)


def test_runs_are_neither_overwritten_nor_mixed_up(data: Path, tmp_path: Path) -> None:
    fit.Run(TINY, tmp_path, resume=False).save()
    with pytest.raises(UserError, match="--resume"):
        fit.Run(TINY, tmp_path, resume=False)
    with pytest.raises(UserError, match="another configuration"):
        fit.Run(replace(TINY, batch=8), tmp_path, resume=True)
    with pytest.raises(UserError, match="does not exist"):
        fit.Run(TINY, tmp_path / "none", resume=True)


def test_shares_of_sets_are_kept(data: Path) -> None:
    with pytest.raises(UserError, match="no loops of other"):
        dataset.load(data, "train", ["other"])
    sampler = fit.Sampler(dataset.load(data, "train"), {"set": 0.5, "other": 0.5})
    assert list(sampler.members) == ["set"]


def test_the_rate_rises_and_falls() -> None:
    rates = [fit.learning_rate(i / 100, 1.0) for i in range(101)]
    assert max(rates) == rates[2] == 1.0
    assert rates[0] == pytest.approx(0.01)
    assert rates[-1] == pytest.approx(0.01)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("40m", 2400), ("1.5h", 5400)])
def test_spans_of_time(text: str, seconds: float) -> None:
    assert fit.parse_time(text) == seconds


def test_wrong_settings_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no span of time"):
        fit.parse_time("soon")
    with pytest.raises(UserError, match="no configuration"):
        fit.read_config(tmp_path / "none.yaml")
    (tmp_path / "odd.yaml").write_text("modle: x")
    with pytest.raises(UserError, match="not a configuration"):
        fit.read_config(tmp_path / "odd.yaml")
    with pytest.raises(UserError, match="not understood"):
        fit.build({"breadth": 3})
    (tmp_path / "odd.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        fit.load_checkpoint(tmp_path / "odd.pt")


def test_the_shipped_configuration_is_read() -> None:
    config = fit.read_config("loop_denoiser")
    assert config.model == "loop_denoiser"
    assert all(dataset.about(name).ship for name in config.sets)
