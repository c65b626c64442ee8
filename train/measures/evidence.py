"""Writes the figures, curves and examples of the shipped models for `docs/measurements.md` and `docs/models.md`.

    python -m train.measures.evidence

measures every shipped model on the test split and writes the tables into the page, between the comments that name them.
In `docs/models` it puts pictures of ten calls, chosen with a fixed seed, with their answers, and each as a `.mid`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from rtgen.inference.card import modes_of
from rtgen.inference.drums import stiff
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.instrument.job import Mode
from rtgen.music.files import Score, Track, note_events, read, write
from rtgen.music.note import Loop, Note
from rtgen.terminal import Terminal
from train import plots
from train.loops import dataset
from train.loops.sample import GRID
from train.measures import evaluate
from train.measures.drums import tapped
from train.measures.goals import judged
from train.measures.knobs import defaults
from train.measures.repair import damaged
from train.measures.table import Figure, Table
from train.report import logged

PAGE, FOLDER = Path("docs/measurements.md"), Path("docs/models")
CALLS = 10
SEED = 2026
METRES = ("4/4", "3/4")
"""The goals refer to the first."""
SETTINGS: dict[Mode, list[tuple[str, dict[str, float]]]] = {
    "clean": [("clean", {})],
    "vary": [("distance .35", {"distance": 0.35}), ("distance .7", {"distance": 0.7})],
    "blend": [("blend .25", {"blend": 0.25}), ("blend .5", {"blend": 0.5}), ("blend .75", {"blend": 0.75})],
    "generate": [("new", {})],
    "continue": [("next", {})],
}
"""Knob settings to show for each mode."""
BEFORE: dict[Mode, str] = {
    "continue": "continuer_continue",
    "vary": "loop_denoiser_vary",
    "generate": "loop_vae_generate",
}
"""By mode, the kept answers to the same ten calls of the model that played it before there was a composer."""
app = typer.Typer(add_completion=False)


@app.command()
def main(
    models: Annotated[list[Path] | None, typer.Argument(help="Models to measure; all shipped ones by default.")] = None,
    data: Annotated[Path, typer.Option(help="Dataset written by prepare.")] = Path("data/loops"),
    loops: Annotated[int, typer.Option(help="Number of loops to measure.")] = 300,
    page: Annotated[Path, typer.Option(help="Page that the tables go into.")] = PAGE,
    pictures_only: Annotated[bool, typer.Option(help="Update only the pictures, not the tables.")] = False,
) -> None:
    """Measure the shipped models on the test split, and show examples of what they play."""
    console = Terminal()
    for path in models or sorted(Path("models").glob("*.onnx")):
        model = Model(path)
        if not modes_of(model.card):
            continue  # it answers no loops
        with console.status(f"{model.card.name}: playing"):
            show(model, data, FOLDER)
            if model.card.role == "composer":
                plots.save(plots.rolls(before_and_after(model, FOLDER / "music")), FOLDER / "before_after.png")
            run = Path("runs") / model.card.name
            if run.is_dir():
                plots.save(plots.curves(logged(run)), FOLDER / f"{model.card.name}_learning.png")
        if pictures_only:
            continue
        for metre in METRES:
            with console.status(f"{model.card.name}: measuring {metre}"):
                try:
                    figures = evaluate.evaluate(model, data, "test", None, loops, metre=metre)
                except dataset.NoLoopsError:
                    continue
            text = "\n".join(lines(model.card.name, figures, metre, loops))
            page.write_text(filled(page.read_text("utf-8"), f"{model.card.name} {metre}", text), "utf-8")
            console.print(f"{model.card.name}, {metre}: written to {page}", highlight=False)


# ---- tables ----------------------------------------------------------------------------------------------------------


def lines(name: str, figures: Table, metre: str, loops: int) -> Iterator[str]:
    """Yield the lines of a Markdown table: each measure with its interval, the other contenders, and the goal."""
    others = [contender for contender in figures if contender != name]
    yield f"`rtgen-train evaluate models/{name}.onnx{_option(metre)}`, {_date()}, {loops} loops of the test split"
    yield ""
    yield f"| | {name} | {''.join(f'{other} | ' for other in others)}goal | |"
    yield "|---" * (len(others) + 4) + "|"
    for measure, figure in figures[name].items():
        beside = [_mean(figures[other].get(measure)) for other in others]
        goal, met = judged(figures[name], measure, figures, name)
        yield f"| {evaluate.WORDS[measure]} | {figure} | {' | '.join([*beside, goal, met])} |"


def _option(metre: str) -> str:
    return "" if metre == METRES[0] else f" --metre {metre}"


def _date() -> str:
    return datetime.now(UTC).date().isoformat()


def _mean(figure: Figure | None) -> str:
    return f"{figure.mean:.3f}" if figure is not None and figure.count else ""


def filled(page: str, name: str, text: str) -> str:
    """Put a text between the comments that mark its place in a page, or append it if there are none."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    whole = f"{begin}\n{text}\n{end}"
    return found.sub(lambda _: whole, page) if found.search(page) else f"{page}\n{whole}\n"


# ---- calls and answers -----------------------------------------------------------------------------------------------


def show(model: Model, data: Path | str, folder: Path) -> None:
    """Save ten calls with a model's answers: a picture for each mode, and a `.mid` for each call."""
    sets = [d.name for d in model.card.data]
    held_out = dataset.load(data, "test", sets)
    chosen = np.random.default_rng(SEED).permutation(len(held_out))[: CALLS + 1]
    calls = dataset.to_loops(held_out.take(chosen), len(chosen), held_out.length)
    for mode in modes_of(model.card):
        rows = [row for i, pair in enumerate(pairwise(calls)) for row in [_row(model, mode, i, *pair)]]
        plots.save(plots.rolls(rows), folder / f"{model.card.name}_{mode}.png")
        for i, row in enumerate(rows):
            _keep(folder / "music" / f"{model.card.name}_{mode}_{i + 1:02d}.mid", row)


def _row(model: Model, mode: Mode, number: int, call: Loop, other: Loop) -> list[tuple[str, Loop]]:
    """A call and its answers; for a blend also the other end, for a repair also the original."""
    heard, first = call, "played"
    if mode != "vary" and not model.card.kind.pitched:
        heard, first = (stiff(call, GRID), "stiff") if mode == "clean" else (tapped(call), "tapped")
    elif mode == "clean":
        heard, first = damaged([call], SEED + number)[0], "damaged"
    elif mode == "blend":
        first = "A"
    made = [
        (title, answer(model, heard, mode, defaults(**knobs), SEED + number, ends=(heard, other)))
        for title, knobs in SETTINGS[mode]
    ]
    last = [("B", other)] if mode == "blend" else [("meant", call)] if heard is not call else []
    return [(first, heard), *made, *last]


def before_and_after(model: Model, folder: Path) -> list[list[tuple[str, Loop]]]:
    """Return ten calls, each with the answers of the models before a composer, and with its own."""
    rows = []
    for number in range(CALLS):
        row: list[tuple[str, Loop]] = []
        for mode, name in BEFORE.items():
            call, before = _kept(folder / f"{name}_{number + 1:02d}.mid")
            now = answer(model, call, mode, defaults(**SETTINGS[mode][0][1]), SEED + number)
            row += [] if row else [("played", call)]
            row += [(f"{mode}, before", before), ("now", now)]
        rows.append(row)
    return rows


def _kept(path: Path) -> tuple[Loop, Loop]:
    """Return a call of two bars of 4/4 and the first answer to it from a file written by `_keep`."""
    length = dataset.LENGTH
    played, answered = (track.notes() for track in read(path).tracks)
    call = Loop(length, tuple(n for n in played if n.onset < length))
    first = (replace(n, onset=n.onset - length) for n in answered if n.onset < 2 * length)
    return call, call.with_notes(first)


def _keep(path: Path, row: Sequence[tuple[str, Loop]]) -> None:
    """Save a row one loop after the other, calls on the first track and answers on the second."""
    notes: dict[bool, list[Note]] = {False: [], True: []}
    start = 0
    for i, (title, loop) in enumerate(row):
        ours = i > 0 and title not in ("meant", "B")
        notes[ours] += [Note(n.onset + start, n.pitch, n.duration, n.velocity) for n in loop.notes]
        start += loop.length
    path.parent.mkdir(parents=True, exist_ok=True)
    tracks = (
        Track("played", tuple(note_events(notes[False]))),
        Track("answered", tuple(note_events(notes[True], channel=1))),
    )
    write(path, Score(tracks, ((0, 100.0),)))


if __name__ == "__main__":
    app()
