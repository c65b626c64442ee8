"""The transport that follows another program's MIDI clock."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from rtgen.instrument.clocks.doubt import Doubt
from rtgen.instrument.clocks.follower import ClockFollower
from rtgen.instrument.clocks.transport import Change, Health, State, Transport
from rtgen.music import midi
from rtgen.music.time import CLOCKS_PER_BEAT, TICKS_PER_CLOCK, TICKS_PER_SIXTEENTH

_UNSTARTED = 2 * CLOCKS_PER_BEAT
"""So many clocks without a Start are told of."""
_GONE_S = 2.0
"""After so long a silence it is another clock, or another song, that comes."""


@dataclass(slots=True)
class _Plan:
    """To roll without a Start: the song was at `tick` at a time `at`, in seconds; `to` is the bar line to roll at."""

    at: float
    tick: int
    bar: int
    to: int | None = None


class MidiClock(Transport):
    """Follows MIDI clock, Start, Continue, Stop and Song Position.

    Positions are counted in clocks and interpolated in between. `ClockFollower` makes up for lost clocks and ignores
    doubled ones, so the position may jump by several clocks, or go back. If the clock ceases without a Stop, the tempo
    is held for a beat; then the transport stops, and resumes from there when the clock returns.

    A sequencer that loops sends Song Position and Continue (or Start) each time round. If that takes the song to the
    same place in a loop of ours, the ticks go on and only `ahead` changes.

    A second source in the same port changes nothing: while the song rolls, a Start, or a Song Position elsewhere, is
    followed only when the next clocks show that it was not of a source of its own (`Doubt`); so is a Stop where two
    clocks come. That takes two or three clocks.

    Args:
        tempo: BPM until two clocks have given the real one.
    """

    def __init__(self, tempo: float = 120.0) -> None:
        super().__init__(tempo)
        self._follower = ClockFollower(self._seconds_per_tick * TICKS_PER_CLOCK)
        self._first_tick = self._next_tick = 0
        self._last_clock: float | None = None
        self._lost = False
        self._ahead_then: int | None = None
        # Number and first time of the clocks that have come without Start, Continue or Stop; None after one of these.
        self._since: tuple[int, float] | None = None
        self._plan: _Plan | None = None
        self._doubt: Doubt | None = None
        # When it was stopped, the tick of the next clock then, and how far ahead that was.
        self._halt: tuple[float, int, int] | None = None
        self._resumes = False
        # How many other sources were started, and will send a Stop.
        self._strangers = 0

    def feed(self, now: float, message: bytes) -> Change | None:
        """Process a system message that arrived at `now`; ignore the kinds not named above."""
        kind = message[0]
        if kind == midi.CLOCK:
            return self._clock(now)
        if kind in (midi.START, midi.CONTINUE, midi.STOP, midi.SYSTEM_RESET):
            self._since = self._plan = None
        if kind == midi.START:
            return None if self._again(now) else self._jump(now, 0, starts=True)
        if kind == midi.CONTINUE:
            return self._continue(now)
        if kind in (midi.STOP, midi.SYSTEM_RESET):
            return self._stop(now) if kind == midi.SYSTEM_RESET or not self._doubts_stop(now) else None
        if kind == midi.SONG_POSITION:
            tick = midi.song_position(message) * TICKS_PER_SIXTEENTH
            if self.state is State.ROLLING:
                return None if self._is_there(tick) else self._jump(now, tick, starts=False)
            self._next_tick = tick
            return None
        return None

    def _clock(self, now: float) -> Change | None:
        self._count(now)
        self._last_clock = now
        if self._lost or (self.state is State.ARMED and not self._follower.expects(now)):
            # A new song need not continue the beat of the last one.
            self._follower.restart()
        if self._doubt is not None:
            self._doubt.hear(now, self._follower.period, self._follower.in_place(now))
        moved = self._follower.clock(now)
        self._seconds_per_tick = self._follower.period / TICKS_PER_CLOCK
        if self.state is State.STOPPED and not self._lost and not self._begins():
            return None
        self._time = self._follower.time
        if self.state is State.ROLLING:
            self._tick = max(self._tick + moved * TICKS_PER_CLOCK, self._first_tick)
        else:
            self._tick = self._first_tick = self._next_tick
        self._next_tick = self._tick + TICKS_PER_CLOCK
        if self._ahead_then is not None:
            self.ahead, self._ahead_then = self._ahead_then, None
        if self.state is State.ROLLING:
            return self._judge(now)
        self.state, self._lost = State.ROLLING, False
        self._strangers = 0
        return Change.ROLLED

    # ---- whose message it is ---------------------------------------------------------------------------------------

    def _jump(self, now: float, tick: int, *, starts: bool) -> Change | None:
        """Go to `tick` with the next clock, for a Start or Song Position; while rolling only if it was our source's."""
        if self._goes_round(tick):
            return None
        if self.state is not State.ROLLING or not self._follower.sure:
            return self._arm(tick)
        if self._doubt is not None and self._doubt.repeats(now, tick, self._follower.period):
            # A source that is connected twice says it twice.
            return self._follow_jump(self._doubt, tick, False)
        starts = starts or (self._doubt is not None and self._doubt.starts)
        self._doubt = Doubt(now, tick, False, starts, self._last_in_place)
        return None

    def _continue(self, now: float) -> Change | None:
        if self.state is not State.ROLLING:
            self._arm(self._next_tick)
            self._resume(now)
            return None
        if self._doubt is not None:
            self._doubt.starts = True
        elif self._follower.sure:
            self._doubt = Doubt(now, None, False, True, self._last_in_place)
        return None

    def _doubts_stop(self, now: float) -> bool:
        """Return whether a Stop may be a second source's; a second Stop meanwhile is not doubted."""
        if self.state is not State.ROLLING or not (self._follower.sure and self._follower.crowded):
            return False
        if self._doubt is not None and self._doubt.stops:
            return False
        self._doubt = Doubt(now, None, True, False, self._last_in_place)
        return True

    @property
    def _last_in_place(self) -> float:
        return self._follower.time if self._doubt is None else self._doubt.last

    def _judge(self, now: float) -> Change | None:
        """Follow a message that is in doubt, or ignore it, if it is clear by now whose it is."""
        doubt = self._doubt
        if doubt is None:
            return None
        if doubt.first_tick is None and doubt.ours:
            doubt.first_tick = self._tick
        verdict = doubt.verdict(now, self._follower.period)
        if verdict is None:
            return None
        self._doubt = None
        if doubt.stops:
            if verdict == "ours":
                # The others ceased: theirs was the Stop.
                self._strangers = max(self._strangers - 1, 0)
                return None
            if verdict == "both" and self._strangers:
                self._strangers -= 1
                return None
            return self._stop(now)
        if verdict == "both":
            self._strangers += doubt.starts
            return None
        if doubt.to is None:
            return None
        return self._follow_jump(doubt, doubt.to, verdict == "moved")

    def _follow_jump(self, doubt: Doubt, to: int, moved: bool) -> Change | None:
        """Be where a Start or Song Position moved the song some clocks ago."""
        if not doubt.times:
            change = self._arm(to)
            assert change is not None
            return change
        if moved:
            self._follower.restart()
            self._follower.clock(doubt.times[0])
            gone = sum(self._follower.clock(time) for time in doubt.times[1:]) * TICKS_PER_CLOCK
        else:
            first = self._tick if doubt.first_tick is None else doubt.first_tick
            if self._goes_back(first - self.ahead - to, TICKS_PER_CLOCK):
                return None
            gone = self._tick - first
        self.rebase()
        self._doubt = None
        self._time, self._seconds_per_tick = self._follower.time, self._follower.period / TICKS_PER_CLOCK
        self._first_tick, self._tick = to, to + gone
        self._next_tick = self._tick + TICKS_PER_CLOCK
        self._strangers = 0
        return Change.ROLLED

    def _count(self, now: float) -> None:
        """Count clocks that come although nothing was started."""
        if self.state is not State.STOPPED or self._lost:
            self._since = None
        elif not self.hears(now):
            self._since = 1, now
        elif self._since is not None:
            self._since = self._since[0] + 1, self._since[1]

    @property
    def unstarted(self) -> float | None:
        """Since when a clock has come without a Start, in seconds; None unless it has for two beats."""
        if self.state is not State.STOPPED or self._plan is not None:
            return None
        return self._since[1] if self._since is not None and self._since[0] >= _UNSTARTED else None

    def hears(self, now: float) -> bool:
        """Return whether a clock has come lately."""
        return self._last_clock is not None and now - self._last_clock < _GONE_S

    def roll(self, now: float, at: float, tick: int, bar: int) -> Change | None:  # noqa: ARG002
        """Roll at the next bar line as soon as clocks come, unless a Start, Continue or Stop comes first."""
        if self.state is State.STOPPED and not self._lost:
            self._plan = _Plan(at, tick, bar)
        return None

    def _begins(self) -> bool:
        """Return whether the latest clock is the one to roll at without a Start."""
        plan = self._plan
        if plan is None or not self._follower.locked:
            return False
        here = plan.tick + (self._follower.time - plan.at) / self._seconds_per_tick
        if plan.to is None:
            plan.to = max(ceil((here - TICKS_PER_CLOCK / 2) / plan.bar), plan.tick // plan.bar + 1) * plan.bar
        if here < plan.to - TICKS_PER_CLOCK / 2:
            return False
        self._next_tick, self._plan = plan.to, None
        return True

    def _again(self, now: float) -> bool:
        """Return whether a Start repeats the last one, from a source that is connected twice."""
        started = self.state is State.ROLLING and self._tick == 0
        return started and self._follower.doubled and now - self._time < 0.5 * self._follower.period

    def _is_there(self, tick: int) -> bool:
        """Return whether Song Position names the sixteenth in which the song is, or is about to be."""
        beyond = self._song_next - tick
        return -TICKS_PER_CLOCK <= beyond <= TICKS_PER_SIXTEENTH

    def _goes_round(self, tick: int) -> bool:
        """Jump to `tick` with the next clock, if that is the same place in a loop, give or take a clock."""
        if self.state is not State.ROLLING:
            return False
        # That it is a clock off may be due to a second source.
        return self._goes_back(self._song_next - tick, 0 if self._follower.sure else TICKS_PER_CLOCK)

    def _goes_back(self, ticks: int, most: int) -> bool:
        """Go back by whole loops, if so many ticks are whole loops and at most so many more; the ticks go on."""
        rounds = round(ticks / self.loop) * self.loop if self.loop else 0
        slip = ticks - rounds
        if not rounds or abs(slip) > most:
            return False
        self._shift(-slip)
        self._ahead_then = (self.ahead if self._ahead_then is None else self._ahead_then) + rounds
        return True

    @property
    def _song_next(self) -> int:
        """The song's own position at the next clock."""
        return self._next_tick - (self.ahead if self._ahead_then is None else self._ahead_then)

    def _shift(self, ticks: int) -> None:
        self._tick += ticks
        self._next_tick += ticks
        self._first_tick = min(self._first_tick + ticks, self._tick)

    def rebase(self) -> int:
        """Count the ticks from the song's start again, and return by how many they went back."""
        back = self.ahead if self._ahead_then is None else self._ahead_then
        self._shift(-back)
        self.ahead, self._ahead_then = 0, None
        return back

    def _arm(self, tick: int) -> Change | None:
        was_rolling = self.state is State.ROLLING
        self.rebase()
        self._doubt, self._resumes = None, False
        self._next_tick, self.state = tick, State.ARMED
        return Change.LOCATED if was_rolling else None

    def _resume(self, now: float) -> None:
        """Let the ticks go on after a Continue, if it takes the song to the same place in a loop right after a Stop.

        Some sequencers that loop send Stop, Song Position and Continue each time round.
        """
        if self._halt is None or now - self._halt[0] > self._follower.period * CLOCKS_PER_BEAT:
            return
        _, next_tick, ahead = self._halt
        ticks = next_tick - ahead - self._next_tick
        rounds = round(ticks / self.loop) * self.loop if self.loop else 0
        if rounds and abs(ticks - rounds) <= TICKS_PER_CLOCK:
            self._next_tick += ahead + rounds
            self._ahead_then = ahead + rounds
            self._resumes = True

    @property
    def resumed(self) -> bool:
        """Whether it rolled right after a Stop, whole loops from where it was."""
        return self._resumes

    def _stop(self, now: float) -> Change | None:
        was_stopped = self.state is State.STOPPED
        if self.state is State.ROLLING:
            self.ahead, self._ahead_then = self._next_tick - self._song_next, None
            self._halt = now, self._next_tick, self.ahead
        if self.state is State.ROLLING or self._resumes:
            # From here on a Continue goes by the song's own position.
            self._next_tick = self._song_next
        self.state, self._lost, self._doubt, self._resumes = State.STOPPED, False, None, False
        return None if was_stopped else Change.STOPPED

    def expire(self, now: float) -> Change | None:
        """Stop if no clock has come for a beat, and judge a message in doubt if there are no clocks to tell."""
        if self.deadline is None or now < self.deadline:
            return None
        if self._doubt is not None:
            return self._judge(now)
        self.rebase()
        self.state, self._lost = State.STOPPED, True
        return Change.LOST

    @property
    def deadline(self) -> float | None:
        """A beat after the last clock, while rolling; earlier if a message is in doubt."""
        if self.state is not State.ROLLING or self._last_clock is None:
            return None
        if self._doubt is not None:
            return self._doubt.ends(self._follower.period)
        return self._last_clock + self._follower.period * CLOCKS_PER_BEAT

    @property
    def settled(self) -> bool:
        """Whether two clocks have come in a row."""
        return self._follower.locked

    # ---- monitoring -----------------------------------------------------------------------------------------------

    @property
    def health(self) -> Health:
        """How well the clock can be followed."""
        return Health(self._follower.jitter_s, self._follower.lost, self._follower.extra)

    @property
    def doubled(self) -> bool:
        """Whether every clock currently comes twice."""
        return self._follower.doubled

    @property
    def crowded(self) -> bool:
        """Whether more clocks come than one source sends."""
        return self._follower.crowded
