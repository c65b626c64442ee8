"""The statistics, and what is made of them."""

from __future__ import annotations

import math

import pytest

from rtgen.bench.figures import Figures, Row, Take, calm, quantile
from rtgen.bench.server import RATE, Capture
from rtgen.bench.streams import Run
from rtgen.bench.targets import BUSY, HELP, LOOPS, MEMORY, PORTS, REAL_TIME, REST, ROLLING, RTGEN, START, THRU, targets

MS = RATE // 1000
"""Frames of a millisecond."""


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(1, 0.5, 1), (2, 0.5, 1), (100, 0.5, 50), (100, 0.99, 99), (101, 0.99, 100), (20, 0.95, 19), (7, 1.0, 7)],
)
def test_a_quantile_is_the_value_that_so_many_do_not_exceed(count: int, share: float, expected: int) -> None:
    assert quantile(reversed(range(1, count + 1)), share) == expected


def test_nothing_has_no_quantile() -> None:
    assert math.isnan(quantile([], 0.5))


def test_what_the_servers_lateness_spoils_is_not_calm() -> None:
    second = float(RATE)
    events = [(i, (i * second / 2, i * second / 2 - second)) for i in range(10)]
    # Late at 2 s: until 3.5 s nothing counts that happened then, nor what answers it a second later.
    kept = calm(events, [2 * second])
    assert [i for i, _ in kept] == [0, 1, 2, 3]
    assert calm(events, []) == events


def test_a_row_tells_all_and_what_was_calm() -> None:
    takes = [
        Take([(-3.0 * MS, (0,)), (1.0 * MS, (RATE * 9,))], [10.0]),
        Take([(2.0 * MS, (0,))], []),
    ]
    row = Row.timed("notes", "rtgen", takes, remark="x")
    assert row.figures == {"p50": 2.0, "p95": 3.0, "p99": 3.0, "max": 3.0}
    assert (row.p99_calm, row.xruns) == (2.0, 1)
    assert row.as_dict() == {
        "section": "notes",
        "what": "rtgen",
        "baseline": False,
        "remark": "x",
        "count": 3,
        "count_calm": 2,
        "p50_ms": 2.0,
        "p95_ms": 3.0,
        "p99_ms": 3.0,
        "max_ms": 3.0,
        "p99_calm_ms": 2.0,
        "xruns": 1,
    }


def test_what_is_not_known_is_null_and_units_are_in_names() -> None:
    assert Row("s", "w", []).as_dict()["p50_ms"] is None
    assert Row("s", "w", [12.0], "MB").as_dict()["max_mb"] == 12.0
    assert Row("s", "w", [1.0], "%").as_dict()["p50_percent"] == 1.0


def _figures(ours: float, period_ms: float | None, counts: dict[str, int]) -> Figures:
    rows = [
        Row(THRU, RTGEN, [ours]),
        Row(THRU, "bare echo", [1.0], baseline=True),
        Row(BUSY, RTGEN, [ours]),
        Row(START, PORTS, [ours * 300]),
        Row(START, HELP, [ours * 200]),
        Row(MEMORY, REAL_TIME, [ours * 35], "MB"),
        Row(REST, f"{ROLLING}: {REAL_TIME}", [ours * 2.5], "%"),
        Row(REST, f"{ROLLING}: worker", [0.1], "%"),
        Row(REST, f"{ROLLING}: bare echo", [2.0], "%", baseline=True),
    ]
    return Figures("stage", "jack", period_ms, None, rows, counts)


@pytest.mark.parametrize(("ours", "met"), [(1.0, True), (2.9, False)])
def test_targets_are_met_or_missed(ours: float, met: bool) -> None:
    found = targets(_figures(ours, 1.0, {"loops": 1000, "in_time": 1000, "late": 0}))
    assert [t.met for t in found] == [met, met, met, True, met, met, met, met]


def test_what_a_run_cannot_tell_is_neither_met_nor_missed() -> None:
    without_server = targets(_figures(1.0, None, {"loops": 10, "in_time": 10, "late": 0}))
    assert [t.met for t in without_server] == [None, None, None, None, True, True, True, True]
    assert "0 late in 10" in without_server[3].found
    one_late = targets(_figures(1.0, None, {"loops": 10, "in_time": 9, "late": 1}))
    assert one_late[3].met is False


def test_targets_are_about_what_was_measured() -> None:
    assert targets(Figures("stage", "pipes", None)) == []
    assert [t.what for t in targets(Figures("stage", "pipes", None, rows=[Row(LOOPS, "lead", [1.0])]))] == []


def test_a_capture_goes_on_in_the_next() -> None:
    first, second = Capture(output=[(1.0, b"a")]), Capture(output=[(2.0, b"b")], gaps=[5])
    assert (first + second).output == [(1.0, b"a"), (2.0, b"b")]
    assert Run(0, (0.0, 10.0), None).frame(10) == 5
