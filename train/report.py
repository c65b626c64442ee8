"""HTML report of a run: training curves, example answers, measures, and music to listen to.

All answers come from the exported `.onnx`, played as the daemon plays it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np

from rtgen.inference.card import PLANES, modes_of
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.instrument.job import Mode
from rtgen.music import key
from rtgen.music.files import Score, Track, note_events, write
from rtgen.music.note import Loop, Note
from rtgen.music.roll import Roll, decode, encode
from train import export, fit, logs, plots, trainer
from train.loops import dataset
from train.measures import evaluate
from train.measures.codes import reconstructed
from train.measures.knobs import defaults
from train.measures.music import density
from train.measures.repair import damaged
from train.measures.table import Table

PAGE = "report.html"
ROWS = 6
MUSIC = 10
MAPPED = 1500
"""Loops on the map of latent codes."""
_STYLE = """
body { background: #14161b; color: #d8dde6; font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px }
h1, h2 { font-weight: 500 } img { max-width: 100% } a { color: #6cb6ff }
table { border-collapse: collapse } td, th { padding: .25rem .9rem .25rem 0; text-align: left; font-weight: 400 }
th { color: #8b949e } tr { border-top: 1px solid #2b303a } p { color: #aab2bd }
"""


@dataclass
class Page:
    """An HTML page that is built from top to bottom.

    Args:
        title: of the page.
        folder: for the page and its pictures.
        parts: HTML fragments.
    """

    title: str
    folder: Path
    parts: list[str] = field(default_factory=list)

    def heading(self, words: str, text: str = "") -> None:
        """Begins a section."""
        self.parts.append(f"<h2>{escape(words)}</h2>" + (f"<p>{escape(text)}</p>" if text else ""))

    def picture(self, name: str, data: bytes, words: str) -> None:
        """Embeds a picture and also saves it beside the page."""
        plots.save(data, self.folder / f"{name}.png")
        self.parts.append(f'<img src="{plots.embedded(data)}" alt="{escape(words)}">')

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Adds a table."""
        lines = ["".join(f"<th>{escape(c)}</th>" for c in head)]
        lines += ["".join(f"<td>{escape(c)}</td>" for c in row) for row in rows]
        self.parts.append("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")

    def save(self) -> Path:
        """Writes the page as a self-contained file."""
        path = self.folder / PAGE
        head = f'<!doctype html><meta charset="utf-8"><title>{escape(self.title)}</title><style>{_STYLE}</style>'
        path.write_text(f"{head}<h1>{escape(self.title)}</h1>" + "\n".join(self.parts), "utf-8")
        return path


def report(
    run: Path, data: Path | str, *, loops: int = 100, seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> Path:
    """Writes the report of a run: exports it, plays it and measures it.

    Args:
        run: folder written by `rtgen-train fit`.
        data: training dataset.
        loops: number of loops to measure.
        seed: for the choice of loops and the answers.
        say: called with the name of each stage.

    Raises:
        UserError: the run or the data do not exist.
    """
    training = fit.load(run / trainer.BEST)
    say("exporting")
    card = export.card_of(training, training.average, data)
    path = run / f"{card.name}.onnx"
    found = export.write(training.average.player(), card, path)
    model = Model(path)
    page = Page(f"{run.name}: {card.description}", run)
    facts = card.training
    page.table(
        ["architecture", "role", "parameters", "steps", "training time", "file", "time per run", "parity"],
        [
            [
                training.config.model,
                card.role,
                f"{facts['parameters']:,}",
                f"{int(training.seen):,}",
                f"{training.elapsed_s / 60:.1f} min",
                f"{path.stat().st_size / 1e6:.1f} MB",
                f"{found.ms:.2f} ms",
                f"{found.difference:.0e}",
            ]
        ],
    )
    page.heading("Training")
    page.picture("learning", plots.curves(logged(run)), "losses over steps")
    say("playing")
    held_out = _held_out(data, [d.name for d in card.data])
    some = _some(held_out, ROWS + 2, seed)
    played = list(_played(model, some, seed))
    for name, title, text, picture in played:
        page.heading(title, text)
        page.picture(name, picture, title)
    if card.kind.encodes:
        page.heading(
            "Latent space",
            "Each dot is a held-out loop, on the first two principal components of the latent codes.",
        )
        page.picture("codes", _map(model, held_out, seed), "latent codes of loops")
    say("measuring")
    figures = evaluate.evaluate(model, data, "valid", None, loops, seed)
    (run / "metrics.json").write_text(json.dumps(evaluate.plain(figures), indent=2))
    page.heading("Measures", f"{loops} validation loops; mean and 95 % confidence interval (bootstrap over loops).")
    page.table(["", *figures], list(_lines(figures)))
    page.heading("Listen", "Each file has a call, then its answer.")
    names = _music(model, _some(held_out, MUSIC + 1, seed + 1), run / "music", seed)
    page.parts.append("<p>" + ", ".join(f'<a href="music/{escape(n)}">{escape(n)}</a>' for n in names) + "</p>")
    return page.save()


def logged(run: Path) -> dict[str, plots.Series]:
    """Metrics that a run logged, by panel: all training losses together, and every other metric with its variants.

    Raises:
        UserError: there is no log.
    """
    panels: dict[str, dict[str, tuple[list[float], list[float]]]] = defaultdict(dict)
    found = {name: points for name, points in logs.read(run).items() if name not in ("epoch", "train/rate")}
    beside = _beside({name.split("/", 1)[1] for name in found})
    for name, points in found.items():
        group, what = name.split("/", 1)
        line = "training" if group == "train" else "validation"
        if group == "train" and what.startswith("loss"):
            panel, line = "training losses", what
        else:
            panel = beside.get(what, what)
            line = what.replace(panel, "").strip("_").replace("_", " ") or line
        panels[panel][line] = ([float(s) for s in points], list(points.values()))
    return dict(panels)


def _beside(names: set[str]) -> dict[str, str]:
    """Maps metrics to the metric whose panel they share, by name: `bits_markov` and `real_bits` to `bits`."""
    bases = {name: [b for b in names if name.startswith(f"{b}_") or name.endswith(f"_{b}")] for name in names}
    within = {name: max(found, key=len) for name, found in bases.items() if found}
    return {name: base for name, base in within.items() if name not in within.values()}


def _held_out(data: Path | str, sets: Sequence[str]) -> dataset.Loops:
    return dataset.load(data, "valid", list(sets) or None)


def _some(loops: dataset.Loops, count: int, seed: int) -> list[Loop]:
    chosen = np.random.default_rng(seed).permutation(len(loops))[:count]
    return dataset.to_loops(loops.take(chosen), len(chosen), loops.length)


def _played(model: Model, loops: Sequence[Loop], seed: int) -> Iterator[tuple[str, str, str, bytes]]:
    """Yields file name, title, text and PNG of the examples for each mode of the model."""
    modes = modes_of(model.card)
    first = loops[:ROWS]
    if "clean" in modes:
        heard = damaged(first, seed)
        rows = [
            [("damaged", a), ("repaired", answer(model, a, "clean", defaults(), seed)), ("original", b)]
            for a, b in zip(heard, first, strict=True)
        ]
        yield "repair", "Damaged, repaired, original", "Held-out loops.", plots.rolls(rows)
    if model.card.kind.encodes:
        rows = [[("original", x), ("reconstruction", reconstructed(model, x))] for x in first]
        yield "reconstruction", "Originals and reconstructions", "With equal numbers of notes.", plots.rolls(rows)
    if "vary" in modes:
        rows = [
            [("call", x), *((f"distance {d}", _vary(model, x, d, seed)) for d in (0.2, 0.5, 0.8))] for x in first[:4]
        ]
        yield "variation", "Variations", "The greater the distance, the more the answer differs.", plots.rolls(rows)
    if "blend" in modes:
        rows = [
            [(f"blend {at:g}", answer(model, b, "blend", defaults(blend=at), seed, ends=(a, b))) for at in _FIFTHS]
            for a, b in pairwise(loops[:5])
        ]
        yield "blend", "Blends of two loops", "0 and 1 are the loops themselves.", plots.rolls(rows)
    if "generate" in modes:
        yield "codes_drawn", "Random latent codes", "Decoded as they are, not fitted to a call.", _drawn(model, seed)
        rows = [
            [("call", x), *((f"new, seed {s}", answer(model, x, "generate", defaults(), s)) for s in range(3))]
            for x in first[:4]
        ]
        yield "new", "Generated loops", "In the key, register and density of the call.", plots.rolls(rows)
    if "continue" in modes:
        rows = [
            [("call", x), *((f"next, seed {s}", answer(model, x, "continue", defaults(), s)) for s in range(3))]
            for x in first
        ]
        yield "continuation", "Continuations", "What could follow the call.", plots.rolls(rows)


_FIFTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def _vary(model: Model, loop: Loop, distance: float, seed: int) -> Loop:
    return answer(model, loop, "vary", defaults(distance=distance), seed)


def _drawn(model: Model, seed: int) -> bytes:
    """Plots decoded random codes and interpolations between two of them, with as many notes as the model expects."""
    rng = np.random.default_rng(seed)
    latents = np.array([(x.mean, x.sd) for x in model.card.latents])
    codes = latents[:, 0] + rng.standard_normal((6, len(latents))) * latents[:, 1]
    line = [codes[0] + (codes[1] - codes[0]) * at for at in _FIFTHS]
    outputs = model.run({"code": np.array([*codes, *line], np.float32)})
    made = []
    for i in range(len(codes) + len(line)):
        roll = Roll(*(outputs[p][i] for p in PLANES))
        count = min(max(round(float(roll.onset.sum())), 4), 120)
        made.append(decode(roll, model.card.grid, dataset.LENGTH, bar=dataset.LENGTH // dataset.BARS, count=count))
    named = [(f"code {i + 1}", x) for i, x in enumerate(made[:6])]
    between = [(f"1 to 2: {at:g}", x) for at, x in zip(_FIFTHS, made[6:], strict=True)]
    return plots.rolls([named[:3], named[3:], between])


def _map(model: Model, loops: dataset.Loops, seed: int) -> bytes:
    chosen = np.random.default_rng(seed).permutation(len(loops))[:MAPPED]
    own = dataset.to_loops(loops.take(chosen), len(chosen), loops.length)
    codes = [
        model.run({"roll": np.stack([encode(x, model.card.grid).stack() for x in own[i : i + 64]])})["mean"]
        for i in range(0, len(own), 64)
    ]
    keys = [str(key.estimate(x.notes)).split()[0] for x in own]
    colours: dict[str, list[str] | list[float]] = {
        "by set": [str(s) for s in loops.sets[chosen]],
        "by key": keys,
        "by density, notes per beat": [density(x) for x in own],
    }
    return plots.map_of(np.concatenate(codes), colours)


def _lines(figures: Table) -> Iterator[list[str]]:
    for measure in dict.fromkeys(m for measures in figures.values() for m in measures):
        yield [
            evaluate.WORDS[measure],
            *(str(found[measure]) if measure in found else "" for found in figures.values()),
        ]


def _music(model: Model, loops: Sequence[Loop], folder: Path, seed: int) -> list[str]:
    """Writes ten `.mid` files, each a call and its answer, in all modes by turns; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    modes: tuple[Mode, ...] = modes_of(model.card)
    names = []
    for i, (call, other) in enumerate(pairwise(loops)):
        mode = modes[i % len(modes)]
        heard = damaged([call], seed + i)[0] if mode == "clean" else call
        made = answer(model, heard, mode, defaults(), seed + i, ends=(heard, other))
        later = [Note(n.onset + call.length, n.pitch, n.duration, n.velocity) for n in made.notes]
        tracks = (
            Track("played", tuple(note_events(heard.notes))),
            Track(model.card.name, tuple(note_events(later, channel=1))),
        )
        name = f"{i + 1:02d}-{mode}.mid"
        write(folder / name, Score(tracks, ((0, 100.0),)))
        names.append(name)
    return names
