"""Cuts pieces into loops, vectorised over the notes of dozens of files.

A loop has the notes that begin within its bars, cut off at its end. Loops lie side by side in each stretch of music
(`Piece.stretches`); a remainder shorter than a loop is left out, or kept with `filled` less than its length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from train.prepare.sources.piece import EARLY, Piece, sorted_rows

Ints = NDArray[np.int64]
Classes = NDArray[np.uint64]

STEP = 40
"""Resolution in ticks at which loops are compared."""
_DAY = 2**15
"""Offset that keeps step numbers positive; no note begins so many steps before a downbeat."""
_FEW, _MANY = 1000, 2**15
_PART = 2**42
"""Distance in ticks at which voices are laid end to end; longer than any piece."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """How music is cut into loops.

    Args:
        bars: per loop.
        keep_last: whether a partly filled last loop of a stretch is kept.
        metres: "all", or the only metre to keep, such as "4/4".
        drums: whether files that contain only drums are read.
    """

    bars: int = 2
    keep_last: bool = False
    metres: str = "all"
    drums: bool = False

    @property
    def notes(self) -> tuple[int, int]:
        """Fewest and most notes of a loop that is worth learning."""
        return 2 * self.bars, 80 * self.bars


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Loops, sorted by voice and start.

    Args:
        voice: index of the voice of each loop, shape (loops).
        start: tick in the song, likewise.
        length: ticks, likewise.
        bar: ticks per bar, likewise.
        filled: ticks that contain music, likewise.
        offsets: columns `offsets[i]` to `offsets[i + 1]` of `notes` belong to loop i.
        notes: rows of onsets, pitches, durations, velocities, shape (4, notes); sorted by loop, onset and pitch.
    """

    voice: Ints
    start: Ints
    length: Ints
    bar: Ints
    filled: Ints
    offsets: Ints
    notes: Ints

    def take(self, which: NDArray[np.bool_]) -> Cut:
        """A subset of the loops."""
        counts = np.diff(self.offsets)
        return Cut(
            self.voice[which],
            self.start[which],
            self.length[which],
            self.bar[which],
            self.filled[which],
            np.concatenate([[0], np.cumsum(counts[which])]),
            self.notes[:, np.repeat(which, counts)],
        )


def windows(piece: Piece, cutting: Cutting) -> list[tuple[int, int]]:
    """Loops of a piece as (start, filled) in ticks."""
    length, found = cutting.bars * piece.bar, []
    for start, total in piece.stretches:
        whole, rest = divmod(total, length)
        found += [(start + i * length, length) for i in range(whole)]
        if rest and cutting.keep_last:
            found.append((start + whole * length, rest))
    return found


def cut(voices: Sequence[tuple[Piece, Ints]], cutting: Cutting) -> Cut:
    """Cuts voices into loops and drops those with too few or too many notes.

    Args:
        voices: each voice's piece and notes (onset, pitch, duration, velocity).
        cutting: how to cut.
    """
    places = [(i, *w, piece.bar) for i, (piece, _) in enumerate(voices) for w in windows(piece, cutting)]
    voice, start, filled, bar = np.array(places, np.int64).reshape(-1, 4).T
    if not places:
        none = np.empty(0, np.int64)
        return Cut(none, none, none, none, none, np.zeros(1, np.int64), np.empty((4, 0), np.int64))
    onset, pitch, duration, velocity = np.concatenate([n for _, n in voices], axis=1)
    # Last window that starts at or before each note, over all voices at once.
    of_voice = np.repeat(np.arange(len(voices)), [n.shape[1] for _, n in voices])
    lane = _PART // 2
    window = np.searchsorted(voice * _PART + lane + start, of_voice * _PART + lane + onset + EARLY, "right") - 1
    onset = onset - start[window]
    inside = (window >= 0) & (voice[window] == of_voice) & (onset < filled[window] - EARLY)
    window, onset = window[inside], onset[inside]
    duration = np.minimum(duration[inside], filled[window] - onset)
    window, notes = monophonic(window, onset, pitch[inside], duration, velocity[inside])
    offsets = np.concatenate([[0], np.cumsum(np.bincount(window, minlength=len(voice)))])
    loops = Cut(voice, start, cutting.bars * bar, bar, filled, offsets, notes)
    return loops.take(_worth_learning(loops, *cutting.notes))


def monophonic(loop: Ints, onset: Ints, pitch: Ints, duration: Ints, velocity: Ints) -> tuple[Ints, Ints]:
    """Ends every note at the next onset of its pitch; of notes on one tick, keeps the loudest and longest.

    The vectorised form of `Loop.monophonic_by_pitch`.

    Returns:
        The loop of each note, and the notes as in `Cut`.
    """
    longest = int(duration.max(initial=0))
    loop, pitch, onset, quiet, short = sorted_rows(loop, pitch, onset + EARLY, 127 - velocity, longest - duration)
    same = (loop[1:] == loop[:-1]) & (pitch[1:] == pitch[:-1])
    first = np.append(True, ~same | (onset[1:] != onset[:-1]))[: len(loop)]
    loop, pitch, onset, quiet, short = (x[first] for x in (loop, pitch, onset, quiet, short))
    duration = longest - short
    same = (loop[1:] == loop[:-1]) & (pitch[1:] == pitch[:-1])
    np.minimum(duration[:-1], onset[1:] - onset[:-1], out=duration[:-1], where=same)
    loop, onset, pitch, duration, quiet = sorted_rows(loop, onset, pitch, duration, quiet)
    return loop, np.stack([onset - EARLY, pitch, duration, 127 - quiet])


def _worth_learning(loops: Cut, fewest: int, most: int) -> NDArray[np.bool_]:
    """Which loops have enough notes, not too many, and not all in one step."""
    counts = np.diff(loops.offsets)
    found = (counts >= fewest) & (counts <= most)
    steps = np.rint(loops.notes[0] / STEP)
    first, last = loops.offsets[:-1][found], loops.offsets[1:][found] - 1
    found[found] = steps[first] != steps[last]
    return found


def _cells(notes: Ints, loop: Ints, lowest: Ints) -> list[Ints]:
    """Distinct rows that define a class: loop, step (plus `_DAY`), pitch above the lowest, duration in steps."""
    step, duration = (np.rint(notes[c] * (1 / STEP)).astype(np.int64) for c in (0, 2))
    rows = sorted_rows(loop, step + _DAY, notes[1] - lowest[loop], duration)
    other = [row[1:] != row[:-1] for row in rows]
    fresh = np.append(True, other[0] | other[1] | other[2] | other[3])[: len(loop)]
    return [row[fresh] for row in rows]


def loop_classes(loops: Cut) -> Classes:
    """Hashes each loop by its notes, independently of key and velocity, at a resolution of `STEP`.

    The hash is the sum of the loop's cells, each scrambled as in SplitMix64 (Steele, Lea and Flood, 2014), and of its
    length.
    """
    loop = np.repeat(np.arange(len(loops.start)), np.diff(loops.offsets))
    lowest = np.minimum.reduceat(loops.notes[1], loops.offsets[:-1]) if len(loop) else loop
    loop, step, pitch, duration = _cells(loops.notes, loop, lowest)
    cells = _scrambled((step << 30 | pitch << 22 | duration).astype(np.uint64))
    first = np.searchsorted(loop, np.arange(len(loops.start)))
    total = np.add.reduceat(cells, first) if len(loop) else np.empty(0, np.uint64)
    return _scrambled(total + loops.length.astype(np.uint64))


def _scrambled(x: Classes) -> Classes:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def song_class(tracks: Iterable[Ints]) -> int:
    """Hashes a whole song likewise. The hash decides the song's split, so its computation must not change."""
    notes = np.concatenate([np.empty((4, 0), np.int64), *tracks], axis=1)
    if not notes.size:
        return 0
    _, step, pitch, duration = _cells(notes, np.zeros(notes.shape[1], np.int64), notes[1].min(keepdims=True))
    text = _text(np.stack([step - _DAY, pitch, duration], axis=1))
    return int(blake2b(text, digest_size=8).hexdigest(), 16)


@lru_cache(maxsize=1)
def _numerals() -> NDArray[np.uint8]:
    """ASCII digits of -`_FEW` to `_MANY` - 1, shape (numbers, 6), padded with zero bytes, with room for a separator."""
    return np.array([b"%d" % i for i in range(-_FEW, _MANY)], "S6").view(np.uint8).reshape(-1, 6)


def _text(rows: Ints) -> bytes:
    """Formats rows of three numbers as "1,2,3;4,5,6" by table lookup, ten times as fast as string formatting."""
    if rows.min() < -_FEW or rows.max() >= _MANY:
        return ";".join("{},{},{}".format(*row) for row in rows.tolist()).encode()
    found = _numerals()[rows + _FEW]
    found[:, :, 5] = list(b",,;")
    text: bytes = found[found != 0].tobytes()[:-1]
    return text
