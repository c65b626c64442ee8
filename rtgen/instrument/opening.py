"""How a session begins without any clock: the player's first loop says the tempo, and is the first call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rtgen.instrument.clocks.player_clock import PlayerClock
from rtgen.instrument.clocks.transport import Change, State, Transport
from rtgen.instrument.events import Output
from rtgen.instrument.notices import LoopClosed, NothingToClose
from rtgen.instrument.rounds import PRE_ROLL
from rtgen.music import midi

_FACTORS: Mapping[str, float] = {"half": 0.5, "double": 2.0}


class First(NamedTuple):
    """The first loop as messages with their ticks.

    Args:
        call: what belongs to the first call.
        later: what was struck with its end, and belongs to the next.
    """

    call: list[tuple[int, bytes]]
    later: list[tuple[int, bytes]]


class Opening:
    """The player's first loop; with any other clock there is none, and nothing happens here.

    Args:
        transport: of the session.
    """

    def __init__(self, transport: Transport) -> None:
        self._clock = transport if isinstance(transport, PlayerClock) else None
        self._answer_at: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the first loop is being played."""
        return self._clock is not None and self._clock.state is State.ARMED

    def press(self, now: float, button: str, out: Output) -> Iterator[Change]:
        """Close the loop, or halve or double its tempo; yield the discontinuity in the song's time, if any."""
        clock = self._clock
        if clock is None:
            return
        if (clock.state is State.STOPPED) if button == "close" else (clock.state is not State.ROLLING):
            out.notices.append(NothingToClose())
            return
        change = clock.close(now) if button == "close" else clock.correct(now, _FACTORS[button])
        if change is not None:
            yield change

    def news(self) -> LoopClosed | None:
        """Return what the loop said, once."""
        return self._clock.news() if self._clock is not None else None

    def take(self, length: int) -> First | None:
        """Return what was played, as the first call of so many ticks; None if the song did not begin with it."""
        clock = self._clock
        if clock is None or not clock.first_loop:
            return None
        self._answer_at = length
        first = First([], [])
        for then, message in clock.first_loop:
            tick = clock.tick_at(then)
            if tick >= length - PRE_ROLL and midi.is_note_on(message):
                first.later.append((max(tick, length), message))
            else:
                first.call.append((min(max(tick, -PRE_ROLL), length), message))
        return first

    def answered(self, target: int) -> bool:
        """Return whether an answer that begins at a tick is that to the first loop.

        It cannot be asked for before the loop ends, so it may begin at any sixteenth.
        """
        return target == self._answer_at

    def forget(self) -> None:
        """The song's time broke, and no answer is awaited."""
        self._answer_at = None
