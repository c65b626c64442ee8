"""The rounds of the song, one for each of its loops: which comes next, and when to prepare for it."""

from __future__ import annotations

from rtgen.instrument.clocks.transport import Transport
from rtgen.instrument.lead import Pace
from rtgen.instrument.options import Options
from rtgen.music.time import PPQN, seconds_per_tick

PRE_ROLL = 60
"""Notes this many ticks before a call still belong to it: an early downbeat (a 32nd note)."""
_EARLY_S = 0.05
"""Before the first loop after a Start or a jump, notes this many seconds early belong to it as well."""
_SLACK_S = 0.010
"""An answer this late still starts on its boundary: its first notes are late by less than anyone hears."""


class Rounds:
    """Where the song is, in loops, and what is still to be done before the next one.

    Args:
        transport: says when a tick is, and how long loops are.
        options: of the session.
        pace: how long the model takes.
    """

    def __init__(self, transport: Transport, options: Options, pace: Pace) -> None:
        self._transport, self._pace = transport, pace
        self._early_s, self._delivery_s = options.output_offset_s, options.delivery_s
        self._entered = 0
        self._next_beat = 0
        self._drafted: int | None = None
        self.next = 0
        """The loop that comes next, as the ticks count them."""
        self.awaited: int | None = None
        """The tick at which an answer begins that is still to come."""
        self.answers_in: int | None = None
        """The loop that the last call was asked an answer for."""

    def enter(self, tick: int) -> int:
        """Start in the loop that a tick is in, and return which that is."""
        index = tick // self._transport.loop
        self._entered = self._next_beat = tick
        self._drafted = self.answers_in = None
        self.next = index + 1
        return index

    def advance(self) -> tuple[int, int]:
        """Go on to the next loop; return which that is, and the tick at which it begins."""
        index = self.next
        self.next += 1
        return index, index * self._transport.loop

    def drafted(self) -> None:
        """Note that a draft of the answer in the next loop was asked for."""
        self._drafted = self.next

    def told(self, now: float) -> None:
        """Note that the model was shown the input of the beat that ends at `now`."""
        self._next_beat = max(self._next_beat, self._transport.tick_at(now) // PPQN * PPQN) + PPQN

    def in_song(self, index: int) -> int:
        """Return which loop of the song a loop is, as a song that goes round plays its loops again."""
        return index - self._transport.ahead // self._transport.loop

    # ---- when, in seconds -------------------------------------------------------------------------------------------

    @property
    def earliest(self) -> int:
        """The tick from which on notes belong to the loop that the song was entered in."""
        early = round(_EARLY_S / seconds_per_tick(self._transport.tempo))
        return self._entered - max(PRE_ROLL, early)

    @property
    def tell_at(self) -> float:
        """When to show the model the input so far: once a beat, so that little is left to read at the end."""
        return self._transport.time_at(self._next_beat)

    def due_at(self, *, captures: bool, asks: bool) -> float:
        """Return when to prepare the next loop.

        Args:
            captures: whether input is captured.
            asks: whether there is anything to answer.
        """
        boundary = self._transport.time_at(self.next * self._transport.loop)
        lead_s = max(self._early_s, 0.0) + self._pace.warm.seconds + self._delivery_s if captures else 0.0
        if not (captures and asks):
            # There is nothing to answer yet: an early downbeat is the first note of the next loop.
            lead_s = max(lead_s, PRE_ROLL * seconds_per_tick(self._transport.tempo))
        return boundary - lead_s

    def draft_at(self, due_at: float, *, captures: bool, asks: bool) -> float | None:
        """Return when to ask for a draft; None if there is nothing to ask for or it was asked for.

        Args:
            due_at: when the next loop is prepared.
            captures: whether input is captured.
            asks: whether there is anything to answer.
        """
        if not (captures and asks) or self._drafted == self.next:
            return None
        return due_at - self._pace.draft_s

    def patience_ends(self, target: int) -> float:
        """Return until when an answer may start on its boundary."""
        return self._transport.time_at(target) - self._early_s + _SLACK_S
