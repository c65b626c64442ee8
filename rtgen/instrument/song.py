"""The song's time: a transport, whose clock it follows, and the breaks in it, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from rtgen.instrument import notices
from rtgen.instrument.clocks.kinds import transport_of
from rtgen.instrument.clocks.link_clock import LinkClock
from rtgen.instrument.clocks.sources import ClockSources
from rtgen.instrument.clocks.transport import Change, State, Transport
from rtgen.instrument.events import Left, Linked, Output
from rtgen.instrument.opening import Opening
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset

Breaks = Iterator[Change]
"""Discontinuities in the song's time; each is to be handled before the next one is asked for."""


class Song:
    """Tells the transport what happens.

    Args:
        options: of the session.
        preset: that it begins with.
    """

    def __init__(self, options: Options, preset: Preset) -> None:
        self.transport: Transport = transport_of(options, preset)
        """Position and tempo."""
        self.opening = Opening(self.transport)
        """The player's first loop."""
        self._sources = ClockSources()
        self._rolls = options.roll
        self._told_unstarted = False
        self._peers = 0

    def expire(self, now: float) -> Breaks:
        """Handle deadlines: the clocks' silence may settle a message in doubt, and end the song."""
        transport = self.transport
        if (change := transport.expire(now)) is not None:
            yield change
        while (deadline := transport.deadline) is not None and now >= deadline:
            yield from _one(transport.expire(now))

    def skip(self, now: float, gap_s: float, out: Output) -> Breaks:
        """Skip what was due while the machine slept."""
        out.notices.append(notices.Overslept(gap_s))
        yield from _one(self.transport.skip(now, gap_s))

    def hear(self, now: float, port: int, message: bytes, out: Output) -> Breaks:
        """Handle a system message from an input."""
        if not self._sources.admits(now, port, message, self.transport.state is not State.STOPPED):
            if self._sources.is_news(now, port):
                out.notices.append(notices.ForeignClock(port))
            return
        # Most of what comes is a clock that changes nothing: no generators for that.
        if (change := self.transport.feed(now, message)) is not None:
            yield change
        if not self._told_unstarted and self.transport.unstarted is not None:
            yield from self._look_for_start(now, out)
        if self._sources.doubles(self.transport):
            out.notices.append(notices.DoubledClock(port))

    def link(self, now: float, event: Linked, out: Output) -> Breaks:
        """Follow the Link session."""
        assert isinstance(self.transport, LinkClock)
        if event.peers != self._peers:
            self._peers = event.peers
            out.notices.append(notices.PeersChanged(event.peers))
        yield from _one(self.transport.follow(event))
        yield from _one(self.transport.expire(now))

    def roll(self, now: float, out: Output) -> Breaks:
        """Roll one bar after a downbeat, which is now, with a clock that came without Start."""
        if self.transport.hears(now):
            yield from self._roll_after(now, now)
        else:
            out.notices.append(notices.NoClock())

    def take_over(self, now: float, left: Left) -> Breaks:
        """Roll on where the song of a crashed rtgen is by now."""
        if left.at is not None:
            yield from _one(self.transport.roll(now, left.at, left.tick, self.transport.metre.bar))

    def rolls(self) -> None:
        """Note that the song rolls, so that a clock that comes without Start is news again."""
        self._told_unstarted = False

    def _look_for_start(self, now: float, out: Output) -> Breaks:
        """Say once that a clock comes without Start, and roll at the next bar if that is wanted."""
        since = self.transport.unstarted
        if since is None:
            return
        self._told_unstarted = True
        out.notices.append(notices.NoStart(self.transport.tempo, self._rolls))
        if self._rolls:
            yield from self._roll_after(now, since)

    def _roll_after(self, now: float, downbeat: float) -> Breaks:
        bar = self.transport.metre.bar
        yield from _one(self.transport.roll(now, downbeat, -bar, bar))


def _one(change: Change | None) -> Breaks:
    if change is not None:
        yield change
