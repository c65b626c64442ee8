"""Small songs of our own, written by a rule from a seed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from rtgen.music.files import Score, Track, note_events, write
from rtgen.music.note import Loop, Note
from rtgen.music.time import Metre

SCALE = (0, 2, 4, 5, 7, 9, 11)


def song(seed: int, bars: int = 8, tonic: int = 60) -> tuple[Note, ...]:
    """Two chords a bar, and a melody of eighths over them that often leaves one out."""
    rng = np.random.default_rng(seed)
    notes: list[Note] = []
    for half in range(bars * 2):
        start, root = half * 960, int(rng.integers(7))
        notes += [Note(start, tonic - 12 + SCALE[(root + i) % 7], 900, 70) for i in (0, 2, 4)]
        for eighth in range(4):
            if rng.random() < 0.7:
                pitch = tonic + SCALE[int(rng.integers(7))] + 12
                notes.append(Note(start + eighth * 240, pitch, 200, int(rng.integers(60, 110))))
    return Loop(bars * 1920, tuple(notes)).monophonic_by_pitch().notes


def save(
    path: Path, notes: tuple[Note, ...], *, channel: int = 0, metre: Metre | None = None, tempo: float = 120.0
) -> Path:
    """Writes `notes` as a `.mid` with one track."""
    path.parent.mkdir(parents=True, exist_ok=True)
    track = Track("Keys", tuple(note_events(notes, channel=channel)))
    write(path, Score((track,), ((0, tempo),), ((0, metre or Metre()),)))
    return path


def folder(path: Path, count: int = 40) -> Path:
    """A folder of songs."""
    for seed in range(count):
        save(path / f"{seed:02d}.mid", song(seed))
    return path


def zipped(path: Path, target: Path) -> Path:
    """A folder as an archive."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(path.rglob("*.mid")):
            archive.write(file, file.relative_to(path).as_posix())
    return target
