"""Stages carry the MIDI during measurements: a JACK server if available, else pipes.

A stage runs a program and plays to it. Captured times are in frames of `server.RATE` on both: a JACK server's own
frames, or the system's steady clock in that unit.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rtgen.bench.programs import Piped, Program, baseline, daemon, preset_file
from rtgen.bench.server import (
    CLOCK_OUT,
    PERIOD,
    PROBE_CLOCK,
    RATE,
    Capture,
    Clock,
    Closing,
    PipeWire,
    Probe,
    Server,
    TempoMap,
    Timed,
    missing,
    wait_until,
)
from rtgen.errors import UserError
from rtgen.music import midi
from rtgen.music.time import PPQN, TICKS_PER_CLOCK
from rtgen.rig.realtime import prefer_this_thread

Over = Literal["auto", "jack", "pipes"]
Script = Sequence[tuple[float, bytes]]
"""Ticks and messages, in order."""
Setting = bool | int | float | str
Settings = dict[str, Setting]
"""Settings of the daemon: `preset`, `use`, `bars`, `distance`, `tempo`, `thru`, `clock`, `send_clock`; others default
to `programs.preset_file`."""
_SETTLE_S = 0.3
_LONGEST_PERIOD = 4096


class Stage(Closing):
    """Carries the MIDI; `title` describes it in words, `kind` for JSON."""

    title: str
    kind: str
    period_ms: float | None = None
    missing: str | None = None
    """Why no better stage is available here."""

    def start(self, what: str, settings: Settings) -> Program:
        """Starts the `daemon`, or the baseline `echo` or `sleep`."""
        raise NotImplementedError

    def ports_opened(self, program: Program) -> float:
        """Waits until a program's ports are open; returns when they were, in seconds from its start."""
        raise NotImplementedError

    def playing(self, what: str, **settings: Setting) -> AbstractContextManager[Program]:
        """A connected program with its model ready; on exit it is ended, and the song is back at its start."""
        raise NotImplementedError

    def perform(self, program: Program, tempos: TempoMap, script: Script, until: int) -> Capture:
        """Plays a script and a clock from the start of the song to the tick `until`, then stops."""
        raise NotImplementedError


class JackStage(Stage):
    """A private JACK server, `jack_midi_clock`, and a probe with sample-accurate timestamps."""

    kind = "jack"

    def __init__(self, server: Server | PipeWire) -> None:
        self._server = server
        with ExitStack() as stack:
            stack.enter_context(server)
            self._clocks = self._clock(stack)
            self._probe = stack.enter_context(Probe(server))
            self._probe.connect(*((clock, PROBE_CLOCK) for clock in self._clocks))
            self._preset = preset_file(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            self._stack = stack.pop_all()
        self.title = str(server)
        self.period_ms = server.period * 1000 / RATE

    def _clock(self, stack: ExitStack) -> tuple[str, ...]:
        """Starts a MIDI clock; returns its port."""
        assert isinstance(self._server, Server)
        stack.enter_context(Clock(self._server))
        return (CLOCK_OUT,)

    def start(self, what: str, settings: Settings) -> Program:
        """Starts a program."""
        if what != "daemon":
            return baseline(self._server, what)
        flags = ["--no-thru"] if not settings.get("thru") else ["--thru"]
        for key, value in settings.items():
            if key not in ("thru", "preset"):
                flags += [f"--{key.replace('_', '-')}", *([] if value is True else [str(value)])]
        preset = settings.get("preset", self._preset)
        return daemon(self._server, "--json", "--preset", str(preset), "--seed", "1", *flags)

    def ports_opened(self, program: Program) -> float:
        """Waits for the ports."""
        self._probe.wait_for_ports(program.input)
        self._probe.wait_for_ports(program.output)
        return time.perf_counter() - program.started

    @contextmanager
    def playing(self, what: str, **settings: Setting) -> Iterator[Program]:
        """A connected program."""
        with self.start(what, settings) as program:
            program.attach(self._probe, *self._clocks)
            if what == "daemon":
                program.wait_for_line("model ready")
            yield program
        wait_until(lambda: program.input not in self._probe.ports(), "the end of its ports")
        self._probe.play([])
        self._probe.rewind()

    def perform(self, program: Program, tempos: TempoMap, script: Script, until: int) -> Capture:
        """Plays a script."""
        del program  # already connected
        time.sleep(_SETTLE_S)
        self._probe.take()
        self._probe.conduct(tempos)
        self._probe.play([(tempos.frame(tick), data) for tick, data in script])
        self._probe.start()
        self._probe.wait_for_frame(tempos.frame(until))
        self._probe.stop()
        time.sleep(_SETTLE_S)
        return self._probe.take()

    def close(self) -> None:
        """Ends the probe, the clock and the server."""
        self._stack.close()


class ExactStage(JackStage):
    """The same with a clock of the probe's own, each on its frame, on a server of JACK or PipeWire.

    `jack_midi_clock` is off by milliseconds after changes of tempo where periods are long.
    """

    def _clock(self, stack: ExitStack) -> tuple[str, ...]:
        del stack
        return ()

    def perform(self, program: Program, tempos: TempoMap, script: Script, until: int) -> Capture:
        """Plays a script, and clocks beside it."""
        clocks = [(float(tick), bytes((midi.CLOCK,))) for tick in range(0, until, TICKS_PER_CLOCK)]
        ends = (0.0, bytes((midi.START,))), (float(until), bytes((midi.STOP,)))
        every = sorted([ends[0], *clocks, ends[1], *script], key=lambda timed: timed[0])
        whole = super().perform(program, tempos, every, until + PPQN)
        clock = [timed for timed in whole.played if timed[1][0] >= 0xF0]
        return replace(whole, clock=clock, played=[timed for timed in whole.played if timed[1][0] < 0xF0])


class PipeStage(Stage):
    """Pipes to the program, a clock of our own, and timestamps of the system's steady clock."""

    kind = "pipes"

    def __init__(self) -> None:
        self.missing = missing()
        self.title = "no MIDI server: pipes between processes, timed by the system clock"
        self._folder = tempfile.TemporaryDirectory()
        self._preset = preset_file(Path(self._folder.name))

    def start(self, what: str, settings: Settings) -> Program:
        """Starts a program."""
        if what != "daemon":
            return Piped(what, ["-m", "rtgen.bench.baseline", what, "pipe"])
        every = {"preset": str(self._preset), "seed": 1, **settings}
        return Piped("rtgen", ["-m", "rtgen.bench.pipe", json.dumps(every)])

    def ports_opened(self, program: Program) -> float:
        """Waits until the program reports it."""
        return program.wait_for_line("ports open")

    @contextmanager
    def playing(self, what: str, **settings: Setting) -> Iterator[Program]:
        """A connected program."""
        with self.start(what, settings) as program:
            program.wait_for_line("model ready" if what == "daemon" else "ports open")
            yield program

    def perform(self, program: Program, tempos: TempoMap, script: Script, until: int) -> Capture:
        """Plays a script."""
        assert isinstance(program, Piped)
        time.sleep(_SETTLE_S)
        capture = Capture()
        sent_before = len(program.sent)
        # A separate thread, so that its real-time priority ends with it.
        conductor = threading.Thread(target=_conduct, args=(program, tempos, script, until, capture))
        conductor.start()
        conductor.join()
        time.sleep(_SETTLE_S)
        capture.output.extend((at * RATE, data) for at, data in program.sent[sent_before:])
        return capture

    def close(self) -> None:
        """Removes the temporary folder."""
        self._folder.cleanup()


def _conduct(program: Piped, tempos: TempoMap, script: Script, until: int, capture: Capture) -> None:
    """Plays clock and script on time; captures the actual times."""
    prefer_this_thread()
    clocks: list[Timed] = [(tick, bytes((midi.CLOCK,))) for tick in range(0, until, TICKS_PER_CLOCK)]
    # Sorting is stable, so a clock comes before notes at the same tick.
    events = sorted([(0.0, bytes((midi.START,))), *clocks, *script], key=lambda e: e[0])
    start = time.perf_counter() + 0.05
    with suppress(BrokenPipeError):
        for tick, data in events:
            time.sleep(max(start + tempos.frame(tick) / RATE - time.perf_counter(), 0))
            kept = capture.clock if data[0] >= 0xF0 else capture.played
            kept.append((program.play(data) * RATE, data))
        time.sleep(max(start + tempos.frame(until) / RATE - time.perf_counter(), 0))
        capture.clock.append((program.play(bytes((midi.STOP,))) * RATE, bytes((midi.STOP,))))


def open_stage(over: Over, period: int | None, synchronous: bool) -> Stage:
    """Opens a JACK stage if it is available or required, else pipes.

    Args:
        over: the requested stage.
        period: frames per cycle of the server; None means 64.
        synchronous: whether the server waits for its clients.

    Raises:
        UserError: the requested stage is not available.
    """
    if period is not None and (period & (period - 1) or not 16 <= period <= _LONGEST_PERIOD):
        raise UserError(f"--period {period} is not a valid JACK period; use a power of two from 16 to 4096")
    lacks = missing()
    of_jack = "--period" if period is not None else "" if synchronous else "--asynchronous"
    if over == "jack" and lacks:
        raise UserError(f"The bench cannot run over JACK here: {lacks}; or leave --over out")
    if of_jack and (over == "pipes" or lacks):
        reason = f" ({lacks})" if lacks else ""
        raise UserError(f"{of_jack} applies only to JACK, but this bench runs over pipes{reason}; leave it out")
    return (
        PipeStage() if over == "pipes" or lacks else JackStage(Server.start(period or PERIOD, synchronous=synchronous))
    )
