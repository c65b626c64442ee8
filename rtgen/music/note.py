"""Notes and loops: immutable values in ticks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import attrgetter

from rtgen.music.hand import NO_HAND, Hand, Stroke


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """One note.

    Args:
        onset: ticks from the start of its loop; slightly negative for a note played just before its downbeat.
        pitch: 0-127.
        duration: ticks, at least 1.
        velocity: 1-127.

    Raises:
        ValueError: a field is out of range.
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


_ORDER = attrgetter("onset", "pitch", "duration", "velocity")


@dataclass(frozen=True, slots=True)
class Loop:
    """Notes within a length, sorted by onset, pitch, duration and velocity.

    Args:
        length: ticks.
        notes: in any order; sorted on creation, so that loops with the same notes are equal.
        bar: ticks per bar.
        hand: what was played to make these notes, if there is more to it than they say: bends, pressure, controllers,
            pedals, several channels. A loop with other notes has none.
    """

    length: int
    notes: tuple[Note, ...] = ()
    bar: int = 1920
    hand: Hand = NO_HAND
    _hash: int | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.length <= 0 or self.bar <= 0:
            raise ValueError("the length of a loop and of its bar must be positive")
        object.__setattr__(self, "notes", tuple(sorted(self.notes, key=_ORDER)))

    def __hash__(self) -> int:
        # Kept, as what is known of a loop is looked up often, and it has many notes.
        if self._hash is None:
            object.__setattr__(self, "_hash", hash((self.length, self.notes, self.bar, self.hand)))
        assert self._hash is not None
        return self._hash

    def __len__(self) -> int:
        """Number of notes."""
        return len(self.notes)

    def without_hand(self) -> Loop:
        """Return the notes alone."""
        return Loop(self.length, self.notes, self.bar) if self.hand else self

    def strokes(self) -> list[Stroke]:
        """Return the keys that play this loop: those of the hand, or else one for each note."""
        return self.hand.strokes() or [Stroke(n.onset, n.pitch, n.duration, n.velocity) for n in self.notes]

    def with_notes(self, notes: Iterable[Note]) -> Loop:
        """Return this loop with other notes."""
        return Loop(self.length, tuple(notes), self.bar)

    def monophonic_by_pitch(self) -> Loop:
        """Return this loop with every note cut where its pitch repeats, as a string or key sounds only once at a time.

        Of notes with the same pitch and onset, the loudest is kept.
        """
        following: dict[int, int] = {}
        kept: list[Note] = []
        for note in sorted(self.notes, key=lambda n: (-n.onset, -n.velocity, -n.duration)):
            limit = following.get(note.pitch, self.length)
            if note.onset < limit:
                following[note.pitch] = note.onset
                kept.append(note if note.end <= limit else replace(note, duration=limit - note.onset))
        return self.with_notes(kept)
