"""Continuations with a note model: it has heard the player's notes one by one, and is sampled one note at a time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.cells import OUT_OF_KEY, Knobs
from rtgen.inference.exchange import scale_of
from rtgen.inference.hearing import Remembered, hearing, plain, remembered, spelling_of, told_to
from rtgen.inference.model import Model, Tensor, step_of
from rtgen.inference.sequence import DENSER, SYMBOLS_PER_BEAT, into_c
from rtgen.inference.stream import WINDOW, Told
from rtgen.music.attributes import NAMES, SD
from rtgen.music.key import folded
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, TICKS_PER_SIXTEENTH

FIGURE = 4
"""Notes in a figure, each given by its shift from the previous onset and its pitch."""
_AT_ONCE = 6
"""Most simultaneous onsets."""
_AHEAD = 4
"""Notes by which an answer may exceed its maximum so far; the maximum is spread evenly over its length."""
_TURN = 2.5
"""Standard deviations of music between the two ends of an attribute knob."""
_TILT = 0.1
"""Log-odds per semitone that the register knob adds to pitches when fully turned up."""
_LEAN = 1.0
"""Log-odds that the other knobs add to choices when fully turned up: length per doubling of the duration, density per
halving of the shift, polyphony for a shift of 0, syncopation for a shift to an off-beat."""
_FIRM = 4
"""Exponent of the key lock in the penalty of pitches outside the key. The network knows the key by itself; with a
stronger lock in the middle of the knob, answers would be in key more often than real music."""
_STALE = 30.0
"""Log-odds penalty, with the repetition knob at 0, of a pitch that would repeat a figure."""
_NEVER = -1e4
"""Noise that rules out a choice whatever the network's logits."""


def continued(model: Model, past: Sequence[Loop], loop: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Continues the past loops and this one, for the length of this one.

    Notes already heard (`hear`) are not heard again; this does not change the answer. Notes are sampled one by one, in
    the player's key, with a context saying that the preceding loop was like the player's. Timing follows the player's
    at the same places in the bar, and velocity leans towards the player's.
    """
    scale = scale_of((n for heard in (*past, loop) for n in heard.notes), knobs)
    if not loop.notes or scale is None:
        return loop
    up = into_c(scale)
    told = told_to(model, past, loop, up)
    memory = hearing(model).hear(model, told)
    assert memory is not None  # nothing stops it
    pen = _Pen(model, told, loop, knobs, rng)
    pen.prefer(np.array([not scale.contains(int(pitch) - up) for pitch in pen.pitches]))
    while not pen.full:
        memory = pen.draw(memory)
    return _played(pen.written, loop, model, up, knobs) or loop


class _Pen:
    """Writes a loop note by note, with limits so that it ends and stays musical.

    Args:
        model: the continuer.
        told: what was played.
        loop: the last loop of it, which is continued.
        knobs: by name.
        rng: source of all randomness.
    """

    def __init__(self, model: Model, told: Told, loop: Loop, knobs: Knobs, rng: np.random.Generator) -> None:
        spelling, grid = spelling_of(model), model.card.grid
        self.written: list[tuple[int, int, int, int]] = []
        """Notes: steps from the beginning of the answer, row, and the classes of duration and velocity."""
        self.pitches = np.arange(grid.pitch_low, grid.pitch_high + 1)
        self._model, self._spelling, self._rng = model, spelling, rng
        self._shifts = np.array(spelling.shifts)
        self._bar, self._beat = round(loop.bar / grid.step), grid.steps_per_beat
        self._length = grid.steps(loop.length)
        self._at = int(told.step[-1])
        # Skip bars of silence before the boundary that no shift can span.
        self._begin = told.end
        while self._begin - self._at > self._shifts[-1] and self._begin - self._bar > self._at:
            self._begin -= self._bar
        self._past = told.struck(grid.pitches, self._length + 1)
        self._heard: dict[str, Tensor] = {
            "note": told.note[-1:],
            "place": told.place[-1:],
            "context": told.context[-1:],
        }
        turned = np.array([knobs.get(name, 0.5) - 0.5 for name in NAMES], np.float32)
        self._ahead = told.ahead.copy()
        self._ahead[: len(NAMES)] = np.clip(self._ahead[: len(NAMES)] + _TURN * turned, -4, 4)
        self._chord: set[int] = set()
        self._stuck = False
        self._runs = 0
        self._repetition = knobs.get("repetition", 0.5)
        self._wanted = step_of(model.card)
        self._plain = {**plain(model), "temperature": np.full((1, 1), knobs["temperature"], np.float32)}
        self._key_lock = knobs["key_lock"]
        self._lean(dict(zip(NAMES, (2 * turned).tolist(), strict=True)))
        self._limit(told, loop, float(turned[NAMES.index("density")]))
        self._learn(told)

    def _lean(self, turned: dict[str, float]) -> None:
        """Sets the log-odds that attribute knobs, from -1 to 1, add to choices besides changing the context."""
        self._bias: NDArray[np.float64] = _TILT * turned["register"] * (self.pitches - self.pitches.mean())
        self._off_beat = _LEAN * turned["syncopation"]
        of_shift = -turned["density"] * np.log2(np.maximum(self._shifts, 1)) + turned["polyphony"] * (self._shifts == 0)
        of_duration = turned["length"] * np.log2(self._spelling.durations)
        others = np.zeros(len(self.pitches)), np.zeros(len(self._spelling.velocities))
        # Noise is added after unlikely choices are cut off, so this only shifts weight among likely ones.
        self._leans = _LEAN * np.concatenate([of_shift, others[0], of_duration, others[1]])

    def prefer(self, outside: NDArray[np.bool_]) -> None:
        """Lowers the log-odds of pitches outside the key."""
        self._bias = self._bias - OUT_OF_KEY * self._key_lock**_FIRM * outside

    def _limit(self, told: Told, loop: Loop, denser: float) -> None:
        """Limits the number of notes and the length of rests, by the player's habits and the density knob."""
        beats, times = loop.length / PPQN, 4.0**denser
        self._cap = SYMBOLS_PER_BEAT[1] * beats
        self._most = min(max(DENSER * times * told.last, beats), self._cap)
        begin = told.end - self._length
        columns = [begin, *told.step[len(told.step) - told.last :].tolist(), told.end]
        longest = max(b - a for a, b in pairwise(columns)) / times
        self._patience = min(max(ceil(longest), self._beat), max(self._length // 2, 1))

    def _learn(self, told: Told) -> None:
        """Records the figures of the call: which note followed each three notes."""
        self._figures: dict[tuple[tuple[int, int], ...], Counter[int]] = defaultdict(Counter)
        self._latest: tuple[tuple[int, int], ...] = ()
        for shift, row in told.note[len(told.note) - told.last :, :2].tolist():
            self._say(shift, row)

    def _say(self, shift: int, row: int) -> None:
        if len(self._latest) == FIGURE - 1:
            self._figures[self._latest][row] += 1
        self._latest = (*self._latest, (shift, row))[-(FIGURE - 1) :]

    @property
    def full(self) -> bool:
        """Whether the loop is written, or has used up its notes or runs."""
        ended = self._at >= self._begin + self._length
        return ended or len(self.written) >= self._cap or self._runs >= 3 * self._most + 8

    def draw(self, memory: Remembered) -> Remembered:
        """Samples the next note and writes it; returns the new states."""
        allowed, least = self._allowed()
        feed = self._feed(memory)
        noise = feed["noise"][0]
        noise[: allowed.start] = noise[allowed.stop : len(self._shifts)] = _NEVER
        outputs = self._run(feed)
        if outputs["chosen"][0, 0] not in allowed:
            # No likely shift is allowed: go to the next beat, or the next possible step.
            on_beat = (i for i in allowed if (self._at + self._shifts[i] - self._begin) % self._beat == 0)
            feed["given"] = feed["given"].copy()
            feed["given"][0, 0] = next(on_beat, allowed.start)
            outputs = self._run(feed)
        chosen = outputs["chosen"][0].tolist()
        at = self._at + self._spelling.shifts[chosen[0]]
        if at < least:
            at, chosen[0] = least, int(self._spelling.shift(least - self._at))
        self._stuck = at == self._at and chosen[1] <= max(self._chord, default=-1)
        if self._stuck:
            return memory  # chords are written from the lowest note up; this one repeats a note or lies below
        self._write(at, *chosen)
        return remembered(outputs)

    def _run(self, feed: dict[str, Tensor]) -> dict[str, Tensor]:
        self._runs += 1
        return self._model.run(feed, self._wanted)

    def _feed(self, memory: Remembered) -> dict[str, Tensor]:
        noise = self._leans + self._rng.gumbel(size=len(self._leans))
        if self._off_beat:
            noise[: len(self._shifts)] += self._off_beat * ((self._at + self._shifts - self._begin) % self._beat != 0)
        # Below the knob's middle, the past bars are shown only now and then.
        echo = float(self._rng.random() < 2 * self._repetition)
        bias = self._bias.copy()
        for row, times in self._figures.get(self._latest, Counter[int]()).items():
            bias[row] -= _STALE * (1 - self._repetition) ** 4 * times
        return {
            **self._plain,
            **self._heard,
            **memory,
            "past": self._past[None, :, self._at : self._at + WINDOW + 1],
            "noise": noise[None].astype(np.float32),
            "bias": bias[None].astype(np.float32),
            "echo": np.full((1, 1), echo, np.float32),
        }

    def _allowed(self) -> tuple[range, int]:
        """The allowed shift classes, and the earliest step for the next onset."""
        crowded = self._stuck or len(self._chord) >= _AT_ONCE
        least = max(self._begin, self._at + crowded)
        # Too many notes so far: the next one has to come later.
        least = max(least, self._begin + ceil((len(self.written) - _AHEAD) * self._length / self._most))
        latest = max(max(self._at, self._begin) + self._patience, least)
        # If the end is within reach, shifts beyond it are allowed.
        shifts, ends = self._spelling.shifts, latest >= self._begin + self._length
        first = bisect_left(shifts, least - self._at)
        beyond = len(shifts) if ends else bisect_right(shifts, latest - self._at)
        if first >= beyond:
            first = int(np.argmin(np.abs(self._at + self._shifts - least)))
            beyond = first + 1
        return range(first, beyond), least

    def _write(self, at: int, shift: int, row: int, duration: int, velocity: int) -> None:
        self._chord = {*self._chord, row} if at == self._at else {row}
        self._at = at
        if at >= self._begin + self._length:
            return
        self._past[row, WINDOW + at] = duration + 1
        place = [(at - self._begin) % self._bar, self._bar]
        self._heard = {
            "note": np.array([[shift, row, duration, velocity]], np.int64),
            "place": np.array([place], np.float32),
            "context": self._ahead[None],
        }
        self._say(shift, row)
        self.written.append((at - self._begin, row, duration, velocity))


# ---- loops ----------------------------------------------------------------------------------------------------------


def _played(
    written: Sequence[tuple[int, int, int, int]], loop: Loop, model: Model, up: int, knobs: Knobs
) -> Loop | None:
    """The written notes with the player's timing and loudness; None if there are none."""
    if not written:
        return None
    grid, spelling = model.card.grid, spelling_of(model)
    early = _timing(loop, grid.step)
    louder = fmean(n.velocity for n in loop.notes) - fmean(spelling.velocities[v] for *_, v in written)
    louder += _TURN * (knobs.get("velocity", 0.5) - 0.5) * SD[NAMES.index("velocity")]
    notes = []
    for step, row, duration, velocity in written:
        tick = step * grid.step
        onset = min(max(tick + early.get(_sixteenth(tick, loop), 0), 0), loop.length - 1)
        lasts = min(spelling.durations[duration] * grid.step, loop.length - onset)
        loud = min(max(round(spelling.velocities[velocity] + louder / 2), 1), 127)
        notes.append(Note(onset, folded(row + grid.pitch_low - up), lasts, loud))
    return loop.with_notes(notes).monophonic_by_pitch()


def _timing(loop: Loop, step: int) -> dict[int, int]:
    """Mean deviation from the grid in ticks, at each sixteenth of the bar."""
    found: dict[int, list[int]] = defaultdict(list)
    for n in loop.notes:
        found[_sixteenth(n.onset, loop)].append(n.onset - round(n.onset / step) * step)
    return {sixteenth: round(fmean(off)) for sixteenth, off in found.items()}


def _sixteenth(tick: int, loop: Loop) -> int:
    """The sixteenth of its bar nearest to a tick."""
    return round(tick % loop.bar / TICKS_PER_SIXTEENTH) % ceil(loop.bar / TICKS_PER_SIXTEENTH)
