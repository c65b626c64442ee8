"""What `rtgen run` is set up with; and its ports, which are opened before the rest of the program is imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rtgen.rig.kept.config import ALL

if TYPE_CHECKING:
    from pathlib import Path

    from rtgen.instrument.binding import Binding, Layout
    from rtgen.instrument.options import Options
    from rtgen.instrument.preset import Preset
    from rtgen.rig.ableton import Wants
    from rtgen.rig.midi.systems import Api
    from rtgen.rig.midi.ways import NamedPorts


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything `rtgen run` needs besides the preset.

    Args:
        inputs: names of the inputs; empty for a virtual one.
        output: name of the output; None for a virtual one, or for none beside the page.
        api: the MIDI system; `page` needs none: the web page is keyboard and sound.
        name: of the ports, as other programs show them.
        options: of the session, without bindings.
        controllers: learned bindings, by the name of the input.
        controls: what controllers do that has not been learned; for all, or by the name of the input.
        ignore_programs: names of the inputs whose program changes select no preset, in part, or `all`.
        device: what runs the model.
        log: a file for messages.
        config_path: the file with the settings of this machine.
        clips: the folder for kept answers.
        given: preset settings from the command line that other presets get as well.
        shown: names of the outputs to the controllers of the inputs, in the same order.
        wait: whether to wait for ports that are not there.
        parts: whether each part of a band gets an output of its own.
        sessions: folder for session logs; None keeps none.
        osc: `off`, a port of this machine, or an address and a port; None for the default.
        panel: port of the control panel; None serves none.
        performs: loops of the bundled performance to play on the page before the player does.
        browse: called with the address of the page when it is first served, from a thread.
        live: what is wanted of Ableton Live, but for the name of the output; None leaves it alone.
        form: of the messages on the terminal: sentences, or JSON.
        send_link: whether an Ableton Link session follows our song.
    """

    inputs: tuple[str, ...]
    output: str | None
    api: Api | Literal["page"]
    name: str
    options: Options
    controllers: Mapping[str, tuple[Binding, ...]]
    device: str
    log: Path | None
    config_path: Path
    clips: Path
    given: Mapping[str, Any] = field(default_factory=dict)
    controls: Layout | Mapping[str, Layout] = "knobs"
    ignore_programs: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    wait: bool = False
    parts: bool = False
    sessions: Path | None = None
    osc: str | None = None
    panel: int | None = None
    browse: Callable[[str], None] | None = None
    performs: int = 0
    live: Wants | None = None
    form: Literal["words", "json"] = "words"
    send_link: bool = False


def run(preset: Preset, model: Path, setup: Setup, seconds: float | None, quiet: bool) -> None:
    """Play until SIGINT or SIGTERM, or for `seconds`.

    Raises:
        UserError: a port, the model or the Link library is missing; or the page, if it is keyboard and sound.
    """
    name, ports = _ports(setup)
    # Others connect to the ports meanwhile.
    from rtgen.rig.runner import play

    play(preset, model, setup, name, ports, seconds, quiet)


def _ports(setup: Setup) -> tuple[str, NamedPorts]:
    """Open the ports, and return our name with them.

    Raises:
        UserError: a port is missing, or the MIDI system.
    """
    if setup.api == "page" and setup.output is None:
        from rtgen.rig.midi.page_ports import PagePorts

        return setup.name, PagePorts()
    # A machine without MIDI may not have what these import.
    from rtgen.music.parts import PARTS
    from rtgen.rig.midi.ports import open_ports
    from rtgen.rig.midi.systems import find_api, own_name
    from rtgen.rig.midi.ways import Patch

    api = find_api("auto" if setup.api == "page" else setup.api)
    name = own_name(setup.name, api)
    choose = _ask if sys.stdin.isatty() and sys.stderr.isatty() else None
    if setup.api == "page":
        from rtgen.rig.midi.page_and_port import PageAndPort

        return name, PageAndPort(open_ports(api, Patch(name, (), setup.output, choose)))
    parts = PARTS if setup.parts else ()
    patch = Patch(name, setup.inputs or (None,), setup.output, choose, setup.wait, setup.shown, parts)
    return name, open_ports(api, patch)


def _ask(question: str, names: list[str]) -> str:
    from rich.prompt import IntPrompt
    from rich.text import Text

    from rtgen.terminal import Terminal

    console = Terminal(stderr=True, highlight=False)
    for number, name in enumerate(names, 1):
        console.print(Text(f"{number}. {name}"))
    number = IntPrompt.ask(question, choices=[str(n) for n in range(1, len(names) + 1)], console=console)
    return names[number - 1]


def named(words: Sequence[str], inputs: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of the inputs that any of some words names, in part; `all` names every input."""
    folded = [word.lower() for word in words]
    return tuple(n for n, each in enumerate(inputs) if any(w == ALL or (w and w in each.lower()) for w in folded))
