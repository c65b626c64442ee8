"""What is read out of a performance: made-up ones, of which all is known."""

from __future__ import annotations

from typing import Any

import pytest

from rtgen.bench.measures import kept, latencies, sixteenths, tally, unevenness
from rtgen.bench.music import BAR, made_loop
from rtgen.bench.run import answer_rows
from rtgen.bench.server import Capture, TempoMap
from rtgen.music.files import note_events
from rtgen.music.note import Loop, Note

TEMPOS = TempoMap((0, 120.0))
ON, OFF = b"\x90\x3c\x40", b"\x80\x3c\x00"


def clock(bars: int) -> list[tuple[float, bytes]]:
    ticks = [(float(TEMPOS.frame(tick)), b"\xf8") for tick in range(0, bars * BAR, 20)]
    return [(0.0, b"\xfa"), *ticks, (float(TEMPOS.frame(bars * BAR)), b"\xfc")]


def output(loop: Loop, start: int, late: float) -> list[tuple[float, bytes]]:
    return [(TEMPOS.frame(e.tick) + late, e.data) for e in note_events(loop.notes, start=start)]


def test_latency_is_from_a_message_to_the_same_one() -> None:
    played = [(100.0, ON), (200.0, b"\x80\x3c\x40"), (300.0, b"\x90\x3d\x40")]
    take = latencies(Capture(output=[(50.0, ON), (164.0, ON), (210.0, OFF)], played=played))
    assert take.events == [(64.0, (100.0,)), (10.0, (200.0,))]
    assert take.lost == 1


def test_notes_that_were_kept_are_compared_and_others_are_not() -> None:
    loops = [made_loop(seed, 1) for seed in range(3)]
    other = loops[1].with_notes([Note(n.onset, n.pitch, n.duration, n.velocity - 1) for n in loops[1].notes])
    heard = [*output(loops[0], BAR, 7), *output(other, 2 * BAR, 0), *output(loops[2], 3 * BAR, -4)]
    take = kept(Capture(output=heard, clock=clock(5)), loops)
    assert len(take.events) == len(loops[0]) + len(loops[2])
    assert take.lost == len(loops[1])
    assert {round(error) for error, _ in take.events[: len(loops[0])]} == {7}
    assert {round(error) for error, _ in take.events[len(loops[0]) :]} == {-4}


def test_nothing_is_said_of_what_came_after_the_probe_missed_a_cycle() -> None:
    loops = [made_loop(seed, 1) for seed in range(2)]
    heard = [e for i, loop in enumerate(loops) for e in output(loop, (i + 1) * BAR, 0)]
    take = kept(Capture(output=heard, clock=clock(4), gaps=[TEMPOS.frame(2 * BAR) - 100]), loops)
    assert len(take.events) == len(loops[0])


def test_loops_around_a_change_of_tempo_are_left_out() -> None:
    loops = [made_loop(seed, 1) for seed in range(4)]
    heard = [e for i, loop in enumerate(loops) for e in output(loop, (i + 1) * BAR, 0)]
    take = kept(Capture(output=heard, clock=clock(6)), loops, leave_out=[2])
    assert len(take.events) + take.lost == len(loops[0]) + len(loops[3])


def test_sixteenths_are_measured_from_the_bar_after_a_change_on() -> None:
    ons = [(TEMPOS.frame(tick) + 5.0, ON) for tick in range(0, 2 * BAR, 120)]
    heard = sorted([*ons, *((at + 10, OFF) for at, _ in ons)])
    take = sixteenths(Capture(output=heard, clock=clock(3)), [(0, 120.0)])
    assert [error for error, _ in take.events] == pytest.approx([5.0] * 16)


def test_what_is_not_answered_in_time_is_late() -> None:
    ready = {"kind": "Ready", "said": "model ready: tiny on cpu; it answers within 2.2 ms."}
    told = [{"kind": "Answered", "outcome": outcome} for outcome in ("answer", "late", "missed")]
    assert tally([ready, *told], 5) == {"loops": 5, "in_time": 1, "late": 4}
    assert tally(told[:1], 0) == {"loops": 1, "in_time": 1, "late": 0}


SAMPLE: dict[str, Any] = {
    "model": "m",
    "mode": "clean",
    "whole_ms": [2.0],
    "network_ms": [1.0],
    "step_ms": [],
    "first": [],
    "further": [],
}


def test_torch_is_a_baseline() -> None:
    rows = answer_rows([{**SAMPLE, "engine": "onnxruntime"}, {**SAMPLE, "engine": "torch eager"}], "")
    assert [(r.what, r.values, r.baseline) for r in rows] == [
        ("m, clean: whole", [2.0], False),
        ("m, clean: network", [1.0], False),
        ("m, clean: whole, torch eager", [2.0], True),
        ("m, clean: network, torch eager", [1.0], True),
    ]


def test_of_parts_it_is_told_what_they_need_and_how_much_larger_the_network_could_be() -> None:
    first = [
        {"ms": 5.0, "network_ms": 3.0, "runs": 4, "notes": 2},
        {"ms": 6.0, "network_ms": 4.0, "runs": 5, "notes": 3},
    ]
    further = [{"ms": 5.0, "network_ms": 4.0, "runs": 3, "notes": 3}]
    whole, network, *parts = answer_rows([{**SAMPLE, "engine": "onnxruntime", "first": first, "further": further}], "")
    assert not whole.remark
    assert not network.remark
    assert [(row.what, row.values) for row in parts] == [
        ("m, clean: first part", [5.0, 6.0]),
        ("m, clean: further part", [5.0]),
    ]
    assert parts[0].remark == "4.5 runs of the network, 2.5 notes"
    # One millisecond is not the network's, of the 250 and 125 that half a beat takes.
    has = "it has 250 ms at 120 and 125 ms at 240 BPM, room for a network 62 and 31 times as large"
    assert parts[1].remark == f"3.0 runs of the network, 3.0 notes; {has}"


def test_where_there_is_no_room_there_is_none() -> None:
    further = [{"ms": 400.0, "network_ms": 100.0, "runs": 1, "notes": 1}]
    *_, row = answer_rows([{**SAMPLE, "engine": "onnxruntime", "first": further, "further": further}], "")
    assert row.remark.endswith("room for a network 0 and 0 times as large")


def test_a_clock_is_held_against_the_even_line_that_fits_it() -> None:
    assert [off for off, _ in unevenness([100.0 + 7.5 * i for i in range(50)])] == pytest.approx([0.0] * 50, abs=1e-9)
    late = [10.0 * i + (3.0 if i == 25 else 0.0) for i in range(51)]
    off = [round(error, 1) for error, _ in unevenness(late)]
    assert off == [-0.1] * 25 + [2.9] + [-0.1] * 25
