"""Real music to play, that no model was trained on, where it is there."""

from __future__ import annotations

import io
import random
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from rtgen.bench.music import BAR, playable
from rtgen.music.files import Score, read
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN

_GRID = PPQN // 12
_POP909 = Path(__file__).parents[2].parent / "shared" / "data" / "pop909.zip"
_NOT_TRAINED_ON = range(701, 801)


def pop909_missing() -> str | None:
    """Why there is no real music here; None when there is."""
    return (
        None if _POP909.is_file() else "../shared/data/pop909.zip is not there: the real music is not in the repository"
    )


def pop909_loops(count: int, bars: int = 2, seed: int = 1) -> list[Loop]:
    """Loops from songs of POP909 that are kept from training, one of each song: all parts, warped to their beats."""
    rng = random.Random(seed)
    songs = rng.sample(_NOT_TRAINED_ON, len(_NOT_TRAINED_ON))
    loops: list[Loop] = []
    with zipfile.ZipFile(_POP909) as archive:
        for song in songs:
            folder = f"pop909/POP909/{song:03}"
            try:
                score = read(io.BytesIO(archive.read(f"{folder}/{song:03}.mid")), str(song))
                beats = archive.read(f"{folder}/beat_midi.txt").decode()
            except KeyError:
                continue
            found = [loop for loop in _windows(score, beats, bars) if _plays_well(loop)]
            if found:
                loops.append(rng.choice(found))
            if len(loops) == count:
                break
    return loops


def _windows(score: Score, beats: str, bars: int) -> Iterator[Loop]:
    """Every stretch of bars between two downbeats of a song, on a grid of a twelfth of a beat."""
    rows = [[float(cell) for cell in line.split()] for line in beats.splitlines()]
    times = [row[0] for row in rows]
    downbeats = [index for index, row in enumerate(rows) if row[2] == 1]
    seconds = _clock_of(score)

    def warp(tick: int) -> float:
        at = seconds(tick)
        index = min(max(bisect_right(times, at) - 1, 0), len(times) - 2)
        return (index + (at - times[index]) / (times[index + 1] - times[index])) * PPQN

    notes = [(warp(n.onset), warp(n.end), n) for track in score.tracks for n in track.notes()]
    length = bars * BAR
    for first in downbeats:
        origin = first * PPQN
        snapped = [(_snap(on - origin), _snap(off - origin), n) for on, off, n in notes]
        yield playable(
            length,
            [
                Note(on, n.pitch, max(min(off, length) - on, _GRID), n.velocity)
                for on, off, n in snapped
                if 0 <= on < length
            ],
        )


def _clock_of(score: Score) -> Callable[[int], float]:
    """Tick to seconds, by a score's tempos."""
    starts, elapsed = [], 0.0
    for (tick, bpm), following in pairwise([*score.tempos, (score.end + 1, 0.0)]):
        starts.append((tick, elapsed, bpm))
        elapsed += (following[0] - tick) * 60 / (bpm * PPQN)

    def seconds(tick: int) -> float:
        start, at, bpm = starts[bisect_right(starts, tick, key=lambda s: s[0]) - 1]
        return at + (tick - start) * 60 / (bpm * PPQN)

    return seconds


def _snap(tick: float) -> int:
    return round(tick / _GRID) * _GRID


def _plays_well(loop: Loop) -> bool:
    """Whether a loop begins on its downbeat, and has enough notes, none too short for a MIDI cable."""
    return len(loop) >= 8 and loop.notes[0].onset == 0
