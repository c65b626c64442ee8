"""Commands that speak with a running rtgen, or look at what earlier ones left."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from rtgen.cli.common import JsonOption, OscOption, say, show, show_json
from rtgen.errors import UserError
from rtgen.panel import PORT

app = typer.Typer()


@app.command()
def status(osc: OscOption = None, as_json: JsonOption = False) -> None:
    """Show what a running daemon is at."""
    from rtgen.rig.told.remote import NOBODY, running

    found = running(osc)
    if as_json:
        show_json(found)
    elif not found:
        raise UserError(NOBODY)
    else:
        table = Table("Name", "OSC", "Preset", "Mode", "Use", "Tempo", "Bar", "Answer", box=None, header_style="bold")
        for port, state in found.items():
            about = {address.removeprefix("/rtgen/state/"): values for address, values in state.items()}
            bar = f"{about['bar'][0]}.{about['bar'][1]}" if about["rolling"][0] else "stopped"
            notes = (len(about["answer"]) - 1) // 4
            words = (about["name"][0], port, about["preset"][0], about["mode"][0], about["use"][0])
            table.add_row(*map(escape, map(str, words)), f"{about['tempo'][0]:.1f}", bar, f"{notes} notes")
        show(table)


@app.command(name="set")
def set_parameter(
    name: Annotated[str, typer.Argument(help="A parameter; 'preset' and 'use' can be set, too.")],
    value: Annotated[str, typer.Argument(help="Its value.")],
    osc: OscOption = None,
) -> None:
    """Turn a knob of a running daemon, or choose another preset."""
    from rtgen.rig.told.remote import tell

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
    from rtgen.rig.told.remote import tell

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
    from rtgen.rig.told.remote import tell

    tell(osc, "/rtgen/learn/over" if over else "/rtgen/learn", *([] if over else [name]))
    if not over:
        say(f"Move a knob (an endless one to the right), or press: it is for {name} from then on.")


@app.command()
def panel(
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine need a --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = PORT,
    token: Annotated[
        str | None, typer.Option(help="What browsers must know; 'new' makes one.", metavar="WORD|new")
    ] = None,
    osc: Annotated[int, typer.Option(help="Port of the daemon.", metavar="PORT")] = 7770,
) -> None:
    """Serve a web page with the rolls, knobs and buttons of a running daemon (extra 'panel').

    For a phone beside the keyboard: rtgen panel --host 0.0.0.0 --token new, and open the address that it prints there.
    """
    import secrets

    from rtgen.panel.server import serve

    word = secrets.token_urlsafe(12) if token == "new" else token
    serve(host, port, osc, word, lambda url: say(f"panel: {url}"))


@app.command(name="sessions")
def list_sessions(
    where: Annotated[Path | None, typer.Argument(help="Folder; your music folder's rtgen/sessions.")] = None,
) -> None:
    """List the sessions that were logged."""
    from rtgen.rig.kept.journal import SUFFIX
    from rtgen.rig.kept.journal import folder as session_folder

    folder = where or session_folder()
    logs = sorted(folder.glob(f"*{SUFFIX}"))
    if not logs:
        say(f"No sessions in {folder}; 'rtgen run' logs them there.")
        return
    table = Table("Session", "Size", "Music", box=None, header_style="bold")
    for log in logs:
        music = log.with_suffix(".mid")
        table.add_row(escape(str(log)), f"{log.stat().st_size / 2**20:.1f} MB", music.name if music.exists() else "-")
    show(table)


@app.command()
def replay(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="As 'rtgen sessions' lists it.")],
    out: Annotated[Path | None, typer.Option(help="Write its music to a .mid.", metavar="FILE")] = None,
) -> None:
    """Play a session again from its log, and see whether the same bytes come out."""
    from rich.console import Console
    from rich.progress import track

    from rtgen.music import files
    from rtgen.rig.kept.replay import replay as again

    console = Console(stderr=True)
    hidden = not console.is_terminal
    found = again(log, lambda steps: track(steps, "", console=console, transient=True, disable=hidden))
    if out is not None:
        files.write(out, found.score)
    bytes_are = "the same bytes" if found.different is None else f"other bytes from step {found.different + 1} on"
    end = (
        "" if found.ended else "; the log has no end: rtgen was killed, runs still, or the rest of the file is missing"
    )
    say(f"{found.steps} steps, {found.seconds:.0f} s, {found.answers} answers: {bytes_are}{end}")
    if found.different is not None:
        raise typer.Exit(1)


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
    say(said)
