"""Songs with a melody and chords in the form of POP909, written by a rule from a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rtgen.music.files import Score, Track, note_events, write
from rtgen.music.note import Note

DEGREES = ((0, "maj"), (5, "maj"), (7, "maj"), (9, "min"))
NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
BEAT_S = 0.5
LEAD_S = 0.25
"""Seconds before the first beat."""


def save(folder: Path, seed: int, bars: int = 12) -> Path:
    """A song of one chord a bar, whose melody is its notes, a beat each; three bars of silence at the beginning."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    tonic = int(rng.integers(12))
    notes, chords = [], []
    for bar in range(bars):
        step, kind = DEGREES[int(rng.integers(4))]
        root = (tonic + step) % 12
        begin = LEAD_S + bar * 4 * BEAT_S
        chords.append(f"{begin:.6f}\t{begin + 4 * BEAT_S:.6f}\t{NAMES[root]}:{kind}")
        if bar >= 3:
            third = 4 if kind == "maj" else 3
            for beat in range(4):
                pitch = 60 + (root + (0, third, 7)[int(rng.integers(3))]) % 12
                # The file's own tempo is 60 BPM, so that a tick is 1/480 s and only the beats say where they are.
                onset = round((begin + beat * BEAT_S) * 480)
                notes.append(Note(onset, pitch, round(0.45 * 480), 80))
    track = Track("MELODY", tuple(note_events(notes)))
    path = folder / f"{seed + 1:03d}.mid"
    write(path, Score((track, Track("PIANO", tuple(note_events([Note(0, 40, 480)])))), ((0, 60.0),)))
    beats = [f"{LEAD_S + i * BEAT_S:.6f} {float(i % 2 == 0)} {float(i % 4 == 0)}" for i in range(4 * bars + 1)]
    (folder / "beat_midi.txt").write_text("\n".join(beats) + "\n")
    (folder / "chord_midi.txt").write_text("\n".join(chords) + "\n")
    return path


def folder(path: Path, count: int = 24) -> Path:
    """A folder of songs, each in one of its own, as POP909 has it."""
    for seed in range(count):
        save(path / f"{seed + 1:03d}", seed)
    return path
