"""Notes and loops: immutable values, in ticks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """One note.

    Args:
        onset: ticks from the start of its loop. A little below 0 for a note that was played just before the downbeat
            that it belongs to.
        pitch: 0-127.
        duration: ticks, at least 1.
        velocity: 1-127.

    Raises:
        ValueError: a field is out of its range.
    """

    onset: int
    pitch: int
    duration: int
    velocity: int = 80

    def __post_init__(self) -> None:
        if not 0 <= self.pitch <= 127:
            raise ValueError(f"pitch {self.pitch} is not within 0 to 127")
        if not 1 <= self.velocity <= 127:
            raise ValueError(f"velocity {self.velocity} is not within 1 to 127")
        if self.duration < 1:
            raise ValueError(f"duration {self.duration} is not positive")

    @property
    def end(self) -> int:
        """Tick at which the note ends."""
        return self.onset + self.duration


@dataclass(frozen=True, slots=True)
class Loop:
    """Notes within a length, sorted by onset, pitch, duration and velocity.

    Args:
        length: ticks.
        notes: in any order; kept sorted, so that loops with the same notes are equal.
        bar: ticks in a bar.
    """

    length: int
    notes: tuple[Note, ...] = ()
    bar: int = 1920

    def __post_init__(self) -> None:
        if self.length <= 0 or self.bar <= 0:
            raise ValueError("a loop and its bar have a positive length")
        object.__setattr__(self, "notes", tuple(sorted(self.notes)))

    def __len__(self) -> int:
        """Number of notes."""
        return len(self.notes)

    def with_notes(self, notes: Iterable[Note]) -> Loop:
        """This loop with other notes."""
        return replace(self, notes=tuple(notes))

    def monophonic_by_pitch(self) -> Loop:
        """This loop with every note ended where the same pitch starts again, as one string or key can only sound once.

        Of notes with the same pitch and onset the loudest stays.
        """
        following: dict[int, int] = {}
        kept: list[Note] = []
        for note in sorted(self.notes, key=lambda n: (-n.onset, -n.velocity, -n.duration)):
            limit = following.get(note.pitch, self.length)
            if note.onset < limit:
                following[note.pitch] = note.onset
                kept.append(replace(note, duration=min(note.duration, limit - note.onset)))
        return self.with_notes(kept)
