"""The terminal: a console that prints text, and no control characters that are in it."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from rtgen.text import COMMANDS


class Terminal(Console):
    """A console whose text never commands the terminal; only styles and positions of rich's own do."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Renders as `Console.render`, and replaces control characters of the text."""
        for segment in super().render(renderable, options):
            if segment.control is None and COMMANDS.search(segment.text):
                yield segment._replace(text=COMMANDS.sub("?", segment.text))
            else:
                yield segment
