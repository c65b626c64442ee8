"""Control of running daemons on this machine over OSC, for commands in another terminal."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter
from typing import Any

from rtgen.errors import UserError
from rtgen.instrument.parameters import PARAMETERS
from rtgen.instrument.preset import Preset
from rtgen.music.time import MAX_TEMPO, MIN_TEMPO
from rtgen.rig.told.osc import COMPLETE, LEASE_S, PORTS, Client
from rtgen.rig.told.whose import whose

NOBODY = "no running rtgen answers over OSC; start one with 'rtgen run', or give its port with --osc"
_WAIT_S = 0.3
_NEEDED: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("name", "mode", "use", "settings"), (str,)),
    "preset": (str, int),
    "tempo": (int | float,),
    "rolling": (int,),
    "bar": (int, int),
    "answer": (int,),
    "bars": (int, str),
}
"""What every daemon sends: the types of the values by name."""
_PLAIN = frozenset((*PARAMETERS, "freeze", "mute", "overdub"))
"""What is told under the address that sets it."""
State = dict[str, tuple[Any, ...]]
"""The state of a daemon: values by OSC address."""


def running(port: int | None = None) -> dict[int, State]:
    """Return the states of all daemons that answer, by port."""
    numbers = PORTS if port is None else (port,)
    # In parallel: every port without a daemon takes the whole timeout.
    with ThreadPoolExecutor(len(numbers)) as asking:
        states = asking.map(_state, numbers)
        return {number: state for number, state in zip(numbers, states, strict=True) if state}


def _state(port: int) -> State:
    """Return the full state of a daemon; empty if none answers."""
    heard: State = {}
    with Client(port) as client:
        client.send("/rtgen/subscribe")
        for address, values in client.hear(_WAIT_S):
            heard[address] = values
            if address == COMPLETE:
                break
        client.send("/rtgen/unsubscribe")
    return heard if _is_state(heard) else {}


def _is_state(heard: State) -> bool:
    """Returns whether what a port sent is the state of a daemon, and not what another program says there."""
    for name, kinds in _NEEDED.items():
        values = heard.get(f"/rtgen/state/{name}", ())
        if len(values) < len(kinds) or not all(map(isinstance, values, kinds)):
            return False
    return True


def told(port: int, state: State) -> list[str]:
    """Return the state of a daemon in words: lines for the player."""

    def first(name: str, usual: Any) -> Any:
        """Returns a value that an older daemon may not send."""
        values = state.get(f"/rtgen/{name}", ())
        return values[0] if values and isinstance(values[0], type(usual)) else usual

    bars, metre = state["/rtgen/state/bars"][:2]
    rolling = state["/rtgen/state/rolling"][0] > 0
    word, hint = whose(
        rolling=rolling,
        unstarted=first("state/unstarted", 0) > 0,
        clock=first("state/source", "midi"),
        use=state["/rtgen/state/use"][0],
        turn=first("state/turn", "none"),
        played=len(state.get("/rtgen/state/played", ())) > 1,
        muted=first("mute", 0.0) > 0,
        bars=bars,
        overdubs=first("overdub", 0.0) > 0,
    )
    at = "bar {}, beat {}".format(*state["/rtgen/state/bar"]) if rolling else "stopped"
    loop = f"{bars} {'bar' if bars == 1 else 'bars'} of {metre}"
    notes = (len(state["/rtgen/state/answer"]) - 1) // 4
    answer = f"The present answer has {notes} {'note' if notes == 1 else 'notes'}." if notes else "No answer yet."
    if layers := first("state/layers", 0):
        answer += f" {layers} {'layer goes' if layers == 1 else 'layers go'} round."
    mode, model = state["/rtgen/state/mode"][0], first("state/model", "")
    return [
        f"{state['/rtgen/state/name'][0]}, OSC port {port}: {word.lower()}, {hint}.",
        f"  Preset {state['/rtgen/state/preset'][0]}: {mode} in the use {state['/rtgen/state/use'][0]}, loops of {loop}"
        + (f", model {model}." if model else "."),
        f"  {state['/rtgen/state/tempo'][0]:.1f} BPM, {at}. {answer}",
    ]


def value(port: int | None, name: str) -> float | str:
    """Return the value of a parameter, or of `preset`, `use`, `mode`, `model`, `tempo`, `freeze`, `mute`, `overdub` or
    `layers`.

    Raises:
        UserError: as `the_one`, or the daemon does not send it.
    """
    number = the_one(port)
    values = running(number).get(number, {}).get(f"/rtgen/{'' if name in _PLAIN else 'state/'}{name}", ())
    if not values or isinstance(values[0], bool) or not isinstance(values[0], int | float | str):
        raise UserError(f"the program on port {number} does not send {name}; is it an older rtgen?")
    found = values[0]
    if name in PARAMETERS and not isinstance(found, str):
        found = PARAMETERS[name].said(min(max(found, PARAMETERS[name].low), PARAMETERS[name].high))
    return found


def doctored(port: int) -> dict[str, Any]:
    """Return what comes in to a daemon and what is connected; empty if it does not tell.

    See `rtgen.rig.doctor.report` for the form.
    """
    with Client(port) as client:
        client.send("/rtgen/doctor")
        for address, values in client.hear(_WAIT_S * 3):
            if address == "/rtgen/state/doctor":
                with suppress(ValueError, IndexError, TypeError):
                    found = json.loads(values[0])
                    return found if isinstance(found, dict) else {}
    return {}


def the_one(port: int | None) -> int:
    """Return the port of the only running daemon, or check the given one.

    Raises:
        UserError: no daemon runs, or several do.
    """
    there = running(port)
    if not there:
        raise UserError(NOBODY)
    if len(there) > 1:
        which = ", ".join(f"{number} ({state['/rtgen/state/name'][0]})" for number, state in there.items())
        raise UserError(f"several rtgens are running, on ports {which}; choose one with --osc")
    return next(iter(there))


def present(port: int | None) -> Preset:
    """Return the preset of a running daemon, with its current parameters.

    Raises:
        UserError: as `the_one`, or its state is not a valid preset.
    """
    number = the_one(port)
    state = running(number).get(number, {})
    try:
        settings = json.loads(state["/rtgen/state/settings"][0])
        knobs = {p.name: min(max(float(state[f"/rtgen/{p.name}"][0]), p.low), p.high) for p in PARAMETERS.values()}
        name = str(settings.pop("name"))
        tempo = min(max(float(state["/rtgen/state/tempo"][0]), MIN_TEMPO), MAX_TEMPO)
        now = {**knobs, "use": state["/rtgen/state/use"][0], "tempo": tempo}
        return Preset(name=name).changed(**{**settings, **now})
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"the program on port {number} did not send its preset; is it an older rtgen?") from error


def learn(port: int | None, name: str, seconds: float, *, over: bool = False) -> str:
    """Have the only running daemon, or the one at a port, learn a control; return what came of it.

    Args:
        port: of the daemon.
        name: the parameter or button.
        seconds: how long to wait for a control that moves.
        over: whether to reassign the control that moved last.

    Raises:
        UserError: as `the_one`; the daemon refuses; the control is taken; or none was moved in time.
    """
    with Client(the_one(port)) as client:
        try:
            client.send("/rtgen/subscribe")
            client.send(*(("/rtgen/learn/over",) if over else ("/rtgen/learn", name)))
            outcome = _outcome(client, name, _WAIT_S * 5 if over else seconds)
        except KeyboardInterrupt:
            client.send("/rtgen/learn", "")
            raise
        finally:
            client.send("/rtgen/unsubscribe")
        if outcome is None and over:
            raise UserError(f"no control waits to be reassigned; run 'rtgen learn {name}' and move it, then say --over")
        if outcome is None:
            client.send("/rtgen/learn", "")
            raise UserError(f"no control was moved within {seconds:g} s; run 'rtgen learn {name}' again, then move it")
    return outcome


def forget(port: int | None, name: str) -> str:
    """Have the only running daemon, or the one at a port, forget what was learned; return what came of it.

    Raises:
        UserError: as `the_one`; the daemon refuses; or nothing was learned.
    """
    with Client(the_one(port)) as client:
        client.send("/rtgen/subscribe")
        client.send("/rtgen/learn/forget", name)
        outcome = _outcome(client, name, _WAIT_S * 5)
        client.send("/rtgen/unsubscribe")
    if outcome is None or not outcome.startswith("forgot"):
        raise UserError(outcome or f"rtgen did not say whether it forgot {name}; is it an older rtgen?")
    return outcome


def _outcome(client: Client, name: str, seconds: float) -> str | None:
    """Wait until a control has been learned or forgotten; return the sentence about it, or None if nothing happened.

    Raises:
        UserError: the daemon refuses, the control is taken, or what was learned could not be stored.
    """
    moment = ""
    ends = perf_counter() + seconds
    while (left := ends - perf_counter()) > 0:
        client.send("/rtgen/subscribe")  # or it would end by itself
        for address, values in client.hear(min(left, LEASE_S / 3)):
            if address == "/rtgen/error":
                raise UserError(str(values[0]))
            if moment and address == "/rtgen/state/news":
                said = str(values[0])
                if moment == "learned" and not said.startswith("learned"):
                    raise UserError(said)
                return said
            if address == "/rtgen/state/taken" and values[0] == name:
                raise UserError(
                    f"that control is already {values[1]}; 'rtgen learn {name} --over' makes it {name}, "
                    "or move another one"
                )
            if address in ("/rtgen/state/learned", "/rtgen/state/forgotten") and values[0] == name:
                moment = address.rpartition("/")[2]
    return None


def tell(port: int | None, address: str, *values: Any) -> None:
    """Send a message to the only running daemon, or to the one at a port.

    Raises:
        UserError: as `the_one`, or the daemon refuses the message.
    """
    with Client(the_one(port)) as client:
        client.send(address, *values)
        for said in client.hear(_WAIT_S / 3):
            if said[0] == "/rtgen/error":
                # Whoever typed a name need not know that it is an OSC address.
                why = " ".join(map(str, said[1])).replace("/rtgen/", "")
                raise UserError(why or "the daemon refused the message, and does not say why")
