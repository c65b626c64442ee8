"""What every reader makes of a file: a piece of music on the beat."""

from __future__ import annotations

from dataclasses import dataclass

from rtgen.music.note import Loop, Note

BAR = 1920
"""Ticks in a bar of 4/4."""
EARLY = 20
"""Ticks, half a step of a roll: a note that comes this much before a downbeat belongs to it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some tracks whose ticks are true beats.

    Args:
        name: of the song; unique within its set.
        tracks: by name, at 480 ticks a beat, without drums.
        downbeats: ticks at which a bar of 4/4 begins, ascending.
    """

    name: str
    tracks: tuple[tuple[str, tuple[Note, ...]], ...]
    downbeats: tuple[int, ...]

    def voices(self) -> list[tuple[str, tuple[Note, ...]]]:
        """Each track apart and, of several, all together."""
        if len(self.tracks) < 2:
            return list(self.tracks)
        return [*self.tracks, ("together", tuple(sorted(n for _, notes in self.tracks for n in notes)))]


def windows(downbeats: tuple[int, ...], bars: int) -> list[int]:
    """Where loops of `bars` whole bars begin: side by side from the first downbeat, over bars of 4/4 alone.

    Args:
        downbeats: ascending ticks. The last one closes the bar before it.
        bars: in a loop.
    """
    starts, known, free = [], set(downbeats), -1
    for start in downbeats:
        if start >= free and all(start + BAR * bar in known for bar in range(1, bars + 1)):
            starts.append(start)
            free = start + BAR * bars
    return starts


def cut(notes: tuple[Note, ...], starts: list[int], bars: int) -> list[Loop]:
    """One loop for each start: the notes that begin in it, ended at its end.

    Args:
        notes: sorted by onset.
        starts: ascending ticks, as from `windows`.
        bars: in a loop.
    """
    length = BAR * bars
    inside: dict[int, list[Note]] = {start: [] for start in starts}
    window = iter(starts)
    start = next(window, None)
    for note in notes:
        while start is not None and note.onset >= start + length - EARLY:
            start = next(window, None)
        if start is None:
            break
        if note.onset >= start - EARLY:
            onset = note.onset - start
            inside[start].append(Note(onset, note.pitch, min(note.duration, length - onset), note.velocity))
    return [Loop(length, tuple(notes), BAR).monophonic_by_pitch() for notes in inside.values()]
