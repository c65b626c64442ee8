"""The real loop, worker and threads, with ports within the process."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Self

import onnx
import pytest

from rtgen.bench.server import wait_until
from rtgen.errors import UserError
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.instrument.events import Notice, Turned
from rtgen.instrument.job import Heard
from rtgen.instrument.notices import Answered, Called
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music.note import Loop
from rtgen.rig.daemon import Daemon, News
from rtgen.rig.midi.ports import LoopbackPorts
from rtgen.rig.worker.wire import Failed, Ready
from rtgen.rig.worker.worker import Worker
from tests.data.make_faulty import faulty
from tests.data.make_tiny import HALF_BEATS, build_composer, build_sequence
from tests.instrument.ledger import check
from tests.instrument.stage import word

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"


class Stage:
    """A daemon that runs in a thread, and what came of it."""

    def __init__(self, model: Path = TINY, *, thru: bool = False, **preset: object) -> None:
        self.sent: list[tuple[float, bytes]] = []
        self.news: SimpleQueue[News] = SimpleQueue()
        self.ports = LoopbackPorts(lambda now, data: self.sent.append((now, data)))
        settings = {"bars": 1, "metre": "1/4", "tempo": 240, "distance": 0.0, **preset}
        session = Session(Preset().changed(**settings), Options(clock="internal", thru=thru))
        self.daemon = Daemon(session, self.ports, model, "cpu", self.news.put)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.daemon.run(20)
        except BaseException as error:
            self.error = error

    def wait_for(self, *wanted: str | type[Ready | Failed]) -> News:
        while True:
            item = self.news.get(timeout=15)
            if isinstance(item, Notice) and word(item) in wanted:
                return item
            if type(item) in wanted:
                return item

    def __enter__(self) -> Self:
        self.daemon.open()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()


def test_a_loop_goes_in_and_the_answer_comes_out_and_nothing_hangs() -> None:
    with Stage(use="follow") as stage:
        stage.wait_for(Ready)
        for _ in range(200):
            stage.ports.play(bytes((0x90, 60, 90)))  # held, so that the answer sounds when it is stopped
            time.sleep(0.02)
            if any(data[0] == 0x90 for _, data in stage.sent):
                break
    assert stage.error is None
    assert check(data for _, data in stage.sent) > 0


def test_what_goes_through_is_ended_too() -> None:
    with Stage(thru=True) as stage:
        stage.wait_for("rolling")
        stage.ports.play(bytes((0x90, 64, 90)))
        stage.ports.play(bytes((0xB0, 64, 127)))
        time.sleep(0.1)
    assert [data for _, data in stage.sent] == [
        bytes((0x90, 64, 90)),
        bytes((0xB0, 64, 127)),
        bytes((0x80, 64, 0)),
        bytes((0xB0, 64, 0)),
    ]


def test_an_error_in_the_loop_still_ends_every_note(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(thru=True)
    with stage:
        stage.wait_for("rolling")
        stage.ports.play(bytes((0x90, 64, 90)))
        time.sleep(0.1)
        monkeypatch.setattr(stage.daemon, "_show", lambda _: 1 / 0)
        stage.thread.join(10)
    assert isinstance(stage.error, ZeroDivisionError)
    assert check(data for _, data in stage.sent) == 1


def test_a_model_that_cannot_be_run_ends_the_daemon_with_its_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"")
    with Stage(broken) as stage:
        stage.thread.join(15)
    assert isinstance(stage.error, UserError)
    assert "broken.onnx" in str(stage.error)


def test_the_state_can_be_looked_at_from_outside() -> None:
    with Stage() as stage:
        stage.wait_for("rolling")
        time.sleep(0.3)
        view = stage.daemon.view
    assert view.tempo == pytest.approx(240)
    assert view.tick is not None
    assert view.tick > 0


def test_what_nobody_looks_at_is_seldom_made_though_clocks_come_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stage() as stage:
        stage.wait_for("rolling")
        show, shown = stage.daemon._show, list[float]()

        def counted(now: float) -> None:
            shown.append(now)
            show(now)

        monkeypatch.setattr(stage.daemon, "_show", counted)
        began = time.monotonic()
        while time.monotonic() < began + 1:
            stage.ports.play(b"\xf8")
            time.sleep(0.01)
        # After a silence of a tenth of a second, as where the machine stands still, it is made as well.
        assert len(shown) < (time.monotonic() - began) / 0.1


def test_who_looks_again_and_again_sees_the_last_thing_that_happened() -> None:
    with Stage() as stage:
        stage.wait_for("rolling")
        for value in (0.25, 0.5, 0.75):
            stage.daemon.hear(Turned("distance", value))
        wait_until(lambda: stage.daemon.view.knobs["distance"] == 0.75, "the last turn in the view", 5.0)


def test_a_preset_is_chosen_with_its_model_while_it_plays(tmp_path: Path) -> None:
    with Stage(use="follow") as stage:
        stage.wait_for(Ready)
        chosen = Preset(name="other", model="well", use="follow", tempo=200).changed(metre="1/4", bars=1)
        ready_model = faulty(tmp_path, "well")
        stage.daemon.choose(chosen, ready_model)
        # Until its model is ready the present one is played.
        ready = stage.wait_for("presetchanged", Ready)
        assert isinstance(ready, Ready)
        assert ready.model == "well"
        notice = stage.wait_for("presetchanged", Ready)
        assert isinstance(notice, Notice)
        assert notice.preset == chosen
        again = chosen.changed(tempo=220)
        stage.daemon.choose(again, ready_model)
        notice = stage.wait_for("presetchanged", Ready)
        assert isinstance(notice, Notice)
        assert notice.preset == again
        stage.daemon.choose(chosen, tmp_path / "nothing.onnx")
        failed = stage.wait_for(Failed)
        assert isinstance(failed, Failed)
        assert "nothing.onnx cannot be read" in failed.reason
        assert stage.thread.is_alive()

        def answered() -> bool:  # an answer may come too late on a machine that stands still just then
            stage.ports.play(bytes((0x90, 60, 90)))
            time.sleep(0.1)
            stage.ports.play(bytes((0x80, 60, 0)))
            return any(data[0] == 0x90 for _, data in stage.sent)

        wait_until(answered, "the answer")
    assert stage.error is None
    assert check(data for _, data in stage.sent) > 0


def test_a_mode_that_the_model_does_not_play_ends_the_daemon_with_a_sentence() -> None:
    with Stage(mode="continue") as stage:
        stage.thread.join(15)
    assert isinstance(stage.error, UserError)
    assert str(stage.error).startswith("Preset default: model tiny (role denoiser) plays clean, vary, not continue; ")


def test_once_it_plays_a_preset_that_its_model_does_not_play_is_told_and_the_music_goes_on(tmp_path: Path) -> None:
    onnx.save(build_sequence(HALF_BEATS), tmp_path / "halves.onnx")
    with Stage(use="follow") as stage:
        stage.wait_for(Ready)
        wrong = Preset(name="wrong", model="halves", use="follow", tempo=200).changed(metre="1/4", bars=1)
        stage.daemon.choose(wrong, tmp_path / "halves.onnx")
        failed = stage.wait_for(Failed)
        assert isinstance(failed, Failed)
        assert "Preset wrong: model tiny_half_beats (role sequence) plays continue, not vary" in failed.reason
        stage.daemon.choose(wrong.changed(mode="continue", model="loop_denoiser"), TINY)  # which answers already
        failed = stage.wait_for(Failed)
        assert isinstance(failed, Failed)
        assert "Preset wrong: model tiny (role denoiser) plays clean, vary, not continue" in failed.reason
        stage.daemon.choose(wrong.changed(mode="continue"), tmp_path / "halves.onnx")
        stage.wait_for("presetchanged")
        stage.ports.play(bytes((0x90, 60, 90)))
        notice = stage.wait_for("answer")
        assert isinstance(notice, Notice)
        assert notice.loop is not None
        # Half a beat each, in a bar of a beat, early or late as the key was struck.
        assert {round(n.onset / 240) for n in notice.loop.notes} == {0, 1}
        assert all(abs(n.onset - 240 * round(n.onset / 240)) <= 30 for n in notice.loop.notes)
        wait_until(lambda: any(data[0] == 0x90 for _, data in stage.sent), "the answer")
    assert stage.error is None
    assert check(data for _, data in stage.sent) > 0


def test_what_a_model_heard_while_it_was_played_is_answered_as_what_it_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(build_composer(), path)
    told: list[Heard] = []
    tell = Worker.tell
    monkeypatch.setattr(Worker, "tell", lambda self, heard: (told.append(heard), tell(self, heard)))
    calls: list[Loop] = []
    with Stage(path, mode="continue", use="answer", metre="4/4", tempo=150) as stage:
        stage.wait_for(Ready)
        knobs, playing = dict(stage.daemon._session.knobs), threading.Event()

        def play() -> None:
            while not playing.wait(0.07):
                pitch = 60 + len(stage.sent) % 8
                stage.ports.play(bytes((0x90, pitch, 90)))
                time.sleep(0.05)
                stage.ports.play(bytes((0x80, pitch, 0)))

        threading.Thread(target=play, daemon=True).start()
        answers: list[Loop] = []
        while len(answers) < 3:
            notice = stage.wait_for("call", "answer", "late", "missed")
            assert isinstance(notice, Called | Answered)
            (calls if isinstance(notice, Called) else answers).append(notice.loop)
        playing.set()
    assert stage.error is None
    for i in range(3):
        at_once = answer(Model(path), calls[i], "continue", knobs, i + 1, past=tuple(calls[:i]))
        assert answers[i] == at_once
    heard = [h.loop for h in told if h.past == tuple(calls[:2])]
    assert max(len(loop) for loop in heard) > 2
    assert all(set(loop.notes) <= set(calls[2].notes) for loop in heard)
