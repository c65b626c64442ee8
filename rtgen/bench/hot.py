"""Answer times, measured in a separate process to keep numpy and the model out of the one that measures timing.

    python -m rtgen.bench.hot --count 200 MODEL.onnx ...    prints a JSON list of samples
    python -m rtgen.bench.hot --forever MODEL.onnx          answers at a worker's priority until it is ended

`python -m train.compare.eager` measures the same next to the same weights in torch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rtgen.bench.music import made_loop
from rtgen.inference.card import modes_of
from rtgen.inference.hearing import hear
from rtgen.inference.model import Model, Tensor
from rtgen.inference.modes import answer
from rtgen.instrument.parameters import PARAMETERS
from rtgen.music.note import Loop, Note

_WARM_UP = 3


class Watched(Model):
    """A model that records how long its network took."""

    clock = staticmethod(time.perf_counter)
    """What times are measured by, in seconds."""
    network_s, runs = 0.0, 0
    """Total time and number of the runs since the last restart."""
    steps_s: list[float]
    """Times of those runs that sampled a note of a continuation."""

    def restart(self) -> None:
        """Resets the times."""
        self.network_s, self.runs, self.steps_s = 0.0, 0, []

    def run(self, inputs: dict[str, Tensor], only: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """As `Model.run`, timed."""
        began = self.clock()
        try:
            return self.compute(inputs, only)
        finally:
            took = self.clock() - began
            self.network_s += took
            self.runs += 1
            if "chosen" in only:
                self.steps_s.append(took)

    def compute(self, inputs: dict[str, Tensor], only: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """The part that is timed."""
        return super().run(inputs, only)


class Cost(NamedTuple):
    """What a part of an answer costs.

    Args:
        ms: its time in milliseconds.
        network_ms: how much of that the network took.
        runs: of the network.
        notes: in the part.
    """

    ms: float
    network_ms: float
    runs: int
    notes: int


class _Meter:
    """Measures what an answer costs, part by part.

    Args:
        model: that answers; restarted.
    """

    def __init__(self, model: Watched) -> None:
        model.restart()
        self._model = model
        self.parts: list[Cost] = []
        self.so_far = Cost(0.0, 0.0, 0, 0)
        self._began = model.clock()

    def tell(self, notes: Sequence[Note], _until: int) -> None:
        """Measures a part, as it is told."""
        self._add(self.so_far.notes + len(notes))

    def end(self, answered: Loop) -> None:
        """Measures the last part, with which the answer is whole."""
        self._add(len(answered))

    def _add(self, notes: int) -> None:
        model, before = self._model, self.so_far
        now = Cost(1e3 * (model.clock() - self._began), 1e3 * model.network_s, model.runs, notes)
        self.parts.append(
            Cost(now.ms - before.ms, now.network_ms - before.network_ms, now.runs - before.runs, notes - before.notes)
        )
        self.so_far = now


def samples(contenders: Sequence[tuple[str, Watched]], count: int) -> list[dict[str, Any]]:
    """Times whole answers (encode, network, decode, rank) to two-bar loops, alternating between the contenders.

    As in play, all but the last note of the call has already been heard.

    Args:
        contenders: an engine's name and a model each, all of one role.
        count: answers per mode.

    Returns:
        `engine`, `model`, `mode`, and milliseconds per answer: `whole_ms`, of which `network_ms`; and per note of a
            composer, `step_ms`. Of answers that come in parts, the `Cost` of each `first` part, and of each `further`
            one.
    """
    knobs = {p.name: p.default for p in PARAMETERS.values()}
    found: list[dict[str, Any]] = []
    for mode in modes_of(contenders[0][1].card):
        meters: dict[str, list[_Meter]] = {engine: [] for engine, _ in contenders}
        steps: dict[str, list[float]] = {engine: [] for engine, _ in contenders}
        for i in range(-_WARM_UP, count):
            loop, other = made_loop(max(i, 0)), made_loop(max(i, 0) + 1)
            for engine, model in contenders:
                if model.card.kind.hears:
                    hear(model, (), loop, knobs)  # as it does while the player plays
                meter = _Meter(model)
                meter.end(answer(model, loop, mode, knobs, seed=max(i, 0), ends=(other, loop), tell=meter.tell))
                if i >= 0:
                    meters[engine].append(meter)
                    steps[engine] += model.steps_s
        for engine, model in contenders:
            in_parts = [meter.parts for meter in meters[engine] if len(meter.parts) > 1]
            found.append(
                {
                    "engine": engine,
                    "model": model.card.name,
                    "mode": mode,
                    "whole_ms": [meter.so_far.ms for meter in meters[engine]],
                    "network_ms": [meter.so_far.network_ms for meter in meters[engine]],
                    "step_ms": [1e3 * step for step in steps[engine]],
                    "first": [parts[0]._asdict() for parts in in_parts],
                    "further": [part._asdict() for parts in in_parts for part in parts[1:]],
                }
            )
    return found


def forever(model: Model) -> None:
    """Answers one loop after the other while our parent process lives."""
    if sys.platform != "win32":
        os.nice(5)
    knobs = {p.name: p.default for p in PARAMETERS.values()}
    parent, loop = os.getppid(), made_loop(0)
    while os.getppid() == parent:
        answer(model, loop, modes_of(model.card)[-1], knobs, seed=1)


def main() -> None:
    """Measures, or runs as a background load."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--forever", action="store_true")
    arguments = parser.parse_args()
    if arguments.forever:
        forever(Model(arguments.models[0]))
    else:
        found: list[dict[str, Any]] = []
        for path in arguments.models:
            found += samples([("onnxruntime", Watched(path))], arguments.count)
        print(json.dumps(found))


if __name__ == "__main__":
    main()
