"""The clock that follows Ableton Link, told of a session that a few lines of arithmetic make."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.instrument.clocks.link_clock import LinkClock
from rtgen.instrument.clocks.transport import Change, State
from rtgen.instrument.events import Linked, Received
from rtgen.instrument.job import Answer
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music.time import PPQN
from tests.instrument.ledger import check

BAR = 4 * PPQN


@dataclass
class Friends:
    """A Link session: beat 0 is at second 0."""

    tempo: float = 120.0
    bar: float = 4.0
    peers: int = 1
    playing: bool = False
    since: float = 0.0
    _then: tuple[float, float] = field(default=(0.0, 0.0))

    def beat(self, at: float) -> float:
        time, beat = self._then
        return beat + (at - time) * self.tempo / 60

    def change(self, at: float, tempo: float | None = None, jump: float = 0.0) -> None:
        """From `at` on there is another tempo, or the beat is elsewhere."""
        self._then = at, self.beat(at) + jump
        self.tempo = tempo or self.tempo

    def play(self, at: float) -> None:
        self.playing, self.since = True, self.beat(at)

    def now(self, at: float) -> Linked:
        return Linked(at, self.beat(at), self.bar, self.tempo, self.playing, self.since, self.peers)


def watch(clock: LinkClock, friends: Friends, start: float, end: float, every: float = 0.02) -> list[Change]:
    """Tells the clock where the session is, again and again; the breaks that it says."""
    changes = []
    for i in range(round((end - start) / every)):
        at = start + i * every
        changes += [clock.expire(at), clock.follow(friends.now(at)), clock.expire(at)]
    return [change for change in changes if change is not None]


def test_it_rolls_with_the_next_bar_when_nobody_ever_starts() -> None:
    clock, friends = LinkClock(), Friends(peers=0)
    assert watch(clock, friends, 0.5, 1.0) == []
    assert clock.state is State.STOPPED
    friends.peers = 2
    clock.follow(friends.now(1.0))
    assert (clock.state, clock.deadline) == (State.ARMED, pytest.approx(2.0))
    assert watch(clock, friends, 1.02, 1.99) == []
    assert clock.expire(2.0001) is Change.ROLLED
    assert clock.tick == 0
    assert clock.time_at(BAR) == pytest.approx(4.0)
    friends.peers = 0  # all have left, and the beat goes on
    assert watch(clock, friends, 2.1, 5.0) == []
    assert clock.tick_at(5.0) == 3 * BAR // 2


def test_a_start_in_the_bar_rolls_at_the_next_bar_and_a_stop_stops_at_once() -> None:
    clock, friends = LinkClock(), Friends()
    friends.play(1.3)
    assert watch(clock, friends, 1.3, 2.3) == [Change.ROLLED]
    assert clock.time_at(0) == pytest.approx(2.0)
    friends.playing = False
    assert watch(clock, friends, 3.0, 3.5) == [Change.STOPPED]
    assert clock.state is State.STOPPED  # although there is somebody: who has started once is obeyed
    friends.play(4.0002)  # meant on the bar line
    assert watch(clock, friends, 4.1, 4.12) == [Change.ROLLED]
    assert clock.time_at(0) == pytest.approx(4.0)
    assert clock.tick == pytest.approx(96, abs=1)


def test_a_start_while_it_rolls_with_the_beat_begins_the_song_anew() -> None:
    clock, friends = LinkClock(), Friends()
    assert watch(clock, friends, 0.0, 5.0) == [Change.ROLLED]
    friends.play(5.0)
    assert watch(clock, friends, 5.0, 6.5) == [Change.LOCATED, Change.ROLLED]
    assert clock.time_at(0) == pytest.approx(6.0)


def test_who_joins_a_song_that_plays_is_where_it_is() -> None:
    clock, friends = LinkClock(), Friends()
    friends.play(2.0)
    assert watch(clock, friends, 7.3, 7.32) == [Change.ROLLED]
    assert clock.tick == clock.tick_at(7.3) == round(5.3 * 2 * PPQN)


def test_a_change_of_tempo_keeps_the_beat() -> None:
    clock, friends = LinkClock(), Friends(tempo=100)
    friends.play(0.0)
    watch(clock, friends, 0.0, 6.03)
    friends.change(6.0, 140)  # heard of 30 ms later
    assert watch(clock, friends, 6.03, 9.0) == []
    assert clock.tempo == pytest.approx(140)
    for beat in (12, 16, 20):
        assert friends.beat(clock.time_at(beat * PPQN)) == pytest.approx(beat, abs=1e-6)


def test_small_errors_are_taken_off_little_by_little() -> None:
    clock, friends = LinkClock(), Friends()
    friends.play(0.0)
    watch(clock, friends, 0.0, 3.0)
    before = clock.time_at(8 * PPQN)
    friends.change(3.0, jump=0.006)  # 3 ms
    clock.follow(friends.now(3.0))
    assert 0.0004 < before - clock.time_at(8 * PPQN) < 0.001
    watch(clock, friends, 3.02, 3.8)
    assert before - clock.time_at(8 * PPQN) == pytest.approx(0.003, abs=1e-5)
    friends.change(3.8, jump=0.1)  # 50 ms: at once, but no other place in the song
    assert clock.follow(friends.now(3.8)) is None
    assert before - clock.time_at(8 * PPQN) == pytest.approx(0.053, abs=1e-5)


@pytest.mark.parametrize(("jump", "beat"), [(1.5, 7.5), (-2.0, 4.0), (1000.0, 6.0), (-999.0, 7.0), (-3.0, 7.0)])
def test_a_jump_is_another_place_in_the_same_bar_or_the_next(jump: float, beat: float) -> None:
    clock, friends = LinkClock(), Friends()
    friends.play(0.0)
    watch(clock, friends, 0.0, 3.0)
    friends.change(3.0, jump=jump)
    broken = beat != 6.0
    assert watch(clock, friends, 3.0, 3.02) == ([Change.LOCATED, Change.ROLLED] if broken else [])
    assert clock.tick_at(3.0) == beat * PPQN
    assert (friends.beat(3.0) - clock.tick_at(3.0) / PPQN) % 4 == pytest.approx(0)


def test_another_metre_is_counted_from_its_own_bar_line() -> None:
    clock, friends = LinkClock(), Friends()
    friends.play(0.0)
    watch(clock, friends, 0.0, 3.5)
    friends.bar = 3.0
    watch(clock, friends, 3.5, 4.0)
    assert clock.state is State.ROLLING
    assert (friends.beat(3.9) - clock.tick_at(3.9) / PPQN) % 3 == pytest.approx(0, abs=1 / PPQN)


def test_the_song_goes_on_where_the_session_is_when_the_machine_slept() -> None:
    clock, friends = LinkClock(), Friends()
    friends.play(0.0)
    watch(clock, friends, 0.0, 3.0)
    assert clock.skip(3603.0, 3600.0) is Change.LOCATED
    assert clock.expire(3603.0) is Change.ROLLED
    clock.follow(friends.now(3603.0))
    assert clock.tick_at(3603.0) == 7206 * PPQN


def test_the_players_correction_moves_all_that_is_played() -> None:
    clock, friends = LinkClock(), Friends()
    clock.offset_s = 0.02
    friends.play(0.0)
    watch(clock, friends, 0.1, 1.0)
    assert clock.time_at(BAR) == pytest.approx(1.98)


def test_a_loop_that_is_played_to_the_beat_is_answered_on_it() -> None:
    session, friends = Session(Preset().changed(bars=1, use="answer"), Options(clock="link")), Friends(tempo=100)
    sent: list[tuple[float, bytes]] = []
    friends.play(0.0)
    wake = 0.0
    times = [i * 0.02 for i in range(400)]
    played = {9.0: bytes((0x90, 60, 90)), 9.4: bytes((0x80, 60, 0))}
    friends.change(3.0, 140)
    start = friends.beat(3.0)
    for at in sorted({*times, *(3.0 + (beat - start) * 60 / 140 for beat in played)}):
        while wake <= at:
            out = session.step(wake)
            sent += [(wake, message) for message in out.messages]
            for job in out.jobs:
                sent += [(wake, m) for m in session.step(wake, Answer(job.loop, job.target, job.epoch)).messages]
            wake = out.wake_at if out.wake_at is not None and out.wake_at > wake else at + 1e-9
        event = friends.now(at) if at in times else Received(0, played[round(friends.beat(at), 6)])
        if at >= 3.0:
            session.step(at, event)
            wake = at
    assert check(message for _, message in sent) == 1
    (on, off) = ((at, friends.beat(at)) for at, message in sent)
    assert on[1] == pytest.approx(13.0, abs=0.01)
    assert off[1] == pytest.approx(13.4, abs=0.01)


_told = st.builds(
    Linked,
    at=st.just(0.0),
    beat=st.floats(-100, 1e6),
    bar=st.sampled_from((0.5, 1.5, 3.0, 4.0, 3.5)),
    tempo=st.floats(20, 999),
    playing=st.booleans(),
    since=st.floats(-100, 1e6),
    peers=st.integers(0, 3),
)
_pauses = st.floats(0.0001, 3.0)
_notes = st.builds(
    lambda kind, pitch: Received(0, bytes((kind, pitch, 64))), st.sampled_from((0x80, 0x90)), st.integers(60, 63)
)


@given(st.lists(st.tuples(_pauses, st.one_of(_told, _notes)), max_size=40))
def test_whatever_a_session_says_every_note_ends(happens: list[tuple[float, Linked | Received]]) -> None:
    session = Session(Preset().changed(bars=1, metre="1/4", use="follow"), Options(clock="link", thru=True))
    sent: list[bytes] = []
    now, wake = 0.0, None
    for pause, event in happens:
        until, steps = now + pause, 0
        while wake is not None and wake < until:
            now, steps = max(now, wake), steps + 1
            out = session.step(now)
            sent += out.messages
            for job in out.jobs:
                sent += session.step(now, Answer(job.loop, job.target, job.epoch)).messages
            wake = session.step(now).wake_at
            assert steps < 2000, "it wants to be woken again and again"
        now = until
        out = session.step(now, replace(event, at=now) if isinstance(event, Linked) else event)
        sent, wake = sent + out.messages, out.wake_at
    check(sent + session.end())
