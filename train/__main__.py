"""The command line of the workshop: prepare, fit, export, evaluate."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rtgen.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Turns MIDI files into models that rtgen plays. The order of work: prepare, fit, export, evaluate.",
)
Engine = Annotated[str, typer.Option(help="local, or ray: on a cluster.")]
Address = Annotated[
    str | None, typer.Option(help="Of ray's cluster, HOST:PORT or auto; without one ray starts on this machine.")
]
# A file or a pipe is as wide as it takes.
console = Console(width=None if sys.stdout.isatty() else 160)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
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
    bars: Annotated[int, typer.Option(min=1, max=64, help="In a loop.")] = 2,
    keep_last: Annotated[bool, typer.Option("--keep-last", help="Keep last loops that are partly empty.")] = False,
    metres: Annotated[str, typer.Option(help="all: with bars of their own length; 4/4: leave out the others.")] = "all",
    drums: Annotated[bool, typer.Option("--drums", help="Keep files of nothing but drums, too.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 for as many as there are cores.")] = 0,
    engine: Engine = "local",
    address: Address = None,
) -> None:
    """Cut music into loops and split them into train, valid and test.

    A file that cannot be read is skipped and listed with the reason. Drums (channel 10) are left out. The name of each
    folder or archive becomes the name of its set. What was killed goes on where it was when it is run again.

    With --engine ray the machines of a cluster share the work, and it survives the loss of any but the one that began.
    All of them have to find SRC and the dataset under the same path or URL.

    Of a Live set every MIDI clip is cut from its first note on, of a .mid every stretch in one metre from its first
    bar. A song and its transposed copies always go to the same split; a loop that occurs in two splits, in whatever
    key, stays in the most held-out one. Of POP909, songs 651-700 are for validation and 701 upwards for testing.

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
        raise UserError(f"--metres {metres} is not known; say all or 4/4")
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
        table = Table(*head, title=title or f"loops in {out}")
        for row in rows:
            table.add_row(*map(str, row))
        console.print(table)


@app.command()
def preview(
    config: Annotated[str | None, typer.Argument(help="A configuration, to see what its network learns from.")] = None,
    data: Annotated[Path, typer.Option(help="What prepare wrote.")] = Path("data/loops"),
    out: Annotated[Path, typer.Option(help="The picture.")] = Path("preview.png"),
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of loops and of what is done to them.")] = 0,
) -> None:
    """Draw what is done to loops before they are learnt.

    Without a configuration, every augmentation is shown on one loop: before it and after it, beside the line of YAML
    that switches it on. With one, some of its tasks: what the network hears, and below it what was meant.

    Example: rtgen-train preview conv_dae --data data/loops --out conv_dae.png
    """
    from train.loops import dataset

    dataset.manifest(data)  # before torch is loaded, which takes its time
    from train import preview as previewing

    if config is None:
        previewing.draw(dataset.load(data, "train"), out, seed)
    else:
        previewing.draw_tasks(config, data, out, seed)
    console.print(f"{out} is written")


@app.command()
def fit(
    config: Annotated[str, typer.Argument(help="A configuration that comes with rtgen, or a .yaml file.")],
    data: Annotated[str, typer.Option(help="What prepare wrote.")] = "data/loops",
    out: Annotated[str | None, typer.Option(help="Folder or URL of the run; runs/CONFIG by default.")] = None,
    budget: Annotated[str | None, typer.Option(help="How long to train: 90s, 40m or 1h.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the loops instead.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run, up to the budget in all.")] = False,
    base: Annotated[
        str | None, typer.Option("--from", help="A model whose weights to begin with, by name or path.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="How many devices, each in a process of its own.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of torch; 0 for as many as there are cores.")] = 0,
    engine: Engine = "local",
    address: Address = None,
) -> None:
    """Train a model.

    Without a budget the epochs of the configuration are trained. The learning rate follows the elapsed share. After
    every epoch, or every three minutes of a budget, the model is judged on validation loops and the run is saved:
    last.ckpt to go on from, best.ckpt to export, log/ and tensorboard/ to look at. SIGTERM or Ctrl-C save, too; what
    has been trained is resumed with --resume.

    With --engine ray the devices are those of a cluster, --threads are the cores of each (one by default), and when
    some are lost the others go on from last.ckpt. All of them have to find DATA and RUN under the same path or URL.

    Example: rtgen-train fit conv_vae --data data/loops --budget 40m
    """
    from functools import partial

    import torch

    from rtgen.shipped import find
    from train import config as configuration
    from train import fit as training
    from train.cluster import engine as cluster
    from train.cluster import fit as cluster_fit

    cluster.check(engine, address)
    settings = configuration.read(config)
    budget_s = configuration.parse_time(budget) if budget else None
    if device not in training.DEVICES:
        raise UserError(f"--device {device} is not known; say one of {', '.join(training.DEVICES)}")
    folder = out or f"runs/{Path(config).stem}"
    torch.set_num_threads(threads or max((os.cpu_count() or 1) // devices, 1))
    with _progress() as bar:
        task = bar.add_task("training", total=1000)

        def show(state: training.State) -> None:
            figures = ", ".join(f"{name} {value:.3g}" for name, value in state.valid.items())
            text = f"step {state.step}, loss {state.loss:.4g}" + (f", valid: {figures}" if figures else "")
            bar.update(task, completed=round(1000 * state.share), description=text)

        on_cluster = partial(cluster_fit.fit, address=address, threads=threads or 1)
        state = (on_cluster if engine == "ray" else training.fit)(
            settings,
            data,
            folder,
            base=find("models", base).absolute() if base else None,
            budget_s=budget_s,
            epochs=epochs,
            resume=resume,
            device=training.DEVICES[training.DEVICES.index(device)],
            devices=devices,
            progress=show,
        )
    if state.stopped:
        more = f" --budget {budget}" if budget else f" --epochs {epochs}" if epochs else ""
        more += f" --engine ray --devices {devices}" if engine == "ray" else ""
        more += f" --address {address}" if address else ""
        again = f"rtgen-train fit {config} --data {data} --out {folder}{more} --resume"
        console.print(f"Stopped by {state.stopped} and saved; go on with: {again}", soft_wrap=True)
    table = Table("steps", "time", *(f"{name} (validation)" for name in state.valid), title=str(folder))
    table.add_row(
        str(state.step), f"{state.elapsed_s / 60:.1f} min", *(f"{value:.4g}" for value in state.valid.values())
    )
    console.print(table)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: Annotated[Path, typer.Option(help="What it was trained on, for thresholds and ranges.")] = Path("data/loops"),
    out: Annotated[Path | None, typer.Option(help="The .onnx file; models/NAME.onnx by default.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the model; the architecture's by default.")] = None,
    last: Annotated[bool, typer.Option(help="Take the last weights, not the best.")] = False,
) -> None:
    """Write a trained model as an .onnx file that rtgen plays.

    What was written is read again as the daemon would read it, compared with the trained model and timed on one thread;
    the command fails unless the card, the answers and the speed are right.

    Example: rtgen-train export runs/conv_vae --out models/conv_vae.onnx
    """
    from train import export as exporting
    from train import fit as training

    trained = training.load(run / (training.LAST if last else training.BEST))
    card = exporting.card_of(trained, trained.average, data, name)
    path = out or Path("models") / f"{card.name}.onnx"
    found = exporting.write(trained.average.player(), card, path)
    unit = f"ms a {card.kind.unit}"
    table = Table("parameters", "differs from torch by", f"{unit}, one thread", "MB", title=str(path))
    table.add_row(
        f"{card.training['parameters']:,}",
        f"{found.difference:.1e}",
        f"{found.ms:.2f}",
        f"{path.stat().st_size / 1e6:.1f}",
    )
    console.print(table)
    if not exporting.may_ship(card):
        sets = ", ".join(d.name for d in card.data)
        console.print(f"For yourself: it was trained on {sets}, not all of which may be given away.", soft_wrap=True)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="An .onnx file.")] = Path("models/loop_denoiser.onnx"),
    data: Annotated[Path, typer.Option(help="What prepare wrote.")] = Path("data/loops"),
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "test",
    set_name: Annotated[str | None, typer.Option("--set", help="Only loops of this set.")] = None,
    metre: Annotated[str, typer.Option(help="Of the loops; 3/4 and 6/8 are one, for their bars are as long.")] = "4/4",
    bars: Annotated[int, typer.Option(help="In a loop: 1, 2, 4 or 8.")] = 2,
    loops: Annotated[int, typer.Option(min=2, help="How many.")] = 300,
    seed: Annotated[int, typer.Option(help="Of the choice of loops, of damage and of answers.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    card: Annotated[bool, typer.Option(help="Write the figures into the model's card.")] = False,
) -> None:
    """Measure what a model is worth, on loops that it has never seen, played as the daemon plays it.

    What is measured follows from the role: how well a denoiser repairs loops that were damaged note by note, and leaves
    others alone; what comes back from an autoencoder's code, what lies between two loops, and what new ones are; how
    well a sequence model foretells music. Beside every figure stand its 95 % interval (bootstrap over loops) and what
    simple means would give, and what the models that come with rtgen are held to.

    Example: rtgen-train evaluate models/loop_denoiser.onnx --set pop909 --loops 1000
    Example: rtgen-train evaluate models/loop_denoiser.onnx --metre 3/4 --bars 4
    """
    from rtgen.inference.model import Model
    from train.export import rewrite_card
    from train.measures import evaluate as evaluation
    from train.measures.goals import judged
    from train.measures.table import flat

    if card and (metre, bars) != (evaluation.METRE, 2):
        raise UserError("--card keeps what a model is worth on two bars of 4/4; leave out --metre and --bars")
    played = Model(model)
    with console.status("measuring"):
        figures = evaluation.evaluate(played, data, split, set_name, loops, seed, metre=metre, bars=bars)
    metrics = flat(figures, played.card.name)
    if card:
        rewrite_card(model, metrics={**metrics, "loops": loops, "ms_a_run": round(played.seconds(51) * 1e3, 2)})
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    own = figures[played.card.name]
    title = f"{played.card.name} on {split} loops of {set_name or 'its sets'}, {bars} x {metre}"
    table = Table("", *figures, "goal", "", title=title)
    for measure in dict.fromkeys(m for measures in figures.values() for m in measures):
        row = [str(found[measure]) if measure in found else "" for found in figures.values()]
        table.add_row(evaluation.WORDS[measure], *row, *judged(own, measure, figures))
    console.print(table)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: Annotated[Path, typer.Option(help="What it was trained on.")] = Path("data/loops"),
    loops: Annotated[int, typer.Option(min=2, help="How many are measured.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the choice of loops and of the answers.")] = 0,
) -> None:
    """Make a page of a run: what was learnt, what comes back when one plays, and what it is worth.

    RUN/report.html needs no other file; its pictures also lie beside it, and ten .mid files to listen to in RUN/music.

    Example: rtgen-train report runs/conv_vae
    """
    from train import report as reporting

    with console.status("reading") as status:
        page = reporting.report(run, data, loops=loops, seed=seed, say=status.update)
    console.print(f"Open {page}", soft_wrap=True)


@app.command()
def personal(
    sources: Annotated[list[str], typer.Argument(help="Your music: MIDI files, Live sets, folders, .zip archives.")],
    base: Annotated[str, typer.Option(help="The model to begin with, by name or path.")] = "loop_denoiser",
    name: Annotated[str, typer.Option(help="What yours is called.")] = "personal",
    budget: Annotated[str, typer.Option(help="How long to train: 90s, 5m.")] = "3m",
    data: Annotated[Path | None, typer.Option(help="Other music that must not be forgotten: a dataset.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; yours by default, where rtgen looks.")] = None,
) -> None:
    """Make a model of your own from one that came with rtgen: it learns from your music, and forgets nothing.

    As much of what is new is taken as leaves good playing alone and repairs other music as well as before; without
    --data the other music are exercises written by a rule. What the base and yours are worth on loops that neither has
    learnt from is printed beside each other.

    Example: rtgen-train personal my-songs/ --name mine, and then: rtgen run --model mine
    """
    from rtgen.shipped import find, folders
    from train import config as configuration
    from train import fit as training
    from train import personal as own

    folder = out or dict(folders("models"))["yours"]
    with _progress() as bar:
        task = bar.add_task("training", total=1000)

        def show(state: training.State) -> None:
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
    title = f"note F1; learnt from {found.loops} loops, judged by {found.held_out}"
    table = Table("", "your loops, damaged", "your loops, clean", "other music, damaged", title=title)
    for row, worth in (base, found.base), (name, found.own):
        table.add_row(row, f"{worth.yours:.3f}", f"{worth.clean:.3f}", f"{worth.other:.3f}")
    console.print(table)
    if found.share:
        console.print(
            f"{found.share:.0%} of what was learnt is in {found.path}; play it with: rtgen run --model {name}"
        )
    else:
        console.print(f"Nothing could be learnt without forgetting; {found.path} is {base} as it was", soft_wrap=True)


def main() -> None:
    """Runs the command line; a `UserError` is one sentence on stderr and exit status 2."""
    try:
        app()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
