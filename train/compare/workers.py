"""Measures the speed-up by a second worker, locally and on Ray: `python -m train.compare.workers SRC...`.

One and two workers alternate (1, 2, 2, 1), so that other load on the machine affects both equally. Rates are in
wall-clock time once every worker is busy; the start of Ray and the imports of its workers are reported separately. CPU
time per file is reported too, as other load hardly changes it.

With fewer cores than workers, `--asleep` measures the engine itself: each chunk then sleeps for that time and needs no
core.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.table import Table

from rtgen.terminal import Terminal
from train import config, fit, trainer
from train.cluster import engine as cluster
from train.cluster import fit as cluster_fit
from train.prepare import pool, prepare
from train.prepare.cut import Cutting
from train.prepare.sources.find import Source, find

Done = tuple[Any, float, float, int]
"""Of a chunk: result, CPU seconds, time of completion, and process id."""


def timed(work: Any, asleep: float, job: Any) -> Done:
    """Does the work and times it; sleeps instead if `asleep`."""
    begun, result = time.process_time(), None
    if asleep:
        time.sleep(asleep)
    else:
        result = work(job)
    return result, time.process_time() - begun, time.time(), os.getpid()


class Watched:
    """An engine for `train.prepare.prepare` that is timed.

    Args:
        engine: `train.prepare.pool.run` or `train.cluster.engine.run`.
        workers: number of workers.
        asleep: seconds that each job sleeps instead of working; 0 works.
    """

    def __init__(self, engine: Any, workers: int, asleep: float) -> None:
        self._engine, self._workers, self._asleep = engine, workers, asleep
        self.figures: dict[str, float] = {}

    def __call__(self, work: Any, jobs: Sequence[prepare.Chunk]) -> Iterator[tuple[prepare.Chunk, Any]]:
        """Runs the engine and stores its figures."""
        begun, found = time.time(), list[tuple[int, Done]]()
        for job, done in self._engine(partial(timed, work, self._asleep), jobs, workers=self._workers):
            found.append((len(job.sources), done))
            yield job, done[0]
        firsts = {who: end for _, (_, _, end, who) in sorted(found, key=lambda f: -f[1][2])}
        start = max(firsts.values())  # all workers have finished their imports
        rest = [(files, core_s, end) for files, (_, core_s, end, _) in found if end > start]
        files = sum(files for files, _, _ in rest)
        self.figures = {
            "a second": files / (max(end for _, _, end in rest) - start),
            "core ms": 1e3 * sum(core_s for _, core_s, _ in rest) / files,
            "start": start - begun,
        }


def prepared(sources: Sequence[Source], engine: Any, workers: int, asleep: float) -> dict[str, float]:
    """Files per second, CPU milliseconds per file, and seconds to start and in total."""
    watched = Watched(engine, workers, asleep)
    with tempfile.TemporaryDirectory() as folder:
        if asleep:
            list(watched(None, 3 * prepare.chunks(sources, folder, Cutting())))
            return watched.figures
        begun = time.time()
        prepare.prepare(sources, Path(folder) / "out", engine=watched)
    return watched.figures | {"in all": time.time() - begun}


def trained(name: str, data: str, seconds: float, on_cluster: bool, workers: int) -> dict[str, float]:
    """Loops and steps per second, and seconds until the first steps."""
    settings, states, begun = config.read(name), list[tuple[float, trainer.State]](), time.perf_counter()
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
    names: Annotated[list[str] | None, typer.Argument(metavar="[SRC...]", help="Music to prepare.")] = None,
    times: Annotated[int, typer.Option(help="Number of repetitions.")] = 2,
    turns: Annotated[str, typer.Option(help="Numbers of workers, in this order.")] = "1,2,2,1",
    asleep: Annotated[float, typer.Option(help="Seconds that a chunk sleeps instead of working.")] = 0.0,
    learn: Annotated[str | None, typer.Option(help="Configuration to train instead.")] = None,
    data: Annotated[str, typer.Option(help="Training dataset.")] = "data/loops",
    seconds: Annotated[float, typer.Option(help="Training time.")] = 20.0,
) -> None:
    """Measure the speed of one worker and of several."""
    import torch

    torch.set_num_threads(1)
    sources = [] if learn else find(names or [])

    def measured(on_cluster: bool, workers: int) -> dict[str, float]:
        if learn:
            return trained(learn, data, seconds, on_cluster, workers)
        return prepared(sources, cluster.run if on_cluster else pool.run, workers, asleep)

    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(times):
        for workers in map(int, turns.split(",")):
            for engine in "local", "ray":
                if not (learn and engine == "local" and workers > 1):  # Lightning would start this program again
                    found.setdefault((engine, workers), []).append(measured(engine == "ray", workers))
                    print(json.dumps({"engine": engine, "workers": workers} | found[engine, workers][-1]), flush=True)
    unit = "loops" if learn else "files"
    table = Table("engine", "workers", f"{unit} per second", "speed-up", "efficiency", title=f"{len(sources) or learn}")
    for (engine, workers), rates in sorted(found.items()):
        rate, one = (median(r["a second"] for r in rs) for rs in (rates, found[engine, 1]))
        table.add_row(engine, str(workers), f"{rate:,.1f}", f"{rate / one:.2f}", f"{rate / one / workers:.0%}")
    Terminal().print(table)


if __name__ == "__main__":
    typer.run(main)
