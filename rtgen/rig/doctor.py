"""`rtgen doctor`: checks the set-up, and names a cure for every problem."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal

from rtgen.errors import UserError
from rtgen.instrument.job import Answer, Job
from rtgen.instrument.preset import Preset
from rtgen.music import midi
from rtgen.music.time import CLOCKS_PER_BEAT
from rtgen.rig import calibrate
from rtgen.rig.ableton import PORT, REPLY_PORT
from rtgen.rig.ableton.live_set import FACTS, Facts
from rtgen.rig.ableton.script import Script, UnansweredError
from rtgen.rig.ableton.tracks import connected
from rtgen.rig.midi.ports import open_ports
from rtgen.rig.midi.systems import find_api, list_ports, looked_for, running_apis
from rtgen.rig.midi.ways import Patch
from rtgen.rig.realtime import Scheduling, prefer_this_thread
from rtgen.rig.told import remote
from rtgen.rig.worker.main import example
from rtgen.rig.worker.wire import Failed, Ready, Report
from rtgen.rig.worker.worker import Worker

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
        "start one, such as a JACK server; 'rtgen play' and 'rtgen render' need none",
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
    "several": Trouble(
        "Running",
        "note",
        "several rtgens are running: {names}; this is about {name}",
        "choose another with --osc",
    ),
    "gone": Trouble("Ports", "bad", "{port} is not there", "plug it in, or name another with --in or --out"),
    "unheard": Trouble(
        "Ports",
        "bad",
        "nothing is connected to {port}",
        "connect your keyboard and the clock to it, in your DAW or with a patchbay",
    ),
    "mute": Trouble(
        "Ports",
        "bad",
        "{port} is connected to nothing",
        "connect it to an instrument, in your DAW or with a patchbay",
    ),
    "idle": Trouble(
        "Ports",
        "note",
        "not connected to anything: {ports}",
        "connect what you want to hear to an instrument, in your DAW or with a patchbay",
    ),
    "unstarted": Trouble(
        "Clock",
        "note",
        "{tempo} on {input}, but no Start yet",
        "stop your sequencer and press Play: rtgen rolls from a Start or a Continue on",
    ),
    "foreign": Trouble(
        "Clock",
        "note",
        "{tempo} on {input} is not used, as rtgen runs with --clock {kind}",
        "restart rtgen with --clock midi to follow it",
    ),
    "channel": Trouble(
        "Notes",
        "note",
        "{count} received, none of them on channel {listens}, the only one that is heard (but on {channels})",
        "set your keyboard to channel {listens}, or change 'listens' in the settings",
    ),
    "low": Trouble(
        "Notes",
        "note",
        "{count} received, all of them below the split at {split:g}",
        "play higher, or lower the split: 'rtgen set split 0'",
    ),
    "muted": Trouble("Turn", "note", "the answers are muted", "'rtgen press mute' lets them sound"),
    "loading": Trouble("Model", "bad", "{model} did not load in {seconds:g} s", "close other programs and try again"),
    "model": Trouble("Model", "bad", "{reason}", "choose another preset with --preset"),
    "slow": Trouble(
        "Model",
        "note",
        "{took}, which is slow",
        "close other programs; with a slow model, the last notes of a loop may come too late for the answer",
    ),
    "live": Trouble(
        "Live",
        "note",
        "does not answer, though rtgen runs with --live",
        "choose AbletonOSC as a Control Surface in Live: Settings, Link, Tempo & MIDI (docs/ableton.md)",
    ),
    "live_deaf": Trouble(
        "Live",
        "note",
        "no track takes its MIDI from {out}",
        "in the track that answers, choose {out} as MIDI From",
    ),
    "live_silent": Trouble(
        "Live",
        "note",
        "no track sends its MIDI to {inputs}",
        "in the track that you play, or one that takes its notes, choose {inputs} as MIDI To",
    ),
    "live_monitor": Trouble(
        "Live",
        "note",
        "track {track} takes its MIDI from {out}, but does not play it: its Monitor is {monitor}",
        "switch its Monitor to In",
    ),
    "live_round": Trouble(
        "Live",
        "bad",
        "track {track} takes its MIDI from rtgen, and sends it back to rtgen",
        "choose another MIDI To in that track, or rtgen answers itself",
    ),
    "scheduling": Trouble(
        "Scheduling",
        "note",
        "real-time priority is not permitted",
        "for steadier timing, {cure}",
    ),
}
"""All known problems; the table in docs/troubleshooting.md is generated from them."""


State = Mapping[str, Any]
"""What a running rtgen tells: see `rtgen.rig.tally.report`."""


def examine_running(running: Mapping[int, Mapping[str, tuple[Any, ...]]], seconds: float) -> list[Finding]:
    """Checks the running rtgen, by what it says itself: it alone knows what arrives on its ports, and what it does.

    Args:
        running: the states of those that run, by OSC port; the first one is examined.
        seconds: how long it counts what comes in.
    """
    number = next(iter(running))
    names = {port: str(state["/rtgen/state/name"][0]) for port, state in running.items()}
    findings = [Finding("Running", "good", f"{names[number]}, OSC port {number}")]
    if len(running) > 1:
        others = ", ".join(f"{name} ({port})" for port, name in names.items())
        findings = [TROUBLES["several"].finding(names=others, name=names[number])]
    before = remote.doctored(number)
    time.sleep(seconds)
    after = remote.doctored(number)
    if not before or not after:
        raise UserError(f"the program on port {number} does not say what it receives; is it an older rtgen?")
    try:
        findings += of_running(before, after, seconds)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"the program on port {number} says what is not understood; is it another rtgen?") from error
    findings += _live(after)
    state = running[number]
    preset, model, mode = (str(state[f"/rtgen/state/{each}"][0]) for each in ("preset", "model", "mode"))
    return [*findings, of_model(preset, model, mode, float(after["lead_s"]))]


def of_model(preset: str, model: str, mode: str, lead_s: float) -> Finding:
    """Says what plays. What plays along answers nothing, so that it has no lead."""
    plays = "plays along" if mode == "accompany" else f"plays {mode}, asked {1e3 * lead_s:.0f} ms before each answer"
    return Finding("Model", "good", f"preset {preset}: {model} {plays}")


def of_running(before: State, after: State, seconds: float) -> list[Finding]:
    """Finds what is wrong from what a running rtgen says at two times, so many seconds apart."""
    ports = [port for port in after["ports"] if not port["shows"]]
    ins = {str(port["number"]): str(port["name"]) for port in ports if port["direction"] == "in"}
    findings = []
    # Of several outputs, as with --parts, one that leads to an instrument is enough.
    heard = any(port["others"] for port in ports if port["direction"] == "out")
    idle = []
    for port in ports:
        if not port["there"]:
            findings.append(TROUBLES["gone"].finding(port=port["name"]))
        elif port["others"] is None or port["others"]:
            continue
        elif port["direction"] == "in":
            findings.append(TROUBLES["unheard"].finding(port=port["name"]))
        elif heard:
            idle.append(port["name"])
        elif not port.get("part"):
            findings.append(TROUBLES["mute"].finding(port=port["name"]))
    if not findings:
        findings = [Finding("Ports", "good", "; ".join(_joined(port) for port in ports if port["name"] not in idle))]
    if idle:
        findings.append(TROUBLES["idle"].finding(ports=", ".join(idle)))
    return [
        *findings,
        _their_clock(before, after, ins, seconds),
        _their_notes(before, after, ins, seconds),
        _turn(after),
    ]


def _joined(port: Mapping[str, Any]) -> str:
    way = "from" if port["direction"] == "in" else "to"
    others = port["others"]
    if others is None or list(others) == [port["name"]]:
        return str(port["name"])
    return f"{port['name']} {way} {', '.join(map(str, others))}"


def _more(before: State, after: State, number: str, what: str) -> int:
    """Returns how many more there are of something at an input."""
    return int(after["inputs"].get(number, {}).get(what, 0)) - int(before["inputs"].get(number, {}).get(what, 0))


def _their_clock(before: State, after: State, ins: Mapping[str, str], seconds: float) -> Finding:
    tempos = {}
    for number, name in ins.items():
        if (more := _more(before, after, number, "clocks")) > 2:
            first = before["inputs"].get(number, {}).get("last") or after["inputs"][number]["last"] - seconds
            took = float(after["inputs"][number]["last"]) - float(first)
            tempos[name] = f"{60 * more / (CLOCKS_PER_BEAT * max(took, 1e-3)):.1f} BPM"
    if after["clock"] != "midi":
        if tempos:
            name, tempo = next(iter(tempos.items()))
            return TROUBLES["foreign"].finding(tempo=tempo, input=repr(name), kind=after["clock"])
        whose = "rtgen's own" if after["clock"] in ("internal", "player") else "of the Link session"
        return Finding("Clock", "good", f"{float(after['tempo']):.1f} BPM, {whose}")
    if not tempos:
        return TROUBLES["clock"].finding(seconds=seconds, inputs=", ".join(ins.values()))
    if len(tempos) > 1:
        found = " and ".join(f"on {name!r} ({tempo})" for name, tempo in tempos.items())
        return TROUBLES["clocks"].finding(count=len(tempos), clocks=found)
    ((name, tempo),) = tempos.items()
    if not after["rolling"] and not any(int(each["starts"]) for each in after["inputs"].values()):
        return TROUBLES["unstarted"].finding(tempo=tempo, input=repr(name))
    rolls = "" if after["rolling"] else "; stopped"
    return Finding("Clock", "good", f"{tempo}, on {name!r}{rolls}")


def _their_notes(before: State, after: State, ins: Mapping[str, str], seconds: float) -> Finding:
    notes: Counter[str] = Counter()
    low: Counter[str] = Counter()
    for number in ins:
        for found, what in ((notes, "notes"), (low, "low")):
            found.update(after["inputs"].get(number, {}).get(what, {}))
            found.subtract(before["inputs"].get(number, {}).get(what, {}))
    count = sum(notes.values())
    if not count:
        return TROUBLES["notes"].finding(seconds=seconds, inputs=", ".join(ins.values()))
    listens = after["listens"]
    channels = ", ".join(sorted((channel for channel, n in notes.items() if n), key=int))
    if listens is not None and not notes[str(listens)]:
        return TROUBLES["channel"].finding(count=count, listens=listens, channels=channels)
    heard = notes if listens is None else {str(listens): notes[str(listens)]}
    if sum(heard.values()) == sum(low[channel] for channel in heard):
        return TROUBLES["low"].finding(count=count, split=float(after["split"]))
    return Finding("Notes", "good", f"{count} on channel {channels}")


def _turn(after: State) -> Finding:
    if after["muted"]:
        return TROUBLES["muted"].finding()
    return Finding("Turn", "good", str(after["at"]) if after["rolling"] else "stopped")


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
    findings += ask_live((), "")
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
    ports = open_ports(find_api("auto"), Patch(name, inputs or (None,), output))
    trips = calibrate.measure(ports, seconds)
    found, cure = calibrate.sentences(trips, inputs or [f"{name} in"], output or f"{name} out")
    verdict: Verdict = "good" if trips.seconds and not trips.lost else "note" if trips.seconds else "bad"
    return [Finding("Round trip", verdict, found, cure)]


def _live(after: State) -> list[Finding]:
    """Finds what is wrong in Live, by what it told the running rtgen, or by asking it if that does not."""
    ports = [port for port in after["ports"] if not port["shows"]]
    ins = [str(port["name"]) for port in ports if port["direction"] == "in"]
    out = next((str(port["name"]) for port in ports if port["direction"] == "out"), "")
    told = after.get("live")
    return of_live(told, ins, out) if told is not None else ask_live(ins, out)


def ask_live(ins: Sequence[str], out: str, script_port: int = PORT, reply_port: int = REPLY_PORT) -> list[Finding]:
    """Asks Live, if it answers and no other program speaks with it; finds nothing otherwise.

    Args:
        ins: names of rtgen's inputs.
        out: name of its output.
        script_port: that AbletonOSC listens on.
        reply_port: that it answers to.
    """
    facts = Facts()

    def heard(said: tuple[str, tuple[Any, ...]]) -> None:
        nonlocal facts
        if said[1]:
            facts = facts.changed(said[0].removeprefix("/live/song/get/"), said[1][0])

    try:
        script = Script(heard, script_port, reply_port)
    except UserError:
        return []
    try:
        script.get(*((f"/live/song/get/{name}", ()) for name in FACTS), within_s=0.7)
        tracks = connected(script, ins, out) if out else []
    except UnansweredError:
        return []
    finally:
        script.close()
    return of_live({"there": True, "says": str(facts), "tracks": tracks}, ins, out)


def of_live(told: State, ins: Sequence[str], out: str) -> list[Finding]:
    """Finds what is wrong from what Live says.

    Args:
        told: as `rtgen.rig.ableton.live_set.LiveSet.told`.
        ins: names of rtgen's inputs.
        out: name of its output; empty if rtgen does not run, so that nothing can be connected to it.
    """
    if not told["there"]:
        return [TROUBLES["live"].finding()]
    findings = [Finding("Live", "good", str(told["says"]))]
    tracks = told["tracks"]
    if not out:
        return findings
    if not any(track["hears"] for track in tracks):
        findings.append(TROUBLES["live_deaf"].finding(out=out))
    if not any(track["plays"] for track in tracks):
        findings.append(TROUBLES["live_silent"].finding(inputs=" or ".join(ins)))
    for track in tracks:
        if track["hears"] and track["plays"]:
            findings.append(TROUBLES["live_round"].finding(track=track["name"]))
        elif (
            track["hears"]
            and track["monitor"] in ("Auto", "Off")
            and not (track["armed"] and track["monitor"] == "Auto")
        ):
            findings.append(TROUBLES["live_monitor"].finding(track=track["name"], out=out, monitor=track["monitor"]))
    return findings


def _systems() -> Finding:
    running = running_apis()
    if running:
        return Finding("MIDI systems", "good", f"running: {', '.join(running)}")
    return TROUBLES["system"].finding(systems=looked_for())


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
        ports = open_ports(api, Patch("rtgen doctor", names or (None,)))
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
