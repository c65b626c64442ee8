"""Calls of few notes, as beginners play them: a tune alone, plain triads, a bass alone, one chord, four notes, a riff.

A model that learnt from full arrangements is easily thrown by them: it answers a tune with chords, or leaves holes.

    python -m train.measures.small

counts answers of the shipped composer with faults, writes the counts into `docs/measurements.md`, and draws one answer
of each in `docs/models/small.png`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.instrument.job import Mode
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN
from train import plots
from train.measures.evidence import PAGE, filled
from train.measures.faults import faults

_BAR = 4 * PPQN


def _played(beats: float, pitch: int, lasts: float, velocity: int = 90) -> Note:
    """A note that starts and lasts some beats, played a few ticks off the grid, as hands do."""
    off = (pitch * 7 + round(beats * 13)) % 11 - 5 if beats else 0
    return Note(round(beats * PPQN) + off, pitch, round(lasts * PPQN) - 10, velocity - (round(beats * 4) % 3) * 6)


def _line(start: float, each: float, pitches: tuple[int, ...], velocity: int = 90) -> list[Note]:
    return [_played(start + i * each, p, each, velocity) for i, p in enumerate(pitches)]


def _chords(*roots: tuple[int, int, int]) -> list[Note]:
    return [_played(2 * i, p, 2, 80) for i, chord in enumerate(roots) for p in chord]


SMALL: Mapping[str, Loop] = {
    "a tune alone": Loop(
        2 * _BAR,
        (
            *_line(0, 0.5, (67, 69, 72, 74, 76, 74, 72)),
            _played(4, 69, 1),
            *_line(5, 0.5, (67, 64, 67)),
            _played(6.5, 62, 1.5),
        ),
    ),
    "plain triads": Loop(2 * _BAR, tuple(_chords((60, 64, 67), (57, 60, 64), (53, 57, 60), (55, 59, 62)))),
    "a bass alone": Loop(2 * _BAR, (*_line(0, 1, (36, 36, 43, 36)), *_line(4, 1, (41, 41, 43, 35)))),
    "one held chord": Loop(2 * _BAR, tuple(_played(0, p, 8, 76) for p in (48, 55, 64, 71))),
    "four notes": Loop(2 * _BAR, (_played(0, 60, 1), _played(2, 63, 1), _played(4, 67, 1.5), _played(6, 65, 1))),
    "a syncopated riff": Loop(
        2 * _BAR,
        tuple(
            _played(bar * 4 + at, p, 0.4, 100)
            for bar in (0, 1)
            for at, p in ((0, 45), (0.75, 45), (1.5, 48), (2.25, 50), (2.75, 48), (3.5, 43))
        ),
    ),
    "one bar of three beats": Loop(
        3 * PPQN,
        (_played(0, 48, 1), _played(1, 64, 0.9), _played(1, 67, 0.9), _played(2, 64, 0.9), _played(2, 67, 0.9)),
        3 * PPQN,
    ),
}
"""Fixed calls by name."""
WAYS: Mapping[str, tuple[Mode, dict[str, float]]] = {
    "continue": ("continue", {}),
    "vary .35": ("vary", {"distance": 0.35}),
    "fill": ("vary", {"distance": 0.0, "fill": 0.25}),
    "generate": ("generate", {}),
}
"""Modes and knobs, by name."""


def main(
    model: Annotated[Path, typer.Argument(help="An .onnx file of the role composer.")] = Path("models/composer.onnx"),
    picture: Annotated[Path, typer.Option(help="Picture of one answer of each.")] = Path("docs/models/small.png"),
    page: Annotated[Path, typer.Option(help="Page that the counts go into.")] = PAGE,
    count: Annotated[int, typer.Option(min=1, help="Answers to each call.")] = 20,
) -> None:
    """Count answers with faults to calls of few notes, and draw the first ones."""
    played, lines, rows = Model(model), [f"| of {count} | {' | '.join(WAYS)} |", "|---" * (1 + len(WAYS)) + "|"], []
    for name, call in SMALL.items():
        answers = {
            way: [answer(played, call, mode, {**Preset().knobs, **knobs}, seed) for seed in range(count)]
            for way, (mode, knobs) in WAYS.items()
        }
        lines.append(f"| {name} | {' | '.join(counted(call, some) for some in answers.values())} |")
        rows.append([(name, call), *((way, some[0]) for way, some in answers.items())])
    plots.save(plots.rolls(rows), picture)
    page.write_text(filled(page.read_text("utf-8"), "small", "\n".join(lines)), "utf-8")
    print(*lines, sep="\n")


def counted(call: Loop, answers: Sequence[Loop]) -> str:
    """Return how many answers have faults, and which."""
    found = [[fault for fault, has in faults(call, each).items() if has] for each in answers]
    kinds = ", ".join(sorted({fault for each in found for fault in each}))
    return f"{sum(map(bool, found))} ({kinds})" if kinds else "0"


if __name__ == "__main__":
    typer.run(main)
