"""The calls and their answers as a picture: piano rolls, loop by loop, the answer under its call (Pillow only)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from rtgen.errors import UserError
from rtgen.music import key
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN

Colour = tuple[int, int, int]

_SAME = 60
"""Ticks (a 32nd note) within which the same pitch counts as the same note."""

# Pixels of the finished picture.
_WIDTH, _MARGIN, _AXIS, _GAP = 2000, 64, 44, 40
_HEAD, _STRIP, _ROLL, _RULER = 148, 44, 340, 40
_FINE = 2
"""All is drawn this many times larger and scaled down, which smooths the round corners."""

_GROUND: Colour = (17, 20, 28)
_PANEL: Colour = (29, 34, 46)
_BLACK_KEY: Colour = (25, 29, 39)
_BEAT: Colour = (44, 52, 68)
_BAR: Colour = (74, 86, 110)
_FAINT: Colour = (132, 144, 168)
_TEXT: Colour = (230, 235, 245)
_KEPT: Colour = (118, 188, 255)
_NEW: Colour = (255, 170, 76)
_EDGE: Colour = (255, 236, 205)
_GONE: Colour = (92, 106, 136)


def match(call: Loop, answer: Loop) -> list[tuple[Note, Note]]:
    """Pairs of a played note and the note of the answer that is the same: its pitch, within a 32nd note of its onset.

    No note is in two pairs.
    """
    left = list(call.notes)
    pairs = []
    for note in answer.notes:
        near = [n for n in left if n.pitch == note.pitch and abs(n.onset - note.onset) <= _SAME]
        if near:
            nearest = min(near, key=lambda n: abs(n.onset - note.onset))
            left.remove(nearest)
            pairs.append((nearest, note))
    return pairs


def draw(
    pairs: Sequence[tuple[Loop, Loop]],
    path: Path,
    *,
    title: str,
    tempo: float | None = None,
    captions: Sequence[str] = (),
) -> None:
    """Writes a PNG of calls and answers; the file appears whole or not at all.

    Bars and beats are lines, the pitch axis names the Cs (C4 is the middle C, MIDI note 60), loud notes are bright. In
    an answer, what was kept is filled, what is new has a light edge as well, what was left out is an empty outline.

    Args:
        pairs: (call, answer), two to a line.
        path: the file to write.
        title: at the top.
        tempo: BPM, written beside the title, as is the key of all that was played.
        captions: one for each answer, such as its mode; fewer are fine.

    Raises:
        ValueError: there are no pairs.
        UserError: the file cannot be written.
    """
    if not pairs:
        raise ValueError("there are no pairs to draw")
    pitches = [n.pitch for pair in pairs for loop in pair for n in loop.notes] or [60]
    spare = max(2, (25 - max(pitches) + min(pitches)) // 2)
    low, high = max(min(pitches) - spare, 0), min(max(pitches) + spare, 127)

    columns = min(len(pairs), 2)
    lines = -(-len(pairs) // columns)
    width = (_WIDTH - 2 * _MARGIN - _AXIS - (columns - 1) * _GAP) // columns
    row = min(max(_ROLL // (high - low + 1), 5), 7)  # flatter, and an edge would swallow its note
    height = _STRIP + (high - low + 1) * row
    line_height = 2 * height + _RULER + _GAP
    canvas = _Canvas(_WIDTH, _HEAD + lines * line_height - _GAP + _MARGIN // 2)
    facts = [f"{tempo:.4g} BPM"] if tempo is not None else []
    played = key.estimate(n for call, _ in pairs for n in call.notes)
    _head(canvas, title, "   ".join([*facts, str(played)] if played else facts))
    for number, (call, answer) in enumerate(pairs):
        column = number % columns
        x = _MARGIN + _AXIS + column * (width + _GAP)
        y = _HEAD + number // columns * line_height
        length = max(call.length, answer.length)
        same = match(call, answer)
        kept, known = {b for _, b in same}, {a for a, _ in same}
        panels = [_Panel(canvas, x, y + i * (height + 4), width, row, low, high, length, call.bar) for i in (0, 1)]
        for panel in panels:
            panel.grid(names=column == 0)
        panels[0].caption(f"{number + 1}  played", "" if call.notes else "silence")
        panels[1].caption("answer", captions[number] if number < len(captions) else "")
        panels[0].notes(call.notes, _KEPT)
        panels[1].notes((n for n in call.notes if n not in known), None, _GONE)
        panels[1].notes((n for n in answer.notes if n in kept), _KEPT)
        panels[1].notes((n for n in answer.notes if n not in kept), _NEW, _EDGE)
        panels[1].bar_numbers()
    canvas.save(path)


class _Canvas:
    """A drawing in pixels of the finished picture."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGBA", (width * _FINE, height * _FINE))
        self._pen = ImageDraw.Draw(self._image)
        # Round corners with nothing behind them sit well on a light page and on a dark one.
        self.box(0, 0, width, height, _GROUND, radius=28)

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
        """A rectangle, its corners rounded by at most `radius`, with an edge of two pixels if it has a colour."""
        # Pillow counts the last pixel in.
        ends = (x * _FINE, y * _FINE, max(right * _FINE - 1, x * _FINE), max(bottom * _FINE - 1, y * _FINE))
        most = min(ends[2] - ends[0], ends[3] - ends[1]) / 2
        self._pen.rounded_rectangle(ends, min(radius * _FINE, most), fill, edge, 2 * _FINE if edge else 0)

    def text(self, x: float, baseline: float, text: str, size: int, colour: Colour, anchor: str = "ls") -> float:
        """Writes `text`, and returns its width; `anchor` as in Pillow."""
        font = ImageFont.load_default(size * _FINE)
        self._pen.text((x * _FINE, baseline * _FINE), text, colour, font, anchor)
        return self._pen.textlength(text, font) / _FINE

    def save(self, path: Path) -> None:
        partial = path.with_name(path.name + ".part")
        try:
            self._image.reduce(_FINE).save(partial, format="PNG", optimize=True)
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise UserError(f"{path} cannot be written ({error.strerror or error}); choose another folder") from error


class _Panel:
    """One roll: a loop of `length` ticks between two pitches."""

    def __init__(
        self, canvas: _Canvas, x: float, y: float, width: float, row: int, low: int, high: int, length: int, bar: int
    ) -> None:
        self._canvas, self._x, self._y, self._width, self._row_height = canvas, x, y, width, row
        self._low, self._high, self._length, self._bar = low, high, length, bar
        self._top = y + _STRIP
        self._bottom = self._top + (high - low + 1) * self._row_height

    def _column(self, tick: float) -> float:
        return self._x + min(max(tick / self._length, 0), 1) * self._width

    def _row(self, pitch: int) -> float:
        return self._top + (self._high - pitch) * self._row_height

    def grid(self, *, names: bool) -> None:
        """The ground: rows of the black keys, lines for beats and bars, the Cs by name if `names`."""
        draw = self._canvas
        draw.box(self._x, self._y, self._x + self._width, self._bottom, _PANEL, radius=8)
        for pitch in range(self._low, self._high + 1):
            y = self._row(pitch)
            if pitch % 12 in (1, 3, 6, 8, 10):
                draw.box(self._x, y, self._x + self._width, y + self._row_height, _BLACK_KEY)
            elif pitch % 12 == 0:
                draw.box(self._x, y + self._row_height - 1, self._x + self._width, y + self._row_height, _BEAT)
                if names:
                    draw.text(self._x - 12, y + self._row_height / 2 + 1, f"C{pitch // 12 - 1}", 20, _FAINT, "rm")
        for tick in range(PPQN, self._length, PPQN):
            draw.box(self._column(tick), self._top, self._column(tick) + 1, self._bottom, _BEAT)
        for tick in range(self._bar, self._length, self._bar):
            draw.box(self._column(tick) - 1, self._y + 10, self._column(tick) + 1, self._bottom, _BAR)

    def caption(self, left: str, right: str) -> None:
        """Who plays, and a word on it."""
        self._canvas.text(self._x + 14, self._y + 30, left, 24, _TEXT)
        self._canvas.text(self._x + self._width - 14, self._y + 30, right, 24, _FAINT, "rs")

    def bar_numbers(self) -> None:
        """The numbers of the bars, below."""
        for number, tick in enumerate(range(0, self._length, self._bar), 1):
            self._canvas.text(self._column(tick), self._bottom + 28, str(number), 20, _FAINT)

    def notes(self, notes: Iterable[Note], fill: Colour | None, edge: Colour | None = None) -> None:
        """The notes as bars: filled and the brighter the louder, with an edge if it has a colour."""
        for note in notes:
            x, right = self._column(note.onset), self._column(note.end) - 2
            y = self._row(note.pitch)
            colour = _shade(fill, note.velocity) if fill else None

            self._canvas.box(x, y - 0.5, max(right, x + 6), y + self._row_height + 0.5, colour, radius=3, edge=edge)


def _shade(colour: Colour, velocity: int) -> Colour:
    """`colour` as bright as `velocity` is loud; the softest still stands out from the ground."""
    part = 0.3 + 0.7 * min(max((velocity - 20) / 85, 0), 1)
    red, green, blue = (round(p + (c - p) * part) for p, c in zip(_PANEL, colour, strict=True))
    return red, green, blue


def _head(canvas: _Canvas, title: str, facts: str) -> None:
    x = _MARGIN + _AXIS
    width = canvas.text(x, 88, title, 46, _TEXT)
    canvas.text(x + width + 32, 88, facts, 28, _FAINT)
    # The legend, from the right.
    right: float = _WIDTH - _MARGIN
    signs: tuple[tuple[str, Colour | None, Colour | None], ...] = (
        ("left out", None, _GONE),
        ("new", _NEW, _EDGE),
        ("kept", _KEPT, None),
    )
    for name, fill, edge in signs:
        right -= canvas.text(right, 86, name, 24, _FAINT, "rs") + 12
        canvas.box(right - 44, 70, right, 84, fill, radius=3, edge=edge)
        right -= 76
    right -= canvas.text(right, 86, "loud", 24, _FAINT, "rs") + 12
    for velocity in (105, 84, 63, 42, 21):
        canvas.box(right - 18, 70, right, 84, _shade(_KEPT, velocity), radius=3)
        right -= 20
    canvas.text(right - 10, 86, "soft", 24, _FAINT, "rs")
