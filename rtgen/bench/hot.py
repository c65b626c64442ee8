"""Answer times, measured in a separate process to keep numpy and the model out of the one that measures timing.

    python -m rtgen.bench.hot --count 200 MODEL.onnx ...    prints a JSON list of samples
    python -m rtgen.bench.hot --table MODEL.onnx ...        prints their medians and 99th percentiles
    python -m rtgen.bench.hot --forever MODEL.onnx          answers at a worker's priority until it is ended

`python -m train.compare.eager` measures the same next to the same weights in torch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from rtgen.bench.figures import quantile
from rtgen.bench.music import made_loop
from rtgen.inference.card import modes_of
from rtgen.inference.hearing import hear
from rtgen.inference.model import Model, Tensor
from rtgen.inference.modes import answer
from rtgen.instrument.job import Mode
from rtgen.instrument.parameters import PARAMETERS

_WARM_UP = 3


class Watched(Model):
    """A model that records how long its network took."""

    network_s = 0.0
    """Total time of the runs since the last restart."""
    steps_s: list[float]
    """Times of those runs that sampled a note of a continuation."""

    def restart(self) -> None:
        """Resets the times."""
        self.network_s, self.steps_s = 0.0, []

    def run(self, inputs: dict[str, Tensor], only: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """As `Model.run`, timed."""
        began = time.perf_counter()
        try:
            return self.compute(inputs, only)
        finally:
            took = time.perf_counter() - began
            self.network_s += took
            if "chosen" in only:
                self.steps_s.append(took)

    def compute(self, inputs: dict[str, Tensor], only: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """The part that is timed."""
        return super().run(inputs, only)


def samples(contenders: Sequence[tuple[str, Watched]], count: int) -> list[dict[str, Any]]:
    """Times whole answers (encode, network, decode, rank) to two-bar loops, alternating between the contenders.

    As in play, all but the last note of the call has already been heard.

    Args:
        contenders: an engine's name and a model each, all of one role.
        count: answers per mode.

    Returns:
        `engine`, `model`, `mode` (or `fill`), and milliseconds per answer: `whole_ms`, of which `network_ms`;
            `first_ms`, until the first part of an answer that comes in parts; and per note of a composer, `step_ms`.
    """
    knobs = {p.name: p.default for p in PARAMETERS.values()}
    found: list[dict[str, Any]] = []
    for name, mode, turned in ways(contenders[0][1]):
        times: dict[str, list[tuple[float, float, list[float], list[float]]]] = {engine: [] for engine, _ in contenders}
        for i in range(-_WARM_UP, count):
            loop = made_loop(max(i, 0))
            for engine, model in contenders:
                if model.card.kind.hears:
                    hear(model, (), loop, knobs)  # as it does while the player plays
                model.restart()
                parts: list[float] = []
                tell = partial(_note_time, parts)
                began = time.perf_counter()
                ends = made_loop(max(i, 0) + 1), loop
                answer(model, loop, mode, {**knobs, **turned}, seed=max(i, 0), ends=ends, tell=tell)
                took = time.perf_counter() - began
                first = [at - began for at in parts[:1]]
                times[engine].append((took, model.network_s, model.steps_s, first))
        for engine, model in contenders:
            whole, network, steps, first_parts = zip(*times[engine][_WARM_UP:], strict=True)
            each: dict[str, Iterable[float]] = {"whole_ms": whole, "network_ms": network}
            each |= {"step_ms": chain.from_iterable(steps), "first_ms": chain.from_iterable(first_parts)}
            ms = {name: [s * 1e3 for s in seconds] for name, seconds in each.items()}
            found.append({"engine": engine, "model": model.card.name, "mode": name, **ms})
    return found


def ways(model: Model) -> Iterator[tuple[str, Mode, dict[str, float]]]:
    """Yield a name, a mode and knobs for each mode of a model; and for a composer, which writes it anew, a fill."""
    for mode in modes_of(model.card):
        yield mode, mode, {}
    if model.card.kind.hears:
        yield "fill", "vary", {"distance": 0.0, "fill": 0.25}


def lines(found: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table of samples in Markdown: the median and the 99th percentile, in milliseconds."""
    names = {"whole_ms": "whole", "first_ms": "first part", "network_ms": "network", "step_ms": "a note"}
    yield f"| | {' | '.join(f'{name}, p50 | p99' for name in names.values())} |"
    yield "|---" * (1 + 2 * len(names)) + "|"
    for each in found:
        figures = [
            f"{quantile(each[name], share):.1f}" if each[name] else "" for name in names for share in (0.5, 0.99)
        ]
        yield f"| {each['model']}, {each['mode']} | {' | '.join(figures)} |"


def _note_time(times: list[float], *_: object) -> None:
    times.append(time.perf_counter())


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
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.forever:
        forever(Model(arguments.models[0]))
    else:
        found: list[dict[str, Any]] = []
        for path in arguments.models:
            found += samples([("onnxruntime", Watched(path))], arguments.count)
        print("\n".join(lines(found)) if arguments.table else json.dumps(found))


if __name__ == "__main__":
    main()
