"""Command line `rtgen-train`: prepare, preview, fit, export, evaluate, report, personal."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rtgen.errors import UserError
from rtgen.terminal import Terminal
from rtgen.text import plain

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Trains models for rtgen from MIDI files. Usual order: prepare, fit, export, evaluate.",
)
Engine = Annotated[str, typer.Option(help="Where to run: local, or ray for a Ray cluster.")]
Address = Annotated[
    str | None, typer.Option(help="Address of the Ray cluster: HOST:PORT or auto; default: one on this machine.")
]
# Files and pipes have no width of their own; 160 columns fit the tables.
console = Terminal(width=None if sys.stdout.isatty() else 160)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Terminal(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


@app.command()
def prepare(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SRC...", help="Folders, .zip archives, .mid or .als files, globs, or URLs of these."),
    ],
    out: Annotated[str, typer.Option(help="Folder or URL for the dataset.")] = "data/loops",
    bars: Annotated[int, typer.Option(min=1, max=64, help="Bars per loop.")] = 2,
    keep_last: Annotated[bool, typer.Option("--keep-last", help="Keep a partly empty last loop.")] = False,
    metres: Annotated[str, typer.Option(help="all: each with bars of its own length; 4/4: only this.")] = "all",
    drums: Annotated[bool, typer.Option("--drums", help="Keep files that contain only drums.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Number of processes; 0: one per core.")] = 0,
    engine: Engine = "local",
    address: Address = None,
) -> None:
    """Cut music into loops and split them into train, valid and test.

    Unreadable files are skipped and listed with the reason. Drums (channel 10, Drum Racks) are left out. Each folder or
    archive becomes a set of that name. An interrupted run resumes when you repeat the command.

    With --engine ray, the machines of a cluster share the work, and any may fail except the one that started it. All
    of them must reach SRC and the dataset under the same path or URL.

    A MIDI clip of a Live set is cut from the bar of its first note; a .mid, .kar or .rmi file from the first bar of
    each stretch in one metre. A song and its transpositions always go to the same split. A loop that occurs in two
    splits, in any key, is kept only in the more held-out one. In POP909, songs 651-700 are for validation and songs
    from 701 on for testing.

    Example: rtgen-train prepare pop909.zip my-project/ "more/*.mid" --out data/loops
    """
    from functools import partial

    from train.cluster import engine as cluster
    from train.prepare import pool
    from train.prepare import prepare as preparing
    from train.prepare.cut import Cutting
    from train.prepare.findings import tables
    from train.prepare.sources.find import find

    if metres not in ("all", "4/4"):
        raise UserError(f"--metres {metres} is invalid; use all or 4/4")
    cluster.check(engine, address)
    run = partial(pool.run, workers=workers)
    if engine == "ray":
        run = partial(cluster.run, workers=workers, address=address)
        sources, out = [cluster.absolute(source) for source in sources], cluster.absolute(out)
    left_out: Counter[str] = Counter()
    found = find(sources, left_out)
    cutting = Cutting(bars, keep_last, metres, drums)
    with _progress() as bar:
        task = bar.add_task("reading", total=len(found))
        report = preparing.prepare(found, out, cutting, lambda files: bar.advance(task, files), run)
    for title, head, rows in tables(report, left_out):
        table = Table(*head, title=escape(title or f"loops in {out}"))
        for row in rows:
            table.add_row(*(escape(str(cell)) for cell in row))
        console.print(table)


@app.command()
def preview(
    config: Annotated[str | None, typer.Argument(help="Configuration whose training tasks to draw.")] = None,
    data: Annotated[Path, typer.Option(help="Dataset written by prepare.")] = Path("data/loops"),
    out: Annotated[Path, typer.Option(help="Output image (PNG).")] = Path("preview.png"),
    seed: Annotated[int, typer.Option(min=0, help="Seed for the choice of loops and the augmentation.")] = 0,
) -> None:
    """Draw loops as they are augmented and damaged for training.

    Without a configuration, every augmentation is shown on one loop, before and after, beside the line of YAML that
    enables it. With one, some of its training tasks are shown: the network's input, and the target below it.

    Example: rtgen-train preview conv_dae --data data/loops --out conv_dae.png
    """
    from train.loops import dataset

    dataset.manifest(data)  # fail early: importing torch is slow
    from train import preview as previewing

    if config is None:
        previewing.draw(dataset.load(data, "train"), out, seed)
    else:
        previewing.draw_tasks(config, data, out, seed)
    console.print(f"{out} written")


@app.command()
def fit(
    config: Annotated[str, typer.Argument(help="Configuration that comes with rtgen, or a .yaml file.")],
    data: Annotated[str, typer.Option(help="Dataset written by prepare.")] = "data/loops",
    out: Annotated[str | None, typer.Option(help="Folder or URL of the run; default: runs/CONFIG.")] = None,
    budget: Annotated[str | None, typer.Option(help="Training time: 90s, 40m or 1h.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the loops, if no --budget.")] = None,
    resume: Annotated[bool, typer.Option(help="Resume the run; the budget includes earlier training.")] = False,
    base: Annotated[
        str | None, typer.Option("--from", help="Model to initialise the weights from: a name or path.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Number of devices, one process each.")] = 1,
    threads: Annotated[int, typer.Option(help="Torch threads per process; 0: share all cores.")] = 0,
    engine: Engine = "local",
    address: Address = None,
) -> None:
    """Train a model.

    Without --budget, trains for the configuration's number of epochs. The learning rate follows the share of time or
    epochs used. After every epoch, or every three minutes of a budget, the model is validated and the run is saved:
    last.ckpt to resume from, best.ckpt to export, logs in log/ and tensorboard/. SIGTERM and Ctrl-C also save; continue
    with --resume.

    With --engine ray, the devices are those of a cluster and --threads is the number of cores of each (default 1). If
    some are lost, the rest continue from last.ckpt. All machines must reach DATA and RUN under the same path or URL.

    Example: rtgen-train fit conv_vae --data data/loops --budget 40m
    """
    from functools import partial

    import torch

    from rtgen.shipped import find
    from train import config as configuration
    from train import fit as fitting
    from train import trainer
    from train.cluster import engine as cluster
    from train.cluster import fit as cluster_fit

    cluster.check(engine, address)
    settings = configuration.read(config)
    budget_s = configuration.parse_time(budget) if budget else None
    if device not in fitting.DEVICES:
        raise UserError(f"--device {device} is invalid; use one of {', '.join(fitting.DEVICES)}")
    folder = out or f"runs/{Path(config).stem}"
    torch.set_num_threads(threads or max((os.cpu_count() or 1) // devices, 1))
    with _progress() as bar:
        task = bar.add_task("training", total=1000)

        def show(state: trainer.State) -> None:
            figures = ", ".join(f"{name} {value:.3g}" for name, value in state.valid.items())
            text = f"step {state.step}, loss {state.loss:.4g}" + (f", valid: {figures}" if figures else "")
            bar.update(task, completed=round(1000 * state.share), description=text)

        on_cluster = partial(cluster_fit.fit, address=address, threads=threads or 1)
        state = (on_cluster if engine == "ray" else fitting.fit)(
            settings,
            data,
            folder,
            base=find("models", base).absolute() if base else None,
            budget_s=budget_s,
            epochs=epochs,
            resume=resume,
            device=fitting.DEVICES[fitting.DEVICES.index(device)],
            devices=devices,
            progress=show,
        )
    if state.stopped:
        more = f" --budget {budget}" if budget else f" --epochs {epochs}" if epochs else ""
        more += f" --engine ray --devices {devices}" if engine == "ray" else ""
        more += f" --address {address}" if address else ""
        again = f"rtgen-train fit {config} --data {data} --out {folder}{more} --resume"
        console.print(f"Stopped by {state.stopped} and saved; resume with: {again}", soft_wrap=True)
    table = Table("steps", "time", *(f"{name} (validation)" for name in state.valid), title=str(folder))
    table.add_row(
        str(state.step), f"{state.elapsed_s / 60:.1f} min", *(f"{value:.4g}" for value in state.valid.values())
    )
    console.print(table)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    data: Annotated[Path, typer.Option(help="Training dataset, for thresholds and ranges.")] = Path("data/loops"),
    out: Annotated[Path | None, typer.Option(help="Output .onnx file; default: models/NAME.onnx.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model; default: the architecture's.")] = None,
    last: Annotated[bool, typer.Option(help="Export the last weights instead of the best.")] = False,
) -> None:
    """Export a trained model as an .onnx file for rtgen.

    The file is loaded again as the daemon would load it, compared with the trained model and timed on one thread; the
    command fails if its card, outputs or speed are wrong.

    Example: rtgen-train export runs/conv_vae --out models/conv_vae.onnx
    """
    from train import export as exporting
    from train import fit as fitting
    from train import trainer

    trained = fitting.load(run / (trainer.LAST if last else trainer.BEST))
    card = exporting.card_of(trained, trained.average, data, name)
    path = out or Path("models") / f"{card.name}.onnx"
    found = exporting.write(trained.average.player(), card, path)
    unit = f"ms per {card.kind.unit}"
    headings = ("parameters", "difference from torch", "by rounding to 16 bits", f"{unit}, one thread", "MB")
    table = Table(*headings, title=str(path))
    table.add_row(
        f"{card.training['parameters']:,}",
        f"{found.difference:.1e}",
        f"{found.rounding:.1e}",
        f"{found.ms:.2f}",
        f"{path.stat().st_size / 1e6:.1f}",
    )
    console.print(table)
    if not exporting.may_ship(card):
        sets = ", ".join(d.name for d in card.data)
        console.print(f"For your own use only: trained on {sets}, not all of which may be shared.", soft_wrap=True)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="An .onnx file.")] = Path("models/loop_denoiser.onnx"),
    data: Annotated[Path, typer.Option(help="Dataset written by prepare.")] = Path("data/loops"),
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "test",
    set_name: Annotated[str | None, typer.Option("--set", help="Only loops of this set.")] = None,
    metre: Annotated[str, typer.Option(help="Metre of the loops; 3/4 and 6/8 count as one (equal bars).")] = "4/4",
    bars: Annotated[int, typer.Option(help="Bars per loop: 1, 2, 4 or 8.")] = 2,
    loops: Annotated[int, typer.Option(min=2, help="Number of loops.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed for the choice of loops, the damage and the answers.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    card: Annotated[bool, typer.Option(help="Write the results into the model's card.")] = False,
    knobs: Annotated[bool, typer.Option(help="Measure knobs of denoisers and autoencoders: most of the time.")] = True,
) -> None:
    """Evaluate a model on held-out loops, played as the daemon plays it.

    The measures depend on the role. For a denoiser: how well it repairs note-level damage and leaves good loops alone.
    For an autoencoder: reconstruction, interpolation between two loops, and generated loops. For a sequence model: how
    well it predicts music. Each result comes with its 95 % confidence interval (bootstrap over loops), simple baselines
    and the goals set for models that come with rtgen.

    Example: rtgen-train evaluate models/loop_denoiser.onnx --set pop909 --loops 1000
    Example: rtgen-train evaluate models/loop_denoiser.onnx --metre 3/4 --bars 4
    """
    from rtgen.inference.model import Model
    from train.export import rewrite_card
    from train.measures import evaluate as evaluation
    from train.measures.cost import costs, timed_on
    from train.measures.goals import judged
    from train.measures.table import flat

    if card and (metre, bars) != (evaluation.METRE, 2):
        raise UserError("--card stores results for two bars of 4/4 only; omit --metre and --bars")
    played = Model(model)
    with console.status("measuring"):
        figures = evaluation.evaluate(played, data, split, set_name, loops, seed, metre=metre, bars=bars, knobs=knobs)
    metrics = flat(figures, played.card.name)
    if card:
        more = {"loops": loops, "ms_a_run": round(played.seconds(51, time.process_time) * 1e3, 2)}
        rewrite_card(
            model,
            metrics={**metrics, **more, **costs(model)},
            training={**played.card.training, "timed_on": timed_on()},
        )
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    own = figures[played.card.name]
    title = f"{played.card.name} on {split} loops of {set_name or 'its sets'}, {bars} x {metre}"
    table = Table("", *figures, "goal", "", title=title)
    for measure in dict.fromkeys(m for measures in figures.values() for m in measures):
        row = [str(found[measure]) if measure in found else "" for found in figures.values()]
        table.add_row(evaluation.WORDS[measure], *row, *judged(own, measure, figures, played.card.name))
    console.print(table)


@app.command()
def judge(
    presets: Annotated[list[str] | None, typer.Argument(help="Presets, by name or path; all by default.")] = None,
    data: Annotated[Path, typer.Option(help="Dataset written by prepare.")] = Path("data/loops"),
    split: Annotated[str, typer.Option(help="valid to choose by, test to report once.")] = "valid",
    set_name: Annotated[str, typer.Option("--set", help="Set of the songs.")] = "pop909",
    metre: Annotated[str, typer.Option(help="Metre of the songs.")] = "4/4",
    count: Annotated[int, typer.Option(min=50, help="Number of answers.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed for the choice of calls.")] = 0,
    distance: Annotated[float | None, typer.Option(min=0, max=1, help="Another distance than the preset's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Judge answers by whether a classifier can tell them from music (extra 'judge').

    Two-bar answers are compared with the loops that follow in held-out songs, alone and each beside its call. .5 means
    that they cannot be told apart, 1 that they always can. Real loops, repeated calls and random notes calibrate it.
    Faults are counted by rule.

    Example: rtgen-train judge continue vary --split valid
    """
    from rtgen.inference.model import Model
    from rtgen.rig.kept import presets as kept
    from rtgen.shipped import find
    from train.measures import evaluate as evaluation
    from train.measures import judge as judging
    from train.measures.faults import FAULTS

    chosen = [kept.load(find("presets", name)) for name in presets] if presets else kept.numbered()
    every = judging.examples(data, split, [set_name], 3 * count, seed, evaluation.bar_of(metre))
    some, others = every[:count], every[count:]
    models: dict[str, Model] = {}
    contenders = dict(judging.CALIBRATION)
    for preset in chosen:
        if preset.model not in models:
            models[preset.model] = Model(find("models", preset.model))
        model = models[preset.model]
        if not model.card.kind.pitched:
            continue  # it is judged against melodic music
        contenders[preset.name] = judging.plays(preset.changed(distance=distance), model)
    rows: dict[str, judging.Judged] = {}
    with _progress() as bar:
        task = bar.add_task("judging", total=len(contenders))
        for name, answerer in contenders.items():
            bar.update(task, description=name)
            rows[name] = judging.judged(answerer, some, others)
            bar.advance(task)
    if as_json:
        print(json.dumps({name: judging.plain(found) for name, found in rows.items()}, indent=2))
        return
    title = f"Area under the curve of the judge, {len(some)} answers, {len(others)} real loops ({set_name}, {split})"
    table = Table("", "alone", "beside its call", *FAULTS, "tells most", title=title)
    for name, found in rows.items():
        telling = ", ".join(f"{feature} {made:.2g}/{real:.2g}" for feature, _, made, real in found.beside.telling[:3])
        shares = (f"{found.faults[fault]:.2f}" for fault in FAULTS)
        table.add_row(name, str(found.alone), str(found.beside), *shares, telling)
    console.print(table)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    data: Annotated[Path, typer.Option(help="Training dataset.")] = Path("data/loops"),
    loops: Annotated[int, typer.Option(min=2, help="Number of loops to measure.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed for the choice of loops and the answers.")] = 0,
) -> None:
    """Write an HTML report of a run: training curves, example answers and measures.

    RUN/report.html is self-contained; its pictures are also saved beside it, and ten .mid files to hear in RUN/music.

    Example: rtgen-train report runs/conv_vae
    """
    from train import report as reporting

    with console.status("reading") as status:
        page = reporting.report(run, data, loops=loops, seed=seed, say=status.update)
    console.print(f"Open {page}", soft_wrap=True)


@app.command()
def personal(
    sources: Annotated[list[str], typer.Argument(help="Your music: MIDI files, Live sets, folders, .zip archives.")],
    base: Annotated[str, typer.Option(help="Model to start from: a name or path.")] = "loop_denoiser",
    name: Annotated[str, typer.Option(help="Name of your model.")] = "personal",
    budget: Annotated[str, typer.Option(help="Training time: 90s, 5m.")] = "3m",
    data: Annotated[Path | None, typer.Option(help="Dataset of other music that must not be forgotten.")] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder; default: your models folder.")] = None,
) -> None:
    """Fine-tune a model that comes with rtgen on your own music, without forgetting the rest.

    The new weights are mixed with the old, as far as the model still leaves good playing alone and repairs other music
    as well as before. Without --data, the other music is generated exercises. Prints a comparison of the base and your
    model on held-out loops.

    Example: rtgen-train personal my-songs/ --name mine, and then: rtgen run --model mine
    """
    from rtgen.shipped import find, folders
    from train import config as configuration
    from train import personal as own
    from train import trainer

    folder = out or dict(folders("models"))["yours"]
    with _progress() as bar:
        task = bar.add_task("training", total=1000)

        def show(state: trainer.State) -> None:
            bar.update(task, completed=round(1000 * state.share), description=f"step {state.step}")

        found = own.personal(
            sources,
            find("models", base),
            folder,
            name=name,
            budget_s=configuration.parse_time(budget),
            other=data,
            progress=show,
        )
    title = f"note F1; trained on {found.loops} loops, tested on {found.held_out}"
    table = Table("", "your loops, damaged", "your loops, clean", "other music, damaged", title=title)
    for row, worth in (base, found.base), (name, found.own):
        table.add_row(row, f"{worth.yours:.3f}", f"{worth.clean:.3f}", f"{worth.other:.3f}")
    console.print(table)
    if found.share:
        console.print(
            f"{found.share:.0%} of the new weights went into {found.path}; play it with: rtgen run --model {name}"
        )
    else:
        console.print(f"Nothing could be learnt without forgetting; {found.path} is {base}, unchanged", soft_wrap=True)


def main() -> None:
    """Runs the command line; prints a `UserError` to stderr and exits with status 2."""
    try:
        app()
    except UserError as error:
        print(plain(str(error)), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
