"""What the instrument wants of the house: another preset, a clip written, what was learned remembered.

In the thread that tells the player what happens: files are read and written there, and the music does not wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rtgen.errors import UserError
from rtgen.instrument import preset as presets
from rtgen.instrument.events import Notice
from rtgen.instrument.preset import Preset
from rtgen.rig.daemon import Daemon
from rtgen.rig.kept import clips, config
from rtgen.shipped import available, find


@dataclass(frozen=True, slots=True)
class House:
    """Where things are kept.

    Args:
        config_path: the file with the settings of this machine.
        inputs: what each input is called.
        clips: the folder for answers that are kept.
    """

    config_path: Path
    inputs: Sequence[str]
    clips: Path


class Steward:
    """Sees to what the instrument wants.

    Args:
        daemon: whose instrument it is.
        preset: that it begins with.
        house: where things are kept.
    """

    def __init__(self, daemon: Daemon, preset: Preset, house: House) -> None:
        self._daemon = daemon
        self._house = house
        self._preset = preset
        # Read before the music begins: to read them all again would take turns with it.
        self._listed = numbered()

    def see_to(self, notice: Notice) -> str | None:
        """Does what a notice asks for; the sentence for the player, None if it asks for nothing."""
        try:
            match notice.what:
                case "wanted":
                    return self._choose(notice.name)
                case "kept":
                    return self._keep(notice)
                case "learned":
                    return self._remember(notice)
                case "preset" if notice.preset is not None:
                    self._preset = notice.preset
        except UserError as error:
            return str(error)
        return None

    def choose(self, which: str) -> str | None:
        """Has another preset played, from any thread: `next`, `previous`, a program, or a name.

        Returns:
            Why it cannot be, or None.
        """
        try:
            return self._choose(which)
        except UserError as error:
            return str(error)

    def _choose(self, which: str) -> str | None:
        listed = self._listed
        if which in ("next", "previous"):
            names = [preset.name for preset in listed]
            at = names.index(self._preset.name) if self._preset.name in names else -1
            if not names:
                return "there are no presets to go to"
            chosen = listed[(at + (1 if which == "next" else -1)) % len(listed)]
        elif not which.isdigit():
            chosen = presets.load(find("presets", which))
        else:
            found = [preset for preset in listed if preset.program == int(which)]
            if not found:
                self._listed = numbered()  # it may have been saved since
                found = [preset for preset in self._listed if preset.program == int(which)]
            if not found:
                return f"no preset has the program {which}; 'rtgen presets' lists those that there are"
            chosen = found[0]
        self._preset = chosen
        self._daemon.choose(chosen, find("models", chosen.model))
        return None

    def _keep(self, notice: Notice) -> str:
        if notice.loop is None or notice.preset is None:
            return "there is no answer yet that could be kept"
        path = clips.keep(notice.loop, notice.preset, notice.tempo, self._house.clips, datetime.now().astimezone())
        return f"kept as {path}"

    def _remember(self, notice: Notice) -> str:
        name = self._house.inputs[notice.port]
        path = self._house.config_path
        # As the file is now: another rtgen may have learned something, too, or somebody written in it.
        config.save(config.load(path).learned(name, notice.name, notice.bindings), path)
        return f"{notice.name} is learned from {name}"


def numbered() -> list[Preset]:
    """All presets that can be played, those with a program first and by it, the others by name; bad files are left out.

    Of two that claim one program the player's own has it, else the first by name.
    """
    found: list[Preset] = []
    taken: set[int] = set()
    for name, path, _ in sorted(available("presets"), key=lambda item: (item.origin != "yours", item.name)):
        try:
            preset = presets.load(path)
            find("models", preset.model)
        except UserError:
            continue
        if preset.program in taken:
            preset = preset.changed(program=0)
        if preset.program:
            taken.add(preset.program)
        assert preset.name == name
        found.append(preset)
    return sorted(found, key=lambda p: (p.program or 1000, p.name))
