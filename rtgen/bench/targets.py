"""Targets of the bench, and whether a run met them."""

from __future__ import annotations

from collections.abc import Iterator

from rtgen.bench.figures import Figures, Row, Target, quantile
from rtgen.bench.server import RATE

THRU, IDLE, BUSY = "thru", "notes, idle", "notes, model and both cores busy"
SENT = "clock sent, off even spacing"
PERIODS = "notes, idle, by period"
FOLLOWER, ANSWERS, LOOPS = "clock follower, simulated", "answers without pause, warm caches", "answers in time"
PLAYED = "answers in play, one every 4 s"
ALONG = "plans that came late, of a band that plays along"
START, MEMORY, REST = "start", "private memory", "CPU of one core at rest"
SECTIONS = THRU, IDLE, BUSY, PERIODS, SENT, FOLLOWER, LOOPS, PLAYED, ALONG, ANSWERS, START, MEMORY, REST
"""In the order of the table."""
LAST_NOTES = "last notes, 30 ms before the boundary, answered"
FIRST, FURTHER = "first part", "further part"
RTGEN, PORTS, HELP, REAL_TIME = "rtgen", "ports open", "rtgen --help", "real-time process"
STILL, ROLLING = "no clock", "clock running, nobody plays"
JITTER, STEP = "jitter of ±2 ms, 120 BPM", "the same, 120 to 126 BPM"
_RMS_MS, _CLOCKS = 0.4, 12
_ROOM_MS = 0.5
_EXACT_MS = 0.1
_FRAME_MS = 1000 / RATE
_LEAD_MS, _PARTS_LEAD_MS, _FIRST_MS = 20, 12, 5
_LOOPS, _PLANS, _PORTS_MS, _HELP_MS, _MEMORY_MB, _REST_PERCENT = 1000, 1000, 350, 400, 40, 1.0


def targets(figures: Figures) -> list[Target]:
    """All targets for which something was measured."""
    found = [*_timing(figures), *_follower(figures), *_loops(figures), *_played(figures)]
    return [*found, *_along(figures), *_machine(figures)]


def _timing(figures: Figures) -> Iterator[Target]:
    period = figures.period_ms
    row, echo = figures.find(THRU, RTGEN), figures.find(THRU, "bare echo")
    if row and echo:
        ours, bare = (quantile(r.calm or r.values, 0.5) for r in (row, echo))
        same = None if period is None else ours <= bare + _FRAME_MS
        yield Target("thru p50 equal to the bare echo's", f"{ours:.2f} ms, echo {bare:.2f} ms", same)
        more = row.p99_calm - echo.p99_calm
        found = f"{row.p99_calm:.2f} ms, echo {echo.p99_calm:.2f} ms{_all(row)}"
        yield Target("thru p99 within one period of the bare echo's", found, None if period is None else more <= period)
    for row in figures.rows:
        if row.section == PERIODS and not row.baseline and row.values:
            longest = row.p99_calm
            yield Target(f"{row.what}: p99 within {_EXACT_MS} ms", f"{longest:.2f} ms{_all(row)}", longest <= _EXACT_MS)
    for section in IDLE, BUSY:
        if row := figures.find(section, RTGEN):
            limit = None if period is None else period + _ROOM_MS
            words = "" if limit is None else f" ({limit:.2f} ms)"
            met = None if limit is None else row.p99_calm <= limit
            yield Target(f"{section}: p99 within one period + 0.5 ms{words}", f"{row.p99_calm:.2f} ms{_all(row)}", met)


def _all(row: Row) -> str:
    return f"; {row.figures['p99']:.2f} ms including {row.xruns} xruns" if row.xruns else ""


def _follower(figures: Figures) -> Iterator[Target]:
    if row := figures.find(FOLLOWER, JITTER):
        rms = row.more["rms_ms"][RTGEN]
        yield Target(f"clock follower, {JITTER}: {_RMS_MS} ms rms", f"{rms:.2f} ms", rms <= _RMS_MS)
    if row := figures.find(FOLLOWER, STEP):
        middle, rms = row.more["clocks_to_1_ms_median"], row.more["clocks_to_1_ms_rms"]
        met = middle is not None and middle <= _CLOCKS
        found = f"{middle} clocks by the median of all runs, {rms} by their rms"
        yield Target(f"clock follower, 120 to 126 BPM: back within 1 ms in {_CLOCKS} clocks", found, met)


def _loops(figures: Figures) -> Iterator[Target]:
    if counts := figures.counts:
        late, loops = counts["late"], counts["loops"]
        # Too few loops can show that the target is missed, but not that it is met.
        met = False if late else True if loops >= _LOOPS else None
        more = "" if loops >= _LOOPS else f"; for the full test: rtgen bench --loops {_LOOPS}"
        found = f"{late} late in {loops}{more}"
        yield Target(f"no late answer in {_LOOPS} loops at 60 to 240 BPM", found, met)
    for row in (each for each in figures.rows if each.section == LOOPS and "late" in each.more):
        late, loops = row.more["late"], row.more["loops"]
        met = False if late else True if loops >= _LOOPS else None
        yield Target(f"{row.what}: none late of {_LOOPS} at 60 to 240 BPM", f"{late} late in {loops}", met)


def _played(figures: Figures) -> Iterator[Target]:
    rows = [row for row in figures.rows if row.section == PLAYED and "late" in row.more]
    if rows:
        late, asked = (sum(row.more[name] for row in rows) for name in ("late", "asked"))
        yield Target("no late answer in play, including the first ones", f"{late} late of {asked}", late == 0)
    for alone in (row for row in rows if row.what.endswith(", alone") and row.more["lead_ms"]):
        in_parts = figures.find(ANSWERS, f"composer, {alone.what.partition(',')[0]}: {FIRST}")
        most = _LEAD_MS if in_parts is None else _PARTS_LEAD_MS
        longest = max(alone.more["lead_ms"])
        yield Target(f"{alone.what}: lead of {most} ms at most", f"{longest:.0f} ms", longest <= most)
    for first in (row for row in figures.rows if row.section == ANSWERS and row.what.endswith(f": {FIRST}")):
        longest = first.figures["p99"]
        yield Target(f"{first.what}: p99 within {_FIRST_MS} ms", f"{longest:.1f} ms", longest <= _FIRST_MS)
    if row := figures.find(PLAYED, LAST_NOTES):
        yield Target("every last note, 30 ms before the boundary, is answered", row.remark, row.values[0] == 100)


def _along(figures: Figures) -> Iterator[Target]:
    rows = [row for row in figures.rows if row.section == ALONG]
    if rows:
        late, plans = (sum(row.more[name] for row in rows) for name in ("late", "plans"))
        met = False if late else True if plans >= _PLANS else None
        yield Target(f"no late plan of {_PLANS} at 60 to 240 BPM", f"{late} late of {plans}", met)


def _machine(figures: Figures) -> Iterator[Target]:
    for what, limit in (PORTS, _PORTS_MS), (HELP, _HELP_MS):
        if row := figures.find(START, what):
            longest = row.figures["max"]
            yield Target(f"{what} within {limit / 1e3:g} s", f"{longest / 1e3:.2f} s at most", longest <= limit)
    if row := figures.find(MEMORY, REAL_TIME):
        most = row.figures["max"]
        yield Target(f"real-time process under {_MEMORY_MB} MB", f"{most:.1f} MB", most < _MEMORY_MB)
    for state in STILL, ROLLING:
        ours, bare = (
            sum(r.values[0] for r in figures.rows if r.section == REST and r.baseline is b and r.what.startswith(state))
            for b in (False, True)
        )
        if bare:
            # Subtract the echo: every JACK client has a thread that wakes in every period.
            found = f"{ours - bare:.2f} %: {ours:.2f} % minus the echo's {bare:.2f} %"
            yield Target(f"{state}: under 1 % of a core more than the bare echo", found, ours - bare < _REST_PERCENT)
