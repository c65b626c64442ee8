"""The clock follower: estimates the true times of MIDI clocks that jitter, arrive in lumps, double or get lost."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from math import copysign, sqrt

from rtgen.instrument.clocks.estimate import LONGEST_S, SHORTEST_S, Clock, Drift, Line, likeliest, possible, steady
from rtgen.instrument.clocks.lumps import Lumps, in_pairs, is_audio_period

_JITTER_S = 0.001
"""Initial estimate of the jitter (standard deviation), seconds."""
_OFF_S = 0.001
"""Least tolerance in a clock's time, however regular the source, seconds."""
_LEARN = 10
"""Clocks until the jitter is known; until then every clock is accepted."""
_WORTH = 9.0
"""Minimum improvement in fit, in squared standard deviations, for a leaning error to be taken as a tempo change."""
_HALVES = 12
"""Successive clocks midway between ours after which our tempo is taken to have doubled; fewer belong to a second
source."""
_STALLS = 96
"""Clocks after a stall during which another stall is expected, so that even a gap of whole periods counts as one."""
_CROWDED = 0.15
"""Share of surplus clocks from which there is a second source."""
_PAUSE = 49
"""A silence of this many clock periods (two beats) starts the tracking anew."""
_HELD_S = 0.05
"""Delay, longer than any audio period, from which a clock counts as held up together with those right behind it."""
_AT_ONCE = 0.2
"""A clock within this many periods of the one before is right behind it."""


class ClockFollower:
    """Estimates the true times of evenly sent clocks, and by how many clocks the song moves.

    A Kalman filter tracks time, period and jitter. Whatever departs from its prediction gets the likeliest explanation:

    - Errors that lean to one side: a tempo change, dated to the clock from which it fits best.
    - One clock far off and the next ones in place: an outlier. If there is one clock too many: a second source, or ours
      connected twice. If all later ones are late by whole periods: lost clocks. If they are late by anything else: the
      source stalled; shortly after a stall, no clocks are taken for lost.
    - One clock far too late, and the next ones right behind it until they are back in place: they were held up together
      in transit, and their times carry no information.
    - Gaps of two lengths only: clocks that arrive in lumps (`Lumps`). A time is then known only to within a lump, so
      the line stays as it is while the times agree with it.

    An unexplained clock moves nothing until later ones explain it; meanwhile the line is extrapolated.
    """

    def __init__(self, period_s: float) -> None:
        self.time = 0.0
        """Estimated time of the latest clock, seconds."""
        self.period = period_s
        """Estimated time between clocks, seconds."""
        self.lost = 0
        """Number of clocks that never came."""
        self.extra = 0
        """Number of surplus clocks."""
        self.relocks = 0
        """Number of times that the tempo or phase was found to have changed."""
        self._line: Line | None = None
        self._count = 0
        self._jitter = _JITTER_S**2  # variance
        self._lumps = Lumps()
        self._drift = Drift()
        self._heard: deque[float] = deque(maxlen=25)
        self._past: deque[Clock] = deque(maxlen=24)
        self._waiting: list[float] = []
        self._extras = 0.0  # recent share of surplus clocks
        self._phases: deque[float] = deque(maxlen=_HALVES)
        self._halves = 0
        self._crowd = 0.0  # the share of surplus clocks before those midway
        self._slipped = self._calm = 0  # recent slips, and clocks since the last one
        self._doubtful = 0  # slips that may yet prove to be lumps
        self._inside = 0
        self._since_stall = _STALLS
        self._held_up = False

    @property
    def locked(self) -> bool:
        """Whether enough clocks have come to estimate their period."""
        return self._line is not None and self._count > 1

    @property
    def doubled(self) -> bool:
        """Whether most recent clocks came twice."""
        return self._extras > 0.3

    @property
    def jitter_s(self) -> float:
        """Recent standard deviation of the clocks from their estimated times, seconds."""
        return sqrt(self._jitter)

    @property
    def lumps_s(self) -> float:
        """The period in multiples of which clocks arrive, seconds; 0 if they come one by one."""
        return self._lumps.period

    def expects(self, now: float) -> bool:
        """Return whether a clock at `now` continues the recent ones."""
        if self._line is None:
            return False
        next_one = self._line.ahead()
        return abs(now - next_one.time) <= self._room(next_one)

    @property
    def sure(self) -> bool:
        """Whether a clock can be told to be in place or not."""
        return self._line is not None and self._count > _LEARN and not self._coarse(self._line)

    @property
    def crowded(self) -> bool:
        """Whether more clocks come than one source sends."""
        return self._extras > _CROWDED

    def in_place(self, now: float) -> bool:
        """Return whether a clock at `now` is where one of ours is due, the next one or a later one."""
        if self._line is None:
            return False
        due = self._line.ahead(max(round((now - self._line.time) / self._line.period), 1))
        return abs(now - due.time) <= self._room(due)

    def restart(self) -> None:
        """Forget the phase of the clocks, but not their period."""
        self._line = None

    def clock(self, now: float) -> int:
        """Process a clock that arrived at `now` (seconds).

        Returns:
            By how many clocks the song moves. Usually 1; 0 for a surplus clock, or one that is still unexplained; more
            if clocks were lost or are explained only now; negative if some turn out to have been surplus.
        """
        line = self._line
        if line is None or not -2 * line.period < now - line.time < _PAUSE * line.period + LONGEST_S:
            # Unexplained clocks with no pause since belong to another tempo.
            moved = 1 + (len(self._waiting) if line and 0 <= now - self._heard[-1] < LONGEST_S else 0)
            self._begin(now)
        else:
            self._lumps.hear(now - self._heard[-1])
            self._heard.append(now)
            moved = self._in_pairs(now) or self._in_lumps() or self._follow(now, line)
        assert self._line
        self.time, self.period = self._line.time, self._line.period
        return moved

    # ---- start ------------------------------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        """Start a line at `now`, with the last period as the first guess."""
        known = self.doubled
        guess = 0.05 if known else 0.1 if self._count > _LEARN else 2.0
        period = possible(self.period)
        self._line = Line(now, period, self._noise, 0.0, (guess * period) ** 2)
        self._settle(_LEARN + 1 if known else 1)
        self._gap(now)
        self._inside = 0

    def _gap(self, now: float) -> None:
        """Drop the gaps up to `now`, as they say nothing about the next ones."""
        self._heard.clear()
        self._heard.append(now)
        self._lumps.interrupted()

    def _settle(self, count: int = _LEARN + 1) -> None:
        """Clear the history that led up to a new line."""
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
        """Return whether jitter or lumps are too large to identify a clock by its time; then none is questioned."""
        return self._lumps.period > 0.33 * line.period or 4 * sqrt(self._jitter) > 0.6 * line.period

    def _fits(self, now: float, line: Line) -> bool:
        """Return whether a clock at `now` is the one at the end of the line."""
        if self._count <= _LEARN or self._coarse(line):
            return True
        return abs(now - line.time) <= max(self._room(line), 4 * sqrt(line.var))

    def _room(self, line: Line) -> float:
        """Return how far off a clock may be, in seconds, before it is taken for another."""
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
            # The unexplained clocks may have been surplus.
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
            return self._accept(now, line, clocks, ahead) if not extra else self._drop(now, line, clocks, extra)
        self._waiting.append(now)
        return self._explain(line)

    def _accept(self, now: float, line: Line, clocks: int, ahead: Line | None = None) -> int:
        """Update the line with a clock that is in place, `clocks` after it; `ahead` is the line there, if known."""
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
        ahead = ahead or line.ahead(clocks)
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
            # The first clocks were weighted by a guessed jitter: refit them, now that it is known.
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
        """Return the line, moved only as far as needed for `now` to lie within a lump of it."""
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
        """Return whether a clock, due at `ahead`, is one of several that were held up and arrive at once."""
        late = self._waiting[0] - line.ahead().time if self._waiting else 0.0
        at_once = now - self._heard[-2] < _AT_ONCE * line.period
        lump = self._lumps.period
        held = min(lump + 1.5 * line.period, _HELD_S) if lump else _HELD_S
        known = self._count > _LEARN and (self._held_up or late > held)
        return known and at_once and ahead.time < now

    # ---- deviations -------------------------------------------------------------------------------------------------

    def _drop(self, now: float, line: Line, clocks: int, extra: int) -> int:
        """Accept a clock that is in place after `extra` surplus ones."""
        early = self._waiting[0] - line.time - line.period
        if extra == len(self._waiting) == 1 and self._is_lump(line, early):
            return self._now_in_lumps(line, early, now, clocks + 1)
        phase = (self._waiting[0] - line.time) / line.period
        halfway = extra == len(self._waiting) == 1 and abs(phase - 0.5) < 0.25
        if halfway and not self._phases:
            self._crowd = self._extras
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
        """Return whether the dropped clocks come steadily midway between the accepted ones.

        Those of a second source, which came before as well, are there only for a while on their way.
        """
        if len(self._phases) < _HALVES or self._crowd > _CROWDED:
            return False
        phases, half = [*self._phases], _HALVES // 2
        noise = 2 * sqrt(self._noise / _HALVES) / line.period
        drift = abs(sum(phases[half:]) - sum(phases[:half])) / half
        return abs(sum(phases) / _HALVES - 0.5) < 0.03 + noise and drift < max(0.02, 2 * noise)

    def _evenly(self, line: Line) -> float:
        """Return the period of clocks that all come evenly although some are dropped; 0 if they do not."""
        if self._slipped > -3 or len(self._heard) < 10:
            return 0.0
        gaps = [b - a for a, b in pairwise([*self._heard][-10:])]
        mean = sum(gaps) / len(gaps)
        even = max(gaps) - min(gaps) < 0.3 * mean + 3 * sqrt(self._jitter) + 1.2 * self._lumps.period
        return mean if even and abs(mean / line.period - 0.5) > 0.08 and mean > SHORTEST_S else 0.0

    def _explain(self, line: Line) -> int:
        """Explain why the latest clocks are out of place.

        Returns:
            By how many clocks the song moves; 0 while that is undecided.
        """
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
        # Prefer a tempo change to a shift that fits equally well, except in lumps, where they look much alike.
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
        """Start anew from clocks that nothing explains."""
        gaps = sorted(b - a for a, b in pairwise(times))
        count, last = len(times), times[-1]
        self.period = gaps[len(gaps) // 2]
        self.relocks += 1
        self._count = 0
        self._begin(last)
        return count

    def _slip(self, clocks: int) -> None:
        """Count lost clocks (positive) or surplus ones (negative)."""
        self._slipped += clocks
        self._calm = 0
        self._doubtful += clocks
        self.lost += max(clocks, 0)
        self.extra += max(-clocks, 0)

    def _undone(self, period: float) -> int:
        """Return the recent slips that were really the start of a tempo change from `period`."""
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

    # ---- lumps and pairs --------------------------------------------------------------------------------------------

    def _is_lump(self, line: Line, off: float) -> bool:
        """Return whether a clock off by this many seconds merely arrived one audio period early or late.

        When clocks are nearly a whole number of audio periods apart, this is rare, and the only sign of lumps.
        """
        periods = round(line.period / abs(off)) if off else 0
        if self._lumps.period or self.doubled or not periods or abs(abs(off) * periods / line.period - 1) > 0.15:
            return False
        return is_audio_period(line.period / periods, min(max(0.0015, 2 * sqrt(line.pvar) / line.period), 0.01))

    def _now_in_lumps(self, line: Line, off: float, now: float, clocks: int) -> int:
        """Switch to lumps of `off` seconds, the latest of which has just begun."""
        since = max(self._count, 8)
        lump = line.period / round(line.period / abs(off))
        self._lumps.know(lump)
        # Until now they crept from one end of the lump to the other.
        period = possible(line.period + off / (2 * since))
        self._line = Line(now - off / 2, period, lump**2 / 12, 0.0, (lump / since / 2) ** 2)
        self._settle()
        self._slipped = 0
        return clocks - self._take_back(self._doubtful)

    def _in_lumps(self) -> int:
        """Look for lumps.

        Returns:
            By how many clocks the song moves if lumps have just been found, else 0.
        """
        if self._lumps.period or self._extras > 0.2:
            return 0
        lump = self._lumps.find()
        if not lump or self._jitter < (lump / 8) ** 2:
            return 0
        self._lumps.know(lump)
        first, count = self._heard[0], len(self._heard) - 1
        line = Line(first, possible((self._heard[-1] - first) / count), lump**2 / 12, 0.0, (lump / 4) ** 2)
        self._line = line.through(((time, 1) for time in [*self._heard][1:]), self._noise)
        moved = len(self._waiting) + 1 - self._take_back(self._doubtful)
        self._slipped = 0
        self._settle()
        return moved

    def _in_pairs(self, now: float) -> int:
        """Look for clocks that all come twice from the start.

        Returns:
            By how many clocks the song moves if they do, else 0.
        """
        assert self._line
        heard = self._heard
        if len(heard) < 3 or heard[-2] - heard[-3] > 0.45 * (now - heard[-2]):
            return 0  # the gaps are not short and long in turn, as those of nearly every source
        if self.doubled or not (pairs := in_pairs([*self._heard], self._line.period)):
            return 0
        self._lumps.know(0.0)
        self.period, self._jitter, self._extras = pairs.period, _JITTER_S**2, 1.0
        self.extra += pairs.clocks
        self._begin(now)
        return 1 - pairs.clocks
