"""The clock follower: the true times of clocks that arrive with jitter, in lumps, twice or not at all."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from math import copysign, sqrt

from rtgen.instrument.clocks.estimate import LONGEST_S, SHORTEST_S, Clock, Drift, Line, likeliest, steady
from rtgen.instrument.clocks.lumps import Lumps, in_pairs, is_audio_period

_JITTER_S = 0.001
"""What is expected of a clock that is not yet known."""
_OFF_S = 0.001
"""By which the best of clocks may be off."""
_LEARN = 10
"""Clocks after which it is: until then every one is believed."""
_WORTH = 9.0
"""By how much (errors in standard deviations, squared) another tempo must explain clocks better than chance does."""
_HALVES = 12
"""Clocks halfway between ours after which it is our tempo that has doubled, and not another clock that got in."""
_STALLS = 96
"""Clocks after a stall within which another is expected, so that a gap of whole periods is one, too."""
_PAUSE = 49
"""Clocks' time in which none came after which the next one begins anew: two beats."""
_HELD_S = 0.05
"""What a clock is late by, longer than any audio period, from which those that follow at once were held up with it."""
_AT_ONCE = 0.2
"""Periods within which they follow."""


class ClockFollower:
    """The true times of evenly meant clocks, and by how many of them the song moves.

    A Kalman filter follows the time and the period, and how much the clock jitters. What it cannot have foreseen is
    told apart by what is most likely:

    - errors that lean to one side: a new tempo, from the clock on since which it fits best;
    - a clock far off, and the next ones in their places: an outlier. One too many: another source, or ours connected
      twice. All later by whole periods: clocks got lost. All later by anything else: the source stalled. One that has
      just stalled is not thought to lose clocks as well. One far too late, and the next ones at once, until they are in
      their places: they were held up together on their way, and their times tell nothing.
    - gaps of two kinds only: clocks that come in lumps (`Lumps`). A time is then known to within a lump, so the line is
      left alone while they agree.

    A clock that is not understood moves nothing until the next ones explain it: the line goes on by itself.
    """

    def __init__(self, period_s: float) -> None:
        self.time = 0.0
        """Estimated time of the latest clock, seconds."""
        self.period = period_s
        """Estimated seconds between clocks."""
        self.lost = 0
        """Clocks that never came."""
        self.extra = 0
        """Clocks that were one too many."""
        self.relocks = 0
        """How often the tempo or the phase was found to be another."""
        self._line: Line | None = None
        self._count = 0
        self._jitter = _JITTER_S**2  # a variance
        self._lumps = Lumps()
        self._drift = Drift()
        self._heard: deque[float] = deque(maxlen=25)
        self._past: deque[Clock] = deque(maxlen=24)
        self._waiting: list[float] = []
        self._extras = 0.0  # their share of late
        self._phases: deque[float] = deque(maxlen=_HALVES)
        self._halves = 0
        self._slipped = self._calm = 0  # slips of this moment, and clocks without since
        self._doubtful = 0  # slips that may turn out to have been lumps
        self._inside = 0
        self._since_stall = _STALLS
        self._held_up = False

    @property
    def locked(self) -> bool:
        """Whether there were clocks enough to tell their period."""
        return self._line is not None and self._count > 1

    @property
    def doubled(self) -> bool:
        """Whether most clocks have been coming twice."""
        return self._extras > 0.3

    @property
    def jitter_s(self) -> float:
        """Standard deviation of the clocks from where they should be, as of late, seconds."""
        return sqrt(self._jitter)

    @property
    def lumps_s(self) -> float:
        """The period in whose multiples clocks arrive, seconds; 0 when they come one by one."""
        return self._lumps.period

    def expects(self, now: float) -> bool:
        """Whether a clock at `now` goes on where the last ones were."""
        if self._line is None:
            return False
        next_one = self._line.ahead()
        return abs(now - next_one.time) <= self._room(next_one)

    def restart(self) -> None:
        """Forgets where the clocks were, but not how fast."""
        self._line = None

    def clock(self, now: float) -> int:
        """A clock arrived at `now`; by how many clocks the song moves.

        That is 1 for most; 0 for one too many, or one that the next will explain; more where some were lost or are
        explained now; less than 0 when some turn out to have been too many.
        """
        line = self._line
        if line is None or not -2 * line.period < now - line.time < _PAUSE * line.period + LONGEST_S:
            # Clocks that wait to be understood, and no pause since, are those of another tempo.
            moved = 1 + (len(self._waiting) if line and 0 <= now - self._heard[-1] < LONGEST_S else 0)
            self._begin(now)
        else:
            self._lumps.hear(now - self._heard[-1])
            self._heard.append(now)
            moved = self._in_pairs(now) or self._in_lumps() or self._follow(now, line)
        assert self._line
        self.time, self.period = self._line.time, self._line.period
        return moved

    # ---- beginning --------------------------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        """Starts a line at `now`, with the period as it was as a first guess."""
        known = self.doubled
        guess = 0.05 if known else 0.1 if self._count > _LEARN else 2.0
        self._line = Line(now, self.period, self._noise, 0.0, (guess * self.period) ** 2)
        self._settle(_LEARN + 1 if known else 1)
        self._gap(now)
        self._inside = 0

    def _gap(self, now: float) -> None:
        """When clocks came up to `now` tells nothing about those that come next."""
        self._heard.clear()
        self._heard.append(now)
        self._lumps.interrupted()

    def _settle(self, count: int = _LEARN + 1) -> None:
        """The line is new; what led up to it is done with."""
        self._count = count
        self._drift.reset()
        self._waiting.clear()
        self._past.clear()
        self._phases.clear()
        self._halves = 0

    @property
    def _noise(self) -> float:
        """Variance of a clock's time."""
        return max(self._jitter, self._lumps.period**2 / 12)

    # ---- clock by clock ---------------------------------------------------------------------------------------------

    def _coarse(self, line: Line) -> bool:
        """Whether a clock errs or waits too long to tell by its time which one it is: then none is questioned."""
        return self._lumps.period > 0.33 * line.period or 4 * sqrt(self._jitter) > 0.6 * line.period

    def _fits(self, now: float, line: Line) -> bool:
        """Whether a clock at `now` is the one at the end of the line."""
        if self._count <= _LEARN or self._coarse(line):
            return True
        return abs(now - line.time) <= max(self._room(line), 4 * sqrt(line.var))

    def _room(self, line: Line) -> float:
        """How far a clock may be off before it is taken for another."""
        jitter = min(max(4 * sqrt(line.var + self._jitter), _OFF_S), 0.6 * line.period)
        return max(jitter, 0.75 * self._lumps.period)

    def _follow(self, now: float, line: Line) -> int:
        clocks = len(self._waiting) + 1
        ahead = line.ahead(clocks)
        was_held_up = self._held_up
        self._held_up = self._is_held_up(now, line, ahead)
        if was_held_up or self._held_up:
            self._gap(now)
        if self._held_up:
            self._line = ahead
            self._settle()
            return clocks
        if self._waiting and not self._fits(now, ahead):
            # Those that wait may have been too many.
            clocks = min(max(round((now - line.time) / line.period), 1), clocks)
            ahead = line.ahead(clocks)
        late = now - ahead.time
        if self._count > _LEARN and self._coarse(line) and late > self._lumps.period + 1.5 * line.period:
            if not self._waiting:
                self._waiting.append(now)
                return 0
            if self._inside > 2:
                missing = round(late / line.period)
                self.lost += missing
                return self._accept(now, line, clocks + missing)
        if self._fits(now, ahead):
            extra = len(self._waiting) + 1 - clocks
            return self._accept(now, line, clocks) if not extra else self._drop(now, line, clocks, extra)
        self._waiting.append(now)
        return self._explain(line)

    def _accept(self, now: float, line: Line, clocks: int) -> int:
        """Takes in a clock that is where it should be, `clocks` after the line."""
        self._calm += 1
        self._since_stall += 1
        if self._calm > 8:
            self._slipped = 0
        if self._calm > 96:
            self._doubtful = 0
        self._extras -= self._extras / 16
        self._waiting.clear()
        self._past.append(Clock(line, now, clocks))
        self._count += 1
        ahead = line.ahead(clocks)
        if self._lumps.period:
            self._line = self._within_lump(now, ahead)
            return clocks
        variance = ahead.var + self._jitter
        error = now - ahead.time
        self._line = ahead.towards(now, self._jitter)
        if self._count > 3:
            surprise = min(error * error, 16 * variance) - variance
            self._jitter += surprise / (8 if self._count < 16 else 32)
            self._jitter = min(max(self._jitter, 1e-8), (0.5 * line.period) ** 2)
        if 3 < self._count <= _LEARN:
            # What the jitter is shows only now, and the first clocks were given more or less weight than they deserve.
            first = self._past[0].before._replace(var=self._jitter, cov=0.0, pvar=(2 * line.period) ** 2)
            self._line = first.through(((clock.time, clock.steps) for clock in self._past), self._jitter)
        if self._count > _LEARN and (leaning := self._drift.add(error / sqrt(variance))):
            leant = [*self._past][-leaning - 1 :]
            cost, retimed = likeliest(leant, self._jitter)
            self._drift.reset()
            if steady(leant, self._jitter) - cost < _WORTH:
                return clocks
            self._line = retimed
            self.relocks += 1
            past = [*self._past]
            self._settle()
            self._past.extend(past)
            return clocks - self._undone(line.period)
        return clocks

    def _within_lump(self, now: float, line: Line) -> Line:
        """The line, moved no farther than that `now` is within a lump of it."""
        lump = self._lumps.period
        line = line.at_most(lump * lump / 12)
        error = now - line.time
        beyond = abs(error) - lump / 2
        self._inside = self._inside + 1 if beyond < lump / 4 else 0
        if beyond <= 0:
            return line
        line = line._replace(pvar=line.pvar + (min(beyond, lump) / 24) ** 2)
        return line.towards(line.time + copysign(beyond, error), (lump / 10) ** 2)

    def _is_held_up(self, now: float, line: Line, ahead: Line) -> bool:
        """Whether a clock is one more of those that were held up on their way and come at once; meant for `ahead`."""
        late = self._waiting[0] - line.ahead().time if self._waiting else 0.0
        at_once = now - self._heard[-2] < _AT_ONCE * line.period
        lump = self._lumps.period
        held = min(lump + 1.5 * line.period, _HELD_S) if lump else _HELD_S
        known = self._count > _LEARN and (self._held_up or late > held)
        return known and at_once and ahead.time < now

    # ---- what is not as foreseen ------------------------------------------------------------------------------------

    def _drop(self, now: float, line: Line, clocks: int, extra: int) -> int:
        """Takes in a clock that is in its place after some that were too many."""
        early = self._waiting[0] - line.time - line.period
        if extra == len(self._waiting) == 1 and self._is_lump(line, early):
            return self._now_in_lumps(line, early, now, clocks + 1)
        phase = (self._waiting[0] - line.time) / line.period
        halfway = extra == len(self._waiting) == 1 and abs(phase - 0.5) < 0.25
        phases, halves = [*self._phases, phase] if halfway else [], self._halves + 1 if halfway else 0
        self._slip(-extra)
        for _ in range(extra):
            self._extras += (1 - self._extras) / 16
        moved = self._accept(now, line, clocks)
        self._phases, self._halves = deque(phases, _HALVES), halves
        if self._midway(line):
            self.period, dropped = line.period / 2, halves
        elif period := self._evenly(line):
            self.period, dropped = period, min(-self._slipped, _HALVES)
        else:
            return moved
        self._extras = 0.0
        self.relocks += 1
        self._begin(now)
        self._slipped = 0
        return moved - self._take_back(-dropped)

    def _midway(self, line: Line) -> bool:
        """Whether what is dropped comes steadily in the middle between clocks."""
        if len(self._phases) < _HALVES:
            return False
        phases, half = [*self._phases], _HALVES // 2
        noise = 2 * sqrt(self._noise / _HALVES) / line.period
        drift = abs(sum(phases[half:]) - sum(phases[:half])) / half
        return abs(sum(phases) / _HALVES - 0.5) < 0.03 + noise and drift < max(0.02, 2 * noise)

    def _evenly(self, line: Line) -> float:
        """The period of clocks that all come evenly while every few of them are dropped; 0 if they do not."""
        if self._slipped > -3 or len(self._heard) < 10:
            return 0.0
        gaps = [b - a for a, b in pairwise([*self._heard][-10:])]
        mean = sum(gaps) / len(gaps)
        even = max(gaps) - min(gaps) < 0.3 * mean + 3 * sqrt(self._jitter) + 1.2 * self._lumps.period
        return mean if even and abs(mean / line.period - 0.5) > 0.08 and mean > SHORTEST_S else 0.0

    def _explain(self, line: Line) -> int:
        """Finds out why the latest clocks are not where they should be; 0 as long as that is open."""
        times, count = self._waiting, len(self._waiting)
        if count < (4 if self._lumps.period else 2):
            return 0
        next_one = line.ahead()
        spread = sqrt(2 * self._noise + next_one.var)
        shifted = max(abs(time - times[0] - i * line.period) for i, time in enumerate(times)) / spread
        past = [*self._past, *(Clock(line, time, 1) for time in times)][-count - 3 :]
        cost, retimed = likeliest(past, self._noise, count)
        changed = sqrt(cost / (count - 1))
        if min(shifted, changed) > 3.5:
            return self._give_up(times) if count >= 6 else 0
        # Another tempo is the likelier of two things that explain the same; in lumps they can hardly be told apart.
        if changed < shifted + (0.0 if self._lumps.period else 0.5):
            self._line = retimed
            self.relocks += 1
            self._settle()
            return count - self._undone(line.period)
        off = times[0] - next_one.time
        missing = round(off / line.period)
        if self._is_lump(line, off):
            return self._now_in_lumps(line, off, times[-1], count)
        room = min(max(self._room(next_one), 0.12 * line.period), 0.45 * line.period)
        if missing and abs(off - missing * line.period) < room and self._since_stall >= _STALLS:
            self._line = line.ahead(count + missing).towards(times[-1], self._noise)
        else:
            missing = 0
            jumped = Line(times[0], line.period, self._noise, 0.0, line.pvar + (0.01 * line.period) ** 2)
            self._line = jumped.through(((time, 1) for time in times[1:]), self._noise)
            self.relocks += 1
            self._since_stall = 0 if off > 0 else _STALLS
        self._slip(missing)
        self._settle()
        return count + missing

    def _give_up(self, times: list[float]) -> int:
        """Begins anew with clocks that nothing explains."""
        gaps = sorted(b - a for a, b in pairwise(times))
        count, last = len(times), times[-1]
        self.period = min(max(gaps[len(gaps) // 2], SHORTEST_S), LONGEST_S)
        self.relocks += 1
        self._count = 0
        self._begin(last)
        return count

    def _slip(self, clocks: int) -> None:
        """Counts clocks that were lost, or (below 0) too many."""
        self._slipped += clocks
        self._calm = 0
        self._doubtful += clocks
        self.lost += max(clocks, 0)
        self.extra += max(-clocks, 0)

    def _undone(self, period: float) -> int:
        """Slips of a moment ago that were the beginning of another tempo; the period was `period`."""
        assert self._line
        slips, self._slipped = self._slipped, 0
        ratio = self._line.period / period
        if not (slips < 0 and ratio < 0.9) and not (slips > 0 and ratio > 1.1):
            return 0
        return self._take_back(max(slips, -_HALVES))

    def _take_back(self, slips: int) -> int:
        self._doubtful -= slips
        self.lost = max(self.lost - max(slips, 0), 0)
        self.extra = max(self.extra - max(-slips, 0), 0)
        return slips

    # ---- clocks that come in lumps, or in pairs ---------------------------------------------------------------------

    def _is_lump(self, line: Line, off: float) -> bool:
        """Whether a clock that is off by so much was only brought by the audio period before, or after.

        When clocks are nearly a whole number of audio periods apart, that is seen seldom, and then is all that is seen.
        """
        periods = round(line.period / abs(off)) if off else 0
        if self._lumps.period or self.doubled or not periods or abs(abs(off) * periods / line.period - 1) > 0.15:
            return False
        return is_audio_period(line.period / periods, min(max(0.0015, 2 * sqrt(line.pvar) / line.period), 0.01))

    def _now_in_lumps(self, line: Line, off: float, now: float, clocks: int) -> int:
        """Takes it that clocks come in lumps of `off`, the latest of which has just begun."""
        since = max(self._count, 8)
        lump = line.period / round(line.period / abs(off))
        self._lumps.know(lump)
        # Until now they had crept from one end of the lump to the other.
        self._line = Line(now - off / 2, line.period + off / (2 * since), lump**2 / 12, 0.0, (lump / since / 2) ** 2)
        self._settle()
        self._slipped = 0
        return clocks - self._take_back(self._doubtful)

    def _in_lumps(self) -> int:
        """Looks for lumps; by how many clocks the song moves if they are found now, else 0."""
        if self._lumps.period or self._extras > 0.2:
            return 0
        lump = self._lumps.find()
        if not lump or self._jitter < (lump / 8) ** 2:
            return 0
        self._lumps.know(lump)
        first, count = self._heard[0], len(self._heard) - 1
        line = Line(first, (self._heard[-1] - first) / count, lump**2 / 12, 0.0, (lump / 4) ** 2)
        self._line = line.through(((time, 1) for time in [*self._heard][1:]), self._noise)
        moved = len(self._waiting) + 1 - self._take_back(self._doubtful)
        self._slipped = 0
        self._settle()
        return moved

    def _in_pairs(self, now: float) -> int:
        """Looks for clocks that all come twice from the start; by how many the song moves if that is found, else 0."""
        assert self._line
        if self.doubled or not (pairs := in_pairs([*self._heard], self._line.period)):
            return 0
        self._lumps.know(0.0)
        self.period, self._jitter, self._extras = pairs.period, _JITTER_S**2, 1.0
        self.extra += pairs.clocks
        self._begin(now)
        return 1 - pairs.clocks
