"""Everything that goes out: what is played thru, the notes and gestures of answers, and the clock for others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rtgen.instrument.clocks.internal_clock import ClockOut
from rtgen.instrument.clocks.transport import Change, Transport
from rtgen.instrument.events import Left
from rtgen.instrument.layers import Layer, Layers, channels_of
from rtgen.instrument.options import Options
from rtgen.instrument.player import Ledger, Player, Under
from rtgen.instrument.preset import Use
from rtgen.instrument.thru import Thru
from rtgen.instrument.turns import next_change, rounded_up
from rtgen.music.note import Loop
from rtgen.music.shaped import folded
from rtgen.music.swing import swung


class Sound:
    """What one output gets; all of it by way of one ledger.

    Args:
        transport: says when a tick is.
        options: of the session.
        channel: of the answers, 0-15.
        layers: what plays under them.
    """

    def __init__(self, transport: Transport, options: Options, channel: int, layers: Layers) -> None:
        self._transport = transport
        self._ledger = Ledger()
        self.player = Player(self._ledger, channel)
        """Plays the answers."""
        self._gestures = options.gestures
        self._thru = Thru(self._ledger, gestures=options.gestures) if options.thru else None
        self._clock = ClockOut() if options.send_clock else None
        self.offset_s, self.ahead_s = options.output_offset_s, options.ahead_s
        # What ends the notes of an rtgen that crashed, until it is certain that somebody hears it.
        self._left: list[bytes] = []
        self._swing = 0.5
        self._layers = layers
        self.plays: int | None = None
        """The tick at which the loop that plays began; None if none ever did."""

    # ---- what is played ---------------------------------------------------------------------------------------------

    def tune(self, knobs: Mapping[str, float]) -> None:
        """Set how answers are played from now on."""
        self.player.transpose = round(knobs["transpose"])
        self.player.gate, self.player.loudness = knobs["gate"], knobs["loudness"]

    def play(self, loop: Loop, start: int, from_tick: int, swing: float) -> None:
        """Play a loop that starts at a tick, from another tick on, over all layers; whatever else was to play ends."""
        self.plays, self._swing = start, swing
        under = [each for layer in self._layers for each in self._under(layer, loop, start)]
        self.player.replace(self._as_played(loop), start, from_tick, under)

    def rest(self, length: int, start: int, from_tick: int, swing: float) -> None:
        """Play the layers alone."""
        self.play(Loop(length), start, from_tick, swing)
        self.plays = None

    def _under(self, layer: Layer, present: Loop, start: int) -> Iterator[Under]:
        """Yield a layer as it goes round under a loop that starts at a tick."""
        loop, channels = layer.loop, layer.channels
        beside = present.notes and not channels.isdisjoint(channels_of(present, self.player.channel))
        if layer.voice.gate != 1 or beside or self._layers.beside(channels, layer):
            loop = folded(loop)  # its pedals would hold the notes of the others as well
        yield from self._layers.rounds(layer, swung(loop, self._swing), start, present.length)

    def extend(self, before: Loop, loop: Loop) -> None:
        """Play a loop in place of `before`, which is a part of it and was given last; else do nothing."""
        self.player.extend(self._as_played(before), self._as_played(loop))

    def _as_played(self, loop: Loop) -> Loop:
        """Return a loop as it is played: without pedals that hold notes of another length, or those of layers."""
        beside = self._layers.beside(channels_of(loop, self.player.channel))
        return swung(loop if self.player.gate == 1 and not beside else folded(loop), self._swing)

    def next_change(self, now: float, after_s: float, length: int, unit: int, use: Use) -> tuple[int, int] | None:
        """Return from which tick what plays can change, and its loop's start; see `turns.next_change`.

        Args:
            now: seconds.
            after_s: how long the change takes, in seconds.
            length: of a loop, in ticks.
            unit: changes fall on multiples of it, in ticks.
            use: when answers are heard.
        """
        earliest = self._transport.tick_at(now + after_s + max(self.offset_s, 0.0) + self.ahead_s)
        return next_change(self._transport.tick_at(now), earliest, length, unit, use, self.plays)

    def changes_at(self, now: float, length: int, unit: int) -> tuple[int, int]:
        """Return from which tick layers can be others, and the start of the loop that it lies in."""
        tick = rounded_up(self._transport.tick_at(now + max(self.offset_s, 0.0) + self.ahead_s), unit)
        return tick, tick // length * length

    def thru(self, message: bytes) -> list[bytes]:
        """Return what goes out of a message that was played."""
        return self._thru.feed(message) if self._thru is not None else []

    # ---- time passes ------------------------------------------------------------------------------------------------

    def leaves_at(self, tick: int) -> float:
        """Return when a message for a tick is sent, in seconds."""
        return self._transport.time_at(tick) - self.offset_s

    def due(self, now: float) -> list[bytes]:
        """Return the clocks, notes and gestures that are due."""
        clocks = self._clock.due(now, self.leaves_at, self.ahead_s) if self._clock is not None else []
        return [*clocks, *self.player.due(now, self.leaves_at, self.ahead_s)]

    def next_at(self) -> float | None:
        """Return when something is due next, in seconds; None if nothing is."""
        tick = self.player.next_tick()
        if self._clock is not None and (clock := self._clock.next_tick()) is not None:
            tick = clock if tick is None else min(tick, clock)
        return self.leaves_at(tick) - self.ahead_s if tick is not None else None

    def broke(self, change: Change, *, anew: float | None = None) -> list[bytes]:
        """Return what others are told of a discontinuity in the song's time; see `ClockOut.changed`."""
        return self._clock.changed(change, self._transport.tick, anew=anew) if self._clock is not None else []

    # ---- ends -------------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Play nothing more; what sounds ends with `release`."""
        self.player.clear()

    def release(self) -> list[bytes]:
        """End what sounds of the answers."""
        return self._ledger.release(thru=False)

    def panic(self) -> list[bytes]:
        """Play nothing more, end what sounds, and silence every channel in use."""
        self.clear()
        return self._ledger.panic()

    def end(self) -> list[bytes]:
        """End everything, and stop those who follow our clock."""
        self.clear()
        return self._ledger.release(thru=True) + self.broke(Change.STOPPED)

    def took_back(self) -> bool:
        """Return whether what is planned must not begin any more; see `Ledger.took_back`."""
        return self._ledger.took_back()

    # ---- the output -------------------------------------------------------------------------------------------------

    def plug(self) -> list[bytes]:
        """Handle the return of the output; see `Ledger.plug`."""
        messages, self._left = self._ledger.plug() + self._left, []
        return messages

    def unplug(self) -> None:
        """Handle the loss of the output."""
        self._ledger.unplug()

    def take_over(self, left: Left) -> list[bytes]:
        """End what a crashed rtgen left sounding."""
        # Again when the output comes back or the song rolls: until then nobody may have been connected.
        self._left = self._ledger.end_all(left, gestures=self._gestures)
        return self._left if self._ledger.plugged else []

    def again(self) -> list[bytes]:
        """End that once more, as the song rolls now, and forget it."""
        if not self._ledger.plugged:
            return []
        messages, self._left = self._left, []
        return messages
