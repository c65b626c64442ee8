"""The role `drummer`: how near it comes to how beats were struck, and to beats of which only the rhythm was tapped."""

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
"""The key that rhythms are tapped on."""
SURE = 0.1
"""The temperature at which the likeliest beat is played."""
_SNARE = 38
Rhythm = NDArray[np.bool_]
"""On which steps something is struck; of one loop, or of several."""
Place = tuple[int, int]
"""A drum, and the step of the bar."""


def scores(model: Model, loops: Sequence[Loop], train: Loops, seed: int) -> Scores:
    """`feel_velocity` (of 127) and `feel_timing` (ticks): how far off a stiff beat is struck, with `humanise` 1.

    `beat_f1`: F1 of the onsets of a beat whose rhythm was tapped on one key, and `beat_follows`: how many of its taps
    it strikes. And how the distance of a variation follows its knob.

    Args:
        model: of the role.
        loops: beats.
        train: what it was trained on, for the baselines.
        seed: of answers.
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
    """A loop with the drums that General MIDI has."""
    moved = (replace(n, pitch=GENERAL_MIDI.get(n.pitch, n.pitch)) for n in loop.notes)
    return loop.with_notes(moved).monophonic_by_pitch()


def tapped(loop: Loop) -> Loop:
    """The rhythm of a loop on one key."""
    return loop.with_notes(replace(n, pitch=TAPPED) for n in loop.notes).monophonic_by_pitch()


class Usual:
    """How drums are struck at each place of a bar, in the mean: how loud beside the others of a loop, and how late."""

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
        """A stiff loop, struck so."""

        def usual(note: Note) -> Note:
            louder, later = self._mean.get(self._place(note, loop), (0.0, 0.0))
            velocity = min(max(round(note.velocity + louder), 1), 127)
            return replace(note, onset=min(round(note.onset + later), loop.length - 1), velocity=velocity)

        return loop.with_notes(map(usual, loop.notes))

    def _place(self, note: Note, loop: Loop) -> Place:
        return note.pitch, round(note.onset / self._grid.step) % self._grid.steps(loop.bar)


def _off(made: Loop, meant: Loop) -> tuple[float, float]:
    """By how much the velocity and the onset of notes are off, in the mean."""
    true = {(n.pitch, round(n.onset / GRID.step) % GRID.steps(meant.length)): n for n in meant.notes}
    pairs = [(n, true.get((n.pitch, round(n.onset / GRID.step) % GRID.steps(meant.length)))) for n in made.notes]
    off = [(abs(a.velocity - b.velocity), abs(a.onset - b.onset)) for a, b in pairs if b is not None]
    velocity, onset = np.mean(off, axis=0) if off else (np.nan, np.nan)
    return float(velocity), float(onset)


def _steps(loop: Loop) -> Rhythm:
    """On which steps something is struck."""
    found = np.zeros(GRID.steps(loop.length), bool)
    found[[min(max(round(n.onset / GRID.step), 0), len(found) - 1) for n in loop.notes]] = True
    return found


def _nearest(rhythm: Rhythm, rhythms: Rhythm) -> int:
    """The number of the rhythm that has most in common with one, by F1."""
    return int((2 * (rhythms & rhythm).sum(axis=1) / (rhythms.sum(axis=1) + rhythm.sum()).clip(1)).argmax())


def _follows(made: Loop, taps: Loop) -> float:
    wanted = _steps(taps)
    return float((_steps(made) & wanted).sum() / max(wanted.sum(), 1))
