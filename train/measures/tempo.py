"""Measures tempo, downbeat and bars of first loops, and how the clock follows the player, on POP909.

    python -m train.measures.tempo --data pop909.zip --count 300

Loops of 2 and 4 bars are cut at downbeats of songs with even numbers, one of a song, where a note is struck within
50 ms of the downbeat. The truth is the `beat_midi.txt` beside each song. Most of POP909 is on
its grid to the millisecond, so there are rows with notes that are moved at random as well.

`--choose` fits the weights of `rtgen.instrument.clocks.first_loop` instead, on the songs with odd numbers, by maximum
likelihood with a ridge penalty, and prints them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import pi, sin
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from rtgen.instrument.clocks import first_loop
from rtgen.instrument.clocks.first_loop import FASTEST, SLOWEST, Found, Onset, candidates, features, infer, together
from rtgen.instrument.clocks.player_clock import PlayerClock
from rtgen.instrument.clocks.transport import State
from rtgen.music import midi
from rtgen.music.time import PPQN, Metre
from train.measures.score import bootstrap
from train.prepare.sources import find
from train.prepare.sources.midi import BEATS, parse_beats, quick, seconds_at

METRE = Metre()
HANDS: dict[str, tuple[str, ...]] = {
    "piano": ("PIANO",),
    "melody": ("MELODY",),
    "both": ("MELODY", "BRIDGE", "PIANO"),
}
"""What is played, as tracks of a song."""
NEAR_S = 0.05
"""How far the first note of a loop is from its downbeat at most, seconds."""
PRESS_S = 0.03
"""The press that closes the loop is this early or late at most (evenly distributed), seconds."""
LEAST = 6
"""Fewest notes of a loop."""
WITHIN, WITHIN_S = 0.02, 0.04
"""Goals: error of the tempo, as a share of it, and of the downbeats, in seconds."""
DRIFT = 0.08
"""Most that the player's tempo drifts, as a share of it."""
FOLLOWED = 32
"""Bars for which it is followed."""
EVEN, LEAST_FOLLOWED, REST = 0.05, 16, 4
"""How much a beat differs from the others at most where the player is followed, as a share; for how many beats the
player is followed at least; and how long a rest ends that, in beats."""
LOST = 0.125
"""The bar is lost where the clock is off by more, in beats."""
Song = tuple[str, dict[str, NDArray[np.float64]], NDArray[np.float64], NDArray[np.bool_]]
"""Name; per track onset (seconds), pitch and velocity; beats in seconds; which are downbeats."""
app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class Case:
    """A loop, and what is true of it.

    Args:
        song: where it is from.
        bars: its length.
        beats: its beats and the next downbeat, in seconds.
        onsets: its notes.
        following: notes that come after it in the song.
        after: the beats after it, in seconds.
    """

    song: str
    bars: int
    beats: tuple[float, ...]
    onsets: tuple[Onset, ...]
    following: tuple[Onset, ...] = ()
    after: tuple[float, ...] = ()

    @property
    def tempo(self) -> float:
        """BPM."""
        return 60 * (len(self.beats) - 1) / (self.beats[-1] - self.beats[0])


def songs(data: Path, odd: bool) -> Iterator[Song]:
    """Yield the songs with odd or even numbers."""
    for source in find.find([data]):
        stem = Path(source.song).stem
        if not stem.isdigit() or int(stem) % 2 != odd:
            continue  # other versions of a song lie in a folder beside it
        content, beats = source.bytes(), source.beside(BEATS).bytes()
        score = quick(content) if content is not None else None
        if score is None or beats is None:
            continue
        tracks = {
            name: np.stack([seconds_at(notes[0], score.tempos), notes[1], notes[3]]) for name, _, notes in score.tracks
        }
        yield stem, tracks, *parse_beats(beats.decode("utf-8", "replace"), source.name)


@dataclass(frozen=True, slots=True)
class Part:
    """What is played of a song: onset (seconds), pitch and velocity of its notes in order of time."""

    song: Song
    notes: NDArray[np.float64]

    @classmethod
    def of(cls, song: Song, hands: str) -> Part:
        """Return some hands' part."""
        played = [song[1][track] for track in HANDS[hands] if track in song[1]]
        notes = np.concatenate([np.zeros((3, 0)), *played], axis=1)
        return cls(song, notes[:, np.argsort(notes[0], kind="stable")])

    def places(self, bars: int) -> list[tuple[int, int]]:
        """Return where loops of so many bars are: their first beat, and the one after their last."""
        times, marks = self.song[2], np.flatnonzero(self.song[3])
        found = []
        for first, last in zip(marks.tolist(), marks[bars:].tolist(), strict=False):
            low, high = np.searchsorted(self.notes[0], times[[first, last]] - NEAR_S)
            if last - first == 4 * bars and high - low >= LEAST and abs(self.notes[0, low] - times[first]) <= NEAR_S:
                found.append((first, last))
        return found

    def case(self, first: int, last: int) -> Case:
        """Return a loop."""
        times = self.song[2]
        end = min(last + 4 * FOLLOWED, len(times) - 1)
        low, high, until = np.searchsorted(self.notes[0], [times[first] - NEAR_S, times[last] - NEAR_S, times[end]])
        beat = (times[last] - times[first]) / (last - first)
        # Nobody can be followed who does not play.
        rests = np.flatnonzero(np.diff(self.notes[0, high:until], prepend=times[last]) > REST * beat)
        if len(rests):
            until = high + int(rests[0])
            end = max(last, int(np.searchsorted(times, self.notes[0, until - 1], "right")) - 1)
        return Case(
            self.song[0],
            (last - first) // 4,
            tuple(times[first : last + 1]),
            _onsets(self.notes[:, low:high]),
            _onsets(self.notes[:, high:until]),
            tuple(times[last : end + 1]),
        )


def steady(case: Case) -> bool:
    """Return whether the beats after a loop are even: where they are not, the truth is doubtful, or drifts itself."""
    beats = np.diff(case.after)
    return len(beats) >= LEAST_FOLLOWED and bool(np.all(np.abs(beats / np.median(beats) - 1) < EVEN))


def _onsets(notes: NDArray[np.float64]) -> tuple[Onset, ...]:
    return tuple(Onset(float(t), int(p), int(v)) for t, p, v in notes.T)


def drawn(data: Path, hands: str, count: int, seed: int) -> list[Case]:
    """Return one loop a song of 2 or 4 bars, of so many songs."""
    rng, found = random.Random(seed), []
    for song in songs(data, odd=False):
        part = Part.of(song, hands)
        if places := part.places(rng.choice((2, 4))):
            found.append(part.case(*rng.choice(places)))
        if len(found) == count:
            break
    return found


def human(case: Case, spread_s: float, rng: random.Random) -> Case:
    """Return the loop with every note moved at random, by this standard deviation, in seconds."""

    def moved(onsets: Sequence[Onset]) -> tuple[Onset, ...]:
        return tuple(sorted(o._replace(time=o.time + rng.gauss(0, spread_s)) for o in onsets))

    return replace(case, onsets=moved(case.onsets), following=moved(case.following))


# ---- tempo, downbeat and bars ----------------------------------------------------------------------------------------

Guesser = Callable[[Case, float | None], Found | None]


def ours(case: Case, closed: float | None) -> Found | None:
    """What rtgen says if the loop may have any number of bars."""
    return infer(case.onsets, closed, METRE)


def told(case: Case, closed: float | None) -> Found | None:
    """What rtgen says if the preset has told the player how many bars to play."""
    return infer(case.onsets, closed, METRE, usual=case.bars)


def histogram(case: Case, closed: float | None) -> Found | None:
    """Baseline: the beat is the commonest time between two notes, the downbeat the first note."""
    times = [each.time for each in together(case.onsets, closed)]
    gaps = np.array([b - a for i, a in enumerate(times) for b in times[i + 1 :] if b - a < 2 * 60 / SLOWEST])
    periods = np.arange(60 / FASTEST, 60 / SLOWEST, 0.005)
    period = float(periods[np.argmax([np.exp(-0.5 * ((gaps - p) / 0.015) ** 2).sum() for p in periods])])
    if closed is None:
        return Found(60 / period, times[0], max(int(np.ceil((times[-1] - times[0]) / (4 * period))), 1), 1.0)
    bars = max(round((closed - times[0]) / (4 * period)), 1)
    return Found(240 * bars / (closed - times[0]), times[0], bars, 1.0)


GUESSERS: dict[str, Guesser] = {"rtgen, bars unknown": ours, "rtgen, bars as told": told, "histogram": histogram}


def verdict(case: Case, found: Found | None) -> tuple[bool, bool, str]:
    """Return whether the tempo and both downbeats are right, and a name for the error of the tempo."""
    if found is None:
        return False, False, "none"
    ratio = found.tempo / case.tempo
    end = found.downbeat + found.bars * METRE.bar / PPQN * 60 / found.tempo
    right = abs(found.downbeat - case.beats[0]) <= WITHIN_S and abs(end - case.beats[-1]) <= WITHIN_S
    for name, times in (("", 1.0), ("half", 0.5), ("double", 2.0)):
        if abs(ratio / times - 1) <= WITHIN:
            return not name, right, name
    return False, right, "other"


def measured(loops: Sequence[Case], by: Guesser, press: bool, seed: int) -> str:
    """Return a row of the table."""
    rng = random.Random(seed)
    tempo, downbeat, errors = [], [], Counter[str]()
    for case in loops:
        closed = case.beats[-1] + rng.uniform(-PRESS_S, PRESS_S) if press else None
        right, on, error = verdict(case, by(case, closed))
        tempo.append(right)
        downbeat.append(on)
        errors[error] += not right
    both = np.array(tempo) & np.array(downbeat)
    low, high = bootstrap(both.astype(float))
    wrong = ", ".join(f"{name} {count}" for name, count in errors.most_common() if count)
    return f"{np.mean(tempo):.3f} | {np.mean(downbeat):.3f} | {both.mean():.3f} ({low:.3f}-{high:.3f}) | {wrong or '-'}"


# ---- following -------------------------------------------------------------------------------------------------------


def drifted(case: Case, kind: str) -> tuple[list[Onset], list[float]]:
    """Return the notes and the beats after the loop, played with a tempo that drifts.

    Args:
        case: the loop.
        kind: `none`; `wave`: up and down within 16 bars; `up` or `down`: within 8 bars, and it stays there.
    """
    beats = np.array(case.after)
    place = np.arange(len(beats)) + 0.5
    match kind:
        case "wave":
            rate = np.array([1 + DRIFT * sin(2 * pi * b / 64) for b in place])
        case "up" | "down":
            rate = 1 + (DRIFT if kind == "up" else -DRIFT) * np.minimum(place / 32, 1)
        case _:
            rate = np.ones(len(beats))
    warped = beats[0] + np.concatenate([[0.0], np.cumsum(np.diff(beats) / rate[:-1])])
    onsets = [o._replace(time=float(np.interp(o.time, beats, warped))) for o in case.following if o.time < beats[-1]]
    return onsets, [float(b) for b in warped]


def followed(case: Case, kind: str, give: float, turns: bool) -> list[float]:
    """Return how far the clock is from each beat after a loop, in beats; empty if it did not begin.

    Args:
        case: the loop.
        kind: of the drift, as of `drifted`.
        give: as of `PlayerClock`.
        turns: whether every other loop is the answer's, in which nothing is played.
    """
    clock = PlayerClock()
    clock.give, clock.loop = give, case.bars * METRE.bar
    for onset in case.onsets:
        clock.hear(onset.time, midi.note_on(0, onset.pitch, onset.velocity))
    clock.close(case.beats[-1])
    if clock.state is not State.ROLLING or clock.found is None or clock.found.bars != case.bars:
        return []
    onsets, beats = drifted(case, kind)
    length = 4 * case.bars
    errors: list[float] = []
    coming = iter([*onsets, Onset(float("inf"), 0, 0)])
    onset = next(coming)
    for number, beat in enumerate(beats):
        while onset.time <= beat:
            while (due := clock.deadline) is not None and due <= onset.time:
                clock.expire(due)
            own = int(np.searchsorted(beats, onset.time, "right")) - 1
            if not (turns and own // length % 2 == 0):
                clock.hear(onset.time, midi.note_on(0, onset.pitch, onset.velocity))
            onset = next(coming)
        while (due := clock.deadline) is not None and due <= beat:
            clock.expire(due)
        errors.append(clock.tick_at(beat) / PPQN - length - number)
    return errors


def following(loops: Sequence[Case], kinds: Sequence[str], give: float, *, turns: bool = False) -> str:
    """Return a row of the table."""
    kept, beats, errors, lengths = [], [], [], []
    for i, case in enumerate(loops):
        off = followed(case, kinds[i % len(kinds)], give, turns)
        most = max(map(abs, off), default=1.0)
        kept.append(most <= LOST)
        beats.append(most < 0.5)
        if kept[-1]:
            errors += off
            lengths += [60 / case.tempo] * len(off)
    rms = np.sqrt(np.mean(np.square(errors))) if errors else np.nan
    rms_ms = np.sqrt(np.mean(np.square(np.array(errors) * np.array(lengths)))) * 1e3 if errors else np.nan
    return f"{np.mean(kept):.3f} | {np.mean(beats):.3f} | {rms:.3f} | {rms_ms:.0f}"


# ---- choosing the weights --------------------------------------------------------------------------------------------


def choose(data: Path, seed: int = 1, ridge: float = 5.0) -> dict[str, float]:
    """Return the weights that make the true grids of loops of 2, 4 and 8 bars the likeliest."""
    rng = random.Random(seed)
    tables, right = [], []
    for song in songs(data, odd=True):
        for hands in HANDS:
            part = Part.of(song, hands)
            for press in True, False:
                places = part.places(rng.choice((2, 4, 8)))
                if not places:
                    continue
                case = human(part.case(*rng.choice(places)), rng.choice((0.0, 0.01, 0.02)), rng)
                closed = case.beats[-1] + rng.uniform(-PRESS_S, PRESS_S) if press else None
                struck = together(case.onsets, closed)
                found = candidates(struck, closed, METRE, SLOWEST, FASTEST)
                true = [abs(60 / grid.beat / case.tempo - 1) <= WITHIN for grid, _ in found]
                if any(true) and not all(true):
                    tables.append([list(features(struck, grid, bars, METRE).values()) for grid, bars in found])
                    right.append(true)
    names = list(features(struck, found[0][0], 1, METRE))
    return dict(zip(names, _likeliest(tables, right, ridge), strict=True))


def _likeliest(tables: list[list[list[float]]], right: list[list[bool]], ridge: float) -> list[float]:
    most, width = max(map(len, tables)), len(tables[0][0])
    table = torch.zeros(len(tables), most, width, dtype=torch.double)
    there, true = torch.zeros(len(tables), most, dtype=torch.bool), torch.zeros(len(tables), most, dtype=torch.bool)
    for i, (rows, marks) in enumerate(zip(tables, right, strict=True)):
        table[i, : len(rows)] = torch.tensor(rows, dtype=torch.double)
        there[i, : len(rows)], true[i, : len(rows)] = True, torch.tensor(marks)
    scale = table[there].std(dim=0) + 1e-9
    weights = torch.zeros(width, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        scores = (table / scale) @ weights
        every = scores.masked_fill(~there, -1e9).logsumexp(dim=1)
        good = scores.masked_fill(~true, -1e9).logsumexp(dim=1)
        value = (every - good).sum() + ridge * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    found: list[float] = (weights.detach() / scale).tolist()
    return found


def first_loops(loops: Mapping[str, Sequence[Case]], rng: random.Random, seed: int) -> None:
    """Print the table of tempo, downbeat and bars."""
    print("\n| played | notes moved by | closed by | by | tempo | downbeats | both | errors of tempo |")
    print("|---|---|---|---|---|---|---|---|")
    for hands, exact in loops.items():
        for spread_ms in (0, 15):
            some = [human(case, spread_ms / 1e3, rng) for case in exact] if spread_ms else exact
            for press in True, False:
                for name, by in GUESSERS.items():
                    row = measured(some, by, press, seed)
                    print(
                        f"| {hands} | {spread_ms} ms | {'press' if press else 'pause'} | {name} | {row} |", flush=True
                    )


def follows(loops: Mapping[str, Sequence[Case]], rng: random.Random) -> None:
    """Print the table of following."""
    within = "within 1/8 beat | within 1/2 beat | rms, beats | rms, ms"
    print(f"\n| played | notes moved by | heard | drift | give | loops | {within} |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for hands, exact in loops.items():
        even = [case for case in exact if steady(case)]
        for spread_ms in (0, 15):
            some = [human(case, spread_ms / 1e3, rng) for case in even] if spread_ms else even
            for kinds, give in (
                (("wave", "up", "down"), 0.1),
                (("wave", "up", "down"), 0.0),
                (("none",), 0.1),
                (("none",), 0.0),
            ):
                for turns in (False, True) if give else (False,):
                    row = following(some, kinds, give, turns=turns)
                    drift = f"±{DRIFT:.0%}" if len(kinds) > 1 else "none"
                    heard = "every other loop" if turns else "always"
                    print(
                        f"| {hands} | {spread_ms} ms | {heard} | {drift} | {give:.0%} | {len(some)} | {row} |",
                        flush=True,
                    )


@app.command()
def main(
    data: Annotated[Path, typer.Option(help="POP909, as an archive or a folder.")] = Path("pop909.zip"),
    count: Annotated[int, typer.Option(min=1, help="Number of loops.")] = 300,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 2026,
    part: Annotated[Literal["all", "loops", "following"], typer.Option(help="What to measure.")] = "all",
    weights: Annotated[bool, typer.Option("--choose", help="Choose the weights instead, on the other songs.")] = False,
) -> None:
    """Print the figures of first loops and of following."""
    if weights:
        for name, value in choose(data).items():
            print(f'    "{name}": {value:.2f},')
        return
    loops = {hands: drawn(data, hands, count, seed) for hands in HANDS}
    print(f"weights of {len(first_loop.WEIGHTS)} features; loops: { {hands: len(x) for hands, x in loops.items()} }")
    if part != "following":
        first_loops(loops, random.Random(seed), seed)
    if part != "loops":
        follows(loops, random.Random(seed))


if __name__ == "__main__":
    app()
