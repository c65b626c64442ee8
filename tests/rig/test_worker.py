from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

import onnx
import pytest

from rtgen.inference.along import Along
from rtgen.inference.card import ROLES
from rtgen.inference.model import Model
from rtgen.inference.modes import answer_job
from rtgen.instrument.job import MODES, Answer, HalfBeat, Heard, Job, Mode, Placed, Plan
from rtgen.instrument.parameters import PARAMETERS
from rtgen.music.attributes import NAMES
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN
from rtgen.rig.worker import main as answering
from rtgen.rig.worker import wire
from rtgen.rig.worker.wire import Failed, Ready, Report, Said
from rtgen.rig.worker.worker import Worker
from tests.data.make_tiny import (
    AUTOENCODER,
    CARD,
    GENERATOR,
    build,
    build_code,
    build_composer,
    build_harmoniser,
    build_sequence,
)

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"
KNOBS = {p.name: p.default for p in PARAMETERS.values()}
LOOP = Loop(3840, tuple(Note(i * 240, 60 + i, 200) for i in range(16)))
MAKERS: dict[str, Callable[[], onnx.ModelProto]] = {
    "denoiser": build,
    "drummer": lambda: build(replace(CARD, role="drummer")),
    "autoencoder": lambda: build_code(AUTOENCODER),
    "generator": lambda: build_code(GENERATOR),
    "sequence": build_sequence,
    "composer": build_composer,
}
Reports = SimpleQueue[Report]
Kind = TypeVar("Kind", bound=Report)


@pytest.fixture
def reports() -> Reports:
    return SimpleQueue()


@pytest.fixture
def worker(reports: Reports) -> Iterator[Worker]:
    worker = Worker(TINY, "cpu", reports.put)
    worker.start()
    yield worker
    worker.stop()
    assert worker.pid is None or not Path(f"/proc/{worker.pid}").exists()


def take(reports: Reports, kind: type[Kind]) -> Kind:
    """The next report but for where an answer lies, which follows when there is time for it."""
    while isinstance(report := reports.get(timeout=60), Placed) and kind is not Placed:
        pass
    assert isinstance(report, kind), report
    return report


def take_parts(reports: Reports) -> list[Answer]:
    """The next answer, in one or in parts."""
    parts = [take(reports, Answer)]
    while parts[-1].part not in ("whole", "last"):
        parts.append(take(reports, Answer))
    return parts


def joined(parts: list[Answer]) -> Loop:
    return parts[0].loop.with_notes(n for part in parts for n in part.loop.notes).monophonic_by_pitch()


def job(target: int, **knobs: float) -> Job:
    return Job(LOOP, "vary", 5, target, 1, {**KNOBS, **knobs})


def test_jobs_are_answered_in_order(worker: Worker, reports: Reports) -> None:
    ready = take(reports, Ready)
    assert (ready.model, ready.device) == ("tiny", "cpu")
    assert 0 < ready.slowest_s < 5
    worker.ask(job(3840, distance=0.0))
    assert take(reports, Answer) == Answer(LOOP, 3840, 1)
    placed = take(reports, Placed)
    assert placed.loop == placed.answer
    assert len(placed.loop) == len(ready.dimensions) == len(NAMES)
    worker.ask(job(7680, distance=0.5))
    second = take(reports, Answer)
    assert (second.target, len(second.loop)) == (7680, 16)
    assert second.loop != LOOP


def test_a_job_that_cannot_be_done_costs_only_itself(worker: Worker, reports: Reports) -> None:
    take(reports, Ready)
    worker.ask(Job(LOOP, "vary", 5, 1, 1, {}))  # no knobs at all
    failed = take(reports, Failed)
    assert "KeyError" in failed.reason
    assert not failed.final
    worker.ask(job(2, distance=0.0))
    assert take(reports, Answer).target == 2


@pytest.mark.parametrize("mode", ["continue", "generate"])
def test_what_is_written_note_by_note_comes_in_parts(mode: Mode, tmp_path: Path, reports: Reports) -> None:
    path = tmp_path / "composer.onnx"
    onnx.save(build_composer(), path)
    whole = answer_job(Model(path), Job(LOOP, mode, 5, 0, 1, KNOBS))
    worker = Worker(path, "cpu", reports.put)
    worker.start()
    try:
        take(reports, Ready)
        for since in 0, 3 * PPQN:
            worker.ask(Job(LOOP, mode, 5, 3840 + since, 1, KNOBS, since=since))
            parts = take_parts(reports)
            assert [p.part for p in parts] == ["first", *["next"] * (len(parts) - 2), "last"]
            assert {(p.target, p.epoch, p.draft) for p in parts} == {(3840 + since, 1, False)}
            assert joined(parts) == whole
            assert parts[1].loop.notes[0].onset > since + PPQN // 4 - 20
            assert take(reports, Placed).answer
        worker.ask(Job(LOOP, mode, 5, 0, 1, KNOBS, draft=True))
        assert take(reports, Answer) == Answer(whole, 0, 1, draft=True)
    finally:
        worker.stop()


def test_a_note_of_a_part_is_cut_where_its_pitch_is_struck_again() -> None:
    said: list[Said] = []
    notes = [Note(0, 60, 960), Note(120, 60, 960), Note(300, 62, 100)]
    parts = answering.Parts(Job(LOOP, "continue", 5, 0, 1, KNOBS), said.append)
    parts.tell(notes[:2], PPQN // 2)
    whole = LOOP.with_notes(notes).monophonic_by_pitch()
    last = parts.last(whole)
    (first,) = said
    assert isinstance(first, Answer)
    assert (*first.loop.notes, *last.loop.notes) == whole.notes


@pytest.mark.parametrize(("role", "make"), MAKERS.items())
def test_every_role_answers_in_each_of_its_modes(
    role: str, make: Callable[[], onnx.ModelProto], tmp_path: Path, reports: Reports
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(make(), path)
    worker = Worker(path, "cpu", reports.put)
    worker.start()
    try:
        ready = take(reports, Ready)
        assert (ready.role, ready.modes) == (role, ROLES[role].modes)
        other = LOOP.with_notes(replace(n, pitch=n.pitch - 12) for n in LOOP.notes)
        for target, mode in enumerate(ROLES[role].modes):
            worker.ask(Job(LOOP, mode, 5, target, 1, KNOBS, (other, LOOP), (LOOP, other)))
            parts = take_parts(reports)
            assert {part.target for part in parts} == {target}
            assert joined(parts).notes
            assert joined(parts) != LOOP or mode == "clean"
        worker.ask(Job(LOOP, next(m for m in MODES if m not in ready.modes), 5, 9, 1, KNOBS))
        assert f"(role {role}) plays {', '.join(ready.modes)}, not" in take(reports, Failed).reason
    finally:
        worker.stop()


def test_a_model_that_plays_along_plans_each_half_beat_in_order_and_answers_no_loops(
    tmp_path: Path, reports: Reports
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(build_harmoniser(), path)
    halves = [HalfBeat(number, 3, (Note(0, 60 + number, 200),)) for number in range(12)]
    worker = Worker(path, "cpu", reports.put)
    worker.start()
    try:
        assert take(reports, Ready).modes == ("accompany",)
        for half in halves:
            worker.ask(half)
        along = Along(Model(path))
        assert [take(reports, Plan) for _ in halves] == [along.hear(half) for half in halves]
        worker.ask(Job(LOOP, "vary", 5, 9, 1, KNOBS))
        assert "plays along, and answers no loops" in take(reports, Failed).reason
    finally:
        worker.stop()


def test_what_is_heard_before_changes_no_answer(tmp_path: Path, reports: Reports) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(build_composer(), path)
    past = (LOOP.with_notes(replace(n, pitch=n.pitch - 5) for n in LOOP.notes),)
    job = Job(LOOP, "continue", 5, 0, 1, KNOBS, past)
    worker = Worker(path, "cpu", reports.put)
    worker.start()
    try:
        take(reports, Ready)
        worker.ask(job)
        first = take_parts(reports)
        for count in (4, 8, 15):
            worker.tell(Heard(past, LOOP.with_notes(LOOP.notes[:count])))
        worker.ask(job)
        assert take_parts(reports) == first
        worker.tell(Heard(past, Loop(77, LOOP.notes)))  # no whole number of steps: heard in vain
        worker.ask(replace(job, target=9))
        assert take_parts(reports) == [replace(part, target=9) for part in first]
    finally:
        worker.stop()
    while not reports.empty():
        assert isinstance(reports.get(), Placed)


def test_a_draft_is_answered_as_one_and_changes_nothing_of_the_answer_after_it(
    worker: Worker, reports: Reports
) -> None:
    take(reports, Ready)
    whole = job(3840, distance=0.5)
    worker.ask(whole)
    answer = take(reports, Answer)
    take(reports, Placed)
    worker.ask(replace(whole, loop=LOOP.with_notes(LOOP.notes[:9]), draft=True))
    draft = take(reports, Answer)
    assert (draft.draft, draft.target, len(draft.loop)) == (True, 3840, 9)
    worker.ask(whole)
    # Where a draft lies nobody wants to know.
    assert reports.get(timeout=60) == answer


def test_a_draft_that_is_still_being_written_gives_way_to_its_answer(tmp_path: Path, reports: Reports) -> None:
    path = tmp_path / "composer.onnx"
    onnx.save(build_composer(), path)
    length = 8 * 3840
    long = Loop(length, tuple(Note(t, 60 + t // 60 % 12, 60) for t in range(0, length, 60)))
    worker = Worker(path, "cpu", reports.put)
    worker.start()
    try:
        take(reports, Ready)
        draft = Job(long, "generate", 5, 0, 1, KNOBS, draft=True)
        for _ in range(2):  # the second time it has been heard
            began = time.perf_counter()
            worker.ask(draft)
            assert take(reports, Answer).draft
        took = time.perf_counter() - began
        found = []
        while not found or (found[-1] and len(found) < 10):  # on a busy machine it may be written before the job comes
            worker.ask(draft)
            time.sleep(took / 4)
            worker.tell(Heard((), LOOP))
            worker.ask(Job(LOOP, "generate", 5, 9, 1, KNOBS))
            parts = take_parts(reports)
            found.append(parts[0].draft)
            if found[-1]:
                parts = take_parts(reports)
            assert {(part.target, part.draft) for part in parts} == {(9, False)}
        assert not found[-1]
    finally:
        worker.stop()


def test_of_a_draft_that_cannot_be_answered_nothing_is_said(worker: Worker, reports: Reports) -> None:
    take(reports, Ready)
    for target in range(4):
        worker.ask(Job(LOOP, "vary", 5, target, 1, {}, draft=True))  # no knobs at all
        time.sleep(0.05)  # else the job may go before it
        worker.ask(job(target, distance=0.0))
        assert reports.get(timeout=60) == Answer(LOOP, target, 1)
        take(reports, Placed)


def test_a_model_that_hears_nothing_is_not_disturbed(worker: Worker, reports: Reports) -> None:
    worker.tell(Heard((), LOOP))  # nobody is there yet
    take(reports, Ready)
    worker.tell(Heard((LOOP,), LOOP))
    worker.ask(job(3840, distance=0.0))
    assert take(reports, Answer) == Answer(LOOP, 3840, 1)


def test_a_job_goes_before_its_draft_and_before_what_there_is_to_hear() -> None:
    heard, later = (wire.from_heard(Heard((), Loop(length))) for length in (1920, 3840))
    jobs = [wire.from_job(job(target)) for target in (1, 2)]
    draft = wire.from_job(replace(job(1), draft=True))
    for lines, chosen, skipped in (
        ([heard, later], later, 0),
        ([heard, jobs[0], later], jobs[0], 0),
        ([jobs[0], heard], jobs[0], 0),
        ([jobs[0], heard, jobs[1], later], jobs[1], 1),
        ([heard, None], heard, 0),
        ([draft, jobs[0]], jobs[0], 1),
        ([heard, draft], draft, 0),
    ):
        queue: SimpleQueue[str | None] = SimpleQueue()
        said: list[wire.Said] = []
        for line in lines:
            queue.put(line)
        assert answering._newest(queue, said.append) == chosen
        assert said == [wire.Skipped()] * skipped
        assert queue.empty() is (None not in lines)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_worker_comes_back(worker: Worker, reports: Reports) -> None:
    take(reports, Ready)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    assert "died" in take(reports, Failed).reason
    worker.ask(job(1))  # lost, or answered by the next: either way nothing breaks
    take(reports, Ready)
    worker.ask(job(2, distance=0.0))
    assert any(take(reports, Answer).target == 2 for _ in range(2))


def test_a_model_that_cannot_be_run_is_the_end_of_it(tmp_path: Path, reports: Reports) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    worker = Worker(broken, "cpu", reports.put)
    worker.start()
    failed = take(reports, Failed)
    assert failed.final
    assert "not an ONNX model" in failed.reason
    worker.stop()
    time.sleep(0.1)
    assert reports.empty()
