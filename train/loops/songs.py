"""Songs with a melody and chords, by half beats: POP909, or any folder in its form.

Beside each `.mid` with a track called MELODY lie `beat_midi.txt` (see `train.prepare.sources.midi`) and
`chord_midi.txt`, whose lines have begin and end in seconds and a chord in the notation of Harte et al. (Symbolic
Representation of Musical Chords, 2005).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtgen.errors import UserError
from rtgen.inference.ear import heard, table
from rtgen.music.chord import KINDS
from rtgen.music.time import HALF
from train.prepare.prepare import given_split
from train.prepare.sources.find import Source, find
from train.prepare.sources.midi import BEATS, parse_beats, read

Ints = NDArray[np.int64]
CHORDS = "chord_midi.txt"
MELODY = "MELODY"
BAR = 8
"""Half beats in a bar of 4/4, the only metre of POP909's beats."""
NONE = 12 * len(KINDS)
"""The number of no chord; others are twelve times kinds, see `rtgen.inference.ear.table`."""
_AGREES = 0.55
"""Least share of a melody that is in its chords, if both are of one song; on average it is .7."""
_NUMBERS = {kind.name: i for i, kind in enumerate(KINDS)}
_FOLDED = {
    "maj": "",
    "maj6": "",
    "min": "m",
    "min6": "m",
    "minmaj7": "m",
    "sus4(b7)": "7sus4",
    "min7": "m7",
    "hdim7": "m7b5",
    "dim7": "dim",
}
"""Qualities that are written in another way, or told as another one."""
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SHIFTS = {"#": 1, "b": -1}


@dataclass(frozen=True, slots=True, eq=False)
class Song:
    """A song by half beats.

    Args:
        name: of the file within its set.
        set_name: of the set.
        notes: onsets, pitches and ends of the melody, in ticks, shape (3, notes).
        heard: of the melody, shape (half beats, 12, `HEARD`).
        chord: number of each half beat's chord, shape (half beats).
        position: of each half beat in its bar, likewise.
    """

    name: str
    set_name: str
    notes: Ints
    heard: NDArray[np.float32]
    chord: Ints
    position: Ints

    def __len__(self) -> int:
        """Number of half beats."""
        return len(self.chord)

    @property
    def agrees(self) -> bool:
        """Whether chords and melody are of one song: in some fifty of POP909 they are shifted in time or key."""
        sounds = self.heard[..., 0]
        inside = (sounds * table(KINDS)[self.chord, :, 0]).sum()
        return bool(inside >= _AGREES * sounds.sum())


def number(label: str) -> int:
    """Return the number of a chord as it is written, such as "A:min7/b7"; `NONE` for what is none.

    Raises:
        ValueError: it is not a chord.
    """
    root, colon, kind = label.partition(":")
    if not colon:
        if label in ("N", "X"):
            return NONE
        raise ValueError(f"{label!r} is not a chord")
    if root[:1] not in _LETTERS:
        raise ValueError(f"{label!r} has no root")
    tonic = _LETTERS[root[0]] + sum(_SHIFTS.get(sign, 0) for sign in root[1:])
    quality, slash, bass = kind.partition("/")
    name = _FOLDED.get(quality, quality)
    if name not in _NUMBERS:
        raise ValueError(f"{label!r} is of no kind that is known")
    return tonic % 12 * len(KINDS) + _NUMBERS.get(name + slash + bass, _NUMBERS[name])


def chords_at(text: str, seconds: NDArray[np.float64]) -> Ints:
    """Return the number of the chord at some times, from the text of a `chord_midi.txt`.

    Raises:
        ValueError: it is not valid.
    """
    rows = [line.split() for line in text.splitlines() if line.strip()]
    begins, ends = (np.array([float(row[i]) for row in rows]) for i in (0, 1))
    found = np.array([number(row[2]) for row in rows])
    at = np.searchsorted(begins, seconds, side="right") - 1
    return np.where((at >= 0) & (seconds < ends[at]), found[at], NONE)


def positions(downbeats: NDArray[np.bool_]) -> Ints:
    """Return the position of each half beat in its bar of four beats, from the beats that are downbeats.

    Bars that a downbeat cuts short are short; one that lasts longer is counted on in fours.
    """
    beats = np.arange(len(downbeats))
    marks = np.flatnonzero(downbeats)
    if not len(marks):
        marks = np.zeros(1, np.int64)
    last = marks[np.maximum(np.searchsorted(marks, beats, side="right") - 1, 0)]
    of_beat = (beats - last) % (BAR // 2)
    return np.stack([2 * of_beat, 2 * of_beat + 1], axis=1).ravel()


def split_of(source: Source) -> str:
    """The split of a song: the one that its set gives, else by hash of its name, a twentieth each valid and test."""
    given = given_split(source.set_name, source.song)
    if given is not None:
        return given
    share = int(blake2b(source.song.encode(), digest_size=4).hexdigest(), 16) / 2**32
    return "test" if share < 0.05 else "valid" if share < 0.1 else "train"


def song(source: Source) -> Song | None:
    """Read a song; None if it has no melody or no chords, or is not in 4/4.

    Raises:
        UserError: a file of it cannot be read.
    """
    chords, beats = source.beside(CHORDS).bytes(), source.beside(BEATS).bytes()
    if chords is None or beats is None:
        return None
    times, downbeats = parse_beats(beats.decode("utf-8", "replace"), source.name)
    bars = np.diff(np.flatnonzero(downbeats))
    if 2 * np.count_nonzero(bars == BAR // 2) <= len(bars):
        return None
    (piece,) = read(source).pieces
    tunes = [notes for name, notes in piece.tracks if name.upper() == MELODY]
    if not tunes:
        return None
    halves = np.stack([times[:-1], (times[:-1] + times[1:]) / 2], axis=1).ravel()
    middle = halves + np.repeat(np.diff(times), 2) / 4
    try:
        chord = chords_at(chords.decode("utf-8", "replace"), middle)
    except (ValueError, IndexError) as error:
        raise UserError(f"the {CHORDS} beside {source.name} is not readable ({error}); repair or remove it") from None
    onset, pitch, duration, _ = tunes[0]
    notes = np.stack([onset, pitch, onset + duration])
    notes = notes[:, (onset >= 0) & (onset < len(middle) * HALF)]
    sounds = heard(notes[0], notes[1], notes[2], 0, len(middle))
    return Song(source.song, source.set_name, notes, sounds, chord, positions(downbeats[:-1]))


@lru_cache(maxsize=4)
def _load(names: tuple[str, ...], split: str) -> tuple[Song, ...]:
    some = [s for s in find(names) if s.suffix == ".mid" and (split == "all" or split_of(s) == split)]
    return tuple(found for source in some if (found := song(source)) is not None)


def load(names: Sequence[Path | str], split: str) -> tuple[Song, ...]:
    """Read the songs of a split, sorted by set and name.

    Args:
        names: folders or archives.
        split: train, valid, test or all.

    Raises:
        UserError: there are none.
    """
    found = _load(tuple(map(str, names)), split)
    if not found:
        raise UserError(
            f"{' and '.join(map(str, names))} has no songs for '{split}' with a track {MELODY}, {BEATS} and {CHORDS}; "
            "give pop909.zip, or a folder in its form"
        )
    return found
