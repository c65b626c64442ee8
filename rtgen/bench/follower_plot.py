"""Plots the clock follower and simpler ones in simulation (Pillow only).

python -m rtgen.bench.follower_plot docs/clock.png
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from rtgen.bench.follower import FOLLOWERS, bent, follow, lumpy
from rtgen.whole import written

Colour = tuple[int, int, int]

_WIDTH, _HEIGHT, _FINE = 1600, 1180, 2
_LEFT, _RIGHT, _PANEL_HEIGHT = 120, 1340, 400
_GROUND: Colour = (17, 20, 28)
_PANEL: Colour = (29, 34, 46)
_GRID: Colour = (44, 52, 68)
_FAINT: Colour = (132, 144, 168)
_TEXT: Colour = (230, 235, 245)
_SEEDS, _BEFORE, _AFTER = 200, 24, 72


class _Style(NamedTuple):
    colour: Colour
    width: int
    dashes: tuple[int, ...]  # on, off, on, off, in pixels; empty: solid


_STYLES = (
    _Style((118, 188, 255), 5, ()),
    _Style((255, 170, 76), 3, (22, 10)),
    _Style((140, 220, 150), 3, (4, 8)),
    _Style((235, 130, 170), 3, (22, 8, 4, 8)),
)


class _Curve(NamedTuple):
    name: str
    values: Sequence[float]


def draw(path: Path) -> None:
    """Writes the plot as a PNG, atomically.

    Raises:
        UserError: the file cannot be written.
    """
    image = Image.new("RGB", (_WIDTH * _FINE, _HEIGHT * _FINE), _GROUND)
    pen = _Pen(ImageDraw.Draw(image))
    pen.text(_LEFT, 70, "Following a MIDI clock", 40, _TEXT)
    pen.text(_LEFT, 108, "error of the clock that came last, simulated", 24, _FAINT)
    first = _Axes(pen, 180, (0.0, 6.0), 1.0, -_BEFORE, _AFTER)
    first.frame(f"rms over {_SEEDS} runs, ms: jitter of ±2 ms, and at clock 0 the tempo goes from 120 to 126 BPM", 12)
    first.mark(1.0, "1 ms")
    first.curves([_Curve(name, _stepping(name)) for name in FOLLOWERS])
    second = _Axes(pen, 700, (0.0, 12.0), 2.0, 0, 480)
    second.frame(
        f"median over {_SEEDS} runs, ms: 120 BPM from a program that runs in periods of 1024 frames (21.3 ms)", 48
    )
    second.mark(1.0, "1 ms")
    second.curves([_Curve(name, _in_lumps(name)) for name in FOLLOWERS])
    pen.text((_LEFT + _RIGHT) / 2, _HEIGHT - 22, "clocks (24 to the beat)", 22, _FAINT, "ms")
    with written(path) as partial:
        image.reduce(_FINE).save(partial, format="PNG", optimize=True)


def _stepping(name: str) -> list[float]:
    """Rms error over all seeds, per clock, around a tempo step."""
    start = 200

    def run(seed: int) -> list[float]:
        arrivals = bent(random.Random(seed), lambda number: 120 if number < start - 1 else 126, start + _AFTER)
        return follow(FOLLOWERS[name](0.02), arrivals)[start - _BEFORE :]

    return [math.sqrt(fmean(error * error for error in clock)) for clock in zip(*map(run, range(_SEEDS)), strict=True)]


def _in_lumps(name: str) -> list[float]:
    """Median error over all seeds, per clock from the first on, minus the constant part of each run."""

    def run(seed: int) -> list[float]:
        errors = follow(FOLLOWERS[name](0.02), lumpy(random.Random(seed), 1024, 120)[:481])
        late = median(errors[240:])
        return [abs(error - late) for error in errors]

    return [median(clock) for clock in zip(*map(run, range(_SEEDS)), strict=True)]


class _Pen:
    """Draws in pixels of the finished image."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self._draw = draw

    def box(self, x: float, y: float, right: float, bottom: float, colour: Colour) -> None:
        self._draw.rectangle((x * _FINE, y * _FINE, right * _FINE - 1, bottom * _FINE - 1), colour)

    def text(self, x: float, y: float, text: str, size: int, colour: Colour, anchor: str = "ls") -> None:
        self._draw.text((x * _FINE, y * _FINE), text, colour, ImageFont.load_default(size * _FINE), anchor)

    def line(self, points: Sequence[tuple[float, float]], style: _Style) -> None:
        """A line through points, dashed along its way."""
        pattern, place, left = style.dashes or (1,), 0, float((style.dashes or (1,))[0])
        for (x, y), (to_x, to_y) in pairwise(points):
            length, done = math.hypot(to_x - x, to_y - y), 0.0
            while done < length:
                part = min(left, length - done) if style.dashes else length
                a, b = done / length, (done + part) / length
                if place % 2 == 0:
                    ends = (x + a * (to_x - x), y + a * (to_y - y), x + b * (to_x - x), y + b * (to_y - y))
                    self._draw.line([v * _FINE for v in ends], style.colour, style.width * _FINE)
                done += part
                left -= part if style.dashes else 0
                if left <= 0:
                    place = (place + 1) % len(pattern)
                    left = float(pattern[place])


class _Axes:
    """A panel: clocks on the x axis, milliseconds on the y axis."""

    def __init__(self, pen: _Pen, top: float, span: tuple[float, float], step: float, first: int, last: int) -> None:
        self._pen, self._top, self._bottom = pen, top, top + _PANEL_HEIGHT
        self._low, self._high = span
        self._step, self._first, self._last = step, first, last

    def _x(self, clock: float) -> float:
        return _LEFT + (clock - self._first) / (self._last - self._first) * (_RIGHT - _LEFT)

    def _y(self, value: float) -> float:
        share = (min(max(value, self._low), self._high) - self._low) / (self._high - self._low)
        return self._bottom - share * (self._bottom - self._top)

    def frame(self, title: str, every: int) -> None:
        """Draws background, grid and axis labels, with a vertical line every `every` clocks."""
        self._pen.box(_LEFT, self._top, _RIGHT, self._bottom, _PANEL)
        self._pen.text(_LEFT, self._top - 16, title, 24, _TEXT)
        for i in range(round((self._high - self._low) / self._step) + 1):
            value = self._low + i * self._step
            self._pen.box(_LEFT, self._y(value), _RIGHT, self._y(value) + 1, _GRID)
            self._pen.text(_LEFT - 14, self._y(value), f"{value:g}", 22, _FAINT, "rm")
        for clock in range(self._first, self._last + 1, every):
            self._pen.box(self._x(clock), self._top, self._x(clock) + 1, self._bottom, _GRID)
            self._pen.text(self._x(clock), self._bottom + 28, str(clock), 22, _FAINT, "ms")

    def mark(self, value: float, name: str) -> None:
        """Draws a reference line."""
        self._pen.box(_LEFT, self._y(value) - 1, _RIGHT, self._y(value) + 1, _FAINT)
        self._pen.text(_RIGHT + 10, self._y(value), name, 22, _FAINT, "lm")

    def curves(self, curves: Sequence[_Curve]) -> None:
        """Draws the curves and their legend."""
        styles = dict(zip(FOLLOWERS, _STYLES, strict=True))
        for curve in curves:
            points = [(self._x(self._first + i), self._y(value)) for i, value in enumerate(curve.values)]
            self._pen.line(points, styles[curve.name])
        for i, name in enumerate(FOLLOWERS):
            if any(curve.name == name for curve in curves):
                y = self._top + 40 + 52 * i
                self._pen.line([(_RIGHT + 24, y), (_RIGHT + 94, y)], styles[name])
                self._pen.text(_RIGHT + 106, y, name, 24, _TEXT, "lm")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
