"""Where models and presets are found: the player's own folder first, then what came with rtgen.

Only the standard library and platformdirs: the real-time process imports this.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

import platformdirs

from rtgen.errors import UserError, did_you_mean

Kind = Literal["models", "presets"]

_SUFFIXES = {"models": (".onnx",), "presets": (".yaml", ".yml")}


class Item(NamedTuple):
    """A model or preset: what it is called, where it is, and whose it is (`yours` or `shipped`)."""

    name: str
    path: Path
    origin: str


def folders(kind: Kind) -> list[tuple[str, Path]]:
    """(origin, folder) in the order in which they are searched; a folder need not exist."""
    package = Path(__file__).parent
    inside = package / "shipped" / kind
    return [
        # On Windows platformdirs would otherwise put a folder rtgen in a folder rtgen.
        ("yours", platformdirs.user_data_path("rtgen", appauthor=False) / kind),
        # A wheel carries them in the package; in a checkout they lie beside it.
        ("shipped", inside if inside.is_dir() else package.parent / kind),
    ]


def available(kind: Kind) -> list[Item]:
    """All that can be named, by name; one of the player's own hides a shipped one of the same name."""
    items: dict[str, Item] = {}
    for origin, folder in folders(kind):
        for path in sorted(folder.glob("*")):
            if path.suffix in _SUFFIXES[kind] and path.is_file():
                items.setdefault(path.stem, Item(path.stem, path, origin))
    return sorted(items.values())


def find(kind: Kind, name: str) -> Path:
    """The file of a model or preset.

    Args:
        kind: what is looked for.
        name: as `available` lists it; or a path, which has a folder in it or ends as such a file does.

    Raises:
        UserError: there is no such file, or nothing of this name.
    """
    one = kind.removesuffix("s")
    separators = [s for s in (os.sep, os.altsep) if s]
    if name.endswith(_SUFFIXES[kind]) or any(s in name for s in separators):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UserError(f"{one} {name} is not a file; check the path, or give a name that `rtgen {kind}` lists")
        return path
    items = {item.name: item.path for item in available(kind)}
    if name in items:
        return items[name]
    there = f"there are {', '.join(items)}" if items else f"there are no {kind} at all"
    looked = " and ".join(str(folder) for _, folder in folders(kind))
    raise UserError(f"there is no {one} called '{name}'; {there} (in {looked}){did_you_mean(name, items)}")
