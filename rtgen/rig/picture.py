"""Draws calls and answers as piano rolls in a PNG, loop by loop, each answer below its call; or parts (Pillow)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rtgen.instrument.notices import Notice
from rtgen.instrument.preset import Preset
from rtgen.music import key
from rtgen.music.files import Track
from rtgen.music.note import Loop, Note
from rtgen.rig.canvas import AXIS, DEEP, EDGE, GONE, HEAD, KEPT, MARGIN, NEW, STRIP, WIDTH, Canvas, Panel, head
from rtgen.rig.offline import pairs_of
from rtgen.rig.told.live import caption

_SAME = 60
"""Ticks (a 32nd note) within which the same pitch counts as the same note."""

# Pixels of the finished picture.
_GAP, _ROLL, _RULER = 40, 340, 40


def match(call: Loop, answer: Loop) -> list[tuple[Note, Note]]:
    """Returns pairs of matching notes (call, answer): equal pitch, onsets at most a 32nd note apart.

    Every note is in one pair at most.
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
    """Writes a PNG of calls and answers atomically.

    Bars and beats are lines, the pitch axis names the Cs (C4 is middle C, MIDI note 60), loud notes are bright. In an
    answer, kept notes are filled, new notes are filled and have a light edge, omitted notes are empty outlines.

    Args:
        pairs: (call, answer), drawn two to a row.
        path: the file to write.
        title: the title at the top.
        tempo: in BPM; written beside the title, as is the estimated key of all calls.
        captions: one for each answer, such as its mode; may be shorter than `pairs`.

    Raises:
        ValueError: `pairs` is empty.
        UserError: the file cannot be written.
    """
    if not pairs:
        raise ValueError("there are no pairs to draw")
    pitches = [n.pitch for pair in pairs for loop in pair for n in loop.notes] or [60]
    spare = max(2, (25 - max(pitches) + min(pitches)) // 2)
    low, high = max(min(pitches) - spare, 0), min(max(pitches) + spare, 127)

    columns = min(len(pairs), 2)
    lines = -(-len(pairs) // columns)
    width = (WIDTH - 2 * MARGIN - AXIS - (columns - 1) * _GAP) // columns
    row = min(max(_ROLL // (high - low + 1), 5), 7)  # in a lower row the edge would cover the note
    height = STRIP + (high - low + 1) * row
    line_height = 2 * height + _RULER + _GAP
    canvas = Canvas(WIDTH, HEAD + lines * line_height - _GAP + MARGIN // 2)
    facts = [f"{tempo:.4g} BPM"] if tempo is not None else []
    played = key.estimate(n for call, _ in pairs for n in call.notes)
    head(canvas, title, "   ".join([*facts, str(played)] if played else facts))
    for number, (call, answer) in enumerate(pairs):
        column = number % columns
        x = MARGIN + AXIS + column * (width + _GAP)
        y = HEAD + number // columns * line_height
        length = max(call.length, answer.length)
        same = match(call, answer)
        kept, known = {b for _, b in same}, {a for a, _ in same}
        panels = [Panel(canvas, x, y + i * (height + 4), width, row, low, high, length, call.bar) for i in (0, 1)]
        for panel in panels:
            panel.grid(names=column == 0)
        panels[0].caption(f"{number + 1}  played", "" if call.notes else "silence")
        panels[1].caption("answer", captions[number] if number < len(captions) else "")
        panels[0].notes(call.notes, KEPT)
        panels[1].notes((n for n in call.notes if n not in known), None, GONE)
        panels[1].notes((n for n in answer.notes if n in kept), KEPT)
        panels[1].notes((n for n in answer.notes if n not in kept), NEW, EDGE)
        panels[1].bar_numbers()
    canvas.save(path)


_BARS = 8
"""Bars in a line of `draw_parts`."""


def draw_parts(
    parts: Mapping[str, Sequence[Note]],
    chords: Sequence[tuple[int, str]],
    length: int,
    bar: int,
    path: Path,
    *,
    title: str,
    tempo: float,
) -> None:
    """Writes a PNG of a melody and its parts atomically, with the chords above, eight bars to a line.

    Args:
        parts: notes of `melody`, and of those of `comping`, `bass` and `second` that are there, with onsets in ticks of
            the song.
        chords: where each begins, in ticks, and its name.
        length: of the song, in ticks.
        bar: ticks per bar.
        path: the file to write.
        title: the title at the top.
        tempo: in BPM; written beside the title.

    Raises:
        UserError: the file cannot be written.
    """
    colours = {"comping": NEW, "bass": DEEP, "second": EDGE, "melody": KEPT}
    shown = {name: parts[name] for name in colours if name in parts}
    pitches = [n.pitch for notes in shown.values() for n in notes] or [60]
    low, high = max(min(pitches) - 2, 0), min(max(pitches) + 2, 127)
    row = min(max(_ROLL // (high - low + 1), 5), 7)
    height = STRIP + (high - low + 1) * row + _RULER + _GAP // 2
    line = _BARS * bar
    lines = max(-(-length // line), 1)
    canvas = Canvas(WIDTH, HEAD + lines * height + MARGIN // 2)
    head(canvas, title, f"{tempo:.4g} BPM", [(name, colours[name], None) for name in shown])
    for number in range(lines):
        start = number * line
        roll = (WIDTH - 2 * MARGIN - AXIS, row, low, high, line, bar)
        panel = Panel(canvas, MARGIN + AXIS, HEAD + number * height, *roll)
        panel.grid(names=True)
        for name, notes in shown.items():
            here = [replace(n, onset=n.onset - start) for n in notes if start - n.duration < n.onset < start + line]
            panel.notes(here, colours[name], EDGE if name == "melody" else None)
        for tick, text in chords:
            if start <= tick < start + line:
                panel.sign(tick - start, text)
        panel.bar_numbers(number * _BARS + 1)
    canvas.save(path)


_MOST = 12
"""Lines of a picture of what was played; what comes later is left out."""


def draw_played(
    preset: Preset,
    played: Sequence[Note],
    added: Sequence[Track],
    notices: Iterable[Notice],
    path: Path,
    *,
    title: str,
    tempo: float,
    chords: Sequence[tuple[int, str]] = (),
) -> None:
    """Draws the beginning of what a preset played to a performance: parts under it, or answers below calls.

    Args:
        preset: the settings.
        played: the performance.
        added: a track for each part.
        notices: of the session; nothing is drawn where they tell of no loop.
        path: the file to write.
        title: as of `draw`.
        tempo: likewise.
        chords: as of `draw_parts`.

    Raises:
        UserError: the file cannot be written.
    """
    if preset.along:
        parts = {"melody": played} | {track.name: track.notes() for track in added}
        bar = preset.metre.bar
        length = max((-(-note.end // bar) * bar for notes in parts.values() for note in notes), default=bar)
        draw_parts(parts, chords, min(length, _MOST * _BARS * bar), bar, path, title=title, tempo=tempo)
    elif pairs := pairs_of(notices)[: 2 * _MOST]:
        captions = [caption(preset.mode, preset.knobs)] * len(pairs)
        draw(pairs, path, title=title, tempo=tempo, captions=captions)
