from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.errors import UserError
from rtgen.instrument.preset import Preset
from rtgen.music.time import Metre
from rtgen.rig.kept import presets
from rtgen.rig.kept.presets import listed, load, numbered
from rtgen.settings import read
from rtgen.shipped import available, folders


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
        (
            "mode: varry",
            "mode is 'varry'; it is one of clean, vary, continue, blend, generate, accompany; did you mean 'vary'?",
        ),
        ("use: {}", "use is {}; it is one of answer, follow, hold, along"),
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
        ("distance: 0x" + "1" * 400, "distance is '0x1111111111...1111111111111', not a number"),
        ("tempo: " + "9" * 400, "tempo is '999999999999...9999999999999', not a number"),
        ("tempo: " + "1:" * 60_000 + "1", "not a number"),
        ("bars: 0x2", "bars is '0x2', not a number"),
        ("bars: 010", "bars is '010', not a number"),
        ("metre: 3:4", "'3:4' is not a valid metre"),
        ("metre: " + "9" * 5000 + "/4", "'99999999999999999999' is not a valid metre"),
        ("tempo: 2001-99-99", "tempo is '2001-99-99', not a number"),
        ("mode: !!str vary", "not valid YAML at line 1"),
        ("mode: &a vary\nuse: *a", "line 1 has an anchor or alias"),
        ("? [a, b]\n: 1", "line 1 has a list in place of a name"),
        ("mode: clean\nmode: vary", "mode appears twice, the second time at line 2"),
        ("[a" + ",a" * 100_000 + "]", "more than 5000 values"),
        ("[" * 200_000, "not valid YAML"),
        ('"' + "k" * 900 + '": 1', "there is no setting 'kkkkkkkkkkkk...kkkkkkkkkkkkk'"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_file_and_cure(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert sentence in str(caught.value)


def test_nested_aliases_are_not_followed(tmp_path: Path) -> None:
    doubled = "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    with pytest.raises(UserError, match="line 1 has an anchor or alias"):
        load(written(tmp_path, f"a0: &a0 [x, x]\n{doubled}? *a39\n: 1\n"))


def test_a_number_is_decimal_and_what_is_written_is_read(tmp_path: Path) -> None:
    said: dict[str, object] = {"distance": 1e-05, "bars": 4, "description": "0x1F", "model": "010", "tempo": 99.5}
    preset = load(written(tmp_path, yaml.safe_dump(said)))
    assert {name: preset.as_dict()[name] for name in said} == said


words = st.text(st.sampled_from("0123456789+-.:_exXoOeEnNaAiIfFtTrRuUyYsS~<=!&* "), max_size=12)


@settings(max_examples=300)
@given(words, st.floats(allow_nan=False) | st.integers(-(10**29), 10**29) | st.booleans())
def test_what_is_written_is_read_as_it_was(text: str, number: float) -> None:
    with TemporaryDirectory() as folder:
        path = written(Path(folder), yaml.safe_dump({"text": text, "number": number}, allow_unicode=True))
        assert read(path, "it") == {"text": text, "number": number}


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e300])
def test_a_number_too_large_for_a_float_is_out_of_range(value: float) -> None:
    """From JSON, as session logs have it."""
    for name in "tempo", "distance":
        with pytest.raises(ValueError, match=rf"{name} is (too large|-?1e\+300); it goes from"):
            Preset().changed(**{name: value})


@settings(max_examples=300)
@given(st.text(st.sampled_from("abmodetempo019.xX:-?&*![]{},|>'\"\\\n #%~\t\x85"), max_size=60))
def test_any_text_is_a_preset_or_a_sentence(text: str) -> None:
    with TemporaryDirectory() as folder:
        path = written(Path(folder), text)
        try:
            load(path)
        except UserError as error:
            assert str(path) in str(error)


def test_bad_presets_spoil_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = [preset.name for preset in numbered()]
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    mine = dict(folders("presets"))["yours"]
    mine.mkdir(parents=True)
    for number, text in enumerate(
        (
            "distance: 0x" + "1" * 400,
            f"model: {'x' * 300}.onnx",
            "model: ~nosuchuser/x.onnx",
            'model: "\\0/x.onnx"',
            "tempo: " + "1:" * 60_000 + "1",
            "\udcff\udcfe",
        )
    ):
        (mine / f"bad{number}.yaml").write_text(text, "utf-8", "surrogateescape")
    (mine / "good.yaml").write_text("mode: clean\n", "utf-8")
    (mine / "folder.yaml").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(mine / "pipe.yaml")
    (mine / "gone.yaml").symlink_to(mine / "nowhere")
    assert [preset.name for preset in numbered() if preset.name != "good"] == shipped
    bad = [each for each in listed() if each.trouble and each.item.origin == "yours"]
    assert [each.item.name for each in bad] == [f"bad{i}" for i in range(6)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.yaml")
    with pytest.raises(UserError, match=r"p.yaml cannot be read \(it is not a regular file\)"):
        load(tmp_path / "p.yaml")


def test_a_preset_that_breaks_the_reader_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> Preset:
        if path.stem == "clean":
            raise KeyError("x")
        return load(path)

    monkeypatch.setattr(presets, "load", broken)
    assert {each.item.name for each in listed() if each.preset is None} == {"clean"}
    assert "vary" in {preset.name for preset in numbered()}


def test_a_preset_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.*cannot be read"):
        load(tmp_path / "nowhere.yaml")


def test_what_ships_is_valid_and_says_what_it_does() -> None:
    shipped = [load(item.path) for item in available("presets") if item.origin == "shipped"]
    assert {"vary", "clean"} <= {p.name for p in shipped}
    assert all(p.description for p in shipped)
