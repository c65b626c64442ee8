"""Layers: loops that were laid on one another, and go round until they are taken away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rtgen.instrument.answers import Answers
from rtgen.instrument.job import Job
from rtgen.instrument.player import Under, Voice
from rtgen.music.drums import CHANNEL
from rtgen.music.note import Loop

MOST = 32
"""So many layers there are at most; the oldest makes room."""


@dataclass(frozen=True, slots=True)
class Layer:
    """An answer that was laid down.

    Args:
        loop: its notes, with the gestures of those that it keeps.
        job: the job that it answers.
        voice: how it was played, which turned knobs do not change any more.
    """

    loop: Loop
    job: Job
    voice: Voice

    @property
    def channels(self) -> frozenset[int]:
        """The channels that it is played on, 0-15."""
        return channels_of(self.loop, self.voice.channel)


def channels_of(loop: Loop, channel: int) -> frozenset[int]:
    """Return the channels that a loop is played on, 0-15, if it is given one."""
    if not loop.hand.apart:
        return frozenset((channel,))
    return frozenset(data[0] & 0x0F for _, data in loop.hand.messages)


class Layers:
    """A stack of layers.

    While the player overdubs, every answer is laid on those before it. The newest one is still the present answer,
    which knobs and buttons change. It is laid down when the next one comes, or overdubbing ends.

    Args:
        answers: of the session.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._stack: list[Layer] = []
        # The ticks at which answers begin that are laid on the others.
        self._adds: set[int] = set()
        self.on = False
        """Whether the player overdubs."""
        self.ends = False
        """Whether overdubbing was ended in the loop that is played: what is struck from now on is no part of it."""
        self._last = False

    def __bool__(self) -> bool:
        """Whether any are laid down."""
        return bool(self._stack)

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over those that are laid down, the oldest first."""
        return iter(self._stack)

    @property
    def top(self) -> Loop | None:
        """The newest of those that are laid down; None if none is."""
        return self._stack[-1].loop if self._stack else None

    @property
    def open(self) -> bool:
        """Whether the present answer is one of the layers, and goes round with them."""
        return self.on or self.ends or self._last

    @property
    def count(self) -> int:
        """How many there are, with the present answer if it is one."""
        return len(self._stack) + (self.open and self._answers.present is not None)

    def press(self, on: bool, *, heard: bool) -> None:
        """Begin or end to overdub.

        Args:
            on: which of these.
            heard: whether the present answer plays; if not, it does not go round.
        """
        if on and not self.open and not heard:
            self._answers.silence()
        self.on, self.ends, self._last = on, not on, False

    def turn(self, start: int, asked: bool, voice: Voice) -> None:
        """Go on to the next loop.

        Args:
            start: tick at which it begins.
            asked: whether an answer that begins with it was asked for.
            voice: how the present answer is played.
        """
        if self._last:
            self.lay(voice)
        self._last = self.ends and asked
        self._adds = {target for target in self._adds if self._answers.awaits(target)}
        if asked and (self.on or self._last):
            self._adds.add(start)
        if self.ends and not asked:
            self.lay(voice)
        self.ends = False

    def takes(self, target: int, voice: Voice) -> bool:
        """Make room for the answer that begins at a tick; return whether it is laid on the others."""
        if target not in self._adds:
            return False
        self._adds.discard(target)
        self._lay(voice)
        return True

    def lay(self, voice: Voice) -> None:
        """Lay the present answer down, so that there is none."""
        self._lay(voice)
        self.ends = self._last = False

    def _lay(self, voice: Voice) -> None:
        if (parted := self._answers.part()) is not None:
            self._stack = [*self._stack, Layer(*parted, voice)][-MOST:]

    def undo(self) -> Layer | None:
        """Take the newest away; return the one that is the present answer again, if one is."""
        on_top = self.open and self._answers.present is not None
        below = self._stack.pop() if self._stack else None
        if not on_top:
            return None
        if below is None:
            self._answers.part()
        else:
            self._answers.put_back(below.loop, below.job)
        return below

    def broke(self, voice: Voice) -> None:
        """The song's time broke: no answer is awaited, and what was to be laid down at a boundary is."""
        self._adds.clear()
        if self.open and not self.on:
            self.lay(voice)

    def clear(self) -> None:
        """Take all away, and end overdubbing."""
        self.__init__(self._answers)  # type: ignore[misc]

    def free(self, channel: int) -> int:
        """Return the first channel from this one on that no layer has; never that of drums, unless it is this one."""
        taken = frozenset().union(*(layer.channels for layer in self._stack))
        others = ((channel + i) % 16 for i in range(16))
        return next((c for c in others if c not in taken and (c == channel or c != CHANNEL)), channel)

    def beside(self, channels: frozenset[int], own: Layer | None = None) -> bool:
        """Return whether any layer but its own is played on some of these channels."""
        return any(layer is not own and not layer.channels.isdisjoint(channels) for layer in self._stack)

    def rounds(self, layer: Layer, loop: Loop, start: int, length: int) -> Iterator[Under]:
        """Yield a layer as often as it goes round meanwhile.

        Args:
            layer: of any length; its rounds lie on multiples of it.
            loop: as it is played.
            start: tick from which on.
            length: for how many ticks.
        """
        for at in range(start // loop.length * loop.length, start + length, loop.length):
            yield Under(loop, at, layer.voice)
