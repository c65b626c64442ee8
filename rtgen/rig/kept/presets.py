"""Presets on disk: read from YAML, listed by program number, saved under a name."""

from __future__ import annotations

from pathlib import Path

import yaml

from rtgen.errors import UserError
from rtgen.instrument.preset import Preset
from rtgen.settings import read
from rtgen.shipped import available, find, folders
from rtgen.whole import written

_PROGRAMS = range(1, 129)


def load(path: Path) -> Preset:
    """The preset in a YAML file.

    Raises:
        UserError: the file cannot be read, is no mapping, or has an unknown key or a value out of range.
    """
    settings = read(path, f"Preset {path}", "mend it; 'rtgen presets' shows some that are right")
    if not settings:
        raise UserError(f"Preset {path} says nothing; see 'rtgen presets' for examples")
    empty = [key for key, value in settings.items() if value is None]
    if empty:
        raise UserError(f"Preset {path}: {empty[0]} has no value; give it one or take the line out")
    try:
        return Preset(name=path.stem).changed(**settings)
    except (ValueError, TypeError) as error:
        raise UserError(f"Preset {path}: {error}") from error


def numbered() -> list[Preset]:
    """All presets that can be played, those with a program first and by it, the others by name; bad files are left out.

    Of two that claim one program the player's own has it, else the first by name.
    """
    found: list[Preset] = []
    taken: set[int] = set()
    for name, path, _ in sorted(available("presets"), key=lambda item: (item.origin != "yours", item.name)):
        try:
            preset = load(path)
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


def save(preset: Preset, name: str, *, over: bool) -> Path:
    """Saves a preset of the player's own under a name, with a program number that is free.

    Raises:
        UserError: the name cannot be one, or is taken and `over` is not set.
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
    free = (n for n in _PROGRAMS if n not in programs.values())
    program = programs.get(name) or next(free, 0)
    text = as_yaml(preset.changed(program=program, description=""))
    with written(path, "check its permissions", parents=True) as partial:
        partial.write_text(text, "utf-8")
    return path


def as_yaml(preset: Preset) -> str:
    """The text of a preset's file: what differs from the defaults."""
    usual = Preset().as_dict()
    said = {
        k: v for k, v in preset.as_dict().items() if k != "name" and (v != usual[k] or k in ("model", "mode", "use"))
    }
    # Values that came over OSC are 32-bit floats: their last digits are noise.
    plain = {k: round(v, 4) if isinstance(v, float) else v for k, v in said.items()}
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    return text
