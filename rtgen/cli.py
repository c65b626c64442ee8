"""The command line: parse, call, print."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from rtgen import __version__
from rtgen.errors import UserError
from rtgen.instrument import preset as presets
from rtgen.instrument.preset import Preset
from rtgen.shipped import available, find

# Imports that are slow, or that one command alone needs, stand in that command: `rtgen run` opens its ports at once.

app = typer.Typer(
    help=(
        "Play a loop, and a neural network answers it in tempo.\n\n"
        "rtgen listens on a MIDI port, turns what you play into loops, lets a model answer them, and plays the answers "
        "on another port, locked to the MIDI clock of your DAW.\n\n"
        "First steps: 'rtgen demo' needs no MIDI device. 'rtgen doctor' says what is missing. 'rtgen run' plays."
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out = Console()
_MOST_SHOWN = 8
"""Of a list in a card: a vocabulary may have hundreds of symbols."""

PresetOption = Annotated[
    str, typer.Option("--preset", "-p", help="Preset by name or path; 'rtgen presets' lists them.", metavar="NAME")
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, max=2**31 - 1, help="Seed of all chance: same seed, same answers.", metavar="N")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print for a program: a list of objects.")]
ModelOption = Annotated[
    str | None,
    typer.Option(help="Model by name or path instead of the preset's; 'rtgen models' lists them.", metavar="NAME"),
]
BarsOption = Annotated[int | None, typer.Option(help="Length of a loop in bars, 1 to 8.", metavar="N")]
ModeOption = Annotated[
    str | None,
    typer.Option(
        help="clean repairs what was played, vary plays a relative of it, continue what could come next, blend a point "
        "between two loops, generate a new one. Each needs a model that plays it.",
        metavar="clean|vary|continue|blend|generate",
    ),
]
UseOption = Annotated[
    str | None,
    typer.Option(
        help="answer alternates with you, follow plays under you, hold repeats its answer.",
        metavar="answer|follow|hold",
    ),
]
DistanceOption = Annotated[
    float | None, typer.Option(help="How far a variation strays, 0 (not at all) to 1.", metavar="X")
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda", "coreml", "directml"], typer.Option(help="What runs the model.")
]


OscOption = Annotated[
    int | None, typer.Option("--osc", help="Port of the daemon, where several are running.", metavar="PORT")
]


def main() -> None:
    """Runs a command; a mistake that the player can mend is one sentence and exit status 2."""
    try:
        app()
    except UserError as error:
        Console(stderr=True).print(f"[bold red]rtgen:[/] {_escaped(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


def _version(wanted: bool) -> None:
    if wanted:
        _out.print(f"rtgen {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


def _preset(name: str, **changes: Any) -> Preset:
    chosen = presets.load(find("presets", name))
    try:
        return chosen.changed(**changes)
    except ValueError as error:
        raise UserError(f"{error}; see 'rtgen --help' of the command") from error


def _model(preset: Preset) -> Path:
    """The file of a preset's model.

    Raises:
        UserError: it is not there.
    """
    try:
        return find("models", preset.model)
    except UserError as error:
        cured = "check the path" in str(error) or "did you mean" in str(error)
        cure = "" if cured else "; train it ('rtgen-train --help'), or choose another preset"
        raise UserError(f"Preset {preset.name}: {error}{cure}") from error


def _is_here(model: str) -> bool:
    try:
        find("models", model)
    except UserError:
        return False
    return True


def _seed(seed: int | None) -> int:
    """The seed asked for, or one by chance."""
    from secrets import randbelow

    return randbelow(2**31) if seed is None else seed


@app.command()
def run(
    preset: PresetOption = "vary",
    model: ModelOption = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--in", help="Input to listen to, by part of its name; may be given again.", metavar="PORT"),
    ] = None,
    output: Annotated[str | None, typer.Option("--out", help="Output to play to.", metavar="PORT")] = None,
    shown: Annotated[
        list[str] | None,
        typer.Option("--show", help="Output to the controller at the nth --in: its rings and lights.", metavar="PORT"),
    ] = None,
    api: Annotated[Literal["auto", "jack", "alsa", "core", "winmm"], typer.Option(help="The MIDI system.")] = "auto",
    name: Annotated[str, typer.Option(help="What other programs see the ports as.")] = "rtgen",
    clock: Annotated[
        Literal["midi", "internal", "link"],
        typer.Option(help="Follow the input's MIDI clock, keep our own, or follow Ableton Link (extra 'link')."),
    ] = "midi",
    tempo: Annotated[float | None, typer.Option(help="Tempo of the internal clock, 20 to 400.", metavar="BPM")] = None,
    bars: BarsOption = None,
    mode: ModeOption = None,
    use: UseOption = None,
    distance: DistanceOption = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    thru: Annotated[
        bool | None,
        typer.Option(
            "--thru/--no-thru",
            help="Send on what is played. By default so where named ports are used and in and out are not the same.",
        ),
    ] = None,
    clock_offset_ms: Annotated[
        float | None,
        typer.Option(min=-500, max=500, help="The clock comes this much late (early, if negative).", metavar="X"),
    ] = None,
    output_offset_ms: Annotated[
        float | None, typer.Option(min=-500, max=500, help="Play this much earlier (later, if negative).", metavar="X")
    ] = None,
    send_clock: Annotated[
        bool, typer.Option("--send-clock", help="With the internal clock: send it on, with Start, Stop and position.")
    ] = False,
    log: Annotated[Path | None, typer.Option(help="Write what happens to a file as well.", metavar="FILE")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Settings of this machine: ports, offsets, what was learned from controllers. Options go before.",
            metavar="FILE",
        ),
    ] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Folder for answers that are kept; your music folder's rtgen.", metavar="DIR")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for named ports that are not there, as a keyboard not plugged in yet.")
    ] = False,
    sessions: Annotated[
        str | None,
        typer.Option(help="Folder for logs and music of sessions, or off; your music folder's rtgen.", metavar="DIR"),
    ] = None,
    osc: Annotated[
        str | None,
        typer.Option(
            help="Where OSC is listened to: off, a port, or ADDRESS:PORT; 7770 unless taken.", metavar="WHERE"
        ),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="End after this time; else at Ctrl-C.", metavar="N")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Listen, and answer in tempo, until Ctrl-C.

    Without --in and --out it makes ports of its own, which your DAW then shows: send it a track and the clock, and
    take a track's input from it. With an internal clock no DAW is needed.

    **Example:** rtgen run --in keystation --out fluid --clock internal --tempo 96 --use follow
    """
    from rtgen.rig import config as configs
    from rtgen.rig import runner
    from rtgen.rig.clips import folder as clip_folder
    from rtgen.rig.journal import folder as session_folder
    from rtgen.rig.steward import House

    if send_clock and clock != "internal":
        raise UserError("--send-clock sends our own clock; add --clock internal, or leave it out")
    chosen = _preset(preset, model=model, tempo=tempo, bars=bars, mode=mode, use=use, distance=distance)
    path = config or configs.usual_path()
    machine = configs.load(path)
    named = tuple(inputs or machine.inputs)
    early = machine.output_offset_ms if output_offset_ms is None else output_offset_ms
    late = machine.clock_offset_ms if clock_offset_ms is None else clock_offset_ms
    kept = clips or (Path(machine.clips).expanduser() if machine.clips else clip_folder())
    runner.run(
        chosen,
        _model(chosen),
        runner.Setup(
            inputs=named,
            output=output or machine.output,
            api=api,
            name=name,
            clock=clock,
            seed=_seed(seed),
            device=device,
            thru=thru,
            clock_offset_s=late / 1e3,
            output_offset_s=early / 1e3,
            send_clock=send_clock,
            log=log,
            house=House(machine, path, named or (f"{name} in",), kept),
            shown=tuple(shown or machine.shown),
            wait=wait,
            sessions=None if sessions == "off" else Path(sessions) if sessions else session_folder(),
            osc=osc,
        ),
        seconds,
        quiet,
    )


@app.command()
def demo(
    bars: Annotated[int, typer.Option(min=1, max=256, help="How long it plays, in bars.", metavar="N")] = 16,
    preset: PresetOption = "vary",
    model: ModelOption = None,
    out: Annotated[Path, typer.Option(help="Folder for demo.mid and demo.png.", metavar="DIR")] = Path(),
    fast: Annotated[bool, typer.Option("--fast", help="In simulated time: at once, and to no port.")] = False,
    seed: SeedOption = 1,
    device: DeviceOption = "auto",
) -> None:
    """Hear what it does, with no MIDI device: a bundled performance is played to it.

    The performance goes through the same session, worker and scheduler as live playing. It writes **demo.mid** (what
    was played and what answered) and **demo.png** (both as piano rolls, loop by loop). Where a MIDI system is running
    it also opens an output, so that the answer can be heard.
    """
    from rtgen.rig.demo import demo as play

    chosen = _preset(preset, model=model)
    play(chosen, _model(chosen), bars, out, fast=fast, seed=_seed(seed), device=device, console=_out)


@app.command()
def render(
    source: Annotated[Path, typer.Argument(metavar="IN.mid", help="What is played.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.mid", help="What is played, and a track with the answers.")],
    preset: PresetOption = "vary",
    model: ModelOption = None,
    bars: BarsOption = None,
    mode: ModeOption = None,
    use: UseOption = None,
    distance: DistanceOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
) -> None:
    """Play a file to it, faster than real time.

    The same session as live, offline: the same file, preset and seed give the same bytes.
    """
    from rich.progress import Progress

    from rtgen.inference.answer import answer_job
    from rtgen.instrument.job import Job
    from rtgen.music import files
    from rtgen.music.note import Loop
    from rtgen.rig import offline

    chosen = _preset(preset, model=model, bars=bars, mode=mode, use=use, distance=distance)
    score = files.read(source)
    chosen = chosen.changed(tempo=min(max(score.tempos[0][1], 20.0), 400.0), metre=score.metres[0][1])
    opened = offline.open_model(chosen, _model(chosen), device)
    if opened.remark:
        Console(stderr=True).print(opened.remark, highlight=False)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        loops = offline.song_end(score.end, chosen) // chosen.length
        task = progress.add_task("Rendering", total=loops / 2 if chosen.use == "answer" else loops)

        def answerer(job: Job) -> Loop:
            progress.advance(task)
            return answer_job(opened, job)

        rendered, notices = offline.render(score, chosen, answerer, _seed(seed))
    files.write(target, rendered)
    calls = sum(n.what == "call" for n in notices)
    answered = sum(len(n.loop) for n in notices if n.what == "answer" and n.loop)
    _out.print(f"{source}: {calls} loops answered with {answered} notes, in {target}", highlight=False, soft_wrap=True)


@app.command()
def ports(as_json: JsonOption = False) -> None:
    """List the MIDI ports of this machine."""
    from rtgen.rig import systems as rig

    found = rig.list_ports()
    if as_json:
        _print_json([asdict(p) for p in found])
        return
    if not found:
        running = ", ".join(rig.running_apis())
        looked = ", ".join(rig.compiled_apis())
        state = f"running: {running}, with no ports" if running else "none is running"
        _out.print(f"No MIDI ports (systems looked for: {looked}; {state}). 'rtgen doctor' says more.")
        return
    table = Table("System", "Direction", "Port", box=None, header_style="bold")
    for port in found:
        table.add_row(port.system, port.direction, _escaped(port.name))
    _out.print(table)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Show the whole card of one, by name or path.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the models, or show one's card: what it does, what it was trained on, how well."""
    from rtgen.inference.card import modes_of
    from rtgen.inference.model import Model

    listed = available("models") if name is None else [(Path(name).stem, find("models", name), "")]
    cards: list[dict[str, Any]] = []
    for stem, path, origin in listed:
        try:
            found = Model(path).card
            card = {**asdict(found), "modes": modes_of(found)}
        except UserError as error:
            if name is not None:
                raise
            card = {"name": stem, "error": str(error)}
        cards.append({**card, "file": str(path), "origin": origin, "bytes": path.stat().st_size})
    if as_json:
        _print_json(cards)
    elif name is not None:
        _print_card(cards[0])
    else:
        table = Table("Model", "Role", "Modes", "Size", "Trained on", "", box=None, header_style="bold")
        for card in cards:
            size = f"{card['bytes'] / 2**20:.1f} MB"
            data = ", ".join(d["name"] for d in card.get("data", ()))
            table.add_row(
                _escaped(card["name"]),
                card.get("role", "-"),
                ", ".join(card.get("modes", "-")),
                size,
                data,
                _escaped(card.get("error", card.get("description", ""))),
            )
        _out.print(table)


@app.command(name="presets")
def list_presets(
    name: Annotated[
        str | None, typer.Argument(help="Show all settings of one, by name or path; or 'save'.", metavar="[NAME|save]")
    ] = None,
    target: Annotated[str | None, typer.Argument(help="After 'save': its name.", metavar="[NAME]")] = None,
    over: Annotated[bool, typer.Option("--over", help="With 'save': though there is one of that name.")] = False,
    osc: OscOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the presets, show one's settings, or save what a running daemon plays as one.

    Those whose model is not here say so. 'rtgen presets save NAME' keeps the running daemon's preset with its knobs as
    they are, in your own folder.
    """
    if name == "save":
        from rtgen.rig import remote

        if target is None:
            raise UserError("'rtgen presets save' needs a name; say rtgen presets save NAME")
        _out.print(f"saved as {remote.save(remote.present(osc), target, over=over)}", soft_wrap=True, highlight=False)
        return
    if target is not None:
        raise UserError(f"'rtgen presets {name} {target}' is one name too many; only 'save' takes a second")
    paths = [path for _, path, _ in available("presets")] if name is None else [find("presets", name)]
    loaded = []
    for path in paths:
        try:
            preset = presets.load(path)
            loaded.append({**preset.as_dict(), "file": str(path), "model_is_here": _is_here(preset.model)})
        except UserError as error:
            if name is not None:
                raise
            loaded.append({"name": path.stem, "description": str(error), "file": str(path), "error": str(error)})
    if as_json:
        _print_json(loaded)
    elif name is not None:
        _print_card(loaded[0])
    else:
        table = Table("Preset", "Mode", "Use", "Bars", "Model", "", box=None, header_style="bold")
        for p in loaded:
            cells = [str(p.get(key, "-")) for key in ("name", "mode", "use", "bars", "model", "description")]
            if not p.get("model_is_here", True):
                cells[4] += " (not here)"
            table.add_row(*map(_escaped, cells))
        _out.print(table)


@app.command()
def doctor(
    seconds: Annotated[float, typer.Option(min=0, max=60, help="How long to listen for clock and notes.")] = 3.0,
    preset: PresetOption = "vary",
    model: ModelOption = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--in", help="Input to listen to; all by default.", metavar="PORT")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--out", help="Output that --calibrate plays to.", metavar="PORT")
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Measure how long notes take out and back in, and propose an offset."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find out what is wrong with the set-up, and the cure.

    Looks for MIDI systems and ports, listens for clock and notes, and times the model. Exit status 1 if something
    stands in the way of playing.

    With --calibrate it plays quiet notes on channel 16 instead, for which the output must lead back into the input: by
    a cable, a port of IAC or loopMIDI, or a connection in JACK. Without --in and --out it makes ports of its own, for
    you to connect within --seconds.
    """
    from rtgen.rig.doctor import examine, examine_round_trip

    if calibrate:
        findings = examine_round_trip(inputs or [], output, seconds)
    else:
        chosen = _preset(preset, model=model)
        findings = examine(chosen, _model(chosen), inputs or [], seconds)
    if as_json:
        _print_json([asdict(f) for f in findings])
    else:
        marks = {"good": "[green]✓[/]", "note": "[yellow]•[/]", "bad": "[red]✗[/]"}
        table = Table.grid(padding=(0, 1))
        for f in findings:
            cure = f"\n[dim]→ {_escaped(f.cure)}[/]" if f.cure else ""
            table.add_row(marks[f.verdict], f"[bold]{f.subject}[/]", f"{_escaped(f.found)}{cure}")
        _out.print(table)
    if any(f.verdict == "bad" for f in findings):
        raise typer.Exit(1)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Measure less of everything: under a minute.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print for a program: one object.")] = False,
    loops: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="Loops to answer in time; 1000 take half an hour.", metavar="N"),
    ] = None,
    over: Annotated[
        Literal["auto", "jack", "pipes"], typer.Option(help="A JACK server of its own, or pipes between processes.")
    ] = "auto",
    period: Annotated[
        int | None, typer.Option(help="Frames in a period of the JACK server; 64 by default.", metavar="FRAMES")
    ] = None,
    asynchronous: Annotated[
        bool, typer.Option("--asynchronous", help="Let the JACK server wait for nobody, and lose what comes late.")
    ] = False,
) -> None:
    """Measure timing on this machine, beside what a Python program can do at best.

    Runs over a JACK server of its own with jack_midi_clock, which stamps every message by the sample, where these are
    installed; else over pipes. It takes about eight minutes: do nothing else with the machine meanwhile.
    """
    import time
    from dataclasses import replace

    from rtgen.bench import run as benching
    from rtgen.bench.measures import QUICK, Amount
    from rtgen.bench.stage import open_stage

    began = time.perf_counter()
    amount = QUICK if quick else Amount()
    amount = replace(amount, loops=loops or amount.loops)
    with open_stage(over, period, not asynchronous) as stage:
        figures = benching.measure(stage, amount, Console(stderr=True))
    if as_json:
        _print_json(benching.as_dict(figures, quick=quick, took_s=time.perf_counter() - began))
    else:
        benching.show(figures, Console(width=None if sys.stdout.isatty() else 160, highlight=False))


@app.command()
def panel(
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine need a --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 7780,
    token: Annotated[
        str | None, typer.Option(help="What browsers must know; 'new' makes one.", metavar="WORD|new")
    ] = None,
    osc: Annotated[int, typer.Option(help="Port of the daemon.", metavar="PORT")] = 7770,
) -> None:
    """Serve a web page with the rolls, knobs and buttons of a running daemon (extra 'panel').

    For a phone beside the keyboard: rtgen panel --host 0.0.0.0 --token new, and open the address that it prints there.
    """
    import secrets

    try:
        from rtgen.panel.server import serve
    except ImportError as error:
        raise UserError(f"the panel needs {error.name}; install it with pip install 'rtgen[panel]'") from None
    word = secrets.token_urlsafe(12) if token == "new" else token
    serve(host, port, osc, word, lambda url: _out.print(f"panel: {url}", highlight=False))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def service(
    context: typer.Context,
    what: Annotated[Literal["install", "status", "logs", "uninstall"], typer.Argument(help="What to do with it.")],
) -> None:
    """Have rtgen run whenever you are logged in, with no terminal.

    What follows **install** goes to 'rtgen run': rtgen service install --in keystation --preset shadow. Ports that are
    not there yet are waited for.
    """
    from rtgen.rig import service as services

    if context.args and what != "install":
        raise UserError(f"'rtgen service {what}' takes nothing else; you said {' '.join(context.args)}")
    match what:
        case "install":
            said = services.install(context.args)
        case "uninstall":
            said = services.uninstall()
        case "status":
            said = services.status()
        case "logs":
            said = services.logs()
    _out.print(_escaped(said), soft_wrap=True, highlight=False)


@app.command(name="sessions")
def list_sessions(
    where: Annotated[Path | None, typer.Argument(help="Folder; your music folder's rtgen/sessions.")] = None,
) -> None:
    """List the sessions that were logged."""
    from rtgen.rig.journal import SUFFIX
    from rtgen.rig.journal import folder as session_folder

    folder = where or session_folder()
    logs = sorted(folder.glob(f"*{SUFFIX}"))
    if not logs:
        _out.print(f"No sessions in {_escaped(str(folder))}; 'rtgen run' logs them there.")
        return
    table = Table("Session", "Size", "Music", box=None, header_style="bold")
    for log in logs:
        music = log.with_suffix(".mid")
        table.add_row(_escaped(str(log)), f"{log.stat().st_size / 2**20:.1f} MB", music.name if music.exists() else "-")
    _out.print(table)


@app.command()
def replay(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="As 'rtgen sessions' lists it.")],
    out: Annotated[Path | None, typer.Option(help="Write its music to a .mid.", metavar="FILE")] = None,
) -> None:
    """Play a session again from its log, and see whether the same bytes come out."""
    from rtgen.music import files
    from rtgen.rig.replay import replay as again

    found = again(log)
    if out is not None:
        files.write(out, found.score)
    bytes_are = "the same bytes" if found.different is None else f"other bytes from step {found.different + 1} on"
    _out.print(f"{found.steps} steps, {found.seconds:.0f} s, {found.answers} answers: {bytes_are}", highlight=False)
    if found.different is not None:
        raise typer.Exit(1)


@app.command()
def controls(
    markdown: Annotated[bool, typer.Option("--markdown", help="As the page docs/controls.md has it.")] = False,
) -> None:
    """List every knob and button, with its control change and its OSC address."""
    from rtgen.instrument.parameters import listed

    rows = list(listed())
    if markdown:
        print("\n".join("| " + " | ".join(row) + " |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:])))
        return
    table = Table(*rows[0], box=None, header_style="bold")
    for row in rows[1:]:
        table.add_row(*map(_escaped, row))
    _out.print(table)


@app.command()
def status(osc: OscOption = None, as_json: JsonOption = False) -> None:
    """Show what a running daemon is at."""
    from rtgen.rig.remote import running

    found = running(osc)
    if as_json:
        _print_json(found)
    elif not found:
        raise UserError("no rtgen is running that listens to OSC; start one with 'rtgen run'")
    else:
        table = Table("Name", "OSC", "Preset", "Mode", "Use", "Tempo", "Bar", "Answer", box=None, header_style="bold")
        for port, state in found.items():
            about = {address.removeprefix("/rtgen/state/"): values for address, values in state.items()}
            bar = f"{about['bar'][0]}.{about['bar'][1]}" if about["rolling"][0] else "stopped"
            notes = (len(about["answer"]) - 1) // 4
            words = (about["name"][0], port, about["preset"][0], about["mode"][0], about["use"][0])
            table.add_row(*map(_escaped, map(str, words)), f"{about['tempo'][0]:.1f}", bar, f"{notes} notes")
        _out.print(table)


@app.command(name="set")
def set_parameter(
    name: Annotated[str, typer.Argument(help="A parameter; 'preset' and 'use' can be set, too.")],
    value: Annotated[str, typer.Argument(help="Its value.")],
    osc: OscOption = None,
) -> None:
    """Turn a knob of a running daemon, or choose another preset."""
    from rtgen.rig.remote import tell

    number: float | str = value
    with suppress(ValueError):
        number = float(value)
    tell(osc, f"/rtgen/{name}", value if name in ("preset", "use") else number)


@app.command()
def press(
    button: Annotated[str, typer.Argument(help="freeze, store_a, store_b, regenerate, back, keep, clear, mute ...")],
    osc: OscOption = None,
) -> None:
    """Press a button of a running daemon."""
    from rtgen.rig.remote import tell

    tell(osc, f"/rtgen/{button}")


@app.command()
def learn(
    name: Annotated[str, typer.Argument(help="A parameter or a button.")],
    over: Annotated[
        bool, typer.Option("--over", help="What was moved last is for this, though it was for something else.")
    ] = False,
    osc: OscOption = None,
) -> None:
    """Say what the next knob that you move, or button or key that you press, shall be for."""
    from rtgen.rig.remote import tell

    tell(osc, "/rtgen/learn/over" if over else "/rtgen/learn", *([] if over else [name]))
    _out.print("" if over else f"Move a knob (an endless one to the right), or press: it is for {name} from then on.")


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


def _print_card(card: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in card.items():
        if value not in ("", (), {}, [], None):
            if isinstance(value, list | tuple) and len(value) > _MOST_SHOWN:
                value = [*value[:_MOST_SHOWN], f"... and {len(value) - _MOST_SHOWN} more; --json has them all"]
            text = value if isinstance(value, str) else json.dumps(value, indent=1, default=str)
            table.add_row(key, _escaped(text))
    _out.print(table)
