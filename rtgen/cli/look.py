"""Commands that list and check: ports, models, presets, controls, this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rtgen.cli.common import (
    JsonOption,
    ModelOption,
    OscOption,
    PresetOption,
    model_of,
    preset_of,
    say,
    show,
    show_card,
    show_json,
    show_rows,
)
from rtgen.errors import UserError, did_you_mean
from rtgen.shipped import available, find

if TYPE_CHECKING:
    from rtgen.rig.kept import presets

app = typer.Typer()


@app.command()
def ports(as_json: JsonOption = False) -> None:
    """List the MIDI ports of this machine."""
    from rtgen.rig.midi import systems as rig

    found = rig.list_ports()
    if as_json:
        show_json([asdict(p) for p in found])
        return
    if not found:
        running = ", ".join(rig.running_apis())
        state = f"running: {running}, without ports" if running else "none is running"
        say(f"No MIDI ports (systems looked for: {rig.looked_for()}; {state}); 'rtgen doctor' tells you what to do.")
        return
    show_rows(("System", "Direction", "Port"), [(port.system, port.direction, port.name) for port in found])


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Model whose full card is shown, by name or path.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the models, or show the card of one: what it does, its training data and its metrics."""
    if name is None:
        cards = [_card_row(*item) for item in available("models")]
    else:
        path = find("models", name)
        cards = [_card(path, "")]
    if as_json:
        show_json(cards)
    elif name is not None:
        show_card(cards[0])
    else:
        show_rows(("Model", "Role", "Modes", "Size", "Trained on", ""), list(_rows_of(cards)))


def _rows_of(cards: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yields the rows of the list of models: those of no family first, then each family under its name."""
    last = ""
    for card in sorted(cards, key=lambda card: str(card.get("family", ""))):
        if (family := card.get("family", "")) != last:
            yield ("",) * 6
            yield (f"{family}:", *("",) * 5)
            last = family
        yield (
            card["name"],
            card.get("role", "-"),
            ", ".join(card.get("modes", "-")),
            f"{card.get('bytes', 0) / 2**20:.1f} MB",
            ", ".join(d["name"] for d in card.get("data", ())),
            card.get("error", card.get("description", "")),
        )


def _card_row(name: str, path: Path, origin: str) -> dict[str, Any]:
    """Returns a model of the list as JSON shows it; one that cannot be read says why, and spoils no other."""
    try:
        return _card(path, origin)
    except UserError as error:
        said = str(error)
    except Exception as error:
        # A defect of ours; but the file is a stranger's, and the others play.
        said = f"Model {path} cannot be read ({type(error).__name__}: {error}); move it away"
    return {"name": name, "error": said, "file": str(path), "origin": origin}


def _card(path: Path, origin: str) -> dict[str, Any]:
    """Returns the card of a model as JSON shows it; nothing of the model is run.

    Raises:
        UserError: the model cannot be read, or its card is not valid.
    """
    from rtgen.inference.file import card_of

    card = card_of(path)
    about = {"file": str(path), "origin": origin, "bytes": path.stat().st_size}
    return {**asdict(card), "modes": card.kind.modes, **about}


def _is_here(model: str) -> bool:
    try:
        find("models", model)
    except UserError:
        return False
    return True


def _row(listed: presets.Listed) -> dict[str, Any]:
    """Returns a preset of the list as JSON shows it."""
    file = str(listed.item.path)
    if listed.preset is None:
        return {"name": listed.item.name, "description": listed.trouble, "file": file, "error": listed.trouble}
    return {**listed.preset.as_dict(), "file": file, "model_is_here": not listed.trouble}


@app.command(name="presets")
def list_presets(
    name: Annotated[
        str | None,
        typer.Argument(help="Preset whose settings are shown, by name or path; or 'save'.", metavar="[NAME|save]"),
    ] = None,
    target: Annotated[str | None, typer.Argument(help="With 'save': name of the new preset.", metavar="[NAME]")] = None,
    over: Annotated[bool, typer.Option("--over", help="With 'save': replace a preset of that name.")] = False,
    osc: OscOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the presets, show the settings of one, or save a running daemon's settings as one.

    Presets whose model is not installed are marked. 'rtgen presets save NAME' saves the running daemon's preset with
    its current knob values in your own folder.
    """
    from rtgen.rig.kept import presets

    if name == "save":
        from rtgen.rig.told import remote

        if target is None:
            raise UserError("'rtgen presets save' needs a name; use 'rtgen presets save NAME'")
        say(f"saved as {presets.save(remote.present(osc), target, over=over)}")
        return
    if target is not None:
        raise UserError(
            f"'rtgen presets {name} {target}' has one name too many; leave out the second, which only 'save' takes"
        )
    if name is None:
        loaded = [_row(each) for each in presets.listed()]
    else:
        path = find("presets", name)
        preset = presets.load(path)
        loaded = [{**preset.as_dict(), "file": str(path), "model_is_here": _is_here(preset.model)}]
    if as_json:
        show_json(loaded)
    elif name is not None:
        show_card(loaded[0])
    else:
        rows = []
        for p in loaded:
            cells = [str(p.get(key, "-")) for key in ("name", "mode", "use", "bars", "model", "description")]
            if not p.get("model_is_here", True):
                cells[4] += " (not installed)"
            rows.append(cells)
        show_rows(("Preset", "Mode", "Use", "Bars", "Model", ""), rows)


@app.command()
def controls(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the Markdown table of docs/controls.md.")] = False,
) -> None:
    """List all knobs and buttons, with their control changes; the OSC address of each is /rtgen/NAME."""
    from rtgen.instrument.parameters import listed

    rows = list(listed())
    if markdown:
        print("\n".join("| " + " | ".join(row) + " |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:])))
        return
    from rich.markup import escape
    from rich.table import Table

    # Whole words at 80 columns: the range stands below what each is for, and the address follows from the name.
    table = Table("name", "CC", "what it does", box=None, header_style="bold")
    for name, cc, _, way, heard, says in rows[1:]:
        table.add_row(escape(name), cc, f"{escape(says)}\n[dim]{escape(way)}, heard {heard}[/]")
    show(table)
    say("* bound only with 'controls: all' in the settings, or --controls all; 'rtgen learn NAME' binds any control.")


@app.command()
def doctor(
    seconds: Annotated[
        float, typer.Option(min=0, max=60, help="How long to listen for clock and notes, in seconds.")
    ] = 3.0,
    preset: PresetOption = "vary",
    model: ModelOption = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--in", help="Input to listen to; all inputs by default.", metavar="PORT")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--out", help="Output that --calibrate plays to.", metavar="PORT")
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Measure the MIDI round trip, and suggest an offset."),
    ] = False,
    osc: OscOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the set-up, and suggest a cure for every problem.

    Looks for MIDI systems and ports, listens for clock and notes, and times the model. If rtgen is running, it is asked
    instead what it receives and what is connected to it. The exit status is 1 if something prevents playing.

    With --calibrate it plays quiet notes on channel 16 instead. For this the output must be connected to the input: by
    a cable, an IAC or loopMIDI port, or a connection in JACK. Without --in and --out it creates its own ports, which
    you connect within --seconds.
    """
    from rich.markup import escape
    from rich.table import Table

    from rtgen.rig.doctor import examine, examine_round_trip, examine_running
    from rtgen.rig.told import remote

    running = {} if calibrate or inputs else remote.running(osc)
    if osc is not None and not running:
        raise UserError(remote.NOBODY)
    if calibrate:
        findings = examine_round_trip(inputs or [], output, seconds)
    elif running:
        findings = examine_running(running, seconds)
    else:
        chosen = preset_of(preset, model=model)
        findings = examine(chosen, model_of(chosen), inputs or [], seconds)
    if as_json:
        show_json([asdict(f) for f in findings])
    else:
        marks = {"good": "[green]✓[/]", "note": "[yellow]•[/]", "bad": "[red]✗[/]"}
        table = Table.grid(padding=(0, 1))
        for f in findings:
            cure = f"\n[dim]→ {escape(f.cure)}[/]" if f.cure else ""
            table.add_row(marks[f.verdict], f"[bold]{f.subject}[/]", f"{escape(f.found)}{cure}")
        show(table)
    if any(f.verdict == "bad" for f in findings):
        raise typer.Exit(1)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Take fewer measurements: under a minute.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: one object.")] = False,
    loops: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, help="Number of loops to answer in real time; 1000 take two hours.", metavar="N"
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure only this, as often as given: thru, loops, parts (answers in parts), load, periods, clock, "
            "starts, rest, played, band, ends (last notes of calls), answers, follower.",
            metavar="NAME",
        ),
    ] = None,
    over: Annotated[
        Literal["auto", "jack", "pipes"],
        typer.Option(help="Measure over a private JACK server, or over pipes between processes."),
    ] = "auto",
    period: Annotated[
        int | None, typer.Option(help="Period of the JACK server in frames; 64 by default.", metavar="FRAMES")
    ] = None,
    asynchronous: Annotated[
        bool, typer.Option("--asynchronous", help="Run the JACK server in asynchronous mode: it drops late data.")
    ] = False,
) -> None:
    """Measure timing on this machine, compared with the best that a Python program can do.

    Uses a private JACK server with jack_midi_clock, which gives sample-accurate times, if these are installed;
    otherwise pipes. It takes about half an hour: leave the machine alone meanwhile.

    Example: rtgen bench --only parts --only rest
    """
    import time
    from dataclasses import replace

    from rtgen.bench import run as benching
    from rtgen.bench.measures import QUICK, Amount
    from rtgen.bench.stage import open_stage
    from rtgen.terminal import Terminal

    for name in only or ():
        if name not in benching.MEASUREMENTS:
            known = ", ".join(benching.MEASUREMENTS)
            raise UserError(
                f"the bench does not measure '{name}'; --only takes {known}{did_you_mean(name, benching.MEASUREMENTS)}"
            )
    began = time.perf_counter()
    amount = QUICK if quick else Amount()
    amount = replace(amount, loops=loops or amount.loops)
    with open_stage(over, period, not asynchronous) as stage:
        figures = benching.measure(stage, amount, Terminal(stderr=True), only or ())
    if as_json:
        show_json(benching.as_dict(figures, quick=quick, took_s=time.perf_counter() - began))
    else:
        benching.show(figures, Terminal(width=None if sys.stdout.isatty() else 160, highlight=False))
