"""Edits a list in a YAML settings file in place, so that the player's comments and order stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import yaml


def edited(text: str, section: str, name: str, before: Sequence[str], after: Sequence[str]) -> str | None:
    """Returns a settings text with other rows in the list `section: {name: [...]}`; nothing else changes.

    Args:
        text: of the file, a mapping.
        section: the setting.
        name: the key within it; created if needed, and removed with its last row.
        before: the rows that the list has now, in the file's order, in any form that can be compared.
        after: the rows that it is to have, as YAML flow mappings; those that are in `before` as well are left alone.

    Returns:
        None if the file is not written in a form that can be edited.
    """
    root = yaml.compose(text, yaml.SafeLoader)
    eol = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines()
    new = [row for row in after if row not in before]
    if root is None:
        return _joined([*lines, f"{section}:", *_entry(name, new, "  ")], eol)
    if not _is_block(root):
        return None
    found = _pair(root, section)
    if found is None:
        at = _last(root) + 1
        return _joined([*lines[:at], f"{section}:", *_entry(name, new, "  "), *lines[at:]], eol)
    title, named = found
    if not _is_block(named):
        return None
    entry = _pair(named, name)
    if entry is None:
        at, indent = _last(named) + 1, " " * named.start_mark.column
        return _joined([*lines[:at], *_entry(name, new, indent), *lines[at:]], eol)
    key, rows = entry
    if not after:
        first = title if len(named.value) == 1 else key
        return _joined([*lines[: first.start_mark.line], *lines[_last(rows) + 1 :]], eol)
    if not isinstance(rows, yaml.SequenceNode) or len(rows.value) != len(before):
        return None
    if rows.flow_style:
        return f"{text[: rows.start_mark.index]}[{', '.join(after)}]{text[rows.end_mark.index :]}"
    at, dash = _last(rows) + 1, " " * rows.start_mark.column + "- "
    gone = {
        line
        for node, row in zip(rows.value, before, strict=True)
        if row not in after
        for line in range(node.start_mark.line, _last(node) + 1)
    }
    kept = [line for number, line in enumerate(lines[:at]) if number not in gone]
    return _joined([*kept, *(dash + row for row in new), *lines[at:]], eol)


def _joined(lines: Sequence[str], eol: str) -> str:
    return eol.join(lines) + eol


def _entry(name: str, rows: Sequence[str], indent: str) -> list[str]:
    """Returns the lines of a key and its list."""
    key = yaml.safe_dump({name: 0}, allow_unicode=True).removesuffix(" 0\n")
    return [indent + key, *(f"{indent}- {row}" for row in rows)]


def _is_block(node: yaml.Node) -> TypeGuard[yaml.MappingNode]:
    return isinstance(node, yaml.MappingNode) and not node.flow_style and bool(node.value)


def _pair(node: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Returns a key of a mapping, and its value."""
    return next((pair for pair in node.value if pair[0].value == key), None)


def _last(node: yaml.Node) -> int:
    """Returns the number of the last line of a value; a block's own end mark lies behind the comments that follow."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last(last[1] if isinstance(last, tuple) else last)
    line: int = node.end_mark.line
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">") and node.end_mark.column == 0:
        line -= 1
    return line
