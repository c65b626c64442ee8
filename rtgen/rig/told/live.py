"""The terminal display: two small piano rolls in braille dots, the call and the answer (rich).

A `Snapshot` is a rich renderable: `rich.live.Live.update(snapshot)` shows it. A braille character is two dots wide and
four high, so that three rows of characters are an octave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from rtgen.instrument.notices import Called
from rtgen.music.note import Loop
from rtgen.music.time import PPQN
from rtgen.rig.told.whose import whose

if TYPE_CHECKING:
    from rtgen.rig.daemon import News, View

_ROWS = 12
_LOW, _SEMITONES = 33, 48
"""Default pitch range, used if all notes are within it: four octaves from A1, one dot per semitone."""
_LEVELS = 4

_DIM, _PLAIN, _STRONG = Style(color="#7f8aa3"), Style(color="#c9d1e0"), Style(color="#eef2fa", bold=True)
_LINE = Style(color="#3a4356")
_WARN = Style(color="#ffaa4c")
_PLAYED = tuple(Style(color=c) for c in ("#4a6f94", "#5f93c6", "#76b4f0", "#a8d4ff"))
_ANSWER = tuple(Style(color=c) for c in ("#94683a", "#c68744", "#f0a04c", "#ffc88a"))
_HEAD = Style(bgcolor="#3a4356")
_SIGNS = {"rolling": "▶", "armed": "◌", "stopped": "■"}
_BANNERS = {
    **dict.fromkeys(("YOUR TURN", "LISTENING"), Style(color="#f3f5fa", bgcolor="#14497d", bold=True)),
    **dict.fromkeys(("ANSWERING", "WITH YOU"), Style(color="#f3f5fa", bgcolor="#7d4204", bold=True)),
    "FROZEN": Style(color="#f3f5fa", bgcolor="#4c3a86", bold=True),
}
"""As the banner of the page."""
_BANNER = 12
"""Columns for whose turn it is: ten letters, and a space on either side."""
_HEIGHT = _ROWS + 3
"""Lines of the display."""
_ROOM = 5
"""Least lines for messages above it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the terminal shows at one moment.

    Args:
        transport: `stopped`, `armed` or `rolling`.
        tempo: in BPM; None if not known yet.
        position: ticks since the start of the song.
        playhead: ticks since the start of the loop.
        played: the call so far, or the last one; its length is the loop's.
        answer: the answer; None if there is none yet.
        listening: whether to show the playhead in the call's roll.
        answering: whether to show the playhead in the answer's roll.
        turn: whose turn it is, and what to do about it; empty if that is not to be shown.
        words: the state, such as `vary 0.40`, `frozen`.
        notice: a message for the player; may be empty.
    """

    transport: str
    tempo: float | None
    position: int
    playhead: int
    played: Loop
    answer: Loop | None = None
    listening: bool = True
    answering: bool = True
    turn: tuple[str, str] = ("", "")
    words: tuple[str, ...] = ()
    notice: str = ""

    @property
    def bar_beat(self) -> tuple[int, int]:
        """The current bar and beat (quarter note) of the song, both counted from 1."""
        bar, ticks = divmod(self.position, self.played.bar)
        return bar + 1, ticks // PPQN + 1

    def plain(self) -> str:
        """Returns one line of plain text, for a simple terminal or a log."""
        tempo = f"{self.tempo:.1f} BPM" if self.tempo is not None else "no tempo"
        answer = f"answer {len(self.answer)} notes" if self.answer is not None else "no answer yet"
        bar, beat = self.bar_beat
        facts = (
            self.transport,
            tempo,
            f"bar {bar} beat {beat}",
            *([": ".join(self.turn).lower()] if self.turn[0] else []),
            *self.words,
            f"played {len(self.played)} notes",
            answer,
        )
        return ", ".join(facts) + (f"; {self.notice}" if self.notice else "")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.ascii_only or console.is_dumb_terminal or not console.is_terminal or options.max_width < 40:
            yield Text(self.plain())
            return
        if console.height < _HEIGHT + _ROOM:
            # Rolls would leave no room for messages.
            yield Text(f"{_SIGNS[self.transport]} {self.plain()}", no_wrap=True, overflow="ellipsis")
            return
        for line in _lines(self, options.max_width):
            yield from line
            yield Segment.line()


def _lines(now: Snapshot, width: int) -> Iterator[list[Segment]]:
    """Yields the lines of the display; always equally many, so that nothing jumps."""
    columns = (width - 8) // 2
    low, semitones = _window(now)
    yield [Segment(_fit(text, room), style) for text, room, style in _status(now, width)]
    heading = "answer  " if now.answer is not None else "answer: none yet  "
    yield [
        Segment("    "),
        Segment(_fit("played", columns), _PLAYED[2]),
        Segment("    "),
        Segment(_fit(heading, min(len(heading), columns)), _ANSWER[2]),
        Segment(_fit(" · ".join(now.words), columns - len(heading)), _DIM),
    ]
    names = {_dot(c, low, semitones) // 4: f"C{c // 12 - 1}" for c in range(-(-low // 12) * 12, low + semitones, 12)}
    played = _roll(now.played, low, semitones, columns)
    answer = _roll(now.answer or now.played.with_notes(()), low, semitones, columns)
    playhead = min(now.playhead * columns // now.played.length, columns - 1)
    for row, (left, right) in enumerate(zip(played, answer, strict=True)):
        yield [
            Segment(f"{names.get(row, ''):>3} ", _DIM),
            *_row(left, _PLAYED, playhead if now.listening else None),
            Segment("    "),
            *_row(right, _ANSWER, playhead if now.answering else None),
        ]
    yield [Segment(_fit(f" {now.notice}", width - 1), _WARN)]


def _status(now: Snapshot, width: int) -> list[tuple[str, int, Style]]:
    bar, beat = now.bar_beat
    rolling = now.transport == "rolling"
    beats = "".join("●" if rolling and b == beat else "○" for b in range(1, -(-now.played.bar // PPQN) + 1))
    tempo = f"{now.tempo:5.1f} BPM" if now.tempo is not None else "no tempo"
    word, hint = now.turn
    parts = [
        (f" {_SIGNS.get(now.transport, ' ')}", 4, _PLAIN),
        (tempo, 11, _PLAIN),
        (f"{bar:>4}.{beat} ", 8, _STRONG),
        (beats, len(beats) + 2, _PLAYED[3] if rolling else _DIM),
        (f" {word} " if word else "", _BANNER, _BANNERS.get(word, _STRONG)),
    ]
    return [*parts, (f"  {hint}", width - 1 - sum(room for _, room, _ in parts), _PLAIN)]


def _fit(text: str, room: int) -> str:
    room = max(room, 0)
    return text.ljust(room) if len(text) <= room else text[: max(room - 1, 0)] + "…"[:room]


def _window(now: Snapshot) -> tuple[int, int]:
    """Returns the lowest pitch and the number of semitones for both rolls; they change as rarely as possible."""
    loops = (now.played, now.answer) if now.answer is not None else (now.played,)
    pitches = [n.pitch for loop in loops for n in loop.notes] or [_LOW]
    lowest, above = min(pitches), max(pitches) + 1
    return min(lowest, max(_LOW, above - _SEMITONES)), max(above - lowest, _SEMITONES)


def _dot(pitch: int, low: int, semitones: int) -> int:
    """Returns the row of dots of a pitch, counted from the top."""
    return _ROWS * 4 - 1 - (pitch - low) * _ROWS * 4 // semitones


Cell = tuple[str, int]
"""A character and its loudness level: 0 to `_LEVELS` - 1, or -1 for a grid line."""


@lru_cache(maxsize=8)
def _roll(loop: Loop, low: int, semitones: int, columns: int) -> list[list[Cell]]:
    """Returns the cells of a roll, top row first; cached, as most frames differ only in the playhead."""
    dots = [[0] * columns for _ in range(_ROWS)]
    loudest = [[0] * columns for _ in range(_ROWS)]
    across = columns * 2
    for note in loop.notes:
        y = _dot(note.pitch, low, semitones)
        first = min(max(note.onset * across // loop.length, 0), across - 1)
        # One dot shorter, so that a repeated note shows as two.
        last = min(max((note.end - 1) * across // loop.length - 1, first), across - 1)
        for x in range(first, last + 1):
            dots[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
            loudest[y // 4][x // 2] = max(loudest[y // 4][x // 2], note.velocity)
    raster = [" "] * columns
    for tick in range(0, loop.length, PPQN):
        raster[tick * columns // loop.length] = "┊"
    for tick in range(0, loop.length, loop.bar):
        raster[tick * columns // loop.length] = "│"
    cells = []
    for bits, velocities in zip(dots, loudest, strict=True):
        levels = [min(v * _LEVELS // 112, _LEVELS - 1) for v in velocities]
        shown = zip(bits, levels, raster, strict=True)
        cells.append([(chr(0x2800 + bit), level) if bit else (line, -1) for bit, level, line in shown])
    return cells


_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character (Unicode block Braille Patterns), by row and column."""


def _row(cells: list[Cell], styles: tuple[Style, ...], playhead: int | None) -> Iterator[Segment]:
    parts = (cells,) if playhead is None else (cells[:playhead], cells[playhead : playhead + 1], cells[playhead + 1 :])
    for number, part in enumerate(parts):
        for level, run in groupby(part, key=lambda cell: cell[1]):
            style = _LINE if level < 0 else styles[level]
            yield Segment("".join(character for character, _ in run), style + _HEAD if number == 1 else style)


class Watch:
    """Makes snapshots of a session, and keeps what it does not: the last call."""

    def __init__(self) -> None:
        self._call: Loop | None = None

    def heard(self, item: News) -> None:
        """Takes note of what happens."""
        if isinstance(item, Called) and item.asked:
            self._call = item.loop

    def seen(self, view: View, notice: str) -> Snapshot:
        """Returns what to show of a session, with a message for the player."""
        preset, tick = view.preset, max(view.tick or 0, 0)
        # The loop being captured; until it has notes, the last call stays in view.
        now = Loop(preset.length, view.played, preset.metre.bar)
        if not view.played and self._call is not None and self._call.length == preset.length:
            now = self._call
        rolling = view.tick is not None
        return Snapshot(
            "rolling" if rolling else "armed" if view.unstarted else "stopped",
            None if view.clock == "player" and not rolling else view.tempo,
            tick,
            tick % preset.length,
            now,
            view.answer,
            listening=rolling and view.turn != "answer",
            answering=rolling and (view.use != "answer" or view.turn == "answer"),
            turn=whose(
                rolling=rolling,
                unstarted=view.unstarted,
                clock=view.clock,
                use=view.use,
                turn=view.turn,
                played=bool(view.played),
                muted=view.muted,
                bars=preset.bars,
                overdubs=view.overdubs,
            ),
            words=(
                *((preset.name,) if preset.name != preset.mode else ()),
                caption(preset.mode, view.knobs),
                *((f"{view.layers} {'layer' if view.layers == 1 else 'layers'}",) if view.layers else ()),
            ),
            notice=notice,
        )


def caption(mode: str, knobs: Mapping[str, float]) -> str:
    """Returns a mode, with the value of its main knob."""
    knob = {"vary": "distance", "blend": "blend"}.get(mode)
    return f"{mode} {knobs[knob]:.2f}" if knob is not None and knob in knobs else mode


@contextmanager
def at_once(console: Console) -> Iterator[None]:
    """Has the terminal show what is written within the context at once, so that it does not flicker.

    That is mode 2026, synchronised output; terminals that do not know it ignore it.
    """
    knows = console.is_terminal and not console.is_dumb_terminal and not console.legacy_windows
    if knows:
        console.file.write("\x1b[?2026h")
    try:
        yield
    finally:
        if knows:
            console.file.write("\x1b[?2026l")
            console.file.flush()
