"""What can go wrong with the process that answers, done to real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

import pytest

from rtgen.bench.server import wait_until
from rtgen.instrument.job import Answer, Job, Placed
from rtgen.instrument.parameters import PARAMETERS
from rtgen.music.note import Loop, Note
from rtgen.rig.worker import wire
from rtgen.rig.worker import worker as rules
from rtgen.rig.worker.wire import Failed, Ready, Report
from rtgen.rig.worker.worker import Worker
from tests.data import make_faulty
from tests.data.make_faulty import TRIGGER, faulty
from tests.rig.test_wire import NONSENSE

pytestmark = [
    pytest.mark.timed,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc and stops processes"),
]

KNOBS = {p.name: p.default for p in PARAMETERS.values()}
PHRASE = Loop(3840, tuple(Note(i * 240, 60 + i, 200) for i in range(8)))
EVIL = PHRASE.with_notes([*PHRASE.notes, Note(1920, TRIGGER, 200)])
TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"
Kind = TypeVar("Kind", bound=Report)


class Stage:
    """A worker, and what it reports, with the times."""

    def __init__(self) -> None:
        self.reports: SimpleQueue[tuple[float, Report]] = SimpleQueue()
        self.at = 0.0
        """When the report came that was taken last."""
        self.target = 0

    def start(self, model: Path) -> Worker:
        self.worker = Worker(model, "cpu", self._put)
        self.worker.start()
        return self.worker

    def _put(self, report: Report) -> None:
        if isinstance(report, Ready) and report.file is not None:
            self.worker.keep(report.file)  # as when the session switches to its preset at once
        if not isinstance(report, Placed):  # where an answer lies is said when there is time for it
            self.reports.put((time.perf_counter(), report))

    def take(self, kind: type[Kind], patience_s: float = 20) -> Kind:
        self.at, report = self.reports.get(timeout=patience_s)
        assert isinstance(report, kind), report
        return report

    def ask(self, loop: Loop) -> None:
        self.target += loop.length
        self.worker.ask(Job(loop, "clean", 5, self.target, 1, KNOBS))

    def is_answered(self, loop: Loop = PHRASE) -> None:
        self.ask(loop)
        answer = self.take(Answer)
        assert (answer.target, len(answer.loop)) == (self.target, len(loop))

    def is_back_after(self, verdict: str, since: float | None = None) -> None:
        """Asserts that the player is told, and that within a second the worker is ready, and answers."""
        told = self.take(Failed)
        assert verdict in told.reason
        assert not told.final
        told_at, since = self.at, since or self.at
        self.take(Ready)
        print(f"{verdict}: told after {(told_at - since) * 1e3:.0f} ms, ready after {(self.at - since) * 1e3:.0f} ms")
        assert self.at - since < 1.0
        self.is_answered()

    def is_quiet(self, seconds: float = 0.3) -> None:
        with pytest.raises(Empty):
            print(self.reports.get(timeout=seconds))

    def kill(self, number: int = signal.SIGKILL) -> float:
        pid = self.worker.pid
        assert pid is not None
        os.kill(pid, number)
        return time.perf_counter()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    pid = stage.worker.pid
    stage.worker.stop()
    assert pid is None or not alive(pid)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# ---- killed ---------------------------------------------------------------------------------------------------------


def test_killed_in_mid_answer(stage: Stage, tmp_path: Path) -> None:
    stage.start(faulty(tmp_path, "never"))
    stage.take(Ready)
    stage.ask(EVIL)
    stage.is_quiet()
    stage.is_back_after("never died (SIGKILL)", stage.kill())


def test_killed_while_it_is_loaded(stage: Stage) -> None:
    stage.start(TINY)
    wait_until(lambda: stage.worker.pid is not None, "a process")
    time.sleep(0.05)
    stage.is_back_after("tiny died (SIGKILL)", stage.kill())


def test_a_job_that_comes_while_there_is_no_process_is_answered_by_the_next(stage: Stage) -> None:
    stage.start(TINY)
    stage.take(Ready)
    stage.kill()
    stage.take(Failed)
    stage.ask(PHRASE)
    stage.ask(EVIL)
    stage.take(Ready)
    assert len(stage.take(Answer).loop) == len(EVIL)
    stage.is_quiet()


def test_killed_again_and_again_the_model_before_takes_its_place(stage: Stage, tmp_path: Path) -> None:
    worker = stage.start(faulty(tmp_path, "well", "first"))
    stage.take(Ready)
    worker.use(faulty(tmp_path, "well", "second"))
    assert stage.take(Ready).model == "second"
    for _ in range(rules.RESTARTS):
        stage.is_back_after("second died (SIGKILL); it is being restarted", stage.kill())
    killed = stage.kill()
    assert stage.take(Failed).reason == "The process of model second died (SIGKILL) for the 4th time; first replaces it"
    assert stage.take(Ready).model == "first"
    assert stage.at - killed < 1.0
    stage.is_answered()


def test_killed_again_and_again_with_no_other_model_it_is_tried_again_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "RETRY_S", 1.0)
    stage.start(TINY)
    stage.take(Ready)
    for _ in range(rules.RESTARTS):
        stage.is_back_after("tiny died (SIGKILL); it is being restarted", stage.kill())
    stage.kill()
    told = stage.take(Failed)
    assert not told.final
    assert "goes on without answers, and the next try is in 1 s" in told.reason
    assert stage.worker.pid is None
    stage.ask(PHRASE)  # costs nothing
    stage.take(Ready)
    stage.is_answered()


def test_a_model_that_dies_at_every_start_is_the_end_of_the_command(stage: Stage) -> None:
    stage.start(TINY)
    for _ in range(rules.RESTARTS + 1):
        wait_until(lambda: stage.worker.pid is not None, "a process")
        stage.kill()
        told = stage.take(Failed)
    assert told.final
    assert "tiny died (SIGKILL) for the 4th time" in told.reason


def test_a_model_that_is_gone_when_it_has_to_be_loaded_again(stage: Stage, tmp_path: Path) -> None:
    worker = stage.start(TINY)
    stage.take(Ready)
    other = faulty(tmp_path, "well")
    worker.use(other)
    stage.take(Ready)
    other.unlink()
    stage.kill()
    assert "well died" in stage.take(Failed).reason
    told = stage.take(Failed).reason
    assert "cannot be read" in told
    assert told.endswith("; tiny replaces it")
    assert stage.take(Ready).model == "tiny"
    stage.is_answered()


# ---- hanging --------------------------------------------------------------------------------------------------------


def test_a_stopped_process_never_holds_up_who_asks_and_is_replaced(stage: Stage) -> None:
    stage.start(TINY)
    stage.take(Ready)
    stage.is_answered()
    stage.kill(signal.SIGSTOP)
    asked = time.perf_counter()
    large = PHRASE.with_notes(Note(i, i % 100, 100) for i in range(3840))  # more than a pipe holds
    longest = 0.0
    for _ in range(20):
        start = time.perf_counter()
        stage.ask(large)
        longest = max(longest, time.perf_counter() - start)
        time.sleep(0.001)
    print(f"20 jobs of {len(wire.from_job(Job(large, 'clean', 5, 1, 1, KNOBS)))} bytes, longest {longest * 1e3:.2f} ms")
    assert longest < 0.05
    stage.is_back_after("tiny did not answer for 1.0 s and was stopped")
    assert stage.at - asked >= 1.0


@pytest.mark.parametrize("fault", ["never", "slow"])
def test_a_model_that_does_not_return_is_replaced(stage: Stage, tmp_path: Path, fault: str) -> None:
    stage.start(faulty(tmp_path, fault))  # type: ignore[arg-type]
    stage.take(Ready)
    stage.is_answered()
    asked = time.perf_counter()
    stage.ask(EVIL)
    stage.is_back_after(f"{fault} did not answer for 1.0 s")
    assert 1.0 <= stage.at - asked < 3.0


def test_hanging_again_and_again_the_model_before_takes_its_place(stage: Stage, tmp_path: Path) -> None:
    worker = stage.start(TINY)
    stage.take(Ready)
    worker.use(faulty(tmp_path, "never"))
    stage.take(Ready)
    for _ in range(rules.RESTARTS):
        stage.ask(EVIL)
        assert "did not answer" in stage.take(Failed).reason
        stage.take(Ready)
    stage.ask(EVIL)
    assert stage.take(Failed).reason.endswith("for the 4th time; tiny replaces it")
    assert stage.take(Ready).model == "tiny"
    stage.is_answered(EVIL)


def test_a_process_that_hangs_while_it_is_loaded_is_replaced(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "LOAD_S", 2.0)
    stage.start(TINY)
    wait_until(lambda: stage.worker.pid is not None, "a process")
    stage.kill(signal.SIGSTOP)
    stage.is_back_after("tiny was not ready in time and was stopped")


def test_a_model_that_takes_longer_than_any_music_waits_is_not_taken(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(make_faulty._TURNS, "slow", 2000)  # 5 s or some more; loading it takes three runs
    worker = stage.start(TINY)
    stage.take(Ready)
    worker.use(faulty(tmp_path, "slow", always=True))
    end = time.perf_counter() + 60
    while (report := stage.reports.get(timeout=60)[1]) and not isinstance(report, Failed):
        assert time.perf_counter() < end
    assert "s for an answer, too slow to play with" in report.reason
    assert report.reason.endswith("; tiny answers instead")
    stage.is_answered()


# ---- no numbers, too much memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "words"), [("nan", "contains NaN or infinite values"), ("hog", "ran out of memory")])
def test_a_loop_that_cannot_be_answered_costs_only_itself(stage: Stage, tmp_path: Path, fault: str, words: str) -> None:
    worker = stage.start(faulty(tmp_path, fault))  # type: ignore[arg-type]
    stage.take(Ready)
    before = worker.pid
    for _ in range(rules.BAD_ANSWERS + 1):  # there is no other model: it is kept
        stage.ask(EVIL)
        assert words in stage.take(Failed).reason
    stage.is_answered()
    assert worker.pid == before
    peak = int(Path(f"/proc/{before}/status").read_text().split("VmHWM:")[1].split()[0])
    print(f"{fault}: peak {peak / 1024:.0f} MB")
    assert peak < 300 * 1024


def test_a_model_that_cannot_answer_three_loops_gives_way_to_the_one_before(stage: Stage, tmp_path: Path) -> None:
    worker = stage.start(TINY)
    stage.take(Ready)
    worker.use(faulty(tmp_path, "nan"))
    stage.take(Ready)
    for _ in range(rules.BAD_ANSWERS):
        stage.is_answered()  # in a row, not in all
        stage.ask(EVIL)
        assert "NaN or infinite" in stage.take(Failed).reason
    for _ in range(rules.BAD_ANSWERS - 1):
        stage.ask(EVIL)
        assert "NaN or infinite" in stage.take(Failed).reason
    assert stage.take(Failed).reason == "Model nan could not answer 3 loops in a row; tiny replaces it"
    assert stage.take(Ready).model == "tiny"
    stage.is_answered(EVIL)


def test_where_the_system_does_not_refuse_memory_the_process_ends_itself() -> None:
    code = (
        "from rtgen.rig.worker.main import _watch_memory; import threading, time\n"
        "threading.Thread(target=_watch_memory, args=(100 << 20, 'it', print)).start()\n"
        "hog = b'x' * (200 << 20); time.sleep(20)"
    )
    ended = subprocess.run([sys.executable, "-uc", code], capture_output=True, text=True, timeout=10)
    assert ended.returncode == 3
    assert "Model it needs more than 100 MB of memory" in ended.stdout


# ---- another model, chosen while it plays ---------------------------------------------------------------------------


def ask_while(stage: Stage, until: Callable[[Report], bool]) -> list[float]:
    """Asks again as soon as it is answered; how long each answer took."""
    times: list[float] = []
    done = False
    while not done:
        start = time.perf_counter()
        stage.ask(PHRASE)
        while not isinstance(report := stage.reports.get(timeout=5)[1], Answer):
            done = done or until(report)
        times.append(time.perf_counter() - start)
        assert report.target == stage.target
    return times


def test_a_model_is_changed_with_no_loop_unanswered(stage: Stage, tmp_path: Path) -> None:
    worker = stage.start(TINY)
    stage.take(Ready)
    before = worker.pid
    assert before is not None
    worker.use(faulty(tmp_path, "well"))
    times = ask_while(stage, lambda report: isinstance(report, Ready) and report.model == "well")
    print(f"{len(times)} loops answered meanwhile, the slowest in {max(times) * 1e3:.1f} ms")
    assert len(times) > 10
    assert max(times) < 0.5
    assert worker.pid != before
    wait_until(lambda: not alive(before), "the end of the process before", 4)
    while not stage.reports.empty():
        # What was on its way at the change may be answered by both; the session takes the first.
        twice = stage.take(Answer)
        assert twice.target == stage.target
    stage.is_answered()


def test_a_model_that_cannot_be_loaded_leaves_the_present_one(stage: Stage, tmp_path: Path) -> None:
    worker = stage.start(TINY)
    stage.take(Ready)
    before = worker.pid
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    worker.use(broken)
    told: list[Report] = []
    ask_while(stage, lambda report: told.append(report) is None)
    (failed,) = told
    assert isinstance(failed, Failed)
    assert not failed.final
    assert "broken.onnx is not an ONNX model" in failed.reason
    assert failed.reason.endswith("; tiny answers instead")
    worker.use(tmp_path / "nothing.onnx")
    assert "nothing.onnx cannot be read" in stage.take(Failed).reason
    assert worker.pid == before
    stage.is_answered()


def test_the_last_choice_counts(stage: Stage, tmp_path: Path) -> None:
    worker = stage.start(TINY)
    stage.take(Ready)
    first, second = (faulty(tmp_path, "well", name) for name in ("first", "second"))
    for choice in (first, second, TINY, first, first, second):
        worker.use(choice)
    assert [stage.take(Ready).model for _ in range(2)] == ["tiny", "second"]
    worker.use(first)
    worker.use(second)  # which answers still
    assert stage.take(Ready).model == "second"
    stage.is_quiet(1.0)
    stage.is_answered()


def test_a_bad_choice_before_the_first_model_is_ready_goes_back_to_it(stage: Stage, tmp_path: Path) -> None:
    worker = stage.start(TINY)
    worker.use(tmp_path / "nothing.onnx")
    told = stage.take(Failed)
    assert not told.final
    assert told.reason.endswith("tiny answers instead")
    assert stage.take(Ready).model == "tiny"


# ---- the two ends ---------------------------------------------------------------------------------------------------


def test_of_jobs_that_wait_the_newest_is_answered(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "ANSWER_S", 90.0)
    monkeypatch.setitem(make_faulty._TURNS, "slow", 500)  # a second or two are slow enough to be waited for
    stage.start(faulty(tmp_path, "slow"))
    stage.take(Ready)
    stage.ask(EVIL)
    for _ in range(5):
        time.sleep(0.05)
        stage.ask(PHRASE)
    first, second = stage.take(Answer, 90), stage.take(Answer)
    assert (len(first.loop), first.target) == (len(EVIL), 3840)
    assert second.target == stage.target
    stage.is_quiet()
    stage.is_answered()


@pytest.mark.parametrize("busy", [False, True])
def test_when_the_daemon_is_killed_the_process_ends(tmp_path: Path, busy: bool) -> None:
    path = faulty(tmp_path, "never")
    code = (
        "import sys, time; from pathlib import Path; from rtgen.instrument.job import Job\n"
        "from tests.rig.test_worker_faults import EVIL, KNOBS, Stage, Ready\n"
        "stage = Stage(); stage.start(Path(sys.argv[1])); stage.take(Ready)\n"
        "if int(sys.argv[2]): stage.ask(EVIL); time.sleep(0.2)\n"
        "print(stage.worker.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(path), str(int(busy))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        assert alive(pid)
        daemon.kill()
        killed = time.perf_counter()
    wait_until(lambda: not alive(pid), "the end of the worker", 10)
    print(f"busy {busy}: ended after {time.perf_counter() - killed:.2f} s")


def test_a_process_that_talks_nonsense_is_heard_all_the_same(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    lines = tmp_path / "nonsense"
    lines.write_bytes("\n".join(NONSENSE).encode() + b"\n\xff\xfe\x00{\n" + b"x" * 9_000_000 + b"\n")
    program.write_text(f'#!/bin/sh\ncat {lines}\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    stage.start(TINY)
    stage.take(Ready)
    stage.is_answered()
