"""What an rtgen that was killed left behind: the next one ends its notes, and rolls on."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path
from time import time

import pytest

from rtgen.instrument.events import Ended, Event, Left, Plugged, Received, Step
from rtgen.instrument.job import Answer
from rtgen.instrument.notices import TakenOver
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.rig.kept import journal
from rtgen.rig.kept.journal import Journal, Opening
from rtgen.rig.kept.left import left_behind
from rtgen.rig.kept.replay import replay
from tests.instrument.stage import BAR, CALL, CLOCK, START, STOP, Stage, at, off

OPENING = Opening(Preset().changed(bars=1, use="follow", channel=3), Options(thru=True))
PERIOD = 2.5 / 120


class Life:
    """A session with a log, that may be killed at any time.

    Args:
        path: of the log.
        left: what the one before left behind.
        now: when it begins.
    """

    def __init__(self, path: Path, left: Left | None = None, now: float = 0.0) -> None:
        self.session = OPENING.session()
        self.log = Journal(path, OPENING, name="rtgen", left=left)
        self.log.place = self._place
        self.sent: list[bytes] = []
        self.now = now
        self.notices: list[object] = []
        self._coming: list[tuple[float, Event]] = []
        self._wake: float | None = None
        if left is not None:
            self.tell(now, left)

    def _place(self) -> tuple[float, int]:
        position = self.session.position(self.now)
        return self.now, -1 if position is None else position

    def tell(self, now: float, event: Event | None) -> None:
        self.now = now
        out = self.session.step(now, event)
        self.log.note(Step(now, event, tuple(out.messages)))
        self.sent += out.messages
        self.notices += out.notices
        for job in out.jobs:
            up = job.loop.with_notes(replace(n, pitch=n.pitch + 12) for n in job.loop.notes)
            self._coming.append((now + 0.005, Answer(up, job.target, job.epoch)))
        self._wake = out.wake_at

    def until(self, now: float, timed: list[tuple[float, bytes]]) -> None:
        """Let time pass, with what is received."""
        coming = sorted([*((t, Received(0, data)) for t, data in timed if self.now <= t < now)], key=lambda e: e[0])
        while True:
            self._coming.sort(key=lambda e: e[0])
            times = [each[0][0] for each in (coming, self._coming) if each]
            due = min([*times, self._wake if self._wake is not None else now])
            if due >= now:
                break
            if coming and coming[0][0] == due:
                self.tell(*coming.pop(0))
            elif self._coming and self._coming[0][0] == due:
                self.tell(*self._coming.pop(0))
            else:
                self.tell(due, None)
        self.now = now

    def kill(self, lost: int = 0) -> None:
        """Leave the log as it was, without the last steps."""
        for _ in range(min(lost, len(self.log._steps))):
            self.log._steps.pop()
        self.log._take()
        self.log._flush()
        self.log._close()


def song(seconds: float) -> list[tuple[float, bytes]]:
    """A clock that is started once, and a call in every bar."""
    tick = 60 / (120 * 480)
    clocks = [(0.1 + i * PERIOD, CLOCK) for i in range(int((seconds - 0.1) / PERIOD))]
    calls = [(0.1 + t * tick + 1e-4, data) for bar in range(int(seconds / 2)) for t, data in at(bar * BAR, CALL)]
    return [(0.099, START), *clocks, *calls]


def sounding(sent: list[bytes]) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for data in sent:
        if data[0] & 0xF0 == 0x90:
            found.add((data[0] & 15, data[1]))
        elif data[0] & 0xF0 == 0x80:
            found.discard((data[0] & 15, data[1]))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_after_every_kill_the_next_ends_its_notes_and_rolls_on_at_the_next_bar(tmp_path: Path, seed: int) -> None:
    """Four kills in a row, at any time, each with some of the last steps lost."""
    chance = random.Random(seed)
    timed, now = song(40.0), 0.0
    left: Left | None = None
    sent: list[bytes] = []
    for number in range(5):
        life = Life(tmp_path / f"{number}.rtlog", left, now)
        assert sounding([*sent, *life.sent]) == set()
        until = now + chance.uniform(0.3, 8.0)
        life.until(until, timed)
        if (position := life.session.position(until)) is not None:
            assert position == pytest.approx((until - 0.1) * 960, abs=2), number
        elif number:
            assert until - now < 2.2  # a bar, and two clocks
        sent += life.sent
        life.kill(lost=chance.randrange(20))
        now = until + chance.uniform(0.3, 1.5)
        left = left_behind(tmp_path, "rtgen", now)
        assert left is not None
        assert left.at is not None


def test_of_one_that_ended_or_has_another_name_nothing_is_left(tmp_path: Path) -> None:
    life = Life(tmp_path / "a.rtlog")
    life.until(2.3, song(4.0))
    assert left_behind(tmp_path, "rtgen", 3.0) == Left((), (2,))  # nothing is written yet but the start
    life.kill()
    found = left_behind(tmp_path, "rtgen", 3.5)
    assert found is not None
    assert found.at == pytest.approx(2.3)
    assert found.tick == pytest.approx(2.2 * 960, abs=2)
    assert found.sounding
    assert found.channels == (0, 2)
    assert left_behind(tmp_path, "rtgen 2", 3.5) is None
    assert left_behind(tmp_path / "none", "rtgen", 3.5) is None
    with (tmp_path / "a.rtlog").open("ab") as file:
        file.write(journal.encoded(journal.Step(3.5, Ended(), (off(60),))))
    assert left_behind(tmp_path, "rtgen", 3.5) is None


def test_after_a_stop_or_a_minute_or_another_start_of_the_machine_it_does_not_roll_on(tmp_path: Path) -> None:
    path = tmp_path / "a.rtlog"
    life = Life(path)
    life.until(2.3, song(4.0))
    life.kill()
    for now in 2.0, 130.0:
        found = left_behind(tmp_path, "rtgen", now)
        assert found is not None
        assert (found.at, len(found.sounding) > 0) == (None, True)
    os.utime(path, (time() - 600, time() - 600))
    found = left_behind(tmp_path, "rtgen", 3.5)
    assert found is not None
    assert found.at is None
    os.utime(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "boot", lambda: "another")
        found = left_behind(tmp_path, "rtgen", 3.5)
    assert found is not None
    assert (found.at, len(found.sounding) > 0) == (None, True)
    found = left_behind(tmp_path, "rtgen", 3.5)
    assert found is not None
    assert found.at is not None
    with path.open("ab") as file:
        file.write(journal.encoded(journal.Step(3.0, Received(0, STOP), ())))
    found = left_behind(tmp_path, "rtgen", 3.5)
    assert found is not None
    assert found.at is None


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_log_that_is_damaged_is_taken_for_what_it_says(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.rtlog"
    life = Life(path)
    life.until(2.5, song(4.0))
    life.kill()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - cut])
    left_behind(tmp_path, "rtgen", 3.0)
    chance = random.Random(cut)
    flipped = bytearray(data)
    for _ in range(4):
        flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(flipped)
    left_behind(tmp_path, "rtgen", 3.0)


def test_places_in_a_log_change_no_replay(tmp_path: Path) -> None:
    path = tmp_path / "a.rtlog"
    life = Life(path, Left(((0, 60),), (0,), -1.0, 480))
    life.until(2.3, song(4.0))
    life.kill()
    found = replay(path)
    assert found.different is None
    assert found.steps > 100


def test_a_new_rtgen_ends_them_again_when_its_output_comes_and_when_it_rolls() -> None:
    stage = Stage()
    stage.step(0.0, Left(((0, 60), (2, 64)), (0, 2)))
    ends = [data for _, data in stage.sent]
    assert ends[:4] == [off(60), bytes((0x82, 64, 0)), bytes((0xB0, 64, 0)), bytes((0xB0, 123, 0))]
    assert len(ends) == len(set(ends)) == 2 * (128 + 2 + 5)
    assert stage.notices == [TakenOver(2, False)]
    stage.sent.clear()
    stage.step(0.0, Plugged("out", 0, "synth", True))
    assert [data for _, data in stage.sent] == ends
    stage.receive(START)
    stage.until(100)
    assert len(stage.sent) == len(ends)


def test_without_a_clock_or_with_a_start_it_does_not_roll_on() -> None:
    stage = Stage()
    stage.step(0.0, Left((), (0,), -10.0, 480))
    stage.until(4 * BAR, clock=False)
    assert stage.session.position(stage.time(stage.tick)) is None
    stage.receive(START)
    stage.until(5 * BAR)
    assert stage.session.position(stage.time(5 * BAR)) == BAR


def test_what_a_killed_one_bent_pressed_and_moved_goes_back(tmp_path: Path) -> None:
    life = Life(tmp_path / "a.rtlog")
    life.until(3.0, [*song(3.0), *((1.0, bytes((0xB4, n, 99))) for n in (1, 7, 11)), (1.1, b"\xe5\x00\x50")])
    life.kill()
    left = left_behind(tmp_path, "rtgen", 3.5)
    assert left is not None
    assert set(left.moved) == {(0xB4, 1), (0xB4, 11), (0xE5, 0)}
    stage = Stage()
    stage.step(0.0, left)
    sent = [data for _, data in stage.sent]
    for data in (b"\xb4\x01\x00", b"\xb4\x0b\x7f", b"\xe5\x00\x40", b"\xe2\x00\x40", b"\xd2\x00", b"\xb4\x43\x00"):
        assert sent.count(data) == 1
