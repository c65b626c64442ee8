"""Captures what is played as loops, as soon as the transport says when it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rtgen.instrument.clocks.transport import State, Transport
from rtgen.instrument.looper import Looper
from rtgen.instrument.pending import Pending
from rtgen.music.note import Loop


class Capture:
    """The looper, and input on its way there.

    Args:
        transport: says when a tick is, and how long loops are.
        gestures: as for the looper.
        also: other loopers that take what is played.
    """

    def __init__(self, transport: Transport, *, gestures: bool, also: Sequence[Looper] = ()) -> None:
        self._transport = transport
        self._pending = Pending()
        self.looper = Looper(gestures=gestures)
        """Records loops."""
        self._loopers = (self.looper, *also)

    def add(self, now: float, message: bytes) -> None:
        """Add a message that was played at `now`, in seconds."""
        self._pending.add(now, message)

    @property
    def waits(self) -> bool:
        """Whether there is input that waits for its tick."""
        return len(self._pending) > 0

    def leave_out(self, channel: int | None) -> None:
        """Leave the notes of a channel, 0-15, out of what is captured from now on; None: of none."""
        for looper in self._loopers:
            looper.without = channel

    def feed(self, tick: int, message: bytes) -> None:
        """Hand over a message whose tick is known."""
        for looper in self._loopers:
            looper.feed(tick, message)

    def place(self, earliest: int) -> None:
        """Hand input to the looper as soon as its ticks are known; notes before tick `earliest` belong to nothing.

        A downbeat may come with the first clock or just before it, but there is no tempo before the second clock.
        """
        state = self._transport.state
        if state is State.ARMED or (state is State.ROLLING and not self._transport.settled):
            return
        self._pending.place(self._transport, self._loopers, earliest)

    def take_back(self, now: float, earliest: int) -> None:
        """Let recent input be placed anew: an early downbeat was played before the Start or the jump was told."""
        self._pending.take_back(now)
        self.place(earliest)

    def begin(self, index: int) -> None:
        """Begin to capture a loop of the song."""
        self.looper.begin(index * self._transport.loop, self._transport.loop)

    def so_far(self) -> Loop:
        """Return what was played in the loop so far."""
        return self.looper.so_far(self._transport.loop, self._transport.metre.bar)

    def complete(self) -> Loop:
        """Return the part of it that is final."""
        return self.looper.complete(self._transport.loop, self._transport.metre.bar)

    def take(self, *, drums: bool) -> Loop | None:
        """End the loop and return it; None if none was captured.

        Args:
            drums: whether it is played on the preset's channel: on another one there may be no drums.
        """
        if not self.looper.capturing:
            return None
        call = self.looper.take(self._transport.loop, self._transport.metre.bar)
        return replace(call, hand=replace(call.hand, apart=False)) if drums and call.hand.apart else call
