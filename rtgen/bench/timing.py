"""Measures the daemon's timing on this machine, beside the best that a Python program can do: `make bench`.

    python -m tests.bench_timing            all of it, in about five minutes
    python -m tests.bench_timing --quick    less of it, in about two
    python -m tests.bench_timing --json     the same figures for a program

A JACK server of its own carries the MIDI, `jack_midi_clock` the tempo. What is played and what comes out is stamped in
the server's frames, by the sample. An error is how far a note that came out is from its tick on the clock's own grid.
The answers are to be what was played (`vary` at distance 0), so that every tick is known; what capturing adds to the
error is in it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rtgen.bench.music import BAR, made_loop
from rtgen.bench.programs import Program, baseline, daemon, preset_file, unique_set_mb, workers
from rtgen.bench.server import (
    CLOCK_OUT,
    PROBE_CLOCK,
    RATE,
    Capture,
    Clock,
    Probe,
    Server,
    TempoMap,
    missing,
    wait_until,
)
from rtgen.bench.streams import compare, milliseconds, runs, sounded, within
from rtgen.music.files import note_events
from rtgen.music.note import Loop

TEMPOS = 60, 120, 174
BARS = 2
LENGTH = BARS * BAR
_SETTLE_S = 0.3
_SIXTEENTH = 120
_KEPT_FRAMES = 0.020 * RATE
"""A note of a variation that begins or ends farther than this from one that was played is another note."""
_BEFORE, _AFTER = 0.010 * RATE, 1.5 * RATE
"""Around the report that the server was late: frames in which its clock does not say what time it is."""
Event = tuple[float, tuple[float, ...]]


@dataclass
class Timing:
    """How far from their time some events were.

    Args:
        what: in words.
        events: (signed error or latency, frames of the moments that it comes from).
        xruns: (frame, milliseconds) at which the server was late: its frames, and with them the clock, stood still.
        remark: what else is to be said.
    """

    what: str
    events: list[Event]
    xruns: list[tuple[int, float]]
    remark: str = ""

    @property
    def calm(self) -> list[Event]:
        """The events but for those with a moment soon after the server was late."""
        return [e for e in self.events if not any(-_BEFORE <= at - x <= _AFTER for at in e[1] for x, _ in self.xruns)]

    def figures_ms(self) -> dict[str, float]:
        """The magnitude that half of the events, 99 of 100, and all do not exceed; 99 of 100 while all was calm."""
        every, calm = ([abs(late) for late, _ in events] for events in (self.events, self.calm))
        return {
            "p50": _quantile_ms(every, 0.5),
            "p99": _quantile_ms(every, 0.99),
            "max": _quantile_ms(every, 1),
            "p99 calm": _quantile_ms(calm, 0.99),
        }


def _quantile_ms(frames: list[float], share: float) -> float:
    ordered = sorted(frames)
    return milliseconds(ordered[min(int(len(ordered) * share), len(ordered) - 1)]) if ordered else float("nan")


@dataclass
class Figures:
    """All that is measured."""

    server: str
    period_ms: float
    music: str
    timings: list[Timing] = field(default_factory=list)
    starts: dict[str, list[float]] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)


@dataclass
class Bench:
    """The rig, and how much is measured on it."""

    server: Server
    probe: Probe
    preset: Path
    quick: bool

    @contextmanager
    def playing(self, program: Program, *clocks: str) -> Iterator[Program]:
        """A program, connected, from the start of the song; afterwards its ports are gone."""
        with program:
            program.attach(self.probe, *clocks)
            yield program
        wait_until(lambda: program.input not in self.probe.ports(), "the end of its ports")
        self.probe.rewind()
        time.sleep(_SETTLE_S)

    def daemon(self, *flags: str) -> Program:
        """The daemon."""
        return daemon(self.server, "--preset", str(self.preset), "--seed", "1", "--bars", str(BARS), *flags)

    def perform(self, tempos: TempoMap, script: Sequence[tuple[int, bytes]], until: int) -> Capture:
        """Plays a script from the start of the song until a frame."""
        time.sleep(_SETTLE_S)
        self.probe.take()
        self.probe.conduct(tempos)
        self.probe.play(script)
        self.probe.start()
        self.probe.wait_for_frame(until)
        self.probe.stop()
        time.sleep(_SETTLE_S)
        return self.probe.take()


def latency(bench: Bench, what: str) -> Timing:
    """How long a message takes through a program, while the clock runs."""
    count = 200 if bench.quick else 1000
    # A stride that meets every place within a period alike.
    frames = [4000 + 961 * i for i in range(count)]
    script = [(f, bytes((0x80 if i % 2 else 0x90, 60, 64))) for i, f in enumerate(frames)]
    capture = bench.perform(TempoMap((0, 120.0)), script, frames[-1] + 4000)
    notes = [(f, data) for f, data in capture.output if data[0] < 0xF0]
    late: list[Event] = [
        (float(out - into), (into,)) for (into, _), (out, _) in zip(capture.played, notes, strict=True)
    ]
    return Timing(what, late, capture.xruns)


def metronome(bench: Bench, bpm: int) -> Timing:
    """The bare loop that counts clocks and sleeps: how far its sixteenths are from the grid."""
    tempos = TempoMap((0, bpm))
    with bench.playing(baseline(bench.server, "sleep"), CLOCK_OUT):
        capture = bench.perform(tempos, [], tempos.frame(24 * 480 if bench.quick else 48 * 480))
    (grid,) = runs(capture.clock)
    meant = [(n.on, round(grid.position(n.on) / _SIXTEENTH) * _SIXTEENTH) for n in sounded(capture.output)]
    return Timing(
        f"bare sleeping loop, {bpm} BPM", [(on - grid.frame(tick), (on,)) for on, tick in meant], capture.xruns
    )


def answers(bench: Bench, bpm: int, loops: Sequence[Loop], memory: dict[str, float]) -> Timing:
    """How far the notes of answers are from their ticks."""
    tempos = TempoMap((0, bpm))
    with bench.playing(bench.daemon("--no-thru"), CLOCK_OUT) as program:
        program.wait_for_line("model ready")
        capture = bench.perform(tempos, _script(tempos, loops), tempos.frame(2 * len(loops) * LENGTH))
        memory |= {"real-time process": unique_set_mb(program.process.pid)}
        memory |= {"worker": sum(unique_set_mb(pid) for pid in workers(program.process.pid))}
    (grid,) = runs(capture.clock)
    notes = sounded(capture.output)
    errors: list[Event] = []
    right = 0
    for i, loop in enumerate(loops):
        start = (2 * i + 1) * LENGTH
        try:
            differences = compare(loop.notes, within(notes, grid, start, start + LENGTH), grid, start)
            errors += [(d.on, (d.at, d.at - tempos.frame(LENGTH))) for d in differences]
            right += 1
        except AssertionError as difference:
            print(f"{bpm} BPM, loop {i}: {difference}", file=sys.stderr)
    return Timing(f"rtgen's answers, {bpm} BPM", errors, capture.xruns, _tally(program, len(loops), right))


def _script(tempos: TempoMap, loops: Sequence[Loop]) -> list[tuple[int, bytes]]:
    events = [e for i, loop in enumerate(loops) for e in note_events(loop.notes, start=2 * i * LENGTH)]
    return [(tempos.frame(e.tick), e.data) for e in events]


def _tally(program: Program, played: int, right: int | None = None) -> str:
    lines = [line for _, line in program.log]
    answered = sum("answering in" in line for line in lines)
    late = sum("late" in line for line in lines)
    exact = "" if right is None else f", {right} note for note"
    return f"{played} loops played, {answered} answered in time{exact}, {late} late"


def variations(bench: Bench, bpm: int, loops: Sequence[Loop]) -> Timing:
    """The same at a distance, where the model has its say: those notes count that were kept as they were played."""
    tempos = TempoMap((0, bpm))
    with bench.playing(bench.daemon("--no-thru", "--distance", "0.5"), CLOCK_OUT) as program:
        program.wait_for_line("model ready")
        capture = bench.perform(tempos, _script(tempos, loops), tempos.frame(2 * len(loops) * LENGTH))
    (grid,) = runs(capture.clock)
    notes = sounded(capture.output)
    errors: list[Event] = []
    for i, loop in enumerate(loops):
        start = (2 * i + 1) * LENGTH
        meant = [(grid.frame(start + n.onset), grid.frame(start + n.end), n) for n in loop.notes]
        for heard in within(notes, grid, start, start + LENGTH):
            kept = [
                (heard.on - on, (on, on - tempos.frame(LENGTH)))
                for on, off, note in meant
                if (note.pitch, note.velocity) == (heard.pitch, heard.velocity)
                and max(abs(heard.on - on), abs(heard.off - off)) < _KEPT_FRAMES
            ]
            errors += kept[:1]
    return Timing(f"notes kept in rtgen's variations, {bpm} BPM", errors, capture.xruns, _tally(program, len(loops)))


def starts(bench: Bench) -> dict[str, list[float]]:
    """Seconds from the start of the process until its ports are there, and until its model is ready."""
    times: dict[str, list[float]] = {"ports open": [], "model ready": []}
    for _ in range(3 if bench.quick else 10):
        with bench.daemon() as program:
            bench.probe.wait_for_ports(program.input, program.output)
            times["ports open"].append(time.perf_counter() - program.started)
            times["model ready"].append(program.wait_for_line("model ready"))
        gone = program.input
        wait_until(lambda: gone not in bench.probe.ports(), "the end of its ports")  # noqa: B023, awaited at once
    return times


def measure(bench: Bench, say: Console) -> Figures:
    """Everything, one after the other."""
    period_ms = milliseconds(bench.server.period)
    figures = Figures(str(bench.server), period_ms, f"loops of {BARS} bars")
    count = 2 if bench.quick else 6

    def done(timing: Timing) -> None:
        figures.timings.append(timing)
        say.print(f"{timing.what}: {len(timing.events)} events", style="dim", highlight=False)

    with bench.playing(baseline(bench.server, "echo")):
        done(latency(bench, "through a bare echo"))
    with bench.playing(bench.daemon("--thru")) as program:
        program.wait_for_line("model ready")
        done(latency(bench, "through rtgen"))
    for bpm in TEMPOS:
        loops = [made_loop(bpm + i, BARS) for i in range(count)]
        done(metronome(bench, bpm))
        done(answers(bench, bpm, loops, figures.memory_mb))
    done(variations(bench, TEMPOS[-1], loops))
    figures.starts = starts(bench)
    return figures


def as_json(figures: Figures) -> str:
    """The figures for a program."""
    timings = [
        {
            "what": t.what,
            "events": len(t.events),
            **{f"{name.replace(' ', '_')}_ms": round(ms, 3) for name, ms in t.figures_ms().items()},
            "events_calm": len(t.calm),
            "xruns": len(t.xruns),
            "remark": t.remark,
        }
        for t in figures.timings
    ]
    fields = {"server": figures.server, "period_ms": figures.period_ms, "music": figures.music, "timings": timings}
    return json.dumps({**fields, "starts_s": figures.starts, "unique_set_mb": figures.memory_mb}, indent=2)


def show(figures: Figures, console: Console) -> None:
    """The figures for a person."""
    table = Table(title=f"{figures.server}\n{figures.music}", box=None, title_justify="left", pad_edge=False)
    table.add_column("late by, or off its tick by (ms)")
    for title in "events", "p50", "p99", "max", "p99 calm", "= periods", "calm", "xruns":
        table.add_column(title, justify="right")
    table.add_column("")
    for t in figures.timings:
        ms = t.figures_ms()
        periods = f"{ms['p99 calm'] / figures.period_ms:.2f}"
        columns = [
            str(len(t.events)),
            *(f"{value:.2f}" for value in ms.values()),
            periods,
            str(len(t.calm)),
            str(len(t.xruns)),
        ]
        table.add_row(t.what, *columns, t.remark)
    console.print(table)
    console.print("calm: without what was played or heard within 1.5 s after the server itself was late (an xrun).")
    for what, times in figures.starts.items():
        ordered = sorted(times)
        console.print(f"{what} after {ordered[len(ordered) // 2]:.2f} s (median), {ordered[-1]:.2f} s (longest)")
    for process, megabytes in figures.memory_mb.items():
        console.print(f"{process}: {megabytes:.0f} MB of its own (unique set)")


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Measures rtgen's timing on this machine.")
    parser.add_argument("--json", action="store_true", help="print for a program")
    parser.add_argument("--quick", action="store_true", help="measure less of everything")
    arguments = parser.parse_args()
    say = Console(stderr=True)
    if reason := missing():
        say.print(f"No bench without a JACK rig: {reason}")
        return 1
    with ExitStack() as stack:
        server = stack.enter_context(Server.start())
        stack.enter_context(Clock(server))
        probe = stack.enter_context(Probe(server))
        probe.connect((CLOCK_OUT, PROBE_CLOCK))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        figures = measure(Bench(server, probe, preset_file(folder), arguments.quick), say)
    if arguments.json:
        print(as_json(figures))
    else:
        show(figures, Console(width=None if sys.stdout.isatty() else 180, highlight=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
