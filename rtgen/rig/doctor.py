"""`rtgen doctor`: checks the set-up, and names a cure for every problem."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal

from rtgen.errors import UserError
from rtgen.instrument.job import Answer, Job
from rtgen.instrument.preset import Preset
from rtgen.music import midi
from rtgen.music.time import CLOCKS_PER_BEAT
from rtgen.rig import calibrate
from rtgen.rig.midi.ports import SystemPorts
from rtgen.rig.midi.systems import compiled_apis, find_api, list_ports, running_apis
from rtgen.rig.realtime import Scheduling, prefer_this_thread
from rtgen.rig.worker.main import example
from rtgen.rig.worker.worker import Failed, Ready, Report, Worker

_MODEL_WAIT_S = 30.0
_IDLE_S = 1.0
"""Pause before timing the model, as it is idle between answers in play."""
_LIMIT_S = 0.030
"""Slower answers lose the last notes of a loop, as the loop must go to the model before these are played."""

Heard = tuple[float, int, bytes]
"""Arrival time (seconds), index of the input, and bytes of a message."""


Verdict = Literal["good", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Args:
        subject: what was checked.
        verdict: `good`, `note` (does not prevent playing) or `bad`.
        found: what was found, in one sentence.
        cure: what to do next; empty if nothing.
    """

    subject: str
    verdict: Verdict
    found: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A known problem; a template for a finding.

    Args:
        subject: as in `Finding`.
        verdict: as in `Finding`.
        found: what is found, a format string for `finding`.
        cure: what to do next, a format string too.
    """

    subject: str
    verdict: Verdict
    found: str
    cure: str

    def finding(self, **facts: object) -> Finding:
        """Returns the finding with its facts filled in."""
        return Finding(self.subject, self.verdict, self.found.format(**facts), self.cure.format(**facts))


TROUBLES: dict[str, Trouble] = {
    "system": Trouble(
        "MIDI systems",
        "bad",
        "none is running (looked for {systems})",
        "start one, such as a JACK server; 'rtgen demo' and 'rtgen render' need none",
    ),
    "ports": Trouble(
        "Ports",
        "note",
        "no devices or other programs have ports",
        "plug in a keyboard or start your DAW; 'rtgen run' creates its own ports for a DAW to use",
    ),
    "clock": Trouble(
        "Clock",
        "note",
        "none received in {seconds:g} s on {inputs}",
        "in Live: Settings, Link/Tempo/MIDI, switch on Sync for the output to rtgen, and press Play; "
        "or use 'rtgen run --clock internal' or '--clock link'",
    ),
    "clocks": Trouble(
        "Clock",
        "note",
        "{count} sources: {clocks}",
        "switch off Sync for all but one, or select one with 'rtgen run --in'; otherwise rtgen follows the one that "
        "starts first",
    ),
    "notes": Trouble(
        "Notes",
        "note",
        "none received in {seconds:g} s on {inputs}",
        "play a few notes while 'rtgen doctor' listens; in Live: switch on Track for the output to rtgen",
    ),
    "loading": Trouble("Model", "bad", "{model} did not load in {seconds:g} s", "close other programs and try again"),
    "model": Trouble("Model", "bad", "{reason}", "choose another preset with --preset"),
    "slow": Trouble(
        "Model",
        "note",
        "{took}, which is slow",
        "close other programs; with a slow model, the last notes of a loop may come too late for the answer",
    ),
    "scheduling": Trouble(
        "Scheduling",
        "note",
        "real-time priority is not permitted",
        "for steadier timing, {cure}",
    ),
}
"""All known problems; the table in docs/troubleshooting.md is generated from them."""


def examine(preset: Preset, model: Path, inputs: Sequence[str], seconds: float) -> list[Finding]:
    """Checks everything that is needed to play.

    Args:
        preset: the preset whose model is tried.
        model: the model's file.
        inputs: names of the inputs to listen to; all inputs if empty.
        seconds: how long to listen for clock and notes.
    """
    findings = [_systems(), _ports()]
    findings += _listen(inputs, seconds)
    findings += [_model(preset, model), _scheduling()]
    return findings


def examine_round_trip(inputs: Sequence[str], output: str | None, seconds: float) -> list[Finding]:
    """Measures the MIDI round trip from the output back to the inputs.

    Args:
        inputs: names of the inputs; empty for a virtual one.
        output: name of the output; None for a virtual one.
        seconds: how long to wait for the first note to come back.

    Raises:
        UserError: a port is missing.
    """
    name = "rtgen doctor"
    ports = SystemPorts(find_api("auto"), name, inputs or (None,), output)
    trips = calibrate.measure(ports, seconds)
    found, cure = calibrate.sentences(trips, inputs or [f"{name} in"], output or f"{name} out")
    verdict: Verdict = "good" if trips.seconds and not trips.lost else "note" if trips.seconds else "bad"
    return [Finding("Round trip", verdict, found, cure)]


def _systems() -> Finding:
    running = running_apis()
    if running:
        return Finding("MIDI systems", "good", f"running: {', '.join(running)}")
    return TROUBLES["system"].finding(systems=", ".join(compiled_apis()))


def _ports() -> Finding:
    found = list_ports()
    ins, outs = ([p.name for p in found if p.direction == d] for d in ("in", "out"))
    if not found:
        return TROUBLES["ports"].finding()
    return Finding("Ports", "good", f"inputs: {', '.join(ins) or 'none'}; outputs: {', '.join(outs) or 'none'}")


def _listen(inputs: Sequence[str], seconds: float) -> list[Finding]:
    running = running_apis()
    if not running or seconds <= 0:
        return []
    api = running[0]
    names = list(inputs) or [p.name for p in list_ports() if p.system == api and p.direction == "in"]
    heard: SimpleQueue[Heard] = SimpleQueue()
    with suppress(UserError):
        ports = SystemPorts(api, "rtgen doctor", names or (None,), None)
        ports.open(lambda now, port, data: heard.put((now, port, data)))
        time.sleep(seconds)
        ports.close()
    messages = [heard.get() for _ in range(heard.qsize())]
    names = names or ["rtgen doctor in"]
    return [_clock(messages, names, seconds), _notes(messages, names, seconds)]


def _clock(messages: list[Heard], names: Sequence[str], seconds: float) -> Finding:
    times: dict[int, list[float]] = {}
    for now, port, data in messages:
        if data[0] == midi.CLOCK:
            times.setdefault(port, []).append(now)
    clocks = {names[port]: _tempo(heard) for port, heard in sorted(times.items()) if len(heard) > 2}
    if not clocks:
        return TROUBLES["clock"].finding(seconds=seconds, inputs=", ".join(names))
    if len(clocks) > 1:
        found = " and ".join(f"on {name!r} ({tempo})" for name, tempo in clocks.items())
        return TROUBLES["clocks"].finding(count=len(clocks), clocks=found)
    ((name, tempo),) = clocks.items()
    return Finding("Clock", "good", f"{tempo}, on {name!r}")


def _tempo(times: list[float]) -> str:
    """Describes the tempo and the jitter of clocks at these times."""
    steps = [b - a for a, b in pairwise(times)]
    middle = statistics.median(steps)
    # The mean, as times may be quantised to an audio server's periods; without the gaps where the clock stopped.
    period = statistics.fmean(s for s in steps if s < 2 * middle)
    jitter = max(abs(s - period) for s in steps) * 1e3
    tempo = 60 / (period * CLOCKS_PER_BEAT)
    return f"{tempo:.1f} BPM, jitter at most {jitter:.1f} ms"


def _notes(messages: list[Heard], names: Sequence[str], seconds: float) -> Finding:
    notes = [data for _, _, data in messages if midi.is_note_on(data)]
    if not notes:
        return TROUBLES["notes"].finding(seconds=seconds, inputs=", ".join(names))
    channels = sorted({(data[0] & 0x0F) + 1 for data in notes})
    return Finding("Notes", "good", f"{len(notes)} on channel {', '.join(map(str, channels))}")


def _model(preset: Preset, model: Path) -> Finding:
    reports: SimpleQueue[Report] = SimpleQueue()
    worker = Worker(model, "auto", reports.put)
    worker.start()
    try:
        report = reports.get(timeout=_MODEL_WAIT_S)
        if isinstance(report, Failed):
            return TROUBLES["model"].finding(reason=report.reason)
        assert isinstance(report, Ready)
        mismatch = preset.mismatch(report.model, report.role, report.modes)
        if mismatch is not None:
            found, _, cure = mismatch.partition("; ")
            return Finding("Model", "bad", found, cure)
        time.sleep(_IDLE_S)
        draft_s, answer_s = (_takes(worker, reports, preset, draft=draft) for draft in (True, False))
    except Empty:
        return TROUBLES["loading"].finding(model=preset.model, seconds=_MODEL_WAIT_S)
    except UserError as error:
        return TROUBLES["model"].finding(reason=error)
    finally:
        worker.stop()
    ms = f"{answer_s * 1e3:.1f} ms on {report.device} ({draft_s * 1e3:.1f} ms after a pause)"
    took = f"{report.model} answers in {ms}"
    return TROUBLES["slow"].finding(took=took) if answer_s > _LIMIT_S else Finding("Model", "good", took)


def _takes(worker: Worker, reports: SimpleQueue[Report], preset: Preset, *, draft: bool) -> float:
    """Returns how long the model takes for an answer, in seconds.

    Raises:
        UserError: the model cannot answer.
    """
    loop = example()
    began = time.perf_counter()
    worker.ask(Job(loop, preset.mode, 0, 0, 0, dict(preset.knobs), ends=(loop, loop), draft=draft))
    while True:
        report = reports.get(timeout=_MODEL_WAIT_S)
        if isinstance(report, Failed):
            raise UserError(report.reason)
        if isinstance(report, Answer):
            return time.perf_counter() - began


def _scheduling() -> Finding:
    # In a temporary thread, to leave the scheduling of this one as it is.
    got: list[Scheduling] = []
    thread = threading.Thread(target=lambda: got.append(prefer_this_thread()))
    thread.start()
    thread.join()
    (scheduling,) = got
    if not scheduling.real_time:
        return TROUBLES["scheduling"].finding(cure=scheduling.cure)
    return Finding("Scheduling", "good", f"real-time priority is permitted ({scheduling.name})")


def page() -> str:
    """Returns the known problems as a Markdown table, for docs/troubleshooting.md."""

    def plain(text: str) -> str:
        return text.replace(":g}", "}").replace("{", "*").replace("}", "*")

    rows = [f"| {t.subject} | {plain(t.found)} | {plain(t.cure)} |" for t in TROUBLES.values()]
    return "\n".join(["| about | rtgen doctor says | do |", "|---|---|---|", *rows])
