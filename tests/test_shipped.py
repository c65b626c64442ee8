import subprocess
import sys
from pathlib import Path

import pytest

import rtgen
from rtgen import shipped
from rtgen.errors import UserError


@pytest.fixture
def yours(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped.platformdirs, "user_data_path", lambda *_, **__: tmp_path / "you")
    for name in ("mine.yaml", "late-0.4.yml", "notes.txt"):
        (tmp_path / "you" / "presets").mkdir(parents=True, exist_ok=True)
        (tmp_path / "you" / "presets" / name).touch()
    return tmp_path / "you" / "presets"


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """The package as a wheel lays it out."""
    folder = tmp_path / "site-packages" / "rtgen" / "shipped" / "presets"
    folder.mkdir(parents=True)
    for name in ("jazz.yaml", "mine.yaml"):
        (folder / name).touch()
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "site-packages" / "rtgen" / "shipped.py"))
    return folder


def test_lists_yours_before_the_shipped(yours, wheel):
    assert shipped.available("presets") == [
        ("jazz", wheel / "jazz.yaml", "shipped"),
        ("late-0.4", yours / "late-0.4.yml", "yours"),
        ("mine", yours / "mine.yaml", "yours"),
    ]
    assert shipped.find("presets", "jazz") == wheel / "jazz.yaml"
    assert shipped.find("presets", "late-0.4") == yours / "late-0.4.yml"
    assert shipped.find("presets", "mine") == yours / "mine.yaml"


def test_a_checkout_has_them_at_its_root():
    root = Path(rtgen.__file__).parents[1]
    assert dict(shipped.folders("models"))["shipped"] == root / "models"


def test_takes_a_path(tmp_path, monkeypatch):
    (tmp_path / "a.onnx").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert shipped.find("models", "a.onnx") == Path("a.onnx")
    assert shipped.find("models", f"{tmp_path}/a.onnx") == tmp_path / "a.onnx"
    assert shipped.find("models", "~/a.onnx").is_file()


@pytest.mark.parametrize("path", ["b.onnx", "no/such", "."])
def test_says_that_a_path_leads_nowhere(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="model"):
        shipped.find("models", path)


def test_suggests_a_name_and_says_where_it_looked(yours, wheel):
    with pytest.raises(UserError) as error:
        shipped.find("presets", "jaz")
    message = str(error.value)
    assert "no preset called 'jaz'; available: jazz, late-0.4, mine" in message
    assert message.endswith("did you mean 'jazz'?")
    assert str(yours) in message
    assert str(wheel) in message


def test_says_that_there_is_nothing_at_all(tmp_path, monkeypatch, wheel):
    monkeypatch.setattr(shipped.platformdirs, "user_data_path", lambda *_, **__: tmp_path / "nobody")
    with pytest.raises(UserError, match="there are no models at all"):
        shipped.find("models", "x")


def test_is_light():
    code = "import sys, rtgen.shipped; sys.exit(bool({'numpy', 'onnxruntime', 'yaml', 'mido'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["~nosuchuser/x.yaml", "x" * 300 + ".yaml", "a\0/b", "/" + "y" * 5000])
def test_a_path_that_cannot_be_one_is_a_sentence(name):
    with pytest.raises(UserError, match="is not a file; check the path"):
        shipped.find("presets", name)
