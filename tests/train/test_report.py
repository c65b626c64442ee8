from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from rtgen.errors import UserError
from rtgen.music.files import read
from tests.train.test_fit import TINY
from train import fit, plots, report
from train.config import Config
from train.measures import evaluate

CODED = Config("mlp_vae", sets={"set": 1.0}, architecture={"latents": 4, "hidden": [16, 8]}, batch=16)


@pytest.mark.parametrize(
    ("config", "pictures"),
    [
        (TINY, {"learning", "repair", "variation"}),
        (CODED, {"learning", "reconstruction", "variation", "blend", "codes_drawn", "new", "codes"}),
    ],
    ids=["denoiser", "autoencoder"],
)
def test_a_run_becomes_a_page(small_data: Path, tmp_path: Path, config: Config, pictures: set[str]) -> None:
    fit.fit(config, small_data, tmp_path, budget_s=0.2)
    page = report.report(tmp_path, small_data, loops=4).read_text("utf-8")
    # It needs nothing but itself; the music is beside it.
    assert not re.findall(r'(?:src|href)="(?!data:image/png|music/)', page)
    assert {p.stem for p in tmp_path.glob("*.png")} == pictures
    assert page.count("<img") == len(pictures)
    measured = json.loads((tmp_path / "metrics.json").read_text())
    assert {m for measures in measured.values() for m in measures} <= set(evaluate.WORDS)
    files = sorted((tmp_path / "music").iterdir())
    assert len(files) == report.MUSIC
    for path in files:
        score = read(path.open("rb"), path.name)
        assert [bool(track.notes()) for track in score.tracks] == [True, True], path.name


def test_what_has_a_baseline_is_seen_beside_it(tmp_path: Path) -> None:
    judged = ("bits", "bits_a_note", "bits_a_note_markov", "bits_markov", "real_notes", "notes")
    names = ["step", "train/loss_b", *(f"valid/{name}" for name in judged)]
    (tmp_path / "log" / "version_0").mkdir(parents=True)
    rows = f"{','.join(names)}\n{','.join(map(str, range(len(names))))}"
    (tmp_path / "log" / "version_0" / "metrics.csv").write_text(rows)
    assert {panel: set(lines) for panel, lines in report.logged(tmp_path).items()} == {
        "bits": {"validation", "markov"},
        "bits_a_note": {"validation", "markov"},
        "notes": {"validation", "real"},
        "training losses": {"loss_b"},
    }


def test_a_run_that_was_resumed_has_one_curve(tmp_path: Path) -> None:
    for version, rows in enumerate(["0,1.5\n10,1.0\n", "20,0.5\n"]):
        folder = tmp_path / "log" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("step,train/loss\n" + rows)
    assert report.logged(tmp_path) == {"training losses": {"loss": ([0, 10, 20], [1.5, 1.0, 0.5])}}
    with pytest.raises(UserError, match="no log; train it first"):
        report.logged(tmp_path / "none")


def test_what_a_generator_and_its_judge_lose_stands_in_one_panel() -> None:
    picture = plots.curves({"training losses": {"loss_generator": ([0, 1], [1, 2]), "loss_other": ([0], [3])}})
    assert picture.startswith(b"\x89PNG")


def test_a_map_of_codes_is_the_same_each_time() -> None:
    codes = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    colours: dict[str, list[str] | list[float]] = {"by key": ["C", "D"] * 10, "by density": [0.5] * 20}
    assert plots.map_of(codes, colours) == plots.map_of(codes, colours)
