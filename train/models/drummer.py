"""A drummer: the network of `loop_denoiser`, trained on drum beats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator

from rtgen.music.drums import TAP
from rtgen.music.roll import pick_onsets
from train.loops import beats
from train.loops.beats import on_general_midi, stiffened, tapped
from train.loops.sample import GRID, LOOP, ONSET, PITCH, VELOCITY, Sample
from train.models import repairs
from train.models.base import JUDGED, Aim, Source, Task
from train.models.loop_denoiser import INPUTS, LoopDenoiser, loss

TOUCH = 8.0
"""Weight of velocity and timing in the loss, relative to `loop_denoiser`."""


class Drummer(LoopDenoiser):
    """The role `drummer` of `rtgen.inference.card`; a `LoopDenoiser` for drums.

    Args:
        width: channels of the blocks.
        dilations: of each block, in frames.
        lens: channels of the lens.
        looks: dilation in frames and kernel in pitches of each lens layer.
        pitches: rows of the roll.
    """

    role: ClassVar[str] = "drummer"
    better: ClassVar[tuple[str, str]] = ("beat_f1", "max")

    def __init__(
        self,
        width: int = 160,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 1),
        lens: int = 8,
        looks: Sequence[tuple[int, int]] = ((16, 1), (4, 1), (1, 1)),
        pitches: int = 96,
    ) -> None:
        super().__init__(width, dilations, lens, looks, pitches, corrupt=False, humanise=False, in_key=False)

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Beats that are stiff, tapped, damaged or partly hidden, with the originals as targets."""
        b = beats.beat_task(sample, rng)
        return {name: torch.from_numpy(getattr(b, name)) for name in (*INPUTS, "target")}

    def aims(self, task: Task) -> Iterator[Aim]:
        """One loss: `loss`."""
        yield Aim(loss(self.logits(*(task[name] for name in INPUTS)).float(), task["target"], touch=TOUCH))

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Compute figures on validation loops.

        `beat_f1`: onset F1 of beats generated from their tapped rhythms. `velocity` and `timing`: one minus the squared
        error on stiff beats, relative to that of the stiff beats themselves.
        """
        rng = np.random.default_rng(0)
        meant = on_general_midi(source.take(rng.permutation(len(source.loops))[:JUDGED], rng))
        taps = meant.with_notes(tapped(meant.notes, np.ones((meant.count, 128), bool)))
        f1 = [_f1(roll.onset, goal) for roll, goal in zip(self._answers(taps, True), _struck(meant), strict=True)]
        stiff = meant.with_notes(stiffened(meant.notes, meant.count, meant.length))
        found = self._answers(stiff, False)
        loop, row = meant.notes[:, LOOP], meant.notes[:, PITCH] - GRID.pitch_low
        inside = (row >= 0) & (row < GRID.pitches)
        column = stiff.notes[:, ONSET] // GRID.step
        cell = (loop[inside], row[inside], column[inside])
        late = (meant.notes[inside, ONSET] - stiff.notes[inside, ONSET]) / GRID.step
        loud = meant.notes[inside, VELOCITY] / 127
        flat = stiff.notes[inside, VELOCITY] / 127
        micro, velocity = (np.stack([getattr(roll, plane) for roll in found])[cell] for plane in ("micro", "velocity"))
        return {
            "beat_f1": float(np.mean(f1)),
            "velocity": 1 - float(((velocity - loud) ** 2).mean() / ((flat - loud) ** 2).mean()),
            "timing": 1 - float(((micro - late) ** 2).mean() / (late**2).mean()),
        }

    def threshold(self, valid: Source) -> float:
        """A half, without tuning: no mode of a drummer reads it."""
        del valid
        return 0.5

    def _answers(self, heard: Sample, hidden: bool) -> list[Any]:
        """Output rolls of loops; with `hidden` the model sees only the row of taps."""

        def denoise(roll: torch.Tensor, mask: torch.Tensor, phase: torch.Tensor) -> Any:
            if hidden:
                mask = torch.ones_like(mask)
                mask[:, TAP - GRID.pitch_low] = 0
            return self.judging(roll, mask, phase)

        return repairs.answers(denoise, heard, self.device)

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Fields of a denoiser, changed for drums."""
        found = super().card(train, valid)
        return found | {
            "in_key": False,
            "description": "Gives a stiff beat a drummer's feel, varies beats, and turns a tapped rhythm into a beat.",
        }


def _struck(sample: Sample) -> list[set[tuple[int, int]]]:
    """Onset cells (row, column) of each loop."""
    found: list[set[tuple[int, int]]] = [set() for _ in range(sample.count)]
    column = np.clip(np.rint(sample.notes[:, ONSET] / GRID.step), 0, GRID.steps(sample.length) - 1).astype(int)
    for note, at in zip(sample.notes, column.tolist(), strict=True):
        if GRID.pitch_low <= note[PITCH] <= GRID.pitch_high:
            found[note[LOOP]].add((int(note[PITCH]) - GRID.pitch_low, at))
    return found


def _f1(onset: Any, goal: set[tuple[int, int]]) -> float:
    """Onset F1 of the likeliest cells, as many as the probabilities add up to."""
    onset = onset.copy()
    onset[TAP - GRID.pitch_low] = 0
    rows, columns = pick_onsets(onset, max(round(float(onset.sum())), 1))
    made = set(zip(rows.tolist(), columns.tolist(), strict=True))
    return 2 * len(made & goal) / (len(made) + len(goal))
