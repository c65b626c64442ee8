"""Without any clock: the first loop says tempo and downbeat, is answered, and can be corrected."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rtgen.instrument.clocks.first_loop import Onset, infer
from rtgen.instrument.events import Event, Output, Pressed, Received, Turned
from rtgen.instrument.job import Answer, Job
from rtgen.instrument.notices import Answered, LoopClosed, NothingToClose, Notice
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music.time import Metre
from tests.instrument.ledger import check
from tests.instrument.stage import CLOCK, CONTINUE, START, STOP, off, on

BAR = 1920
CLOSE = Pressed("close")
PITCHES = (48, 60, 64, 67, 60, 64, 67, 72)


class Room:
    """A player in a room without a clock, in seconds; answers come 20 ms after they are asked for, an octave up."""

    def __init__(self, **settings: object) -> None:
        own = {name: settings.pop(name) for name in ("pause_s", "slowest", "fastest", "send_clock") if name in settings}
        preset = Preset().changed(**{"bars": 2, "use": "answer", **settings})
        self.options = Options(clock="player", seed=7, **own)  # type: ignore[arg-type]
        self.session = Session(preset, self.options)
        self.now = 100.0
        self.steps: list[tuple[float, Event | None]] = []
        self.sent: list[tuple[float, bytes]] = []
        self.jobs: list[Job] = []
        self.notices: list[Notice] = []
        self._coming: list[tuple[float, Event]] = []
        self._wake: float | None = None
        self.step(self.now)

    def step(self, now: float, event: Event | None = None) -> Output:
        out = self.session.step(now, event)
        self.steps.append((now, event))
        self.sent += [(now, data) for data in out.messages]
        self.notices += out.notices
        for job in (*filter(None, (out.draft,)), *out.jobs):
            self.jobs += [] if job.draft else [job]
            loop = job.loop.with_notes(replace(n, pitch=n.pitch + 12) for n in job.loop.notes)
            self._coming.append((now + 0.02, Answer(loop, job.target, job.epoch, job.draft)))
        self._wake = out.wake_at
        return out

    def until(self, time: float) -> None:
        while True:
            self._coming.sort(key=lambda each: each[0])
            comes = self._coming[0][0] if self._coming else float("inf")
            wakes = self._wake if self._wake is not None else float("inf")
            if min(comes, wakes) > time:
                break
            if comes <= wakes:
                self.step(*self._coming.pop(0))
            else:
                self.step(wakes)
        self.now = time

    def at(self, time: float, event: Event | bytes) -> None:
        self.until(time)
        self.step(time, Received(0, event) if isinstance(event, bytes) else event)

    def play(self, start: float, beat_s: float, beats: int = 8, eighths: bool = True) -> float:
        """Plays a figure of eighths on each beat; returns the time of the downbeat after it."""
        for i in range(beats * 2):
            if i % 2 and not eighths:
                continue
            time = start + i * beat_s / 2
            pitch = PITCHES[i % 8] - (12 if i % 8 == 0 else 0)
            self.at(time, on(pitch, 100 if i % 2 == 0 else 70))
            self.at(time + 0.4 * beat_s, off(pitch))
        return start + beats * beat_s

    def safe(self) -> None:
        """Every note that was begun has one end, at the latest when the session ends."""
        self.sent += [(self.now, data) for data in self.session.end()]
        check([data for _, data in self.sent])

    @property
    def answers(self) -> list[float]:
        return [time for time, data in self.sent if data[0] & 0xF0 == 0x90]

    @property
    def closed(self) -> list[LoopClosed]:
        return [notice for notice in self.notices if isinstance(notice, LoopClosed)]


@pytest.mark.parametrize("tempo", [66.0, 90.0, 117.3, 140.0])
def test_a_press_on_the_downbeat_closes_the_first_loop_and_its_answer_comes_in_the_next(tempo: float) -> None:
    room = Room()
    end = room.play(101.0, 60 / tempo)
    room.at(end + 0.01, CLOSE)
    room.until(end + 8.1 * 60 / tempo)
    assert [(round(each.tempo, 0), each.bars) for each in room.closed] == [(round(tempo, 0), 2)]
    (job,) = room.jobs[:1]
    assert job.target == 2 * BAR
    assert [round(n.onset / 240) for n in job.loop.notes] == list(range(16))
    assert all(abs(n.onset - 240 * i) <= 15 for i, n in enumerate(job.loop.notes))
    assert [n.outcome for n in room.notices if isinstance(n, Answered)] == ["answer"]
    # The first sixteenth is over when the answer is there; the others are in time.
    beats = [(time - end) / (60 / tempo) for time in room.answers]
    assert len(beats) >= 15
    assert all(abs(2 * beat - round(2 * beat)) < 0.06 for beat in beats)
    assert room.session.transport.tempo == pytest.approx(tempo, rel=0.005)
    room.safe()


def test_a_pause_of_the_hands_closes_it_and_the_answer_begins_at_a_bar_line() -> None:
    room = Room(pause_s=1.5)
    end = room.play(101.0, 0.6)
    room.until(end + 12)
    assert [(round(each.tempo), each.bars) for each in room.closed] == [(100, 2)]
    assert (room.answers[0] - end) / 2.4 == pytest.approx(round((room.answers[0] - end) / 2.4), abs=0.02)
    assert room.answers[0] - end < 4.9


def test_a_held_key_is_no_pause() -> None:
    room = Room(pause_s=1.0)
    end = room.play(101.0, 0.5)
    room.at(end - 0.02, on(40))
    room.until(end + 5)
    assert not room.closed
    room.at(end + 5, off(40))
    room.until(end + 7)
    assert len(room.closed) == 1


def test_the_loop_that_was_played_is_as_long_as_loops_are_from_then_on() -> None:
    room = Room(bars=2, slowest=80, fastest=150)
    room.at(room.play(101.0, 0.5, beats=16), CLOSE)
    room.until(room.now + 1)
    assert room.session.preset.bars == 4
    assert room.jobs[0].loop.length == 4 * BAR


@pytest.mark.parametrize(("button", "bars", "factor"), [("half", 1, 0.5), ("double", 4, 2)])
def test_half_and_double_correct_the_tempo_and_the_loop_is_heard_again(button: str, bars: int, factor: float) -> None:
    room = Room()
    end = room.play(101.0, 0.6)
    room.at(end, CLOSE)
    room.at(end + 0.5, Pressed(button))
    room.until(end + 8.0)
    assert room.session.transport.tempo == pytest.approx(100 * factor, rel=0.01)
    assert [each.bars for each in room.closed] == [2, bars]
    assert [job.loop.length for job in room.jobs] == [2 * BAR, bars * BAR]
    onsets = [round(n.onset / (240 * factor)) for n in room.jobs[1].loop.notes]
    assert onsets == list(range(16))
    beat_s = 0.6 / factor
    first = next(time for time in room.answers if time > end + 0.6)
    bar_lines = (first - end) / (4 * beat_s)
    assert bar_lines == pytest.approx(round(bar_lines), abs=0.02)
    room.safe()


def test_others_start_with_the_answer_and_get_even_clocks() -> None:
    room = Room(send_clock=True)
    end = room.play(101.0, 0.5)
    assert not any(data in (START, CONTINUE, CLOCK) for _, data in room.sent)
    room.at(end, CLOSE)
    room.until(end + 4)
    told = [(time, data) for time, data in room.sent if data[0] >= 0xF0]
    assert told[0][1] == START
    clocks = [time for time, data in told if data == CLOCK]
    assert len(told) == len(clocks) + 1
    assert len(clocks) == pytest.approx(24 * 8, abs=2)
    assert all(b - a == pytest.approx(0.5 / 24, abs=0.002) for a, b in pairwise(clocks[1:]))


def test_it_stops_and_another_loop_starts_it_anew() -> None:
    room = Room(send_clock=True)
    end = room.play(101.0, 0.5)
    room.at(end, CLOSE)
    room.at(end + 1.3, CLOSE)
    room.until(end + 10)
    room.safe()
    assert room.sent[-1][1] == STOP or max(room.answers) < end + 1.4
    later = room.play(end + 20, 0.8)
    assert room.session.turn == "yours"
    room.at(later, CLOSE)
    room.until(later + 8 * 0.8)
    assert [round(each.tempo) for each in room.closed] == [120, 75]
    assert [data for _, data in room.sent if data in (START, STOP)] == [START, STOP, START]
    assert len(room.jobs) == 2
    assert len(room.jobs[1].loop) == 16


def test_nothing_to_close_and_nothing_to_find_are_told() -> None:
    room = Room()
    room.at(101, CLOSE)
    room.at(102, Pressed("half"))
    assert [type(notice) for notice in room.notices] == [NothingToClose, NothingToClose]
    room.at(103, on(60))
    room.at(103.2, CLOSE)
    assert [each.tempo for each in room.closed] == [0]
    end = room.play(110.0, 0.5)
    room.at(end, CLOSE)
    assert [round(each.tempo) for each in room.closed] == [0, 120]


def test_a_loop_that_nobody_closes_is_given_up() -> None:
    room = Room()
    end = room.play(101.0, 0.5)
    room.until(end + 200)
    assert [each.tempo for each in room.closed] == [0]
    assert room.session.turn == "none"


@pytest.mark.parametrize(("give", "there"), [(10, 1.06), (3, 1.03), (0, 1.0)])
def test_it_follows_the_player_as_far_as_give_allows(give: float, there: float) -> None:
    room = Room(use="follow")
    room.at(100.5, Turned("give", give))
    time = room.play(101.0, 0.5)
    room.at(time, CLOSE)
    for beat in range(96):
        beat_s = 0.5 / (1 + 0.06 * min(beat / 48, 1))
        time = room.play(time, beat_s, beats=1)
    assert room.session.transport.tempo == pytest.approx(120 * there, rel=0.012)
    if give == 10:
        place = room.session.transport.tick_at(time) / 480
        assert place == pytest.approx(8 + 96, abs=0.06)
    room.safe()


def test_the_same_steps_send_the_same_bytes() -> None:
    room = Room(use="follow", pause_s=2, send_clock=True)
    end = room.play(101.0, 0.5)
    room.at(end, CLOSE)
    room.play(end, 0.49, beats=16)
    room.at(room.now, Pressed("double"))
    room.until(room.now + 5)
    again = Session(Preset().changed(bars=2, use="follow"), room.options)
    assert [data for now, event in room.steps for data in again.step(now, event).messages] == [d for _, d in room.sent]


def test_start_after_a_stop_goes_on_in_the_tempo_that_was_found() -> None:
    room = Room(send_clock=True)
    end = room.play(101.0, 0.5)
    room.at(end, CLOSE)
    room.at(end + 1, STOP)
    room.at(end + 20, START)
    room.until(end + 21)
    assert room.session.transport.tempo == pytest.approx(120, rel=0.005)
    assert room.session.position(end + 21) == pytest.approx(960, abs=10)
    assert room.session.turn == "yours"
    room.safe()


@given(
    st.sampled_from(["4/4", "3/4", "6/8", "7/8"]),
    st.sampled_from([1, 2, 4]),
    st.floats(65, 145),
    st.floats(-0.02, 0.02),
)
def test_a_loop_of_as_many_bars_as_the_preset_has_is_found_in_any_metre(
    metre: str, bars: int, tempo: float, late_s: float
) -> None:
    of = Metre.parse(metre)
    eighths = bars * of.bar // 240
    step = 30 / tempo
    onsets = [Onset(10 + i * step, 36 if i * 240 % of.bar == 0 else 60 + i % 5, 80) for i in range(eighths)]
    found = infer(onsets, 10 + eighths * step + late_s, of, usual=bars)
    assume(found is not None)
    assert found is not None
    assert found.bars == bars
    assert found.tempo == pytest.approx(tempo, rel=0.02)
    assert found.downbeat == pytest.approx(10, abs=0.02)


@given(st.lists(st.tuples(st.floats(0, 60), st.integers(0, 127)), max_size=60), st.booleans())
def test_whatever_is_played_the_answer_is_in_range(played: list[tuple[float, int]], pressed: bool) -> None:
    onsets = [Onset(time, pitch, 64) for time, pitch in played]
    found = infer(onsets, 61.0 if pressed else None, Metre(), slowest=70, fastest=140)
    if found is not None:
        assert 66 <= found.tempo <= 150
        assert 1 <= found.bars <= 8
        assert 0 < found.confidence <= 1
