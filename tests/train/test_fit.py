from __future__ import annotations

import csv
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rtgen.errors import UserError
from rtgen.music.time import Metre
from tests.train import songs
from train import export, fit, trainer
from train.config import Config
from train.loops import dataset, mix
from train.models.base import Aim, Source
from train.models.loop_denoiser import LoopDenoiser
from train.prepare.prepare import prepare
from train.prepare.sources.find import find

TINY = Config(
    "loop_denoiser",
    sets={"set": 1.0},
    architecture={"width": 16, "dilations": [1, 16], "lens": 4, "looks": [[16, 3]]},
    augmentation={"transpose": True, "shift": True, "velocity": True},
    batch=4,
)
COMMAND = [sys.executable, "-m", "train", "fit"]


@pytest.fixture
def yaml(tmp_path: Path) -> Path:
    """The tiny configuration as a file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "model: loop_denoiser\nsets: {set: 1.0}\nbatch: 4\nepochs: 1\n"
        "architecture: {width: 16, dilations: [1, 16], lens: 4, looks: [[16, 3]]}\n"
    )
    return path


def weights(folder: Path) -> torch.Tensor:
    return torch.cat([p.flatten() for p in fit.load(folder / trainer.LAST).net.parameters()])


def test_a_run_learns_saves_logs_and_resumes(small_data: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    config = replace(TINY, batch=16, learning_rate=0.01)
    first = fit.fit(config, small_data, tmp_path, epochs=4, progress=lambda state: losses.append(state.loss))
    assert first.step == len(losses) > 40
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert 0 < first.valid["note_f1"] < 1
    rows = [row for path in tmp_path.glob("log/*/metrics.csv") for row in csv.DictReader(path.open())]
    assert any(float(row["train/loss"]) > 0 for row in rows if row.get("train/loss"))
    assert any(row.get("valid/note_f1") for row in rows)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "version_0")).Reload()
    assert {"train/loss", "valid/note_f1"} <= set(events.Tags()["scalars"])
    second = fit.fit(config, small_data, tmp_path, epochs=5, resume=True)
    assert second.step == first.step * 5 // 4
    assert second.elapsed_s > first.elapsed_s


def test_a_run_begins_with_the_weights_of_a_model_and_says_so(small_data: Path, tmp_path: Path) -> None:
    fit.fit(TINY, small_data, tmp_path / "first", epochs=1)
    first = fit.load(tmp_path / "first" / trainer.LAST)
    base = tmp_path / "base.onnx"
    export.write(first.average.player(), export.card_of(first, first.average, small_data), base)
    fit.fit(replace(TINY, learning_rate=1e-9), small_data, tmp_path / "second", base=base, epochs=1)
    fit.fit(replace(TINY, learning_rate=1e-9), small_data, tmp_path / "second", epochs=2, resume=True)
    second = fit.load(tmp_path / "second" / trainer.LAST)
    for made, meant in zip(second.average.parameters(), first.average.parameters(), strict=True):
        assert torch.allclose(made, meant, rtol=2**-11, atol=1e-5)  # the model has them in 16 bits
    told = export.card_of(second, second.average, small_data).training
    assert told["begun_with"]["loops_seen"] == int(first.seen) * TINY.batch
    assert any("--from" in command for command in told["commands"])


def test_a_budget_is_kept_over_a_stop(small_data: Path, tmp_path: Path) -> None:
    first = fit.fit(TINY, small_data, tmp_path, budget_s=0.5)
    assert first.share == 1
    assert first.elapsed_s >= 0.5
    second = fit.fit(TINY, small_data, tmp_path, budget_s=first.elapsed_s + 0.5, resume=True)
    assert second.step > first.step
    assert second.elapsed_s >= first.elapsed_s + 0.5


def test_epochs_are_passes_over_the_loops(small_data: Path, tmp_path: Path) -> None:
    state = fit.fit(replace(TINY, batch=16), small_data, tmp_path, epochs=2)
    loops = len(dataset.load(small_data, "train"))
    assert state.step == 2 * -(-loops // 16)
    assert state.share == 1


def test_a_signal_saves_and_a_resumed_run_is_as_one_unbroken(small_data: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)

    def terminate(state: trainer.State) -> None:
        if state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    config = replace(TINY, batch=32)
    stopped = fit.fit(config, small_data, tmp_path / "a", epochs=1, progress=terminate)
    assert stopped.step in (3, 4)  # the step under way is finished
    assert stopped.stopped == "SIGTERM"
    assert int(fit.load(tmp_path / "a" / trainer.LAST).seen) == stopped.step
    fit.fit(config, small_data, tmp_path / "a", epochs=1, resume=True)
    fit.fit(config, small_data, tmp_path / "b", epochs=1)
    assert torch.equal(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_runs_are_neither_overwritten_nor_mixed_up(small_data: Path, tmp_path: Path) -> None:
    fit.fit(TINY, small_data, tmp_path, budget_s=0.1)
    with pytest.raises(UserError, match="--resume"):
        fit.fit(TINY, small_data, tmp_path, budget_s=0.1)
    with pytest.raises(UserError, match="another configuration"):
        fit.fit(replace(TINY, batch=8), small_data, tmp_path, budget_s=0.1, resume=True)
    with pytest.raises(UserError, match="does not exist"):
        fit.fit(TINY, small_data, tmp_path / "none", budget_s=0.1, resume=True)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / trainer.LAST).write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        fit.fit(TINY, small_data, tmp_path / "odd", resume=True)


def test_a_checkpoint_of_another_architecture_is_refused(small_data: Path, tmp_path: Path) -> None:
    fit.fit(TINY, small_data, tmp_path, budget_s=0.1)
    saved: dict[str, Any] = torch.load(tmp_path / trainer.LAST, weights_only=True)
    saved["hyper_parameters"]["config"]["model"] = "conv_vae"
    torch.save(saved, tmp_path / trainer.LAST)
    with pytest.raises(UserError, match=f"{trainer.LAST} is a checkpoint that this rtgen cannot use.*no setting"):
        fit.fit(TINY, small_data, tmp_path, budget_s=0.1, resume=True)


def test_a_loss_that_is_no_number_ends_the_run(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit.fit(TINY, small_data, tmp_path, budget_s=0.3)
    good = int(fit.load(tmp_path / trainer.LAST).seen)
    aims = LoopDenoiser.aims

    def poisoned(self: LoopDenoiser, task: Any) -> Iterator[Aim]:
        for aim in aims(self, task):
            yield Aim(aim.loss * float("nan"))

    monkeypatch.setattr(LoopDenoiser, "aims", poisoned)
    with pytest.raises(UserError, match=rf"became nan at step {good}.*--from"):
        fit.fit(TINY, small_data, tmp_path, budget_s=60, resume=True)
    assert int(fit.load(tmp_path / trainer.LAST).seen) == good
    assert torch.isfinite(weights(tmp_path)).all()


def test_a_full_disk_leaves_the_last_checkpoint_whole(small_data: Path, tmp_path: Path, yaml: Path) -> None:
    run = [*COMMAND, str(yaml), "--data", str(small_data), "--out", str(tmp_path / "run"), "--device", "cpu"]
    subprocess.run([*run, "--budget", "0.1s"], check=True, capture_output=True)
    before = (tmp_path / "run" / trainer.LAST).read_bytes()
    assert len(before) > 40_000

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    done = subprocess.run(
        [*run, "--budget", "1s", "--resume"], preexec_fn=fill, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "run" / trainer.LAST).read_bytes() == before


def test_sigterm_to_the_command_says_how_to_go_on(small_data: Path, tmp_path: Path, yaml: Path) -> None:
    run = [*COMMAND, str(yaml), "--data", str(small_data), "--out", str(tmp_path / "run"), "--budget", "60s"]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        while process.poll() is None and not any(tmp_path.glob("run/log/*/metrics.csv")):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.stdout
        said = process.stdout.read()
    assert process.returncode == 0
    assert f"--out {tmp_path / 'run'} --budget 60s --resume" in " ".join(said.split())
    assert (tmp_path / "run" / trainer.LAST).exists()


def test_two_processes_train_as_one(small_data: Path, tmp_path: Path, yaml: Path) -> None:
    run = [*COMMAND, str(yaml), "--data", str(small_data), "--out", str(tmp_path / "run"), "--device", "cpu"]
    done = subprocess.run(
        [*run, "--epochs", "1", "--devices", "2"], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    loops = len(dataset.load(small_data, "train"))
    assert int(fit.load(tmp_path / "run" / trainer.LAST).seen) == -(-loops // 8)


def test_a_device_that_is_not_there_is_a_sentence(small_data: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(UserError, match="device cuda is not available; use --device cpu"):
        fit.fit(TINY, small_data, tmp_path, budget_s=0.1, device="cuda")


def test_shares_of_sets_are_kept(small_data: Path) -> None:
    with pytest.raises(UserError, match="no loops of other"):
        dataset.load(small_data, "train", ["other"])
    loops = dataset.load(small_data, "train")
    half = len(loops) // 2
    two = replace(loops, sets=np.array(["a"] * half + ["b"] * (len(loops) - half)))
    drawn = Source(two, {"a": 3.0, "b": 1.0, "absent": 5.0}).draw(1000, np.random.default_rng(0))
    assert np.mean(drawn.indices < half) == pytest.approx(0.75, abs=0.05)


@pytest.fixture(scope="module")
def two_metres(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty songs in 4/4 and as many in 3/4 as a dataset."""
    folder = tmp_path_factory.mktemp("metres")
    songs.folder(folder / "set", 60)
    for seed in range(60, 120):
        songs.save(folder / "set" / f"{seed}.mid", songs.song(seed), metre=Metre(3, 4))
    prepare(find([folder / "set"]), folder / "data")
    return folder / "data"


def test_each_metre_has_its_share_and_validation_is_in_the_first(two_metres: Path) -> None:
    config = replace(TINY, metres={"4/4": 3.0, "3/4": 1.0, "5/4": 9.0})
    source = mix.source(two_metres, "train", config)
    bars = [source.draw(2, np.random.default_rng(seed)).bar for seed in range(400)]
    assert set(bars) == {1920, 1440}  # there is nothing in 5/4
    assert bars == [source.draw(2, np.random.default_rng(seed)).bar for seed in range(400)]
    assert np.mean([bar == 1440 for bar in bars]) == pytest.approx(1 / 13, abs=0.05)
    plain = mix.source(two_metres, "train", TINY)
    assert len(source) > len(plain) == len(source.loops)
    assert set(mix.source(two_metres, "valid", config).loops.bars.tolist()) == {1920}
    few = mix.source(two_metres, "train", replace(config, metres={"4/4": 3.0, "3/4": 1.0}, loops=16))
    assert (len(few.loops), len(few)) == (12, 16)
    waltzes = mix.source(two_metres, "train", replace(config, metres={"3/4": 1.0}))
    assert waltzes.loops.length == 2880
    with pytest.raises(UserError, match="no loops of set for 'train' with 2 bars of 5 beats"):
        mix.source(two_metres, "train", replace(config, metres={"5/4": 1.0}))


@pytest.mark.parametrize("model", ["loop_denoiser", "mlp_vae"])
def test_a_run_learns_from_two_metres(model: str, two_metres: Path, tmp_path: Path) -> None:
    small = TINY.architecture if model == "loop_denoiser" else {"hidden": [16], "latents": 4}
    config = replace(TINY, model=model, architecture=small, metres={"3/4": 0.5, "4/4": 0.5}, batch=8, loops=64)
    state = fit.fit(config, two_metres, tmp_path, epochs=1)
    assert state.step == 8
    assert 0 <= next(value for name, value in state.valid.items() if "f1" in name) <= 1
    assert fit.load(tmp_path / trainer.LAST).config.metres == config.metres


def test_the_rate_rises_and_falls() -> None:
    config = replace(TINY, learning_rate=1.0)
    rates = [trainer.learning_rate(i / 100, config) for i in range(101)]
    assert max(rates) == rates[2] == 1.0
    assert rates[0] == pytest.approx(0.01)
    assert rates[-1] == pytest.approx(0.01)
    assert trainer.learning_rate(0.9, replace(config, schedule="constant")) == 1.0


def test_music_of_ones_own_is_half_of_what_is_learnt() -> None:
    config = Config("conv_vae", sets={"pop909": 0.6, "freedoom": 0.3})
    assert mix.shares(config, ["freedoom", "groove", "mine", "pop909", "yours"]) == {
        "pop909": 0.6,
        "freedoom": 0.3,
        "mine": pytest.approx(0.45),
        "yours": pytest.approx(0.45),
    }
    assert mix.shares(config, ["mine"]) == {"mine": 1.0}
    assert mix.shares(replace(config, own=False), ["mine", "pop909"]) == {"pop909": 0.6}
    assert mix.shares(replace(config, sets=None), ["mine", "pop909"]) is None
    assert mix.shares(config, ["groove"]) == config.sets  # for the sentence about what is missing


def test_a_set_of_ones_own_is_learnt_from_by_every_configuration(small_data: Path) -> None:
    config = Config("mlp_vae", sets={"pop909": 1.0})
    assert set(mix.source(small_data, "train", config).loops.sets) == {"set"}
