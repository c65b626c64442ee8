"""The terminal: a console that prints text, and no control characters that are in it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_COMMANDS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 without tab and line feed
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # change the order in which text is shown
    r"\u2028\u2029\ud800-\udfff]"  # separators; surrogates, which cannot be encoded
)
_BREAKS = re.compile(r"[\t\n]+")


def plain(text: str) -> str:
    """Returns text as one line without control characters, which become question marks.

    Names, descriptions and metadata may come from strangers, and a terminal obeys what it is sent: it can be made to
    change its title, to hide lines, or to write to the clipboard.
    """
    return _BREAKS.sub(" ", _COMMANDS.sub("?", text))


class Terminal(Console):
    """A console whose text never commands the terminal; only styles and positions of rich's own do."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Renders as `Console.render`, and replaces control characters of the text."""
        for segment in super().render(renderable, options):
            if segment.control is None and _COMMANDS.search(segment.text):
                yield segment._replace(text=_COMMANDS.sub("?", segment.text))
            else:
                yield segment
