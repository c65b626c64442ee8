from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rtgen.errors import UserError
from train import config
from train.loops import dataset
from train.models import NAMES, build


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("40m", 2400), ("1.5h", 5400)])
def test_spans_of_time(text: str, seconds: float) -> None:
    assert config.parse_time(text) == seconds


def test_a_wrong_span_is_a_sentence() -> None:
    with pytest.raises(UserError, match="not a duration"):
        config.parse_time("soon")


@pytest.mark.parametrize("name", config.names())
def test_every_configuration_that_comes_with_rtgen_is_read(name: str) -> None:
    found = config.read(name)
    assert found.model in NAMES
    assert all(dataset.about(s).ship for s in found.sets or ())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("modle: x", "unknown setting 'modle'; did you mean 'model'"),
        ("batch: 3", "'model' is missing"),
        ("model: conv_dae\nbatch: 0", "batch is 0, not an integer of 1 or more"),
        ("model: conv_dae\nbatch: true", "batch is True"),
        ("model: conv_dae\nlearning_rate: 1e-3", "learning_rate is '1e-3'.*write 0.001"),
        ("model: conv_dae\noptimiser: sgd", "one of adamw"),
        ("model: conv_dae\naugmentation: {transpse: true}", "did you mean 'transpose'"),
        ("model: conv_dae\narchitecture: 3", "architecture is 3"),
        ("model: conv_dae\nsets: {}", "share above 0"),
        ("model: conv_dae\nmetres: 3/4", "metres is '3/4'; give every metre a share"),
        ("model: conv_dae\nmetres: {}", "give every metre a share"),
        ("model: conv_dae\nmetres: {4/4: 0}", "metres gives 4/4 a share of 0; it must be above 0"),
        ("model: conv_dae\nmetres: {waltz: 1}", "'waltz' is not a valid metre"),
        ("model: conv_dae\nmetres: {3/4: 1, 6/8: 1}", "bars of 6/8 and 3/4 are equally long"),
        ("- 1", "not a mapping"),
        ("model: [", "not a valid configuration"),
        ("a: &a [*a, *a]", "not a valid configuration"),
        ("model: !!python/object/apply:os.system [ls]", "not a valid configuration"),
    ],
)
def test_a_wrong_configuration_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence) as error:
        config.read(tmp_path / "odd.yaml")
    assert "\n" not in str(error.value)


def test_what_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no configuration"):
        config.read(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="no architecture 'conv_vaee'; did you mean 'conv_vae'"):
        build("conv_vaee", {})
    with pytest.raises(UserError, match="no setting 'widht'; did you mean 'width'"):
        build("loop_denoiser", {"widht": 3})
    with pytest.raises(UserError, match="cannot be built"):
        build("loop_denoiser", {"width": "wide"})


def test_what_rtgen_brings_is_known_by_its_name() -> None:
    assert all(config.called(config.read(name)) == name for name in config.names())
    assert config.called(replace(config.read("note_lstm_small"), batch=7)) == "note_lstm.yaml"
