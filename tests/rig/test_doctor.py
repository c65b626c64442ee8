from __future__ import annotations

import pytest

from rtgen.instrument import midi
from rtgen.rig.doctor import _clock, _notes

PERIOD_S = 64 / 48000
CLOCK = bytes((midi.CLOCK,))


def test_the_tempo_is_right_although_clocks_come_in_whole_periods_and_once_stopped() -> None:
    true = [i * 2.5 / 120 for i in range(60)] + [3 + i * 2.5 / 120 for i in range(60)]
    heard = [(t - t % PERIOD_S + PERIOD_S, CLOCK) for t in true]
    finding = _clock(heard, "mclk", 5)
    assert finding.verdict == "good"
    assert float(finding.found.split()[0]) == pytest.approx(120, abs=0.5)


def test_no_clock_and_no_notes_come_with_a_cure() -> None:
    for finding in (_clock([(0.0, CLOCK)], "keys", 3), _notes([(0.0, bytes((0x90, 60, 0)))], "keys", 3)):
        assert finding.verdict == "note"
        assert "keys" in finding.found
        assert finding.cure


def test_the_channels_of_notes_are_named() -> None:
    assert _notes([(0.0, bytes((0x92, 60, 9))), (0.1, bytes((0x90, 60, 9)))], "keys", 3).found == "2 on channel 1, 3"
