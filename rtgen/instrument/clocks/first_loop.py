"""Infers tempo, downbeat and bars of a loop that was played without a click.

The press that closes a loop is its last downbeat, so the loop is a whole number of bars: each number that gives a tempo
in range is a candidate. If the hands paused instead, every pulse that the notes fit is one. A grid of sixteenths is
fitted to the notes of each. Then a log-linear model says how likely it is (a conditional logit: McFadden, Conditional
Logit Analysis of Qualitative Choice Behavior, 1974): by tempo and density, by where in the bar the notes lie and the
low ones among them, and by how much the bars are alike. `python -m train.measures.tempo` has its figures, and chooses
its weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, exp, log2
from typing import NamedTuple

from rtgen.music.time import PPQN, TICKS_PER_SIXTEENTH, Metre

SLOWEST, FASTEST = 50.0, 180.0
"""Usual range of the tempo, BPM."""
BARS = (1, 2, 3, 4, 6, 8)
"""Bars that a loop may have."""
_MOST = 256
"""Notes struck at different times beyond these many are not looked at."""
_TOGETHER_S = 0.035
"""Notes struck within this time are a chord, in seconds."""
_NOISE_S = 0.02
"""Deviation of notes from the grid (standard deviation), seconds."""
_PRESS_S = 0.015
"""The same for the press that closes the loop."""
_FIRST_S = 0.03
"""How far the first note may be from the downbeat (standard deviation), seconds."""
_OFF = 4.0
"""Most that a note off the grid counts, in squared standard deviations."""
_WINDOW_S, _WINDOW = 4.0, 8
"""Pulses are looked for in so many seconds first, and in at least so many notes."""
_PULSES = 14
"""So many of them are looked at closely."""
_TOLD = 5.0
"""How much more likely (natural logarithm) loops are that have the number of bars that the player was told of."""
WEIGHTS: Mapping[str, float] = {
    "tempo": -2.45,
    "tempo_squared": -4.52,
    "density": 1.85,
    "off": -1.75,
    "on_downbeats": 3.36,
    "on_middles": 0.34,
    "on_beats": 1.98,
    "low_on_downbeats": 4.19,
    "low_on_middles": 4.10,
    "low_on_beats": 0.92,
    "alike": 3.07,
    "one_bar": -3.91,
    "three_or_six": -2.72,
}
"""Weights of the features; chosen by `python -m train.measures.tempo --choose` on songs that are not measured."""


class Onset(NamedTuple):
    """A note that was struck.

    Args:
        time: in seconds.
        pitch: MIDI pitch.
        velocity: 1-127.
    """

    time: float
    pitch: int
    velocity: int


class Struck(NamedTuple):
    """Notes that were struck together.

    Args:
        time: in seconds.
        pitches: all of them.
        low: whether they are among the lowest of the loop.
    """

    time: float
    pitches: frozenset[int]
    low: bool


class Grid(NamedTuple):
    """A grid of sixteenths.

    Args:
        start: time of the first downbeat, seconds.
        beat: length of a beat, seconds.
        off: how far the notes are from it, in mean squared standard deviations.
    """

    start: float
    beat: float
    off: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a loop.

    Args:
        tempo: BPM.
        downbeat: time of its first downbeat, seconds.
        bars: its length.
        confidence: probability that this is right, 0-1.
    """

    tempo: float
    downbeat: float
    bars: int
    confidence: float


def infer(
    onsets: Iterable[Onset],
    closed: float | None,
    metre: Metre,
    *,
    usual: int | None = None,
    slowest: float = SLOWEST,
    fastest: float = FASTEST,
) -> Found | None:
    """Return the likeliest tempo, downbeat and number of bars of a loop; None if none is possible.

    Args:
        onsets: the notes, the first of which is at the downbeat or near it.
        closed: when the player closed the loop, on the downbeat after it, in seconds; None if the hands paused.
        metre: its time signature.
        usual: number of bars that the player was told of; None if they may be any.
        slowest: lowest tempo, BPM.
        fastest: highest tempo, BPM.
    """
    struck = together(onsets, closed)
    found = candidates(struck, closed, metre, slowest, fastest)
    if not found:
        return None
    scores = []
    for grid, bars in found:
        known = features(struck, grid, bars, metre)
        # A loop of one bar is rare, unless it was asked for.
        known["one_bar"] *= usual != 1
        scores.append(_score(known) + _TOLD * (bars == usual))
    best = max(range(len(found)), key=scores.__getitem__)
    grid, bars = found[best]
    return Found(60 / grid.beat, grid.start, bars, 1 / sum(exp(score - scores[best]) for score in scores))


def _score(of: Mapping[str, float]) -> float:
    return sum(weight * of[name] for name, weight in WEIGHTS.items())


def together(onsets: Iterable[Onset], closed: float | None = None) -> list[Struck]:
    """Join notes that are struck together, and leave out those that are struck with the press that closes the loop."""
    chords: list[list[Onset]] = []
    for onset in sorted(onsets):
        if closed is not None and onset.time > closed - 2 * _TOGETHER_S and chords:
            break
        if chords and onset.time - chords[-1][0].time <= _TOGETHER_S:
            chords[-1].append(onset)
        else:
            chords.append([onset])
    del chords[_MOST:]
    lowest = [min(onset.pitch for onset in chord) for chord in chords]
    low = sorted(lowest)[len(lowest) // 4] if lowest else 0
    return [
        Struck(sum(o.time for o in chord) / len(chord), frozenset(o.pitch for o in chord), least <= low)
        for chord, least in zip(chords, lowest, strict=True)
    ]


def candidates(
    struck: Sequence[Struck], closed: float | None, metre: Metre, slowest: float, fastest: float
) -> list[tuple[Grid, int]]:
    """Return the grids that a loop may have, each with its number of bars; arguments as of `infer`."""
    if not struck:
        return []
    beats, first = metre.bar / PPQN, struck[0].time
    if closed is None:
        return _pulses(struck, beats, slowest, fastest)
    length = closed - first
    return [
        (_fit(struck, Grid(first, length / (bars * beats)), (bars * metre.bar // TICKS_PER_SIXTEENTH, closed)), bars)
        for bars in BARS
        if slowest <= 60 * bars * beats / max(length, 1e-3) <= fastest
    ]


def _pulses(struck: Sequence[Struck], beats: float, slowest: float, fastest: float) -> list[tuple[Grid, int]]:
    """Return the pulses that the notes fit best, at least by and by: first those at the beginning, then all."""
    first = struck[0].time
    many = max(sum(each.time - first < _WINDOW_S for each in struck), min(_WINDOW, len(struck)))
    if many < 2:
        return []
    window = struck[:many]
    # Fine enough for the last note of the window to stay in its sixteenth.
    finer = 1 + min(0.025 / max(window[-1].time - first, 0.5), 0.02)
    periods = [60 / fastest]
    while periods[-1] < 60 / slowest:
        periods.append(periods[-1] * finer)
    fits = [_fits(window, first, period / 4) for period in periods]
    peaks = [i for i, fit in enumerate(fits) if fit >= max(fits[max(i - 2, 0) : i + 3])]
    found: list[tuple[Grid, int]] = []
    for i in sorted(peaks, key=lambda i: -fits[i])[:_PULSES]:
        grid, count = Grid(first, periods[i]), many
        while True:
            grid = _fit(struck[:count], grid)
            if count == len(struck):
                break
            count = min(count * 3 // 2, len(struck))
        if not slowest * 0.99 <= 60 / max(grid.beat, 1e-3) <= fastest * 1.01:
            continue
        # The last note may be late for its beat, and one on a downbeat begins a bar of its own.
        bars = max(ceil((struck[-1].time - grid.start + grid.beat / 8) / (grid.beat * beats)), 1)
        if bars <= BARS[-1] and all(abs(grid.beat / other.beat - 1) > 0.004 for other, _ in found):
            found.append((grid, bars))
    return found


def _fits(struck: Sequence[Struck], first: float, step: float) -> float:
    """Return how well notes fit a grid with steps of so many seconds: 0 by chance, 1 exactly."""
    total = 0.0
    for each in struck:
        place = (each.time - first) / step
        error = (place - round(place)) * step / _NOISE_S
        total += exp(-0.5 * error * error)
    chance = min(2.5 * _NOISE_S / step, 1.0)
    return (total / len(struck) - chance) / (1.05 - chance)


def _fit(struck: Sequence[Struck], grid: Grid, end: tuple[int, float] | None = None) -> Grid:
    """Fit a grid to notes by least squares; those that are far from it count little.

    Args:
        struck: the notes.
        grid: where to begin.
        end: a sixteenth that is known, and its time in seconds.
    """
    start, step, off = grid.start, grid.beat / 4, 0.0
    for _ in range(2):
        known = [(0, struck[0].time, (_NOISE_S / _FIRST_S) ** 2)]
        if end is not None:
            known.append((*end, (_NOISE_S / _PRESS_S) ** 2))
        off = 0.0
        for each in struck:
            place = round((each.time - start) / step)
            error = ((each.time - start - place * step) / _NOISE_S) ** 2
            known.append((place, each.time, 1 / (1 + error)))
            off += min(error, _OFF)
        weight = sum(w for _, _, w in known)
        place_mean = sum(w * place for place, _, w in known) / weight
        time_mean = sum(w * time for _, time, w in known) / weight
        spread = sum(w * (place - place_mean) ** 2 for place, _, w in known)
        if spread < 1e-6:
            break
        slope = sum(w * (place - place_mean) * (time - time_mean) for place, time, w in known) / spread
        if slope < 0.01:
            break
        start, step = time_mean - slope * place_mean, slope
    return Grid(start, 4 * step, off / len(struck))


def features(struck: Sequence[Struck], grid: Grid, bars: int, metre: Metre) -> dict[str, float]:
    """Return what the model knows of a candidate, by the names in `WEIGHTS`."""
    bar, step = metre.bar // TICKS_PER_SIXTEENTH, grid.beat / 4
    pulse = bar // metre.beats * (3 if metre.unit >= 8 and metre.beats % 3 == 0 else 1) or 1
    middle = bar // 2 if bar % (2 * pulse) == 0 else 0
    share, low = [0.0] * 4, [0.0] * 4
    lows = max(sum(each.low for each in struck), 1)
    bars_of: list[set[tuple[int, int]]] = [set() for _ in range(bars)]
    for each in struck:
        number, place = divmod(round((each.time - grid.start) / step), bar)
        level = 0 if place == 0 else 1 if place == middle else 2 if place % pulse == 0 else 3
        share[level] += 1 / len(struck)
        low[level] += each.low / lows
        if 0 <= number < bars:
            bars_of[number].update((place, pitch) for pitch in (*each.pitches, -1))
    pairs = list(pairwise(bars_of))
    alike = sum(len(a & b) / max(len(a | b), 1) for a, b in pairs) / max(len(pairs), 1)
    tempo = log2(60 / grid.beat / 100)
    return {
        "tempo": tempo,
        "tempo_squared": tempo * tempo,
        "density": log2(len(struck) / (bars * metre.bar / PPQN)),
        "off": grid.off,
        "on_downbeats": share[0],
        "on_middles": share[1],
        "on_beats": share[2],
        "low_on_downbeats": low[0],
        "low_on_middles": low[1],
        "low_on_beats": low[2],
        "alike": alike,
        "one_bar": float(bars == 1),
        "three_or_six": float(bars & (bars - 1) != 0),
    }
