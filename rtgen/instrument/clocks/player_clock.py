"""The transport without any clock: the first loop that is played says tempo and downbeat."""

from __future__ import annotations

from math import ceil

from rtgen.instrument.clocks.first_loop import FASTEST, SLOWEST, Found, Onset, infer
from rtgen.instrument.clocks.internal_clock import InternalClock
from rtgen.instrument.clocks.tempo_follower import TempoFollower
from rtgen.instrument.clocks.transport import Change, State
from rtgen.instrument.notices import LoopClosed
from rtgen.music import midi
from rtgen.music.time import MAX_TEMPO, MIN_TEMPO, PPQN, seconds_per_tick

_READY_S = 0.25
"""After a pause of the hands, and a correction, the song begins at a bar line at least this much later, seconds."""
_MOST = 8192
"""So many messages of the first loop are kept, half of which may be others than notes."""
_CLOSE_S = 0.8
"""In so many seconds the clock makes up for the player's lead or lag."""
_MORE = 0.08
"""For that it plays faster or slower by this share of the tempo at most."""
_LONGEST_S = 120.0
"""A first loop that nobody closes is given up after this time, in seconds."""
_ROOM = 0.02
"""The player is followed this much beyond the range of the clock, as a share of the tempo."""


class PlayerClock(InternalClock):
    """Our own clock, as the player's first loop has it.

    The first note opens the loop. `close`, or a Start or Continue, closes it on the downbeat that follows it; so does a
    pause of the hands. Then the song rolls: tick 0 is the first downbeat of the loop, and the first bar line after it
    is at its length. From then on the tempo follows the player's within `give`. After a Stop the next note opens a new
    loop.

    Args:
        tempo: BPM until it is known.
    """

    anew = True

    def __init__(self, tempo: float = 120.0) -> None:
        super().__init__(tempo)
        self.slowest, self.fastest = SLOWEST, FASTEST
        self.pause_s = 0.0
        """How long the hands pause until the loop is closed, in seconds; 0: they never close it."""
        self.found: Found | None = None
        """What the last loop said; None if nothing could be found."""
        self.first_loop: list[tuple[float, bytes]] = []
        """The messages of the first loop with their times, until the next call begins."""
        self._onsets: list[Onset] = []
        self._held: set[tuple[int, int]] = set()
        self._last = 0.0
        self._opened = self._closed = float("-inf")
        self._follower: TempoFollower | None = None
        self._steady_at: float | None = None
        self._usual = tempo / 60
        self._rate: float | None = None
        self._news: LoopClosed | None = None

    def look_for(self, slowest: float, fastest: float, pause_s: float) -> None:
        """Set the range of the tempo (BPM), and the pause of the hands that closes a loop, in seconds; 0: none does."""
        self.slowest, self.fastest, self.pause_s = slowest, fastest, pause_s

    def news(self) -> LoopClosed | None:
        """Return what the last loop said, once."""
        news, self._news = self._news, None
        return news

    # ---- the first loop ---------------------------------------------------------------------------------------------

    def hear(self, now: float, message: bytes) -> bool:
        """Process music that was played at `now`; return whether it belongs to the first loop, which is kept here."""
        struck = midi.is_note_on(message)
        if self.state is State.ROLLING:
            if self.first_loop and self.tick_at(now) >= 2 * self.loop:
                self.first_loop = []
            if struck:
                self._follow(now)
            return False
        if self.state is State.STOPPED:
            if not struck:
                return False
            self._open(now)
        # However much a controller sends, there is room for notes.
        if len(self.first_loop) < (_MOST if midi.is_note(message) else _MOST // 2):
            self.first_loop.append((now, message))
            if struck:
                self._onsets.append(Onset(now, message[1], message[2]))
        if midi.is_note(message):
            self._last = now
            key = (message[0] & 0x0F, message[1])
            (self._held.add if struck else self._held.discard)(key)
        return True

    def close(self, now: float) -> Change | None:
        """Close the first loop on the downbeat after it; while the song rolls, stop."""
        if self.state is State.ARMED:
            return self._infer(now, now)
        return self.feed(now, bytes((midi.STOP,)))

    def correct(self, now: float, factor: float) -> Change | None:
        """Multiply the tempo; the bars become as many more, and the first loop is heard again as long as it is known.

        Args:
            now: seconds.
            factor: 0.5 or 2.
        """
        tempo = self.tempo * factor
        if self.state is not State.ROLLING or self.found is None or not MIN_TEMPO <= tempo <= MAX_TEMPO:
            return None
        downbeat = self.time_at(self.tick_at(now) // self.loop * self.loop)
        bars = min(max(ceil(self.found.bars * factor), 1), 8)
        self.found = Found(tempo, self.found.downbeat, bars, self.found.confidence)
        return self._begin(now, downbeat, now + _READY_S)

    def _open(self, now: float) -> None:
        self.state, self.found = State.ARMED, None
        self.first_loop, self._onsets, self._held, self._opened = [], [], set(), now

    def _infer(self, now: float, pressed: float | None) -> Change | None:
        self.found = infer(
            self._onsets,
            pressed,
            self.metre,
            usual=self.loop // self.metre.bar or None,
            slowest=self.slowest,
            fastest=self.fastest,
        )
        if self.found is None:
            return self._give_up()
        self._closed = now
        earliest = now + _READY_S if pressed is None else float("-inf")
        return self._begin(now, self.found.downbeat, earliest)

    def _give_up(self) -> Change:
        self.state, self.first_loop, self._onsets = State.STOPPED, [], []
        self._news = LoopClosed(0.0, 0, 0.0)
        return Change.STOPPED

    def _begin(self, now: float, downbeat: float, earliest: float) -> Change:
        """Roll: the loop ends at the first bar line that is neither before its end nor too early to be met."""
        assert self.found is not None
        self._seconds_per_tick = seconds_per_tick(self.found.tempo)
        bar_s, bars = self.metre.bar * self._seconds_per_tick, self.found.bars
        if earliest > downbeat + bars * bar_s:
            bars = ceil((earliest - downbeat) / bar_s)
        self._news = LoopClosed(self.found.tempo, self.found.bars, self.found.confidence)
        self._begun, self.state = True, State.ROLLING
        self._tick, self._time = self.found.bars * self.metre.bar, downbeat + bars * bar_s + self.offset_s
        self._start_following(now)
        return Change.ROLLED

    def tick_at(self, time: float) -> int:
        """Return the tick nearest to `time`, in seconds; in the first loop, that of the loop."""
        if time < self._closed and self.found is not None:
            return round((time - self.found.downbeat) / seconds_per_tick(self.found.tempo))
        return super().tick_at(time)

    @property
    def entry(self) -> int:
        """The tick from which on what was played belongs to the song."""
        return 0 if self.first_loop else self._tick

    # ---- the song ---------------------------------------------------------------------------------------------------

    def feed(self, now: float, message: bytes) -> Change | None:
        """Process a transport message; Start and Continue close an open loop, and Stop gives it up."""
        if self.state is State.ARMED:
            if message[0] in (midi.START, midi.CONTINUE):
                return self.close(now)
            return self._give_up() if message[0] == midi.STOP else None
        if self.found is None:
            return None
        change = super().feed(now, message)
        if change is Change.STOPPED:
            # It goes on with the tempo alone, not with what made up for a lead or lag.
            self._seconds_per_tick = seconds_per_tick(self.tempo)
            self.first_loop, self._follower, self._steady_at = [], None, None
        elif change is Change.ROLLED:
            self._start_following(now)
        return change

    def expire(self, now: float) -> Change | None:
        """Close the first loop if the hands pause, or let the tempo be steady once the player has been met."""
        if self.deadline is None or now < self.deadline:
            return None
        if self.state is State.ARMED:
            return self._infer(now, None) if self.pause_s and not self._held else self._give_up()
        self._steady(now)
        return None

    @property
    def deadline(self) -> float | None:
        """When the hands have paused long enough, or the player has been met, in seconds."""
        if self.state is State.ROLLING:
            return self._steady_at
        if self.state is not State.ARMED:
            return None
        return self._last + self.pause_s if self.pause_s and not self._held else self._last + _LONGEST_S

    def skip(self, now: float, gap: float) -> Change | None:
        """Resume the song where it was; an open loop is given up."""
        if self.state is State.ARMED:
            return self._give_up()
        change = super().skip(now, gap)
        if change is not None:
            self.first_loop = []
            self._start_following(now)
        return change

    def roll(self, now: float, at: float, tick: int, bar: int) -> Change | None:  # noqa: ARG002
        """Do nothing: without a first loop there is no tempo."""
        return None

    def set_tempo(self, now: float, tempo: float) -> None:
        """Set the tempo (BPM) from `now` on, and follow the player from there."""
        super().set_tempo(now, tempo)
        if self.state is State.ROLLING:
            self._start_following(now)

    @property
    def tempo(self) -> float:
        """BPM, but for what makes up for the player's lead or lag."""
        return super().tempo if self._rate is None else 60 * self._rate

    # ---- following --------------------------------------------------------------------------------------------------

    def _start_following(self, now: float) -> None:
        self._rate = self._steady_at = None
        rate = self._usual = self.tempo / 60
        self._follower = TempoFollower(now, self._beat(now), rate, rate, rate)

    def _beat(self, now: float) -> float:
        return (self._tick + (now + self.offset_s - self._time) / self._seconds_per_tick) / PPQN

    def _follow(self, now: float) -> None:
        follower = self._follower
        if follower is None or not self.give:
            return
        room = self.give + _ROOM
        follower.slowest, follower.fastest = self._usual * (1 - room), self._usual * (1 + room)
        follower.hear(now)
        lead = follower.beat_at(now) - self._beat(now)
        self._set_rate(now, follower.rate, lead / _CLOSE_S)
        self._steady_at = now + _CLOSE_S

    def _steady(self, now: float) -> None:
        self._steady_at = None
        if self._follower is not None:
            self._set_rate(now, self._follower.rate)

    def _set_rate(self, now: float, rate: float, more: float = 0.0) -> None:
        """Go on from the present position at another rate.

        Args:
            now: seconds.
            rate: the player's, in beats a second; `give` limits it.
            more: what makes up for a lead or lag, in beats a second; nothing does for a player who is out of reach.
        """
        slowest, fastest = self._usual * (1 - self.give), self._usual * (1 + self.give)
        most = _MORE * self._usual if slowest <= rate <= fastest else 0.0
        self._rate = min(max(rate, slowest), fastest)
        rate = self._rate + min(max(more, -most), most)
        # A whole tick: positions are never floats.
        tick = int((self._beat(now)) * PPQN)
        self._time += (tick - self._tick) * self._seconds_per_tick
        self._tick, self._seconds_per_tick = tick, seconds_per_tick(60 * rate)
