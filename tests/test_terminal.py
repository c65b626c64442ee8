"""No text commands the terminal, whoever wrote it."""

from __future__ import annotations

from io import StringIO

from hypothesis import given
from hypothesis import strategies as st
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rtgen.terminal import Terminal
from rtgen.text import plain

HOSTILE = "a\x1b]0;title\x07b\x9b31mc\u202e\r\x08\x7f\udcff"


def shown(text: str) -> str:
    """All that a terminal is sent for a text, in a line, a table and a status line."""
    out = StringIO()
    terminal = Terminal(file=out, width=200, force_terminal=True, color_system=None)
    terminal.print(Text(text), soft_wrap=True)
    table = Table(box=None)
    table.add_row(text)
    terminal.print(table)
    terminal.print(text, markup=False)
    with Live(console=terminal, auto_refresh=False) as live:
        live.update(Text(text), refresh=True)
    return out.getvalue()


def test_control_characters_become_question_marks() -> None:
    said = shown(HOSTILE)
    assert "a?]0;title" in said
    for command in "\x1b]", "\x07", "\x9b", "\u202e", "\x08", "\x7f", "\udcff":
        assert command not in said
    assert plain(HOSTILE) == "a?]0;title?b?31mc?????"
    assert plain("one\n\ttwo é 😀") == "one two é 😀"


@given(st.text(st.characters(codec=None), max_size=30))
def test_what_is_plain_is_one_line_that_can_be_encoded(text: str) -> None:
    line = plain(text)
    line.encode("utf-8")
    assert len(line.splitlines()) <= 1
    assert plain(line) == line
