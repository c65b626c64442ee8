"""Commands that control a running rtgen or read what earlier sessions left."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from rtgen.cli.common import JsonOption, OscOption, model_of, preset_of, refuse_same, say, show_json, show_rows
from rtgen.errors import UserError, did_you_mean
from rtgen.panel import PORT
from rtgen.shipped import available, find
from rtgen.text import plain

app = typer.Typer()


@app.command()
def status(osc: OscOption = None, as_json: JsonOption = False) -> None:
    """Say how every running rtgen is doing: whose turn it is, and what it plays."""
    from rtgen.rig.told.remote import NOBODY, running, told

    found = running(osc)
    if as_json:
        show_json(found)
    elif not found:
        raise UserError(NOBODY)
    else:
        for port, state in found.items():
            for line in told(port, state):
                say(plain(line))


_ALSO = ("preset", "use", "tempo")
"""What can be set besides parameters."""
_TOLD = (*_ALSO, "mode", "model", "freeze", "mute", "overdub", "layers")
"""What is told besides parameters."""


def _completed(begun: str, known: Iterable[str]) -> list[str]:
    """Returns the words that a shell may complete one to."""
    return [name for name in known if name.startswith(begun)]


def _settable(begun: str) -> list[str]:
    from rtgen.instrument.parameters import PARAMETERS

    return _completed(begun, (*PARAMETERS, *_ALSO))


def _told(begun: str) -> list[str]:
    from rtgen.instrument.parameters import PARAMETERS

    return _completed(begun, (*PARAMETERS, *_TOLD))


def _values(context: typer.Context, begun: str) -> list[str]:
    from rtgen.instrument.preset import Use

    found = {"use": get_args(Use), "preset": [item.name for item in available("presets")]}
    return _completed(begun, found.get(context.params.get("name", ""), ()))


def _buttons(begun: str) -> list[str]:
    from rtgen.instrument.parameters import BUTTONS

    return _completed(begun, BUTTONS)


def _learnable(begun: str) -> list[str]:
    from rtgen.instrument.parameters import BUTTONS, PARAMETERS

    return _completed(begun, (*PARAMETERS, *BUTTONS))


@app.command(name="get")
def get_parameter(
    name: Annotated[
        str,
        typer.Argument(
            help="A parameter, or preset, use, mode, model, tempo, freeze, mute, overdub or layers.",
            autocompletion=_told,
        ),
    ],
    osc: OscOption = None,
) -> None:
    """Print the value of a parameter of a running rtgen, or its preset, use, mode, model or tempo."""
    from rtgen.instrument.parameters import PARAMETERS
    from rtgen.rig.told.remote import value

    _must_be(name, "parameter", [*PARAMETERS, *_TOLD])
    found = value(osc, name)
    say(plain(found) if isinstance(found, str) else f"{found:g}")


@app.command(name="set")
def set_parameter(
    name: Annotated[str, typer.Argument(help="A parameter, or 'preset', 'use' or 'tempo'.", autocompletion=_settable)],
    value: Annotated[str, typer.Argument(help="The new value.", autocompletion=_values)],
    osc: OscOption = None,
) -> None:
    """Set a parameter of a running rtgen or the tempo of its internal clock, or load another preset."""
    from rtgen.instrument.parameters import PARAMETERS
    from rtgen.rig.told.remote import tell

    _must_be(name, "parameter", [*PARAMETERS, *_ALSO])
    number: float | str = value
    with suppress(ValueError):
        number = float(value)
    tell(osc, f"/rtgen/{name}", value if name in ("preset", "use") else number)


def _must_be(name: str, what: str, known: Iterable[str]) -> None:
    """Raise a `UserError` for an unknown name."""
    if name not in known:
        raise UserError(f"there is no {what} {name!r}{did_you_mean(name, known)}; 'rtgen controls' lists them")


@app.command()
def press(
    button: Annotated[
        str,
        typer.Argument(help="freeze, store_a, store_b, regenerate, back, keep, ...", autocompletion=_buttons),
    ],
    osc: OscOption = None,
) -> None:
    """Press a button of a running rtgen."""
    from rtgen.instrument.parameters import BUTTONS
    from rtgen.rig.told.remote import tell

    _must_be(button, "button", BUTTONS)
    tell(osc, f"/rtgen/{button}")


@app.command()
def learn(
    name: Annotated[str, typer.Argument(help="A parameter or a button.", autocompletion=_learnable)],
    over: Annotated[
        bool, typer.Option("--over", help="Reassign the control that moved last, even though it is taken.")
    ] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Forget what was learned for it instead.")] = False,
    seconds: Annotated[
        float, typer.Option(min=1, max=600, help="How long to wait for a control that moves.", metavar="N")
    ] = 30.0,
    osc: OscOption = None,
) -> None:
    """MIDI learn: assign the next control you move, and wait until that is done.

    The exit status is not 0 if the control is taken, or none is moved in time.
    """
    from rtgen.rig.told import remote

    if over and forget:
        raise UserError("--over assigns a control and --forget removes one; leave out one of the two")
    port = remote.the_one(osc)
    if forget:
        say(remote.forget(port, name))
        return
    if not over:
        say(f"Move a knob (turn an endless encoder to the right) or press a button: it will be {name}.")
    say(remote.learn(port, name, seconds, over=over))


@app.command()
def panel(
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine needs a --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = PORT,
    token: Annotated[
        str | None,
        typer.Option(
            help="Password for browsers: 'new' makes one, FILE has one; or set RTGEN_PANEL_TOKEN.", metavar="new|FILE"
        ),
    ] = None,
    osc: Annotated[int, typer.Option(min=1, max=65535, help="OSC port of the running rtgen.", metavar="PORT")] = 7770,
) -> None:
    """Serve the control panel of a running rtgen as a web page (extra 'panel').

    For a phone: rtgen panel --host 0.0.0.0 --token new, then scan the code it prints.
    """
    from rich.text import Text

    from rtgen.panel.access import is_loopback, token_of
    from rtgen.panel.qr import MOST, code, lines
    from rtgen.panel.server import serve
    from rtgen.terminal import Terminal

    def ready(urls: list[str]) -> None:
        for url in urls:
            say(f"panel: {url}")
        console = Terminal()
        if (
            console.is_terminal
            and console.encoding.startswith("utf")
            and not is_loopback(host)
            and len(urls[0]) <= MOST
        ):
            console.print(Text("\n".join(lines(code(urls[0]))), style="#000000 on #ffffff"), soft_wrap=True)

    serve(host, port, osc, token_of(token), ready)


@app.command(name="sessions")
def list_sessions(
    where: Annotated[Path | None, typer.Argument(help="Folder; in your music folder by default.")] = None,
) -> None:
    """List the logged sessions."""
    from rtgen.rig.kept.config import session_folder
    from rtgen.rig.kept.journal import SUFFIX

    folder = where or session_folder()
    logs = sorted(folder.glob(f"*{SUFFIX}"))
    if not logs:
        say(f"No sessions in {folder}; 'rtgen run' logs sessions there.")
        return
    rows = []
    for log in logs:
        music = log.with_suffix(".mid")
        rows.append((str(log), f"{log.stat().st_size / 2**20:.1f} MB", music.name if music.exists() else "-"))
    show_rows(("Session", "Size", "Music"), rows)


@app.command()
def replay(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="A log listed by 'rtgen sessions'.")],
    out: Annotated[Path | None, typer.Option(help="Also write its music to a .mid file.", metavar="FILE")] = None,
) -> None:
    """Replay a session from its log, and check that it sends the same bytes."""
    from rich.progress import track

    from rtgen.rig.kept.replay import replay as again
    from rtgen.terminal import Terminal

    if out is not None:
        refuse_same(log, out)
    console = Terminal(stderr=True)
    hidden = not console.is_terminal
    found = again(log, lambda steps: track(steps, "", console=console, transient=True, disable=hidden))
    if out is not None:
        found.music.save(out)
    bytes_are = "the same bytes" if found.different is None else f"different bytes from step {found.different + 1} on"
    end = "" if found.ended else "; the log has no end: rtgen was killed or is still running, or the file was cut off"
    say(f"{found.steps} steps, {found.seconds:.0f} s, {found.answers} answers: {bytes_are}{end}")
    if found.different is not None:
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def service(
    context: typer.Context,
    what: Annotated[Literal["install", "status", "logs", "uninstall"], typer.Argument(help="What to do.")],
) -> None:
    """Run rtgen as a service whenever you are logged in, without a terminal.

    Options after install go to 'rtgen run': rtgen service install --in keystation --preset shadow. It waits for
    ports that are not there yet.
    """
    from rtgen.rig import service as services

    if context.args and what != "install":
        raise UserError(f"'rtgen service {what}' takes no other options; remove {' '.join(context.args)}")
    match what:
        case "install":
            _check(context.args)
            said = services.install(context.args)
        case "uninstall":
            said = services.uninstall()
        case "status":
            said = services.status()
        case "logs":
            said = services.logs()
    say(said)


def _check(arguments: list[str]) -> None:
    """Checks the options of a service before it is installed, as nobody sees it fail.

    Raises:
        UserError: `rtgen run` would not start with them, or they depend on the folder that it is started in.
    """
    from rtgen.cli import play
    from rtgen.rig import service as services
    from rtgen.rig.kept import config as configs

    command: Any = typer.main.get_command(play.app)
    # An unknown option or a wrong value ends the command here, as it would end 'rtgen run'.
    with command.commands["run"].make_context("rtgen run", list(arguments)) as context:
        given = context.params
    chosen = preset_of(
        given["preset"], **{name: given[name] for name in ("model", "tempo", "bars", "mode", "use", "distance")}
    )
    if given["log"]:
        raise UserError(f"a service logs to {services.log_file()}; remove --log")
    files = {"--preset": find("presets", given["preset"]), "--model": model_of(chosen)}
    files |= {f"--{name}": Path(given[name]) for name in ("config", "clips", "sessions") if given[name]}
    for option, file in files.items():
        if not (file.is_absolute() or (option == "--sessions" and str(file) == "off")):
            raise UserError(f"a service starts in your home folder; give {option} as a whole path: {file.absolute()}")
    configs.load(given["config"] or configs.usual_path())
