"""What carries the MIDI while something is measured: a JACK server where one can be had, pipes where not.

A stage runs a program and performs for it. What it captures is in frames of `server.RATE` on either: a JACK server's
own, or the system's steady clock in that unit.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
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
    Probe,
    Server,
    TempoMap,
    Timed,
    missing,
    wait_until,
)
from rtgen.errors import UserError
from rtgen.music import midi
from rtgen.music.time import TICKS_PER_CLOCK
from rtgen.rig.realtime import prefer_this_thread

Over = Literal["auto", "jack", "pipes"]
Script = Sequence[tuple[float, bytes]]
"""Ticks and messages, in order."""
Setting = bool | int | float | str
Settings = dict[str, Setting]
"""The daemon's: `preset`, `use`, `bars`, `distance`, `tempo`, `thru`, `clock`, `send_clock`; what is not named is as in
`programs.preset_file`."""
_SETTLE_S = 0.3
_LONGEST_PERIOD = 4096


class Stage(Closing):
    """What carries the MIDI; `title` says it in words, `kind` for machines."""

    title: str
    kind: str
    period_ms: float | None = None
    missing: str | None = None
    """What a better stage lacks here."""

    def start(self, what: str, settings: Settings) -> Program:
        """Starts the `daemon`, or the baseline `echo` or `sleep`."""
        raise NotImplementedError

    def ports_opened(self, program: Program) -> float:
        """Waits until a program's ports are open; when that was, in seconds from its start."""
        raise NotImplementedError

    def playing(self, what: str, **settings: Setting) -> AbstractContextManager[Program]:
        """A program, connected, with its model ready; afterwards it is gone, and the song at its start."""
        raise NotImplementedError

    def perform(self, program: Program, tempos: TempoMap, script: Script, until: int) -> Capture:
        """Plays a script with a clock from the start of the song until a tick, and stops there."""
        raise NotImplementedError


class JackStage(Stage):
    """A private JACK server, `jack_midi_clock`, and a probe that stamps all by the sample."""

    kind = "jack"

    def __init__(self, period: int, synchronous: bool) -> None:
        with ExitStack() as stack:
            self._server = stack.enter_context(Server.start(period, synchronous=synchronous))
            stack.enter_context(Clock(self._server))
            self._probe = stack.enter_context(Probe(self._server))
            self._probe.connect((CLOCK_OUT, PROBE_CLOCK))
            self._preset = preset_file(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            self._stack = stack.pop_all()
        self.title = str(self._server)
        self.period_ms = period * 1000 / RATE

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
        """A program, connected."""
        with self.start(what, settings) as program:
            program.attach(self._probe, CLOCK_OUT)
            if what == "daemon":
                program.wait_for_line("model ready")
            yield program
        wait_until(lambda: program.input not in self._probe.ports(), "the end of its ports")
        self._probe.play([])
        self._probe.rewind()

    def perform(self, program: Program, tempos: TempoMap, script: Script, until: int) -> Capture:
        """Plays a script."""
        del program  # it is connected
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
        """Ends them all."""
        self._stack.close()


class PipeStage(Stage):
    """Pipes to the program, a clock of our own, and the stamps of the system's steady clock."""

    kind = "pipes"

    def __init__(self) -> None:
        self.missing = missing()
        self.title = "no MIDI server: pipes between processes, and the system's clock"
        self._folder = tempfile.TemporaryDirectory()
        self._preset = preset_file(Path(self._folder.name))

    def start(self, what: str, settings: Settings) -> Program:
        """Starts a program."""
        if what != "daemon":
            return Piped(what, ["-m", "rtgen.bench.baseline", what, "pipe"])
        every = {"preset": str(self._preset), "seed": 1, **settings}
        return Piped("rtgen", ["-m", "rtgen.bench.pipe", json.dumps(every)])

    def ports_opened(self, program: Program) -> float:
        """Waits until the program says so."""
        return program.wait_for_line("ports open")

    @contextmanager
    def playing(self, what: str, **settings: Setting) -> Iterator[Program]:
        """A program, connected."""
        with self.start(what, settings) as program:
            program.wait_for_line("model ready" if what == "daemon" else "ports open")
            yield program

    def perform(self, program: Program, tempos: TempoMap, script: Script, until: int) -> Capture:
        """Plays a script."""
        assert isinstance(program, Piped)
        time.sleep(_SETTLE_S)
        capture = Capture()
        sent_before = len(program.sent)
        # A thread of its own, so that what it asks of the scheduler ends with it.
        conductor = threading.Thread(target=_conduct, args=(program, tempos, script, until, capture))
        conductor.start()
        conductor.join()
        time.sleep(_SETTLE_S)
        capture.output.extend((at * RATE, data) for at, data in program.sent[sent_before:])
        return capture

    def close(self) -> None:
        """Leaves nothing behind."""
        self._folder.cleanup()


def _conduct(program: Piped, tempos: TempoMap, script: Script, until: int, capture: Capture) -> None:
    """Plays clock and script at their times; what is captured is when that really was."""
    prefer_this_thread()
    clocks: list[Timed] = [(tick, bytes((midi.CLOCK,))) for tick in range(0, until, TICKS_PER_CLOCK)]
    # Sorting is stable, so that a clock comes before the notes of its tick.
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
    """A JACK server if one can be had, or is insisted on; pipes if not.

    Args:
        over: what is wanted.
        period: frames in a cycle of the server; None is 64.
        synchronous: whether the server waits for its clients.

    Raises:
        UserError: what is wanted is not to be had.
    """
    if period is not None and (period & (period - 1) or not 16 <= period <= _LONGEST_PERIOD):
        raise UserError(f"--period {period} is no period of a JACK server; take a power of two from 16 to 4096")
    lacks = missing()
    of_jack = "--period" if period is not None else "" if synchronous else "--asynchronous"
    if over == "jack" and lacks:
        raise UserError(f"There is no bench over JACK here: {lacks}; or leave --over out")
    if of_jack and (over == "pipes" or lacks):
        reason = f" ({lacks})" if lacks else ""
        raise UserError(f"{of_jack} is a JACK server's, and this bench runs over pipes{reason}; leave it out")
    return PipeStage() if over == "pipes" or lacks else JackStage(period or PERIOD, synchronous)
