"""Measurements on a stage: each plays to rtgen and to its baseline, and returns rows."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rtgen.bench.figures import Event, Row, Take
from rtgen.bench.music import BAR, made_loop
from rtgen.bench.programs import BESIDE, Program, cpu_s, load, model_file, port_processes, unique_set_mb, workers
from rtgen.bench.server import RATE, Capture, PipeWire, Server, TempoMap, Timed
from rtgen.bench.stage import ExactStage, Script, Stage
from rtgen.bench.streams import Run, runs, sounded, within
from rtgen.bench.targets import (
    ALONG,
    BUSY,
    FIRST,
    HELP,
    IDLE,
    LOOPS,
    MEMORY,
    PERIODS,
    PORTS,
    REAL_TIME,
    REST,
    ROLLING,
    RTGEN,
    SENT,
    START,
    STILL,
    THRU,
)
from rtgen.instrument.notices import Answered, PlanLate
from rtgen.music import midi
from rtgen.music.files import note_events
from rtgen.music.note import Loop, Note
from rtgen.music.time import HALF
from rtgen.shipped import find

_BUSY_TEMPO = 174
_WITH_BAND = 60, 120, 240
_CONDUCTED = 120
_STRIDE = 241
"""Frames between messages, chosen to hit every offset within a period equally often."""
_LOST_FRAMES = 0.5 * RATE
_ANOTHER_FRAMES = 0.020 * RATE
"""A note of a variation that begins or ends farther than this from a played note counts as a different note."""
_SIXTEENTH = 120
_ASIDE_S = 0.5
"""Seconds skipped before and after a measurement at rest, while things start and stop."""
News = Sequence[Mapping[str, Any]]
"""What a daemon reported, as `Program.news`."""


@dataclass(frozen=True)
class Amount:
    """Sizes of the measurements.

    Args:
        rounds: rounds of thru, alternating between rtgen and echo.
        messages: per round.
        tempos: tempos of the loops, in turn.
        loops: in total over these tempos.
        busy_loops: loops while all cores are busy.
        streamed: presets whose answers come in parts, and whose loops are as many.
        periods: of further servers, in frames.
        period_loops: loops on each of them.
        beats: of the baseline, at each tempo and under load.
        starts: daemon starts.
        rest_s: seconds at rest.
        answers: of each mode and model, without pause.
        played: presets whose answers are measured in play.
        beside: background loads meanwhile.
        calls: calls per preset and load.
        seeds: of the simulated clocks.
        bars: that a band plays along, at each tempo.
    """

    rounds: int = 3
    messages: int = 1000
    tempos: tuple[int, ...] = (60, 90, 120, 150, 180, 240)
    loops: int = 60
    busy_loops: int = 32
    streamed: tuple[str, ...] = ("continue", "generate", "vary")
    periods: tuple[int, ...] = (64, 256, 1024)
    period_loops: int = 16
    beats: int = 16
    starts: int = 10
    rest_s: float = 10.0
    answers: int = 200
    played: tuple[str, ...] = ("clean", "vary", "continue", "blend", "generate", "feel")
    beside: tuple[str, ...] = tuple(BESIDE)
    calls: int = 5
    seeds: int = 60
    bars: int = 16


QUICK = Amount(
    1, 400, (180, 240), loops=6, busy_loops=5, streamed=("continue",), periods=(1024,), period_loops=4, beats=7,
    starts=2, rest_s=2.0, answers=20, seeds=12,
    played=("vary",), beside=("alone",), calls=2, bars=2,
)  # fmt: skip
"""A complete bench within a minute."""


# ---- thru -----------------------------------------------------------------------------------------------------------


def thru(stage: Stage, amount: Amount) -> list[Row]:
    """Latency of messages through rtgen and through a bare echo, in turn, while the clock runs."""
    takes: dict[str, list[Take]] = {"daemon": [], "echo": []}
    for _ in range(amount.rounds):
        for what, settings in ("daemon", {"thru": True}), ("echo", {}):
            with stage.playing(what, **settings) as program:
                takes[what].append(latencies(_thru(stage, program, amount.messages)))
    return [
        Row.timed(THRU, RTGEN, takes["daemon"], remark=_lost(takes["daemon"])),
        Row.timed(THRU, "bare echo", takes["echo"], baseline=True, remark=_lost(takes["echo"])),
    ]


def _thru(stage: Stage, program: Program, count: int) -> Capture:
    def tick(message: int) -> float:
        return (4000 + _STRIDE * message) * 960 / RATE

    script = [(tick(i), bytes((0x80 if i % 2 else 0x90, i // 2 % 128, 64))) for i in range(count)]
    return stage.perform(program, TempoMap((0, 120.0)), script, round(tick(count)) + 240)


def latencies(capture: Capture) -> Take:
    """Latency of each message that came back."""
    back: dict[bytes, deque[float]] = defaultdict(deque)
    for at, data in capture.output:
        back[data[:2]].append(at)  # a note-off may have lost its velocity
    events: list[Event] = []
    for at, data in capture.played:
        heard = back[data[:2]]
        while heard and heard[0] < at:
            heard.popleft()
        if heard and heard[0] - at < _LOST_FRAMES:
            events.append((heard.popleft() - at, (at,)))
    return Take(events, capture.xruns, len(capture.played) - len(events))


def _lost(takes: Iterable[Take]) -> str:
    lost = sum(take.lost for take in takes)
    return f"{lost} lost" if lost else ""


# ---- notes on the grid ----------------------------------------------------------------------------------------------


def loops(stage: Stage, amount: Amount, counts: dict[str, int]) -> list[Row]:
    """Plays one-bar loops at 60 to 240 BPM, each answered during the next: timing errors of notes, and late answers.

    Args:
        stage: carries the MIDI.
        amount: sizes.
        counts: receives `loops`, `in_time` and `late`.
    """
    changes = changing(amount.loops, amount.tempos)
    tempos = TempoMap(*((i * BAR, bpm) for i, bpm in changes.items()))
    played = [made_loop(seed, 1) for seed in range(amount.loops)]
    with stage.playing("daemon", use="follow", bars=1, distance=0.5) as program:
        capture = stage.perform(program, tempos, as_script(played), (len(played) + 1) * BAR)
        news = program.news
    # The tempo is still being learnt in the bar after a change.
    notes = kept(capture, played, stage.period_ms, leave_out=changes)
    counts |= tally(news, len(played))
    every = ", ".join(map(str, changes.values()))
    with stage.playing("sleep") as program:
        steps = [(i * amount.beats * 480, bpm) for i, bpm in enumerate(amount.tempos)]
        bare = sixteenths(stage.perform(program, TempoMap(*steps), [], len(steps) * amount.beats * 480), steps)
    return [
        Row.timed(IDLE, RTGEN, [notes], remark=f"at {every} BPM; {_kept(notes, capture)}"),
        Row.timed(IDLE, "bare sleeping loop", [bare], baseline=True),
        *_rows(news, counts, ""),
    ]


def streamed(stage: Stage, amount: Amount) -> list[Row]:
    """Answers that come in parts, likewise at 60 to 240 BPM: how soon the first part comes, and how many were late."""
    changes = changing(amount.loops, amount.tempos)
    tempos = TempoMap(*((i * BAR, bpm) for i, bpm in changes.items()))
    played = [made_loop(seed, 1) for seed in range(amount.loops)]
    rows: list[Row] = []
    for preset in amount.streamed:
        with stage.playing("daemon", preset=str(find("presets", preset)), use="follow", bars=1) as program:
            stage.perform(program, tempos, as_script(played), (len(played) + 1) * BAR)
            news = program.news
        counts = tally(news, len(played))
        found = _rows(news, counts, f", {preset}")
        found[0].what = f"from job to {FIRST}, {preset}"
        found[0].more = {name: counts[name] for name in ("loops", "late")}
        rows += found
    return rows


def by_period(stage: Stage, amount: Amount) -> list[Row]:
    """Timing errors of notes on servers of other periods, and on PipeWire where it is installed.

    The clock is exact, so that nothing but rtgen is off.
    """
    rows: list[Row] = []
    if stage.kind != "jack":
        return rows
    servers: dict[str, Callable[[int], Server | PipeWire]] = {"JACK": Server.start}
    if shutil.which("pipewire") is not None:
        servers["PipeWire"] = PipeWire
    played = [made_loop(seed, 1) for seed in range(amount.period_loops)]
    tempos, until = TempoMap((0, _BUSY_TEMPO)), (len(played) + 1) * BAR
    for name, start in servers.items():
        for period in amount.periods:
            what = f"{name}, {period} frames"
            with ExactStage(start(period)) as exact:
                with exact.playing("daemon", use="follow", bars=1, distance=0) as program:
                    capture = exact.perform(program, tempos, as_script(played), until)
                notes = kept(capture, played, exact.period_ms)
                rows.append(Row.timed(PERIODS, what, [notes], remark=_kept(notes, capture)))
                if name != "JACK":
                    continue  # python-rtmidi, which the baseline uses, brings a libjack of its own
                with exact.playing("sleep") as program:
                    bare = sixteenths(exact.perform(program, tempos, [], until), [(0, _BUSY_TEMPO)])
                rows.append(Row.timed(PERIODS, f"{what}, bare sleeping loop", [bare], baseline=True))
    return rows


def changing(loops: int, tempos: Sequence[int]) -> dict[int, int]:
    """Maps the first loop of each tempo to its BPM, so that all tempos last equally long."""
    before = [sum(tempos[:i]) for i in range(len(tempos))]
    return {loops * b // sum(tempos): bpm for b, bpm in zip(before, tempos, strict=True)}


def busy(stage: Stage, amount: Amount) -> list[Row]:
    """The same with all cores busy and a model answering all the time."""
    tempos = TempoMap((0, _BUSY_TEMPO))
    played = [made_loop(seed, 1) for seed in range(amount.busy_loops)]
    with stage.playing("daemon", use="follow", bars=1, distance=0.5) as program, load(model_file()):
        capture = stage.perform(program, tempos, as_script(played), (len(played) + 1) * BAR)
        news = program.news
    notes = kept(capture, played, stage.period_ms)
    with stage.playing("sleep") as program, load(model_file()):
        bare = sixteenths(stage.perform(program, tempos, [], 2 * amount.beats * 480), [(0, _BUSY_TEMPO)])
    return [
        Row.timed(BUSY, RTGEN, [notes], remark=f"at {_BUSY_TEMPO} BPM; {_kept(notes, capture)}"),
        Row.timed(BUSY, "bare sleeping loop", [bare], baseline=True),
        *_rows(news, tally(news, len(played)), ", all busy"),
    ]


def as_script(played: Sequence[Loop]) -> Script:
    """One-bar loops, one after the other."""
    events = [e for i, loop in enumerate(played) for e in note_events(loop.notes, start=i * BAR)]
    return [(e.tick, e.data) for e in sorted(events, key=lambda e: e.tick)]


def kept(
    capture: Capture, played: Sequence[Loop], period_ms: float | None = None, leave_out: Iterable[int] = ()
) -> Take:
    """Timing errors of the played notes that the answers, one bar later, contain.

    Args:
        capture: of a performance in follow use.
        played: the loop of each bar.
        period_ms: of the server; captured and sounding notes may each be off by one period.
        leave_out: indices of loops to exclude, as calls and as answers.
    """
    (grid,) = runs(capture.clock)
    notes = sounded(capture.output)
    another = _ANOTHER_FRAMES + (period_ms or 0.0) * RATE / 1000
    left_out = {*leave_out, *(i - 1 for i in leave_out)}
    events: list[Event] = []
    meant_at_all = 0
    for i, loop in enumerate(played):
        if i in left_out:
            continue
        start = (i + 1) * BAR
        heard = within(notes, grid, start, start + BAR)
        meant_at_all += len(loop)
        for note in loop.notes:
            on, off, before = (grid.frame(tick + start) for tick in (note.onset, note.end, note.onset - BAR))
            same = [n for n in heard if (n.pitch, n.velocity) == (note.pitch, note.velocity)]
            came = min(same, key=lambda n: abs(n.on - on), default=None)
            if came and max(abs(came.on - on), abs(came.off - off)) < another:
                events.append((came.on - on, (on, before)))
    return _sound(Take(events, capture.xruns, meant_at_all - len(events)), capture)


def sixteenths(capture: Capture, steps: Sequence[tuple[int, float]]) -> Take:
    """Deviation of notes from the nearest sixteenth, except in the bar after each tempo change."""
    (grid,) = runs(capture.clock)
    ons = [n.on for n in sounded(_closed(capture.output)) if not _unsettled(grid, n.on, steps)]
    meant = [round(grid.position(on) / _SIXTEENTH) * _SIXTEENTH for on in ons]
    errors: list[Event] = [(on - grid.frame(tick), (on,)) for on, tick in zip(ons, meant, strict=True)]
    return _sound(Take(errors, capture.xruns), capture)


def _sound(take: Take, capture: Capture) -> Take:
    """Drops events after the probe missed a cycle, which may have hidden a clock and shifted the grid."""
    first = min(capture.gaps, default=float("inf"))
    return Take([e for e in take.events if max(e[1]) < first], take.xruns, take.lost)


def _unsettled(grid: Run, frame: float, steps: Sequence[tuple[int, float]]) -> bool:
    return any(0 <= grid.position(frame) - tick < BAR for tick, _ in steps)


def _closed(output: Sequence[Timed]) -> Sequence[Timed]:
    """Drops a last note that the baseline could not end."""
    return output[:-1] if len(output) % 2 else output


def _kept(take: Take, capture: Capture) -> str:
    gap = "; excluding notes after the probe missed a cycle" if capture.gaps else ""
    return f"{len(take.events)} notes kept of {len(take.events) + take.lost}{gap}"


def answered(news: News) -> News:
    """Return the answers, in time or not."""
    return [item for item in news if item["kind"] == Answered.__name__]


def tally(news: News, played: int) -> dict[str, int]:
    """Count loops played, answered in time, and answered late, too late or never."""
    told = answered(news)
    in_time = sum(item["outcome"] == "answer" for item in told)
    # Notes within the lead before the last boundary belong to the call of one more loop.
    loops = max(played, len(told))
    return {"loops": loops, "in_time": in_time, "late": loops - in_time}


def _rows(news: News, counts: dict[str, int], when: str) -> list[Row]:
    told = answered(news)
    words = f"{counts['loops']} loops, {counts['in_time']} answered in time, {counts['late']} late"
    rows = [Row(LOOPS, f"from job to answer{when}", [1e3 * item["seconds"] for item in told], remark=words)]
    if told:
        rows.append(Row(LOOPS, f"lead chosen{when}", [1e3 * item["lead_s"] for item in told]))
    return rows


# ---- clock output --------------------------------------------------------------------------------------------------


def conducting(stage: Stage, amount: Amount) -> list[Row]:
    """Deviation of the clocks sent by rtgen from even spacing, beside the stage's own clock."""
    with stage.playing("daemon", clock="internal", tempo=_CONDUCTED, send_clock=True) as program:
        capture = stage.perform(program, TempoMap((0, _CONDUCTED)), [], 2 * amount.beats * 480)
    rows = []
    for what, stream in (RTGEN, capture.output), ("the bench's own clock", capture.clock):
        times = [at for at, data in stream if data[0] == midi.CLOCK]
        rows.append(Row.timed(SENT, what, [Take(unevenness(times), capture.xruns)], baseline=what != RTGEN))
    return rows


def unevenness(times: Sequence[float]) -> list[Event]:
    """Deviation of each time from the straight line fitted by least squares."""
    count = len(times)
    if count < 3:
        return []
    middle, mean = (count - 1) / 2, sum(times) / count
    slope = sum((i - middle) * (t - mean) for i, t in enumerate(times)) / (count * (count * count - 1) / 12)
    return [(t - mean - (i - middle) * slope, (t,)) for i, t in enumerate(times)]


# ---- a band ---------------------------------------------------------------------------------------------------------


def along(stage: Stage, amount: Amount) -> list[Row]:
    """How many plans of a band that plays along came too late, alone and while all cores are busy.

    A plan is asked for in every half beat, and is to be there a beat before it sounds.
    """
    preset = find("presets", "band")
    rows = []
    for busy in (False, True):
        for bpm in _WITH_BAND:
            with load(model_file()) if busy else nullcontext(), stage.playing("daemon", preset=str(preset)) as program:
                until = amount.bars * BAR
                melody = [note for i in range(0, amount.bars, 2) for note in _line(i)]
                script = [(float(e.tick), e.data) for e in note_events(melody)]
                capture = stage.perform(program, TempoMap((0, float(bpm))), script, until)
                late = sum(each["kind"] == PlanLate.__name__ for each in program.news)
            plans, notes = until // HALF, len(sounded(capture.output))
            what = f"{bpm} BPM{', all cores busy' if busy else ''}"
            remark = f"{late} late of {plans}, {notes} notes"
            rows.append(Row(ALONG, what, [100 * late / plans], "%", remark=remark, more={"late": late, "plans": plans}))
    return rows


def _line(bar: int) -> list[Note]:
    """The melody of a synthetic loop of two bars, one note at a time."""
    loop = made_loop(bar)
    high = [note for note in loop.notes if note.pitch >= 60]
    return [replace(note, onset=note.onset + bar * BAR) for note in high]


# ---- the process ----------------------------------------------------------------------------------------------------


def starts(stage: Stage, amount: Amount) -> list[Row]:
    """Time from process start until the ports are open, and until the model is ready; and how long `--help` takes."""
    ports, ready, bare = list[float](), list[float](), list[float]()
    helps: dict[str, list[float]] = {"-m rtgen --help": [], "-c pass": []}
    for _ in range(amount.starts):
        with stage.start("daemon", {}) as program:
            ports.append(stage.ports_opened(program) * 1e3)
            ready.append(program.wait_for_line("model ready") * 1e3)
        with stage.start("echo", {}) as program:
            bare.append(stage.ports_opened(program) * 1e3)
        for words, took in helps.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *words.split()], capture_output=True, check=True)
            took.append((time.perf_counter() - began) * 1e3)
    said, nothing = helps.values()
    return [
        Row(START, PORTS, ports),
        Row(START, "ports open, bare echo", bare, baseline=True),
        Row(START, "model ready", ready),
        Row(START, HELP, said),
        Row(START, "python, doing nothing", nothing, baseline=True),
    ]


def rest(stage: Stage, amount: Amount) -> list[Row]:
    """Memory of each process, and CPU use while nobody plays (Linux; elsewhere empty)."""
    if not Path("/proc/self/smaps_rollup").exists():
        return []
    memory: list[Row] = []
    shares: list[Row] = []
    for what in "daemon", "echo":
        bare = what == "echo"
        with stage.playing(what) as program:
            names = {program.process.pid: "bare echo" if bare else REAL_TIME}
            names |= dict.fromkeys(workers(program.process.pid), "worker")
            names |= dict.fromkeys(port_processes(program.process.pid), "ports")
            still = _shares(names, amount.rest_s)
            until = round((amount.rest_s + 2 * _ASIDE_S) * 960)
            clock = threading.Thread(target=stage.perform, args=(program, TempoMap((0, 120.0)), [], until))
            clock.start()
            rolling = _shares(names, amount.rest_s)
            clock.join()
            memory += [Row(MEMORY, name, [unique_set_mb(pid)], "MB", bare) for pid, name in names.items()]
        for state, found in (STILL, still), (ROLLING, rolling):
            shares += [Row(REST, f"{state}: {name}", [found[pid]], "%", bare) for pid, name in names.items()]
    return [*memory, *shares]


def _shares(pids: Iterable[int], seconds: float) -> dict[int, float]:
    """CPU use of processes in percent of a core, after a moment to settle."""
    time.sleep(_ASIDE_S)
    began, used = time.perf_counter(), {pid: cpu_s(pid) for pid in pids}
    time.sleep(seconds)
    took = time.perf_counter() - began
    return {pid: 100 * (cpu_s(pid) - before) / took for pid, before in used.items()}
