"""Running daemons on this machine, asked and told by OSC from another terminal."""

from __future__ import annotations

from typing import Any

from rtgen.errors import UserError
from rtgen.rig.osc import PORTS, Client, Said

_WAIT_S = 0.3
State = dict[str, tuple[Any, ...]]
"""What a daemon tells, by address."""


def running(port: int | None = None) -> dict[int, State]:
    """The daemons that answer, by port, with their states."""
    found: dict[int, State] = {}
    for number in PORTS if port is None else (port,):
        with Client(number) as client:
            client.send("/rtgen/subscribe")
            state = dict(_first(client))
            client.send("/rtgen/unsubscribe")
        if state:
            found[number] = state
    return found


def _first(client: Client) -> list[Said]:
    """The state as it is told first, to its end; nothing if nobody answers."""
    heard: list[Said] = []
    for said in client.hear(_WAIT_S):
        heard.append(said)
        if said[0] == "/rtgen/state/answer":
            break
    return heard


def tell(port: int | None, address: str, *values: Any) -> None:
    """Tells the one daemon that runs, or the one that listens on a port.

    Raises:
        UserError: there is none, there are several, or it does not take this.
    """
    there = running(port)
    if not there:
        raise UserError("no rtgen is running that listens to OSC; start one with 'rtgen run', or name its --osc port")
    if len(there) > 1:
        raise UserError(f"several are running, on the ports {', '.join(map(str, there))}; say which by --osc")
    with Client(next(iter(there))) as client:
        client.send(address, *values)
        for said in client.hear(_WAIT_S / 3):
            if said[0] == "/rtgen/error":
                raise UserError(str(said[1][0]))
