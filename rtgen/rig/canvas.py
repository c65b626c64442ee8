"""Drawing primitives for pictures of loops: a dark canvas, and panels with piano rolls (Pillow)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from rtgen.music.note import Note
from rtgen.music.time import PPQN
from rtgen.whole import written

Colour = tuple[int, int, int]

_FINE = 2
"""Supersampling factor, for smooth round corners."""

# Pixels of the finished picture.
WIDTH, MARGIN = 2000, 64
AXIS = 44
"""Width of the pitch axis to the left of the panels."""
HEAD = 148
STRIP = 44
"""Height of the caption above the roll of a panel."""

GROUND: Colour = (17, 20, 28)
PANEL: Colour = (29, 34, 46)
BLACK_KEY: Colour = (25, 29, 39)
BEAT: Colour = (44, 52, 68)
BAR: Colour = (74, 86, 110)
FAINT: Colour = (132, 144, 168)
TEXT: Colour = (230, 235, 245)
KEPT: Colour = (118, 188, 255)
NEW: Colour = (255, 170, 76)
EDGE: Colour = (255, 236, 205)
GONE: Colour = (92, 106, 136)
DEEP: Colour = (126, 214, 142)


Sign = tuple[str, Colour | None, Colour | None]
"""An entry of the legend: its label, fill and edge."""
SIGNS: tuple[Sign, ...] = (("left out", None, GONE), ("new", NEW, EDGE), ("kept", KEPT, None))


def head(canvas: Canvas, title: str, facts: str, signs: Sequence[Sign] = SIGNS) -> None:
    """Draws the title, facts beside it, and the legend at the right."""
    x = MARGIN + AXIS
    width = canvas.text(x, 88, title, 46, TEXT)
    canvas.text(x + width + 32, 88, facts, 28, FAINT)
    right: float = WIDTH - MARGIN
    for name, fill, edge in signs:
        right -= canvas.text(right, 86, name, 24, FAINT, "rs") + 12
        canvas.box(right - 44, 70, right, 84, fill, radius=3, edge=edge)
        right -= 76
    right -= canvas.text(right, 86, "loud", 24, FAINT, "rs") + 12
    for velocity in (105, 84, 63, 42, 21):
        canvas.box(right - 18, 70, right, 84, shade(KEPT, velocity), radius=3)
        right -= 20
    canvas.text(right - 10, 86, "soft", 24, FAINT, "rs")


class Canvas:
    """A drawing surface, in pixels of the finished picture."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGBA", (width * _FINE, height * _FINE))
        self._pen = ImageDraw.Draw(self._image)
        # Transparent behind round corners, to suit light and dark pages.
        self.box(0, 0, width, height, GROUND, radius=28)

    def box(
        self,
        x: float,
        y: float,
        right: float,
        bottom: float,
        fill: Colour | None,
        *,
        radius: float = 0,
        edge: Colour | None = None,
    ) -> None:
        """Draws a rectangle with corners of at most `radius`, and an edge of two pixels if `edge` is given."""
        # Pillow's coordinates include the last pixel.
        ends = (x * _FINE, y * _FINE, max(right * _FINE - 1, x * _FINE), max(bottom * _FINE - 1, y * _FINE))
        most = min(ends[2] - ends[0], ends[3] - ends[1]) / 2
        self._pen.rounded_rectangle(ends, min(radius * _FINE, most), fill, edge, 2 * _FINE if edge else 0)

    def text(self, x: float, baseline: float, text: str, size: int, colour: Colour, anchor: str = "ls") -> float:
        """Draws `text` and returns its width; `anchor` as in Pillow."""
        font = ImageFont.load_default(size * _FINE)
        self._pen.text((x * _FINE, baseline * _FINE), text, colour, font, anchor)
        return self._pen.textlength(text, font) / _FINE

    def save(self, path: Path) -> None:
        """Writes a PNG atomically.

        Raises:
            UserError: the file cannot be written.
        """
        with written(path) as partial:
            self._image.reduce(_FINE).save(partial, format="PNG", optimize=True)


class Panel:
    """A piano roll of a loop of `length` ticks, from pitch `low` to `high`."""

    def __init__(
        self, canvas: Canvas, x: float, y: float, width: float, row: int, low: int, high: int, length: int, bar: int
    ) -> None:
        self._canvas, self._x, self._y, self._width, self._row_height = canvas, x, y, width, row
        self._low, self._high, self._length, self._bar = low, high, length, bar
        self._top = y + STRIP
        self._bottom = self._top + (high - low + 1) * self._row_height

    def _column(self, tick: float) -> float:
        return self._x + min(max(tick / self._length, 0), 1) * self._width

    def _row(self, pitch: int) -> float:
        return self._top + (self._high - pitch) * self._row_height

    def grid(self, *, names: bool, unit: int = PPQN) -> None:
        """Draws the background: black-key rows, lines every `unit` ticks and at bars, and the Cs by name if `names`."""
        draw = self._canvas
        draw.box(self._x, self._y, self._x + self._width, self._bottom, PANEL, radius=8)
        for pitch in range(self._low, self._high + 1):
            y = self._row(pitch)
            if pitch % 12 in (1, 3, 6, 8, 10):
                draw.box(self._x, y, self._x + self._width, y + self._row_height, BLACK_KEY)
            elif pitch % 12 == 0:
                draw.box(self._x, y + self._row_height - 1, self._x + self._width, y + self._row_height, BEAT)
                if names:
                    draw.text(self._x - 12, y + self._row_height / 2 + 1, f"C{pitch // 12 - 1}", 20, FAINT, "rm")
        for tick in range(unit, self._length, unit):
            draw.box(self._column(tick), self._top, self._column(tick) + 1, self._bottom, BEAT)
        for tick in range(self._bar, self._length, self._bar):
            draw.box(self._column(tick) - 1, self._y + 10, self._column(tick) + 1, self._bottom, BAR)

    def caption(self, left: str, right: str) -> None:
        """Draws the two captions above the roll."""
        self._canvas.text(self._x + 14, self._y + 30, left, 24, TEXT)
        self._canvas.text(self._x + self._width - 14, self._y + 30, right, 24, FAINT, "rs")

    def sign(self, tick: int, text: str) -> None:
        """Writes a text above the roll where a tick is, such as a chord."""
        self._canvas.text(self._column(tick) + 4, self._y + 30, text, 20, TEXT)

    def bar_numbers(self, first: int = 1) -> None:
        """Draws the bar numbers below the roll, from `first` on."""
        for number, tick in enumerate(range(0, self._length, self._bar), first):
            self._canvas.text(self._column(tick), self._bottom + 28, str(number), 20, FAINT)

    def notes(self, notes: Iterable[Note], fill: Colour | None, edge: Colour | None = None) -> None:
        """Draws notes as bars, brighter with velocity if filled, and with an edge if `edge` is given."""
        for note in notes:
            x, right = self._column(note.onset), self._column(note.end) - 2
            y = self._row(note.pitch)
            colour = shade(fill, note.velocity) if fill else None
            self._canvas.box(x, y - 0.5, max(right, x + 6), y + self._row_height + 0.5, colour, radius=3, edge=edge)

    def pixels(self, rows: Sequence[Sequence[float]], step: int, colour: Colour) -> None:
        """Draws a heat map: one row per pitch, the lowest first, with a brightness (0-1) for every `step` ticks."""
        for pitch, row in enumerate(rows, self._low):
            y = self._row(pitch)
            for number, value in enumerate(row):
                if value > 0:
                    x, right = self._column(number * step), self._column((number + 1) * step)
                    self._canvas.box(x, y, right, y + self._row_height, mix(colour, value))


def shade(colour: Colour, velocity: int) -> Colour:
    """Returns `colour` with its brightness set by `velocity`; the softest notes remain visible."""
    return mix(colour, 0.3 + 0.7 * min(max((velocity - 20) / 85, 0), 1))


def mix(colour: Colour, part: float) -> Colour:
    """Returns `colour` blended into the panel background with opacity `part` (0-1)."""
    red, green, blue = (round(p + (c - p) * part) for p, c in zip(PANEL, colour, strict=True))
    return red, green, blue
