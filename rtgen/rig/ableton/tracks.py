"""Live's tracks: what they are called, and what they are connected to, by which `rtgen doctor` names switches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from rtgen.rig.ableton.script import Script, UnansweredError
from rtgen.rig.told.packet import Said
from rtgen.text import plain

_LONGEST = 60
"""Most characters of a name."""
_MOST_TRACKS = 256
_MOST_TOLD = 16
_MOST_SCENES = 2_000
_NAMES, _SCENES = "/live/song/get/track_names", "/live/song/get/num_scenes"
_MONITORS = {0: "In", 1: "Auto", 2: "Off"}


def tracks(script: Script) -> tuple[list[str], int]:
    """Return the names of the tracks, and the number of slots in each (scenes).

    Raises:
        UnansweredError: the script does not answer.
    """
    names: list[str] | None = None
    scenes: int | None = None

    def done(said: Said) -> tuple[list[str], int] | None:
        nonlocal names, scenes
        if said[0] == _NAMES and all(type(each) is str for each in said[1]):
            names = [plain(each)[:_LONGEST] for each in said[1][:_MOST_TRACKS]]
        elif said[0] == _SCENES and len(said[1]) == 1 and type(said[1][0]) is int and said[1][0] >= 0:
            scenes = min(said[1][0], _MOST_SCENES)
        return (names, scenes) if names is not None and scenes is not None else None

    return script.until([[(_NAMES, ()), (_SCENES, ())]], done)


def routings(script: Script, count: int, way: str) -> dict[int, str]:
    """Return what the tracks' inputs or outputs are connected to, in Live's words; those it does not tell are left out.

    Args:
        script: that is asked.
        count: number of tracks.
        way: `input` or `output`.
    """
    address = f"/live/track/get/{way}_routing_type"
    found: dict[int, str] = {}

    def done(said: Said) -> bool | None:
        if said[0] == address and len(said[1]) == 2 and said[1][0] in range(count) and type(said[1][1]) is str:
            found[said[1][0]] = plain(said[1][1])[:_LONGEST]
        return True if len(found) == count else None

    with suppress(UnansweredError):
        # One datagram each: where a track has no such thing the others are answered all the same.
        script.until([[(address, (track,))] for track in range(count)], done, within_s=1.5)
    return found


def connected(script: Script, ins: Sequence[str], out: str) -> list[dict[str, Any]]:
    """Return the tracks that are connected to rtgen.

    Each has `name`; `hears`: whether its input is rtgen's output; `plays`: whether its output is an input of rtgen's;
    `monitor`: In, Auto or Off, and `armed`, or None where Live does not say.

    Args:
        script: that is asked.
        ins: names of rtgen's inputs.
        out: name of its output.

    Raises:
        UnansweredError: the script does not answer.
    """
    names, _ = tracks(script)
    inputs, outputs = (routings(script, len(names), way) for way in ("input", "output"))
    found: list[dict[str, Any]] = []
    for track, name in enumerate(names):
        hears = out.casefold() in inputs.get(track, "").casefold()
        plays = any(each.casefold() in outputs.get(track, "").casefold() for each in ins)
        if (hears or plays) and len(found) < _MOST_TOLD:
            monitor, armed = _switches(script, track)
            found.append({"name": name, "hears": hears, "plays": plays, "monitor": monitor, "armed": armed})
    return found


def _switches(script: Script, track: int) -> tuple[str | None, bool | None]:
    """Return a track's monitoring, and whether it is armed."""
    questions: list[Said] = [(f"/live/track/get/{each}", (track,)) for each in ("current_monitoring_state", "arm")]
    with suppress(UnansweredError):
        (monitor, *_), (armed, *_) = ((*values, None) for values in script.get(*questions, within_s=1.5))
        return _MONITORS.get(monitor) if type(monitor) is int else None, armed in (True, 1)
    return None, None
