"""The clock of a JACK server in ours, however late its callbacks come; and what leaves in its cycles."""

from __future__ import annotations

import os
import random
from ctypes import c_void_p

import pytest

from rtgen.rig.midi import cycle
from rtgen.rig.midi.cycle import ASK, RECORD, Clock, Outputs
from rtgen.rig.midi.ring import Ring, share
from rtgen.rig.midi.schedule import Schedule

RATE, PERIOD = 48_000.0, 256
CYCLE_S = PERIOD / RATE


def run(
    clock: Clock, cycles: int, first: int = 0, begin: float = 100.0, late_s: float = 0.001, fast: float = 0.0
) -> float:
    """Gives a clock callbacks up to `late_s` late; returns its largest error in the second half, in seconds."""
    chance = random.Random(1)
    worst = 0.0
    for i in range(cycles):
        true = begin + i * CYCLE_S * (1 + fast)
        found = clock.began((first + i * PERIOD) % 2**32, true + chance.uniform(0, late_s))
        if i > cycles / 2:
            worst = max(worst, abs(found - true))
    return worst


def test_late_callbacks_do_not_matter() -> None:
    assert run(Clock(RATE), 1000) < 1e-4


def test_a_rate_that_is_not_quite_the_nominal_one_is_followed() -> None:
    assert run(Clock(RATE), 4000, fast=5e-5) < 2e-4
    assert run(Clock(RATE), 4000, fast=-5e-5) < 2e-4


def test_the_count_may_begin_again() -> None:
    assert run(Clock(RATE), 1000, first=2**32 - 500 * PERIOD) < 1e-4


@pytest.mark.parametrize("stood_still_s", [0.003, 0.03, 3.0])
def test_after_a_stall_it_is_right_again_within_half_a_second(stood_still_s: float) -> None:
    clock = Clock(RATE)
    cycles = 400
    run(clock, cycles)
    # The frames stood still: those that follow are later by our clock.
    again = 100.0 + cycles * CYCLE_S + stood_still_s
    settled = round(0.5 / CYCLE_S) + 1
    run(clock, settled, cycles * PERIOD, again)
    assert run(clock, 100, (cycles + settled) * PERIOD, again + settled * CYCLE_S) < 1e-4


def test_meanwhile_it_is_never_ahead() -> None:
    """What is stamped too early is only early; what is stamped too late would leave too late."""
    clock = Clock(RATE)
    run(clock, 400)
    chance = random.Random(2)
    for i in range(200):
        true = 100.0 + 400 * CYCLE_S + 0.03 + i * CYCLE_S
        assert clock.began((400 + i) * PERIOD, true + chance.uniform(0, 0.001)) <= true + 1e-4 + 0.001


# ---- what leaves ----------------------------------------------------------------------------------------------------


class Server:
    """A server of one output that is called in each cycle, at once."""

    def __init__(self, frames: int) -> None:
        self.frames, self.frame, self.looked, self.cleared = frames, 0, 0, 0
        self.written: list[tuple[int, bytes]] = []
        self.answers, sink = os.pipe()
        fd = share()
        self.ring = Ring(fd)
        self.outputs = outputs = object.__new__(Outputs)
        outputs.jack, outputs.rate, outputs.clock = self, RATE, Clock(RATE)  # type: ignore[assignment]
        outputs.ports, outputs._schedules, outputs._own = [c_void_p(1)], [Schedule()], c_void_p(1)
        outputs._source, outputs._sink = Ring(fd), sink
        outputs._last_frame, outputs._buffer_of, outputs._clear = self.look, lambda *_: 1, self.clear  # type: ignore[assignment]
        outputs._asked = outputs._waiting = False
        outputs._since = 0

    def look(self, _: object) -> int:
        self.looked += 1
        return self.frame

    def clear(self, _: object) -> None:
        self.cleared += 1

    def jack_midi_event_write(self, _buffer: int, place: int, data: bytes, _size: int) -> int:
        # A cycle is told what happens until its end, a period in the future.
        self.written.append((self.frame + place - self.frames, data))
        return 0

    def cycles(self, count: int) -> None:
        for _ in range(count):
            self.frame += self.frames
            self.outputs.process(self.frames, None)


def test_what_is_planned_leaves_at_its_frame_though_nothing_comes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(64)
    monkeypatch.setattr(cycle, "perf_counter", lambda: 5.0 + server.frame / RATE)
    server.cycles(8)
    server.ring.put(5.0 + 1000 / RATE, 0, b"\x90\x3c\x40")
    server.ring.put(5.0 + 1100 / RATE, 0, b"\x80\x3c\x40")
    server.ring.put(0.0, ASK)
    server.cycles(20)
    assert server.written == [(1000, b"\x90\x3c\x40"), (1100, b"\x80\x3c\x40")]
    # Then only it is said that nothing waits any more.
    assert RECORD.unpack(os.read(server.answers, RECORD.size + 1))[1] == ASK
    assert server.cleared == 28


@pytest.mark.parametrize(("frames", "every"), [(64, 4), (256, 1), (1024, 1)])
def test_while_nothing_leaves_the_clock_is_looked_at_often_enough(
    frames: int, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(frames)
    monkeypatch.setattr(cycle, "perf_counter", lambda: 5.0 + server.frame / RATE)
    server.cycles(40)
    assert server.looked == 40 // every
    assert server.cleared == 40
