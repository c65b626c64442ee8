"""Commands that play: live, as a demo, or from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

import typer

from rtgen.cli.common import (
    BarsOption,
    ClipsOption,
    ControlsOption,
    DeviceOption,
    DistanceOption,
    ModelOption,
    ModeOption,
    PresetOption,
    QuietOption,
    SecondsOption,
    SeedOption,
    SessionsOption,
    UseOption,
    model_of,
    preset_of,
    refuse_same,
    say,
    seed_of,
)
from rtgen.errors import UserError
from rtgen.instrument.clocks.first_loop import FASTEST, SLOWEST
from rtgen.music.time import MAX_TEMPO, MIN_TEMPO
from rtgen.panel import PORT

if TYPE_CHECKING:
    from rtgen.instrument.options import Options
    from rtgen.instrument.preset import Preset

app = typer.Typer()
TempiOption = Annotated[
    str | None,
    typer.Option(
        help=f"With --clock player: the tempo is looked for in this range; {SLOWEST:g}-{FASTEST:g} by default.",
        metavar="LOW-HIGH",
    ),
]
PauseOption = Annotated[
    float | None,
    typer.Option(help="With --clock player: a pause of the hands closes the first loop, too.", metavar="SECONDS"),
]
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
    parts: Annotated[
        bool | None,
        typer.Option(
            "--parts/--no-parts",
            help="An output for each part of a band as well: rtgen bass, rtgen comping, rtgen drums, rtgen second.",
        ),
    ] = None,
    api: Annotated[Literal["auto", "jack", "alsa", "core", "winmm"], typer.Option(help="MIDI system.")] = "auto",
    name: Annotated[str, typer.Option(help="Name of the ports, as other programs show them.")] = "rtgen",
    clock: Annotated[
        Literal["midi", "internal", "link", "player"],
        typer.Option(
            help="Follow MIDI clock, run an internal clock, follow Ableton Link (extra 'link'), or take the tempo of "
            "the first loop that you play."
        ),
    ] = "midi",
    tempo: Annotated[
        float | None,
        typer.Option(help="Tempo of the internal clock, or the first of a Link session, 20 to 400.", metavar="BPM"),
    ] = None,
    tempi: TempiOption = None,
    pause: PauseOption = None,
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
        typer.Option("--send-clock", help="Send the internal clock, or the player's, to the output."),
    ] = False,
    send_link: Annotated[
        bool,
        typer.Option("--send-link", help="Have an Ableton Link session follow that clock (extra 'link')."),
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
    clips: ClipsOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for named ports that are not there yet.")] = False,
    sessions: SessionsOption = None,
    osc: Annotated[
        str | None,
        typer.Option(help="OSC: off, a port, or ADDRESS:PORT; 7770 unless taken.", metavar="WHERE"),
    ] = None,
    panel: Annotated[
        bool, typer.Option("--panel", "--page", help="Serve a web page with rolls, knobs and buttons (extra 'panel').")
    ] = False,
    panel_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help=f"Port of the panel; {PORT} by default.", metavar="N")
    ] = None,
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--no-live", help="Speak with Ableton Live by way of AbletonOSC: kept answers become clips."
        ),
    ] = None,
    live_track: Annotated[
        str | None,
        typer.Option(help="Live's track for kept answers; by default the one with rtgen as its input.", metavar="NAME"),
    ] = None,
    live_fire: Annotated[
        bool | None, typer.Option("--live-fire/--no-live-fire", help="Launch a kept answer in Live, on the next bar.")
    ] = None,
    seconds: SecondsOption = None,
    quiet: QuietOption = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Play live until Ctrl-C: listen, and answer in tempo.

    Without --in and --out rtgen creates virtual ports. In your DAW, send a track and the clock to one, and take a
    track's input from the other. With an internal clock you need no DAW.

    Example: rtgen run --in keystation --out fluid --clock internal --tempo 96 --use follow
    """
    from rtgen.instrument.options import Options
    from rtgen.rig import setup
    from rtgen.rig.ableton import Wants
    from rtgen.rig.kept import config as configs
    from rtgen.rig.kept.config import clip_folder, session_folder

    if send_clock and clock not in ("internal", "player"):
        raise UserError("--send-clock sends the internal clock; add --clock internal, or remove it")
    if send_link and clock not in ("internal", "player"):
        raise UserError("--send-link leads a Link session; add --clock internal or player, or remove it")
    if roll and clock != "midi":
        raise UserError("--roll is for a MIDI clock that comes without Start; remove it, or --clock")
    if tempo is not None and clock == "midi":
        raise UserError(
            "--tempo is for the internal clock; add --clock internal, or remove it: a MIDI clock has its own"
        )
    if not name.strip() or len(name.encode()) > _LONGEST or any(c in "/\\:" for c in name):
        raise UserError(f"--name {name!r} cannot name ports; use up to {_LONGEST} letters")
    first_loop = _first_loop(clock, tempo, tempi, pause)
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
        if not setup.named([word], ins or (f"{name} in",)):
            there = ", ".join(ins or (f"{name} in",))
            raise UserError(f"--ignore-programs {word} names no input; name one of {there}, or say all")
    speaks = machine.live if live is None else live
    if (live_track is not None or live_fire) and not speaks:
        raise UserError("--live-track and --live-fire are for --live; add it, or remove them")
    wants = Wants(track=live_track or machine.live_track, fires=machine.live_fire if live_fire is None else live_fire)
    kept = clips or (Path(machine.clips).expanduser() if machine.clips else clip_folder())
    setup.run(
        chosen,
        model_of(chosen),
        setup.Setup(
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
                **first_loop,
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
            parts=machine.parts if parts is None else parts,
            sessions=None if sessions == "off" else Path(sessions) if sessions else session_folder(),
            osc=osc,
            panel=page,
            live=wants if speaks else None,
            form="json" if json else "words",
            send_link=send_link,
        ),
        seconds,
        quiet,
    )


class FirstLoop(TypedDict):
    """What concerns the first loop in `Options`."""

    slowest: float
    fastest: float
    pause_s: float


def _first_loop(clock: str, tempo: float | None, tempi: str | None, pause: float | None) -> FirstLoop:
    """Return lowest and highest tempo of the first loop (BPM), and the pause that closes it (seconds).

    Raises:
        UserError: they are not valid, or there is no first loop.
    """
    from rtgen.instrument.options import LEAST_PAUSE_S, Options

    if (tempi is not None or pause is not None) and clock != "player":
        raise UserError("--tempi and --pause are for --clock player; add it, or remove them")
    if tempo is not None and clock == "player":
        raise UserError("the tempo of --clock player is what you play; remove --tempo, or give a range with --tempi")
    low, _, high = (tempi or f"{SLOWEST:g}-{FASTEST:g}").partition("-")
    try:
        options = Options(slowest=float(low), fastest=float(high), pause_s=pause or 0.0)
    except ValueError as error:
        if "pause_s" in str(error):
            raise UserError(f"--pause is {pause:g}; it goes from {LEAST_PAUSE_S:g} to 60 seconds") from None
        raise UserError(
            f"--tempi is {tempi!r}; give the lowest and the highest tempo, such as 80-160: from {MIN_TEMPO:g} to "
            f"{MAX_TEMPO:g}, and not too near to one another"
        ) from None
    return {"slowest": options.slowest, "fastest": options.fastest, "pause_s": options.pause_s}


@app.command()
def play(
    preset: PresetOption = "vary",
    model: ModelOption = None,
    tempo: Annotated[float | None, typer.Option(help="Tempo, 20 to 400.", metavar="BPM")] = None,
    clock: Annotated[
        Literal["internal", "player"],
        typer.Option(help="A tempo that you set, or that of the first loop that you play: then there is no click."),
    ] = "internal",
    tempi: TempiOption = None,
    pause: PauseOption = None,
    bars: BarsOption = None,
    mode: ModeOption = None,
    use: UseOption = None,
    distance: DistanceOption = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help=f"Port of the page; a free one from {PORT} on.", metavar="N")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--out", help="MIDI output that gets the answers and the clock, too.", metavar="PORT")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings of this machine.", metavar="FILE")] = None,
    clips: ClipsOption = None,
    sessions: SessionsOption = None,
    osc: Annotated[
        str | None, typer.Option(help="OSC: a port, or ADDRESS:PORT; 7770 unless taken.", metavar="WHERE")
    ] = None,
    seconds: SecondsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Play and hear it in the browser: no MIDI device, driver or DAW is needed (extra 'panel').

    The page sounds, and is played with the computer keyboard, the mouse, by touch, or with a MIDI keyboard where the
    browser has Web MIDI. Press Start, play two bars, then listen for two.

    **Example:** rtgen play --clock player --pause 2
    """
    from rtgen.instrument.options import Options

    first_loop = _first_loop(clock, tempo, tempi, pause)
    chosen = preset_of(preset, model=model, tempo=tempo, bars=bars, mode=mode, use=use, distance=distance)
    given = {k: v for k, v in (("model", model), ("tempo", tempo)) if v is not None}
    _on_the_page(
        chosen,
        given,
        seed,
        device,
        quiet,
        browser=browser,
        port=port,
        output=output,
        config=config,
        clips=clips,
        sessions=sessions,
        osc=osc,
        seconds=seconds,
        options=Options(clock=clock, **first_loop),
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
    listen: Annotated[
        bool, typer.Option("--listen", help="Play it on the page of 'rtgen play', where you can go on (extra 'panel').")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="With --listen: open the page in the browser.")
    ] = True,
) -> None:
    """Hear what rtgen does, without a MIDI device: it answers a bundled performance.

    The performance goes through the same session, worker and scheduler as live playing. It writes demo.mid (the
    performance and the answers) and demo.png (both as piano rolls, loop by loop). If a MIDI system is running, it
    also plays the answers to an output; with --listen it plays on the web page instead, and writes no files.
    """
    from rtgen.rig.performance import TEMPO
    from rtgen.terminal import Terminal

    chosen = preset_of(preset, model=model)
    if listen:
        if fast:
            raise UserError("--listen plays in real time; remove it, or --fast")
        chosen = chosen.changed(tempo=TEMPO)
        loops = -(-bars * chosen.metre.bar // chosen.length)
        given = {k: v for k, v in (("model", model), ("tempo", TEMPO)) if v is not None}
        _on_the_page(chosen, given, seed, device, False, browser=browser, sessions="off", performs=loops)
        return
    from rtgen.rig.demo import demo as play

    play(chosen, model_of(chosen), bars, out, fast=fast, seed=seed_of(seed), device=device, console=Terminal())


def _on_the_page(
    chosen: Preset,
    given: Mapping[str, object],
    seed: int | None,
    device: str,
    quiet: bool,
    *,
    browser: bool = True,
    port: int | None = None,
    output: str | None = None,
    config: Path | None = None,
    clips: Path | None = None,
    sessions: str | None = None,
    osc: str | None = None,
    seconds: float | None = None,
    performs: int = 0,
    options: Options | None = None,
) -> None:
    """Plays with the web page as keyboard and sound.

    Raises:
        UserError: the page cannot be served.
    """
    from importlib.util import find_spec
    from threading import Thread
    from webbrowser import open_new_tab

    from rtgen.instrument.options import Options
    from rtgen.panel.access import free_port
    from rtgen.rig import setup
    from rtgen.rig.kept import config as configs
    from rtgen.rig.kept.config import clip_folder, session_folder

    if find_spec("aiohttp") is None:
        raise UserError("the page needs aiohttp; run pip install 'rtgen[panel]'")
    if osc == "off":
        raise UserError("the page needs OSC; remove --osc off")
    path = config or configs.usual_path()
    machine = configs.load(path)
    opened: list[str] = []

    def browse(url: str) -> None:
        if browser and not opened:
            opened.append(url)
            # Some browsers are waited for.
            Thread(target=open_new_tab, args=(url,), daemon=True).start()

    setup.run(
        chosen,
        model_of(chosen),
        setup.Setup(
            inputs=(),
            output=output,
            api="page",
            name="rtgen page",
            options=replace(
                options or Options(clock="internal"), seed=seed_of(seed), send_clock=True, takeover=machine.takeover
            ),
            device=device,
            log=None,
            controllers=machine.controllers,
            controls=machine.controls,
            config_path=path,
            clips=clips or (Path(machine.clips).expanduser() if machine.clips else clip_folder()),
            given=given,
            sessions=None if sessions == "off" else Path(sessions) if sessions else session_folder(),
            osc=osc,
            panel=port or free_port(PORT),
            browse=browse,
            performs=performs,
        ),
        seconds,
        quiet,
    )


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
    picture: Annotated[Path | None, typer.Option(help="Draw the beginning of it as a PNG.", metavar="FILE")] = None,
) -> None:
    """Answer a MIDI file, or play along with it, faster than real time.

    It uses the same session as live playing, in the metres of the file. The same file, preset and seed give the same
    bytes. A band hears the track called "melody" alone, if there is one; its chords become markers.
    """
    from rich.progress import Progress

    from rtgen.instrument.job import Job
    from rtgen.instrument.notices import DrumsLeftOut
    from rtgen.music import files, midi
    from rtgen.music.drums import CHANNEL
    from rtgen.music.note import Loop
    from rtgen.music.time import MAX_TEMPO, MIN_TEMPO
    from rtgen.rig import offline
    from rtgen.terminal import Terminal

    refuse_same(source, target)
    if picture is not None:
        refuse_same(source, picture)
    chosen = preset_of(preset, model=model, bars=bars, mode=mode, use=use, distance=distance)
    whole = files.read(source)
    score = offline.heard(whole, chosen)
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
        rendered, notices = offline.render(
            score, chosen, answerer, seed_of(seed), controls or "knobs", pitched, hears, network.plan
        )
    files.write(target, rendered)
    added = rendered.tracks[len(score.tracks) :]
    if picture is not None:
        from rtgen.rig.picture import draw_played

        heard = files.notes_of(e for e in score.merged() if not chosen.along or e.data[0] & 0x0F != CHANNEL)
        chords = rendered.markers[len(score.markers) :]
        title = f"{source.stem}: {chosen.name}"
        draw_played(played[0].preset, heard, added, notices, picture, title=title, tempo=chosen.tempo, chords=chords)
    calls = offline.answered(notices, played)
    written = sum(midi.is_note_on(event.data) for track in added for event in track.events)
    if any(isinstance(n, DrumsLeftOut) for n in notices):
        say(f"{source}: channel 10 (drums) is left out, as model {name} plays no drums")
    if len(score.tracks) < len(whole.tracks):
        say(f"{source}: the track {score.tracks[0].name} is heard, and all others are left out")
    stretches = "1 stretch is" if short == 1 else f"{short} stretches are"
    rest = f"; {stretches} too short for a loop and its answer" if short else ""
    what = f"{calls} loops answered with {written} notes"
    if chosen.along:
        what = f"{written} notes played along, by {', '.join(track.name for track in added) or 'nobody'}"
    say(f"{source}: {what}, in {target}{rest}")
