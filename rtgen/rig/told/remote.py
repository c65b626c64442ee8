"""Running daemons on this machine, asked and told by OSC from another terminal."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rtgen.errors import UserError
from rtgen.instrument.parameters import PARAMETERS
from rtgen.instrument.preset import Preset, saved
from rtgen.music.time import MAX_TEMPO, MIN_TEMPO
from rtgen.rig.told.osc import COMPLETE, PORTS, Client
from rtgen.rig.told.steward import numbered
from rtgen.shipped import available, folders
from rtgen.whole import written

NOBODY = "no rtgen is running that listens to OSC; start one with 'rtgen run', or name its --osc port"
_WAIT_S = 0.3
State = dict[str, tuple[Any, ...]]
"""What a daemon tells, by address."""


def running(port: int | None = None) -> dict[int, State]:
    """The daemons that answer, by port, with their states."""
    numbers = PORTS if port is None else (port,)
    # All at once: of those that nobody listens on each takes its time.
    with ThreadPoolExecutor(len(numbers)) as asking:
        states = asking.map(_state, numbers)
        return {number: state for number, state in zip(numbers, states, strict=True) if state}


def _state(port: int) -> State:
    """The state as a daemon tells it first, to its end; nothing if nobody answers."""
    heard: State = {}
    with Client(port) as client:
        client.send("/rtgen/subscribe")
        for address, values in client.hear(_WAIT_S):
            heard[address] = values
            if address == COMPLETE:
                break
        client.send("/rtgen/unsubscribe")
    return heard


def the_one(port: int | None) -> int:
    """The port of the one daemon that runs, or the one that is named.

    Raises:
        UserError: there is none, or there are several.
    """
    there = running(port)
    if not there:
        raise UserError(NOBODY)
    if len(there) > 1:
        which = ", ".join(f"{number} ({state['/rtgen/state/name'][0]})" for number, state in there.items())
        raise UserError(f"several are running, on the ports {which}; say which by --osc")
    return next(iter(there))


def present(port: int | None) -> Preset:
    """The preset of a running daemon, as its knobs are now.

    Raises:
        UserError: as `the_one`.
    """
    number = the_one(port)
    state = running(number)[number]

    def about(name: str) -> tuple[Any, ...]:
        return state[f"/rtgen/state/{name}"]

    bars, metre = about("bars")
    knobs = {p.name: min(max(float(state[f"/rtgen/{p.name}"][0]), p.low), p.high) for p in PARAMETERS.values()}
    own = {name: about(name)[0] for name in ("model", "mode", "use", "channel")}
    tempo = min(max(float(about("tempo")[0]), MIN_TEMPO), MAX_TEMPO)
    return Preset(name=about("preset")[0]).changed(**own, **knobs, bars=bars, metre=metre, tempo=tempo)


def save(preset: Preset, name: str, *, over: bool) -> Path:
    """Keeps a preset of the player's own under a name, with a program that none has yet.

    Raises:
        UserError: the name cannot be one, or is taken and it shall not be written over.
    """
    if not name or name.startswith(".") or any(c in name for c in "/\\:") or name.isdigit() or len(name) > 60:
        raise UserError(f"{name!r} cannot be the name of a preset; take letters, and no number alone")
    folder = dict(folders("presets"))["yours"]
    path = folder / f"{name}.yaml"
    taken = {item.name: item.origin for item in available("presets")}
    if name in taken and not over:
        whose = "comes with rtgen" if taken[name] == "shipped" else "is there already"
        raise UserError(f"preset {name} {whose}; choose another name, or say --over, and yours goes before it")
    programs = {p.name: p.program for p in numbered()}
    free = next(n for n in range(1, 130) if n not in programs.values())
    program = programs.get(name) or (free if free <= 128 else 0)
    text = saved(preset.changed(program=program))
    with written(path, "check its permissions") as partial:
        partial.write_text(text, "utf-8")
    return path


def tell(port: int | None, address: str, *values: Any) -> None:
    """Tells the one daemon that runs, or the one that listens on a port.

    Raises:
        UserError: there is none, there are several, or it does not take this.
    """
    with Client(the_one(port)) as client:
        client.send(address, *values)
        for said in client.hear(_WAIT_S / 3):
            if said[0] == "/rtgen/error":
                raise UserError(str(said[1][0]))
