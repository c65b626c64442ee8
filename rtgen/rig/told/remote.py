"""Running daemons on this machine, asked and told by OSC from another terminal."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rtgen.errors import UserError
from rtgen.instrument.parameters import PARAMETERS
from rtgen.instrument.preset import Preset
from rtgen.music.time import MAX_TEMPO, MIN_TEMPO
from rtgen.rig.told.osc import COMPLETE, PORTS, Client

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
    """The preset of a running daemon, with its knobs as they are now.

    Raises:
        UserError: as `the_one`, or what it tells makes no preset.
    """
    number = the_one(port)
    state = running(number)[number]
    try:
        settings = json.loads(state["/rtgen/state/settings"][0])
        knobs = {p.name: min(max(float(state[f"/rtgen/{p.name}"][0]), p.low), p.high) for p in PARAMETERS.values()}
        name = str(settings.pop("name"))
        tempo = min(max(float(state["/rtgen/state/tempo"][0]), MIN_TEMPO), MAX_TEMPO)
        now = {**knobs, "use": state["/rtgen/state/use"][0], "tempo": tempo}
        return Preset(name=name).changed(**{**settings, **now})
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"what listens on port {number} does not tell its preset; is it another rtgen?") from error


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
