"""A run as a page: what was learnt, and what comes back when one plays. The pictures also lie beside it, with music.

Everything that is played is played by the `.onnx` as the daemon plays it.
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
"""Loops on the map of codes."""
_STYLE = """
body { background: #14161b; color: #d8dde6; font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px }
h1, h2 { font-weight: 500 } img { max-width: 100% } a { color: #6cb6ff }
table { border-collapse: collapse } td, th { padding: .25rem .9rem .25rem 0; text-align: left; font-weight: 400 }
th { color: #8b949e } tr { border-top: 1px solid #2b303a } p { color: #aab2bd }
"""


@dataclass
class Page:
    """What the report says, from top to bottom.

    Args:
        title: of the page.
        parts: HTML.
        folder: for the pictures.
    """

    title: str
    folder: Path
    parts: list[str] = field(default_factory=list)

    def heading(self, words: str, text: str = "") -> None:
        """A section begins."""
        self.parts.append(f"<h2>{escape(words)}</h2>" + (f"<p>{escape(text)}</p>" if text else ""))

    def picture(self, name: str, data: bytes, words: str) -> None:
        """A picture in the page and beside it."""
        plots.save(data, self.folder / f"{name}.png")
        self.parts.append(f'<img src="{plots.embedded(data)}" alt="{escape(words)}">')

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table."""
        lines = ["".join(f"<th>{escape(c)}</th>" for c in head)]
        lines += ["".join(f"<td>{escape(c)}</td>" for c in row) for row in rows]
        self.parts.append("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")

    def save(self) -> Path:
        """Writes the page; it needs no other file."""
        path = self.folder / PAGE
        head = f'<!doctype html><meta charset="utf-8"><title>{escape(self.title)}</title><style>{_STYLE}</style>'
        path.write_text(f"{head}<h1>{escape(self.title)}</h1>" + "\n".join(self.parts), "utf-8")
        return path


def report(
    run: Path, data: Path | str, *, loops: int = 100, seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> Path:
    """Makes the page of a run: exports it, plays it, measures it.

    Args:
        run: folder that `rtgen-train fit` wrote.
        data: what it was trained on.
        loops: that are measured.
        seed: of the choice of loops.
        say: told what is being done.

    Raises:
        UserError: there is no such run, or no data.
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
        ["architecture", "role", "parameters", "steps", "trained for", "file", "a run of the network", "parity"],
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
    page.heading("Learning")
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
            "The space of codes",
            "Each dot is a held-out loop, seen along the two directions in which codes differ most.",
        )
        page.picture("codes", _map(model, held_out, seed), "codes of loops")
    say("measuring")
    figures = evaluate.evaluate(model, data, "valid", None, loops, seed)
    (run / "metrics.json").write_text(json.dumps(evaluate.plain(figures), indent=2))
    page.heading("Measures", f"{loops} validation loops; the mean and its 95 % interval (bootstrap over loops).")
    page.table(["", *figures], list(_lines(figures)))
    page.heading("Listen", "What was played, then what came back.")
    names = _music(model, _some(held_out, MUSIC + 1, seed + 1), run / "music", seed)
    page.parts.append("<p>" + ", ".join(f'<a href="music/{escape(n)}">{escape(n)}</a>' for n in names) + "</p>")
    return page.save()


def logged(run: Path) -> dict[str, plots.Series]:
    """What a run logged, by group: the losses of training and of validation, and other figures each by itself.

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
            panel, line = "losses, training", what
        else:
            panel = beside.get(what, what)
            line = what.replace(panel, "").strip("_").replace("_", " ") or line
        panels[panel][line] = ([float(s) for s in points], list(points.values()))
    return dict(panels)


def _beside(names: set[str]) -> dict[str, str]:
    """Figures that are seen beside another whose name they bear, as `bits_markov` and `real_bits` beside `bits`."""
    bases = {name: [b for b in names if name.startswith(f"{b}_") or name.endswith(f"_{b}")] for name in names}
    within = {name: max(found, key=len) for name, found in bases.items() if found}
    return {name: base for name, base in within.items() if name not in within.values()}


def _held_out(data: Path | str, sets: Sequence[str]) -> dataset.Loops:
    return dataset.load(data, "valid", list(sets) or None)


def _some(loops: dataset.Loops, count: int, seed: int) -> list[Loop]:
    chosen = np.random.default_rng(seed).permutation(len(loops))[:count]
    return dataset.to_loops(loops.take(chosen), len(chosen), loops.length)


def _played(model: Model, loops: Sequence[Loop], seed: int) -> Iterator[tuple[str, str, str, bytes]]:
    """Name, title, text and picture of each thing that the model plays."""
    modes = modes_of(model.card)
    first = loops[:ROWS]
    if "clean" in modes:
        heard = damaged(first, seed)
        rows = [
            [("damaged", a), ("repaired", answer(model, a, "clean", defaults(), seed)), ("meant", b)]
            for a, b in zip(heard, first, strict=True)
        ]
        yield "repair", "Damaged, repaired, meant", "Loops that it has never seen.", plots.rolls(rows)
    if model.card.kind.encodes:
        rows = [[("played", x), ("from its own code", reconstructed(model, x))] for x in first]
        yield "reconstruction", "Originals and reconstructions", "As many notes as there were.", plots.rolls(rows)
    if "vary" in modes:
        rows = [
            [("played", x), *((f"distance {d}", _vary(model, x, d, seed)) for d in (0.2, 0.5, 0.8))] for x in first[:4]
        ]
        yield "variation", "Variations", "The farther the knob, the farther the answer.", plots.rolls(rows)
    if "blend" in modes:
        rows = [
            [(f"blend {at:g}", answer(model, b, "blend", defaults(blend=at), seed, ends=(a, b))) for at in _FIFTHS]
            for a, b in pairwise(loops[:5])
        ]
        yield "blend", "From one loop to another", "0 and 1 are what was played.", plots.rolls(rows)
    if "generate" in modes:
        yield "codes_drawn", "Codes drawn at random", "As they are, before anything is fitted.", _drawn(model, seed)
        rows = [
            [("played", x), *((f"new, seed {s}", answer(model, x, "generate", defaults(), s)) for s in range(3))]
            for x in first[:4]
        ]
        yield "new", "New loops", "In the key, register and density of what was played.", plots.rolls(rows)
    if "continue" in modes:
        rows = [
            [("played", x), *((f"next, seed {s}", answer(model, x, "continue", defaults(), s)) for s in range(3))]
            for x in first
        ]
        yield "continuation", "Continuations", "What could come next.", plots.rolls(rows)


_FIFTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def _vary(model: Model, loop: Loop, distance: float, seed: int) -> Loop:
    return answer(model, loop, "vary", defaults(distance=distance), seed)


def _drawn(model: Model, seed: int) -> bytes:
    """What random codes, and codes on a line between two of them, stand for: notes by the model's own count."""
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
        "by density, notes a beat": [density(x) for x in own],
    }
    return plots.map_of(np.concatenate(codes), colours)


def _lines(figures: Table) -> Iterator[list[str]]:
    for measure in dict.fromkeys(m for measures in figures.values() for m in measures):
        yield [
            evaluate.WORDS[measure],
            *(str(found[measure]) if measure in found else "" for found in figures.values()),
        ]


def _music(model: Model, loops: Sequence[Loop], folder: Path, seed: int) -> list[str]:
    """Ten files: a call, then the answer to it, in the modes by turns."""
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
