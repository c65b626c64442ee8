from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtgen.errors import UserError
from rtgen.music.note import Loop, Note
from rtgen.rig import canvas
from tests.train import songs
from train import preview
from train.__main__ import main
from train.loops import dataset
from train.loops.dataset import LENGTH, Loops
from train.loops.sample import Sample
from train.prepare.sources.piece import BAR

TINY = """
model: {model}
architecture: {architecture}
augmentation: {{transpose: true, dynamics: 0.5}}
"""


def made(*loops: Loop, tempo: float = 90.0) -> Loops:
    count = len(loops)
    offsets = np.cumsum([0, *(len(x) for x in loops)])
    name, zero = np.full(count, "a"), np.zeros(count, np.int32)
    bars, filled = np.full(count, BAR, np.int32), np.full(count, LENGTH, np.int32)
    tempos = np.full(count, tempo, np.float32)
    return Loops(dataset.from_loops(loops), offsets, name, name, name, zero, bars, filled, tempos)


def colours(path: Path) -> set[tuple[int, ...]]:
    image = Image.open(path).convert("RGB")
    image = image.crop((0, canvas.HEAD, *image.size))
    return {colour for _, colour in image.getcolors(1 << 24) or ()}


@pytest.mark.parametrize("tempo", [60.0, 180.0])
def test_every_row_shows_a_change(tempo: float) -> None:
    loop = Sample.of(made(Loop(LENGTH, songs.song(1, 2)), tempo=tempo), np.array([0]))
    rows = preview.rows(loop)
    assert len({row.setting for row in rows}) == len(rows) == 10
    for row in rows:
        before, after = preview._applied(row, loop, np.random.default_rng(0))
        assert not np.array_equal(before.notes, after.notes), row.setting


def test_a_loop_that_shows_much_is_chosen() -> None:
    dull = Loop(LENGTH, tuple(Note(on, 60, 480) for on in range(0, LENGTH, 480)))
    pitches = np.random.default_rng(0).integers(50, 70, 16)
    lively = Loop(LENGTH, tuple(Note(240 * i, int(p), 200, 40 + 5 * (i % 9)) for i, p in enumerate(pitches)))
    for seed in range(5):
        chosen = preview.choose(made(dull, dull, lively, dull), np.random.default_rng(seed))
        assert chosen.indices.tolist() == [2]


def test_the_picture_is_a_function_of_its_seed_and_tells_new_notes_apart(small_data: Path, tmp_path: Path) -> None:
    loops = dataset.load(small_data, "train")
    for name in "ab":
        preview.draw(loops, tmp_path / name, 1)
    a, b = ((tmp_path / name).read_bytes() for name in "ab")
    assert a == b
    assert canvas.GONE in colours(tmp_path / "a")
    assert any(red > 200 and blue < 120 for red, _, blue in colours(tmp_path / "a"))


@pytest.mark.parametrize(
    ("model", "architecture", "pictures"),
    [("loop_denoiser", "{width: 8, dilations: [1], lens: 4, looks: [[1, 3]]}", 2), ("mlp_vae", "{}", 1)],
)
def test_the_tasks_of_a_configuration(
    small_data: Path, tmp_path: Path, model: str, architecture: str, pictures: int
) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY.format(model=model, architecture=architecture))
    preview.draw_tasks(str(config), small_data, tmp_path / "a.png", 3)
    found = colours(tmp_path / "a.png")
    assert preview.BEGINS in found
    # What is heard is partly hidden, and stands over what was meant.
    assert (preview.HIDDEN in found) == (pictures == 2)
    panels = Image.open(tmp_path / "a.png").convert("RGB")
    column = canvas.MARGIN + canvas.AXIS + 5
    on_panel = np.array([panels.getpixel((column, y)) == canvas.PANEL for y in range(canvas.HEAD, panels.height)])
    strips = 0
    run = 0
    for inside in on_panel:
        run = run + 1 if inside else 0
        strips += run == canvas.STRIP // 2
    assert strips == 3 * pictures


def test_no_data_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["rtgen-train", "preview", "--data", f"{tmp_path}/none", "--out", f"{tmp_path}/a.png"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path}/none has no dataset of loops; make it with 'rtgen-train prepare SOURCES --out {tmp_path}/none'"
    ]
    assert not (tmp_path / "a.png").exists()


def test_notes_beyond_the_grid_have_their_place_too(tmp_path: Path) -> None:
    edges = tuple(Note(480 * i, pitch, 240, 60 + i) for i, pitch in enumerate((0, 20, 60, 127, 64, 10)))
    preview.draw(made(Loop(LENGTH, edges)), tmp_path / "a.png", 0)
    assert canvas.shade(canvas.KEPT, 60) in colours(tmp_path / "a.png")


def test_a_folder_that_is_not_there_is_named(small_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none/a\.png cannot be written"):
        preview.draw(dataset.load(small_data, "train"), tmp_path / "none" / "a.png", 1)
