"""Commands that play: live, as a demo, or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rtgen.cli.common import (
    BarsOption,
    ControlsOption,
    DeviceOption,
    DistanceOption,
    ModelOption,
    ModeOption,
    PresetOption,
    SeedOption,
    UseOption,
    model_of,
    preset_of,
    refuse_same,
    say,
    seed_of,
)
from rtgen.errors import UserError
from rtgen.panel import PORT
from rtgen.terminal import Terminal

app = typer.Typer()
_LONGEST = 40
"""Bytes of a port name; JACK allows 63 with what rtgen adds."""


@app.command()
def run(
    preset: PresetOption = "vary",
    model: ModelOption = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--in", help="Input port, by part of its name; repeat for more inputs.", metavar="PORT"),
    ] = None,
    output: Annotated[str | None, typer.Option("--out", help="Output port.", metavar="PORT")] = None,
    shown: Annotated[
        list[str] | None,
        typer.Option("--show", help="Output to the controller of the nth --in, for its LEDs.", metavar="PORT"),
    ] = None,
    api: Annotated[Literal["auto", "jack", "alsa", "core", "winmm"], typer.Option(help="MIDI system.")] = "auto",
    name: Annotated[str, typer.Option(help="Name of the ports, as other programs show them.")] = "rtgen",
    clock: Annotated[
        Literal["midi", "internal", "link"],
        typer.Option(help="Follow MIDI clock, run an internal clock, or follow Ableton Link (extra 'link')."),
    ] = "midi",
    tempo: Annotated[
        float | None,
        typer.Option(help="Tempo of the internal clock, or the first of a Link session, 20 to 400.", metavar="BPM"),
    ] = None,
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
            help="Pass input on to the output. On by default if --in and --out name different ports.",
        ),
    ] = None,
    clock_offset_ms: Annotated[
        float | None,
        typer.Option(min=-500, max=500, help="The clock arrives this late (early, if negative).", metavar="X"),
    ] = None,
    output_offset_ms: Annotated[
        float | None, typer.Option(min=-500, max=500, help="Play this much earlier (later, if negative).", metavar="X")
    ] = None,
    send_clock: Annotated[
        bool,
        typer.Option("--send-clock", help="Send the internal clock to the output."),
    ] = False,
    controls: ControlsOption = None,
    ignore_programs: Annotated[
        list[str] | None,
        typer.Option(
            help="Input whose program changes select no preset, by part of its name; repeat for more, or say all.",
            metavar="PORT",
        ),
    ] = None,
    roll: Annotated[
        bool,
        typer.Option("--roll", help="Roll at the next bar if a clock comes without Start."),
    ] = False,
    log: Annotated[Path | None, typer.Option(help="Also write messages to a file.", metavar="FILE")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Settings of this machine: ports, offsets, learned controls. Options override them.",
            metavar="FILE",
        ),
    ] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Folder for kept answers; in your music folder by default.", metavar="DIR")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for named ports that are not there yet.")] = False,
    sessions: Annotated[
        str | None,
        typer.Option(help="Folder for session logs, or off; in your music folder by default.", metavar="DIR"),
    ] = None,
    osc: Annotated[
        str | None,
        typer.Option(help="OSC: off, a port, or ADDRESS:PORT; 7770 unless taken.", metavar="WHERE"),
    ] = None,
    panel: Annotated[
        bool, typer.Option("--panel", help="Serve the control panel as a web page (extra 'panel').")
    ] = False,
    panel_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help=f"Port of the panel; {PORT} by default.", metavar="N")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop after this time, not at Ctrl-C.", metavar="N")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Play live until Ctrl-C: listen, and answer in tempo.

    Without --in and --out rtgen creates virtual ports. In your DAW, send a track and the clock to one, and take a
    track's input from the other. With an internal clock you need no DAW.

    **Example:** rtgen run --in keystation --out fluid --clock internal --tempo 96 --use follow
    """
    from rtgen.instrument.options import Options
    from rtgen.rig import runner
    from rtgen.rig.kept import config as configs
    from rtgen.rig.kept.clips import folder as clip_folder
    from rtgen.rig.kept.journal import folder as session_folder

    if send_clock and clock != "internal":
        raise UserError("--send-clock sends the internal clock; add --clock internal, or remove it")
    if roll and clock != "midi":
        raise UserError("--roll is for a MIDI clock that comes without Start; remove it, or --clock")
    if tempo is not None and clock == "midi":
        raise UserError(
            "--tempo is for the internal clock; add --clock internal, or remove it: a MIDI clock has its own"
        )
    if not name.strip() or len(name.encode()) > _LONGEST or any(c in "/\\:" for c in name):
        raise UserError(f"--name {name!r} cannot name ports; use up to {_LONGEST} letters")
    page = panel_port or (PORT if panel else None)
    if page and osc == "off":
        raise UserError("the panel needs OSC; remove --osc off, or --panel")
    chosen = preset_of(preset, model=model, tempo=tempo, bars=bars, mode=mode, use=use, distance=distance)
    path = config or configs.usual_path()
    machine = configs.load(path)
    early = machine.output_offset_ms if output_offset_ms is None else output_offset_ms
    late = machine.clock_offset_ms if clock_offset_ms is None else clock_offset_ms
    ins, out = tuple(inputs or machine.inputs), output or machine.output
    for word in ignore_programs or ():
        if not runner.named([word], ins or (f"{name} in",)):
            there = ", ".join(ins or (f"{name} in",))
            raise UserError(f"--ignore-programs {word} names no input; name one of {there}, or say all")
    kept = clips or (Path(machine.clips).expanduser() if machine.clips else clip_folder())
    runner.run(
        chosen,
        model_of(chosen),
        runner.Setup(
            inputs=ins,
            output=out,
            api=api,
            name=name,
            options=Options(
                clock=clock,
                # Virtual ports lead to a DAW, which hears the keyboard itself; named ones are keyboard and instrument.
                thru=bool(ins) and out not in ins if thru is None else thru,
                seed=seed_of(seed),
                clock_offset_s=late / 1e3,
                output_offset_s=early / 1e3,
                send_clock=send_clock,
                roll=roll,
                takeover=machine.takeover,
                listens=machine.listens,
            ),
            device=device,
            log=log,
            controllers=machine.controllers,
            controls=controls or machine.controls,
            ignore_programs=tuple(ignore_programs or machine.ignore_programs),
            config_path=path,
            clips=kept,
            given={k: v for k, v in (("model", model), ("tempo", tempo)) if v is not None},
            shown=tuple(shown or machine.shown),
            wait=wait,
            sessions=None if sessions == "off" else Path(sessions) if sessions else session_folder(),
            osc=osc,
            panel=page,
            form="json" if json else "words",
        ),
        seconds,
        quiet,
    )


@app.command()
def demo(
    bars: Annotated[int, typer.Option(min=1, max=256, help="Length in bars.", metavar="N")] = 16,
    preset: PresetOption = "vary",
    model: ModelOption = None,
    out: Annotated[Path, typer.Option(help="Folder for demo.mid and demo.png.", metavar="DIR")] = Path(),
    fast: Annotated[bool, typer.Option("--fast", help="Render at once, without a MIDI output.")] = False,
    seed: SeedOption = 1,
    device: DeviceOption = "auto",
) -> None:
    """Hear what rtgen does, without a MIDI device: it answers a bundled performance.

    The performance goes through the same session, worker and scheduler as live playing. It writes **demo.mid** (the
    performance and the answers) and **demo.png** (both as piano rolls, loop by loop). If a MIDI system is running, it
    also plays the answers to an output.
    """
    from rtgen.rig.demo import demo as play

    chosen = preset_of(preset, model=model)
    play(chosen, model_of(chosen), bars, out, fast=fast, seed=seed_of(seed), device=device, console=Terminal())


@app.command()
def render(
    source: Annotated[Path, typer.Argument(metavar="IN.mid", help="The performance.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.mid", help="The performance, with a track of answers.")],
    preset: PresetOption = "vary",
    model: ModelOption = None,
    bars: BarsOption = None,
    mode: ModeOption = None,
    use: UseOption = None,
    distance: DistanceOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    controls: ControlsOption = None,
) -> None:
    """Answer a MIDI file, faster than real time.

    It uses the same session as live playing, in the metres of the file. The same file, preset and seed give the same
    bytes.
    """
    from rich.progress import Progress

    from rtgen.instrument.job import Job
    from rtgen.instrument.notices import DrumsLeftOut
    from rtgen.music import files, midi
    from rtgen.music.note import Loop
    from rtgen.music.time import MAX_TEMPO, MIN_TEMPO
    from rtgen.rig import offline

    refuse_same(source, target)
    chosen = preset_of(preset, model=model, bars=bars, mode=mode, use=use, distance=distance)
    score = files.read(source)
    chosen = chosen.changed(tempo=min(max(score.tempos[0][1], MIN_TEMPO), MAX_TEMPO))
    played, short = offline.sections(score, chosen)
    console = Terminal(stderr=True, highlight=False)
    with (
        offline.opened(chosen, model_of(chosen), device) as network,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        if network.ready.remark:
            console.print(network.ready.remark, markup=False)
        pitched, name = network.ready.pitched, network.ready.model
        if pitched and offline.only_drums(score):
            raise UserError(
                f"{source} has notes on channel 10 (drums) only, and model {name} plays no drums; "
                "use --preset drummer, or another file"
            )
        loops = sum(section.loops for section in played)
        task = progress.add_task("Rendering", total=loops / 2 if chosen.use == "answer" else loops)

        def answerer(job: Job) -> Loop:
            progress.advance(task)
            return network.answer(job)

        hears = network.ready.hears
        rendered, notices = offline.render(score, chosen, answerer, seed_of(seed), controls or "knobs", pitched, hears)
    files.write(target, rendered)
    calls = offline.answered(notices, played)
    written = sum(midi.is_note_on(event.data) for event in rendered.tracks[-1].events)
    if any(isinstance(n, DrumsLeftOut) for n in notices):
        say(f"{source}: channel 10 (drums) is left out, as model {name} plays no drums")
    stretches = "1 stretch is" if short == 1 else f"{short} stretches are"
    rest = f"; {stretches} too short for a loop and its answer" if short else ""
    say(f"{source}: {calls} loops answered with {written} notes, in {target}{rest}")
