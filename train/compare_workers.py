"""What a second worker of a cluster is worth: `python -m train.compare_workers SRC...`.

One worker and two take turns, forth and back, so that what else the machine does is in both alike. Rates are by the
clock once every worker is at work; a start of ray, and the imports of its workers, are told apart from them.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from train import cluster, cluster_fit, config, fit, pool, prepare
from train.sources.find import Source, find

TURNS = (1, 2, 2, 1)
"""Workers, twice as long as a repetition."""


class Watched:
    """An engine for `train.prepare` with a stop-watch.

    Args:
        engine: `train.pool.run` or `train.cluster.run`.
        workers: how many.
    """

    def __init__(self, engine: Any, workers: int) -> None:
        self._engine, self._workers = engine, workers
        self.started_s = self.rate = self.ended = 0.0

    def __call__(self, work: Any, jobs: Sequence[prepare.Chunk]) -> Iterator[tuple[prepare.Chunk, Any]]:
        """As the engine."""
        begun, files, first, last = time.perf_counter(), 0, 0.0, 0.0
        for number, (job, result) in enumerate(self._engine(work, jobs, workers=self._workers)):
            last = time.perf_counter()
            if number < self._workers:
                first = last  # each worker has imported what it needs
                self.started_s = first - begun
            else:
                files += len(job.sources)
            yield job, result
        self.rate, self.ended = files / (last - first), time.perf_counter()


def prepared(sources: Sequence[Source], engine: Any, workers: int) -> dict[str, float]:
    """Files a second, and seconds of what is not reading: the start, the splits and shards at the end."""
    watched = Watched(engine, workers)
    with tempfile.TemporaryDirectory() as folder:
        prepare.prepare(sources, Path(folder) / "out", engine=watched)
        return {"a second": watched.rate, "start": watched.started_s, "end": time.perf_counter() - watched.ended}


def trained(name: str, data: str, seconds: float, on_cluster: bool, workers: int) -> dict[str, float]:
    """Loops a second, and seconds until the first of them."""
    settings, states, begun = config.read(name), list[tuple[float, fit.State]](), time.perf_counter()
    train = partial(cluster_fit.fit, threads=1) if on_cluster else fit.fit
    with tempfile.TemporaryDirectory() as folder:
        train(
            settings,
            data,
            Path(folder) / "run",
            budget_s=seconds,
            device="cpu",
            devices=workers,
            progress=lambda state: states.append((time.perf_counter() - begun, state)),
        )
    (start, first), (_, last) = next(s for s in states if s[1].step > 3), states[-1]
    steps = (last.step - first.step) / (last.elapsed_s - first.elapsed_s)
    return {"a second": steps * settings.batch * workers, "steps": steps, "start": start}


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[SRC...]", help="To prepare.")] = None,
    times: Annotated[int, typer.Option(help="Repetitions of one, two, two, one.")] = 2,
    learn: Annotated[str | None, typer.Option(help="A configuration to train instead.")] = None,
    data: Annotated[str, typer.Option(help="With what prepare wrote.")] = "data/loops",
    seconds: Annotated[float, typer.Option(help="How long.")] = 20.0,
) -> None:
    """Measure one worker and two."""
    import torch

    torch.set_num_threads(1)
    sources = [] if learn else find(names or [])

    def measured(on_cluster: bool, workers: int) -> dict[str, float]:
        if learn:
            return trained(learn, data, seconds, on_cluster, workers)
        return prepared(sources, cluster.run if on_cluster else pool.run, workers)

    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(times):
        for workers in TURNS:
            for engine in "local", "ray":
                if not (learn and engine == "local" and workers > 1):  # that would start this program again
                    found.setdefault((engine, workers), []).append(measured(engine == "ray", workers))
                    print(json.dumps({"engine": engine, "workers": workers} | found[engine, workers][-1]), flush=True)
    unit = "loops" if learn else "files"
    table = Table("engine", "workers", f"{unit} a second", "times one", "efficiency", title=f"{len(sources) or learn}")
    for (engine, workers), rates in sorted(found.items()):
        rate, one = (median(r["a second"] for r in rs) for rs in (rates, found[engine, 1]))
        table.add_row(engine, str(workers), f"{rate:,.1f}", f"{rate / one:.2f}", f"{rate / one / workers:.0%}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
