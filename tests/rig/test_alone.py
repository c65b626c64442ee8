"""A model that nobody plays in real time is in a process of its own as well, with the same limits."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from rtgen.errors import UserError
from rtgen.inference.model import Model
from rtgen.inference.modes import answer_job
from rtgen.instrument.job import Job
from rtgen.instrument.parameters import PARAMETERS
from rtgen.music.note import Loop, Note
from rtgen.rig.worker import alone
from rtgen.rig.worker.alone import Alone
from tests.data.make_faulty import TRIGGER, faulty
from tests.data.make_tiny import build_composer

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"
KNOBS = {p.name: p.default for p in PARAMETERS.values()}
PHRASE = Loop(3840, tuple(Note(i * 240, 60 + i, 200) for i in range(8)))
EVIL = PHRASE.with_notes([*PHRASE.notes, Note(1920, TRIGGER, 200)])
capped = pytest.mark.skipif(sys.platform != "linux", reason="memory is capped at once on Linux only")


def job(loop: Loop = PHRASE, seed: int = 1) -> Job:
    return Job(loop, "vary", seed, 0, 0, KNOBS)


def test_it_answers_as_a_model_in_this_process_does() -> None:
    here = Model(TINY)
    with Alone(TINY, "cpu") as model:
        assert model.ready.model == "tiny"
        for seed in range(3):
            assert model.answer(job(seed=seed)) == answer_job(here, job(seed=seed))


def test_it_answers_whole_what_is_answered_in_parts_in_play(tmp_path: Path) -> None:
    path = tmp_path / "composer.onnx"
    onnx.save(build_composer(), path)
    asked = replace(job(), mode="continue")
    with Alone(path, "cpu") as model:
        assert model.answer(asked) == answer_job(Model(path), asked)


@capped
def test_a_model_that_takes_all_memory_is_a_sentence_when_it_is_loaded_and_when_it_answers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Model hog ran out of memory before it could play; choose a smaller model"):
        Alone(faulty(tmp_path, "hog", always=True), "cpu").__enter__()
    with Alone(faulty(tmp_path, "hog"), "cpu") as model:
        with pytest.raises(UserError, match="Model hog ran out of memory on this loop"):
            model.answer(job(EVIL))
        assert model.answer(job())


def test_a_model_that_never_returns_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Alone(faulty(tmp_path, "never"), "cpu") as model:
        monkeypatch.setattr(alone, "ANSWER_S", 0.5)
        with pytest.raises(UserError, match=r"Model never did not answer in .* s; choose another"):
            model.answer(job(EVIL))
    monkeypatch.setattr(alone, "LOAD_S", 3.0)
    with pytest.raises(UserError, match="Model never did not answer in 3 s"):
        Alone(faulty(tmp_path, "never", always=True), "cpu").__enter__()


def test_a_process_that_dies_is_a_sentence() -> None:
    with Alone(TINY, "cpu") as model:
        model._process.kill()
        with pytest.raises(UserError, match="The process of model tiny died"):
            model.answer(job())
