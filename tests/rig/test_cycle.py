"""The clock of a JACK server in ours, however late its callbacks come."""

from __future__ import annotations

import random

import pytest

from rtgen.rig.midi.cycle import Clock

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
