"""Variations of a clip, made beside the music: nobody waits for them in tempo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rtgen.instrument.job import Job
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop
from rtgen.rig.worker.alone import Alone
from rtgen.shipped import find

COUNT = 4
"""How many are made at a time."""


def variations(loop: Loop, preset: Preset, knobs: Mapping[str, float], seed: int) -> Iterator[Loop]:
    """Yield variations of a loop, made by a preset's model in a process of its own, at a low priority.

    A model that plays no variations plays the mode of the preset.

    Args:
        loop: of which they are made.
        preset: whose model makes them.
        knobs: as they are set.
        seed: of the first one; each has its own.

    Raises:
        UserError: the model cannot be run.
    """
    with Alone(find("models", preset.model), "cpu", gently=True) as model:
        mode = "vary" if "vary" in model.ready.modes else preset.mode
        for number in range(COUNT):
            yield model.answer(
                Job(loop, mode, seed + number, 0, 0, knobs, past=(loop,), ends=(loop, loop), model=preset.model)
            )
