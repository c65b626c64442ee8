"""What a hand plays, message for message: keys as they went down and up, and the gestures that shaped the notes.

A loop's notes are what is heard: the pedal makes them long, and of two that share a pitch one goes on. Models hear
those. A `Hand` keeps what made them, so that it can come back as it was played.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rtgen.music import midi

FIRST, LAST = -3, 2**31
"""Places within a tick, before and after everything that a hand played there."""

MOST_MESSAGES = 3 * 4096
"""So many messages a hand has at most, keys and gestures together."""


class Moved(NamedTuple):
    """A message of a hand: a key that goes down or up, a bend, a pressure or a controller.

    Args:
        tick: from the start of its loop; slightly negative just before its downbeat.
        data: the message, with the channel that it came on.
    """

    tick: int
    data: bytes


class Stroke(NamedTuple):
    """A key from going down to going up.

    Args:
        onset: ticks from the start of its loop.
        pitch: 0-127.
        duration: ticks that the key is down, at least 0.
        velocity: 1-127.
        channel: 0-15; None where it has none of its own.
        begins: its place among all that begins or moves at the same tick.
        ends: the same of its end.
        release: velocity with which the key goes up, 0-127.
    """

    onset: int
    pitch: int
    duration: int
    velocity: int
    channel: int | None = None
    begins: int = LAST
    ends: int = FIRST
    release: int = 0


@dataclass(frozen=True, slots=True)
class Hand:
    """What was played for a loop, in the order in which it was played.

    Args:
        messages: in order of ticks; every key that goes down comes up by the end of the loop.
        apart: whether the channels matter: there are several, or it is of an MPE zone. If not, all is on one channel,
            and may be answered on any other.
    """

    messages: tuple[Moved, ...] = ()
    apart: bool = False

    def __bool__(self) -> bool:
        """Whether there is more to know than the notes say."""
        return bool(self.messages)

    def gestures(self) -> Iterator[tuple[int, Moved]]:
        """Yield what moves and is no key, with its place among all messages."""
        for place, each in enumerate(self.messages):
            if not midi.is_note(each.data):
                yield place, each

    def strokes(self) -> list[Stroke]:
        """Return the keys, in the order in which they went down."""
        found: list[Stroke | None] = []
        down: dict[tuple[int, int], tuple[int, int]] = {}

        def up(key: tuple[int, int], at: int, tick: int, release: int = 0) -> None:
            if (begun := down.pop(key, None)) is not None:
                place, struck = begun
                onset, data = self.messages[struck]
                channel = key[0] if self.apart else None
                found[place] = Stroke(onset, key[1], tick - onset, data[2], channel, struck, at, release)

        tick = 0
        for at, (tick, data) in enumerate(self.messages):
            if not midi.is_note(data):
                continue
            key = (data[0] & 0x0F, data[1])
            up(key, at, tick, midi.release(data))
            if midi.is_note_on(data):
                down[key] = len(found), at
                found.append(None)
        for key in list(down):
            up(key, len(self.messages), tick)
        return [stroke for stroke in found if stroke is not None]

    def warped(self, at: Callable[[int], int]) -> Hand:
        """Return it with its ticks moved; `at` must keep their order."""
        return Hand(tuple(Moved(at(tick), data) for tick, data in self.messages), self.apart)


NO_HAND = Hand()


def on_channel(data: bytes, channel: int) -> bytes:
    """Return a channel message on another channel, 0-15."""
    return bytes((data[0] & 0xF0 | channel,)) + data[1:]


def stands(moves: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return where bends, pressures and controllers are after some messages: the latest of each, by `midi.shape`."""
    return {midi.shape(data): data for data in moves}
