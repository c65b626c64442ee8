"""Draws what a network will see: every augmentation of a real loop, or the training tasks of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator

from rtgen.music.note import Loop
from rtgen.music.time import PPQN
from rtgen.rig.canvas import AXIS, GONE, HEAD, KEPT, MARGIN, NEW, STRIP, WIDTH, Canvas, Colour, Panel, Sign, head
from rtgen.rig.picture import match
from train.config import read
from train.loops import dataset
from train.loops.augment import PLAIN_TEMPO, Augmentation
from train.loops.corrupt import corrupt, humanise, noisy
from train.loops.dataset import Loops
from train.loops.sample import DURATION, GRID, ONSET, PITCH, VELOCITY, Sample, changed
from train.models import build, images, kind
from train.models.base import Task
from train.prepare.sources.piece import BAR, EARLY

Change = Callable[[Sample, Generator], Sample]
NOISE = 0.5
"""Noise factor of `conv_dae`'s default experiment."""
_GAP, _BETWEEN = 40, 18
"""Pixels between panels."""
_PIXEL = 5
"""Height of a pitch in pixels."""
_ENLARGED = 960
"""Ticks that are drawn where changes are only a few ticks long."""
BEGINS: Colour = (206, 231, 255)
HIDDEN: Colour = (66, 77, 99)


@dataclass(frozen=True, slots=True)
class Row:
    """One augmentation in the picture.

    Args:
        setting: the line of YAML that enables it.
        says: description.
        change: applies it.
        before: applied first, so that there is something to change.
        compare: whether colours distinguish notes that were kept, added and left out.
        shown: ticks of the loop that are drawn; 0 draws all.
    """

    setting: str
    says: str
    change: Change
    before: Change = lambda sample, _: sample
    compare: bool = False
    shown: int = 0


def rows(loop: Sample) -> list[Row]:
    """All augmentations, with settings that make them change `loop`."""
    below = ceil(len(loop.notes) * PPQN / loop.length * 2 + 1) / 2
    tempo = loop.tempos[0]
    pace = "unchanged" if tempo == PLAIN_TEMPO else "stretched" if tempo < PLAIN_TEMPO else "compressed"
    return [
        Row("transpose: true", "by -5 to +6 semitones", Augmentation(transpose=True).apply),
        Row("velocity: true", "velocity times 0.7 to 1.2", Augmentation(velocity=True).apply),
        Row("dynamics: 1", "other accents, contrast and evenness", Augmentation(dynamics=1).apply),
        Row("shift: true", "rotated by 1/4, 1/2 or 3/4", Augmentation(shift=True).apply),
        Row(
            "ignore_tempo: false",
            f"in real time: {pace} at {tempo:.4g} BPM",
            Augmentation(ignore_tempo=False).apply,
        ),
        Row(
            f"double_below: {below:g}",
            "sparse loops repeated at double speed",
            Augmentation(double_below=below).apply,
        ),
        Row("repeat: true", "padding filled by repetition", Augmentation(repeat=True).apply, _first_bar, compare=True),
        Row(
            "quantise: true",
            "to 12 steps per beat (half a bar is shown)",
            Augmentation(quantise=True).apply,
            _loose,
            shown=_ENLARGED,
        ),
        Row("humanise: true", "input with timing jitter (half a bar is shown)", _loose, shown=_ENLARGED),
        Row("corrupt: true", "input with wrong and missing notes", _damaged, compare=True),
    ]


def _first_bar(sample: Sample, _: Generator) -> Sample:
    notes = sample.notes[sample.notes[:, ONSET] < sample.bar - EARLY]
    duration = np.minimum(notes[:, DURATION], sample.bar - notes[:, ONSET])
    return replace(
        sample, notes=changed(notes, {DURATION: duration}), filled=np.full(sample.count, sample.bar, np.int32)
    )


def _loose(sample: Sample, rng: Generator) -> Sample:
    return sample.with_notes(humanise(sample.notes, sample.count, np.full(sample.count, 1.0), sample.length, rng))


def _damaged(sample: Sample, rng: Generator) -> Sample:
    return sample.with_notes(corrupt(sample.notes, np.full(sample.count, 0.5), sample.length, rng))


def choose(loops: Loops, rng: Generator) -> Sample:
    """Picks, out of up to 2000 random loops, the one that shows augmentations best.

    It is neither dense nor sparse, varied in pitch, onset and velocity, not at 120 BPM, and its pitches fit a row.
    """

    def fits(index: int) -> int:
        notes = loops.notes[loops.offsets[index] : loops.offsets[index + 1]]
        onsets, pitches, velocities = (notes[:, column] for column in (ONSET, PITCH, VELOCITY))
        return sum(
            (
                14 <= len(notes) <= 26,
                velocities.std() > 14,
                50 < velocities.mean() < 90,
                np.median(notes[:, DURATION]) <= 480,
                12 <= np.ptp(pitches) <= 26,
                len(np.unique(pitches)) >= 8,
                len(np.unique(onsets)) >= 10,
                len(np.unique(onsets[onsets < _ENLARGED])) >= 4,
                len(np.unique(onsets * 4 // loops.length)) == 4,
                abs(np.log2(loops.tempos[index] / PLAIN_TEMPO)) > 0.3,
            )
        )

    return Sample.of(loops, np.array([max(rng.permutation(len(loops))[:2000], key=fits)]))


def draw(loops: Loops, out: Path, seed: int) -> None:
    """Writes a PNG of a loop before and after every augmentation, one per row.

    Raises:
        UserError: the file cannot be written.
    """
    rng = np.random.default_rng(seed)
    loop = choose(loops, rng)
    done = [(row, *_applied(row, loop, rng)) for row in rows(loop)]
    pitches = np.concatenate([s.notes[:, PITCH] for _, *both in done for s in both])
    low, high = max(int(pitches.min()) - 1, 0), min(int(pitches.max()) + 1, 127)
    height = STRIP + (high - low + 1) * _PIXEL
    canvas = Canvas(WIDTH, HEAD + (len(done) + 1) * (height + _BETWEEN) + MARGIN // 2)
    where = int(loop.indices[0])
    signs: list[Sign] = [("left out", None, GONE), ("new", NEW, None), ("kept", KEPT, None)]
    head(canvas, "Augmentation", f"{loops.songs[where]}   {loop.tempos[0]:.4g} BPM", signs)
    width = (WIDTH - 2 * MARGIN - AXIS - _GAP) / 2

    def panels(number: int, setting: str, says: str, shown: int = 0) -> tuple[Panel, Panel]:
        y = HEAD + number * (height + _BETWEEN)
        x = MARGIN + AXIS, MARGIN + AXIS + width + _GAP
        left, right = (Panel(canvas, at, y, width, _PIXEL, low, high, shown or loop.length, loop.bar) for at in x)
        left.grid(names=True, unit=GRID.step if shown else PPQN)
        right.grid(names=False, unit=GRID.step if shown else PPQN)
        left.caption(setting, "before")
        right.caption(says, "after")
        return left, right

    for number, (row, before, after) in enumerate(done):
        left, right = panels(number, row.setting, row.says, row.shown)
        _compare(left, right, *(_shown(s, row.shown) for s in (before, after)), compare=row.compare)
    left, right = panels(len(done), f"noise_factor: {NOISE}", "input with pixel noise")
    left.notes(_shown(loop).notes, KEPT)
    picture = noisy(images.draw(loop, velocity=True).numpy(), NOISE, rng)[0, 0]
    every = np.pad(picture, ((GRID.pitch_low, 127 - GRID.pitch_high), (0, 0)))
    right.pixels(every[low : high + 1].tolist(), GRID.step, KEPT)
    canvas.save(out)


def _applied(row: Row, loop: Sample, rng: Generator) -> tuple[Sample, Sample]:
    """The loop before and after; of eight draws, the one that changes it most."""
    before = row.before(loop, rng)

    def change(after: Sample) -> float:
        same = before.notes.shape == after.notes.shape
        return float(np.abs(before.notes - after.notes).sum()) if same else 0.0

    return before, max((row.change(before, rng) for _ in range(8)), key=change)


def _shown(sample: Sample, ticks: int = 0) -> Loop:
    (loop,) = dataset.to_loops(sample.notes, 1, sample.length)
    return loop.with_notes(n for n in loop.notes if n.onset < (ticks or sample.length) - EARLY)


def _compare(left: Panel, right: Panel, before: Loop, after: Loop, *, compare: bool) -> None:
    left.notes(before.notes, KEPT)
    if not compare:
        right.notes(after.notes, KEPT)
        return
    same = match(before, after)
    kept, known = {b for _, b in same}, {a for a, _ in same}
    right.notes((n for n in before.notes if n not in known), None, GONE)
    right.notes((n for n in after.notes if n in kept), KEPT)
    right.notes((n for n in after.notes if n not in kept), NEW)


# ---- the tasks of a configuration -----------------------------------------------------------------------------------

_NAMES = {"roll": "input", "picture": "input", "target": "target"}
_COLUMNS, _LINES = 3, 3


def draw_tasks(name: str, data: Path | str, out: Path, seed: int) -> None:
    """Writes a PNG of a configuration's training tasks: the network's input, above the target if that is different.

    Raises:
        UserError: there is no such configuration or dataset, or the picture cannot be written.
    """
    from train.loops.mix import source

    config = read(name)
    loops = source(data, "train", config)
    found = kind(config.model).settings_from(loops.loops, config.architecture)
    net = build(config.model, {**config.architecture, **found})
    rng = np.random.default_rng(seed)
    task = net.draw(loops, _COLUMNS * _LINES, rng)
    shown = {name: x for name, x in task.items() if name in _NAMES and x.ndim == 4}
    if not shown:
        shown = {"target": images.draw(loops.draw(_COLUMNS * _LINES, rng), velocity=True, onset=True)}
    low = int({**config.architecture, **found}.get("low", GRID.pitch_low))
    _tasks(shown, task.get("mask"), low, f"{len(loops):,} loops", out, title=config.model)


def _tasks(shown: Task, mask: torch.Tensor | None, lowest: int, facts: str, out: Path, *, title: str) -> None:
    pictures = [images.from_roll(x, True, True) if x.shape[1] == 4 else x for x in shown.values()]
    rows = pictures[-1].shape[2]
    used = torch.nonzero(pictures[-1][:, 0].sum((0, 2)))
    low, high = (max(int(used.min()) - 3, 0), min(int(used.max()) + 3, rows - 1)) if len(used) else (0, rows - 1)
    length = pictures[0].shape[3] * GRID.step
    height = STRIP + (high - low + 1) * _PIXEL
    line = len(pictures) * (height + 4) + _GAP
    canvas = Canvas(WIDTH, HEAD + _LINES * line - _GAP + MARGIN // 2)
    signs: list[Sign] = [("onset", BEGINS, None), ("hold", KEPT, None)]
    head(canvas, title, facts, [("masked", HIDDEN, None), *signs] if mask is not None else signs)
    width = (WIDTH - 2 * MARGIN - AXIS - (_COLUMNS - 1) * _GAP) / _COLUMNS
    for number in range(_COLUMNS * _LINES):
        column = number % _COLUMNS
        x = MARGIN + AXIS + column * (width + _GAP)
        for i, (name, picture) in enumerate(zip(shown, pictures, strict=True)):
            y = HEAD + number // _COLUMNS * line + i * (height + 4)
            panel = Panel(canvas, x, y, width, _PIXEL, lowest + low, lowest + high, length, BAR)
            panel.grid(names=column == 0)
            panel.caption(_NAMES[name] if len(shown) > 1 else "target", "")
            planes: Sequence[tuple[torch.Tensor, Colour]] = [
                (p[number], c) for p, c in zip(picture.unbind(1), (KEPT, BEGINS), strict=False)
            ]
            if mask is not None and i == 0:
                planes = [(mask[number], HIDDEN), *planes]
            for plane, colour in planes:
                panel.pixels(plane[low : high + 1].tolist(), GRID.step, colour)
    canvas.save(out)
