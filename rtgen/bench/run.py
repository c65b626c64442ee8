"""`rtgen bench`: runs all measurements in order; shows the table or exports JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import groupby
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rtgen import __version__
from rtgen.bench import measures
from rtgen.bench.figures import Figures, Row, quantile
from rtgen.bench.measures import Amount
from rtgen.bench.played import last_notes, played
from rtgen.bench.programs import model_file
from rtgen.bench.stage import Stage
from rtgen.bench.targets import ANSWERS, FIRST, FOLLOWER, FURTHER, SECTIONS, targets
from rtgen.music.time import HALF, PPQN
from rtgen.shipped import available

_PACKAGES = "onnxruntime", "python-rtmidi", "numpy", "JACK-Client", "torch"
_USUAL, _FAST = 120, 240
"""Beats a minute of usual and of fast music."""
_MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]•[/]"}


MEASUREMENTS: Mapping[str, Callable[[Stage, Amount, Figures], list[Row]]] = {
    "thru": lambda stage, amount, _: measures.thru(stage, amount),
    "loops": lambda stage, amount, figures: measures.loops(stage, amount, figures.counts),
    "parts": lambda stage, amount, _: measures.streamed(stage, amount),
    "load": lambda stage, amount, _: measures.busy(stage, amount),
    "periods": lambda stage, amount, _: measures.by_period(stage, amount),
    "clock": lambda stage, amount, _: measures.conducting(stage, amount),
    "starts": lambda stage, amount, _: measures.starts(stage, amount),
    "rest": lambda stage, amount, _: measures.rest(stage, amount),
    "played": lambda stage, amount, _: played(stage, amount.played, amount.beside, 1, amount.calls),
    "band": lambda stage, amount, _: measures.along(stage, amount),
    "ends": lambda stage, amount, _: last_notes(stage, amount.calls),
    "answers": lambda _stage, amount, _: answers(amount.answers),
    "follower": lambda _stage, amount, _: follower(amount.seeds),
}
"""The measurements by name, in order: notes thru; loops answered; answers in parts; notes under load; other periods;
the clock sent; starts; rest; answers in play; a band; last notes of calls; answers of each model; the follower."""


def measure(stage: Stage, amount: Amount, say: Console, only: Sequence[str] = ()) -> Figures:
    """Runs measurements in order, showing progress on `say`.

    Args:
        stage: carries the MIDI.
        amount: sizes of the measurements.
        say: a console on standard error.
        only: names of `MEASUREMENTS`; all if there are none.
    """
    figures = Figures(stage.title, stage.kind, stage.period_ms, stage.missing)
    chosen = [name for name in MEASUREMENTS if not only or name in only]
    # A low refresh rate: without a server, the clock runs in this process.
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=say, transient=True, refresh_per_second=2, disable=not say.is_terminal) as progress:
        task = progress.add_task("", total=len(chosen))
        for name in chosen:
            progress.update(task, description=name)
            began = time.perf_counter()
            figures.rows += MEASUREMENTS[name](stage, amount, figures)
            progress.advance(task)
            if not say.is_terminal:
                say.print(f"{name}: {time.perf_counter() - began:.0f} s", highlight=False)
    figures.rows.sort(key=lambda row: SECTIONS.index(row.section))
    return figures


def answers(count: int) -> list[Row]:
    """Answer times of each shipped model in each mode, next to the same weights in torch if installed.

    Raises:
        RuntimeError: the measuring process failed.
    """
    models = [str(item.path) for item in available("models")] or [str(model_file())]
    beside = all(find_spec(package) for package in ("torch", "onnx", "train"))
    module = "train.compare.eager" if beside else "rtgen.bench.hot"
    command = [sys.executable, "-m", module, "--count", str(count), *models]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{module} ended with {done.returncode}: {done.stderr.strip()}")
    return answer_rows(json.loads(done.stdout), "" if beside else "torch is not installed: nothing to compare it with")


def answer_rows(samples: Sequence[dict[str, Any]], remark: str) -> list[Row]:
    """Rows from the output of `hot.samples`."""
    rows = []
    for sample in samples:
        bare = sample["engine"] != "onnxruntime"
        name = f"{sample['model']}, {sample['mode']}"
        suffix = f", {sample['engine']}" if bare else ""
        rows.append(Row(ANSWERS, f"{name}: whole{suffix}", sample["whole_ms"], baseline=bare, remark=remark))
        rows.append(Row(ANSWERS, f"{name}: network{suffix}", sample["network_ms"], baseline=bare))
        for part in FIRST, FURTHER:
            if costs := sample[part.partition(" ")[0]]:
                took, remark = [cost["ms"] for cost in costs], _needs(costs) if part == FIRST else _room(costs)
                rows.append(Row(ANSWERS, f"{name}: {part}{suffix}", took, baseline=bare, remark=remark))
        if sample["step_ms"]:
            rows.append(Row(ANSWERS, f"{name}: a note{suffix}", sample["step_ms"], baseline=bare))
        remark = ""
    return rows


def _needs(costs: Sequence[Mapping[str, float]]) -> str:
    """What a part is made of, on average."""
    runs, notes = (fmean(cost[what] for cost in costs) for what in ("runs", "notes"))
    return f"{runs:.1f} runs of the network, {notes:.1f} notes"


def _room(costs: Sequence[Mapping[str, float]]) -> str:
    """How long a part may take that is to be there half a beat after the one before, and how large a network fits in.

    Of one that leaves the processor's caches a run takes longer than in proportion.
    """
    took, network = (quantile((cost[what] for cost in costs), 0.99) for what in ("ms", "network_ms"))
    has = {bpm: 60e3 / bpm * HALF / PPQN for bpm in (_USUAL, _FAST)}
    times = " and ".join(f"{max(ms - took + network, 0.0) / network:.0f}" for ms in has.values())
    has_ms = " and ".join(f"{ms:.0f} ms at {bpm}" for bpm, ms in has.items())
    return f"{_needs(costs)}; it has {has_ms} BPM, room for a network {times} times as large"


def follower(seeds: int) -> list[Row]:
    """Simulated error of the clock follower; results of simpler followers are in the remarks."""
    from rtgen.bench.follower import RTGEN, simulate

    rows = []
    for scenario, together in groupby(simulate(seeds=seeds), key=lambda result: result.scenario):
        results = {result.follower: result for result in together}
        ours = results[RTGEN]
        rms = {name: result.rms_ms for name, result in results.items()}
        words = ["rms " + ", ".join(f"{value:.2f}" + (f" ({n})" if n != RTGEN else "") for n, value in rms.items())]
        if ours.clocks_median is not None:
            words.append(f"within 1 ms after {ours.clocks_median} clocks")
        if ours.miscounted:
            words.append(f"miscounted in {ours.miscounted} of {ours.runs}")
        more = {
            "rms_ms": {name: round(value, 4) for name, value in rms.items()},
            "clocks_to_1_ms_median": ours.clocks_median,
            "clocks_to_1_ms_rms": ours.clocks_rms,
            "miscounted": ours.miscounted,
            "runs": ours.runs,
        }
        rows.append(Row(FOLLOWER, scenario, list(ours.errors_ms), remark="; ".join(words), more=more))
    return rows


# ---- reports --------------------------------------------------------------------------------------------------------


def as_dict(figures: Figures, *, quick: bool, took_s: float) -> dict[str, Any]:
    """The results for JSON. Units are in the names; unknown values are None."""
    versions = {name.lower(): found for name in _PACKAGES if (found := _version(name))}
    return {
        "rtgen": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "took_s": round(took_s, 1),
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        },
        "versions": versions,
        "stage": {
            "kind": figures.kind,
            "title": figures.stage,
            "period_ms": figures.period_ms,
            "missing": figures.missing,
        },
        "rows": [row.as_dict() for row in figures.rows],
        "answers_in_time": dict(figures.counts),
        "targets": [{"what": t.what, "found": t.found, "met": t.met} for t in targets(figures)],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def show(figures: Figures, console: Console) -> None:
    """Prints the results as a table."""
    console.print(f"[bold]{escape(figures.stage)}[/]", highlight=False, soft_wrap=True)
    if figures.missing:
        console.print(f"For sample-accurate times over a real MIDI server: {escape(figures.missing)}", soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for title in "count", "p50", "p95", "p99", "max", "p99 calm", "xruns":
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", style="dim", overflow="fold")
    for section, rows in groupby(figures.rows, key=lambda row: row.section):
        first, *others = rows
        table.add_row(f"[bold]{section}[/] ({first.unit})")
        for row in (first, *others):
            table.add_row(*_cells(row), style="dim" if row.baseline else None)
    console.print(table)
    if any(row.xruns for row in figures.rows):
        console.print(
            "calm: excludes the 1.5 s after each xrun of the server",
            soft_wrap=True,
        )
    console.print("\n[bold]Targets[/]")
    grid = Table.grid(padding=(0, 1))
    for target in targets(figures):
        grid.add_row(_MARKS[target.met], target.what, f"[dim]{target.found}[/]")
    console.print(grid)


def _cells(row: Row) -> list[str]:
    digits = 0 if row.unit == "ms" and row.figures["p50"] >= 100 else 2
    if len(row.values) == 1:
        return [f"  {row.what}", "", f"{row.values[0]:.{digits}f}", "", "", "", "", "", row.remark]
    numbers = [f"{value:.{digits}f}" if value == value else "-" for value in row.figures.values()]
    spoilt = [f"{row.p99_calm:.{digits}f}", str(row.xruns)] if row.calm is not None else ["", ""]
    return [f"  {row.what}", str(len(row.values)), *numbers, *spoilt, row.remark]
