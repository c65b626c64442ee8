"""Carries out a session's requests: loads presets, writes clips, saves MIDI-learn bindings.

It runs in the teller's thread, so that disk access never holds up the music.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from rtgen.errors import UserError, did_you_mean
from rtgen.instrument.notices import KeepAnswer, Request, SaveBindings, SelectPreset, UseClip
from rtgen.instrument.preset import Preset
from rtgen.music import key
from rtgen.rig.ableton.live_set import LiveSet
from rtgen.rig.daemon import Daemon
from rtgen.rig.kept import clips, config, presets
from rtgen.shipped import available, find

_RELIST_S = 2.0
_SHOWN = 60
"""Most characters of a stranger's word that are repeated."""


@dataclass(frozen=True, slots=True)
class House:
    """Where things are kept.

    Args:
        config_path: the file with the settings of this machine.
        inputs: what each input is called.
        clips: the folder for answers that are kept.
        given: settings from the command line that presets get when they are chosen: a model, a tempo.
    """

    config_path: Path
    inputs: Sequence[str]
    clips: Path
    given: Mapping[str, Any] = field(default_factory=dict)


class Steward:
    """Carries out requests.

    Args:
        daemon: that runs the session.
        house: where things are kept.
    """

    def __init__(self, daemon: Daemon, house: House) -> None:
        self._daemon = daemon
        self._house = house
        self.live: LiveSet | None = None
        """Who writes kept answers into Live as well; None if nobody does."""
        # Read before the music begins: reading all of them later would compete with it for the interpreter lock.
        self._listed = presets.numbered()
        self._listed_at = float("-inf")

    def see_to(self, request: Request) -> str:
        """Carries out a request; returns a sentence for the player."""
        try:
            match request:
                case SelectPreset():
                    return self._choose(request.which) or self._loading()
                case KeepAnswer():
                    return self._keep(request)
                case SaveBindings():
                    return self._remember(request)
                case UseClip():
                    return self._use_clip(request)
        except UserError as error:
            return str(error)

    def choose(self, which: str) -> str | None:
        """Loads another preset, from any thread: `next`, `previous`, a program number, or a listed name.

        It is asked for by strangers (OSC): no path is opened, and the list is read again at most every `_RELIST_S`.

        Returns:
            Why it cannot be loaded, or None.
        """
        try:
            return self._choose(which)
        except UserError as error:
            return str(error)

    def _choose(self, which: str) -> str | None:
        listed = self._listed
        if which in ("next", "previous"):
            names = [preset.name for preset in listed]
            present = self._daemon.chosen.name
            at = names.index(present) if present in names else -1
            if not names:
                return "there are no presets to go to"
            chosen = listed[(at + (1 if which == "next" else -1)) % len(listed)]
        elif which.isascii() and which.isdigit():
            found = self._of_program(which) or (self._relisted() and self._of_program(which))
            if not found:
                return f"no preset has the program {which[:_SHOWN]}; 'rtgen presets' lists those that there are"
            chosen = found
        else:
            paths = {item.name: item.path for item in available("presets")}
            if which not in paths:
                hint = did_you_mean(which, paths) if len(which) < _SHOWN else ""
                return f"there is no preset called {which[:_SHOWN]!r}{hint}; 'rtgen presets' lists those that there are"
            chosen = presets.load(paths[which])
        chosen = self._as_given(chosen)
        self._daemon.choose(chosen, find("models", chosen.model))
        return None

    def _of_program(self, which: str) -> Preset | None:
        return next((preset for preset in self._listed if preset.program and str(preset.program) == which), None)

    def _relisted(self) -> bool:
        """Reads the list again, as a preset may have been saved since; returns whether it was time to."""
        now = perf_counter()
        if now - self._listed_at < _RELIST_S:
            return False
        self._listed, self._listed_at = presets.numbered(), now
        return True

    def _as_given(self, preset: Preset) -> Preset:
        """Returns a preset with the settings from the command line, and its own model if the given one cannot play it.

        Raises:
            UserError: there is no such model.
        """
        given = dict(self._house.given)
        if "model" in given:
            modes = self._daemon.modes(find("models", given["model"]))
            if modes is not None and preset.mode not in modes:
                del given["model"]
        return preset.changed(**given)

    def _loading(self) -> str:
        chosen, given = self._daemon.chosen, self._house.given.get("model")
        own = (
            f" with its own model, as {given} does not play {chosen.mode}" if given not in (None, chosen.model) else ""
        )
        return f"loading preset {chosen.name}{own} ..."

    def _keep(self, request: KeepAnswer) -> str:
        if request.loop is None:
            return "there is no answer to keep yet"
        path = clips.keep(request.loop, request.preset, request.tempo, self._house.clips, datetime.now().astimezone())
        bars = f"{request.preset.bars} {'bar' if request.preset.bars == 1 else 'bars'}"
        which = f", {request.number} of {request.count}" if request.count > 1 else ""
        name = f"{request.preset.name}, {key.estimate(request.loop.notes) or 'no key'}, {bars}{which}"
        # Of several none is launched: the player is to choose.
        written = self.live is not None and self.live.keep(request.loop, name, fires=request.count == 1)
        return f"kept as {path}" + (", and on its way into Live" if written else "")

    def _use_clip(self, request: UseClip) -> str:
        if self.live is None:
            return "clips of Live are read with --live only; restart rtgen with it (docs/ableton.md)"
        if not (self.live.answer_clip() if request.how == "answer" else self.live.vary_clip()):
            return "Live does not answer, so no clip can be read; see docs/ableton.md"
        return "reading the clip that is selected in Live ..."

    def _remember(self, request: SaveBindings) -> str:
        name = self._house.inputs[request.port]
        path = self._house.config_path
        # Read again: another rtgen may have learned something meanwhile, or the player edited the file.
        config.save(config.load(path).learned(name, request.to, request.bindings), path)
        if request.forgotten:
            return f"forgot what {name} was to do for {request.to}; a default control change is back at the next start"
        return f"learned {request.to} from {name}"
