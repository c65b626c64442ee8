from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rtgen.errors import UserError
from rtgen.instrument.preset import Preset
from rtgen.music.time import Metre
from rtgen.rig.kept.presets import load
from rtgen.shipped import available


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    return path


def test_a_preset_is_read(tmp_path: Path) -> None:
    preset = load(written(tmp_path, "mode: clean\nuse: follow\nbars: 4\nmetre: 3/4\ndistance: 1\n"))
    assert (preset.name, preset.mode, preset.use, preset.metre) == ("mine", "clean", "follow", Metre(3, 4))
    assert preset.length == 4 * 1440
    assert preset.knobs["distance"] == 1.0
    assert preset.knobs["temperature"] == 1.0


def test_a_preset_says_all_of_itself(tmp_path: Path) -> None:
    preset = Preset().changed(bars=3, metre="6/8", distance=0.1)
    fields = preset.as_dict()
    fields.pop("name")
    assert load(written(tmp_path, yaml.safe_dump(fields))).as_dict() == {**preset.as_dict(), "name": "mine"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("distence: 0.5", "there is no setting 'distence'; did you mean 'distance'?"),
        ("name: x", "there is no setting 'name'"),
        ("distance: 2", "distance is 2; it goes from 0 to 1"),
        ("distance: .nan", "distance is nan; it goes from 0 to 1"),
        ("distance: far", "distance is 'far', not a number"),
        ("distance: true", "distance is True, not a number"),
        ("distance: [1]", "distance is [1], not a number"),
        ("bars: 0", "bars is 0; it goes from 1 to 8"),
        ("bars: 1.5", "bars is 1.5, not a whole number"),
        ("mode: varry", "mode is 'varry'; it is one of clean, vary, continue, blend, generate; did you mean 'vary'?"),
        ("use: {}", "use is {}; it is one of answer, follow, hold"),
        ("metre: 4/5", "4/5 is not a valid metre"),
        ("metre: 4", "'4' is not a valid metre"),
        ("tempo: 5", "tempo is 5; it goes from 20 to 400"),
        ("channel: 17", "channel is 17; it goes from 1 to 16"),
        ("model: 3", "model is 3, not a short text"),
        ("mode:", "mode has no value"),
        ("- mode", "not a list of 'setting: value' lines"),
        ("", "says nothing"),
        ("1: 2", "not a list of 'setting: value' lines"),
        ("mode: [", "not valid YAML at line"),
        ("mode: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("mode: '" + "x" * 270000 + "'", "larger than 256 KB"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_file_and_cure(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert sentence in str(caught.value)


def test_a_preset_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.*cannot be read"):
        load(tmp_path / "nowhere.yaml")


def test_what_ships_is_valid_and_says_what_it_does() -> None:
    shipped = [load(item.path) for item in available("presets") if item.origin == "shipped"]
    assert {"vary", "clean"} <= {p.name for p in shipped}
    assert all(p.description for p in shipped)
