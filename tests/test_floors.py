"""Floors that a change must hold and that the source shows by itself (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import rtgen

PACKAGE = Path(rtgen.__file__).parent


def imported(path: Path) -> Iterator[str]:
    """The top-level packages that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def test_nothing_in_rtgen_imports_the_workshop_or_torch() -> None:
    found = {path for path in PACKAGE.rglob("*.py") if {"torch", "lightning", "train"} & set(imported(path))}
    assert not found


def test_the_instrument_never_asks_what_time_it_is() -> None:
    for folder in ("instrument", "music"):
        found = {path for path in (PACKAGE / folder).rglob("*.py") if {"time", "datetime"} & set(imported(path))}
        assert not found


def test_only_a_terminal_that_obeys_no_text_prints() -> None:
    """`rich.console.Console` passes control characters on; `rtgen.terminal.Terminal` does not."""
    found = set()
    for path in (*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "train").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Console":
                found.add(path)
    assert not found
