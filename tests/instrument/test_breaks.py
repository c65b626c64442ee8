"""What is played around a transport message: an early downbeat, a sequencer that loops, a Start that never comes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest

from rtgen.instrument.events import Chosen, Pressed, Received
from rtgen.instrument.notices import NoClock, NoStart
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music.midi import to_song_position
from rtgen.music.note import Note
from tests.instrument.ledger import check
from tests.instrument.stage import (
    BAR,
    CALL,
    CLOCK,
    CONTINUE,
    HEARD,
    START,
    STOP,
    Stage,
    at,
    moved,
    off,
    on,
    started,
    word,
)

Timed = Iterable[tuple[float, bytes]]
Score = list[tuple[int, bytes]]


def clocks(tempo: float, begin: float, count: int) -> list[tuple[float, bytes]]:
    return [(begin + i * 2.5 / tempo, CLOCK) for i in range(count)]


def played(session: Session, timed: Timed) -> tuple[Note, ...]:
    """Return what has been captured of the present loop after all that was received."""
    now = 0.0
    for now, data in sorted(timed, key=lambda each: each[0]):
        session.step(now, Received(0, data))
    return session.played(now)


# ---- an early downbeat ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tempo", [60, 120, 240])
@pytest.mark.parametrize("early_ms", [1, 10, 30, 50])
@pytest.mark.parametrize("runs", [False, True], ids=["clock from Start on", "clock all the time"])
def test_a_downbeat_just_before_start_is_the_first_note(tempo: float, early_ms: int, runs: bool) -> None:
    session = Session(Preset().changed(bars=1, use="answer"))
    start = 48 * 2.5 / tempo
    timed = [*(clocks(tempo, 0.0, 48) if runs else []), (start - 0.0005, START), *clocks(tempo, start, 24)]
    down = start - early_ms / 1e3
    (note,) = played(session, [*timed, (0.01, on(48)), (0.02, off(48)), (down, on(60)), (start + 0.1, off(60))])
    assert note.pitch == 60
    assert note.onset == pytest.approx(-early_ms / 1e3 * tempo * 8, abs=1)
    assert note.end == pytest.approx(0.1 * tempo * 8, abs=1)


@pytest.mark.parametrize("offset_ms", [-40, 30, 200])
def test_so_it_is_with_a_clock_that_comes_late(offset_ms: int) -> None:
    session = Session(Preset().changed(bars=1, use="answer"), Options(clock_offset_s=offset_ms / 1e3))
    timed = [(0.9995, START), *clocks(120, 1.0, 24)]
    down = 1.0 - offset_ms / 1e3
    (note,) = played(session, [*timed, (down - 0.001, on(60)), (down + 0.1, off(60))])
    assert (note.onset, note.duration) == (-1, 97)


def test_a_short_note_that_ends_before_start_and_a_held_pedal_are_heard() -> None:
    session = Session(Preset().changed(bars=1, use="answer"))
    timed = [(0.9995, START), *clocks(120, 1.0, 24), (0.97, on(60)), (0.99, off(60))]
    assert [(n.onset, n.duration) for n in played(session, timed)] == [(-29, 19)]
    session = Session(Preset().changed(bars=1, use="answer"))
    pedal = [(0.96, bytes((0xB0, 64, 127))), (1.2, bytes((0xB0, 64, 0)))]
    assert [(n.onset, n.end) for n in played(session, [*timed, *pedal])] == [(-29, 192)]


@pytest.mark.parametrize("late_ms", [0.5, 5, 20])
@pytest.mark.parametrize("stops", [False, True])
def test_a_downbeat_just_before_a_jump_is_the_first_note_there(late_ms: float, stops: bool) -> None:
    session = Session(Preset().changed(bars=1, use="answer"))
    jump = 1.0 + 40 * 2.5 / 120
    told = [*([STOP] if stops else []), to_song_position(5 * 16), CONTINUE]
    timed = [(0.999, START), *clocks(120, 1.0, 40), *clocks(120, jump, 24)]
    timed += [(jump - 0.0005 + i * 1e-5, data) for i, data in enumerate(told)]
    down = jump - 0.0005 - late_ms / 1e3
    (note,) = played(session, [*timed, (1.1, on(48)), (1.2, off(48)), (down, on(60)), (jump + 0.1, off(60))])
    assert (note.pitch, note.end) == (60, 96)
    assert note.onset == pytest.approx((down - jump) * 960, abs=1)
    assert session.position(jump) == 5 * BAR


def test_a_downbeat_just_before_our_own_clock_starts_again_is_the_first_note() -> None:
    session = Session(Preset().changed(bars=1, use="answer"), Options(clock="internal"))
    session.step(0.0)
    (note,) = played(session, [(1.0, STOP), (1.97, on(60)), (2.0, START), (2.1, off(60))])
    assert note.pitch == 60
    assert -40 < note.onset < 0


def test_a_downbeat_just_before_loops_of_another_length_is_the_first_note() -> None:
    stage = started(use="follow")
    stage.until(BAR + 100)
    stage.step(stage.time(stage.tick), Chosen(Preset().changed(bars=2, use="follow")))
    stage.until(
        2 * BAR + 500, [(BAR + 200, on(50)), (BAR + 300, off(50)), (2 * BAR - 30, on(60)), (2 * BAR + 100, off(60))]
    )
    assert [(n.onset, n.pitch) for n in stage.session.played(stage.time(stage.tick))] == [(-30, 60)]


def test_what_was_played_long_before_start_is_not() -> None:
    session = Session(Preset().changed(bars=1, use="answer"))
    timed = [(0.9995, START), *clocks(120, 1.0, 24), (0.9, on(60)), (1.1, off(60))]
    assert played(session, timed) == ()


# ---- a sequencer that loops ----------------------------------------------------------------------------------------


def looping(stage: Stage, length: int, rounds: int, score: Callable[[int], Score], how: str) -> None:
    """Play rounds of a sequencer that loops its first `length` ticks; the ticks of the stage go on."""
    position = [to_song_position(0), CONTINUE]
    told = {"position": position, "start": [START], "twice": position * 2, "stop": [STOP, *position]}
    for number in range(rounds):
        stage.until((number + 1) * length - 1, at(number * length, score(number)))
        stage.until((number + 1) * length)
        for data in told[how]:
            stage.receive(data)


@pytest.mark.parametrize("how", ["position", "start", "twice", "stop"])
@pytest.mark.parametrize("bars", [1, 2, 4])
def test_follow_goes_on_under_a_sequencer_that_loops(bars: int, how: str) -> None:
    """In each loop of ours another note; each is answered in the next loop."""
    stage = started(use="follow", bars=1)
    looping(stage, bars * BAR, 8 // bars, lambda n: _scale(n * bars, bars), how)
    assert [(onset, pitch) for onset, pitch, _ in stage.notes] == [((n + 1) * BAR, 72 + n) for n in range(7)]
    assert stage.whats().count(("rolling", 0)) == (1 if how != "stop" else 1 + (8 // bars - 1))
    assert not any(what in ("located", "late", "missed") for what, _ in stage.whats())


def _scale(first: int, bars: int) -> Score:
    return [
        (n * BAR + tick, data)
        for n in range(bars)
        for tick, data in ((0, on(60 + first + n)), (400, off(60 + first + n)))
    ]


@pytest.mark.parametrize("how", ["position", "stop"])
@pytest.mark.parametrize(("loop", "bars"), [(2, 2), (4, 2), (8, 4)])
def test_turns_go_on_under_a_sequencer_that_loops(loop: int, bars: int, how: str) -> None:
    stage = started(use="answer", bars=bars)
    looping(stage, loop * BAR, 16 // loop, lambda n: CALL if n * loop % (2 * bars) == 0 else [], how)
    turns = range(0, 16, 2 * bars)
    assert [job.target for job in stage.jobs] == [(turn + bars) * BAR for turn in turns]
    assert stage.notes == [n for turn in turns for n in moved((turn + bars) * BAR, HEARD)]


def test_where_the_song_is_is_told_as_the_sequencer_counts() -> None:
    stage = started(use="follow", bars=1)
    stage.until(2 * BAR, _scale(0, 2))
    stage.receive(to_song_position(0))
    stage.receive(CONTINUE)
    stage.until(2 * BAR + 500)
    assert stage.session.position(stage.time(stage.tick)) == 500
    stage.until(4 * BAR + 10, at(2 * BAR, _scale(2, 2)))
    assert [what for what in stage.whats() if what[0] == "call"] == [("call", n) for n in (0, 1, 0, 1)]
    # It goes on at bar 3 after a Stop and a Continue.
    stage.receive(STOP)
    stage.receive(CONTINUE)
    stage.until(4 * BAR + 100)
    assert stage.session.position(stage.time(4 * BAR + 40)) == pytest.approx(2 * BAR + 40, abs=20)


@pytest.mark.parametrize("ticks", [-1, 1])
def test_a_jump_that_is_told_one_clock_off_is_followed_as_told(ticks: int) -> None:
    stage = started(use="follow", bars=1)
    stage.until(2 * BAR + 20 * ticks, _scale(0, 2))
    stage.receive(to_song_position(0))
    stage.receive(CONTINUE)
    stage.until(3 * BAR)
    assert stage.session.position(stage.time(2 * BAR + 20 * ticks + 400)) == pytest.approx(400, abs=1)
    assert len(stage.notes) == 2


@pytest.mark.parametrize(("sixteenths", "plays"), [(0, True), (8, False)])
def test_an_answer_that_comes_in_the_stop_is_played_if_it_goes_round(sixteenths: int, plays: bool) -> None:
    stage = started(use="follow", answer_ticks=40)
    stage.until(2 * BAR - 5, at(BAR, CALL))
    stage.receive(STOP)
    stage.until(2 * BAR + 30, clock=False)
    assert stage.session.turn == "none"
    stage.receive(to_song_position(sixteenths))
    stage.receive(CONTINUE)
    stage.until(3 * BAR)
    assert [what for what, _ in stage.whats()].count("answer") == plays
    # The first clock after it is at 2 * BAR + 40.
    assert stage.notes == (moved(2 * BAR + 40, HEARD) if plays else [])


def test_a_stop_ends_what_sounds_and_nothing_begins_until_it_goes_on() -> None:
    stage = started(use="follow")
    stage.until(BAR + 100, CALL)
    stage.receive(STOP)
    sent = len(stage.sent)
    assert stage.sent[-1] == (BAR + 100, off(72))
    assert stage.session.played(stage.time(stage.tick)) == ()
    stage.until(3 * BAR, [(BAR + 200 + i, (on, off)[i % 2](60)) for i in range(200)])
    assert len(stage.sent) == sent
    stage.receive(CONTINUE)
    stage.until(4 * BAR)
    # After so long it begins anew: what was played while it was stopped is in no loop.
    assert len(stage.jobs) == 1


def test_a_jump_elsewhere_begins_a_new_turn() -> None:
    stage = started(use="follow", bars=2)
    stage.until(3 * BAR, CALL)
    stage.receive(to_song_position(0))
    stage.receive(CONTINUE)
    stage.until(4 * BAR)
    assert [what for what in stage.whats() if what[0] in ("located", "rolling")] == [
        ("rolling", 0),
        ("located", 0),
        ("rolling", 0),
    ]


def test_loops_of_another_length_begin_where_theirs_do_in_a_song_that_went_round() -> None:
    stage = started(use="follow", bars=1)
    stage.until(3 * BAR, _scale(0, 3))
    stage.receive(to_song_position(0))
    stage.receive(CONTINUE)
    stage.until(4 * BAR - 500, at(3 * BAR, _scale(3, 1)))
    stage.step(stage.time(stage.tick), Chosen(Preset().changed(bars=2, use="follow")))
    stage.until(9 * BAR, at(5 * BAR, CALL))
    # The sequencer's bar 3, our bar 6, begins the second loop of two bars.
    assert [(job.loop.length, job.target) for job in stage.jobs][-1] == (2 * BAR, 4 * BAR)
    assert stage.notes[-2:] == moved(7 * BAR, HEARD)
    check(data for _, data in stage.sent)


@pytest.mark.parametrize("tick", [960, 970, 1040, 1079])
def test_song_position_that_names_where_it_is_changes_nothing(tick: int) -> None:
    plain, told = started(bars=1), started(bars=1)
    for stage in plain, told:
        stage.until(tick, [e for e in CALL if e[0] < tick])
        if stage is told:
            stage.receive(to_song_position(tick // 120))
            stage.receive(CONTINUE)
        stage.until(3 * BAR, [e for e in CALL if e[0] >= tick])
    assert told.sent == plain.sent
    assert told.whats() == plain.whats()
    assert len(told.notes) == 2


# ---- a clock without Start -----------------------------------------------------------------------------------------


def unstarted(stage: Stage) -> list[tuple[int, bool]]:
    """The tempo, and whether it rolls, of each notice of a clock without Start."""
    return [(round(notice.tempo), notice.rolls) for notice in stage.notices if isinstance(notice, NoStart)]


def test_a_clock_without_start_is_told_of_once() -> None:
    stage = Stage()
    stage.until(900)
    assert unstarted(stage) == []
    stage.until(4 * BAR)
    assert unstarted(stage) == [(120, False)]
    assert stage.session.transport.unstarted == 0.0
    stage.receive(START)
    stage.until(5 * BAR)
    assert stage.session.position(stage.time(5 * BAR)) == BAR
    assert stage.session.transport.unstarted is None


@pytest.mark.parametrize("first", [START, CONTINUE, STOP])
def test_a_clock_that_was_started_or_stopped_is_not(first: bytes) -> None:
    stage = Stage()
    stage.until(500)
    stage.receive(first)
    stage.until(3 * BAR)
    stage.receive(STOP)
    stage.until(6 * BAR)
    assert unstarted(stage) == []


def test_with_the_button_it_rolls_a_bar_after_the_downbeat_on_which_it_was_pressed() -> None:
    stage = Stage(use="follow")
    stage.until(BAR + 607)
    stage.step(stage.time(stage.tick), Pressed("roll"))
    start = 2 * BAR + 600
    stage.until(start + BAR + 100, at(start, CALL))
    assert stage.session.position(stage.time(start)) == 0
    assert stage.session.position(stage.time(start + BAR)) == BAR
    assert [(job.target, len(job.loop)) for job in stage.jobs] == [(BAR, 2)]


@pytest.mark.parametrize(("metre", "start"), [("4/4", BAR), ("2/4", 960), ("1/4", 960)])
def test_with_the_option_it_rolls_at_the_next_bar(metre: str, start: int) -> None:
    stage = Stage(roll=True, metre=metre)
    stage.until(4 * BAR)
    assert unstarted(stage) == [(120, True)]
    assert [what for what in stage.whats() if what[0] == "rolling"] == [("rolling", 0 if metre != "1/4" else 1)]
    position = stage.session.position(stage.time(4 * BAR))
    assert position is not None
    assert (position - (4 * BAR - start)) % Preset().changed(metre=metre).metre.bar == 0


def test_a_start_or_a_stop_that_comes_before_the_next_bar_has_precedence() -> None:
    for message in START, STOP:
        stage = Stage(roll=True)
        stage.until(1500)
        stage.receive(message)
        stage.until(3 * BAR)
        assert stage.session.position(stage.time(3 * BAR)) == (3 * BAR - 1500 if message == START else None)


def test_without_a_clock_the_button_says_so_and_while_rolling_it_does_nothing() -> None:
    stage = Stage()
    stage.step(0.0, Pressed("roll"))
    assert stage.notices == [NoClock()]
    stage = started()
    stage.until(1000)
    stage.step(stage.time(1000), Pressed("roll"))
    stage.until(3000)
    assert stage.session.position(stage.time(3000)) == 3000
    assert stage.whats() == [("rolling", 0), ("silence", 0)]


def test_the_button_starts_our_own_clock_as_well() -> None:
    session = Session(Preset(), Options(clock="internal"))
    session.step(0.0)
    session.step(1.0, Received(0, STOP))
    assert session.position(2.0) is None
    session.step(2.0, Pressed("roll"))
    assert session.position(2.0) is not None


# ---- a second source in the same port ------------------------------------------------------------------------------


class Crowd:
    """A session under a clock at 120 BPM that was started at 0.05 s, and whatever else comes into its port."""

    def __init__(
        self, second: Timed, seconds: float = 16.0, jitter_s: float = 0.0003, stop: float | None = None
    ) -> None:
        chance = random.Random(1)
        ours = [
            (0.049, START),
            *((t + chance.uniform(0, jitter_s), c) for t, c in clocks(120, 0.05, int(seconds * 48))),
        ]
        if stop is not None:
            ours = [*(each for each in ours if each[0] < stop), (stop, STOP)]
        self.session = Session(Preset().changed(bars=1, use="follow"))
        self.words: list[tuple[float, str]] = []
        self.off = 0.0
        self._wake: float | None = None
        both = [(t + chance.uniform(0, 0.0003), data) if data == CLOCK else (t, data) for t, data in (*ours, *second)]
        for now, data in sorted([*both, (seconds, b"")], key=lambda each: each[0]):
            while self._wake is not None and self._wake < now:
                self._step(self._wake)
            self._step(now, Received(0, data) if data else None)
            position = self.session.position(now)
            if position is not None and now > 1:
                self.off = max(self.off, abs(position - (now - 0.05) * 960))

    def _step(self, now: float, event: Received | None = None) -> None:
        out = self.session.step(now, event)
        self.words += [(now, word(notice)) for notice in out.notices]
        self._wake = out.wake_at

    def breaks(self) -> list[str]:
        return [what for _, what in self.words if what in ("rolling", "located", "stopped", "lost")]


STARTS = {"start": [START], "position": [to_song_position(100), CONTINUE], "continue": [CONTINUE], "nothing": []}


@pytest.mark.parametrize("starts", STARTS)
@pytest.mark.parametrize("tempo", [60, 97, 120, 200])
@pytest.mark.parametrize("at_s", [4.003, 4.017])
@pytest.mark.parametrize("goes_on", [False, True], ids=["its clock ceases", "its clock goes on"])
def test_a_second_source_in_the_same_port_changes_nothing(
    starts: str, tempo: float, at_s: float, goes_on: bool
) -> None:
    begun = [(at_s - 0.0005 + i * 1e-5, data) for i, data in enumerate(STARTS[starts])]
    stop = [(10.0, STOP)] if starts != "nothing" else []
    theirs = [each for each in clocks(tempo, at_s, 900) if each[0] < (15.0 if goes_on else 10.0)]
    crowd = Crowd([*begun, *theirs, *stop])
    assert crowd.breaks() == ["rolling"]
    assert crowd.off < 8
    assert crowd.session.transport.tempo == pytest.approx(120, rel=0.002)


@pytest.mark.parametrize("starts", STARTS)
def test_ours_can_be_stopped_beside_a_second_source(starts: str) -> None:
    """It is stopped within some clocks, although the second goes on."""
    begun = [(4.0025 + i * 1e-5, data) for i, data in enumerate(STARTS[starts])]
    crowd = Crowd([*begun, *clocks(97, 4.003, 480)], stop=10.0)
    assert crowd.breaks() == ["rolling", "stopped"]
    assert next(now for now, what in crowd.words if what == "stopped") < 10.1


def test_a_source_that_is_connected_twice_can_be_stopped_and_moved() -> None:
    twice = [(4.051, STOP), (4.0512, STOP)]
    crowd = Crowd([*((t + 0.0005, c) for t, c in clocks(120, 0.05, 192)), *twice], seconds=6.0)
    assert crowd.breaks() == ["rolling", "stopped"]


def test_a_tempo_that_really_doubles_is_followed_still() -> None:
    session, now = Session(Preset()), 0.0
    session.step(0.0, Received(0, START))
    for now, data in [*clocks(120, 0.01, 200), *clocks(240, 0.01 + 200 * 2.5 / 120, 200)]:
        session.step(now, Received(0, data))
    assert session.transport.tempo == pytest.approx(240, rel=0.01)
    assert session.position(now) == pytest.approx(399 * 20, abs=2)
