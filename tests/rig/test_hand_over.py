"""Presets and their models change hands together: the daemon and its supervisor, with processes that only pretend."""

from __future__ import annotations

from collections import deque
from math import inf
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from rtgen.instrument.events import Pressed, Turned, Used
from rtgen.instrument.job import Answer, Heard, Job
from rtgen.instrument.notices import Answered, PresetChanged
from rtgen.instrument.options import Options
from rtgen.instrument.parameters import BUTTONS, PARAMETERS
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.rig import daemon as daemons
from rtgen.rig.daemon import Daemon, News
from rtgen.rig.midi.ports import LoopbackPorts
from rtgen.rig.worker import worker as workers
from rtgen.rig.worker.process import Process
from rtgen.rig.worker.wire import Failed, Ready
from rtgen.rig.worker.worker import RESTARTS
from tests.instrument.ledger import check

TIMES = {"vary": (0.01, 0.02), "clean": (0.002, 0.004), "continue": (0.03, 0.06), "generate": (0.02, 0.04)}
"""How long the modes take, warm and cold, in seconds."""
MODES = {"a": ("vary", "clean"), "b": ("continue",), "c": ("vary", "generate"), "broken": ()}
"""What the models play; the last one cannot be loaded."""


def preset(name: str, model: str, mode: str, **changes: object) -> Preset:
    return Preset(name=name).changed(
        **{"model": model, "mode": mode, "use": "follow", "bars": 1, "metre": "4/4", "tempo": 400, **changes}
    )


FIRST = preset("first", "a", "vary")
PRESETS = [
    FIRST,
    preset("clean", "a", "clean", bars=2),
    preset("continued", "b", "continue"),
    preset("other", "c", "vary", metre="2/4"),
    preset("generated", "c", "generate", use="answer"),
    preset("nothing", "broken", "vary"),
    preset("wrong", "a", "continue"),
]


class Pretender:
    """Stands for a worker process: answers when the test says so."""

    pid, status = 1, "status 1"

    def __init__(self, band: Band, model: Path, hear: object) -> None:
        self.band, self.model, self.hear = band, model, hear
        self.jobs: deque[Job] = deque()
        self.loading = True
        self.gone = self.left = False

    def ask(self, job: Job | Heard) -> None:
        if isinstance(job, Job) and not self.left and not self.gone:
            self.band.asked.append((job, self.model))
            self.jobs.append(job)

    def leave(self) -> None:
        self.left = True

    def kill(self) -> None:
        self.gone = True

    def wait(self) -> None:
        pass

    def say(self, said: object) -> None:
        self.hear(self, said)  # type: ignore[operator]


class Band:
    """A daemon, its supervisor and their processes, in a time of their own and in one thread."""

    def __init__(self) -> None:
        self.now = 100.0
        self.processes: list[Pretender] = []
        self.asked: list[tuple[Job, Path]] = []
        self.news: list[News] = []
        self.sent: list[bytes] = []
        self.patch = pytest.MonkeyPatch()
        for module in (daemons, workers):
            self.patch.setattr(module, "perf_counter", lambda: self.now)
        self.patch.setattr(workers, "Process", self._process)
        self.ports = LoopbackPorts(lambda _, data: self.sent.append(data))
        self.session = Session(FIRST, Options(clock="internal"))
        self.daemon = Daemon(self.session, self.ports, Path("a.onnx"), "cpu", self.news.append)
        self.worker = self.daemon._worker
        self.wake: float | None = self.now
        self.worker._begin(Path("a.onnx"))
        self.pump()

    def _process(self, model: Path, _device: str, *, hurry: bool, hear: object) -> Pretender:
        self.processes.append(Pretender(self, model, hear))
        return self.processes[-1]

    @property
    def living(self) -> list[Pretender]:
        return [p for p in self.processes if not p.gone and not p.left]

    def pump(self) -> None:
        """Everything that has happened is taken note of."""
        events, inbox = self.worker._events, self.daemon._inbox
        while not events.empty() or inbox.waiting:
            while not events.empty():
                events.get()()
            if inbox.waiting:
                self.wake = self.daemon._step(self.now, inbox.get(0)[1])

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            slots = self.worker._slots.values()
            due = min([self.wake if self.wake is not None else inf, until, *(slot.deadline for slot in slots)])
            self.now = max(self.now, due)
            self.worker._watch(self.now)
            self.wake = self.daemon._step(self.now, None)
            self.pump()

    def choose(self, preset: Preset) -> None:
        self.daemon.choose(preset, Path(f"{preset.model}.onnx"))
        self.pump()

    def play(self) -> None:
        for status in (0x90, 0x80):
            self.daemon._inbox.receive(self.now, 0, bytes((status, 60, 80)))
            self.pump()
            self.wait(0.06)

    def load(self, process: Pretender) -> None:
        """It says that it is ready, or that it never will be."""
        process.loading = False
        if modes := MODES[process.model.stem]:
            process.say(Ready(process.model.stem, "cpu", {mode: TIMES[mode] for mode in modes}, role="any"))
        else:
            process.say(Failed("Model broken is no model", final=True))
        self.pump()

    def answer(self, process: Pretender) -> None:
        job = process.jobs.popleft()
        if job.mode in MODES[process.model.stem]:
            process.say(Answer(job.loop, job.target, job.epoch, job.draft))
        else:
            process.say(Failed(f"{process.model.stem} does not play {job.mode}"))
        self.pump()

    def die(self, process: Pretender) -> None:
        if not self.worker._names and len(self.worker._deaths.get(process.model, ())) == RESTARTS:
            return  # no model has ever been loaded: that would be the end of the command
        process.gone = True
        process.say(None)
        self.pump()

    def settle(self) -> None:
        """All that is loaded is ready, all that is asked is answered, and time passes."""
        for _ in range(150):
            for process in list(self.living):
                if process.loading:
                    self.load(process)
                while process.jobs:
                    self.answer(process)
            self.wait(0.3)

    def answers(self) -> int:
        return sum(isinstance(item, Answered) for item in self.news)

    def is_well(self) -> None:
        """Every preset has its own model, and no model was blamed for what it was never meant to play."""
        aside = {item.file for item in self.news if isinstance(item, Failed) and item.file}
        for job, model in self.asked:
            own = Path(f"{job.model}.onnx")
            assert own == model or own in aside, f"{model} was asked for {job.model}'s {job.mode}"
        assert not any("in a row" in item.reason for item in self.news if isinstance(item, Failed))
        assert len(self.living) <= 4, "the one that plays, the next, the one after that, and one that stands in"
        plays = Path(f"{self.session.preset.model}.onnx")
        assert self.worker._instead.get(plays, plays) in self.worker._slots
        assert self.session.present is None or self.session.present.length == self.session.preset.length

    def end(self) -> None:
        """In the end one model is left: the preset's, and it answers."""
        try:
            self.settle()
            self.is_well()
            assert self.session.chosen is None
            assert self.daemon.chosen == self.session.preset
            (left,) = self.living
            assert self.session.preset.mode in MODES[left.model.stem]
            self.daemon.hear(Used("follow"))
            before = self.answers()
            for _ in range(40):  # as the tempo may have been halved
                self.play()
                for process in self.living:
                    while process.jobs:
                        self.answer(process)
                self.wait(0.2)
                if self.answers() > before:
                    break
            assert self.answers() > before
            self.sent += self.session.end()
            check(self.sent)
        finally:
            self.patch.undo()


def test_a_stand_in_that_cannot_play_does_not_undo_a_choice() -> None:
    """Two processes become ready after another: of the chosen preset, and of one that stands in for what plays."""
    band = Band()
    band.load(band.living[0])
    for chosen in PRESETS[2:4]:
        band.choose(chosen)
        band.load(band.living[-1])
        for _ in range(5):
            band.play()
    assert band.session.preset == PRESETS[3]
    for _ in range(RESTARTS):
        band.die(band.living[0])
    band.choose(FIRST)
    band.die(band.living[0])
    assert [p.model.stem for p in band.living] == ["a", "b"]
    for process in band.living:
        band.load(process)
    band.end()
    assert band.session.preset == FIRST


class HandOver(RuleBasedStateMachine):
    """Program changes, turns, presses, and processes that are late or die, in any order."""

    @initialize(ready=st.booleans())
    def begin(self, ready: bool) -> None:
        self.band = Band()
        if ready:
            self.band.load(self.band.living[0])

    @rule(which=st.sampled_from(range(len(PRESETS))))
    def choose(self, which: int) -> None:
        self.band.choose(PRESETS[which])

    @rule(seconds=st.sampled_from((0.01, 0.05, 0.3, 0.6, 1.2)))
    def wait(self, seconds: float) -> None:
        self.band.wait(seconds)

    @rule()
    def play(self) -> None:
        self.band.play()

    @rule(name=st.sampled_from(sorted(set(PARAMETERS) - {"split"})), high=st.booleans())
    def turn(self, name: str, high: bool) -> None:
        self.band.daemon.hear(Turned(name, PARAMETERS[name].high if high else PARAMETERS[name].low))
        self.band.pump()

    @rule(button=st.sampled_from(sorted(set(BUTTONS) - {"mute", "tap"})))
    def press(self, button: str) -> None:
        self.band.daemon.hear(Pressed(button))
        self.band.pump()

    @rule(which=st.integers(0, 3))
    def load(self, which: int) -> None:
        if loading := [p for p in self.band.living if p.loading]:
            self.band.load(loading[which % len(loading)])

    @rule(which=st.integers(0, 3), count=st.integers(1, 9))
    def answer(self, which: int, count: int) -> None:
        if asked := [p for p in self.band.processes if p.jobs and not p.gone]:
            process = asked[which % len(asked)]
            for _ in range(min(count, len(process.jobs))):
                self.band.answer(process)

    @rule(which=st.integers(0, 3))
    def die(self, which: int) -> None:
        if living := self.band.living:
            self.band.die(living[which % len(living)])

    @rule(which=st.integers(0, 3))
    def keep_dying(self, which: int) -> None:
        """A process dies, and whatever is started for its model, until the model is set aside."""
        models = sorted({p.model for p in self.band.living if not p.loading})
        if len(models) < 2:
            return  # the only model is tried again for ever
        model = models[which % len(models)]
        for _ in range(RESTARTS + 1):
            for process in [p for p in self.band.living if p.model == model]:
                self.band.die(process)

    @invariant()
    def is_well(self) -> None:
        if hasattr(self, "band"):
            self.band.is_well()

    def teardown(self) -> None:
        if hasattr(self, "band"):
            self.band.end()


TestHandOver = HandOver.TestCase
TestHandOver.settings = settings(max_examples=60, stateful_step_count=30)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_long_stories_go_well() -> None:
    # Without shrinking, which takes longer than the search.
    thorough = settings(max_examples=3000, stateful_step_count=60, phases=(Phase.generate,))
    run_state_machine_as_test(HandOver, settings=thorough)


@pytest.fixture
def band() -> Band:
    band = Band()
    band.load(band.living[0])
    return band


def test_a_knob_turned_before_the_boundary_asks_the_model_that_still_plays(band: Band) -> None:
    band.play()
    while not band.session.present:
        band.wait(0.05)
        while band.living[0].jobs:
            band.answer(band.living[0])
    band.choose(PRESETS[2])
    band.load(band.living[1])
    assert band.session.chosen == PRESETS[2]
    before = len(band.asked)
    for value in (0.1, 0.9, 0.2, 0.8):
        band.daemon.hear(Turned("distance", value))
        band.daemon.hear(Pressed("regenerate"))
        band.pump()
    remade = [(job.mode, model.stem) for job, model in band.asked[before:]]
    assert set(remade) == {("vary", "a")}
    band.end()
    assert [item.preset.name for item in band.news if isinstance(item, PresetChanged)] == ["continued"]


def test_the_lead_is_that_of_the_presets_mode(band: Band) -> None:
    # A slow mode of the model costs the others no notes.
    slow = preset("slow", "c", "generate", use="follow")
    fast = preset("fast", "c", "vary", use="follow")
    leads = []
    for which in (slow, fast, slow):
        band.choose(which)
        for process in band.living:
            if process.loading:
                band.load(process)
        band.wait(0.7)
        assert band.session.preset == which
        leads.append(band.session.lead.seconds)
    assert leads == pytest.approx([1.1 * TIMES[mode][0] + 0.003 for mode in ("generate", "vary", "generate")])
    band.end()


def test_a_chosen_model_that_dies_for_good_leaves_the_preset_that_plays(band: Band) -> None:
    band.choose(PRESETS[2])
    band.load(band.living[1])
    assert band.daemon.chosen == PRESETS[2]
    for _ in range(RESTARTS + 1):
        band.die(band.living[-1])
    assert band.session.chosen is None
    assert band.daemon.chosen == FIRST
    band.end()


def test_a_model_that_dies_for_good_takes_its_preset_with_it_if_the_one_before_does_not_play_it(band: Band) -> None:
    band.choose(PRESETS[2])
    band.load(band.living[1])
    band.wait(0.7)
    assert [p.model.stem for p in band.living] == ["b"]
    for _ in range(RESTARTS + 1):
        band.die(band.living[-1])
    band.end()
    assert band.session.preset == FIRST
    said = [item.reason for item in band.news if isinstance(item, Failed)]
    assert said[-1] == "Model a does not play preset continued; preset first takes over"


def test_a_preset_chosen_twice_goes_with_its_model_when_what_stands_in_cannot_play_it() -> None:
    band = Band()
    band.choose(PRESETS[4])
    band.load(band.living[1])
    band.wait(1.2)
    assert band.session.preset == PRESETS[4]
    band.choose(PRESETS[4])
    for _ in range(RESTARTS + 1):
        band.die(band.living[0])
    assert [p.model.stem for p in band.living] == ["a"]
    band.end()
    assert band.session.preset == FIRST


def _on_c() -> Band:
    """The preset *generated* plays, on a model that has died as often as it may; that of the first never came."""
    band = Band()
    band.choose(PRESETS[4])
    for _ in range(RESTARTS - 1):
        band.die(band.living[1])
    band.load(band.living[1])
    band.wait(1.2)
    assert band.session.preset == PRESETS[4]
    band.die(band.living[0])
    band.load(band.living[0])
    return band


def test_a_chosen_preset_is_refused_when_what_stands_in_for_its_model_cannot_play_it() -> None:
    band = _on_c()
    band.choose(PRESETS[3])
    band.wait(1.2)
    band.choose(PRESETS[4])
    assert (band.session.preset, band.session.chosen) == (PRESETS[3], PRESETS[4])
    band.die(band.living[0])
    band.end()
    assert band.session.preset == PRESETS[3]  # a variation, which the model of the first plays as well


def test_a_model_that_is_tried_again_is_kept_when_another_preset_of_it_takes_over() -> None:
    band = _on_c()
    band.choose(PRESETS[3])
    band.die(band.living[0])
    band.choose(PRESETS[4])
    while band.session.preset != PRESETS[3]:
        band.wait(0.05)
    assert sorted(p.model.stem for p in band.living) == ["a", "c"]
    band.end()
    assert band.session.preset == PRESETS[4]


def test_the_same_preset_chosen_again_is_still_chosen_when_a_stand_in_goes_back_to_its_own() -> None:
    band = _on_c()
    band.die(band.living[0])
    band.choose(PRESETS[4])
    band.load(band.living[0])  # what stands in, which goes back to the first preset
    assert band.session.chosen == FIRST
    assert band.daemon.chosen == PRESETS[4]
    band.end()
    assert band.session.preset == PRESETS[4]


def test_back_brings_no_answer_of_another_length(band: Band) -> None:
    while not band.session.present:
        band.play()
        while band.living[0].jobs:
            band.answer(band.living[0])
    band.choose(PRESETS[1])
    while band.session.preset != PRESETS[1]:
        band.wait(0.1)
    band.daemon.hear(Pressed("back"))
    band.pump()
    band.is_well()
    band.end()


def test_a_choice_that_is_refused_does_not_hide_that_a_stand_in_cannot_play_either() -> None:
    band = Band()
    for _ in range(5):
        band.play()
    band.choose(PRESETS[2])
    band.load(band.living[1])
    while band.session.preset != PRESETS[2]:
        band.wait(0.1)
    for _ in range(RESTARTS + 1):
        band.die(band.living[-1])
    assert [p.model.stem for p in band.living] == ["a"]
    band.choose(PRESETS[6])
    band.end()
    assert band.session.preset == FIRST


def test_a_preset_whose_model_is_loaded_already_needs_no_other_process(band: Band) -> None:
    band.choose(PRESETS[1])
    assert band.session.chosen == PRESETS[1]
    band.end()
    assert len(band.processes) == 1


def test_it_pretends_to_be_a_process() -> None:
    assert {name for name in vars(Process) if not name.startswith("_")} <= set(dir(Pretender))
