"""Evaluation of the role `drummer`: feel of stiff beats, and beats generated from a tapped rhythm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.drums import stiff
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.music.drums import GENERAL_MIDI
from rtgen.music.note import Loop, Note
from rtgen.music.time import Grid
from train.loops.dataset import Loops
from train.loops.sample import GRID
from train.measures.knobs import defaults, follows
from train.measures.music import onset_f1
from train.measures.table import Scores

TAPPED = 60
"""Pitch that rhythms are tapped on."""
SURE = 0.1
"""A low temperature, at which practically the likeliest beat is played."""
_SNARE = 38
Rhythm = NDArray[np.bool_]
"""Steps with an onset, of one loop or of several."""
Place = tuple[int, int]
"""Drum pitch and step of the bar."""


def scores(model: Model, loops: Sequence[Loop], train: Loops, seed: int) -> Scores:
    """Measure feel, tapped beats and the knob `distance`.

    `feel_velocity` (of 127) and `feel_timing` (ticks): mean error when a stiff beat is played with `humanise` 1.
    `beat_f1`: onset F1 of the beat generated from its rhythm tapped on one key. `beat_follows`: share of the taps that
    the beat strikes.

    Args:
        model: of the role.
        loops: beats.
        train: its training data, for the baselines.
        seed: of the answers.
    """
    loops = [on_general_midi(loop) for loop in loops if loop.notes]
    known = [on_general_midi(loop) for loop in train.as_loops(np.arange(len(train)))]
    usual = Usual(known, GRID)
    name = model.card.name
    feels: dict[str, Callable[[Loop], Loop]] = {
        "stiff": lambda loop: loop,
        "usual for its place": usual.struck,
        name: lambda loop: answer(model, loop, "clean", defaults(humanise=1.0), seed),
    }
    found: Scores = {}
    for contender, play in feels.items():
        off = [_off(play(stiff(loop, GRID)), loop) for loop in loops]
        found[contender] = {"feel_velocity": [v for v, _ in off], "feel_timing": [t for _, t in off]}
    taps = [tapped(loop) for loop in loops]
    rhythms = np.array([_steps(loop) for loop in known])
    beats: dict[str, Callable[[int], Loop]] = {
        "all on the snare": lambda i: taps[i].with_notes(replace(n, pitch=_SNARE) for n in taps[i].notes),
        "beat of the nearest rhythm": lambda i: known[_nearest(_steps(taps[i]), rhythms)],
        name: lambda i: answer(model, taps[i], "generate", defaults(temperature=SURE), seed + i),
    }
    for contender, make in beats.items():
        made = [make(i) for i in range(len(loops))]
        found.setdefault(contender, {})
        found[contender]["beat_f1"] = [onset_f1(a, b) for a, b in zip(made, loops, strict=True)]
        found[contender]["beat_follows"] = [_follows(a, b) for a, b in zip(made, taps, strict=True)]
    found[name] |= follows(model, loops, seed)
    return found


def on_general_midi(loop: Loop) -> Loop:
    """Map the drums of a loop to those of General MIDI."""
    moved = (replace(n, pitch=GENERAL_MIDI.get(n.pitch, n.pitch)) for n in loop.notes)
    return loop.with_notes(moved).monophonic_by_pitch()


def tapped(loop: Loop) -> Loop:
    """Put the rhythm of a loop on one key."""
    return loop.with_notes(replace(n, pitch=TAPPED) for n in loop.notes).monophonic_by_pitch()


class Usual:
    """Baseline: mean velocity, relative to the loop's mean, and mean timing of each drum at each step of the bar."""

    def __init__(self, loops: Sequence[Loop], grid: Grid) -> None:
        self._grid = grid
        self._seen: dict[Place, list[tuple[float, float]]] = defaultdict(list)
        for loop in loops:
            mean = sum(n.velocity for n in loop.notes) / max(len(loop), 1)
            for note in loop.notes:
                step = round(note.onset / grid.step)
                self._seen[self._place(note, loop)].append((note.velocity - mean, note.onset - step * grid.step))
        self._mean = {place: tuple(np.mean(seen, axis=0)) for place, seen in self._seen.items()}

    def struck(self, loop: Loop) -> Loop:
        """Apply the mean velocity and timing to a stiff loop."""

        def usual(note: Note) -> Note:
            louder, later = self._mean.get(self._place(note, loop), (0.0, 0.0))
            velocity = min(max(round(note.velocity + louder), 1), 127)
            return replace(note, onset=min(round(note.onset + later), loop.length - 1), velocity=velocity)

        return loop.with_notes(map(usual, loop.notes))

    def _place(self, note: Note, loop: Loop) -> Place:
        return note.pitch, round(note.onset / self._grid.step) % self._grid.steps(loop.bar)


def _off(made: Loop, meant: Loop) -> tuple[float, float]:
    """Mean absolute error of velocity and of onset (ticks)."""
    true = {(n.pitch, round(n.onset / GRID.step) % GRID.steps(meant.length)): n for n in meant.notes}
    pairs = [(n, true.get((n.pitch, round(n.onset / GRID.step) % GRID.steps(meant.length)))) for n in made.notes]
    off = [(abs(a.velocity - b.velocity), abs(a.onset - b.onset)) for a, b in pairs if b is not None]
    velocity, onset = np.mean(off, axis=0) if off else (np.nan, np.nan)
    return float(velocity), float(onset)


def _steps(loop: Loop) -> Rhythm:
    """Steps with an onset."""
    found = np.zeros(GRID.steps(loop.length), bool)
    found[[min(max(round(n.onset / GRID.step), 0), len(found) - 1) for n in loop.notes]] = True
    return found


def _nearest(rhythm: Rhythm, rhythms: Rhythm) -> int:
    """Index of the rhythm most similar to `rhythm`, by F1."""
    return int((2 * (rhythms & rhythm).sum(axis=1) / (rhythms.sum(axis=1) + rhythm.sum()).clip(1)).argmax())


def _follows(made: Loop, taps: Loop) -> float:
    wanted = _steps(taps)
    return float((_steps(made) & wanted).sum() / max(wanted.sum(), 1))
