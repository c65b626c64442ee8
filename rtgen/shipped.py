"""Finds models and presets: first in the player's own folder, then among those shipped with rtgen.

Depends only on the standard library and platformdirs, as the real-time process imports it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import platformdirs

from rtgen.errors import UserError, did_you_mean

Kind = Literal["models", "presets"]

_SUFFIXES = {"models": (".onnx",), "presets": (".yaml", ".yml")}


class Item(NamedTuple):
    """A model or preset: its name, its path, and its origin (`yours` or `shipped`)."""

    name: str
    path: Path
    origin: str


def folders(kind: Kind) -> list[tuple[str, Path]]:
    """Return (origin, folder) in search order; a folder need not exist."""
    package = Path(__file__).parent
    inside = package / "shipped" / kind
    return [
        # Without appauthor=False, platformdirs nests rtgen/rtgen on Windows.
        ("yours", platformdirs.user_data_path("rtgen", appauthor=False) / kind),
        # A wheel has them inside the package, a checkout beside it.
        ("shipped", inside if inside.is_dir() else package.parent / kind),
    ]


def available(kind: Kind) -> list[Item]:
    """Return all models or presets, sorted by name; one of the player's own hides a shipped one of the same name."""
    items: dict[str, Item] = {}
    for origin, folder in folders(kind):
        for path in _files(folder):
            if path.suffix in _SUFFIXES[kind]:
                items.setdefault(path.stem, Item(path.stem, path, origin))
    return sorted(items.values())


def _files(folder: Path) -> list[Path]:
    """Returns the regular files of a folder, as far as it can be read."""
    found = []
    with suppress(OSError):
        for path in sorted(folder.glob("*")):
            with suppress(OSError):
                if path.is_file():
                    found.append(path)
    return found


def find(kind: Kind, name: str) -> Path:
    """Return the file of a model or preset.

    Args:
        kind: models or presets.
        name: as `available` lists it; or a path, recognised by a separator or the file extension.

    Raises:
        UserError: there is no such file or name.
    """
    one = kind.removesuffix("s")
    separators = [s for s in (os.sep, os.altsep) if s]
    if name.endswith(_SUFFIXES[kind]) or any(s in name for s in separators):
        path = Path(name)
        try:
            path = path.expanduser()
            there = path.is_file()
        except (OSError, RuntimeError, ValueError):  # too long for a name; nobody's home; a zero in it
            there = False
        if not there:
            raise UserError(f"{one} {name} is not a file; check the path, or use a name listed by `rtgen {kind}`")
        return path
    items = {item.name: item.path for item in available(kind)}
    if name in items:
        return items[name]
    known = f"available: {', '.join(items)}" if items else f"there are no {kind} at all"
    looked = " and ".join(str(folder) for _, folder in folders(kind))
    raise UserError(f"there is no {one} called '{name}'; {known} (in {looked}){did_you_mean(name, items)}")
